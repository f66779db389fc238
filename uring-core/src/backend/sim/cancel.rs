//! Cancellation in the simulated kernel: it wins, loses, or finds nothing.

use super::fault::Fault;
use super::kernel::{Ending, Kernel, failed};
use super::request::Phase;
use super::world::World;
use crate::sys::abi::{self, code};
use std::cmp::Reverse;

impl Kernel {
    pub(super) fn cancel(&mut self, index: u32, world: &mut World) {
        let request = self.requests[index as usize]
            .as_ref()
            .expect("found by the caller");
        let (sqe, own) = (request.sqe, request.order);
        let all = sqe.op_flags & (abi::CANCEL_ALL | abi::CANCEL_ANY) != 0;
        let hits: Vec<u32> = (0..self.requests.len() as u32)
            .filter(|&i| {
                self.requests[i as usize].as_ref().is_some_and(|r| {
                    let fits = if sqe.op_flags & abi::CANCEL_ANY != 0 {
                        true
                    } else if sqe.op_flags & abi::CANCEL_FD != 0 {
                        r.sqe.fd == sqe.fd && r.file.is_none()
                    } else {
                        r.sqe.user_data == sqe.addr
                    };
                    let begun = !matches!(r.phase, Phase::Linked | Phase::Next);
                    fits && begun && r.order != own && r.sqe.opcode != code::ASYNC_CANCEL
                })
            })
            .take(if all { usize::MAX } else { 1 })
            .collect();
        let mut result = if hits.is_empty() {
            world.count(Fault::CancelLost);
            -libc::ENOENT
        } else {
            0
        };
        let ended = hits.len() as i32;
        for hit in hits {
            if !self.cancel_one(hit, world) {
                result = -libc::EALREADY;
            }
        }
        if all && result == 0 {
            result = ended;
        }
        let ending = Ending {
            result,
            flags: 0,
            late: None,
        };
        self.over(index, ending, world);
    }

    /// Whether the cancellation wins. One that loses meets an operation that is running, and so ends by itself.
    fn cancel_one(&mut self, index: u32, world: &mut World) -> bool {
        let request = self.requests[index as usize]
            .as_mut()
            .expect("found by the caller");
        let runs = match request.phase {
            Phase::Stuck | Phase::Notifying => true,
            Phase::Scheduled if request.sqe.opcode != code::TIMEOUT && world.draws(Fault::CancelLost) => {
                request.hurried = true;
                true
            }
            Phase::Blocked if world.draws(Fault::CancelLost) => {
                let (order, due) = (request.order, world.now_ns + 1 + world.random.below(5000));
                request.phase = Phase::Scheduled;
                request.doomed = Some(libc::EINTR);
                request.due = due;
                self.due.push(Reverse((due, order, index)));
                true
            }
            _ => false,
        };
        if runs {
            world.count(Fault::CancelLost);
            return false;
        }
        world.count(Fault::CancelWon);
        self.over(index, failed(libc::ECANCELED), world);
        true
    }
}
