//! The world under loom.

/// Atomic types and fences.
pub mod atomic {
    pub use loom::sync::atomic::{
        AtomicBool, AtomicI32, AtomicI64, AtomicIsize, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64,
        AtomicUsize, Ordering,
    };

    loom::lazy_static! {
        static ref SCHEDULE: AtomicUsize = AtomicUsize::new(0);
    }

    /// A fence that is also a scheduling point: loom's own is not, and without one it never lets another thread run
    /// between the accesses on either side.
    #[track_caller]
    pub fn fence(order: Ordering) {
        // Relaxed: the store exists only to give loom a place to switch threads.
        SCHEDULE.store(0, Ordering::Relaxed);
        loom::sync::atomic::fence(order);
    }

    /// Orders nothing between threads; a model has no compiler to hold back.
    pub fn compiler_fence(_order: Ordering) {}
}

/// Interior mutability whose accesses loom tracks.
pub mod cell {
    /// `loom::cell::UnsafeCell` whose creation counts as a write.
    #[derive(Debug)]
    pub struct UnsafeCell<T>(loom::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        /// Wraps a value; the write is tracked.
        #[track_caller]
        pub fn new(value: T) -> Self {
            let cell = loom::cell::UnsafeCell::new(value);
            cell.with_mut(|_| ());
            Self(cell)
        }

        /// Takes the value out.
        #[track_caller]
        pub fn into_inner(self) -> T {
            self.0.into_inner()
        }

        /// Hands out a pointer to read through; no writer may run meanwhile.
        #[track_caller]
        pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            self.0.with(f)
        }

        /// Hands out a pointer to write through; no other access may run meanwhile.
        #[track_caller]
        pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            self.0.with_mut(f)
        }
    }

    impl<T: Default> Default for UnsafeCell<T> {
        fn default() -> Self {
            Self::new(T::default())
        }
    }
}

/// Threads.
pub mod thread {
    pub use loom::thread::{
        JoinHandle, LocalKey, Thread, ThreadId, current, panicking, park, spawn, yield_now,
    };
}

/// Locks, conditions and shared ownership.
pub mod sync {
    pub use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
    pub use std::sync::PoisonError;
}

/// Hints to the processor.
pub mod hint {
    pub use loom::hint::spin_loop;
}
