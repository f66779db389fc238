//! Read-mostly concurrent map, snapshot map and RCU cell with plain-store read sections.

#[cfg(not(target_pointer_width = "64"))]
compile_error!(
    "rcu-map keeps hash bits in the upper 16 bits of 64-bit addresses; other widths are not supported"
);

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
