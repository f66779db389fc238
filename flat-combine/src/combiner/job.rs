//! An operation that another thread may run, on the stack of the thread that waits for it.

use std::any::Any;
use std::mem;
use std::panic::{self, AssertUnwindSafe};

/// What an operation gave: its value, or the panic that its own caller will go on with.
pub(super) type Outcome<R> = Result<R, Box<dyn Any + Send>>;

/// A closure before it runs and its outcome after.
#[derive(Debug)]
pub(super) enum Op<F, R> {
    Waiting(F),
    Over(Outcome<R>),
    Taken,
}

impl<F, R> Op<F, R> {
    /// The operation as a pair of pointers.
    ///
    /// # Safety
    /// For whoever runs the job: once, while `self` stays where it is, with nobody else touching it.
    pub(super) fn job<T>(&mut self) -> Job<T>
    where
        F: FnOnce(&mut T) -> R,
    {
        Job {
            op: (&raw mut *self).cast(),
            run: run::<T, F, R>,
        }
    }

    /// The outcome of an operation that was run.
    pub(super) fn outcome(self) -> Outcome<R> {
        match self {
            Self::Over(outcome) => outcome,
            Self::Waiting(_) | Self::Taken => unreachable!("an operation was answered before it ran"),
        }
    }
}

/// A type-erased operation on a `T`.
#[derive(Debug)]
pub(super) struct Job<T> {
    op: *mut (),
    run: unsafe fn(*mut (), &mut T),
}

impl<T> Clone for Job<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Job<T> {}

impl<T> Job<T> {
    /// Runs the operation; a panic in it becomes its outcome.
    ///
    /// # Safety
    /// The operation is where it was when the job was made, was not run, and nobody else touches it meanwhile.
    pub(super) unsafe fn run(self, data: &mut T) {
        // SAFETY: `run` was made for the type behind `op`; the rest is the caller's promise.
        unsafe { (self.run)(self.op, data) }
    }
}

/// # Safety
/// `op` points to an `Op<F, R>` that waits, and nobody else touches it.
unsafe fn run<T, F, R>(op: *mut (), data: &mut T)
where
    F: FnOnce(&mut T) -> R,
{
    // SAFETY: the caller's promise.
    let op = unsafe { &mut *op.cast::<Op<F, R>>() };
    if let Op::Waiting(f) = mem::replace(op, Op::Taken) {
        *op = Op::Over(catch(|| f(data)));
    }
}

/// Runs `f` and catches its panic: `T` is left as the closure left it, which `Combiner::with` states.
pub(super) fn catch<R>(f: impl FnOnce() -> R) -> Outcome<R> {
    panic::catch_unwind(AssertUnwindSafe(f))
}
