//! Each operation against the system calls that it stands for, and what becomes of it when it is let go of.
#![cfg(not(any(loom, shuttle)))]

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
