//! Buffers that the kernel picks for itself, leased to whoever gets the data.
//!
//! # States of a buffer
//! ```text
//!   provided ──a completion names it──► filled ──its last piece is dropped──► provided
//! ```
//! A buffer of an ordinary group is filled by one completion. One of an *incremental* group (Linux 6.12) is filled piece
//! by piece: the kernel goes on where it stopped for as long as completions say so, and no completion says where that is.
//!
//! - **G1** a byte is leased at most once: only a completion makes a piece, pieces of a buffer follow each other, and the
//!   kernel fills a buffer anew only after it was provided again.
//! - **G2** entries and memory live until the last piece is back and the ring has taken the group back from the kernel:
//!   leases and operations hold the group, and what the last of them leaves goes to the ring's registry.
//! - **G3** one writer of the tail at a time, under the lock.
//! - **G4** pieces are counted when their completion is *collected*, which is the order in which the kernel filled; what
//!   is made of a completion comes later, and for two operations of one group in any order.

use crate::error::{Error, ErrorKind, SetupError};
use crate::ring::ledger;
use crate::ring::registry::{Leaving, Registry};
use crate::ring::{Core, Outcome};
use crate::sys::abi::{BUF_RING_INCREMENTAL, CQE_BUF_MORE};
use inline_error::Errno;
use pooled_vec::AlignedBuf;
use std::collections::VecDeque;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::task::{Context, Poll, Waker};
use sync_base::atomic::{AtomicU16, Ordering};
use sync_base::sync::{Arc, Mutex, MutexGuard};

/// A ring of provided buffers. Cheap to clone; taken back from the kernel when the last clone and the last lease are gone.
#[derive(Clone, Debug)]
pub struct BufGroup {
    shared: Arc<Shared>,
}

struct Shared {
    /// `count` entries of 16 bytes; the tail lies in the reserved field of the first.
    entries: Option<AlignedBuf>,
    /// `count` buffers of `buf_bytes` each.
    memory: Option<AlignedBuf>,
    count: u16,
    buf_bytes: u32,
    id: u16,
    ring: u32,
    registry: Arc<Registry>,
    state: Mutex<State>,
}

struct State {
    /// The tail: where the next buffer is provided.
    next: u16,
    /// What becomes of each buffer.
    buffers: Box<[Filling]>,
    /// Pieces that somebody has.
    pieces: u32,
    /// Buffers that the kernel cannot pick from: filled, and not yet back.
    away: u16,
    /// Who waits for a buffer to come back.
    waiting: Vec<Waker>,
}

/// How far a buffer is.
#[derive(Clone, Copy, Default)]
struct Filling {
    filled: u32,
    pieces: u32,
    /// The kernel fills no more of it.
    full: bool,
}

/// A part of a buffer that a completion brought.
#[derive(Clone, Copy, Debug)]
struct Piece {
    id: u16,
    offset: u32,
    len: u32,
}

/// `struct io_uring_buf`, less the reserved field, which in the first entry is the tail.
#[repr(C)]
struct Entry {
    addr: u64,
    len: u32,
    id: u16,
}

const ENTRY_BYTES: usize = 16;
const TAIL_OFFSET: usize = 14;

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("id", &self.id)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn entries(&self) -> NonNull<u8> {
        let entries = self.entries.as_ref();
        entries
            .expect("G2: there until the group is dropped")
            .as_non_null()
    }

    /// The first byte of a piece.
    fn at(&self, id: u16, offset: u32) -> NonNull<u8> {
        assert!(
            id < self.count && offset <= self.buf_bytes,
            "the kernel named a buffer that was never provided"
        );
        let memory = self
            .memory
            .as_ref()
            .expect("G2: there until the group is dropped");
        let buffer = usize::from(id) * self.buf_bytes as usize;
        // SAFETY: within the memory, since `id < count`, and within the buffer or at its end.
        unsafe { memory.as_non_null().add(buffer + offset as usize) }
    }

    /// Provides a buffer, again or for the first time.
    fn provide(&self, state: &mut State, id: u16) {
        let at = usize::from(state.next & (self.count - 1)) * ENTRY_BYTES;
        let entry = Entry {
            addr: self.at(id, 0).as_ptr() as u64,
            len: self.buf_bytes,
            id,
        };
        state.buffers[usize::from(id)] = Filling::default();
        ledger::provide(self.at(id, 0), self.buf_bytes as usize);
        // SAFETY: G3; within the entries, aligned to 16. The kernel reads this entry only behind the tail stored below,
        // and the write stops short of the reserved field where the tail lies.
        unsafe {
            let to = self.entries().add(at).cast::<Entry>();
            (&raw mut (*to.as_ptr()).addr).write(entry.addr);
            (&raw mut (*to.as_ptr()).len).write(entry.len);
            (&raw mut (*to.as_ptr()).id).write(entry.id);
        }
        state.next = state.next.wrapping_add(1);
        // SAFETY: two aligned bytes within the first entry, written by nobody else and read by the kernel.
        let tail = unsafe { self.entries().add(TAIL_OFFSET).cast::<AtomicU16>().as_ref() };
        // Release: pairs with the kernel's `smp_load_acquire` of the tail in `io_ring_buffer_select`; publishes the entry.
        // weaken-ok(Release->Relaxed): the tail lies in memory laid out as the kernel has it, where no atomic of loom can lie.
        tail.store(state.next, Ordering::Release);
    }

    /// Counts a piece that a completion brought (G4).
    fn collect(&self, outcome: Outcome, id: u16) -> Piece {
        let len = u32::try_from(outcome.raw).unwrap_or(0);
        let mut state = self.lock();
        let filling = &mut state.buffers[usize::from(id)];
        let offset = filling.filled;
        assert!(
            len <= self.buf_bytes - offset && !filling.full,
            "G1: the kernel filled more than was provided"
        );
        filling.filled += len;
        filling.pieces += 1;
        filling.full = outcome.flags & CQE_BUF_MORE == 0;
        let full = filling.full;
        state.pieces += 1;
        state.away += u16::from(full);
        if full {
            ledger::filled(self.at(id, 0), self.buf_bytes as usize, (offset + len) as usize);
        }
        Piece { id, offset, len }
    }

    /// Takes a piece back; the last one of a buffer that the kernel is done with provides the buffer again.
    fn give_back(&self, piece: Piece) {
        let mut state = self.lock();
        state.pieces -= 1;
        let filling = &mut state.buffers[usize::from(piece.id)];
        filling.pieces -= 1;
        if filling.pieces > 0 || !filling.full {
            return;
        }
        state.away -= 1;
        self.provide(&mut state, piece.id);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let out = self.lock().pieces;
        debug_assert!(
            out == 0 || std::thread::panicking(),
            "G2: {out} pieces never came back"
        );
        let kept = (self.entries.take(), self.memory.take());
        self.registry.leave(Leaving::Group(self.id, Box::new(kept)));
    }
}

impl BufGroup {
    pub(crate) fn id(&self) -> u16 {
        self.shared.id
    }

    pub(crate) fn ring(&self) -> u32 {
        self.shared.ring
    }

    /// Counts the pieces that are leased now, those included that came and nobody has taken yet.
    pub fn leased(&self) -> usize {
        self.shared.lock().pieces as usize
    }

    /// Counts the buffers that the kernel can pick from now.
    pub fn available(&self) -> usize {
        usize::from(self.shared.count - self.shared.lock().away)
    }

    /// Waits until the kernel has a buffer to pick; wakes when one comes back.
    pub(crate) fn poll_available(&self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut state = self.shared.lock();
        if state.away < self.shared.count {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|known| known.will_wake(&waker)) {
            state.waiting.push(waker);
        }
        Poll::Pending
    }
}

/// What an operation keeps that receives into buffers of a group: the group, and what came of it.
#[derive(Debug)]
pub(crate) struct Picks {
    group: BufGroup,
    /// The oldest piece that came and was not taken; the others follow in `more`, so that one costs no allocation.
    first: Option<Piece>,
    more: VecDeque<Piece>,
}

impl Picks {
    pub(crate) fn new(group: &BufGroup) -> Self {
        Self {
            group: group.clone(),
            first: None,
            more: VecDeque::new(),
        }
    }

    pub(crate) fn group(&self) -> &BufGroup {
        &self.group
    }

    /// Counts what a completion brought, in the order in which the kernel filled.
    pub(crate) fn arrived(&mut self, outcome: Outcome) {
        let Some(id) = outcome.buffer_id() else { return };
        let piece = self.group.shared.collect(outcome, id);
        if self.first.is_none() {
            self.first = Some(piece);
        } else {
            self.more.push_back(piece);
        }
    }

    /// Makes a lease of what a completion brought; `None` for the end of the data.
    pub(crate) fn lease(&mut self, outcome: Outcome) -> Result<Option<Lease>, Error> {
        let piece = outcome.buffer_id().map(|id| {
            let piece = self.first.take();
            self.first = self.more.pop_front();
            // A wrapper that does not pass `arrived` on loses the order among operations, and no buffer.
            piece.unwrap_or_else(|| self.group.shared.collect(outcome, id))
        });
        let lease = piece.map(|piece| Lease {
            shared: Arc::clone(&self.group.shared),
            piece,
        });
        outcome.result()?;
        Ok(lease.filter(|lease| !lease.is_empty()))
    }
}

impl Drop for Picks {
    /// Gives back what came and was never taken.
    fn drop(&mut self) {
        for piece in self.first.take().into_iter().chain(self.more.drain(..)) {
            self.group.shared.give_back(piece);
        }
    }
}

/// A piece of a buffer with data in it. When the last piece of a buffer is dropped, on whichever thread that is, the buffer
/// is provided to the kernel again.
pub struct Lease {
    shared: Arc<Shared>,
    piece: Piece,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.piece).finish()
    }
}

impl Lease {
    fn start(&self) -> NonNull<u8> {
        self.shared.at(self.piece.id, self.piece.offset)
    }
}

impl Deref for Lease {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: G1: the bytes are this lease's alone; zeroed at first, so initialised.
        unsafe { std::slice::from_raw_parts(self.start().as_ptr(), self.piece.len as usize) }
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.start().as_ptr(), self.piece.len as usize) }
    }
}

// SAFETY: G1 and G2: the bytes are the lease's alone and live as long as it.
unsafe impl super::IoBuf for Lease {
    fn stable_ptr(&self) -> *const u8 {
        self.start().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.piece.len as usize
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.give_back(self.piece);
    }
}

impl Core {
    /// Provides `count` buffers (a power of two up to 32768) of `buf_bytes` each, for receives that pick their own.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for other counts, and for no bytes; [`ErrorKind::Unsupported`] before Linux 5.19;
    /// [`ErrorKind::WouldBlock`] when the ring has 65536 groups; and what the allocation fails with.
    pub fn provide_buffers(&self, count: u16, buf_bytes: u32) -> Result<BufGroup, SetupError> {
        self.provide(count, buf_bytes, 0)
    }

    /// The same, filled piece by piece: a small message takes only as much of a large buffer as it is long.
    ///
    /// A buffer is back when the kernel has filled it to its end and every piece of it was dropped, so one piece kept for
    /// long keeps a whole buffer.
    ///
    /// # Errors
    /// As [`provide_buffers`](Core::provide_buffers), with [`ErrorKind::Unsupported`] before Linux 6.12.
    pub fn provide_buffers_in_pieces(&self, count: u16, buf_bytes: u32) -> Result<BufGroup, SetupError> {
        self.provide(count, buf_bytes, BUF_RING_INCREMENTAL)
    }

    /// Counts the groups that somebody holds: by a handle, by a lease, or by an operation that is not over.
    pub fn groups_held(&self) -> usize {
        self.state.borrow_mut().take_back();
        self.state.borrow().registry.groups_held() as usize
    }

    fn provide(&self, count: u16, buf_bytes: u32, flags: u16) -> Result<BufGroup, SetupError> {
        let told = |error: Error| error.explain("providing buffers");
        self.check().map_err(told)?;
        let refused = |errno, remedy: &str| {
            let cause = format_args!("providing {count} buffers of {buf_bytes} bytes: {remedy}");
            let told = SetupError::new(Error::from_errno(errno).kind(), cause);
            match Errno::new(errno) {
                Some(errno) => told.with_errno(errno),
                None => told,
            }
        };
        if !count.is_power_of_two() || count > 1 << 15 {
            return Err(refused(
                libc::EINVAL,
                "choose a count that is a power of two up to 32768",
            ));
        }
        if buf_bytes == 0 {
            return Err(refused(libc::EINVAL, "choose a size of at least one byte"));
        }
        let out_of_memory = |_| {
            refused(
                libc::ENOMEM,
                "not so much memory is to be had: choose fewer or smaller ones",
            )
        };
        let entries = AlignedBuf::new(usize::from(count) * ENTRY_BYTES).map_err(out_of_memory)?;
        let memory = AlignedBuf::new(usize::from(count) * buf_bytes as usize).map_err(out_of_memory)?;
        let mut inner = self.state.borrow_mut();
        inner.take_back();
        let registry = Arc::clone(&inner.registry);
        let id = registry.take_group();
        let id = id.ok_or_else(|| told(Error::of(ErrorKind::WouldBlock)))?;
        let start = entries.as_non_null().as_ptr() as u64;
        // SAFETY: G2: the entries stay where they are until the group was taken back; nothing is provided yet.
        let done = unsafe { inner.backend_mut().register_buf_ring(start, count, id, flags) };
        if let Err(error) = done {
            registry.give_group_back(id);
            return Err(told(refusal(error.into())));
        }
        drop(inner);
        let state = State {
            next: 0,
            buffers: vec![Filling::default(); usize::from(count)].into(),
            pieces: 0,
            away: 0,
            waiting: Vec::new(),
        };
        let shared = Shared {
            entries: Some(entries),
            memory: Some(memory),
            count,
            buf_bytes,
            id,
            ring: self.id,
            registry,
            state: Mutex::new(state),
        };
        let mut state = shared.lock();
        for id in 0..count {
            shared.provide(&mut state, id);
        }
        drop(state);
        Ok(BufGroup {
            shared: Arc::new(shared),
        })
    }
}

/// The arguments are right, so what the kernel calls invalid it does not know.
fn refusal(error: Error) -> Error {
    match error.kind() {
        ErrorKind::InvalidInput => Error::of(ErrorKind::Unsupported),
        _ => error,
    }
}
