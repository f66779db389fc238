//! What leads to a ring: the ring itself, or a shared way to it.

use super::core::Core;
use super::{LocalRing, Ring};
use std::rc::Rc;

/// A way to one ring, always the same: owned, borrowed, or shared by an [`Rc`].
///
/// What is built on a ring takes this, so that it can borrow the ring (`&LocalRing`), share it with tasks that have to be
/// `'static` (`Rc<LocalRing>`), or own it and be as `Send` as it (`Ring`).
pub trait RingRef {
    /// The ring.
    fn core(&self) -> &Core;
}

impl RingRef for Core {
    fn core(&self) -> &Core {
        self
    }
}

impl RingRef for Ring {
    fn core(&self) -> &Core {
        self
    }
}

impl RingRef for LocalRing {
    fn core(&self) -> &Core {
        self
    }
}

impl<R: RingRef + ?Sized> RingRef for &R {
    fn core(&self) -> &Core {
        (**self).core()
    }
}

impl<R: RingRef + ?Sized> RingRef for Rc<R> {
    fn core(&self) -> &Core {
        (**self).core()
    }
}
