//! What waits until this thread has let go of the ring: the caller's wakers, and the destructors of what nobody wants any more.
//!
//! A thread that turns the ring lands the completions of others. Code of theirs must not run meanwhile: it may submit, and
//! would wait for the lock that its own thread holds. So it is put on a list of the thread, and the list is run down when the
//! thread has let go ([`Run`]). A destructor of a thread's own variables may find the list gone: then it is done at once.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::Waker;

/// One thing to be done.
pub(super) enum Late {
    Wake(Waker),
    Drop(Box<dyn Any + Send>),
}

impl Late {
    fn now(self) {
        match self {
            Self::Wake(waker) => waker.wake(),
            Self::Drop(cargo) => drop(cargo),
        }
    }
}

sync_base::thread_local! {
    static LIST: RefCell<Vec<Late>> = const { RefCell::new(Vec::new()) };
}

/// Puts it on this thread's list.
pub(super) fn leave(late: Late) {
    let mut late = Some(late);
    let kept = LIST.try_with(|list| list.borrow_mut().extend(late.take()));
    if kept.is_err()
        && let Some(late) = late
    {
        late.now();
    }
}

/// Runs the list down when it is dropped. A panic in one keeps none of the others, and goes on when all have been done.
#[derive(Debug, Default)]
pub(super) struct Run(());

impl Drop for Run {
    fn drop(&mut self) {
        let mut panic = None;
        // Borrowed for no longer than it takes to take one out: what is run may come here again.
        while let Some(late) = LIST.try_with(|list| list.borrow_mut().pop()).ok().flatten() {
            if let Err(why) = catch_unwind(AssertUnwindSafe(|| late.now())) {
                panic.get_or_insert(why);
            }
        }
        if let Some(why) = panic
            && !std::thread::panicking()
        {
            resume_unwind(why);
        }
    }
}
