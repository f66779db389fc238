//! Operations that depend on each other, submitted as one.
//!
//! A [`Batch`] is a directed graph of operations of any types. Where the graph allows, it is submitted as chains that the
//! kernel runs by itself (`IOSQE_IO_LINK`); what no chain can say is seen to when the completions
//! come. Either way the outcome is the same: that of running each operation when what it waits for is over.
//!
//! ```
//! use std::{fs::File, sync::Arc};
//! use uring_core::{LocalRing, batch::Batch, op::{Fsync, Write}};
//! let ring = LocalRing::new()?;
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("log");
//! let file = Arc::new(File::create(path)?);
//! let mut batch = Batch::new();
//! let write = batch.add(Write::new(file.clone(), b"entry".to_vec()).at(0)).unwrap();
//! let sync = batch.add(Fsync::new(file)).unwrap();
//! batch.needs(sync, write)?; // only if every byte was written
//! let mut results = ring.block_on(ring.run_batch(batch).unwrap())?;
//! assert!(results.is_success());
//! let (written, buffer) = results.take(write).unwrap();
//! assert_eq!((written?, buffer.len()), (5, 5));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Four parts, each for itself: the graph as the caller builds it, the plan (`plan`, a pure function from graph to chains),
//! the progress through it (`progress`, pure too: completions in, what to submit next out), and the future that puts both
//! on a ring.

mod build;
#[cfg(all(test, not(any(loom, shuttle))))]
mod entries;
mod fate;
mod member;
#[cfg(all(test, not(any(loom, shuttle))))]
mod oracle;
mod plan;
mod progress;
mod results;
mod run;

pub use build::{Batch, BatchError, NODES_MAX, Node, Refused};
pub use fate::{Cause, Fate};
pub use results::Results;
pub use run::Run;
