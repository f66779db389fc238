//! A second set of books, kept in debug builds: which memory the kernel may write, by address.
//!
//! Neither AddressSanitizer nor valgrind sees the kernel write into memory that was freed, so ownership is checked at
//! the two ends instead: no range may be lent for writing while any part of it is lent, and none may come back that was
//! not out. The books are process-wide, since two rings must not share a buffer either.

#[cfg(not(debug_assertions))]
use crate::sys::abi::Sqe;

#[cfg(debug_assertions)]
mod books {
    use crate::sys::abi::{SQE_BUFFER_SELECT, Sqe, code};
    use std::collections::BTreeMap;
    use sync_base::sync::Mutex;

    sync_base::global! {
        /// Start of a range lent for writing -> its end.
        static LENT: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());
    }

    /// What one ring has lent, by slot.
    #[derive(Debug, Default)]
    pub(crate) struct Ledger {
        slots: BTreeMap<u32, usize>,
    }

    impl Ledger {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn lend(&mut self, slot: u32, entry: &Sqe) {
            let writes = matches!(entry.opcode, code::READ | code::READ_FIXED | code::RECV);
            if !writes || entry.flags & SQE_BUFFER_SELECT != 0 || entry.len == 0 {
                return;
            }
            let (start, end) = (entry.addr as usize, entry.addr as usize + entry.len as usize);
            let mut lent = LENT.lock().unwrap_or_else(|e| e.into_inner());
            let before = lent.range(..end).next_back();
            if let Some((&other, &other_end)) = before.filter(|(_, other_end)| **other_end > start) {
                panic!(
                    "the kernel was lent {start:#x}..{end:#x} while it may write {other:#x}..{other_end:#x}"
                );
            }
            lent.insert(start, end);
            self.slots.insert(slot, start);
        }

        pub(crate) fn returned(&mut self, slot: u32) {
            let Some(start) = self.slots.remove(&slot) else {
                return;
            };
            let back = LENT.lock().unwrap_or_else(|e| e.into_inner()).remove(&start);
            assert!(back.is_some(), "a buffer came back that was not out");
        }
    }

    impl Drop for Ledger {
        fn drop(&mut self) {
            let mut lent = LENT.lock().unwrap_or_else(|e| e.into_inner());
            for start in self.slots.values() {
                lent.remove(start);
            }
        }
    }
}

#[cfg(debug_assertions)]
pub(crate) use books::Ledger;

/// Nothing, in release builds.
#[cfg(not(debug_assertions))]
#[derive(Debug, Default)]
pub(crate) struct Ledger;

#[cfg(not(debug_assertions))]
impl Ledger {
    pub(crate) fn new() -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn lend(&mut self, _: u32, _: &Sqe) {}

    #[inline(always)]
    pub(crate) fn returned(&mut self, _: u32) {}
}
