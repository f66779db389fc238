//! The engine on real threads: set-up, tasks, messages, submissions, ends.
#![cfg(not(any(loom, shuttle)))]

mod ends;
mod everywhere;
mod kit;
mod room;
mod setup;
mod storm;
mod submissions;
mod tasks;
mod windows;
