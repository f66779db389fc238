//! The submissions that a ring has in flight, found by slot, by `user_data`, or by what they wait for.
//!
//! ```text
//!            ┌─► Held: behind a predecessor in its chain
//!   submit ──┤
//!            └─► Running ──┬─► Waiting   in the queue of a descriptor, until it is ready
//!                 ▲        ├─► Watching  a series of polls, on a descriptor of its own
//!                 │        ├─► Sleeping  until a time
//!                 │        ├─► Blocking  a job of the pool
//!                 │        ├─► Starved   a series that found the completion queue full
//!                 │        └─► gone: its last completion is in the queue
//!                 └─ ready, due, delivered, room
//!   Bound: a linked timeout, beside the request that it limits
//! ```
//!
//! - **Q1** a key is a slot and its generation, which advances when the slot is freed: a result or an event that names an
//!   older one finds nobody.
//! - **Q2** each request leaves exactly once, with its last completion.

use super::tables::Picked;
use crate::sys::abi::Sqe;
use std::collections::{BTreeSet, HashMap};
use std::os::fd::{OwnedFd, RawFd};
use sync_base::sync::Arc;

/// What a request does now.
#[derive(Debug)]
pub(super) enum State {
    /// The slot is empty.
    Free,
    /// Waits for its predecessor.
    Held,
    /// Being attempted, or about to be.
    Running,
    /// In the queue of its descriptor.
    Waiting,
    /// A series of polls.
    Watching { own: OwnedFd },
    /// Due at this time of the monotonic clock, in nanoseconds.
    Sleeping(u64),
    /// In the pool.
    Blocking,
    /// A series that waits for room.
    Starved,
    /// Limits another request; due at a time once that runs.
    Bound { of: u32, due: Option<u64> },
}

/// One submission in flight.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) generation: u32,
    pub(super) state: State,
    pub(super) sqe: Sqe,
    /// The descriptor to work on, that of a registered file included.
    pub(super) fd: RawFd,
    pub(super) file: Option<Arc<OwnedFd>>,
    /// The second descriptor of a splice, where it is a registered file.
    pub(super) second: Option<Arc<OwnedFd>>,
    /// What starts when this one succeeded.
    pub(super) next: Option<u32>,
    /// The linked timeout that limits this one.
    pub(super) limit: Option<u32>,
    /// Bytes moved so far by an operation that goes on; for a connection, 1 once it was asked for.
    pub(super) moved: u32,
    /// A series that has given something already.
    pub(super) goes_on: bool,
    /// Cancelled while a thread was at it: it ends with whatever that brings.
    pub(super) called_off: bool,
    pub(super) picked: Option<Picked>,
}

/// Every request of a ring.
#[derive(Debug, Default)]
pub(super) struct Requests {
    slots: Vec<Request>,
    free: Vec<u32>,
    by_user_data: HashMap<u64, u32>,
    /// Whatever is due at a time: that time and the slot.
    timers: BTreeSet<(u64, u32)>,
}

impl Requests {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes one in; `named` when it can be found by its `user_data`.
    pub(super) fn add(&mut self, sqe: Sqe, named: bool) -> u32 {
        let slot = self.free.pop().unwrap_or(self.slots.len() as u32);
        let request = Request {
            generation: self.slots.get(slot as usize).map_or(0, |r| r.generation),
            state: State::Running,
            sqe,
            fd: sqe.fd,
            file: None,
            second: None,
            next: None,
            limit: None,
            moved: 0,
            goes_on: false,
            called_off: false,
            picked: None,
        };
        match self.slots.get_mut(slot as usize) {
            Some(place) => *place = request,
            None => self.slots.push(request),
        }
        if named {
            self.by_user_data.insert(sqe.user_data, slot);
        }
        slot
    }

    /// Lets one go.
    pub(super) fn remove(&mut self, slot: u32) -> Request {
        self.stop_timer(slot);
        let place = &mut self.slots[slot as usize];
        debug_assert!(!matches!(place.state, State::Free), "Q2: it leaves once");
        let empty = Request {
            generation: place.generation.wrapping_add(1),
            state: State::Free,
            sqe: Sqe::default(),
            fd: -1,
            file: None,
            second: None,
            next: None,
            limit: None,
            moved: 0,
            goes_on: false,
            called_off: false,
            picked: None,
        };
        let request = std::mem::replace(place, empty);
        self.free.push(slot);
        if self.by_user_data.get(&request.sqe.user_data) == Some(&slot) {
            self.by_user_data.remove(&request.sqe.user_data);
        }
        request
    }

    pub(super) fn get(&mut self, slot: u32) -> &mut Request {
        &mut self.slots[slot as usize]
    }

    /// The name that only this request has.
    pub(super) fn key(&self, slot: u32) -> u64 {
        u64::from(self.slots[slot as usize].generation) << 32 | u64::from(slot)
    }

    /// The slot of a key, if what it names is still there (Q1).
    pub(super) fn find(&self, key: u64) -> Option<u32> {
        let (slot, generation) = (key as u32, (key >> 32) as u32);
        let request = self.slots.get(slot as usize)?;
        let alive = request.generation == generation && !matches!(request.state, State::Free);
        alive.then_some(slot)
    }

    pub(super) fn by_user_data(&self, user_data: u64) -> Option<u32> {
        self.by_user_data.get(&user_data).copied()
    }

    /// Slots in use, oldest slot first.
    pub(super) fn occupied(&self) -> Vec<u32> {
        let all = 0..self.slots.len() as u32;
        all.filter(|&slot| !matches!(self.slots[slot as usize].state, State::Free))
            .collect()
    }

    /// Makes a request due at a time.
    pub(super) fn start_timer(&mut self, slot: u32, due: u64) {
        match &mut self.slots[slot as usize].state {
            State::Bound { due: at, .. } => *at = Some(due),
            state => *state = State::Sleeping(due),
        }
        self.timers.insert((due, slot));
    }

    /// Takes a request's time away.
    pub(super) fn stop_timer(&mut self, slot: u32) {
        if let State::Sleeping(due) | State::Bound { due: Some(due), .. } = self.slots[slot as usize].state {
            self.timers.remove(&(due, slot));
        }
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.timers.first().map(|&(due, _)| due)
    }

    /// Takes the oldest that is due by `now`.
    pub(super) fn pop_due(&mut self, now: u64) -> Option<u32> {
        let &(due, slot) = self.timers.first()?;
        if due > now {
            return None;
        }
        self.timers.remove(&(due, slot));
        Some(slot)
    }
}
