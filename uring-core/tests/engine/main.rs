//! The engine on real threads: set-up, tasks, messages, submissions, ends.
#![cfg(not(any(loom, shuttle)))]

mod kit;
mod setup;
mod submissions;
mod tasks;
