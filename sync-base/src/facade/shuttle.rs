//! The world under shuttle: every ordering is SeqCst there, so it checks logic and not orderings.

/// Atomic types and fences.
pub mod atomic {
    pub use shuttle::sync::atomic::{
        AtomicBool, AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicPtr, AtomicU8, AtomicU16,
        AtomicU32, AtomicU64, AtomicUsize, Ordering, compiler_fence, fence,
    };
}

/// Interior mutability: shuttle does not look inside, so it is the shipped one.
#[path = "cell.rs"]
pub mod cell;

/// Threads.
pub mod thread {
    pub use shuttle::thread::{
        AccessError, JoinHandle, LocalKey, Thread, ThreadId, current, panicking, park, spawn, yield_now,
    };
}

/// Locks, conditions and shared ownership.
pub mod sync {
    pub use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard};
    pub use std::sync::PoisonError;
}

/// Hints to the processor.
pub mod hint {
    pub use shuttle::hint::spin_loop;
}
