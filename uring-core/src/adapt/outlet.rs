//! The writing half of an adapter: one buffer, one write in flight at most, behind the caller.
//!
//! ```text
//!          poll_write copies                submitted                completed
//!   Idle ───────────────────► Rest ─────────────────────► Writing ───────────► Idle
//!                              ▲                            │  │
//!                              ├────────── short ───────────┘  │ would block
//!                              └───── writable ──── Waiting ◄──┘
//! ```
//!
//! - **A4** bytes are accepted exactly when they are copied and their write is in the ring's table; a poll that says
//!   `Pending` accepted none. So a call that is given up wrote nothing.
//! - **A5** accepted bytes are written once, in order, before any later ones; a short write is followed by its rest.
//! - **A6** an error is told once, by the next call that waits for the write, with the number of accepted bytes that are lost.
//! - **A1** of the reading half holds here too.

use super::On;
use crate::buffer::Slice;
use crate::error::{Error, Rejected};
use crate::op::{IoFd, Poll as Ready, Send, Write};
use crate::ring::{Core, Flight};
use std::io;
use std::ops::Range;
use std::task::{Poll, ready};

/// A write failed after it was accepted: so many of its bytes were not written.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) bytes: usize,
    pub(super) error: io::Error,
}

/// How bytes leave.
#[derive(Clone, Copy, Debug)]
pub(super) enum Exit {
    /// By `write`, at an offset if there is one.
    Write,
    /// By `send`, which raises no `SIGPIPE`.
    Send,
}

pub(super) struct Outlet<D: IoFd> {
    state: State<D>,
    capacity: usize,
    exit: Exit,
    /// Where the rest of what was accepted goes.
    at: Option<u64>,
}

type Part = Slice<Box<[u8]>>;

enum State<D: IoFd> {
    /// Nothing to write; the buffer, if there is one yet. In the middle of a move there is none either.
    Idle(Option<Box<[u8]>>),
    /// Bytes that are not in the ring's table.
    Rest(Box<[u8]>, Range<usize>),
    Writing(Flight<Write<Part, D>>),
    Sending(Flight<Send<Part, D>>),
    /// The descriptor does not block, and took nothing: until it is writable.
    Waiting(Flight<Ready<D>>, Box<[u8]>, Range<usize>),
}

impl<D: IoFd + Clone> Outlet<D> {
    pub(super) fn new(capacity: usize, exit: Exit) -> Self {
        Self {
            state: State::Idle(None),
            capacity,
            exit,
            at: None,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle(_))
    }

    pub(super) fn is_untouched(&self) -> bool {
        matches!(self.state, State::Idle(None))
    }

    /// Accepts bytes once what was accepted before is written; gives how many.
    pub(super) fn poll_write(
        &mut self,
        on: On<'_>,
        fd: &D,
        at: Option<u64>,
        bytes: &[u8],
    ) -> Poll<Result<usize, Lost>> {
        ready!(self.poll_flush(on, fd))?;
        let State::Idle(buf) = &mut self.state else {
            unreachable!("flushed")
        };
        let count = bytes.len().min(self.capacity);
        if count == 0 {
            return Poll::Ready(Ok(0));
        }
        let mut buf = buf.take().unwrap_or_else(|| vec![0; self.capacity].into());
        buf[..count].copy_from_slice(&bytes[..count]);
        self.at = at;
        self.state = State::Rest(buf, 0..count);
        match self.poll_flush(on, fd) {
            Poll::Ready(Err(Lost { error, .. })) => Poll::Ready(Err(Lost { bytes: 0, error })),
            Poll::Pending if matches!(self.state, State::Rest(..)) => {
                // No room in the ring: not accepted.
                self.back_to_idle();
                Poll::Pending
            }
            _ => Poll::Ready(Ok(count)),
        }
    }

    fn back_to_idle(&mut self) {
        if let State::Rest(buf, _) = &mut self.state {
            self.state = State::Idle(Some(std::mem::take(buf)));
        }
    }

    /// Waits until everything accepted is written.
    pub(super) fn poll_flush(&mut self, on: On<'_>, fd: &D) -> Poll<Result<(), Lost>> {
        loop {
            match &mut self.state {
                State::Idle(_) => return Poll::Ready(Ok(())),
                State::Rest(buf, range) => {
                    let part = Slice::new(std::mem::take(buf), range.clone());
                    self.state = match self.exit {
                        Exit::Send => State::Sending(Flight::Fresh(Send::new(fd.clone(), part))),
                        Exit::Write => {
                            let write = Write::new(fd.clone(), part);
                            State::Writing(Flight::Fresh(match self.at {
                                Some(offset) => write.at(offset),
                                None => write,
                            }))
                        }
                    };
                }
                State::Writing(flight) => {
                    let done = ready!(on.poll(flight)).map_err(|r| with_part(r, |op| op.into_parts().0));
                    ready!(self.completed(on, fd, done))?;
                }
                State::Sending(flight) => {
                    let done = ready!(on.poll(flight)).map_err(|r| with_part(r, |op| op.into_parts().0));
                    ready!(self.completed(on, fd, done))?;
                }
                State::Waiting(flight, buf, range) => {
                    let waited = ready!(on.poll(flight));
                    self.state = State::Rest(std::mem::take(buf), range.clone());
                    match waited {
                        Ok(Ok(_)) => {}
                        Ok(Err(error)) => return Poll::Ready(Err(self.lose(error.into()))),
                        Err(rejected) => {
                            ready!(on.refused(rejected.error)).map_err(|error| self.lose(error))?;
                        }
                    }
                }
            }
        }
    }

    /// Goes on from a write that completed, or was not taken by the ring.
    fn completed(
        &mut self,
        on: On<'_>,
        fd: &D,
        done: Result<(Result<usize, Error>, Part), (Part, Error)>,
    ) -> Poll<Result<(), Lost>> {
        let (written, part) = match done {
            Ok(done) => done,
            Err((part, refused)) => {
                let range = part.range();
                self.state = State::Rest(part.into_inner(), range);
                return on.refused(refused).map_err(|error| self.lose(error));
            }
        };
        let (range, buf) = (part.range(), part.into_inner());
        let count = match written {
            Ok(0) => {
                self.state = State::Rest(buf, range);
                return Poll::Ready(Err(self.lose(io::ErrorKind::WriteZero.into())));
            }
            Ok(count) => count,
            Err(error) if error.errno() == libc::EINTR => 0,
            Err(error) if error.errno() == libc::EAGAIN => {
                self.state = State::Waiting(Flight::Fresh(Ready::writable(fd.clone())), buf, range);
                return Poll::Ready(Ok(()));
            }
            Err(error) => {
                self.state = State::Rest(buf, range);
                return Poll::Ready(Err(self.lose(error.into())));
            }
        };
        self.at = self.at.map(|at| at + count as u64);
        self.state = match range.start + count == range.end {
            true => State::Idle(Some(buf)),
            false => State::Rest(buf, range.start + count..range.end),
        };
        Poll::Ready(Ok(()))
    }

    /// Gives the rest up.
    fn lose(&mut self, error: io::Error) -> Lost {
        let bytes = match &self.state {
            State::Rest(_, range) => range.len(),
            _ => 0,
        };
        self.back_to_idle();
        Lost { bytes, error }
    }

    /// Lets go of what is in flight: the ring keeps its buffer until the kernel is done with it.
    pub(super) fn let_go(&mut self, core: &Core) {
        match &mut self.state {
            State::Writing(flight) => flight.let_go(core),
            State::Sending(flight) => flight.let_go(core),
            State::Waiting(flight, ..) => flight.let_go(core),
            State::Idle(_) | State::Rest(..) => {}
        }
    }
}

fn with_part<O>(rejected: Rejected<O>, part: impl FnOnce(O) -> Part) -> (Part, Error) {
    (part(rejected.op), rejected.error)
}
