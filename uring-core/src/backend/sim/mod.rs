//! A simulated kernel behind the ring: deterministic, seeded, and as hostile as a real one may be.
//!
//! Descriptors are real (memory files, pipes, sockets, whatever the caller has), so that whoever owns one owns it in
//! truth; what is done to them is done by plain system calls that never block. *When* it is done, in which order, how
//! much of it, and what goes wrong is drawn from the seed. Time is simulated: a wait costs none, and an hour passes as
//! soon as nothing is due before.
//!
//! It carries what [`op`](crate::op) has for reading and writing (vectored too, on files), sockets, paths, the shape of files,
//! attributes, direct descriptors, polling and time; the rest (splices, messages and files from ring to ring, futexes,
//! children) fails as not supported. Chains of a [`batch`](crate::batch) run, break and
//! are cancelled as in a kernel.
//!
//! Used by one thread at a time, a simulation is repeatable: the same seed and the same calls give the same
//! completions, of which [`Report::digest`] is the proof. What other threads or processes do to the descriptors is not
//! simulated, and makes a run its own; [`Simulation::patience`] gives them real time.

mod cancel;
mod fault;
mod group;
mod kernel;
mod perform;
mod queue;
mod request;
mod slots;
mod take;
mod world;

pub use fault::{Fault, Faults, Report};

use super::{Backend, LOT, Posthumous};
use crate::sys::abi::{Cqe, SQE_IO_LINK, Sqe};
use crate::sys::ladder::{FEAT_EXT_ARG, FEAT_NODROP, RingInfo, Wish};
use group::Group;
use kernel::Kernel;
use queue::Relics;
use std::cell::OnceCell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;
use sync_base::sync::{Arc, Mutex, MutexGuard};
use world::World;

/// Simulated time that a call takes, in nanoseconds.
const CALL_NS: u64 = 200;

/// A simulated kernel, for rings made with [`Options::simulated`](crate::Options::simulated).
///
/// Cheap to clone; clones share time, chance and the [`Report`]. Rings of one simulation see one clock.
///
/// ```
/// use std::{os::unix::net::UnixStream, time::Duration};
/// use uring_core::{LocalRing, Options, op::{Read, Timeout, Write}, sim::{Fault, Faults, Simulation}};
///
/// let simulation = Simulation::new(42).faults(Faults::none().one_in(Fault::ShortWrite, 1));
/// let ring = LocalRing::with(&Options::new().depth(8).simulated(&simulation))?;
/// let (ours, theirs) = UnixStream::pair()?;
/// let token = ring.submit(Write::new(ours, b"hello".to_vec()))?;
/// let (written, _) = ring.finish(token, Duration::from_secs(1)).map_err(|(_, error)| error)?;
/// assert!(written? < 5, "every write falls short");
/// assert_eq!(simulation.report().count(Fault::ShortWrite), 1);
///
/// ring.block_on(ring.run(Timeout::after(Duration::from_secs(3600))))??; // takes no time
/// assert!(simulation.now() > Duration::from_secs(3600));
/// # drop(theirs);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Simulation {
    world: Arc<Mutex<World>>,
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

impl Default for Simulation {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Simulation {
    /// Makes a simulated kernel in which nothing goes wrong; the order of completions is drawn from the seed.
    pub fn new(seed: u64) -> Self {
        Self {
            world: Arc::new(Mutex::new(World::new(seed))),
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Sets how often each class of fault is dealt out, from now on.
    pub fn faults(self, faults: Faults) -> Self {
        self.world().faults = faults;
        self
    }

    /// Gives other threads and processes so much real time before a wait for them alone times out in simulated time.
    /// None unless said otherwise.
    pub fn patience(self, real: Duration) -> Self {
        self.world().patience = real;
        self
    }

    /// Loses completions that find the queue full, as kernels before Linux 5.5 do. For rings made from now on.
    pub fn drops_overflow(self) -> Self {
        self.world().lossy = true;
        self
    }

    /// Simulated time since some beginning.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.world().now_ns)
    }

    /// What was done so far, and how often each class of fault was dealt out.
    pub fn report(&self) -> Report {
        self.world().report
    }

    /// Ends the operations that outlived their rings: their memory is written once more, descriptors that they bring
    /// arrive, and what the rings left with the reaper can be freed. Happens by itself when the last clone and the last
    /// ring are gone.
    pub fn settle(&self) {
        self.world().settle();
    }
}

/// Slots of the table of registered buffers.
const BUFFER_SLOTS: u16 = 64;

/// The carrier: one ring's end of a simulation.
///
/// S1: `sq` holds whole chains, which are taken whole or not at all; a timeout linked to an entry lies right behind it.
pub(crate) struct Sim {
    world: Arc<Mutex<World>>,
    kernel: Kernel,
    sq: VecDeque<Sqe>,
    /// The chain that is being taken; empty between calls.
    chain: Vec<Sqe>,
    info: RingInfo,
    file_slots: u32,
    bell: OnceCell<Bell>,
}

/// An event counter that is readable while something is to be done.
struct Bell {
    event: OwnedFd,
    rung: bool,
}

impl Sim {
    /// Makes a ring of the simulation.
    pub(crate) fn new(wish: &Wish, files: u32, direct: u32, simulation: &Simulation) -> Self {
        let lossy = simulation.world().lossy;
        let info = RingInfo {
            backend: "sim",
            rung: None,
            sq_entries: wish.sq_entries,
            cq_entries: wish.cq_entries,
            depth: 0,
            sqpoll: false,
            registered_ring_fd: false,
            features: FEAT_EXT_ARG | if lossy { 0 } else { FEAT_NODROP },
            refusals: Vec::new(),
        };
        Self {
            world: Arc::clone(&simulation.world),
            kernel: Kernel::new(wish.cq_entries, files, direct),
            sq: VecDeque::with_capacity(wish.sq_entries as usize),
            chain: Vec::new(),
            info,
            file_slots: files,
            bell: OnceCell::new(),
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Keeps the event counter true to whether something is to be done.
    fn ring_bell(&mut self) {
        let idle = self.kernel.is_idle() && self.sq.is_empty();
        let Some(bell) = self.bell.get_mut() else { return };
        if bell.rung != idle {
            return;
        }
        bell.rung = !idle;
        let mut count = 1u64;
        let at = (&raw mut count).cast();
        // SAFETY: eight bytes, as an event counter reads and writes.
        unsafe {
            if idle {
                libc::read(bell.event.as_raw_fd(), at, 8)
            } else {
                libc::write(bell.event.as_raw_fd(), at, 8)
            }
        };
    }
}

/// Takes up to `most` queued entries, chains whole (S1); returns how many.
fn consume(
    sq: &mut VecDeque<Sqe>,
    chain: &mut Vec<Sqe>,
    most: usize,
    kernel: &mut Kernel,
    world: &mut World,
) -> u32 {
    let mut taken = 0;
    while taken < most && !sq.is_empty() {
        chain.clear();
        while let Some(sqe) = sq.pop_front() {
            chain.push(sqe);
            if sqe.flags & SQE_IO_LINK == 0 {
                break;
            }
        }
        taken += chain.len();
        kernel.take(chain, world);
    }
    taken as u32
}

/// Lets time pass until enough has completed, the time is up, or nothing more can happen.
fn wait(kernel: &mut Kernel, want: usize, timeout: Option<Duration>, world: &mut World) {
    let end = timeout.map(|limit| {
        let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        world.now_ns.saturating_add(limit)
    });
    let mut patience = world.patience;
    loop {
        kernel.run_due(world);
        kernel.look(world);
        if kernel.queue.visible() < want {
            kernel.queue.flush();
        }
        if kernel.queue.visible() >= want || world.deals(Fault::Signal) {
            return;
        }
        match (kernel.next_due(), end) {
            (Some(due), None) => world.now_ns = world.now_ns.max(due),
            (Some(due), Some(end)) if due <= end => world.now_ns = world.now_ns.max(due),
            _ if outsiders_came(kernel, &mut patience) => {}
            (_, Some(end)) => {
                world.now_ns = world.now_ns.max(end);
                kernel.run_due(world);
                return;
            }
            (None, None) => return,
        }
    }
}

/// Waits in real time, once, for somebody else to make a descriptor ready.
fn outsiders_came(kernel: &Kernel, patience: &mut Duration) -> bool {
    let real = std::mem::take(patience);
    let mut polls = kernel.waits();
    if real.is_zero() || polls.is_empty() {
        return false;
    }
    let millis = i32::try_from(real.as_millis().max(1)).unwrap_or(i32::MAX);
    // SAFETY: valid pollfds, as many as said.
    unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, millis) > 0 }
}

impl Backend for Sim {
    fn info(&self) -> &RingInfo {
        &self.info
    }

    fn set_depth(&mut self, depth: u32) {
        self.info.depth = depth;
    }

    fn space(&mut self, refresh: bool) -> u32 {
        let free = self.info.sq_entries - self.sq.len() as u32;
        if refresh && free <= 1 {
            self.world().count(Fault::FullQueue);
        }
        free
    }

    fn queued(&mut self) -> u32 {
        self.sq.len() as u32
    }

    fn push(&mut self, sqe: &Sqe) -> bool {
        let room = self.sq.len() < self.info.sq_entries as usize;
        if room {
            self.sq.push_back(*sqe);
            self.ring_bell();
        }
        room
    }

    fn enter(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<u32> {
        let Self {
            world,
            kernel,
            sq,
            chain,
            ..
        } = self;
        let mut guard = world.lock().unwrap_or_else(|e| e.into_inner());
        let world = &mut *guard;
        world.now_ns += CALL_NS;
        for (fault, errno) in [(Fault::Busy, libc::EBUSY), (Fault::OutOfRequests, libc::EAGAIN)] {
            if world.deals(fault) {
                return Err(io::Error::from_raw_os_error(errno));
            }
        }
        let collects = want > 0 || kernel.queue.overflowed() || owes(kernel, world.now_ns);
        if collects {
            kernel.queue.flush();
        }
        let queued = sq.len();
        let partial = queued > 1 && world.draws(Fault::PartialSubmit);
        let most = if partial {
            1 + world.random.below(queued as u64 - 1) as usize
        } else {
            queued
        };
        let taken = consume(sq, chain, most, kernel, world);
        if !sq.is_empty() {
            world.count(Fault::PartialSubmit);
        }
        if collects {
            // Behind a submission that was cut short the kernel does not wait.
            let want = if sq.is_empty() { want } else { 0 };
            let limit = if want > 0 { timeout } else { Some(Duration::ZERO) };
            wait(kernel, want as usize, limit, world);
        }
        drop(guard);
        self.ring_bell();
        Ok(taken)
    }

    /// Asking takes time too, so that whoever only asks sees it pass.
    fn owes_enter(&self) -> bool {
        let mut world = self.world();
        world.now_ns += CALL_NS;
        self.kernel.queue.overflowed() || owes(&self.kernel, world.now_ns)
    }

    fn overflowed(&self) -> bool {
        self.kernel.queue.overflowed()
    }

    fn drain(&mut self, out: &mut [Cqe; LOT]) -> usize {
        let mut count = 0;
        while count < LOT
            && let Some(cqe) = self.kernel.queue.pop()
        {
            out[count] = cqe;
            count += 1;
        }
        self.ring_bell();
        count
    }

    fn poll_fd(&self) -> RawFd {
        let bell = self.bell.get_or_init(|| {
            // SAFETY: makes a descriptor or fails.
            let event = unsafe { libc::eventfd(1, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
            assert!(event >= 0, "no descriptor is left for the ring to be polled by");
            Bell {
                // SAFETY: just made, owned by nobody else.
                event: unsafe { OwnedFd::from_raw_fd(event) },
                rung: true,
            }
        });
        bell.event.as_raw_fd()
    }

    fn buffer_slots(&mut self) -> u16 {
        BUFFER_SLOTS
    }

    unsafe fn set_buffer(&mut self, slot: u16, range: Option<libc::iovec>) -> io::Result<()> {
        let buffers = &mut self.kernel.buffers;
        buffers.resize(usize::from(BUFFER_SLOTS), (0, 0));
        let entry = buffers.get_mut(usize::from(slot));
        let entry = entry.ok_or(io::Error::from_raw_os_error(libc::EINVAL))?;
        *entry = range.map_or((0, 0), |range| (range.iov_base as u64, range.iov_len as u64));
        Ok(())
    }

    fn set_file(&mut self, slot: u32, fd: RawFd) -> io::Result<()> {
        let Some(entry) = self.kernel.files.get_mut(slot as usize) else {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        };
        *entry = match fd {
            -1 => None,
            fd => Some(Arc::new(duplicate(fd)?)),
        };
        Ok(())
    }

    fn file_slots(&self) -> io::Result<u32> {
        Ok(self.file_slots)
    }

    fn direct_slots(&self) -> io::Result<Range<u32>> {
        Ok(self.kernel.direct..self.kernel.files.len() as u32)
    }

    unsafe fn register_buf_ring(
        &mut self,
        ring: u64,
        entries: u16,
        group: u16,
        flags: u16,
    ) -> io::Result<()> {
        if flags != 0 {
            return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        }
        // SAFETY: the caller keeps the entries until the carrier is entirely gone.
        self.kernel
            .groups
            .push(unsafe { Group::new(group, ring, entries) });
        Ok(())
    }

    fn unregister_buf_ring(&mut self, group: u16) -> io::Result<()> {
        self.kernel.groups.retain(|known| known.id != group);
        Ok(())
    }

    fn tombstone(&mut self, fd: RawFd) -> io::Result<()> {
        self.kernel.tombstone = Some(duplicate(fd)?);
        Ok(())
    }

    fn will(&mut self) -> Option<Box<dyn Posthumous>> {
        Some(Box::new(Left(self.kernel.queue.leave())))
    }

    fn now_ns(&self) -> u64 {
        self.world().now_ns
    }

    fn pause(&mut self, limit: Duration) {
        let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let mut world = self.world();
        world.now_ns = world.now_ns.saturating_add(limit);
    }

    fn disown(mut self: Box<Self>) {
        // The requests are the parent's: here they are copies that nobody will ever end.
        self.kernel = Kernel::new(0, 0, 0);
    }
}

/// Whether an attempt is due that only a call would make.
fn owes(kernel: &Kernel, now_ns: u64) -> bool {
    kernel.waits_at_all() || kernel.next_due().is_some_and(|due| due <= now_ns)
}

fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: borrowed for this call; a number that is not open is an error of the call.
    unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()
}

/// Completions of what outlived its ring.
struct Left(Relics);

impl Posthumous for Left {
    fn completions(&mut self) -> Vec<Cqe> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(|e| e.into_inner()))
    }
}

impl Drop for Sim {
    /// What is in flight outlives the ring, as it does in a kernel.
    fn drop(&mut self) {
        let alive = self.kernel.outstanding();
        if alive == 0 {
            return;
        }
        let kernel = std::mem::replace(&mut self.kernel, Kernel::new(0, 0, 0));
        let mut world = self.world();
        for _ in 0..alive {
            world.count(Fault::Abandoned);
        }
        world.abandoned.push(kernel);
    }
}
