//! The world under loom: every operation is a place where a posted interrupt may be served.

pub mod atomic;
pub mod interrupt;
pub mod sync;
pub mod thread;

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

/// Hints to the processor.
pub mod hint {
    /// Lets other threads run: under a model a spinning thread would hide the thread that it waits for.
    pub fn spin_loop() {
        super::thread::yield_now();
    }
}
