//! From entries to requests: chains written down, their first request started.

use super::fault::Fault;
use super::kernel::{Kernel, OPERATIONS, failed, has_effect};
use super::request::{Phase, Request};
use super::world::World;
use crate::sys::abi::{SQE_FIXED_FILE, Sqe, code};
use std::cmp::Reverse;

impl Kernel {
    /// Takes a chain of entries, each with the timeout linked behind it if there is one. The first starts now; where one of
    /// several is no operation at all, none starts.
    pub(super) fn take(&mut self, chain: &[Sqe], world: &mut World) {
        world.report.submitted += chain.len() as u64;
        let refused = chain.len() > 1 && chain.iter().any(|sqe| sqe.opcode >= OPERATIONS);
        let (mut head, mut last, mut at) = (None, None, 0);
        while let Some(sqe) = chain.get(at) {
            let bound = chain.get(at + 1).filter(|next| next.opcode == code::LINK_TIMEOUT);
            at += 1 + usize::from(bound.is_some());
            let index = self.enlist(sqe, bound);
            match last.replace(index) {
                None => head = Some(index),
                Some(before) => self.request(before).next = Some(index),
            }
        }
        let Some(head) = head else { return };
        if refused {
            self.refuse(head, world);
        } else {
            self.start(head, world);
        }
    }

    /// Writes a request down that has not started.
    fn enlist(&mut self, sqe: &Sqe, bound: Option<&Sqe>) -> u32 {
        let mut request = Request::new(*sqe, self.next_order);
        self.next_order += 1;
        request.bound = bound.map(|bound| (timespec_ns(bound), bound.user_data));
        self.in_flight += 1;
        match self.vacant.pop() {
            Some(index) => {
                self.requests[index as usize] = Some(request);
                index
            }
            None => {
                self.requests.push(Some(request));
                (self.requests.len() - 1) as u32
            }
        }
    }

    /// Starts a request.
    pub(super) fn start(&mut self, index: u32, world: &mut World) {
        let sqe = self.request(index).sqe;
        let sqe = self.with_slot(&sqe);
        let file = if sqe.flags & SQE_FIXED_FILE != 0 {
            self.files.get(sqe.fd as usize).cloned().flatten()
        } else {
            None
        };
        let request = self.request(index);
        request.sqe = sqe;
        request.file = file;
        if request.is_incoming() && world.deals(Fault::EarlyWrite) {
            request.scribble(world.random.next() as u8);
        }
        let stuckable = request.is_transfer() || has_effect(&sqe);
        let delay = if sqe.opcode == code::TIMEOUT {
            timespec_ns(&sqe)
        } else {
            world.delay_ns()
        };
        request.due = world.now_ns.saturating_add(delay);
        request.phase = if stuckable && world.deals(Fault::Stuck) {
            Phase::Stuck
        } else {
            Phase::Scheduled
        };
        if let Some((end, _)) = &mut request.bound {
            *end = world.now_ns.saturating_add(*end);
        }
        let (due, order, bound, phase) = (request.due, request.order, request.bound, request.phase);
        if let Some((end, _)) = bound {
            self.due.push(Reverse((end, order, index)));
        }
        if phase == Phase::Stuck {
            return;
        }
        if delay == 0 {
            self.attempt(index, world);
        } else {
            self.due.push(Reverse((due, order, index)));
        }
    }

    /// Ends a chain that holds what is no operation: that for its own sake, the others for the sake of it.
    fn refuse(&mut self, head: u32, world: &mut World) {
        let mut next = Some(head);
        while let Some(index) = next {
            let errno = match self.request(index).sqe.opcode {
                OPERATIONS.. => libc::EINVAL,
                _ => libc::ECANCELED,
            };
            next = self.finish(index, failed(errno), world);
        }
    }
}

/// The time that an entry names, read when the entry is taken.
fn timespec_ns(sqe: &Sqe) -> u64 {
    // SAFETY: the entry names a `struct __kernel_timespec` that its owner keeps until the last completion.
    let [seconds, nanos] = unsafe { (sqe.addr as *const [i64; 2]).read() };
    (seconds.max(0) as u64)
        .saturating_mul(1_000_000_000)
        .saturating_add(nanos.max(0) as u64)
}
