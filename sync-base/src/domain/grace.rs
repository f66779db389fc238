//! Waiting for the readers of a moment to leave.

use super::Domain;
use super::core::Core;
use super::limit::{Blocker, Stalled, Wait};
use std::time::Duration;

/// A moment in a domain; it has passed once every guard that existed at it has ended.
///
/// Whoever unlinks a value, takes the grace, and sees it pass, owns the value alone.
#[derive(Clone, Copy, Debug)]
#[must_use = "a grace does nothing until it is waited for"]
pub struct Grace {
    stamp: u64,
    core: *const Core,
}

// SAFETY: two numbers; the pointer is compared and never followed.
unsafe impl Send for Grace {}
// SAFETY: as above.
unsafe impl Sync for Grace {}

impl Domain {
    /// Names the present moment. One read-modify-write of a shared word.
    pub fn grace(&self) -> Grace {
        Grace {
            stamp: self.core().stamp(),
            core: self.core(),
        }
    }

    /// Says whether every guard that existed when `grace` was taken has ended. Never blocks: one heavy barrier, unless
    /// somebody else's since then will do, and a look at each record.
    ///
    /// # Panics
    /// When `grace` is of another domain.
    pub fn has_passed(&self, grace: Grace) -> bool {
        self.pass(grace).is_ok()
    }

    /// Waits until every guard that existed when `grace` was taken has ended, at most `limit`.
    ///
    /// Backs off, then sleeps in steps of up to a millisecond. Says at once that it would wait for the calling thread
    /// itself.
    ///
    /// # Errors
    /// [`Stalled`] names the reader that has not left in time.
    ///
    /// # Panics
    /// When `grace` is of another domain.
    pub fn wait(&self, grace: Grace, limit: Duration) -> Result<(), Stalled> {
        let mut wait = Wait::new(limit);
        while let Err(blocker) = self.pass(grace) {
            if blocker.is_self() || !wait.step() {
                return Err(blocker.report(self.core(), 0));
            }
        }
        Ok(())
    }

    /// Waits until every guard that exists now has ended, at most `limit`.
    ///
    /// ```
    /// use std::time::Duration;
    /// let domain = sync_base::Domain::new();
    /// assert!(domain.synchronize(Duration::from_secs(1)).is_ok());
    /// let guard = domain.pin();
    /// assert!(domain.synchronize(Duration::ZERO).is_err()); // it would wait for itself
    /// # drop(guard);
    /// ```
    ///
    /// # Errors
    /// [`Stalled`] names the reader that has not left in time.
    pub fn synchronize(&self, limit: Duration) -> Result<(), Stalled> {
        self.wait(self.grace(), limit)
    }

    fn pass(&self, grace: Grace) -> Result<(), Blocker> {
        assert!(
            std::ptr::eq(grace.core, self.core()),
            "a grace passes in the domain it was taken in"
        );
        let horizon = self.core().horizon(grace.stamp);
        if horizon.bound > grace.stamp {
            return Ok(());
        }
        let (record, word) = horizon
            .blocker
            .expect("the barrier covers the stamp, so a reader holds it back");
        Err(Blocker(record, word))
    }
}
