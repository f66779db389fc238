//! Two barriers of unequal price that together order as two `SeqCst` fences do.
//!
//! The side that runs often calls [`light_barrier`], which costs nothing at run time; the side that runs seldom calls
//! [`heavy_barrier`], which makes every other thread of the process run a full barrier (`membarrier(2)`, private
//! expedited). For threads A and B:
//!
//! ```text
//! A: x.store(1); light_barrier(); r1 = y.load()
//! B: y.store(1); heavy_barrier(); r2 = x.load()          never r1 == 0 and r2 == 0
//! ```
//!
//! Either A's barrier forced from outside falls after its store, and then B reads 1; or it falls before, and then A's
//! load comes after B's store and reads 1.
//!
//! Where the kernel lacks the call or a filter refuses it, [`mode`] is [`Mode::Fence`] and both sides are `SeqCst`
//! fences. The call itself is trusted, not model-checked: see `tests/store_buffering.rs` for the evidence.

#[cfg(not(any(loom, shuttle)))]
mod membarrier;

#[cfg(not(any(loom, shuttle)))]
pub(crate) use membarrier::after_fork_in_child;
#[cfg(not(any(loom, shuttle)))]
pub use membarrier::{heavy_barrier, light_barrier, mode};

/// How the heavy side reaches the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The heavy side interrupts every running thread; the light side is free.
    Membarrier,
    /// Both sides fence, since the kernel refused `membarrier` when first asked.
    Fence,
}

/// The mode of this process, decided at the first call.
#[cfg(loom)]
pub fn mode() -> Mode {
    use crate::facade::interrupt::{Model, model};
    match model() {
        Model::Interrupt => Mode::Membarrier,
        Model::Fence => Mode::Fence,
    }
}

/// The light side of the pair.
#[cfg(loom)]
#[track_caller]
pub fn light_barrier() {
    crate::facade::interrupt::light();
}

/// The heavy side of the pair.
#[cfg(loom)]
#[track_caller]
pub fn heavy_barrier() {
    crate::facade::interrupt::heavy();
}

/// The mode of this process, decided at the first call.
#[cfg(all(shuttle, not(loom)))]
pub fn mode() -> Mode {
    Mode::Membarrier
}

/// The light side of the pair; shuttle reorders nothing.
#[cfg(all(shuttle, not(loom)))]
pub fn light_barrier() {}

/// The heavy side of the pair; shuttle reorders nothing, so it is only a point where threads may switch.
#[cfg(all(shuttle, not(loom)))]
pub fn heavy_barrier() {
    // SeqCst: a point where threads may switch; it pairs with nothing, since nothing is reordered.
    crate::atomic::fence(crate::atomic::Ordering::SeqCst);
}

/// The light side for a caller who knows that [`mode`] is [`Mode::Membarrier`].
#[inline(always)]
#[track_caller]
pub(crate) fn light_when_granted() {
    // weaken-ok(barrier->dropped): here a model has only a place where an interrupt may fall, as each access is anyway.
    #[cfg(any(loom, shuttle))]
    light_barrier();
    #[cfg(not(any(loom, shuttle)))]
    {
        // SeqCst compiler fence: pairs with the barrier that `heavy_barrier` forces from outside.
        crate::atomic::compiler_fence(crate::atomic::Ordering::SeqCst);
    }
}
