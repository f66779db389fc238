//! The barriers as shipped: `membarrier(2)` where the kernel grants it, fences where it does not.

use super::Mode;
// std: this file stands outside the models, which have a module of their own.
use std::sync::atomic::{AtomicU8, Ordering, compiler_fence, fence};

const UNKNOWN: u8 = 0;
const MEMBARRIER: u8 = 1;
const FENCE: u8 = 2;

/// Moves once, from UNKNOWN to what the kernel answered, and stays.
static MODE: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Commands of `membarrier(2)`, from `linux/membarrier.h`.
const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;

fn membarrier(command: libc::c_int) -> bool {
    // SAFETY: the call takes two integers (and a CPU that is ignored) and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}

/// The mode of this process, decided at the first call by registering for `membarrier`; one system call then, one
/// load after.
#[inline]
pub fn mode() -> Mode {
    // Relaxed: a decision that never changes; it publishes nothing.
    match MODE.load(Ordering::Relaxed) {
        MEMBARRIER => Mode::Membarrier,
        FENCE => Mode::Fence,
        _ => decide(),
    }
}

#[cold]
fn decide() -> Mode {
    let granted = membarrier(REGISTER_PRIVATE_EXPEDITED) && membarrier(PRIVATE_EXPEDITED);
    let found = if granted { MEMBARRIER } else { FENCE };
    // Relaxed, both: of threads that decide at once one decides for all; the answer publishes nothing.
    let _ = MODE.compare_exchange(UNKNOWN, found, Ordering::Relaxed, Ordering::Relaxed);
    mode()
}

/// Registers again in a child, whose memory map is new.
pub(crate) fn after_fork_in_child() {
    // Relaxed: one thread runs here.
    if MODE.load(Ordering::Relaxed) == MEMBARRIER {
        let _ = membarrier(REGISTER_PRIVATE_EXPEDITED);
    }
}

/// The light side of the pair: holds back the compiler alone, once [`mode`] is known to be [`Mode::Membarrier`].
///
/// A load, a branch that is always predicted, no instruction that orders. Async-signal-safe.
#[inline(always)]
pub fn light_barrier() {
    // Relaxed: whoever reads MEMBARRIER here runs after the registration, and a heavy side that still fences alone
    // cannot exist: it decides before it fences.
    if MODE.load(Ordering::Relaxed) == MEMBARRIER {
        // SeqCst compiler fence: pairs with the barrier that `heavy_barrier` forces from outside; only the compiler must
        // keep the order.
        compiler_fence(Ordering::SeqCst);
    } else {
        // weaken-ok(SeqCst->AcqRel): no model builds this file; `tests/store_buffering.rs` runs it.
        // weaken-ok(SeqCst->dropped): no model builds this file; `tests/store_buffering.rs` runs it.
        // SeqCst fence: pairs with the one in `heavy_barrier`; whichever comes first in the single order, the side of
        // the other reads what was stored before it.
        fence(Ordering::SeqCst);
    }
}

/// The heavy side of the pair: returns when every other thread of the process has run a full barrier.
///
/// One system call, 0.2 to a few microseconds (claim `dom.retire.2t` pays it once a batch); a fence where membarrier
/// is refused.
///
/// # Aborts
/// When the kernel refuses the call after having granted it: a filter was installed in between, and no thread that
/// runs the light side could be told.
pub fn heavy_barrier() {
    // weaken-ok(SeqCst->AcqRel): no model builds this file; `tests/store_buffering.rs` runs it.
    // weaken-ok(SeqCst->dropped): no model builds this file; `tests/store_buffering.rs` runs it.
    // SeqCst fence: pairs with the fence, or the barrier forced from here, in `light_barrier`; what this thread wrote
    // before is seen by whoever runs the light side after it.
    fence(Ordering::SeqCst);
    if mode() == Mode::Fence {
        return;
    }
    if !membarrier(PRIVATE_EXPEDITED) {
        refused();
    }
    // weaken-ok(SeqCst->AcqRel): no model builds this file; `tests/store_buffering.rs` runs it.
    // weaken-ok(SeqCst->dropped): no model builds this file; `tests/store_buffering.rs` runs it.
    // SeqCst fence: pairs with the forced barrier: loads below see what was stored before it.
    fence(Ordering::SeqCst);
}

#[cold]
fn refused() -> ! {
    eprintln!(
        "sync-base: membarrier(2) was granted at first and is refused now ({}). Install system-call filters before the \
         first use of a domain, or let them pass membarrier: going on would free memory in use.",
        std::io::Error::last_os_error()
    );
    std::process::abort();
}
