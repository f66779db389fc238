//! Descriptor table with wait-free lookup, POSIX lowest-free insert and reuse detection.

mod entry;
mod error;
mod flags;
mod key;
mod numbers;
mod pages;
mod processes;

mod reclaim;
mod registered;

mod removed;
mod sever;
mod shared;
mod table;
mod word;

pub use error::{FdError, Refused};
pub use flags::Flags;
pub use key::{Handle, Key};
pub use processes::{PinnedProcesses, ProcessTables};
#[cfg(feature = "crossbeam-epoch")]
pub use reclaim::CrossbeamEpoch;
pub use reclaim::{Asymmetric, Reclaim};
pub use registered::{PinnedFiles, RegisteredFile, RegisteredFiles, Target};
pub use removed::{Closed, Removed};
pub use sever::{Sever, sever_descriptor};
pub use shared::Shared;
pub use table::{FdTable, Open, Pinned, Placed, Swept};
