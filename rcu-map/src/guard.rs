//! The check that a guard protects what is about to be read.

use sync_base::{Domain, Guard};

/// Refuses a guard of another domain.
#[inline(always)]
pub(crate) fn check(domain: &Domain, guard: &Guard<'_>) {
    if !guard.protects(domain) {
        wrong_domain();
    }
}

#[cold]
#[inline(never)]
fn wrong_domain() -> ! {
    panic!("a guard of another domain protects nothing here: pin the `domain()` of the map or cell itself")
}
