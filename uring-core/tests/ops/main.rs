//! Each operation against the system calls that it stands for, and what becomes of it when it is let go of.
//!
//! What is shown of each family, and where (a dash: it has none of it):
//!
//! | family | its refusals | short | interrupted | beyond 4 GiB | offset -1 | nothing |
//! |---|---|---|---|---|---|---|
//! | read, write | shape, files | shape | sockets | shape | shape | shape |
//! | vectored | shape, edges | shape | as read | shape | edges | shape |
//! | leased | leases | leases | leases | - | - | leases (the end) |
//! | splice, tee | pipes | edges | - | pipes | edges | edges |
//! | open, close | files, paths, direct | - | files | - | - | edges |
//! | flush | edges | - | - | shape | - | edges |
//! | space, advice | shape, edges | - | - | shape | edges | shape, edges |
//! | statx, attributes | shape | shape (`ERANGE`) | - | - | - | shape |
//! | paths | paths | - | - | - | - | edges |
//! | sockets | sockets, edges | - | letting_go | - | - | - |
//! | send, receive | sockets, edges, zero_copy | sockets | sockets | - | - | edges |
//! | messages | sockets | sockets (cut) | sockets | - | - | sockets, edges |
//! | rings | rings | - | - | - | - | rings |
//! | poll, time | time, edges | - | time, letting_go | - | - | edges |
//! | futex, children | waiting, edges | - | waiting | - | - | edges |
//! | slots, slabs | direct, slabs | slabs | letting_go | - | - | slabs |
//!
//! On a kernel without an operation: `probed`, and refused.rs. Every ring here is [`counted`]: nothing is in flight, leased or registered when its test is over. One that a test drops
//! on purpose with something on it is made by `drive::uncounted`.
#![cfg(not(any(loom, shuttle)))]

#[path = "../counted/mod.rs"]
mod counted;
mod counting;
mod direct;
mod drive;
mod edges;
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
