//! What the rings of one simulation share: time, chance, and the books.

use super::fault::{Fault, Faults, Report};
use super::kernel::Kernel;
use crate::sys::abi::Cqe;
use crate::sys::random::Random;
use std::time::Duration;

pub(super) struct World {
    pub(super) now_ns: u64,
    pub(super) faults: Faults,
    pub(super) random: Random,
    pub(super) report: Report,
    /// Real time given to other threads and processes before a wait for them alone ends in simulated time.
    pub(super) patience: Duration,
    /// Completions that find the queue full are lost, as before Linux 5.5.
    pub(super) lossy: bool,
    /// Kernels of rings that are gone, with requests that are not over.
    pub(super) abandoned: Vec<Kernel>,
    /// Numbers of descriptors that operations brought so far.
    seen: Vec<bool>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            now_ns: 1_000_000_000,
            faults: Faults::none(),
            random: Random::new(seed),
            report: Report::default(),
            patience: Duration::ZERO,
            lossy: false,
            abandoned: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// Draws whether a class of fault happens here, and counts it if so.
    pub(super) fn deals(&mut self, fault: Fault) -> bool {
        let dealt = self.draws(fault);
        if dealt {
            self.count(fault);
        }
        dealt
    }

    /// Draws without counting: for what may come to nothing.
    pub(super) fn draws(&mut self, fault: Fault) -> bool {
        match self.faults.rate(fault) {
            0 => false,
            n => self.random.below(u64::from(n)) == 0,
        }
    }

    pub(super) fn count(&mut self, fault: Fault) {
        self.report.counts[fault as usize] += 1;
    }

    /// How long until a request is attempted, in nanoseconds: half of them at once.
    pub(super) fn delay_ns(&mut self) -> u64 {
        if self.deals(Fault::Late) {
            return 1_000_000 + self.random.below(100_000_000);
        }
        match self.random.below(2) {
            0 => 0,
            _ => 1000 + self.random.below(20_000),
        }
    }

    /// Notes a descriptor that came.
    pub(super) fn descriptor_came(&mut self, fd: i32) {
        let at = fd as usize;
        if self.seen.len() <= at {
            self.seen.resize(at + 1, false);
        }
        if std::mem::replace(&mut self.seen[at], true) {
            self.count(Fault::Reuse);
        }
    }

    pub(super) fn delivered(&mut self, cqe: &Cqe) {
        self.report.completions += 1;
        for word in [
            cqe.user_data,
            u64::from(cqe.result as u32) << 32 | u64::from(cqe.flags),
        ] {
            self.report.digest =
                (self.report.digest.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }

    /// Ends what outlived its ring.
    pub(super) fn settle(&mut self) {
        for mut kernel in std::mem::take(&mut self.abandoned) {
            kernel.end(self);
        }
    }
}

impl Drop for World {
    /// Nothing is held back for ever.
    fn drop(&mut self) {
        self.settle();
    }
}
