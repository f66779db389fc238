#![doc = include_str!("../README.md")]

#[cfg(any(feature = "futures-io", feature = "tokio"))]
#[cfg(any(feature = "futures-io", feature = "tokio"))]
pub mod adapt;
mod backend;
pub mod batch;
pub mod buffer;
pub mod engine;
mod error;
mod exec;
pub mod file;
pub mod flow;
pub mod op;
pub mod pace;
pub mod permit;
mod ring;
pub mod shared;
pub mod stats;
mod sys;

#[doc = include_str!("../THREADS.md")]
pub mod threads {}

pub use backend::sim;
pub use error::{Error, ErrorKind, RefusedBy, Rejected, SetupError};
pub use exec::{Driver, block_on};
pub use ring::{
    CLOSURE_BYTES, Carrier, Core, Done, Items, LATENCY_BUCKETS, LocalRing, Multishot, Op, OpId, OpStats,
    Operation, Options, Outcome, Ring, RingRef, RingStats, StatsHandle, Taken, Token, Totals, totals,
};
pub use shared::{SharedRing, Ticket};
pub use sys::abi;
pub use sys::ladder::{Refusal, RingInfo, Rung};
pub use sys::limits::Limits;
pub use sys::probe::{Advice, Capability, Probe, probe};

/// The reaper's list, for its model.
#[cfg(loom)]
#[doc(hidden)]
pub use ring::reaper::{Ward, Watch, watch};

/// What ends the sleep of `block_on` and of a core, for their models.
#[cfg(loom)]
#[doc(hidden)]
pub use exec::alarm::{Alarm, Chime};

/// Tasks woken by other threads, and what they answer, for their models.
#[cfg(loom)]
#[doc(hidden)]
pub use exec::{
    claim::QueueClaim,
    reply::Reply,
    wakes::{Linked, Wakes},
};

/// A core's mailbox, for its model.
#[cfg(loom)]
#[doc(hidden)]
pub use engine::mailbox::{Letters, Mailbox, mailbox};

/// What a ring's numbers go through, and the words that slots are looked up in, for their models.
#[cfg(loom)]
#[doc(hidden)]
pub use {
    file::words::Words,
    ring::registry::{Leaving, Registry},
};

/// The pool and the hand-over of the fallback, for their models.
#[cfg(loom)]
#[doc(hidden)]
pub use backend::fallback::{
    handover::{Bell, Inbox, Outbox, handover},
    pool::{Pool, Work},
};

/// Who turns a shared ring and who is woken, for their models.
#[cfg(loom)]
#[doc(hidden)]
pub use shared::{
    hub::{Hub, Port, Sleep},
    seat::{Claim, Landing, Strike, Wake, seat},
};

/// The look-up of a completion alone, for the claim that measures it.
#[doc(hidden)]
pub use ring::matching::Matching;
