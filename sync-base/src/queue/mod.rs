//! Bounded queues that say what happens when they are full.
//!
//! | module | producers | consumers | a push or pop costs |
//! |---|---|---|---|
//! | [`spsc`] | one | one | a store; no read-modify-write unless it drops the oldest |
//! | [`mpsc`] | any | one | a compare-exchange each |
//! | [`mpmc`] | any | any | a compare-exchange each |
//!
//! Every queue has a capacity, an [`Overrun`] policy, a count of what the policy dropped ([`Drops`]), batch forms of push
//! and pop, and an end: after a close nothing more goes in, and a consumer learns that it has seen everything. Producers'
//! and consumers' indices lie on cache lines of their own. Waiting spins a little, yields a little, then sleeps.
//!
//! # When to use something else
//! `ringbuf` is as fast between one producer and one consumer (claim `queue.spsc`: ours takes 1.1 to 1.2 times as long, now and
//! then far longer), `crossbeam-queue` nearly so between many (`queue.mpsc`), and both have more conveniences.
//! These queues are here for what those leave out: the protocol is checked by a model under `--cfg loom`, drops are
//! counted, the oldest may give way, and a close loses nothing.

mod gate;
pub mod mpmc;
pub mod mpsc;
mod observed;
mod outcome;
mod ring;
pub mod spsc;
mod storage;

pub use outcome::{Closed, Drops, Overrun, PopError, PushError, Pushed};
