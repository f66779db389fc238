//! The suite on the default backend.
#![cfg(not(any(loom, shuttle)))]

type Backend = epoch_fdtable::Asymmetric;

mod suite;
