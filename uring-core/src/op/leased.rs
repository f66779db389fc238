//! Receiving into buffers that the kernel picks: `recv(2)` or `read(2)` into a buffer that is chosen when data is there.
//!
//! A carrier that interprets entries takes a buffer of group `buf_index` at that moment, and answers `ENOBUFS` when there is
//! none.

use super::file::CURRENT;
use super::result_of;
use super::target::IoFd;
use crate::buffer::{BufGroup, Lease, Picks};
use crate::error::{Error, ErrorKind};
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Core, Items, Multishot, Operation, Outcome};
use crate::sys::abi::{RECV_MULTISHOT, SQE_BUFFER_SELECT, Sqe, code};
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

/// Receives into a buffer that the kernel picks from a group, so that an idle connection holds none.
///
/// `None` is the end. In a stream or `submit_each` it goes on, one lease a piece of data; when the group runs out it ends
/// with [`ErrorKind::WouldBlock`] and is submitted again once leases are back. [`Core::receive`] does that by itself.
#[derive(Debug)]
pub struct RecvLeased<D> {
    fd: D,
    picks: Picks,
    again: bool,
}

impl<D: IoFd> RecvLeased<D> {
    /// Receives once.
    pub fn new(fd: D, group: &BufGroup) -> Self {
        Self {
            fd,
            picks: Picks::new(group),
            again: false,
        }
    }

    /// Goes on after the first piece: for a stream.
    pub fn multishot(mut self) -> Self {
        self.again = true;
        self
    }

    fn is_series(&self) -> bool {
        self.again
    }

    fn entry(&self) -> Sqe {
        Sqe {
            ioprio: if self.again { RECV_MULTISHOT } else { 0 },
            ..self.fd.target().entry(code::RECV)
        }
    }
}

/// Reads again and again into buffers that the kernel picks, from what can be polled: a pipe, a terminal, a device
/// (Linux 6.7). For a stream or `submit_each`; `None` is the end.
#[derive(Debug)]
pub struct ReadLeased<D> {
    fd: D,
    picks: Picks,
}

impl<D: IoFd> ReadLeased<D> {
    /// Reads at the file's own position. What cannot be polled, a regular file for one, is refused with `EBADFD`.
    pub fn new(fd: D, group: &BufGroup) -> Self {
        Self {
            fd,
            picks: Picks::new(group),
        }
    }

    fn is_series(&self) -> bool {
        true
    }

    fn entry(&self) -> Sqe {
        Sqe {
            off: CURRENT,
            ..self.fd.target().entry(code::READ_MULTISHOT)
        }
    }
}

macro_rules! leases {
    ($name:ident, $code:expr) => {
        impl<D: IoFd> Sealed for $name<D> {}

        // SAFETY: the kernel writes into the group's memory, which the group keeps; the entry names none itself.
        unsafe impl<D: IoFd> Operation for $name<D> {
            type Output = Result<Option<Lease>, Error>;

            fn belongs_to(&self, ring: u32) -> bool {
                self.picks.group().ring() == ring && self.fd.target().belongs_to(ring)
            }

            fn entry(&mut self) -> Sqe {
                let entry = Self::entry(self);
                Sqe {
                    flags: entry.flags | SQE_BUFFER_SELECT,
                    buf_index: self.picks.group().id(),
                    ..entry
                }
            }

            fn arrived(&mut self, outcome: Outcome) {
                self.picks.arrived(outcome);
            }

            fn finish(mut self, outcome: Outcome) -> Self::Output {
                self.item(outcome)
            }
        }

        // SAFETY: an item owns a piece of a buffer that the kernel gave up with this completion.
        unsafe impl<D: IoFd> Multishot for $name<D> {
            type Item = Result<Option<Lease>, Error>;

            fn item(&mut self, outcome: Outcome) -> Self::Item {
                let lease = self.picks.lease(outcome);
                result_of(outcome, $code)?;
                lease
            }

            fn goes_on_after(&self, last: Outcome) -> bool {
                // No bytes are the end of the data.
                self.is_series() && last.raw != 0
            }
        }
    };
}
leases!(RecvLeased, code::RECV);
leases!(ReadLeased, code::READ_MULTISHOT);

/// All that a connection sends, piece by piece. Made by [`Core::receive`].
///
/// Dropping it cancels the receive and gives back what came and was not taken.
#[must_use = "nothing is submitted before the first poll"]
#[derive(Debug)]
pub struct Receiving<'r, D: IoFd> {
    core: &'r Core,
    fd: D,
    group: BufGroup,
    stage: Stage<'r, D>,
}

#[derive(Debug)]
enum Stage<'r, D: IoFd> {
    Armed(Items<'r, RecvLeased<D>>),
    /// The group had run out: a buffer has to come back first.
    Dry,
    /// The next poll submits.
    Idle,
    Over,
}

impl<D: IoFd + Clone> Receiving<'_, D> {
    /// Waits for the next piece; `None` at the end of the data, and after an error that is none of back-pressure.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when the group had run out: once, and the call after it waits until a lease is back and
    /// goes on. Whatever else the connection fails with.
    pub async fn next(&mut self) -> Option<Result<Lease, Error>> {
        poll_fn(|cx| self.poll_piece(cx)).await
    }

    /// The poll of a stream.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Lease, Error>>> {
        loop {
            match &mut self.stage {
                Stage::Over => return Poll::Ready(None),
                Stage::Dry => {
                    ready!(self.group.poll_available(cx));
                    self.stage = Stage::Idle;
                }
                Stage::Idle => {
                    let receive = RecvLeased::new(self.fd.clone(), &self.group).multishot();
                    self.stage = Stage::Armed(self.core.stream(receive));
                }
                Stage::Armed(items) => match ready!(items.poll_item(cx)) {
                    Some(Ok(Some(lease))) => return Poll::Ready(Some(Ok(lease))),
                    None | Some(Ok(None)) => self.stage = Stage::Over,
                    Some(Err(error)) => {
                        let dry = error.kind() == ErrorKind::WouldBlock;
                        self.stage = if dry { Stage::Dry } else { Stage::Over };
                        return Poll::Ready(Some(Err(error)));
                    }
                },
            }
        }
    }
}

impl<D: IoFd + Clone> futures_core::Stream for Receiving<'_, D>
where
    D: Unpin,
{
    type Item = Result<Lease, Error>;

    fn poll_next(self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_piece(cx)
    }
}

impl Core {
    /// Receives all that a connection sends into buffers of a group: a multishot receive that is submitted again whenever it
    /// ends before the data does. A consumer that does not keep up loses nothing: what it has not taken stays in the socket.
    pub fn receive<D: IoFd + Clone>(&self, fd: D, group: &BufGroup) -> Receiving<'_, D> {
        Receiving {
            core: self,
            fd,
            group: group.clone(),
            stage: Stage::Idle,
        }
    }
}
