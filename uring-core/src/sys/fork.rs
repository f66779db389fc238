//! Whether a fork lies between the making of a thing and now.
//!
//! A ring made before `fork` must not be touched by the child: its memory is not inherited, its requests belong to the
//! parent. The answer has to cost one load, since it is asked at each submission, so a handler that libc runs in every
//! child (`pthread_atfork`) advances a counter, and a token is the counter's value when the thing was made.
//!
//! A raw `clone` system call that bypasses libc is not seen.

use std::sync::Once;
use sync_base::atomic::{AtomicU64, Ordering};

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

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

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
