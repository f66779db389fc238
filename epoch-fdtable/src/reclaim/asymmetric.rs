//! Reclamation by the workspace's own domain, whose read sections cost one store.

use super::{Backend, Reclaim};
use std::time::Duration;
use sync_base::Domain;
use sync_base::domain::{Grace, Guard};

/// Reclaims through a [`Domain`]: entering a read section is one plain store, the reclaimer pays with `membarrier`.
///
/// The default is [`Domain::global`]; a domain of its own bounds what this table's readers can hold back.
///
/// ```
/// use epoch_fdtable::{Asymmetric, FdTable};
/// let domain = sync_base::Domain::builder().garbage_limit(1 << 20).build();
/// let table = FdTable::with_reclaim(64, 64, Asymmetric::new(domain));
/// table.insert("value").unwrap();
/// assert_eq!(table.reclaim().domain().stats().limit, 1 << 20);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Asymmetric(Domain);

impl Asymmetric {
    /// Reclaims through this domain.
    pub fn new(domain: Domain) -> Self {
        Self(domain)
    }

    /// The domain.
    pub fn domain(&self) -> &Domain {
        &self.0
    }
}

impl Reclaim for Asymmetric {}

// SAFETY: what a domain promises of `retire` and of a grace that has passed.
unsafe impl Backend for Asymmetric {
    type Guard<'a> = Guard<'a>;
    type Grace = Grace;

    #[inline(always)]
    fn pin(&self) -> Guard<'_> {
        self.0.pin()
    }

    #[inline]
    unsafe fn retire(&self, node: *mut (), bytes: usize, free: unsafe fn(*mut ())) {
        // SAFETY: the caller's promise is the domain's.
        unsafe { self.0.retire(node, bytes, free) };
    }

    unsafe fn retire_scarce(&self, node: *mut (), bytes: usize, free: unsafe fn(*mut ())) {
        // SAFETY: the caller's promise is the domain's.
        unsafe { self.0.retire_scarce(node, bytes, free) };
    }

    #[inline]
    fn tend(&self) {
        self.0.tend();
    }

    fn grace(&self) -> Grace {
        self.0.grace()
    }

    fn wait(&self, grace: &Grace, timeout: Duration) -> bool {
        if timeout.is_zero() {
            return self.0.has_passed(*grace);
        }
        self.0.wait(*grace, timeout).is_ok()
    }

    #[inline]
    fn try_admit(&self, bytes: usize) -> Result<(), u32> {
        self.0.try_admit(bytes).map_err(|stalled| stalled.thread)
    }

    #[inline]
    fn has_room(&self, bytes: usize) -> bool {
        self.0.has_room(bytes)
    }

    #[inline]
    fn admit(&self, bytes: usize) {
        self.0.admit(bytes);
    }

    fn collect(&self) {
        self.0.collect();
    }
}
