//! Reclamation: memory unlinked from a shared structure is freed once no reader can still hold it.
//!
//! A reader is inside a *section*, held open by a [`Guard`]; it finds pointers with plain Acquire loads and may follow
//! them until the guard ends. A writer unlinks an object and *retires* it. Entering a section is one plain store; the
//! reclaimer pays for it with one heavy barrier a batch.
//!
//! # States
//! A record's state word is `epoch | flags | depth`. Depth 0: idle. Moves, all by the owner: idle ->
//! pinned at the epoch read just before; pinned -> pinned deeper or less deep, same epoch; pinned once -> pinned at a
//! newer epoch (`repin`); pinned -> idle.
//!
//! An object is *linked*, then in its retirer's open *bag*, then in a *sealed* batch with a stamp, where it waits for a
//! barrier that comes after the stamp, its thread's own or another's; then freed.
//!
//! # Invariants
//! - I1: an object is unlinked before its batch is stamped, and a stamp ends its epoch: a reader that entered at a
//!   greater epoch than the stamp cannot find the object.
//! - I2: `hi` is read before the heavy barrier; a batch is freed only if its stamp is below `hi` and below the epoch of
//!   every record found pinned by a scan after the barrier.
//! - I3: a reader not found pinned by that scan either pinned after the barrier, and then does not find the object, or
//!   has left, and then its reads come before the free.
//! - I4: an epoch in a record may be stale, never ahead: staleness only delays.
//! - I5: a record has one owner, who alone writes its state and touches its bag; records are never freed while the core
//!   lives, and are reused.
//! - I6: a batch is in one list or owned by one thread.
//! - I7: what was retired as scarce is counted before its batch can be taken, and uncounted once the batch is empty: so
//!   the count falls to zero, and with it the price of looking, and is never less than what waits.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | `epoch` fetch_add in `stamp` | AcqRel | Acquire in `enter`, `barrier`: I1, I2 |
//! | `epoch` load in `enter` | Acquire | Release in `stamp`: I1 |
//! | `state` store in `enter`, nested, `repin` | Release | Acquire in `scan`: it may hide the unpin before it: I3 |
//! | `state` store in `drop` | Release | Acquire in `scan`: I3 |
//! | light barrier after `enter` | - | heavy barrier in `barrier`: I3 |
//! | `done` fetch_max, load | AcqRel, Acquire | each other: one thread's barrier serves others |
//! | `done` load in `is_due` | Relaxed | a hint: `horizon` loads again |
//! | `sealed` push, take | Release, Acquire | each other: I6 |
//! | `scarce` | Relaxed | a hint; the hand-over of the batch orders adding before subtracting: I7 |
//!
//! # Limits
//! A reader that stays holds back all that is retired meanwhile. A domain's garbage limit bounds that: see
//! [`Domain::try_admit`], [`Domain::admit`]. Reads are never refused.
//!
//! # Signals, forks, thread exit
//! Pinning in a signal handler is sound on a registered thread ([`Domain::pin_registered`]); retiring there is not. After
//! `fork` the child ignores the guards of threads that it does not have; what they had not handed over leaks, once. An
//! exiting thread hands its garbage over and its record back; thread-local destructors that run later pin through a
//! record of one section.

mod bag;
mod collect;
mod core;
mod fork;
mod grace;
mod guard;
mod handle;
mod limit;
mod local;
mod reader;
mod record;
mod stats;
mod thread_id;
mod word;

pub use fork::forks;
pub use grace::Grace;
pub use guard::Guard;
pub use handle::{Builder, Domain};
pub use limit::Stalled;
pub use reader::Reader;
pub use stats::DomainStats;
