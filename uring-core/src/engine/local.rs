//! Which engine, and which of its cores, the calling thread belongs to.

use super::everywhere::Everywhere;
use super::{Engine, Inner};
use crate::buffer::{FixedBuf, RegisteredSlab};
use std::cell::{Cell, RefCell};
use std::sync::{Arc, OnceLock, Weak};

/// Where a core finds its engine once that is made; does not keep it.
pub(crate) type Whole = OnceLock<Weak<Inner>>;

/// What a core's thread knows of its engine.
#[derive(Clone, Debug)]
pub(crate) struct Resident {
    pub(crate) whole: Arc<Whole>,
    pub(crate) everywhere: Arc<Everywhere>,
}

struct Seat {
    resident: Resident,
    index: usize,
    slab: Option<RegisteredSlab>,
}

std::thread_local! {
    static SEAT: RefCell<Option<Seat>> = const { RefCell::new(None) };
    static CPU: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
}

/// For as long as this lives, the calling thread belongs to an engine.
pub(crate) struct Seated(());

impl Drop for Seated {
    fn drop(&mut self) {
        let seat = SEAT.with(RefCell::take);
        drop(seat);
    }
}

impl Resident {
    pub(crate) fn enter(self, index: usize, slab: Option<RegisteredSlab>) -> Seated {
        let resident = self;
        SEAT.set(Some(Seat {
            resident,
            index,
            slab,
        }));
        Seated(())
    }

    /// The core of this engine that the calling thread is.
    pub(crate) fn core_here(&self) -> Option<usize> {
        let here = SEAT.try_with(|seat| {
            let seat = seat.borrow();
            let seat = seat.as_ref()?;
            Arc::ptr_eq(&seat.resident.whole, &self.whole).then_some(seat.index)
        });
        here.ok().flatten()
    }
}

/// Reads what the calling thread knows of the engine of which it is a core, and which; `None` where it is none.
pub(crate) fn resident_here<R>(read: impl FnOnce(&Resident, usize) -> R) -> Option<R> {
    let here = SEAT.try_with(|seat| {
        let seat = seat.borrow();
        seat.as_ref().map(|seat| read(&seat.resident, seat.index))
    });
    here.ok().flatten()
}

/// The number of the core that calls; `None` outside of one.
pub fn current_core() -> Option<usize> {
    SEAT.try_with(|seat| seat.borrow().as_ref().map(|seat| seat.index))
        .ok()
        .flatten()
}

/// The engine of the core that calls; `None` outside of one, and once its last handle is gone.
pub fn current() -> Option<Engine> {
    let whole = SEAT.try_with(|seat| {
        seat.borrow()
            .as_ref()
            .map(|seat| Arc::clone(&seat.resident.whole))
    });
    let inner = whole.ok().flatten()?.get()?.upgrade()?;
    Some(Engine { inner })
}

/// Leases a slot of the registered memory of the core that calls; `None` outside of one, where none was asked for
/// ([`Builder::registered_memory`](super::Builder::registered_memory)) or there was no room for it, and when all are leased.
/// Where the kernel refused to register it the slot is plain memory: operations work all the same, without what registering
/// saves, and [`CoreInfo::registered_bytes`](super::CoreInfo::registered_bytes) is 0.
pub fn lease() -> Option<FixedBuf> {
    SEAT.try_with(|seat| seat.borrow().as_ref()?.slab.as_ref()?.lease())
        .ok()
        .flatten()
}

/// Submissions for which a thread is taken to be where it was seen last.
pub(crate) const STICKY: u32 = 32;

/// The processor that the calling thread ran on when it was asked last, which is at most [`STICKY`] calls ago. A thread that
/// has moved meanwhile is taken for one that has not: its messages take a longer way, and nothing else.
pub(crate) fn processor() -> usize {
    let asked = CPU.try_with(|known| {
        let (cpu, left) = known.get();
        if left > 0 {
            known.set((cpu, left - 1));
            return cpu;
        }
        let cpu = crate::sys::affinity::current() as u32;
        known.set((cpu, STICKY - 1));
        cpu
    });
    asked.unwrap_or_else(|_| crate::sys::affinity::current() as u32) as usize
}
