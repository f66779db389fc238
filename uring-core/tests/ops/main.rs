//! Each operation against the system calls that it stands for, and what becomes of it when it is let go of.
//!
//! Every ring here is [`counted`]: nothing is in flight, leased or registered when its test is over. One that a test drops
//! on purpose with something on it is made by `drive::uncounted`.
#![cfg(not(any(loom, shuttle)))]

#[path = "../counted/mod.rs"]
mod counted;
mod counting;
mod direct;
mod drive;
mod files;
mod leases;
mod letting_go;
mod overflow;
mod paths;
mod pipes;
mod probed;
mod rings;
mod shape;
mod slabs;
mod sockets;
mod time;
mod waiting;
mod zero_copy;
