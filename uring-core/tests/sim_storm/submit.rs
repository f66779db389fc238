//! Steps that submit, and what the model promises by them.

use crate::loan::Loan;
use crate::model::{Fd, REGION, Stream, byte_at};
use crate::program::Style;
use crate::world::{Any, Checked, Got, Kind, Live, Plant, Transfer, World, submit};
use std::future::Future;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use uring_core::op::{Accept, Close, Nop, Open, Read, RecvLeased, Send, Timeout, Within, Write};
use uring_core::{Error, ErrorKind, OpId, Operation};

impl<'r> World<'r> {
    pub(crate) fn begin(&mut self, kind: Kind, cancelled: bool) -> (usize, u64) {
        self.serial += 1;
        let live = Live {
            serial: self.serial,
            kind,
            id: None,
            cancelled,
        };
        self.live += 1;
        match self.vacant.pop() {
            Some(at) => {
                self.ops[at] = Some(live);
                (at, self.serial)
            }
            None => {
                self.ops.push(Some(live));
                (self.ops.len() - 1, self.serial)
            }
        }
    }

    pub(crate) fn end(&mut self, at: usize) -> Option<Live> {
        let live = self.ops[at].take()?;
        self.vacant.push(at);
        self.live -= 1;
        if let Some(id) = live.id {
            self.by_slot[id.slot()] = self.by_slot[id.slot()].filter(|&a| a != at);
        }
        Some(live)
    }

    pub(crate) fn name(&mut self, at: usize, id: OpId) {
        if self.by_slot.len() <= id.slot() {
            self.by_slot.resize(id.slot() + 1, None);
        }
        self.by_slot[id.slot()] = Some(at);
        self.ops[at].as_mut().expect("just begun").id = Some(id);
    }

    /// Submits a transfer in any style; a rejected one must give its very buffer back.
    pub(crate) fn launch<O>(
        &mut self,
        kind: Kind,
        op: O,
        back: Transfer<O>,
        style: Style,
        cancelled: bool,
    ) -> Checked
    where
        O: Operation<Output = (Result<usize, Error>, Loan)>,
    {
        let (at, serial) = self.begin(kind, cancelled);
        let rejected = match style {
            Style::Token => match self.ring.submit(op) {
                Ok(token) => {
                    self.name(at, token.id());
                    return Ok(());
                }
                Err(rejected) => (back(rejected.op), rejected.error),
            },
            Style::Callback => {
                let inbox = Arc::clone(&self.inbox);
                let then = move |(result, loan): (Result<usize, Error>, Loan)| {
                    inbox.lock().unwrap().push(Got {
                        at,
                        serial,
                        result,
                        loan: Some(loan),
                    });
                };
                match submit!(self.ring, submit_with, op, then) {
                    Ok(id) => {
                        self.name(at, id);
                        return Ok(());
                    }
                    Err(rejected) => (back(rejected.op.0), rejected.error),
                }
            }
            Style::Future => {
                let mut future = Box::pin(self.ring.run(op));
                let mut cx = Context::from_waker(Waker::noop());
                match future.as_mut().poll(&mut cx) {
                    Poll::Pending => {
                        self.futures.push((at, future));
                        return Ok(());
                    }
                    Poll::Ready((result, loan)) => match result {
                        Err(error) => (loan, error),
                        Ok(_) => return Err("a future was ready before it was submitted".into()),
                    },
                }
            }
        };
        let (loan, error) = rejected;
        self.stalls += 1;
        let live = self.end(at).expect("just begun");
        self.release(live.kind, false);
        if error.kind() != ErrorKind::WouldBlock {
            return Err(format!("rejected with {error:?}"));
        }
        if let Kind::WriteFile { data, .. } = live.kind
            && loan.bytes() != data
        {
            return Err("another buffer came back with the rejected submission".into());
        }
        if self.plant == Some(Plant::FreedOnFullQueue) && matches!(live.kind, Kind::ReadFile { .. }) {
            self.alias = Some((loan.bytes().as_ptr() as u64, REGION as u32));
        }
        Ok(())
    }

    /// Lets go of what an operation had of the model; an orphan of unknown fate leaves doubt behind.
    pub(crate) fn release(&mut self, kind: Kind, orphaned: bool) {
        match kind {
            Kind::WriteFile { region, data } => {
                let region = &mut self.disk.regions[region];
                if orphaned {
                    region.maybe = Some(data);
                } else {
                    region.writing = false;
                }
            }
            Kind::ReadFile { region } => {
                if !orphaned {
                    self.disk.regions[region].readers -= 1;
                }
            }
            Kind::WriteStream { number } | Kind::ReadStream { number } if number != self.stream.number => {}
            // How much an orphan moved is not known: the stream is given up.
            Kind::WriteStream { number } | Kind::ReadStream { number } if orphaned => {
                self.stream = Stream::new(number + 1);
            }
            Kind::WriteStream { .. } => self.stream.writing = false,
            Kind::ReadStream { .. } => self.stream.reading = false,
            Kind::Nop | Kind::Timeout { .. } => {}
        }
    }

    pub(crate) fn write_file(&mut self, region: usize, style: Style) -> Checked {
        let part = &mut self.disk.regions[region];
        if part.writing || part.readers > 0 || part.maybe.is_some() {
            return Ok(());
        }
        part.writing = true;
        let mut loan = self.arena.lend(REGION);
        let first = self.random.next();
        for (i, byte) in loan.bytes_mut().iter_mut().enumerate() {
            *byte = (first >> (i % 8 * 8)) as u8 ^ i as u8;
        }
        let data = loan.bytes().try_into().unwrap();
        let offset = (region * REGION) as u64;
        let op = Write::new(Arc::clone(&self.disk.file), loan).at(offset);
        let kind = Kind::WriteFile { region, data };
        self.launch(kind, op, |op| op.into_parts().0, style, false)
    }

    pub(crate) fn read_file(&mut self, region: usize, style: Style, bound_us: Option<u16>) -> Checked {
        let part = &mut self.disk.regions[region];
        if part.writing || part.maybe.is_some() {
            return Ok(());
        }
        part.readers += 1;
        let loan = self.arena.lend(REGION);
        let op = Read::new(Arc::clone(&self.disk.file), loan).at((region * REGION) as u64);
        self.read(Kind::ReadFile { region }, op, style, bound_us)
    }

    pub(crate) fn read(
        &mut self,
        kind: Kind,
        op: Read<Loan, Fd>,
        style: Style,
        bound_us: Option<u16>,
    ) -> Checked {
        match bound_us {
            None => self.launch(kind, op, |op| op.into_parts().0, style, false),
            Some(limit) => {
                let op = Within::new(Duration::from_micros(u64::from(limit)), op);
                self.launch(kind, op, |op| op.into_inner().into_parts().0, style, true)
            }
        }
    }

    pub(crate) fn write_stream(&mut self, len: u8, style: Style) -> Checked {
        if std::mem::replace(&mut self.stream.writing, true) {
            return Ok(());
        }
        let mut loan = self.arena.lend(usize::from(len));
        let start = self.stream.written;
        for (byte, at) in loan.bytes_mut().iter_mut().zip(start..) {
            *byte = byte_at(at);
        }
        // Counted at once, since a reader may see the bytes before the writer sees its completion.
        self.stream.written += u64::from(len);
        let zero_copy = len.is_multiple_of(4);
        let op = Send::new(Arc::clone(&self.stream.to), loan);
        let op = if zero_copy { op.zero_copy() } else { op };
        let kind = Kind::WriteStream {
            number: self.stream.number,
        };
        let before = self.stalls;
        let done = self.launch(kind, op, |op| op.into_parts().0, style, false);
        if self.stalls > before {
            self.stream.written -= u64::from(len);
        }
        done
    }

    pub(crate) fn read_stream(&mut self, len: u8, style: Style, bound_us: Option<u16>) -> Checked {
        if std::mem::replace(&mut self.stream.reading, true) {
            return Ok(());
        }
        let loan = self.arena.lend(usize::from(len));
        let op = Read::new(Arc::clone(&self.stream.from), loan);
        let kind = Kind::ReadStream {
            number: self.stream.number,
        };
        self.read(kind, op, style, bound_us)
    }

    pub(crate) fn feed_bytes(&mut self, len: u8) -> Checked {
        let bytes: Vec<u8> = (self.feed.written..)
            .take(usize::from(len))
            .map(byte_at)
            .collect();
        // SAFETY: reads so many bytes at most.
        let sent = unsafe {
            libc::send(
                self.feed.to.as_raw_fd(),
                bytes.as_ptr().cast(),
                bytes.len(),
                libc::MSG_DONTWAIT,
            )
        };
        self.feed.written += u64::try_from(sent).unwrap_or(0);
        Ok(())
    }

    pub(crate) fn receive(&mut self, again: bool) -> Checked {
        if self.receiving {
            return Ok(());
        }
        let inbox = Arc::clone(&self.received);
        let op = RecvLeased::new(Arc::clone(&self.feed.from), self.group);
        let submitted = if again {
            let each = move |item, more| inbox.lock().unwrap().push((item, more));
            submit!(self.ring, submit_each, op.multishot(), each).is_ok()
        } else {
            let then = move |item| inbox.lock().unwrap().push((item, false));
            submit!(self.ring, submit_with, op, then).is_ok()
        };
        self.receiving = submitted;
        Ok(())
    }

    pub(crate) fn connect(&mut self) -> Checked {
        if self.clients.len() < 8
            && let Ok(client) = UnixStream::connect_addr(&self.address)
        {
            self.clients.push(client);
        }
        Ok(())
    }

    pub(crate) fn accept(&mut self, again: bool) -> Checked {
        if self.accepting {
            return Ok(());
        }
        let inbox = Arc::clone(&self.accepted);
        let op = Accept::new(Arc::clone(&self.listener));
        let submitted = if again {
            let each = move |item, more| inbox.lock().unwrap().push((item, more));
            submit!(self.ring, submit_each, op.multishot(), each).is_ok()
        } else {
            let then = move |item| inbox.lock().unwrap().push((item, false));
            submit!(self.ring, submit_with, op, then).is_ok()
        };
        self.accepting = submitted;
        Ok(())
    }

    pub(crate) fn open(&mut self) -> Checked {
        let inbox = Arc::clone(&self.opened);
        let op = Open::new("/dev/null", libc::O_RDWR).unwrap();
        let submitted = submit!(self.ring, submit_with, op, move |file: Result<
            std::fs::File,
            Error,
        >| {
            inbox.lock().unwrap().push(file.map(drop));
        });
        self.opens += u64::from(submitted.is_ok());
        Ok(())
    }

    pub(crate) fn close(&mut self) -> Checked {
        let inbox = Arc::clone(&self.opened);
        let op = Close::new(self.disk.file.try_clone().unwrap());
        let submitted = submit!(self.ring, submit_with, op, move |closed: Result<(), Error>| {
            inbox.lock().unwrap().push(closed);
        });
        self.opens += u64::from(submitted.is_ok());
        Ok(())
    }

    pub(crate) fn nop(&mut self) -> Checked {
        let (at, _) = self.begin(Kind::Nop, false);
        match self.ring.submit(Nop::new()) {
            Ok(token) => self.name(at, token.id()),
            Err(_) => drop(self.end(at)),
        }
        Ok(())
    }

    pub(crate) fn timeout(&mut self, micros: u16) -> Checked {
        let time = Duration::from_micros(u64::from(micros));
        let until = self.simulation.now() + time;
        let (at, _) = self.begin(Kind::Timeout { until }, false);
        match self.ring.submit(Timeout::after(time)) {
            Ok(token) => self.name(at, token.id()),
            Err(_) => drop(self.end(at)),
        }
        Ok(())
    }
}
