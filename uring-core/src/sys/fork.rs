//! Whether a fork lies between the making of a thing and now.
//!
//! A ring made before `fork` must not be touched by the child: its memory is not inherited, its requests belong to the
//! parent. The answer has to cost one load, since it is asked at each submission, so a handler that libc runs in every
//! child (`pthread_atfork`) advances a counter, and a token is the counter's value when the thing was made.
//!
//! A raw `clone` system call that bypasses libc is not seen.

use std::sync::Once;
use sync_base::atomic::{AtomicPtr, AtomicU64, Ordering};

sync_base::global! {
    /// Forks between the first process of the program and this one.
    static FORKS: AtomicU64 = AtomicU64::new(0);
}

static HANDLER: Once = Once::new();

/// Names the running process among its ancestors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(u64);

impl Token {
    /// Names the process that is running.
    pub(crate) fn current() -> Self {
        HANDLER.call_once(|| {
            // SAFETY: the handler only touches an atomic, which is allowed in the child of a threaded process. Where
            // libc has no memory for it the child is not told apart, as for any program without a handler.
            unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        });
        // Relaxed: the value changes only before a child's first instruction; nothing is published with it.
        Self(FORKS.load(Ordering::Relaxed))
    }

    /// Whether no fork lies between the taking of this token and now.
    #[inline(always)]
    pub(crate) fn is_current(self) -> bool {
        // Relaxed: as in `current`.
        FORKS.load(Ordering::Relaxed) == self.0
    }
}

extern "C" fn in_child() {
    // Relaxed: the child has one thread.
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// A value that the threads of a process share, and that a forked child makes anew: threads are not inherited, and whoever
/// held a lock when the process forked is not there to give it back. One is leaked at each fork after which it is asked for.
pub(crate) struct PerProcess<T> {
    at: AtomicPtr<Owned<T>>,
}

struct Owned<T> {
    value: T,
    token: Token,
}

impl<T: Send + Sync + 'static> PerProcess<T> {
    sync_base::const_fn! {
        /// Starts with nothing made.
        pub(crate) fn new() -> Self {
            Self {
                at: AtomicPtr::new(std::ptr::null_mut()),
            }
        }
    }

    /// Lends the value of this process, made now if nobody has asked for it.
    pub(crate) fn get(&self, make: fn() -> T) -> &'static T {
        loop {
            // Acquire: pairs with the Release half below; the value.
            // weaken-ok(Acquire->Relaxed): no model makes a value of a process, since its threads would outlive the model.
            let found = self.at.load(Ordering::Acquire);
            // SAFETY: null or leaked below, so it lives as long as the program.
            if let Some(owned) = unsafe { found.as_ref() }
                && owned.token.is_current()
            {
                return &owned.value;
            }
            let made = Box::into_raw(Box::new(Owned {
                value: make(),
                token: Token::current(),
            }));
            // Release: pairs with the Acquire above; publishes the value. Relaxed on failure: looked at anew.
            // weaken-ok(Release->Relaxed): as above.
            let put = self
                .at
                .compare_exchange(found, made, Ordering::Release, Ordering::Relaxed);
            if put.is_err() {
                // SAFETY: made above and published to nobody.
                drop(unsafe { Box::from_raw(made) });
            }
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn d7_a_child_makes_its_own_of_what_its_parent_may_hold_locked() {
        static SHARED: PerProcess<std::sync::Mutex<u32>> = PerProcess::new();
        let shared = || SHARED.get(|| std::sync::Mutex::new(0));
        let mut held = shared().lock().unwrap();
        *held = 1;
        // SAFETY: the child takes a lock of its own, allocates once and calls `_exit`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let anew = shared().try_lock().is_ok_and(|own| *own == 0);
            // SAFETY: ends the child at once, without running destructors.
            unsafe { libc::_exit(i32::from(!anew)) };
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        unsafe { libc::waitpid(pid, &mut status, 0) };
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
        drop(held);
        assert_eq!(*shared().lock().unwrap(), 1);
    }

    #[test]
    fn d7_a_child_is_told_apart_from_its_parent() {
        let token = Token::current();
        assert!(token.is_current());
        // SAFETY: the child only loads an atomic and calls `_exit`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let told_apart = !token.is_current() && Token::current().is_current();
            // SAFETY: ends the child at once, without running destructors.
            unsafe { libc::_exit(i32::from(!told_apart)) };
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        unsafe { libc::waitpid(pid, &mut status, 0) };
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
        assert!(token.is_current(), "the parent keeps its name");
    }
}
