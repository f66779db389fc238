//! The binary as a user runs it.
#![cfg(not(any(loom, shuttle)))]

mod kit;
mod options;
mod probing;
mod running;
mod signals;
mod small_disks;
