//! The world as shipped: `std`, with nothing in between.

/// Atomic types and fences.
pub mod atomic {
    pub use std::sync::atomic::{
        AtomicBool, AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicPtr, AtomicU8, AtomicU16,
        AtomicU32, AtomicU64, AtomicUsize, Ordering, compiler_fence, fence,
    };
}

/// Interior mutability whose accesses a model can see.
#[path = "cell.rs"]
pub mod cell;

/// Threads.
pub mod thread {
    pub use std::thread::{
        AccessError, JoinHandle, LocalKey, Thread, ThreadId, current, panicking, park, sleep, spawn,
        yield_now,
    };
}

/// Locks, conditions and shared ownership.
pub mod sync {
    pub use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
}

/// Hints to the processor.
pub mod hint {
    pub use std::hint::spin_loop;
}
