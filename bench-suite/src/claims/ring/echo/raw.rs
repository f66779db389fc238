//! The barest echo server: multishot accept and receive, a buffer ring, one send a piece, no ownership.

use super::super::invalid;
use super::CONNECTIONS;
use crate::Invalid;
use io_uring::types::{self, BufRingEntry};
use io_uring::{IoUring, cqueue, opcode, squeue};
use pooled_vec::AlignedBuf;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU16, Ordering};

const BUFFERS: u16 = 256;
const BUFFER_BYTES: usize = 4096;
const ACCEPT: u64 = 1 << 62;
const SEND: u64 = 1 << 61;

pub(super) struct Server {
    // Dropped first: the kernel uses the two below it.
    ring: IoUring,
    entries: AlignedBuf,
    memory: AlignedBuf,
    listener: OwnedFd,
    tail: u16,
}

impl Server {
    pub(super) fn new(listener: &TcpListener, entries: u32) -> Result<Self, Invalid> {
        let mut builder = IoUring::builder();
        builder
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all();
        let mut server = Self {
            ring: builder.build(entries)?,
            entries: AlignedBuf::new(usize::from(BUFFERS) * size_of::<BufRingEntry>()).map_err(invalid)?,
            memory: AlignedBuf::new(usize::from(BUFFERS) * BUFFER_BYTES).map_err(invalid)?,
            listener: listener.try_clone()?.into(),
            tail: 0,
        };
        let at = server.entries.as_non_null().as_ptr() as u64;
        // SAFETY: the entries live as long as the ring.
        unsafe {
            server
                .ring
                .submitter()
                .register_buf_ring_with_flags(at, BUFFERS, 0, 0)?;
        }
        for id in 0..BUFFERS {
            server.provide(id);
        }
        Ok(server)
    }

    fn buffer(&self, id: u16) -> *mut u8 {
        // SAFETY: within the memory, since the kernel names only what was provided.
        unsafe {
            self.memory
                .as_non_null()
                .as_ptr()
                .add(usize::from(id) * BUFFER_BYTES)
        }
    }

    fn provide(&mut self, id: u16) {
        let base = self.entries.as_non_null().as_ptr().cast::<BufRingEntry>();
        let buffer = self.buffer(id) as u64;
        // SAFETY: within the entries; the kernel reads it only behind the tail stored below.
        let entry = unsafe { &mut *base.add(usize::from(self.tail & (BUFFERS - 1))) };
        entry.set_addr(buffer);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the first entry and is read by the kernel alone.
        let tail = unsafe { &*BufRingEntry::tail(base).cast::<AtomicU16>() };
        // Release: pairs with the kernel's acquire of the tail; publishes the entry.
        tail.store(self.tail, Ordering::Release);
    }

    fn push(&mut self, entry: &squeue::Entry) -> Result<(), Invalid> {
        // SAFETY: buffers and listener outlive the ring; a buffer is provided again only when its send is over.
        if unsafe { self.ring.submission().push(entry) }.is_err() {
            self.ring.submit()?;
            // SAFETY: as above.
            unsafe { self.ring.submission().push(entry) }.map_err(invalid)?;
        }
        Ok(())
    }

    /// Serves until as many connections as there are have come and gone.
    pub(super) fn serve(mut self) -> Result<(), Invalid> {
        let listener = types::Fd(self.listener.as_raw_fd());
        self.push(&opcode::AcceptMulti::new(listener).build().user_data(ACCEPT))?;
        let mut sockets: Vec<OwnedFd> = Vec::with_capacity(CONNECTIONS);
        let mut ended = 0;
        while ended < CONNECTIONS {
            self.ring.submit_and_wait(1)?;
            // One at a time: seeing to it queues entries.
            while let Some(cqe) = self.next() {
                let (data, result) = (cqe.user_data(), cqe.result());
                if data == ACCEPT {
                    if result < 0 {
                        return Err(invalid(format_args!("accept: {result}")));
                    }
                    // SAFETY: a descriptor that this completion brought, owned by nobody else.
                    sockets.push(unsafe { OwnedFd::from_raw_fd(result) });
                    self.receive(&sockets, sockets.len() - 1)?;
                } else if data & SEND != 0 {
                    if result as u64 != data >> 32 & 0xffff {
                        return Err(invalid(format_args!("a send gave {result}")));
                    }
                    self.provide(data as u16);
                } else {
                    ended += usize::from(self.received(&sockets, &cqe)?);
                }
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Option<cqueue::Entry> {
        self.ring.completion().next()
    }

    fn receive(&mut self, sockets: &[OwnedFd], at: usize) -> Result<(), Invalid> {
        let socket = types::Fd(sockets[at].as_raw_fd());
        self.push(&opcode::RecvMulti::new(socket, 0).build().user_data(at as u64))
    }

    /// Sends a piece back; says whether it was the end.
    fn received(&mut self, sockets: &[OwnedFd], cqe: &cqueue::Entry) -> Result<bool, Invalid> {
        let at = cqe.user_data() as usize;
        match cqe.result() {
            0 => return Ok(true),
            count if count > 0 => {
                let id = cqueue::buffer_select(cqe.flags()).ok_or_else(|| invalid("no buffer"))?;
                let socket = types::Fd(sockets[at].as_raw_fd());
                let send = opcode::Send::new(socket, self.buffer(id), count as u32)
                    .flags(libc::MSG_NOSIGNAL)
                    .build()
                    .user_data(SEND | (count as u64) << 32 | u64::from(id));
                self.push(&send)?;
            }
            failed if failed == -libc::ENOBUFS => {}
            failed => return Err(invalid(format_args!("a receive gave {failed}"))),
        }
        if !cqueue::more(cqe.flags()) {
            self.receive(sockets, at)?;
        }
        Ok(false)
    }
}
