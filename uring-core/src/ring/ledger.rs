//! A second set of books, kept in debug builds: which memory the kernel has, and whether its owner keeps off.
//!
//! Neither AddressSanitizer nor valgrind sees the kernel write into memory that was freed, so ownership is checked at
//! the two ends instead. When a buffer is lent for writing, its front and its end are put aside and poisoned; when it
//! comes back, what the kernel did not write must still be poison (somebody else wrote if not), and gets its bytes back.
//! One lent for reading is sealed: what is read must not change meanwhile. And no range may be lent for writing while
//! any part of it is lent for writing already, nor come back that was not out. The books of ranges are the process's, since
//! two rings must not share a buffer either.
//!
//! Followed are single buffers, lists of buffers (`readv`, `writev`), messages (`recvmsg`, `sendmsg`) by their lists, and the
//! memory of buffer groups, which is poisoned when it is provided and looked at when a completion names it.

#[cfg(not(debug_assertions))]
use crate::sys::abi::Sqe;

#[cfg(debug_assertions)]
mod books {
    use crate::sys::abi::{SQE_BUFFER_SELECT, Sqe, code};
    use crate::sys::fork::PerProcess;
    use std::collections::BTreeMap;
    use std::mem::MaybeUninit;
    use std::ops::Range;
    use std::ptr::NonNull;
    use sync_base::sync::{Mutex, MutexGuard};

    /// Bytes at each end of a buffer that are watched.
    const EDGE: usize = 64;
    /// What nobody writes by accident in a row.
    const POISON: u8 = 0xDB;

    sync_base::global! {
        /// Start of a range lent for writing -> its end.
        static LENT: PerProcess<Mutex<BTreeMap<usize, usize>>> = PerProcess::new();
    }

    fn lent() -> MutexGuard<'static, BTreeMap<usize, usize>> {
        let ranges = LENT.get(|| Mutex::new(BTreeMap::new()));
        ranges.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// One buffer that is out.
    struct Loan {
        start: usize,
        len: usize,
        /// Where it begins among the bytes of its operation.
        at: usize,
        /// Lent for writing, not for reading.
        written: bool,
        /// The bytes of front and end: as they were, for writing; as they must stay, for reading.
        aside: [MaybeUninit<u8>; 2 * EDGE],
    }

    /// What one ring has lent, by slot and position in the list of that operation's buffers.
    #[derive(Default)]
    pub(crate) struct Ledger {
        loans: BTreeMap<(u32, u32), Loan>,
    }

    impl std::fmt::Debug for Ledger {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_set().entries(self.loans.keys()).finish()
        }
    }

    /// The list of buffers that an entry names, for those that name one, and whether they are written.
    fn list_of(entry: &Sqe) -> Option<(&[libc::iovec], bool)> {
        let (at, count, written) = match entry.opcode {
            code::READV | code::WRITEV => (
                entry.addr as *const libc::iovec,
                entry.len as usize,
                entry.opcode == code::READV,
            ),
            code::RECVMSG | code::SENDMSG | code::SENDMSG_ZC => {
                let message = entry.addr as *const libc::msghdr;
                // SAFETY: the operation owns the head that its entry names.
                let message = unsafe { message.as_ref() }?;
                let written = entry.opcode == code::RECVMSG;
                (message.msg_iov.cast_const(), message.msg_iovlen as _, written)
            }
            _ => return None,
        };
        if at.is_null() || count == 0 {
            return Some((&[], written));
        }
        // SAFETY: as above, for a list of so many.
        Some((unsafe { std::slice::from_raw_parts(at, count) }, written))
    }

    /// Poisons memory that the kernel may fill from now on.
    pub(crate) fn provide(at: NonNull<u8>, len: usize) {
        for range in edges(len) {
            // SAFETY: memory of a group that nobody else has and the kernel has not been given yet.
            unsafe { at.add(range.start).write_bytes(POISON, range.len()) };
        }
    }

    /// Checks what was poisoned of memory that the kernel has filled up to `filled` and fills no further.
    pub(crate) fn filled(at: NonNull<u8>, len: usize, filled: usize) {
        for range in edges(len) {
            for offset in range.start.max(filled)..range.end {
                // SAFETY: memory of a group, initialised, and given back by the kernel.
                let found = unsafe { at.add(offset).read() };
                assert!(
                    found == POISON,
                    "byte {offset} of a provided buffer of {len} was touched while the kernel had it"
                );
            }
        }
    }

    /// Front and end of a buffer, not overlapping, as offsets.
    fn edges(len: usize) -> [Range<usize>; 2] {
        let front = len.min(EDGE);
        [0..front, len.saturating_sub(EDGE).max(front)..len]
    }

    impl Loan {
        fn out(start: usize, len: usize, at: usize, written: bool) -> Self {
            let mut loan = Self {
                start,
                len,
                at,
                written,
                aside: [MaybeUninit::uninit(); 2 * EDGE],
            };
            for (range, keep) in edges(len).into_iter().zip([0, EDGE]) {
                let at = (start + range.start) as *mut MaybeUninit<u8>;
                let aside = loan.aside[keep..].as_mut_ptr();
                // SAFETY: memory of an operation that the ring owns and has not yet submitted; `aside` has room for an
                // edge. Uninitialised bytes are copied as such.
                unsafe { std::ptr::copy_nonoverlapping(at, aside, range.len()) };
                if written {
                    // SAFETY: as above, and valid for writes by the contract of `IoBufMut`.
                    unsafe { std::ptr::write_bytes(at.cast::<u8>(), POISON, range.len()) };
                }
            }
            loan
        }

        /// Checks the watched bytes from offset `from` on; those lent for writing get back what they were. Where the kernel
        /// left open how much it wrote (`None`), what is no longer poison counts as written.
        fn back(&self, from: Option<usize>) {
            for (range, keep) in edges(self.len).into_iter().zip([0, EDGE]) {
                for offset in range.start.max(from.unwrap_or(0))..range.end {
                    let at = (self.start + offset) as *mut MaybeUninit<u8>;
                    let aside = self.aside[keep + offset - range.start];
                    // SAFETY: the memory is still the operation's; poisoned, or initialised by the contract of `IoBuf`.
                    let found = unsafe { at.cast::<u8>().read() };
                    let expected = if self.written {
                        POISON
                    } else {
                        // SAFETY: copied from a buffer lent for reading, which is initialised.
                        unsafe { aside.assume_init() }
                    };
                    if from.is_none() && found != expected {
                        continue;
                    }
                    assert!(
                        found == expected,
                        "byte {offset} of a buffer of {} was touched while the kernel had it",
                        self.len
                    );
                    if self.written {
                        // SAFETY: as above, valid for writes.
                        unsafe { at.write(aside) };
                    }
                }
            }
        }
    }

    /// What the result tells of the bytes that the kernel wrote: all before this offset may be new. `None` where an error
    /// leaves it open.
    fn written_up_to(result: i32) -> Option<usize> {
        match result {
            0.. => Some(result as usize),
            code if [libc::ECANCELED, libc::EAGAIN, libc::EINTR, libc::EBADF].contains(&-code) => Some(0),
            _ => None,
        }
    }

    impl Ledger {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn lend(&mut self, slot: u32, entry: &Sqe) {
            if entry.flags & SQE_BUFFER_SELECT != 0 {
                return;
            }
            if let Some((list, written)) = list_of(entry) {
                let mut at = 0;
                for (number, part) in (0..).zip(list) {
                    self.lend_range((slot, number), part.iov_base as usize, part.iov_len, at, written);
                    at += part.iov_len;
                }
                return;
            }
            let written = match entry.opcode {
                code::READ | code::READ_FIXED | code::RECV => true,
                code::WRITE | code::WRITE_FIXED | code::SEND | code::SEND_ZC => false,
                _ => return,
            };
            self.lend_range((slot, 0), entry.addr as usize, entry.len as usize, 0, written);
        }

        fn lend_range(&mut self, key: (u32, u32), start: usize, len: usize, at: usize, written: bool) {
            if len == 0 {
                return;
            }
            let end = start + len;
            if written {
                let mut lent = lent();
                let before = lent.range(..end).next_back();
                if let Some((&other, &other_end)) = before.filter(|(_, other_end)| **other_end > start) {
                    drop(lent);
                    panic!(
                        "the kernel was lent {start:#x}..{end:#x} while it may write {other:#x}..{other_end:#x}"
                    );
                }
                lent.insert(start, end);
            }
            self.loans.insert(key, Loan::out(start, len, at, written));
        }

        pub(crate) fn returned(&mut self, slot: u32, result: i32) {
            let mut next = (slot, 0);
            while let Some((&key, _)) = self.loans.range(next..=(slot, u32::MAX)).next() {
                let loan = self.loans.remove(&key).expect("just found");
                next = key;
                if loan.written {
                    let back = lent().remove(&loan.start);
                    assert!(back.is_some(), "a buffer came back that was not out");
                }
                loan.back(if loan.written {
                    written_up_to(result).map(|bytes| bytes.saturating_sub(loan.at))
                } else {
                    Some(0)
                });
            }
        }
    }

    impl Drop for Ledger {
        fn drop(&mut self) {
            let mut lent = lent();
            for loan in self.loans.values().filter(|loan| loan.written) {
                lent.remove(&loan.start);
            }
        }
    }

    #[cfg(all(test, not(any(loom, shuttle))))]
    mod tests {
        use super::*;

        fn entry(opcode: u8, buf: &mut [u8]) -> Sqe {
            Sqe {
                addr: buf.as_mut_ptr() as u64,
                len: buf.len() as u32,
                ..Sqe::new(opcode, -1)
            }
        }

        #[test]
        fn d7_what_the_kernel_did_not_write_is_as_it_was() {
            for len in [1usize, 63, 64, 65, 127, 128, 129, 300] {
                let mut buf: Vec<u8> = (0..len).map(|i| i as u8).collect();
                let before = buf.clone();
                let mut ledger = Ledger::new();
                ledger.lend(0, &entry(code::READ, &mut buf));
                assert_eq!((buf[0], buf[len - 1]), (POISON, POISON));
                let read = len / 3;
                buf[..read].fill(7);
                ledger.returned(0, read as i32);
                assert!(buf[..read].iter().all(|&b| b == 7));
                assert_eq!(buf[read..], before[read..], "{len}");
            }
        }

        #[test]
        #[should_panic(expected = "was touched while the kernel had it")]
        fn d7_buffer_written_by_its_owner_while_it_is_read_into_is_told() {
            let mut buf = vec![0u8; 16];
            let mut ledger = Ledger::new();
            ledger.lend(0, &entry(code::READ, &mut buf));
            buf[9] = 1;
            ledger.returned(0, -libc::ECANCELED);
        }

        #[test]
        #[should_panic(expected = "was touched while the kernel had it")]
        fn d7_buffer_written_by_its_owner_while_it_is_written_from_is_told() {
            let mut buf = vec![0u8; 200];
            let mut ledger = Ledger::new();
            ledger.lend(0, &entry(code::WRITE, &mut buf));
            buf[199] = 1;
            ledger.returned(0, 200);
        }

        #[test]
        #[should_panic(expected = "while it may write")]
        fn d7_buffer_lent_twice_is_told() {
            let mut buf = vec![0u8; 16];
            let mut ledger = Ledger::new();
            ledger.lend(0, &entry(code::READ, &mut buf));
            ledger.lend(1, &entry(code::RECV, &mut buf[4..]));
        }
    }
}

#[cfg(debug_assertions)]
pub(crate) use books::{Ledger, filled, provide};

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
    pub(crate) fn returned(&mut self, _: u32, _: i32) {}
}

#[cfg(not(debug_assertions))]
#[inline(always)]
pub(crate) fn provide(_: std::ptr::NonNull<u8>, _: usize) {}

#[cfg(not(debug_assertions))]
#[inline(always)]
pub(crate) fn filled(_: std::ptr::NonNull<u8>, _: usize, _: usize) {}
