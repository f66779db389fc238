//! From ring to ring, without a system call of the receiver: `IORING_OP_MSG_RING`, which no other system call stands for.
//!
//! A [`Message`] becomes a completion of the receiving ring, with the identity of an [`Inbox`] there and the flag that says
//! that more follow, so that the operation table takes it for one of the inbox's completions. The inbox itself is a timeout
//! that never ends: something in flight that can be cancelled, and no more.

use super::result_of;
use super::target::{IoFd, Target};
use super::time::Timespec;
use crate::error::{Error, ErrorKind};
use crate::file::{DirectFd, EmptySlot};
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Core, Multishot, OpId, Operation, Outcome};
use crate::sys::abi::{CQE_MORE, MSG_CQE_SKIP, MSG_DATA, MSG_FLAGS_PASS, MSG_SEND_FD, Sqe, code};
use std::any::TypeId;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;
use sync_base::atomic::{AtomicBool, Ordering};

/// Longer than any ring lives, and no overflow of the kernel's clock.
const NEVER: Duration = Duration::from_secs(1 << 32);

/// Receives the messages of other rings, one item each, until it is cancelled: for a stream or `submit_each`.
///
/// ```
/// use std::time::Duration;
/// use uring_core::{LocalRing, op::{Inbox, Message}};
/// let (here, there) = (LocalRing::new()?, LocalRing::new()?);
/// let got = std::rc::Rc::new(std::cell::Cell::new(0));
/// let sink = got.clone();
/// let inbox = there.submit_each(Inbox::new(), move |value, more| if more { sink.set(value.unwrap()) })?;
/// there.poll()?;
/// let message = Message::new(&there.mailbox(inbox)?, 42)?;
/// here.block_on(here.run(message))??;
/// while got.get() == 0 {
///     there.wait(1, Duration::from_secs(1))?;
/// }
/// assert_eq!(got.get(), 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Inbox {
    /// Lives in the slot, where the kernel reads it.
    never: Timespec,
}

impl Inbox {
    /// Opens one.
    pub fn new() -> Self {
        Self { never: NEVER.into() }
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Sealed for Inbox {}

// SAFETY: the entry names the timespec inside the operation, which does not move.
unsafe impl Operation for Inbox {
    type Output = Result<u32, Error>;

    fn entry(&mut self) -> Sqe {
        Sqe {
            addr: std::ptr::from_ref(&self.never) as u64,
            len: 1,
            ..Sqe::new(code::TIMEOUT, -1)
        }
    }

    fn finish(mut self, outcome: Outcome) -> Self::Output {
        self.item(outcome)
    }
}

// SAFETY: an item is a number.
unsafe impl Multishot for Inbox {
    type Item = Result<u32, Error>;

    fn item(&mut self, outcome: Outcome) -> Self::Item {
        // Every value may be sent, those included that would be an error elsewhere.
        if outcome.has_more() {
            Ok(outcome.raw as u32)
        } else {
            outcome.result()
        }
    }
}

/// Where to send to: an inbox of a ring. Goes to any thread; does not keep the ring alive.
#[derive(Clone, Debug)]
pub struct Mailbox {
    ring: Weak<OwnedFd>,
    inbox: u64,
}

/// Sends a number to an inbox of another ring (Linux 6.3).
///
/// What is sent to an inbox that was closed meanwhile is dropped by the ring that gets it, and counted there
/// ([`RingStats::stale`](crate::RingStats)).
#[derive(Debug)]
pub struct Message {
    ring: Arc<OwnedFd>,
    inbox: u64,
    value: u32,
}

impl Message {
    /// Names the inbox and the number.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] when the ring is gone.
    pub fn new(to: &Mailbox, value: u32) -> Result<Self, Error> {
        let ring = to.ring.upgrade().ok_or(Error::of(ErrorKind::Closed))?;
        Ok(Self {
            ring,
            inbox: to.inbox,
            value,
        })
    }
}

succeeds_or_fails!(Message, , code::MSG_RING, "no memory", |this| Sqe {
    addr: MSG_DATA,
    off: this.inbox,
    len: this.value,
    op_flags: MSG_FLAGS_PASS,
    file_index: CQE_MORE,
    ..Sqe::new(code::MSG_RING, this.ring.as_raw_fd())
});

/// A slot that a ring offers to others, to put a file in. Clones go to any thread.
///
/// The slot is held until the last clone is gone, an operation that fills it among them: it can never be filled late, when
/// it has become another file's.
#[derive(Clone, Debug)]
pub struct SlotOffer {
    offer: Arc<Offer>,
}

#[derive(Debug)]
struct Offer {
    ring: Weak<OwnedFd>,
    /// `None` once taken.
    slot: Option<EmptySlot>,
    filled: AtomicBool,
}

impl Offer {
    fn file(&mut self) -> Option<DirectFd> {
        // Acquire: pairs with the Release in `PassFd::finish`; the kernel has put the file there before.
        // weaken-ok(Acquire->Relaxed): what it publishes lies in the kernel, which no model has.
        if self.filled.load(Ordering::Acquire) {
            self.slot.take().map(EmptySlot::filled)
        } else {
            None
        }
    }
}

impl Drop for Offer {
    /// A file that came and was not taken is closed.
    fn drop(&mut self) {
        drop(self.file());
    }
}

impl SlotOffer {
    /// Whether a file has come.
    pub fn is_filled(&self) -> bool {
        // Acquire: pairs with the Release in `PassFd::finish`.
        // weaken-ok(Acquire->Relaxed): as for `Offer::file`: what it publishes lies in the kernel.
        self.offer.filled.load(Ordering::Acquire)
    }

    /// Takes the file that came.
    ///
    /// # Errors
    /// Itself, when none came yet or somebody has a clone.
    pub fn take(self) -> Result<DirectFd, Self> {
        if !self.is_filled() {
            return Err(self);
        }
        let mut offer = Arc::try_unwrap(self.offer).map_err(|offer| Self { offer })?;
        Ok(offer.file().expect("it was filled, and is taken once"))
    }
}

/// Puts a file that this ring knows in a slot that another ring offers (Linux 6.0). The file stays here too; the other ring is
/// not told: send it a [`Message`].
#[derive(Debug)]
pub struct PassFd<D> {
    offer: SlotOffer,
    ring: Arc<OwnedFd>,
    from: u32,
    file: D,
}

impl<D: IoFd> PassFd<D> {
    /// Names the file, which must be registered with the ring that sends ([`FixedFd`](super::FixedFd), [`DirectFd`]), and the
    /// slot.
    ///
    /// # Errors
    /// The file comes back, with [`ErrorKind::InvalidInput`] for one that is no registered file, and
    /// [`ErrorKind::Closed`] when the other ring is gone.
    pub fn new(offer: SlotOffer, file: D) -> Result<Self, (Error, D)> {
        let Target::Fixed { slot, .. } = file.target() else {
            return Err((Error::of(ErrorKind::InvalidInput), file));
        };
        match offer.offer.ring.upgrade() {
            Some(ring) => Ok(Self {
                offer,
                ring,
                from: slot,
                file,
            }),
            None => Err((Error::of(ErrorKind::Closed), file)),
        }
    }
}

impl<D: IoFd> Sealed for PassFd<D> {}

// SAFETY: the entry names no memory.
unsafe impl<D: IoFd> Operation for PassFd<D> {
    type Output = Result<(), Error>;

    fn belongs_to(&self, ring: u32) -> bool {
        self.file.target().belongs_to(ring)
    }

    fn entry(&mut self) -> Sqe {
        let slot = self.offer.offer.slot.as_ref();
        let slot = slot.expect("taken only when nobody has a clone").slot();
        Sqe {
            addr: MSG_SEND_FD,
            addr3: u64::from(self.from),
            file_index: slot + 1,
            op_flags: MSG_CQE_SKIP,
            ..Sqe::new(code::MSG_RING, self.ring.as_raw_fd())
        }
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        let passed = result_of(outcome, code::MSG_RING).map(drop);
        if passed.is_ok() {
            // Release: pairs with the Acquire in `Offer::file`; the file is in the slot.
            // weaken-ok(Release->Relaxed): as for `Offer::file`: what it publishes lies in the kernel.
            self.offer.offer.filled.store(true, Ordering::Release);
        }
        passed
    }
}

impl Core {
    /// A descriptor of the ring for those who send it messages, closed before the ring is.
    fn address(&self) -> Result<Weak<OwnedFd>, Error> {
        self.check()?;
        let known = self.state.borrow().address.as_ref().map(Arc::downgrade);
        if let Some(known) = known {
            return Ok(known);
        }
        let own = Arc::new(self.own_fd().try_clone_to_owned()?);
        let address = Arc::downgrade(&own);
        self.state.borrow_mut().address = Some(own);
        Ok(address)
    }

    /// Tells where other rings send to: the inbox of this operation.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] when it is over, or is no [`Inbox`]; what the system says when there is no descriptor left.
    pub fn mailbox(&self, inbox: impl Into<OpId>) -> Result<Mailbox, Error> {
        let id = inbox.into();
        let ring = self.address()?;
        let mut inner = self.state.borrow_mut();
        let live = inner.is_live(self.id, id);
        let op = inner.table.hot(if live { id.slot } else { 0 }).op;
        if !live || op.map(|op| (op.type_id)()) != Some(TypeId::of::<Inbox>()) {
            return Err(Error::of(ErrorKind::Stale));
        }
        Ok(Mailbox {
            ring,
            inbox: id.user_data(),
        })
    }

    /// Offers a free slot to other rings, to put a file in.
    ///
    /// # Errors
    /// As [`register_file`](Core::register_file).
    pub fn offer_slot(&self) -> Result<SlotOffer, Error> {
        let ring = self.address()?;
        let slot = self.reserve_slot()?;
        Ok(SlotOffer {
            offer: Arc::new(Offer {
                ring,
                slot: Some(slot),
                filled: AtomicBool::new(false),
            }),
        })
    }
}
