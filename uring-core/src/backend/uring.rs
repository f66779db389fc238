//! The real io_uring behind the contract.

use super::relics::{Layout, Relics};
use super::{Backend, LOT, Posthumous};
use crate::sys::abi::{Cqe, Sqe};
use crate::sys::ladder::{self, Refusal, RingInfo, Rung, Wish};
use crate::sys::ticks::Ticks;
use io_uring::{CompletionQueue, EnterFlags, IoUring, SubmissionQueue, Submitter};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::time::Duration;
use sync_base::atomic::{Ordering, fence};

/// A mapped ring and its three ends.
///
/// The ends borrow the ring for as long as it lives, and they are kept, not made anew for each use: a fresh `Submitter`
/// would not know that the ring's descriptor is registered.
///
/// U1: `ring` points to a boxed `IoUring` that is freed in `drop` (or leaked by `disown`), after the three ends.
pub(crate) struct Uring {
    sq: ManuallyDrop<SubmissionQueue<'static>>,
    cq: ManuallyDrop<CompletionQueue<'static>>,
    submitter: ManuallyDrop<Submitter<'static>>,
    ring: *mut IoUring,
    fd: RawFd,
    ticks: Ticks,
    layout: Layout,
    info: RingInfo,
    /// How long the table of files is, or the error number with which the kernel refused it.
    file_slots: Result<u32, i32>,
    /// Which slots behind those the kernel hands out, or the error number with which it refused to.
    direct_slots: Result<Range<u32>, i32>,
    buffers: Buffers,
    tombstone_slot: Option<u32>,
    /// Completions wait for the ring's thread to ask for them.
    deferring: bool,
    /// An event counter that the kernel advances when completions wait to be run. The descriptor of a ring that defers
    /// them polls readable only once they have been run, which its thread does no sooner than it is told.
    announcer: Option<File>,
}

// SAFETY: the three ends are pointers into mappings that `ring` owns; nothing in them belongs to a thread. Which thread
// may *enter* is the concern of the ring types above.
unsafe impl Send for Uring {}

/// The table of registered buffers, made when it is first asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Buffers {
    None,
    /// As many slots, each filled and emptied by itself.
    Table(u16),
    /// One slot, before Linux 5.19.
    Single,
}

/// Slots of the table of registered buffers.
const BUFFER_SLOTS: u16 = 64;

/// `struct io_uring_file_index_range`.
#[repr(C)]
struct SlotRange {
    first: u32,
    count: u32,
    reserved: u64,
}

/// `struct io_uring_getevents_arg` of the kernel's header.
#[repr(C)]
struct WaitArg {
    sigmask: u64,
    sigmask_len: u32,
    min_wait_us: u32,
    timespec: u64,
}

/// `struct __kernel_timespec`.
#[repr(C)]
struct Timespec {
    seconds: i64,
    nanos: i64,
}

impl Uring {
    /// Sets a ring up, as high on the ladder as the kernel lets us.
    ///
    /// `files` slots of registered files are the caller's to fill, `direct` more the kernel's to hand out.
    pub(crate) fn new(wish: &Wish, files: u32, direct: u32) -> io::Result<Self> {
        let (ring, info) = ladder::climb(wish)?;
        let fd = ring.as_raw_fd();
        let [head, tail, cqes] = ladder::completion_offsets(ring.params());
        let layout = Layout {
            head,
            tail,
            cqes,
            entries: info.cq_entries,
        };
        let ring = Box::into_raw(Box::new(ring));
        // SAFETY: U1: just made, and not touched through `ring` again while the ends live.
        let (submitter, sq, cq) = unsafe { &mut *ring }.split();
        let mut this = Self {
            sq: ManuallyDrop::new(sq),
            cq: ManuallyDrop::new(cq),
            submitter: ManuallyDrop::new(submitter),
            ring,
            fd,
            ticks: Ticks::new(),
            layout,
            info,
            file_slots: Ok(0),
            direct_slots: Ok(0..0),
            buffers: Buffers::None,
            tombstone_slot: None,
            deferring: false,
            announcer: None,
        };
        let deferred = matches!(this.info.rung, Some(Rung::NoSqArray | Rung::Deferred));
        this.deferring = deferred && !wish.movable && !this.info.sqpoll;
        // The index belongs to the registering thread, so a ring that moves does without.
        if !wish.movable {
            this.info.registered_ring_fd = this.submitter.register_ring_fd().is_ok();
        }
        this.make_file_table(files, direct);
        Ok(this)
    }

    /// Makes the table of registered files; what the kernel refuses is told to whoever wants a slot.
    fn make_file_table(&mut self, files: u32, direct: u32) {
        // One slot more than asked for: the last one is the tombstone's.
        let all = files.saturating_add(direct);
        match self.submitter.register_files(&vec![-1; all as usize + 1]) {
            Ok(()) => {
                self.file_slots = Ok(files);
                self.tombstone_slot = Some(all);
                self.direct_slots = self.let_hand_out(files..all);
            }
            Err(refused) => {
                let errno = refused.raw_os_error().unwrap_or(libc::EIO);
                (self.file_slots, self.direct_slots) = (Err(errno), Err(errno));
                if self.submitter.register_files(&[-1]).is_ok() {
                    self.tombstone_slot = Some(0);
                }
            }
        }
    }

    /// Tells the kernel which slots to hand out: these and never ours.
    fn let_hand_out(&self, slots: Range<u32>) -> Result<Range<u32>, i32> {
        const REGISTER_FILE_ALLOC_RANGE: u32 = 25;
        let range = SlotRange {
            first: slots.start,
            count: slots.len() as u32,
            reserved: 0,
        };
        // SAFETY: `range` has the kernel's layout and outlives the call.
        let done = unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                self.fd,
                REGISTER_FILE_ALLOC_RANGE,
                &range,
                0,
            )
        };
        if done == 0 {
            return Ok(slots);
        }
        match io::Error::last_os_error().raw_os_error() {
            // The kernel does not know the request.
            Some(libc::EINVAL) => Err(libc::EOPNOTSUPP),
            refused => Err(refused.unwrap_or(libc::EIO)),
        }
    }

    /// Asks for waits that poll network queues so long; a refusal stands in the ring's report.
    pub(crate) fn busy_poll(&mut self, limit: Duration) {
        let limit_us = u32::try_from(limit.as_micros()).unwrap_or(u32::MAX);
        let mut napi = io_uring::types::Napi::new()
            .set_busy_poll_timeout(limit_us)
            .set_prefer_busy_poll(true);
        if let Err(refused) = self.submitter.register_napi(&mut napi) {
            self.info.refusals.push(Refusal {
                asked: "busy polling of network queues".into(),
                errno: refused.raw_os_error().unwrap_or(0),
            });
        }
    }

    /// One `io_uring_enter`, with the timeout in the same call where the kernel knows how.
    fn call(
        &mut self,
        submit: u32,
        want: u32,
        mut flags: EnterFlags,
        timeout: Option<Duration>,
    ) -> io::Result<u32> {
        let limit = timeout.map(|t| Timespec {
            seconds: i64::try_from(t.as_secs()).unwrap_or(i64::MAX),
            nanos: i64::from(t.subsec_nanos()),
        });
        let done = match &limit {
            Some(limit) if want > 0 => {
                let arg = WaitArg {
                    sigmask: 0,
                    sigmask_len: 0,
                    min_wait_us: 0,
                    timespec: std::ptr::from_ref(limit) as u64,
                };
                flags.insert(EnterFlags::EXT_ARG);
                // SAFETY: `arg` and the timespec it names outlive the call; entries were pushed whole.
                unsafe { self.submitter.enter(submit, want, flags.bits(), Some(&arg)) }
            }
            // SAFETY: no argument; entries were pushed whole.
            _ => unsafe {
                self.submitter
                    .enter::<libc::sigset_t>(submit, want, flags.bits(), None)
            },
        };
        match done {
            Ok(count) => Ok(count as u32),
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR) => Ok(0),
                _ => Err(error),
            },
        }
    }

    /// Waits on a kernel without timeouts in the call (before 5.11): submit, poll the ring's descriptor, collect.
    fn call_in_steps(
        &mut self,
        submit: u32,
        want: u32,
        flags: EnterFlags,
        timeout: Duration,
    ) -> io::Result<u32> {
        let submitted = self.call(submit, 0, flags, None)?;
        self.cq.sync();
        if (self.cq.len() as u32) < want {
            let mut poll = libc::pollfd {
                fd: self.poll_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            let millis = i32::try_from(timeout.as_millis().max(1)).unwrap_or(i32::MAX);
            // SAFETY: one valid pollfd.
            unsafe { libc::poll(&mut poll, 1, millis) };
            self.call(0, 0, EnterFlags::GETEVENTS, None)?;
        }
        Ok(submitted)
    }
}

impl Backend for Uring {
    fn info(&self) -> &RingInfo {
        &self.info
    }

    fn set_depth(&mut self, depth: u32) {
        self.info.depth = depth;
    }

    fn space(&mut self, refresh: bool) -> u32 {
        if refresh {
            self.sq.sync();
        }
        (self.sq.capacity() - self.sq.len()) as u32
    }

    fn queued(&mut self) -> u32 {
        self.sq.len() as u32
    }

    #[inline]
    fn push(&mut self, sqe: &Sqe) -> bool {
        // SAFETY: B3 is kept by the operation table, which owns all that the entry names until the last completion.
        unsafe { self.sq.push(&sqe.to_entry()) }.is_ok()
    }

    fn enter(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<u32> {
        self.sq.sync();
        let submit = self.sq.len() as u32;
        let mut flags = EnterFlags::empty();
        let owes = self.owes_enter();
        if want > 0 || owes {
            flags.insert(EnterFlags::GETEVENTS);
        }
        if self.info.sqpoll {
            // SeqCst: pairs with the full barrier in the kernel's `io_sq_thread`, between setting NEED_WAKEUP and
            // looking at the tail once more. Either it sees our tail, or we see its flag.
            // weaken-ok(SeqCst->AcqRel): the other side of the pair is the kernel's, which no model has.
            // weaken-ok(SeqCst->dropped): as above.
            fence(Ordering::SeqCst);
            if self.sq.need_wakeup_after_intermittent_seqcst() {
                flags.insert(EnterFlags::SQ_WAKEUP);
            } else if want == 0 && !owes {
                return Ok(submit);
            }
        }
        let done = match timeout {
            Some(limit) if want > 0 && !self.info.waits_with_timeout() => {
                self.call_in_steps(submit, want, flags, limit)
            }
            _ => self.call(submit, want, flags, timeout),
        };
        self.sq.sync();
        done
    }

    #[inline]
    fn owes_enter(&self) -> bool {
        self.sq.taskrun() || self.sq.cq_overflow()
    }

    #[inline]
    fn overflowed(&self) -> bool {
        self.sq.cq_overflow()
    }

    #[inline]
    fn drain(&mut self, out: &mut [Cqe; LOT]) -> usize {
        self.cq.sync();
        let mut count = 0;
        for (to, from) in out.iter_mut().zip(&mut *self.cq) {
            *to = Cqe {
                user_data: from.user_data(),
                result: from.result(),
                flags: from.flags(),
            };
            count += 1;
        }
        self.cq.sync();
        count
    }

    fn poll_fd(&self) -> RawFd {
        self.fd
    }

    fn announce(&mut self) -> io::Result<RawFd> {
        if !self.deferring {
            return Ok(self.fd);
        }
        if self.announcer.is_none() {
            // SAFETY: makes a descriptor or fails.
            let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: just made, owned by nobody else.
            let counter = unsafe { File::from_raw_fd(fd) };
            self.submitter.register_eventfd(fd)?;
            // What waits already was announced to nobody.
            (&counter).write_all(&1u64.to_ne_bytes())?;
            self.announcer = Some(counter);
        }
        Ok(self.announcer.as_ref().map_or(self.fd, AsRawFd::as_raw_fd))
    }

    fn hush(&mut self) {
        if let Some(mut counter) = self.announcer.as_ref() {
            // It fails when nothing was announced.
            let _ = counter.read(&mut [0; 8]);
        }
    }

    fn buffer_slots(&mut self) -> u16 {
        if self.buffers == Buffers::None {
            self.buffers = match self.submitter.register_buffers_sparse(u32::from(BUFFER_SLOTS)) {
                Ok(()) => Buffers::Table(BUFFER_SLOTS),
                Err(_) => Buffers::Single,
            };
        }
        match self.buffers {
            Buffers::Table(slots) => slots,
            _ => 1,
        }
    }

    unsafe fn set_buffer(&mut self, slot: u16, range: Option<libc::iovec>) -> io::Result<()> {
        if slot >= self.buffer_slots() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let empty = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        match (self.buffers, range) {
            // SAFETY: the caller keeps the range.
            (Buffers::Table(_), range) => unsafe {
                let ranges = [range.unwrap_or(empty)];
                self.submitter
                    .register_buffers_update(u32::from(slot), &ranges, None)
            },
            // SAFETY: as above.
            (_, Some(range)) => unsafe { self.submitter.register_buffers(&[range]) },
            (_, None) => self.submitter.unregister_buffers(),
        }
    }

    fn set_file(&mut self, slot: u32, fd: RawFd) -> io::Result<()> {
        self.file_slots()?;
        if self.tombstone_slot.is_none_or(|end| slot >= end) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        self.submitter.register_files_update(slot, &[fd]).map(drop)
    }

    fn file_slots(&self) -> io::Result<u32> {
        self.file_slots.map_err(io::Error::from_raw_os_error)
    }

    fn direct_slots(&self) -> io::Result<Range<u32>> {
        self.direct_slots.clone().map_err(io::Error::from_raw_os_error)
    }

    unsafe fn register_buf_ring(
        &mut self,
        ring: u64,
        entries: u16,
        group: u16,
        flags: u16,
    ) -> io::Result<()> {
        // SAFETY: the caller keeps the ring.
        unsafe {
            self.submitter
                .register_buf_ring_with_flags(ring, entries, group, flags)
        }
    }

    fn unregister_buf_ring(&mut self, group: u16) -> io::Result<()> {
        self.submitter.unregister_buf_ring(group)
    }

    fn tombstone(&mut self, fd: RawFd) -> io::Result<()> {
        let slot = self
            .tombstone_slot
            .ok_or(io::Error::from_raw_os_error(libc::ENXIO))?;
        self.submitter.register_files_update(slot, &[fd]).map(drop)
    }

    fn will(&mut self) -> Option<Box<dyn Posthumous>> {
        let held = Relics::hold(self.fd, self.layout).ok()?;
        Some(Box::new(held))
    }

    #[inline]
    fn now_ns(&self) -> u64 {
        self.ticks.now_ns()
    }

    fn disown(mut self: Box<Self>) {
        // The mappings were not inherited: their addresses may belong to something else in this process.
        self.ring = std::ptr::null_mut();
        // SAFETY: this process's copy of the ring's descriptor; nobody else closes it, since the box is leaked.
        unsafe { libc::close(self.fd) };
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        if self.ring.is_null() {
            return;
        }
        if self.info.registered_ring_fd {
            // The registration is a reference to the ring; without this the ring would live as long as the thread.
            let _ = self.submitter.unregister_ring_fd();
        }
        // SAFETY: each end is dropped once, here, before the ring that it points into.
        unsafe { ManuallyDrop::drop(&mut self.sq) };
        // SAFETY: as above.
        unsafe { ManuallyDrop::drop(&mut self.cq) };
        // SAFETY: as above.
        unsafe { ManuallyDrop::drop(&mut self.submitter) };
        // SAFETY: U1: made by `Box::into_raw` in `new`, freed once.
        drop(unsafe { Box::from_raw(self.ring) });
    }
}
