//! Read-mostly concurrent map, snapshot map and RCU cell with plain-store read sections.
//!
//! # The problem
//! Process tables, routes, rules and configuration are read at every request and written now and then. A lock makes
//! readers write a shared word; so does cloning an `Arc` out of a map, and threads that clone the same one queue for its
//! count. Here a reader *borrows*: it enters a read section by a plain store to a word of its own, follows pointers, and
//! leaves. What writers replace is freed after the last reader that could see it.
//!
//! ```
//! use rcu_map::RcuMap;
//! let map = RcuMap::new();
//! map.insert("route", 1);
//! std::thread::scope(|s| {
//!     s.spawn(|| map.insert("route", 2));
//!     let reader = map.reader(); // one a thread
//!     assert!(matches!(reader.get("route").as_deref(), Some(1 | 2))); // never absent, never half
//! });
//! ```
//!
//! # Which one
//! - [`RcuMap`]: entries change one by one. Writes cost O(1) whatever the size; look-ups are wait-free. Iteration is weakly
//!   consistent, [`RcuMap::snapshot`] is consistent.
//! - [`SnapshotMap`]: the whole map is one version. Reads are those of a `HashMap`, a snapshot costs O(1), a batch is
//!   visible at once; **each write copies everything**.
//! - [`RcuCell`]: one value of any type, replaced as a whole. Its reader keeps one version throughout a request.
//!
//! # When not to use it
//! - Writes are as frequent as reads, or values are changed in place: a sharded lock (dashmap) writes without
//!   allocating and needs no reclamation.
//! - A value's destructor must run *now*: removal here frees after the last reader, some batches later.
//! - Keys or values borrow from somewhere, or are not `Send + Sync`: they must outlive any reader.
//! - Hundreds of tiny maps: an empty [`RcuMap`] takes some 17 KiB; build it with one shard, or take [`SnapshotMap`].
//! - Readers sleep inside a section: they hold up everything removed since. Keep an [`Entry`] or an `Arc` instead.
//!
//! # Against others
//! | | readers write shared memory | a read may wait | borrow without a guard type | replaced key ever absent | O(1) write | consistent snapshot | several keys at once |
//! |---|---|---|---|---|---|---|---|
//! | [`RcuMap`] | no | no | in a closure | no | yes | yes, O(n) | no |
//! | [`SnapshotMap`] | no | no | in a closure | no | no, O(n) | yes, O(1) | yes |
//! | dashmap | yes, a shard's lock | yes; deadlocks if a guard is held across a write | no | no | yes | no | no |
//! | papaya | no, a fence each guard | no | no | no | yes | no | no |
//! | scc `HashIndex` | no | no | in a closure | yes, on replace by remove and insert | yes | no | no |
//! | `ArcSwap<HashMap>` | only on change, by `Cache` | no | no | no | no, O(n) | yes, O(1) | yes |
//! | `RwLock<HashMap>` | yes, one word for all | yes | no | no | yes | under the lock | under the lock |
//!
//! # Costs
//! Measured in one run with the peers by `cargo xtask claims --only map`, `--only snap`, `--only cell`; the figures stand in
//! `docs/BENCHMARKS.md`, misses included. Look-ups: claims `map.get.*`; reads beside writes: `map.mixed.*`; replace:
//! `map.replace.*`; the longest insert (it splits one table of at most 672 entries): `map.insert.worst`; iteration:
//! `map.iter` (prefetched in large maps, where that helps: [`Iter`]); the O(n) write of the snapshot map: `snap.write`;
//! `snap.get`, `cell.get.*`.
//!
//! # Hashers
//! Maps default to `std`'s `RandomState`, which strangers cannot aim collisions at; a probe forced to be long would slow
//! every reader of a shard. Choose a faster one where keys are trusted.
//!
//! # Memory held back
//! Every container lives in a [`sync_base::Domain`], the process-wide one unless told. `domain().stats()` shows what waits
//! and which reader it waits for; past the domain's limit a write that would make garbage waits a stated time, then goes past
//! the limit, counted. The `try_*` writes refuse instead and hand back what they were given ([`Rejected`]): of [`RcuMap`]
//! `try_insert`, `try_update`, `try_compute`, `try_compare_exchange`, and `try_remove`, `try_retain`, `try_clear`, which have
//! nothing to hand back but the reason; of [`SnapshotMap`] `try_insert`, `try_update`, `try_remove`, `try_clear` (its `try_batch` is a batch that may fail, and waits); of [`RcuCell`]
//! `try_store`. A write that makes no garbage (a new key, an absent one) never waits. Counted are nodes, versions and tables, and for a snapshot map its
//! table; not what keys and values own elsewhere.
//!
//! # Checked and trusted
//! The protocols run as shipped under loom (three threads with main, preemption bound 2; `loom-tests`), and the map's
//! operations are linearizable under shuttle with three to five threads. Trusted: the kernel's futex, `std`'s `HashMap` and `Arc`, and
//! what `sync-base` trusts.

mod cell;
mod error;
mod guard;
mod lock;
mod map;
#[cfg(feature = "serde")]
mod serde;
mod snapshot_map;

pub use cell::{CellExchangeError, CellReader, Loaded, RcuCell, Version};
pub use error::Rejected;
pub use map::{
    Action, Builder, CompareExchangeError, Entry, Former, Iter, Outcome, Pinned, RcuMap, Reader, Ref,
    Removed, Snapshot,
};
pub use snapshot_map::{Batch, SnapshotMap, SnapshotReader};
