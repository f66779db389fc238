//! Descriptor table with wait-free look-up, POSIX lowest-free insert and reuse detection.
//!
//! A process looks its descriptors up at every call and changes them seldom. [`FdTable`] lends the value of a descriptor
//! for the length of a read section, with no count touched and no lock taken; inserts, removes and replacements are
//! lock-free; a removed value goes back to the caller, or is ended promptly, or waits for its last reader.
//!
//! ```
//! use epoch_fdtable::{FdTable, Flags};
//! let table = FdTable::new();
//! let fd = table.insert("first")?; // the lowest free number
//! let copy = table.dup(fd)?; // another number, the same value
//! table.set_flags(copy, Flags::CLOSE_ON_EXEC)?;
//! assert_eq!(table.pin().get(fd), Some(&"first"));
//! drop(table.remove(fd));
//! assert_eq!(table.insert("second")?.number(), fd.number());
//! assert_eq!(table.pin().get(fd), None); // the old handle is not fooled
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # What is where
//! - [`FdTable`]: one table of any `T: Send + Sync`. [`Handle`] knows which opening of a number it means.
//! - [`ProcessTables`]: a table a process; fork, exec and exit against look-ups.
//! - [`RegisteredFiles`]: owns real files and maps each to the slot under which io_uring knows it.
//! - [`Sever`]: how [`FdTable::close`] ends a real descriptor that a reader is looking at; [`Plain`]: any type without such an
//!   end.
//! - [`Asymmetric`], and with feature `crossbeam-epoch` `CrossbeamEpoch`: how memory is reclaimed.
//!
//! # Consistency
//! Each descriptor by itself is linearizable: look-ups, replacements, flag changes and removals of one number agree on one
//! order. A replaced descriptor is never absent. Between the moment a number is taken and the moment its value is published
//! (and the reverse, when it is closed) it reads as not open and is not given out, as on Linux.
//!
//! [`FdTable::insert`] takes the lowest free number *of a run of 64* at one moment, and over the whole table no number below
//! the one it returns was free throughout the call; the one exception is stated there. Taking and giving back numbers is
//! linearizable within a run of 64 that does not fill up, and a thread alone always gets exactly what POSIX says.
//! [`FdTable::len`] and [`Pinned::iter`] are weakly consistent.
//!
//! # When not to use it
//! One thread only: `Vec<Option<T>>`. Nobody looks up, everybody inserts and removes: a mutex around a vector is simpler, and
//! claim `fdt.churn.lowest.2t` shows what it costs. Keys that are not small integers: `rcu-map`.
//!
//! # Costs
//! A look-up is three dependent loads inside a section of one store: claims `fdt.get.1t`, `fdt.get.2t`. Insert and remove
//! allocate and retire one node: `fdt.churn.lowest.2t`, `fdt.churn.any.2t`. [`FdTable::close`] runs one heavy barrier.
//!
//! # What is checked
//! Every protocol is model-checked as shipped (`loom-tests/tests/fdtable_*.rs`, three or four threads, bounded
//! preemptions); histories are compared with a vector of options and, under shuttle, with a sequential table. Trusted and not
//! checked: `membarrier(2)`, `dup3(2)`, crossbeam-epoch.

mod ending;
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
pub use sever::{Plain, Sever, sever_descriptor};
pub use shared::Shared;
pub use table::{FdTable, Open, Pinned, Placed, Swept};
