//! The simulated kernel of one ring: requests, their order, their completions.
//!
//! # States of a request
//! ```text
//!   taken ──► Scheduled ──► attempted ──┬──► over: its last completion is posted
//!               ▲    ▲                  ├──► Blocked (descriptor not ready) ──► attempted again at each look
//!               │    └── multishot ─────┤
//!               │                       └──► Notifying (zero-copy send: memory still in use) ──► over
//!               └── Stuck: until the ring is gone and `end` is called
//! ```
//!
//! - **K1** each entry taken gets exactly one completion without `CQE_MORE` (a doubled one is a fault, and counted);
//! - **K2** memory of an entry is touched until that completion is *looked at*, never after (late data: [`Queue::pop`]);
//! - **K3** what finds the queue full waits, in order, and only [`Queue::flush`] brings it in;
//! - **K4** the order of events is fixed by seed and calls: by time, then by age;
//! - **K5** what is linked behind another is `Linked` until that one is over. If that one did all that it was asked to, it is
//!   `Next`, and starts some time later; if not, it ends with `ECANCELED`, and what is behind it too. No cancellation finds
//!   it before it has started.

use super::fault::Fault;
use super::group::{Group, Provided};
use super::perform::{self, Attempt};
use super::queue::{Late, Queue};
use super::request::{Phase, Request};
use super::world::World;
use crate::backend::fallback::blocking::brings_descriptor;
use crate::sys::abi::{CQE_BUFFER, CQE_MORE, CQE_NOTIF, Cqe, SQE_FIXED_FILE, Sqe, code};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::{OwnedFd, RawFd};
use sync_base::sync::Arc;

/// Numbers of operations end here.
pub(super) const OPERATIONS: u8 = 64;

/// What ends a request.
pub(super) struct Ending {
    pub(super) result: i32,
    pub(super) flags: u32,
    pub(super) late: Option<Late>,
}

pub(super) struct Kernel {
    pub(super) requests: Vec<Option<Request>>,
    pub(super) vacant: Vec<u32>,
    pub(super) in_flight: usize,
    pub(super) next_order: u64,
    /// The ring is gone: nothing starts any more.
    ending: bool,
    /// Time, age, index: attempts and the ends of bounds. Stale ones are passed over.
    pub(super) due: BinaryHeap<Reverse<(u64, u64, u32)>>,
    blocked: Vec<u32>,
    /// Completions to be sent a second time, by when.
    echoes: BinaryHeap<Reverse<(u64, u64, i32, u32)>>,
    /// Descriptors found not ready in this look, with the direction.
    idle: Vec<(RawFd, bool)>,
    pub(super) queue: Queue,
    pub(super) files: Vec<Option<Arc<OwnedFd>>>,
    /// Slots from here on are handed out to whoever asks for any.
    pub(super) direct: u32,
    pub(super) buffers: Vec<(u64, u64)>,
    pub(super) groups: Vec<Group>,
    pub(super) tombstone: Option<OwnedFd>,
}

// SAFETY: the addresses in it are those of entries, which belong to no thread.
unsafe impl Send for Kernel {}

impl Kernel {
    pub(super) fn new(cq_entries: u32, files: u32, direct: u32) -> Self {
        Self {
            requests: Vec::new(),
            vacant: Vec::new(),
            in_flight: 0,
            next_order: 0,
            ending: false,
            due: BinaryHeap::new(),
            blocked: Vec::new(),
            echoes: BinaryHeap::new(),
            idle: Vec::new(),
            queue: Queue::new(cq_entries),
            files: vec![None; files.saturating_add(direct) as usize],
            direct: files,
            buffers: Vec::new(),
            groups: Vec::new(),
            tombstone: None,
        }
    }

    /// Requests that are more than the cancellation of another.
    pub(super) fn outstanding(&self) -> usize {
        let requests = self.requests.iter().flatten();
        requests.filter(|r| r.sqe.opcode != code::ASYNC_CANCEL).count()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.echoes.is_empty() && self.queue.is_empty()
    }

    /// Whether a request waits for its descriptor.
    pub(super) fn waits_at_all(&self) -> bool {
        !self.blocked.is_empty()
    }

    /// When something is due next: a request, or a completion sent twice.
    pub(super) fn next_due(&self) -> Option<u64> {
        let request = self.due.peek().map(|Reverse((time, ..))| *time);
        let echo = self.echoes.peek().map(|Reverse((time, ..))| *time);
        request.into_iter().chain(echo).min()
    }

    /// Descriptors that requests wait for, with the events.
    pub(super) fn waits(&self) -> Vec<libc::pollfd> {
        let waiting = self
            .blocked
            .iter()
            .filter_map(|&i| self.requests[i as usize].as_ref());
        waiting
            .map(|request| libc::pollfd {
                fd: request.fd(),
                events: match request.sqe.opcode {
                    code::POLL_ADD => request.sqe.op_flags as i16,
                    _ if request.waits_for_input() => libc::POLLIN,
                    _ => libc::POLLOUT,
                },
                revents: 0,
            })
            .collect()
    }

    pub(super) fn request(&mut self, index: u32) -> &mut Request {
        self.requests[index as usize]
            .as_mut()
            .expect("found by the caller")
    }

    // --- time -----------------------------------------------------------------------------------------------------

    /// Attempts everything that is due by now.
    pub(super) fn run_due(&mut self, world: &mut World) {
        while let Some(&Reverse((time, user_data, result, flags))) = self.echoes.peek()
            && time <= world.now_ns
        {
            self.echoes.pop();
            let cqe = Cqe {
                user_data,
                result,
                flags,
            };
            self.queue.post(cqe, None, world);
        }
        while let Some(&Reverse((time, order, index))) = self.due.peek() {
            if time > world.now_ns {
                return;
            }
            self.due.pop();
            let Some(request) = self.requests[index as usize].as_ref() else {
                continue;
            };
            if request.order != order {
                continue;
            }
            if request.bound.is_some_and(|(end, _)| end == time) && request.phase != Phase::Notifying {
                self.bound_ends(index, world);
            } else if request.due == time && matches!(request.phase, Phase::Scheduled | Phase::Notifying) {
                self.attempt(index, world);
            } else if request.due == time && request.phase == Phase::Next {
                self.start(index, world);
            }
        }
    }

    /// A linked timeout ends its operation, unless that is stuck.
    fn bound_ends(&mut self, index: u32, world: &mut World) {
        let request = self.requests[index as usize]
            .as_mut()
            .expect("found by the caller");
        let (_, aux) = request.bound.take().expect("found by the caller");
        let stuck = request.phase == Phase::Stuck;
        let cqe = Cqe {
            user_data: aux,
            result: if stuck { -libc::EALREADY } else { -libc::ETIME },
            flags: 0,
        };
        self.queue.post(cqe, None, world);
        if !stuck {
            self.over(index, failed(libc::ECANCELED), world);
        }
    }

    /// Attempts what is blocked, beginning anywhere; scribbles into what is lent.
    pub(super) fn look(&mut self, world: &mut World) {
        if self.blocked.is_empty() {
            return;
        }
        self.idle.clear();
        let count = self.blocked.len();
        let first = world.random.below(count as u64) as usize;
        let mut waiting = std::mem::take(&mut self.blocked);
        waiting.rotate_left(first);
        for index in waiting {
            let Some(request) = self.requests[index as usize].as_mut() else {
                continue;
            };
            if request.phase != Phase::Blocked {
                continue;
            }
            if request.is_incoming() && world.draws(Fault::EarlyWrite) {
                self.scribble(index, world);
            }
            let request = self.requests[index as usize].as_ref().expect("just found");
            let key = (request.fd(), request.waits_for_input());
            if request.edge.is_none() && self.idle.contains(&key) {
                self.blocked.push(index);
            } else {
                self.attempt(index, world);
            }
        }
    }

    fn scribble(&mut self, index: u32, world: &mut World) {
        let request = self.requests[index as usize]
            .as_mut()
            .expect("found by the caller");
        world.report.violations += u64::from(!request.is_intact());
        world.count(Fault::EarlyWrite);
        request.scribble(world.random.next() as u8);
    }

    // --- attempts -------------------------------------------------------------------------------------------------

    pub(super) fn attempt(&mut self, index: u32, world: &mut World) {
        let request = self.requests[index as usize]
            .as_mut()
            .expect("found by the caller");
        match request.sqe.opcode {
            code::TIMEOUT => return self.over(index, failed(libc::ETIME), world),
            code::ASYNC_CANCEL => return self.cancel(index, world),
            _ if request.phase == Phase::Notifying => {
                let ending = Ending {
                    result: 0,
                    flags: CQE_NOTIF,
                    late: None,
                };
                return self.over(index, ending, world);
            }
            _ => {}
        }
        if let Some(errno) = request.doomed {
            return self.over(index, failed(errno), world);
        }
        let fresh = !std::mem::replace(&mut request.drawn, true);
        if fresh && let Some(errno) = misfortune(request, world) {
            return self.over(index, failed(errno), world);
        }
        if request.sqe.flags & SQE_FIXED_FILE != 0 && request.file.is_none() {
            return self.over(index, failed(libc::EBADF), world);
        }
        if matches!(request.sqe.opcode, code::READ_FIXED | code::WRITE_FIXED) && !self.is_registered(index) {
            return self.over(index, failed(libc::EFAULT), world);
        }
        self.transfer(index, world);
    }

    /// Whether the memory of the entry lies in the registered buffer that it names.
    fn is_registered(&self, index: u32) -> bool {
        let sqe = &self.requests[index as usize]
            .as_ref()
            .expect("found by the caller")
            .sqe;
        let range = self.buffers.get(usize::from(sqe.buf_index));
        range.is_some_and(|&(start, len)| sqe.addr >= start && sqe.addr + u64::from(sqe.len) <= start + len)
    }

    fn transfer(&mut self, index: u32, world: &mut World) {
        let request = self.requests[index as usize]
            .as_mut()
            .expect("found by the caller");
        let selects = request.selects();
        let picked = match selects.then(|| self.groups.iter().find(|g| g.id == request.sqe.buf_index)) {
            None => None,
            Some(group) => match group.and_then(Group::peek) {
                Some(picked) if !world.draws(Fault::NoBuffers) => Some(picked),
                _ if perform::ready(request.fd(), libc::POLLIN) == 0 => return self.block(index, world),
                _ => {
                    world.count(Fault::NoBuffers);
                    return self.over(index, failed(libc::ENOBUFS), world);
                }
            },
        };
        let (addr, whole) = match picked {
            Some(Provided { addr, len, .. }) => (addr, len),
            None => (request.sqe.addr, request.sqe.len),
        };
        let short = match (request.is_outgoing(), request.is_incoming() || selects) {
            (true, _) => Some(Fault::ShortWrite),
            (_, true) => Some(Fault::ShortRead),
            _ => None,
        };
        let short = short.filter(|&fault| whole > 1 && world.draws(fault));
        let len = match short {
            Some(_) => 1 + world.random.below(u64::from(whole) - 1) as u32,
            None => whole,
        };
        let wrong = request.is_incoming() && !request.is_intact();
        world.report.violations += u64::from(wrong);
        let fd = request.fd();
        let attempt = match watched(request, fd) {
            Some(attempt) => attempt,
            // SAFETY: the entry's memory is its owner's promise until the last completion; a provided buffer likewise.
            None => unsafe { perform::attempt(fd, &request.sqe, addr, len, &mut request.begun) },
        };
        let Attempt::Done(result) = attempt else {
            return self.block(index, world);
        };
        if let Some(fault) = short.filter(|_| result == len as i32) {
            world.count(fault);
        }
        let mut result = result;
        if result >= 0 && brings_descriptor(&request.sqe) {
            world.descriptor_came(result);
            let (opcode, slot) = (request.sqe.opcode, request.sqe.file_index);
            result = self.placed(opcode, slot, result);
        }
        let request = self.request(index);
        if request.sqe.opcode == code::CLOSE && result == 0 && world.deals(Fault::Interrupted) {
            // The number is free again, whatever close says.
            result = -libc::EINTR;
        }
        self.performed(index, result, picked, addr, world);
    }

    /// Makes a completion of what an attempt gave.
    fn performed(&mut self, index: u32, result: i32, picked: Option<Provided>, addr: u64, world: &mut World) {
        let request = self.requests[index as usize]
            .as_mut()
            .expect("found by the caller");
        let incoming = request.is_incoming() || picked.is_some();
        let mut flags = 0;
        if let Some(picked) = picked
            // At the end of a stream a kernel may use up a buffer for nothing, or may not.
            && (result > 0 || (result == 0 && world.random.below(2) == 0))
        {
            let group = self.groups.iter_mut().find(|g| g.id == request.sqe.buf_index);
            group.expect("it was picked from").take();
            flags = CQE_BUFFER | (u32::from(picked.id) << 16);
        }
        let late = (incoming && result > 0 && world.deals(Fault::LateWrite)).then(|| {
            // SAFETY: so many bytes were just written there.
            let data = unsafe { std::slice::from_raw_parts_mut(addr as *mut u8, result as usize) };
            let kept = Box::from(&*data);
            data.fill(world.random.next() as u8);
            (addr, kept)
        });
        let ending = Ending { result, flags, late };
        if request.is_multishot() && result >= 0 && !(result == 0 && request.selects()) {
            let (order, user_data) = (request.order, request.sqe.user_data);
            let due = world.now_ns + 1 + world.random.below(2000);
            request.due = due;
            request.phase = Phase::Scheduled;
            self.due.push(Reverse((due, order, index)));
            let cqe = Cqe {
                user_data,
                result,
                flags: flags | CQE_MORE,
            };
            return self.queue.post(cqe, ending.late, world);
        }
        if request.sqe.opcode == code::SEND_ZC && result >= 0 {
            let (order, user_data) = (request.order, request.sqe.user_data);
            let due = world.now_ns + 1 + world.delay_ns();
            request.due = due;
            request.phase = Phase::Notifying;
            self.due.push(Reverse((due, order, index)));
            let cqe = Cqe {
                user_data,
                result,
                flags: CQE_MORE,
            };
            return self.queue.post(cqe, None, world);
        }
        self.over(index, ending, world);
    }

    fn block(&mut self, index: u32, world: &mut World) {
        let request = self.requests[index as usize]
            .as_mut()
            .expect("found by the caller");
        if request.hurried {
            return self.over(index, failed(libc::ECANCELED), world);
        }
        request.phase = Phase::Blocked;
        if request.edge.is_none() {
            self.idle.push((request.fd(), request.waits_for_input()));
        }
        self.blocked.push(index);
    }

    /// Ends a request (K1); what is linked behind it starts, or ends with it (K5).
    pub(super) fn over(&mut self, index: u32, ending: Ending, world: &mut World) {
        let broken = self.ending || self.request(index).is_failed_by(ending.result);
        let mut next = self.finish(index, ending, world);
        match next {
            Some(next) if !broken => {
                let due = world.now_ns.saturating_add(world.delay_ns());
                let request = self.request(next);
                request.phase = Phase::Next;
                request.due = due;
                let order = request.order;
                self.due.push(Reverse((due, order, next)));
            }
            _ => {
                while let Some(index) = next {
                    next = self.finish(index, failed(libc::ECANCELED), world);
                }
            }
        }
    }

    /// Completes a request; gives what is linked behind it.
    pub(super) fn finish(&mut self, index: u32, ending: Ending, world: &mut World) -> Option<u32> {
        let mut request = self.requests[index as usize].take().expect("found by the caller");
        self.vacant.push(index);
        self.in_flight -= 1;
        if request.phase == Phase::Blocked {
            self.blocked.retain(|&blocked| blocked != index);
        }
        // What was read has overwritten the scribble; for everything else it must still be there.
        let read = if request.is_incoming() {
            ending.result.max(0)
        } else {
            0
        };
        if read == 0 {
            world.report.violations += u64::from(!request.is_intact());
        }
        request.wipe(read as usize);
        let cqe = Cqe {
            user_data: request.sqe.user_data,
            result: ending.result,
            flags: ending.flags,
        };
        self.queue.post(cqe, ending.late, world);
        // Entries of the ring's own, named above every slot, have no generation that would tell a second completion from the first.
        let nobodys = cqe.user_data as u32 >= u32::MAX - 1;
        if !nobodys && !self.queue.is_left() && world.deals(Fault::Duplicate) {
            // Late, so that the slot may be another operation's by then.
            let due = world.now_ns + world.random.below(20_000);
            self.echoes
                .push(Reverse((due, cqe.user_data, cqe.result, cqe.flags)));
        }
        if let Some((_, aux)) = request.bound {
            let cqe = Cqe {
                user_data: aux,
                result: -libc::ECANCELED,
                flags: 0,
            };
            self.queue.post(cqe, None, world);
        }
        request.next
    }

    // --- the end --------------------------------------------------------------------------------------------------

    /// Ends every request of a ring that is gone: the last writes, the last descriptors, then the tombstone.
    pub(super) fn end(&mut self, world: &mut World) {
        self.ending = true;
        for index in 0..self.requests.len() as u32 {
            let Some(request) = self.requests[index as usize].as_mut() else {
                continue;
            };
            if request.phase == Phase::Linked {
                // Ends with what it is linked behind.
                continue;
            }
            world.report.violations += u64::from(!request.is_intact());
            request.scribble(world.random.next() as u8);
            let tried = request.is_incoming() || has_effect(&request.sqe);
            if tried && request.phase == Phase::Stuck {
                request.phase = Phase::Scheduled;
                request.drawn = true;
                self.attempt(index, world);
            }
            if self.requests[index as usize].is_some() {
                self.over(index, failed(libc::ECANCELED), world);
            }
        }
        self.groups.clear();
        self.files.clear();
        self.tombstone = None;
    }
}

pub(super) fn failed(errno: i32) -> Ending {
    Ending {
        result: -errno,
        flags: 0,
        late: None,
    }
}

/// What is new, for a multishot poll; `None` for every other entry.
fn watched(request: &mut Request, fd: RawFd) -> Option<Attempt> {
    if request.sqe.opcode != code::POLL_ADD || !request.is_multishot() {
        return None;
    }
    if request.edge.is_none() {
        match perform::watch(fd, request.sqe.op_flags as i16) {
            Ok(edge) => request.edge = Some(edge),
            Err(error) => return Some(Attempt::Done(-error.raw_os_error().unwrap_or(libc::EIO))),
        }
    }
    request.edge.as_ref().map(perform::news)
}

/// Draws how an operation may end without having done anything.
fn misfortune(request: &Request, world: &mut World) -> Option<i32> {
    if matches!(request.sqe.opcode, code::NOP | code::CLOSE) {
        return None;
    }
    if world.deals(Fault::NoMemory) {
        return Some(libc::ENOMEM);
    }
    let waits = request.is_transfer() || brings_descriptor(&request.sqe);
    if waits && world.deals(Fault::Interrupted) {
        return Some(libc::EINTR);
    }
    if request.is_transfer() && world.deals(Fault::Again) {
        return Some(libc::EAGAIN);
    }
    None
}

/// Makes, brings or takes a descriptor.
pub(super) fn has_effect(sqe: &Sqe) -> bool {
    brings_descriptor(sqe) || sqe.opcode == code::CLOSE
}
