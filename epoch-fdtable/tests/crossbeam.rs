//! The suite on crossbeam-epoch.
#![cfg(all(feature = "crossbeam-epoch", not(any(loom, shuttle))))]

type Backend = epoch_fdtable::CrossbeamEpoch;

mod suite;
