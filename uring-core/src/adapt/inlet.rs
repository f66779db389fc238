//! The reading half of an adapter: one buffer, one read in flight at most.
//!
//! ```text
//!            poll_fill                    completed
//!   Empty ───────────────► Reading ───────────────────► Full ──► Empty (all taken)
//!                            │  ▲
//!              would block   ▼  │ readable
//!                           Waiting
//! ```
//!
//! - **A1** the buffer is in exactly one place: here, or owned by the operation in flight. It is allocated at the first read
//!   and comes back on every path, so that no read allocates.
//! - **A2** what was read is delivered once and in order: a poll that is given up leaves operation and data here, and the
//!   next one goes on with them.
//! - **A3** a read covers no more than was asked for, so nothing is read ahead of a caller who asks once more.

use super::On;
use crate::buffer::Slice;
use crate::op::{IoFd, Poll as Ready, Read};
use crate::ring::{Core, Flight};
use std::io;
use std::ops::Range;
use std::task::{Poll, ready};

pub(super) struct Inlet<D: IoFd> {
    state: State<D>,
    capacity: usize,
}

type Part = Slice<Box<[u8]>>;

enum State<D: IoFd> {
    /// No data; the buffer, if there is one yet. In the middle of a move there is none either.
    Empty(Option<Box<[u8]>>),
    Reading(Flight<Read<Part, D>>),
    /// The descriptor does not block, and had nothing: until it is readable.
    Waiting(Flight<Ready<D>>, Option<Box<[u8]>>),
    /// What came and was not taken yet: a range that is not empty.
    Full(Box<[u8]>, Range<usize>),
}

impl<D: IoFd + Clone> Inlet<D> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            state: State::Empty(None),
            capacity,
        }
    }

    /// Reads up to `want` bytes if nothing is there: at an offset, or wherever the descriptor stands. If nothing is there
    /// then either, it is the end.
    pub(super) fn poll_fill(
        &mut self,
        on: On<'_>,
        fd: &D,
        at: Option<u64>,
        want: usize,
    ) -> Poll<io::Result<()>> {
        loop {
            match &mut self.state {
                State::Full(..) => return Poll::Ready(Ok(())),
                State::Empty(_) if want == 0 => return Poll::Ready(Ok(())),
                State::Empty(buf) => {
                    let buf = buf.take().unwrap_or_else(|| vec![0; self.capacity].into());
                    let read = Read::new(fd.clone(), Slice::new(buf, ..want.min(self.capacity)));
                    self.state = State::Reading(Flight::Fresh(match at {
                        Some(offset) => read.at(offset),
                        None => read,
                    }));
                }
                State::Reading(flight) => {
                    let (read, part) = match ready!(on.poll(flight)) {
                        Ok(done) => done,
                        Err(rejected) => {
                            self.state = State::Empty(Some(rejected.op.into_parts().0.into_inner()));
                            ready!(on.refused(rejected.error))?;
                            continue;
                        }
                    };
                    let buf = part.into_inner();
                    match read {
                        Ok(count) if count > 0 => self.state = State::Full(buf, 0..count),
                        Err(error) if error.errno() == libc::EAGAIN => {
                            let readable = Flight::Fresh(Ready::readable(fd.clone()));
                            self.state = State::Waiting(readable, Some(buf));
                        }
                        Err(error) if error.errno() == libc::EINTR => self.state = State::Empty(Some(buf)),
                        read => {
                            self.state = State::Empty(Some(buf));
                            return Poll::Ready(read.map(drop).map_err(Into::into));
                        }
                    }
                }
                State::Waiting(flight, buf) => {
                    let waited = ready!(on.poll(flight));
                    self.state = State::Empty(buf.take());
                    match waited {
                        Ok(events) => drop(events?),
                        Err(rejected) => ready!(on.refused(rejected.error))?,
                    }
                }
            }
        }
    }

    /// What is there.
    pub(super) fn data(&self) -> &[u8] {
        match &self.state {
            State::Full(buf, range) => &buf[range.clone()],
            _ => &[],
        }
    }

    pub(super) fn is_untouched(&self) -> bool {
        matches!(self.state, State::Empty(None))
    }

    /// Takes the first `count` bytes of what is there.
    pub(super) fn consume(&mut self, count: usize) {
        let State::Full(buf, range) = &mut self.state else {
            assert_eq!(count, 0, "bytes consumed where none are");
            return;
        };
        assert!(count <= range.len(), "{count} of {} bytes consumed", range.len());
        range.start += count;
        if range.start == range.end {
            self.state = State::Empty(Some(std::mem::take(buf)));
        }
    }

    /// Stops reading and drops what came and was not taken: it is read again from wherever the next read begins.
    pub(super) fn poll_quiet(&mut self, on: On<'_>) -> Poll<()> {
        let buf = match &mut self.state {
            State::Empty(_) => return Poll::Ready(()),
            State::Full(buf, _) => Some(std::mem::take(buf)),
            State::Reading(flight) => {
                on.cancel(flight);
                let part = match ready!(on.poll(flight)) {
                    Ok((_, part)) => part,
                    Err(rejected) => rejected.op.into_parts().0,
                };
                Some(part.into_inner())
            }
            State::Waiting(flight, buf) => {
                flight.let_go(on.core);
                buf.take()
            }
        };
        self.state = State::Empty(buf);
        Poll::Ready(())
    }

    /// Lets go of what is in flight: the ring keeps its buffer until the kernel is done with it.
    pub(super) fn let_go(&mut self, core: &Core) {
        match &mut self.state {
            State::Reading(flight) => flight.let_go(core),
            State::Waiting(flight, _) => flight.let_go(core),
            State::Empty(_) | State::Full(..) => {}
        }
    }
}
