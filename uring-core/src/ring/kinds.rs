//! What each kind of operation did on one ring.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | loads and stores of the ring's thread | Relaxed | nothing: it is the one writer of every cell |
//! | loads of readers | Relaxed | nothing: each count is exact on its own and publishes no other |

use super::operation::Outcome;
use crate::sys::abi::code;
use crate::sys::probe::operation;
use sync_base::atomic::{AtomicU64, Ordering};

/// Kinds that are told apart: more than there are operations.
const KINDS: usize = 64;

seqstats::stats! {
    /// What the operations of one kind did on a ring.
    pub struct OpStats("uring_op") {
        /// Operations whose last completion came.
        counter completed,
        /// Of those, how many failed (cancelled ones included).
        counter failed,
        /// Bytes moved, where the operation moves some.
        counter bytes,
    }
}

/// Half a cache line, so that a kind is on one.
#[derive(Debug, Default)]
#[repr(align(32))]
struct Kind {
    completed: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
}

/// Counts by kind. One writer, any number of readers.
#[derive(Debug)]
pub(super) struct Kinds {
    kinds: Box<[Kind]>,
}

#[inline]
fn add(cell: &AtomicU64, n: u64) {
    // Relaxed: the ring's thread is the one writer, and a reader needs no other count with this one.
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

/// Whether a result of this operation is a count of bytes.
const fn moves_bytes(opcode: u8) -> bool {
    matches!(
        opcode,
        code::READ
            | code::READV
            | code::READ_FIXED
            | code::READ_MULTISHOT
            | code::WRITE
            | code::WRITEV
            | code::WRITE_FIXED
            | code::RECV
            | code::RECVMSG
            | code::SEND
            | code::SENDMSG
            | code::SEND_ZC
            | code::SENDMSG_ZC
            | code::SPLICE
            | code::TEE
    )
}

/// [`moves_bytes`] as a mask.
const BYTES: u64 = {
    let (mut mask, mut opcode) = (0, 0);
    while opcode < KINDS as u8 {
        mask |= (moves_bytes(opcode) as u64) << opcode;
        opcode += 1;
    }
    mask
};

impl Kinds {
    pub(super) fn new() -> Self {
        Self {
            kinds: (0..KINDS).map(|_| Kind::default()).collect(),
        }
    }

    /// Counts the last completion of an operation.
    #[inline]
    pub(super) fn completed(&self, opcode: u8, result: i32) {
        let kind = &self.kinds[usize::from(opcode) % KINDS];
        add(&kind.completed, 1);
        if result < 0 {
            add(&kind.failed, 1);
        } else if BYTES >> (opcode % KINDS as u8) & 1 != 0 {
            add(&kind.bytes, result as u64);
        }
    }

    /// Counts what a completion brought that is not the last of its operation.
    pub(super) fn shot(&self, opcode: u8, outcome: Outcome) {
        if outcome.raw > 0 && BYTES >> (opcode % KINDS as u8) & 1 != 0 {
            add(&self.kinds[usize::from(opcode) % KINDS].bytes, outcome.raw as u64);
        }
    }

    /// The kinds that ever completed or moved anything, each by the kernel's name.
    pub(super) fn read(&self) -> Vec<(&'static str, OpStats)> {
        // Relaxed: as in `add`.
        let load = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        let all = self.kinds.iter().enumerate().map(|(opcode, kind)| {
            let stats = OpStats {
                completed: load(&kind.completed),
                failed: load(&kind.failed),
                bytes: load(&kind.bytes),
            };
            (operation(opcode as u8).map_or("unknown", |(name, _)| name), stats)
        });
        all.filter(|(_, stats)| *stats != OpStats::default()).collect()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn counts_are_by_kind_and_bytes_only_where_they_are_moved() {
        let kinds = Kinds::new();
        assert!(kinds.read().is_empty());
        kinds.completed(code::READ, 4096);
        kinds.completed(code::READ, -libc::EIO);
        kinds.completed(code::OPENAT, 7);
        kinds.shot(code::RECV, Outcome { raw: 100, flags: 0 });
        let told = kinds.read();
        let of = |name| told.iter().find(|(n, _)| *n == name).map(|(_, stats)| *stats);
        let stats = |completed, failed, bytes| {
            Some(OpStats {
                completed,
                failed,
                bytes,
            })
        };
        assert_eq!(of("READ"), stats(2, 1, 4096));
        assert_eq!(of("OPENAT"), stats(1, 0, 0));
        assert_eq!(of("RECV"), stats(0, 0, 100));
        assert_eq!(told.len(), 3);
    }
}
