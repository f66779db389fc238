//! A ring that counts, when its test is over, what the test left behind: nothing, unless the test says otherwise.
//!
//! Declared before what is made on it, it goes last. CountedRing are operations in flight, completions that nobody took,
//! slots of files, slots of registered memory, groups of provided buffers, and completions that were nobody's. A lease
//! keeps its slab or its group, so that none is out when these are zero.
#![allow(dead_code, reason = "each test program uses what it needs")]

use std::cell::Cell;
use std::ops::Deref;
use std::time::Duration;
use uring_core::{Core, LocalRing, Options};

/// How often an operation in flight is waited for while none ends, and how long each time.
const ROUNDS: u32 = 40;
const ROUND: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug)]
pub(crate) struct CountedRing {
    ring: LocalRing,
    files_kept: Cell<usize>,
    patience: Cell<u32>,
}

impl CountedRing {
    /// Makes a ring whose end is checked.
    pub(crate) fn with(options: &Options) -> Self {
        Self {
            ring: LocalRing::with(options).unwrap(),
            files_kept: Cell::new(0),
            patience: Cell::new(ROUNDS),
        }
    }

    /// Waits once for an operation that does not end, and not long.
    pub(crate) fn is_impatient(&self) {
        self.patience.set(1);
    }

    /// Says that the test registers exactly so many files for good: such a slot is never given back.
    pub(crate) fn keeps_files(&self, count: usize) {
        self.files_kept.set(count);
    }

    /// What was left behind.
    fn audit(&self) -> Result<(), String> {
        settled(&self.ring, self.patience.get())?;
        // What was dropped above, or on another thread, is passed on at the next turn.
        self.ring.poll().map_err(|error| error.to_string())?;
        let counts = [
            ("slots of files", self.ring.files_held(), self.files_kept.get()),
            ("registered slabs", self.ring.slabs_held(), 0),
            ("groups of provided buffers", self.ring.groups_held(), 0),
            (
                "completions that were nobody's",
                self.ring.stats().counts().stale as usize,
                0,
            ),
        ];
        match counts.iter().find(|(_, left, meant)| left != meant) {
            Some((what, left, meant)) => Err(format!("{what}: {left} are left, {meant} meant to be")),
            None => Ok(()),
        }
    }
}

impl Deref for CountedRing {
    type Target = LocalRing;
    fn deref(&self) -> &LocalRing {
        &self.ring
    }
}

impl Drop for CountedRing {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if let Err(why) = self.audit() {
            panic!("the test left something behind: {why}");
        }
    }
}

/// Waits until nothing is in flight.
///
/// # Errors
/// What still is, or was never taken.
fn settled(ring: &Core, patience: u32) -> Result<(), String> {
    let (mut rounds, mut before) = (0, ring.held());
    while ring.held() > 0 {
        if ring.ready() > 0 {
            return Err(format!("completions that nobody took: {}", ring.ready()));
        }
        ring.wait(1, ROUND).map_err(|error| error.to_string())?;
        rounds = if ring.held() < before { 0 } else { rounds + 1 };
        before = ring.held();
        if rounds == patience {
            return Err(format!("operations in flight: {before}"));
        }
    }
    Ok(())
}

/// Waits until nothing is in flight, in the middle of a test.
pub(crate) fn settle(ring: &Core) {
    settled(ring, ROUNDS).unwrap_or_else(|why| panic!("{why}"));
}
