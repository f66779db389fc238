//! One ring's state and the admission of operations to it.
//!
//! The state sits in a `RefCell`: whoever calls back into the ring from a closure, a waker or a buffer's code while the
//! state is in use would panic, never alias. So no closure, waker or destructor of the caller runs while it is borrowed,
//! with one exception: a buffer's own `IoBuf` methods, called on admission.

use super::cancel::Early;
use super::ledger::Ledger;
use super::observe::{Observer, Places};
use super::operation::{ContVtable, Erased, OpVtable, Operation, Outcome};
use super::options::Options;
use super::registry::Registry;
use super::stats::{Publisher, StatsHandle};
use super::table::{FIXED, List, OpId, PLACED, State, Style, Table};
use super::token::Token;
use super::waiting::Waiting;
use crate::backend::{Backend, LOT};
use crate::error::{Error, ErrorKind, Rejected};
use crate::sys::abi::{self, Cqe, Sqe};
use crate::sys::fork::Token as ForkToken;
use crate::sys::ladder::RingInfo;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::task::Waker;
use std::time::Duration;
use sync_base::atomic::{AtomicU32, Ordering};
use sync_base::sync::Arc;

/// The slot number of submissions that are nobody's, linked timeouts. Their completions only give credit back.
pub(crate) const AUXILIARY: u32 = u32::MAX;

/// What `Ring` and `LocalRing` share: every operation is a method of this type.
///
/// Neither `Send` nor `Sync` itself: the two ring types add what they may.
pub struct Core {
    pub(crate) state: RefCell<Inner>,
    pub(crate) dispatching: Cell<bool>,
    pub(crate) waiting: Waiting,
    pub(super) observer: OnceCell<Box<dyn Observer + Send>>,
    pub(crate) id: u32,
    pub(crate) drain_limit: Duration,
    fork: ForkToken,
    _neither_send_nor_sync: PhantomData<*const ()>,
}

/// All that changes.
pub(crate) struct Inner {
    /// `None` only while the ring is being dropped.
    pub(crate) backend: Option<Box<dyn Backend>>,
    pub(crate) table: Table,
    /// Tokens whose operation completed, oldest first.
    pub(crate) ready: List,
    /// Callbacks, streams and orphans to be seen to, oldest first.
    pub(crate) dispatch: List,
    /// Whom completed futures wake, oldest first; room for each operation, so that it never grows.
    pub(crate) wakers: Vec<Waker>,
    /// Operations in flight whose cancellation has not been submitted.
    pub(crate) cancels: List,
    /// Cancellations that came before what they were meant for.
    pub(crate) early: Early,
    /// Completions that are not the last of their operation, to be seen to, oldest first.
    pub(crate) shots: VecDeque<(u32, u32, Outcome)>,
    /// Completions that may still come, one of each submission: never more than the completion queue holds.
    pub(crate) credits_used: u32,
    pub(crate) credits: u32,
    /// Submission entries kept for cancellations.
    pub(crate) reserve: u32,
    pub(crate) closing: bool,
    /// Somebody sleeps on what the carrier announces.
    pub(crate) announcing: bool,
    /// Completions that find the queue full are kept, so that an operation may have any number.
    pub(crate) keeps_overflow: bool,
    /// When the first submission of the batch was taken; 0 before it.
    pub(crate) batch_ns: u64,
    /// Operations of the crate's own whose last completion has not been seen; they are in no count.
    pub(crate) own_in_kernel: u32,
    /// The last reading of the clock.
    pub(crate) clock_ns: u64,
    pub(super) places: Places,
    /// What the kernel knows of this ring by number; handles to it share it.
    pub(crate) registry: Arc<Registry>,
    /// A descriptor of the ring for those who send it messages; made when the first asks, gone before the ring is.
    pub(crate) address: Option<std::sync::Arc<OwnedFd>>,
    pub(crate) stats: Publisher,
    /// Where completions are moved to; there whenever none are being collected.
    pub(crate) lot: Option<Box<[Cqe; LOT]>>,
    pub(crate) ledger: Ledger,
    /// Memory that the kernel knows of for as long as the ring lives.
    pub(crate) keep_alive: Vec<Box<dyn Send>>,
}

sync_base::global! {
    static NEXT_RING: AtomicU32 = AtomicU32::new(0);
}

/// A continuation to be put beside its operation.
pub(crate) struct Continuation<F> {
    pub(crate) value: F,
    pub(crate) vtable: &'static ContVtable,
}

impl Core {
    pub(crate) fn new(mut backend: Box<dyn Backend>, options: &Options) -> Self {
        let info = backend.info();
        let (sq, credits) = (info.sq_entries, info.cq_entries);
        let keeps_overflow = info.keeps_overflow();
        let depth = (options.depth + options.own).min(credits / 2).max(1);
        let mut table = Table::new(depth);
        table.keep(options.own.min(depth - 1));
        backend.set_depth(table.callers());
        let direct = backend.direct_slots().map_or(0, |slots| slots.len() as u32);
        let files = backend.file_slots().unwrap_or(0);
        let registry = Arc::new(Registry::new(files, direct));
        Self {
            state: RefCell::new(Inner {
                backend: Some(backend),
                table,
                own_in_kernel: 0,
                ready: List::new(),
                dispatch: List::new(),
                wakers: Vec::with_capacity(depth as usize),
                cancels: List::new(),
                early: Early::default(),
                shots: VecDeque::new(),
                credits_used: 0,
                credits,
                reserve: (sq / 16).max(1),
                closing: false,
                announcing: false,
                keeps_overflow,
                batch_ns: 0,
                clock_ns: 0,
                places: Places::default(),
                address: None,
                stats: Publisher::new(),
                lot: Some(Box::default()),
                ledger: Ledger::new(),
                keep_alive: vec![Box::new(Arc::clone(&registry))],
                registry,
            }),
            dispatching: Cell::new(false),
            waiting: Waiting::default(),
            observer: OnceCell::new(),
            // Relaxed: a number drawn once; nothing is published with it.
            id: NEXT_RING.fetch_add(1, Ordering::Relaxed),
            drain_limit: options.drain_limit,
            fork: ForkToken::current(),
            _neither_send_nor_sync: PhantomData,
        }
    }

    /// Whether this process may touch the ring.
    #[inline(always)]
    pub(crate) fn is_ours(&self) -> bool {
        self.fork.is_current()
    }

    #[inline(always)]
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.is_ours() {
            Ok(())
        } else {
            Err(Error::of(ErrorKind::Forked))
        }
    }

    /// The moment that lies so far ahead on the carrier's clock.
    pub(crate) fn deadline(&self, ahead: Duration) -> u64 {
        let ahead = u64::try_from(ahead.as_nanos()).unwrap_or(u64::MAX);
        self.state.borrow().backend().now_ns().saturating_add(ahead)
    }

    /// How far that moment is.
    pub(crate) fn left_until(&self, deadline: u64) -> Duration {
        Duration::from_nanos(deadline.saturating_sub(self.state.borrow().backend().now_ns()))
    }

    /// Says what was set up, and why not more.
    pub fn info(&self) -> RingInfo {
        self.state.borrow().backend().info().clone()
    }

    /// Hands out what the ring publishes, to be read from any thread.
    pub fn stats(&self) -> StatsHandle {
        self.state.borrow().stats.handle()
    }

    /// Lends a descriptor that polls readable while completions wait: any executor can drive the ring with it. When it is
    /// readable, [`poll`](Core::poll); [`Driver`](crate::Driver) does that in an executor that knows how to wait for a
    /// descriptor.
    ///
    /// The ring's own descriptor, or, on a ring that defers completions until it is asked for them (whose own keeps silent
    /// meanwhile), an event counter made by the first call; from then on each turn costs a read of it besides.
    ///
    /// # Errors
    /// Where the event counter cannot be made, `EMFILE` for instance; in a forked child.
    pub fn poll_fd(&self) -> Result<BorrowedFd<'_>, Error> {
        self.check()?;
        let mut inner = self.state.borrow_mut();
        let own = inner.backend().poll_fd();
        let fd = inner.backend_mut().announce()?;
        inner.announcing = fd != own;
        // SAFETY: the carrier owns the descriptor and lives as long as the ring that is borrowed.
        Ok(unsafe { BorrowedFd::borrow_raw(fd) })
    }

    /// The carrier's own descriptor: what another ring names to send a message.
    pub(crate) fn own_fd(&self) -> BorrowedFd<'_> {
        let fd = self.state.borrow().backend().poll_fd();
        // SAFETY: the carrier owns the descriptor and lives as long as the ring that is borrowed.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }

    /// Counts the operations that hold a slot: in flight, or completed and not yet taken.
    pub fn held(&self) -> usize {
        self.state.borrow().table.in_use() as usize
    }

    /// Counts the completed operations that wait for [`reap`](Core::reap) or [`take`](Core::take).
    pub fn ready(&self) -> usize {
        self.state.borrow().ready.len() as usize
    }

    /// Takes an operation in with its continuation, or hands both back.
    #[inline]
    pub(crate) fn admit<O: Operation, F>(
        &self,
        op: O,
        style: Style,
        vtable: &'static OpVtable,
        cont: Option<Continuation<F>>,
    ) -> Result<OpId, (O, Option<F>, Error)> {
        const {
            assert!(
                Table::fits::<O>(super::table::OP_BYTES),
                "an operation is at most 192 bytes: box what it owns"
            )
        };
        // A constant, folded away; not `const { }`, since a caller that boxes what does not fit still names the other case.
        assert!(Table::fits::<F>(super::table::CLOSURE_BYTES));
        if let Err(error) = self.check() {
            return Err((op, cont.map(|c| c.value), error));
        }
        if !op.belongs_to(self.id) {
            return Err((op, cont.map(|c| c.value), Error::of_another_ring()));
        }
        let mut inner = self.state.borrow_mut();
        if vtable.multishot && !inner.keeps_overflow {
            drop(inner);
            return Err((op, cont.map(|c| c.value), Error::of(ErrorKind::Unsupported)));
        }
        if let Err(error) = inner.room_for(1, O::ENTRIES) {
            drop(inner);
            return Err((op, cont.map(|c| c.value), error));
        }
        Ok(inner.place(self.id, op, style, vtable, cont, 0))
    }

    /// Takes an operation in whose completion is reaped by hand. The base of the other styles: allocates nothing.
    ///
    /// The entry is queued; [`flush`](Core::flush) or [`wait`](Core::wait) passes it to the kernel.
    ///
    /// `d7_no_second_handle_reads_what_the_kernel_writes`: the buffer moves in, and one that is shared is not read into:
    /// ```compile_fail,E0277
    /// use std::{fs::File, sync::Arc};
    /// use uring_core::{LocalRing, op::Read};
    /// let shared: Arc<[u8]> = Arc::from([0; 8]);
    /// let read = Read::new(File::open("/dev/zero").unwrap(), shared.clone());
    /// LocalRing::new().unwrap().submit(read).unwrap();
    /// ```
    /// It may be written from:
    /// ```
    /// use std::{fs::File, sync::Arc};
    /// use uring_core::{LocalRing, op::Write};
    /// let shared: Arc<[u8]> = Arc::from([0; 8]);
    /// let write = Write::new(File::options().write(true).open("/dev/null")?, shared.clone());
    /// LocalRing::new()?.submit(write)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The operation comes back with the reason; [`ErrorKind::WouldBlock`] when there is no room.
    #[inline]
    pub fn submit<O: Operation>(&self, op: O) -> Result<Token<O>, Rejected<O>> {
        match self.admit::<O, ()>(op, Style::Token, O::VTABLE, None) {
            Ok(id) => Ok(Token { id, op: PhantomData }),
            Err((op, _, error)) => Err(Rejected { op, error }),
        }
    }

    /// Lets go of an operation: it is cancelled, and what it owns is dropped on its last completion.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] when it is gone already.
    pub fn abandon(&self, id: impl Into<OpId>) -> Result<(), Error> {
        self.check()?;
        let id = id.into();
        {
            let inner = self.state.borrow();
            if !inner.is_live(self.id, id) {
                return Err(Error::of(ErrorKind::Stale));
            }
        }
        self.orphan(id);
        Ok(())
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("id", &self.id)
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}

impl Inner {
    #[inline(always)]
    pub(crate) fn backend(&self) -> &dyn Backend {
        self.backend
            .as_deref()
            .expect("the carrier is there until the ring is dropped")
    }

    #[inline(always)]
    pub(crate) fn backend_mut(&mut self) -> &mut dyn Backend {
        self.backend
            .as_deref_mut()
            .expect("the carrier is there until the ring is dropped")
    }

    /// Sees that there are free slots, credit for the completions, and room for the entries beside the reserve.
    #[inline]
    pub(super) fn room_for(&mut self, slots: u32, entries: u32) -> Result<(), Error> {
        if self.closing {
            return Err(Error::of(ErrorKind::Closed));
        }
        if self.table.room() < slots || self.credits_used + entries > self.credits {
            self.stats.counts.refused += 1;
            return Err(Error::of(ErrorKind::WouldBlock));
        }
        let need = entries + self.reserve;
        if self.backend_mut().space(false) < need && !self.make_space(need) {
            self.stats.counts.refused += 1;
            return Err(Error::of(ErrorKind::WouldBlock));
        }
        Ok(())
    }

    /// Puts an operation and its continuation into a free slot and queues its entry; [`room_for`](Self::room_for) made sure
    /// of both. `flags` go into the entry.
    #[inline]
    pub(super) fn place<O: Operation, F>(
        &mut self,
        ring: u32,
        op: O,
        style: Style,
        vtable: &'static OpVtable,
        cont: Option<Continuation<F>>,
        flags: u8,
    ) -> OpId {
        let slot = self.table.peek().expect("room was checked");
        let at = self.table.op_at(slot).cast::<O>();
        // SAFETY: T1: the slot is free, so nothing lies there; it is large and aligned enough (asserted on admission).
        unsafe { at.write(op) };
        // From here to `claim` a panic in a buffer's own code leaks the operation and nothing worse: the slot is free.
        // SAFETY: just written, and nobody else has a pointer to it.
        let op = unsafe { &mut *at };
        let mut entry = op.entry();
        if !vtable.multishot {
            entry.only_once();
        }
        entry.flags |= flags;
        let linked = if O::ENTRIES > 1 { op.linked() } else { None };
        if let Some(cont) = cont {
            let cont_at = self.table.cont_at(slot).cast::<F>();
            // SAFETY: as for the operation.
            unsafe { cont_at.write(cont.value) };
            self.table.hot(slot).cont = Some(cont.vtable);
        }
        self.table.claim(slot);
        let id = OpId {
            slot,
            generation: self.table.generation(slot),
            ring,
        };
        entry.user_data = id.user_data();
        self.describe(slot, style, vtable, &entry);
        self.submit(&entry, linked);
        id
    }

    /// A full queue submits.
    #[cold]
    fn make_space(&mut self, need: u32) -> bool {
        if self.backend_mut().space(true) >= need {
            return true;
        }
        // An error here is back-pressure of the kernel or will be met again by the next wait: nothing latches.
        let _ = self.flush();
        self.backend_mut().space(true) >= need
    }

    /// Fills the hot half in.
    #[inline]
    fn describe(&mut self, slot: u32, style: Style, op: &'static OpVtable, entry: &Sqe) {
        if self.batch_ns == 0 {
            self.batch_ns = self.read_clock();
        }
        let started_ns = self.batch_ns;
        let placed = self.places.take();
        let hot = self.table.hot(slot);
        hot.state = State::InFlight;
        hot.style = style;
        hot.opcode = entry.opcode;
        hot.fd = entry.fd;
        if entry.flags & abi::SQE_FIXED_FILE != 0 {
            hot.flags |= FIXED;
        }
        if placed {
            hot.flags |= PLACED;
        }
        hot.len = entry.len;
        hot.addr = entry.addr;
        hot.op = Some(op);
        hot.started_ns = started_ns;
        self.ledger.lend(slot, entry);
    }

    /// Queues an entry and the one linked behind it; `room_for` made sure that they fit.
    #[inline]
    fn submit(&mut self, entry: &Sqe, linked: Option<Sqe>) {
        self.credits_used += 1;
        self.stats.counts.submitted += 1;
        let Some(mut linked) = linked else {
            let pushed = self.backend_mut().push(entry);
            debug_assert!(pushed, "room was checked");
            return;
        };
        let mut entry = *entry;
        entry.flags |= crate::sys::abi::SQE_IO_LINK;
        linked.user_data = u64::from(AUXILIARY);
        self.credits_used += 1;
        let pushed = self.backend_mut().push(&entry) && self.backend_mut().push(&linked);
        debug_assert!(pushed, "room was checked");
    }

    #[inline]
    pub(crate) fn is_live(&self, ring: u32, id: OpId) -> bool {
        id.ring == ring && self.table.holds(id.slot, id.generation)
    }
}
