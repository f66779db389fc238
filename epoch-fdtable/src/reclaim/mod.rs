//! What the table asks of memory reclamation.
//!
//! The trait is sealed: a wrong implementation would be a use after free in safe code.

use std::fmt::Debug;
use std::time::Duration;

mod asymmetric;
#[cfg(feature = "crossbeam-epoch")]
mod crossbeam;

pub use asymmetric::Asymmetric;
#[cfg(feature = "crossbeam-epoch")]
pub use crossbeam::CrossbeamEpoch;

/// A way to reclaim what readers may still look at. Implemented in this crate alone.
pub trait Reclaim: Backend {}

/// The operations behind [`Reclaim`].
///
/// # Safety
/// A node given to `retire`, or freed after `wait` said `true`, must not be freed while any section of the same backend
/// is open that was open when it was retired, or when the grace was taken.
pub unsafe trait Backend: Clone + Debug + Default + Send + Sync + 'static {
    /// An open read section.
    type Guard<'a>: Debug;
    /// A moment, which has passed once every section that was open at it has ended.
    type Grace: Debug + Send + Sync;

    /// Opens a read section, which may nest.
    fn pin(&self) -> Self::Guard<'_>;

    /// Frees a node after a grace period, on whichever thread finds it over.
    ///
    /// # Safety
    /// The node is unlinked, `free` may be called on it once from any thread, and nobody else frees it.
    unsafe fn retire(&self, node: *mut (), bytes: usize, free: unsafe fn(*mut ()));

    /// Frees a node after a grace period and soon: at the end of the section that this thread is inside, or by whichever
    /// thread next calls `tend`.
    ///
    /// # Safety
    /// As for `retire`.
    unsafe fn retire_scarce(&self, node: *mut (), bytes: usize, free: unsafe fn(*mut ()));

    /// Frees what can be freed now, if a node waits that was retired as scarce. One load if none does.
    fn tend(&self);

    /// Names the present moment.
    fn grace(&self) -> Self::Grace;

    /// Waits until a moment has passed, at most so long; zero looks once. `false` when the time is up, or at once when
    /// the calling thread is itself inside a section and would wait for itself.
    fn wait(&self, grace: &Self::Grace, timeout: Duration) -> bool;

    /// Asks whether so much more garbage may be made; otherwise names the thread whose section holds it back.
    ///
    /// # Errors
    /// The kernel's id of that thread.
    fn try_admit(&self, bytes: usize) -> Result<(), u32>;

    /// Says whether so much more garbage may be made now; frees nothing.
    fn has_room(&self, bytes: usize) -> bool;

    /// Waits, up to a time that the backend states, until so much more garbage may be made.
    fn admit(&self, bytes: usize);

    /// Frees what can be freed now.
    fn collect(&self);
}
