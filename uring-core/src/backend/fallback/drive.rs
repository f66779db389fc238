//! Turning submissions into completions: taking the queue, starting, serving what is ready, ending.

use super::attempt::{self, Step, after_accept, attempt, events};
use super::blocking;
use super::handover::Inbox;
use super::job::Job;
use super::lookout::{ALWAYS, Interest, Source, WITHOUT_END, watched};
use super::requests::{Request, State};
use super::tables::duplicate;
use super::{Fallback, cancel, clock};
use crate::sys::abi::{self, Cqe, Sqe, code};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;
use sync_base::sync::Arc;

/// The next entry starts whatever becomes of this one.
const HARD_LINK: u8 = 1 << 3;
const LINKS: u8 = abi::SQE_IO_LINK | HARD_LINK;
const KNOWN_FLAGS: u8 = abi::SQE_FIXED_FILE | LINKS | abi::SQE_ASYNC | abi::SQE_BUFFER_SELECT;

/// Zero-copy send: say in the notification whether there was a copy, and that there was.
const REPORT_USAGE: u16 = 1 << 3;
const COPIED: i32 = i32::MIN;

impl Fallback {
    /// Takes every queued entry, in order, and starts each chain once it is whole. A chain ends with the call at the
    /// latest.
    pub(super) fn take_queue(&mut self) -> u32 {
        let mut count = 0;
        // First and last of the open chain.
        let mut chain: Option<(u32, u32)> = None;
        while let Some(sqe) = self.queue.pop_front() {
            count += 1;
            let is_limit = sqe.opcode == code::LINK_TIMEOUT;
            let slot = self
                .requests
                .add(sqe, !is_limit && sqe.opcode != code::ASYNC_CANCEL);
            match (chain, is_limit) {
                (Some((head, last)), true) if self.requests.get(last).limit.is_none() => {
                    self.requests.get(last).limit = Some(slot);
                    self.requests.get(slot).state = State::Bound { of: last, due: None };
                    chain = Some((head, last));
                }
                (_, true) => self.end(slot, -libc::EINVAL, 0),
                (Some((head, last)), false) => {
                    self.requests.get(last).next = Some(slot);
                    self.requests.get(slot).state = State::Held;
                    chain = Some((head, slot));
                }
                (None, false) => chain = Some((slot, slot)),
            }
            if sqe.flags & LINKS == 0
                && let Some((head, _)) = chain.take()
            {
                self.start_all(head);
            }
        }
        if let Some((head, _)) = chain {
            self.start_all(head);
        }
        count
    }

    /// Starts a request, and those whose turn comes by it.
    fn start_all(&mut self, slot: u32) {
        self.start(slot);
        self.run_runnable();
    }

    pub(super) fn run_runnable(&mut self) {
        while let Some(slot) = self.runnable.pop_front() {
            self.start(slot);
        }
    }

    fn start(&mut self, slot: u32) {
        if let Err(errno) = self.prepare(slot) {
            return self.end(slot, -errno, 0);
        }
        let request = self.requests.get(slot);
        request.state = State::Running;
        let (sqe, fd, limit) = (request.sqe, request.fd, request.limit);
        if let Some(limit) = limit {
            let bound = self.requests.get(limit).sqe;
            // SAFETY: B3: the entry's timespec is valid until its completion.
            match unsafe { clock::due(bound.addr, bound.op_flags) } {
                Ok(due) => self.requests.start_timer(limit, due),
                Err(errno) => return self.end(slot, -errno, 0),
            }
        }
        let waits_in_line = attempt::interest(&sqe)
            .filter(|&interest| sqe.flags & abi::SQE_ASYNC == 0 && self.lookout.has_waiters(fd, interest));
        match (sqe.opcode, waits_in_line) {
            (_, Some(interest)) => self.wait(slot, interest),
            (code::ASYNC_CANCEL | blocking::POLL_REMOVE | blocking::TIMEOUT_REMOVE, _) => {
                let result = cancel::answer(self, &sqe);
                self.end(slot, result, 0);
            }
            (code::CLOSE, _) if sqe.file_index != 0 => {
                let result = self.empty_slot(sqe.file_index - 1);
                self.end(slot, result, 0);
            }
            _ => self.go_on(slot),
        }
    }

    /// Looks the descriptors up.
    fn prepare(&mut self, slot: u32) -> Result<(), i32> {
        let sqe = self.requests.get(slot).sqe;
        if sqe.flags & !KNOWN_FLAGS != 0 || sqe.personality != 0 {
            return Err(libc::EINVAL);
        }
        if sqe.opcode == code::FIXED_FD_INSTALL && sqe.flags & abi::SQE_FIXED_FILE == 0 {
            return Err(libc::EBADF);
        }
        if sqe.flags & abi::SQE_FIXED_FILE != 0 && blocking::has_descriptor(sqe.opcode) {
            let file = self.files.get(sqe.fd).ok_or(libc::EBADF)?;
            let request = self.requests.get(slot);
            request.fd = file.as_raw_fd();
            request.file = Some(file);
        }
        if matches!(sqe.opcode, code::SPLICE | code::TEE) && sqe.op_flags & abi::SPLICE_FD_IN_FIXED != 0 {
            let second = self.files.get(sqe.file_index as i32).ok_or(libc::EBADF)?;
            let request = self.requests.get(slot);
            request.sqe.file_index = second.as_raw_fd() as u32;
            request.second = Some(second);
        }
        Ok(())
    }

    fn empty_slot(&mut self, slot: u32) -> i32 {
        match self.files.put(slot, None) {
            Ok(Some(_)) => 0,
            Ok(None) => -libc::EBADF,
            Err(error) => -error.raw_os_error().unwrap_or(libc::EINVAL),
        }
    }

    /// Attempts a request until it has to wait, and puts it where it waits.
    pub(super) fn go_on(&mut self, slot: u32) {
        if let Some(interest) = self.attempt(slot) {
            self.wait(slot, interest);
        }
    }

    /// Attempts a request until it has to wait for its descriptor, for what is returned; else it is ended, or put where
    /// it waits.
    fn attempt(&mut self, slot: u32) -> Option<Interest> {
        loop {
            let room = self.has_room();
            let request = self.requests.get(slot);
            request.state = State::Running;
            // SAFETY: B3: the entry's memory is valid until the last completion.
            let step = unsafe { attempt(request, &mut self.groups, &self.ranges, room) };
            match step {
                Step::Shot(result, flags) => {
                    if !self.shot(slot, result, flags) {
                        return None;
                    }
                    continue;
                }
                Step::Done(result, flags) => self.end(slot, result, flags),
                Step::Wait(interest) => return Some(interest),
                Step::Block => self.block(slot),
                Step::Starve => {
                    self.requests.get(slot).state = State::Starved;
                    self.starved.push_back(slot);
                }
                Step::Sleep(due) => self.requests.start_timer(slot, due),
                Step::Watch(events) => self.start_watch(slot, events),
            }
            return None;
        }
    }

    /// Puts a request in the queue of its descriptor. What epoll does not take is always ready: it goes to a thread.
    fn wait(&mut self, slot: u32, interest: Interest) {
        let request = self.requests.get(slot);
        request.state = State::Waiting;
        let fd = request.fd;
        match self.lookout.wait_for(fd, interest, slot) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => self.block(slot),
            Err(error) => self.end(slot, -error.raw_os_error().unwrap_or(libc::EIO), 0),
        }
    }

    /// Hands a request to the pool.
    fn block(&mut self, slot: u32) {
        let key = self.requests.key(slot);
        let request = self.requests.get(slot);
        request.state = State::Blocking;
        let mut sqe = Sqe {
            fd: request.fd,
            ..request.sqe
        };
        if let Some(picked) = request.picked {
            sqe.addr = picked.addr;
            sqe.len = if sqe.len == 0 {
                picked.len
            } else {
                sqe.len.min(picked.len)
            };
        }
        let job = Job {
            key,
            sqe,
            moved: if sqe.opcode == code::CONNECT {
                0
            } else {
                request.moved
            },
            _file: request.file.clone(),
            _second: request.second.clone(),
            home: Arc::clone(&self.home),
        };
        job.start();
    }

    /// A series of polls has a descriptor of its own, so that each change is told once whoever else waits for the file.
    fn start_watch(&mut self, slot: u32, events: u32) {
        let key = self.requests.key(slot);
        let watching = duplicate(self.requests.get(slot).fd).and_then(|own| {
            let source = Source::Watch(watched(key));
            self.lookout
                .register(own.as_raw_fd(), events | ALWAYS, true, source)?;
            Ok(own)
        });
        match watching {
            Ok(own) => self.requests.get(slot).state = State::Watching { own },
            Err(error) => self.end(slot, -error.raw_os_error().unwrap_or(libc::EIO), 0),
        }
    }

    /// Waits for events at most so many nanoseconds, or until something is due; then serves all that is ready.
    pub(super) fn pump(&mut self, limit: Option<u64>) -> io::Result<()> {
        let due = self
            .requests
            .next_due()
            .map(|due| due.saturating_sub(clock::now()));
        let nothing_to_wait_for = !self.starved.is_empty() && self.has_room();
        let limit = match (limit, due) {
            _ if nothing_to_wait_for => Some(0),
            (Some(limit), Some(due)) => Some(limit.min(due)),
            (limit, due) => limit.or(due),
        };
        let mut happened = std::mem::take(&mut self.happened);
        let watched = self.lookout.watch(limit.map(Duration::from_nanos), &mut happened);
        for (source, events) in happened.drain(..) {
            match source {
                Source::Place(fd) => self.serve(fd, events),
                Source::Watch(key) => self.serve_watch(key, events),
                Source::Bell => self.collect_results(),
                Source::Alarm => self.alarm.went_off(),
            }
            self.run_runnable();
        }
        self.happened = happened;
        watched?;
        if self.requests.next_due().is_some() {
            let now = clock::now();
            while let Some(slot) = self.requests.pop_due(now) {
                self.is_due(slot);
                self.run_runnable();
            }
        }
        for _ in 0..self.starved.len() {
            let Some(slot) = self.starved.pop_front() else {
                break;
            };
            self.go_on(slot);
        }
        self.run_runnable();
        Ok(())
    }

    /// A descriptor is ready: serves its queues from the front, each up to the first that has to wait on.
    fn serve(&mut self, fd: i32, events: u32) {
        self.lookout.fired(fd);
        for (slot, events) in self.lookout.ended_polls(fd, events) {
            self.end(slot, events as i32, 0);
        }
        for interest in [Interest::Read, Interest::Write] {
            while let Some(slot) = self.lookout.first(fd, interest, events) {
                let waits = self.attempt(slot);
                if waits == Some(interest) {
                    self.requests.get(slot).state = State::Waiting;
                    if events & WITHOUT_END != 0 {
                        self.lookout.tell_changes(fd);
                    }
                    break;
                }
                self.lookout.pop(fd, interest, slot);
                if let Some(other) = waits {
                    self.wait(slot, other);
                }
            }
        }
        if self.lookout.arm(fd).is_err() {
            self.lost(fd);
        }
    }

    /// The descriptor is gone from under those who wait for it: they try once more, and are told.
    fn lost(&mut self, fd: i32) {
        for interest in [Interest::Read, Interest::Write] {
            while let Some(slot) = self.lookout.first(fd, interest, ALWAYS) {
                self.lookout.pop(fd, interest, slot);
                if self.attempt(slot).is_some() {
                    self.end(slot, -libc::EBADF, 0);
                }
            }
        }
        for (slot, _) in self.lookout.ended_polls(fd, ALWAYS) {
            self.end(slot, -libc::EBADF, 0);
        }
    }

    fn serve_watch(&mut self, key: u64, ready: u32) {
        // The event carries all of the key but its topmost bit.
        let found = self
            .requests
            .find(key)
            .or_else(|| self.requests.find(key | 1 << 63));
        let Some(slot) = found else {
            return;
        };
        let request = self.requests.get(slot);
        if !matches!(request.state, State::Watching { .. }) {
            return;
        }
        let told = ready & (events(&request.sqe) & 0xffff | ALWAYS);
        let _ = self.shot(slot, told as i32, 0);
    }

    fn collect_results(&mut self) {
        if let Some(inbox) = &mut self.inbox {
            inbox.begin();
        }
        while let Some(finished) = self.inbox.as_mut().and_then(Inbox::take) {
            let slot = self.requests.find(finished.key);
            let slot = slot.filter(|&slot| matches!(self.requests.get(slot).state, State::Blocking));
            // Nobody waits for it: dropping it closes what it brought.
            let Some(slot) = slot else { continue };
            self.came_back(slot, finished.into_result());
        }
    }

    fn came_back(&mut self, slot: u32, result: i32) {
        let request = self.requests.get(slot);
        request.state = State::Running;
        if request.sqe.opcode == code::ACCEPT {
            if request.called_off {
                let cancelled = result == -libc::EAGAIN;
                return self.end(slot, if cancelled { -libc::ECANCELED } else { result }, 0);
            }
            match after_accept(&request.sqe, result) {
                Step::Shot(result, flags) => {
                    if self.shot(slot, result, flags) {
                        self.go_on(slot);
                    }
                }
                Step::Wait(interest) => self.wait(slot, interest),
                _ => self.end(slot, result, 0),
            }
            return;
        }
        let flags = attempt::settle(request, &mut self.groups, result);
        self.end(slot, result, flags);
    }

    /// A time has come: an operation's own, or its limit.
    fn is_due(&mut self, slot: u32) {
        let request = self.requests.get(slot);
        if let State::Bound { of, .. } = request.state {
            let user_data = request.sqe.user_data;
            self.requests.get(of).limit = None;
            self.requests.remove(slot);
            let result = match cancel::cancel(self, of) {
                Ok(()) => -libc::ETIME,
                Err(errno) => -errno,
            };
            self.complete(user_data, result, 0);
            return;
        }
        let sqe = request.sqe;
        if sqe.op_flags & clock::MULTISHOT == 0 || sqe.off == 1 {
            return self.end(slot, -libc::ETIME, 0);
        }
        request.sqe.off = sqe.off.saturating_sub(1);
        // SAFETY: B3: the entry's timespec is valid until its last completion.
        let again = unsafe { clock::due(sqe.addr, sqe.op_flags & !clock::ABSOLUTE) };
        match again {
            Ok(due) => {
                if self.shot(slot, -libc::ETIME, 0) {
                    self.requests.start_timer(slot, due);
                }
            }
            Err(errno) => self.end(slot, -errno, 0),
        }
    }

    fn complete(&mut self, user_data: u64, result: i32, flags: u32) {
        self.completions.push_back(Cqe {
            user_data,
            result,
            flags,
        });
    }

    /// One completion of several; `false` when it turned out to be the last.
    fn shot(&mut self, slot: u32, result: i32, flags: u32) -> bool {
        let sqe = self.requests.get(slot).sqe;
        match self.placed(&sqe, result) {
            landed if landed >= 0 || result < 0 => {
                self.requests.get(slot).goes_on = true;
                self.complete(sqe.user_data, landed, flags | abi::CQE_MORE);
                true
            }
            refused => {
                self.end(slot, refused, flags);
                false
            }
        }
    }

    /// Puts a descriptor that came into the slot that was asked for instead (`file_index`).
    fn placed(&mut self, sqe: &Sqe, result: i32) -> i32 {
        if result < 0 || sqe.file_index == 0 || !blocking::brings_descriptor(sqe) {
            return result;
        }
        // SAFETY: the operation just brought it, and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(result) };
        let (slot, told) = match sqe.file_index {
            abi::FILE_INDEX_ALLOC => match self.files.vacancy() {
                Some(slot) => (slot, slot as i32),
                None => return -libc::ENFILE,
            },
            number => (number - 1, 0),
        };
        match self.files.put(slot, Some(fd)) {
            Ok(_) => told,
            Err(error) => -error.raw_os_error().unwrap_or(libc::EINVAL),
        }
    }

    /// The last completion of a request; what is linked behind it starts or is cancelled.
    pub(super) fn end(&mut self, slot: u32, result: i32, flags: u32) {
        let sqe = self.requests.get(slot).sqe;
        let result = self.placed(&sqe, result);
        let request = self.requests.remove(slot);
        if let State::Watching { own } = &request.state {
            self.lookout.unregister(own.as_raw_fd());
        }
        if matches!(sqe.opcode, code::SEND_ZC | code::SENDMSG_ZC) && result >= 0 {
            self.complete(sqe.user_data, result, flags | abi::CQE_MORE);
            let usage = if sqe.ioprio & REPORT_USAGE != 0 { COPIED } else { 0 };
            self.complete(sqe.user_data, usage, abi::CQE_NOTIF);
        } else {
            self.complete(sqe.user_data, result, flags);
        }
        self.end_limit(request.limit);
        match request.next {
            Some(next) if sqe.flags & HARD_LINK != 0 || !is_failure(&request, result) => {
                self.runnable.push_back(next);
            }
            next => self.cancel_chain(next),
        }
    }

    fn end_limit(&mut self, limit: Option<u32>) {
        if let Some(limit) = limit {
            let request = self.requests.remove(limit);
            self.complete(request.sqe.user_data, -libc::ECANCELED, 0);
        }
    }

    /// Cancels a chain from here on; none of it has started.
    fn cancel_chain(&mut self, mut next: Option<u32>) {
        while let Some(slot) = next {
            let request = self.requests.remove(slot);
            self.complete(request.sqe.user_data, -libc::ECANCELED, 0);
            self.end_limit(request.limit);
            next = request.next;
        }
    }
}

/// Whether a result breaks a chain: an error, or less than was asked for.
fn is_failure(request: &Request, result: i32) -> bool {
    let sqe = &request.sqe;
    if sqe.opcode == code::TIMEOUT && result == -libc::ETIME {
        return sqe.op_flags & clock::SUCCESS == 0;
    }
    if result < 0 {
        return true;
    }
    let whole = match sqe.opcode {
        code::READ | code::WRITE | code::READ_FIXED | code::WRITE_FIXED | code::SPLICE | code::TEE => {
            u64::from(sqe.len)
        }
        code::SEND | code::SEND_ZC | code::RECV if sqe.op_flags & libc::MSG_WAITALL as u32 != 0 => {
            u64::from(sqe.len)
        }
        code::READV | code::WRITEV => {
            let at = sqe.addr as *const libc::iovec;
            let vectors = 0..sqe.len as usize;
            // SAFETY: B3: so many vectors lie there until the completion is collected.
            vectors.map(|i| unsafe { (*at.add(i)).iov_len as u64 }).sum()
        }
        code::SENDMSG | code::RECVMSG => 0,
        _ => 0,
    };
    (result as u64) < whole
}
