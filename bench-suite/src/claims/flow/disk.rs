//! A file past the page cache, and a closed loop of random reads of it through a window.

use crate::claims::ring::invalid;
use crate::machine::wall_ns;
use crate::{Claim, Invalid, Row, Verdict, pin_to, thread_cpu_ns};
use pooled_vec::{AlignedOptions, Slab, SlabBuf};
use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::rc::Rc;
use std::time::Duration;
use uring_core::op::{FixedFd, Read};
use uring_core::pace::{Window, WindowOptions};
use uring_core::{LATENCY_BUCKETS, LocalRing, Options};

pub(super) const BLOCK: usize = 4096;
/// Callers in the closed loop of a lane, and the depth of its ring: more than any window needs.
pub(super) const CALLERS: u32 = 256;
const CHUNK: usize = 1 << 20;

/// A nameless file whose every block begins with its number, open past the page cache.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) file: File,
    pub(super) blocks: u64,
}

impl Disk {
    /// Makes the file; says why not where the file system is memory or refuses `O_DIRECT`.
    pub(super) fn make(quick: bool) -> Result<Self, Invalid> {
        let bytes: u64 = if quick { 128 << 20 } else { 512 << 20 };
        let file = tempfile::tempfile()?;
        let mut chunk = vec![0u8; CHUNK];
        for at in (0..bytes).step_by(CHUNK) {
            for (i, block) in chunk.chunks_exact_mut(BLOCK).enumerate() {
                let number = at / BLOCK as u64 + i as u64;
                block[..8].copy_from_slice(&number.to_ne_bytes());
            }
            file.write_all_at(&chunk, at)?;
        }
        file.sync_data()?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECT)
            .open(path)?;
        let blocks = bytes / BLOCK as u64;
        Ok(Self { file, blocks })
    }
}

/// Runs `measure` on a disk, on a thread of its own on one processor; where there is no disk the claim is not for here.
pub(super) fn on_disk(
    claim: &Claim,
    quick: bool,
    cpu: usize,
    measure: impl FnOnce(&Disk) -> Result<Row, Invalid> + Send,
) -> Result<Row, Invalid> {
    let disk = match Disk::make(quick) {
        Ok(disk) => disk,
        Err(why) => {
            let note =
                format!("no file past the page cache here: {why}; set TMPDIR to a directory on a disk");
            return Ok(Row::unmeasured(claim, Verdict::NotHere, note));
        }
    };
    std::thread::scope(|scope| {
        let measured = scope.spawn(|| {
            pin_to(cpu);
            measure(&disk)
        });
        measured
            .join()
            .unwrap_or_else(|_| Err(Invalid("the measuring thread panicked".into())))
    })
}

/// A walk over the blocks in no order that anything could guess.
#[derive(Debug)]
pub(super) struct Walk {
    state: u64,
    blocks: u64,
}

impl Walk {
    pub(super) fn new(seed: u64, blocks: u64) -> Self {
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self { state, blocks }
    }

    pub(super) fn step(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        ((u128::from(self.state) * u128::from(self.blocks)) >> 64) as u64
    }
}

/// What a lane did in one slice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    pub(super) per_second: f64,
    pub(super) cpu_ns: f64,
    pub(super) p99_ns: f64,
}

struct Back {
    free: RefCell<Vec<SlabBuf>>,
    done: Cell<u64>,
    bad: Cell<u64>,
}

/// A window, its ring, and callers without end.
pub(super) struct Lane {
    pub(super) window: Window<Rc<LocalRing>>,
    ring: Rc<LocalRing>,
    file: FixedFd,
    walk: Walk,
    back: Rc<Back>,
}

impl Lane {
    pub(super) fn new(disk: &Disk, seed: u64, options: &WindowOptions) -> Result<Self, Invalid> {
        let ring = LocalRing::with(&Options::new().depth(CALLERS).registered_files(1)).map_err(invalid)?;
        let ring = Rc::new(ring);
        let file = ring.register_file(&disk.file).map_err(invalid)?;
        let slab = Slab::new(CALLERS as usize + 1, BLOCK, AlignedOptions::new()).map_err(invalid)?;
        let free = std::iter::from_fn(|| slab.claim()).collect();
        Ok(Self {
            window: Window::new(Rc::clone(&ring), options).map_err(invalid)?,
            ring,
            file,
            walk: Walk::new(seed, disk.blocks),
            back: Rc::new(Back {
                free: RefCell::new(free),
                done: Cell::new(0),
                bad: Cell::new(0),
            }),
        })
    }

    /// Reads for so long; everything is back at the end.
    ///
    /// # Errors
    /// When a read fails or brings another block.
    pub(super) fn slice(&mut self, length: Duration) -> Result<Slice, Invalid> {
        self.run(length, |_| false)
    }

    /// The same, or until `enough` of the window.
    pub(super) fn run(
        &mut self,
        length: Duration,
        enough: impl Fn(&Window<Rc<LocalRing>>) -> bool,
    ) -> Result<Slice, Invalid> {
        let before = self.ring.stats().latency_ns();
        let done = self.back.done.get();
        let (wall, cpu) = (wall_ns(), thread_cpu_ns());
        let until = wall + length.as_nanos() as u64;
        while wall_ns() < until && !enough(&self.window) {
            self.fill()?;
            self.window.wait(Duration::from_secs(10)).map_err(invalid)?;
        }
        let per_second = (self.back.done.get() - done) as f64 * 1e9 / (wall_ns() - wall) as f64;
        while self.window.handle().stats().in_flight > 0 {
            self.ring.wait(1, Duration::from_secs(10)).map_err(invalid)?;
        }
        let reads = (self.back.done.get() - done).max(1) as f64;
        let latency: seqstats::HistogramSnapshot<LATENCY_BUCKETS> =
            self.ring.stats().latency_ns().since(&before);
        match self.back.bad.get() {
            0 => Ok(Slice {
                per_second,
                cpu_ns: (thread_cpu_ns() - cpu) as f64 / reads,
                p99_ns: latency.quantile(0.99) as f64,
            }),
            bad => Err(Invalid(format!("{bad} reads failed or brought another block"))),
        }
    }

    /// Submits until there is no place.
    fn fill(&mut self) -> Result<(), Invalid> {
        loop {
            let Some(buf) = self.back.free.borrow_mut().pop() else {
                return Err(Invalid("more in flight than there are callers".into()));
            };
            // Made before the place is known: the walk goes on only with those that are submitted.
            let mut buf = Some(buf);
            let entered = self.window.enter(|| {
                let (number, back) = (self.walk.step(), Rc::clone(&self.back));
                let buf = buf.take().expect("put there above");
                let read = Read::new(self.file, buf).at(number * BLOCK as u64);
                self.ring.submit_with(read, move |(read, buf)| {
                    let right = read == Ok(BLOCK) && buf[..8] == number.to_ne_bytes();
                    back.bad.set(back.bad.get() + u64::from(!right));
                    back.done.set(back.done.get() + 1);
                    back.free.borrow_mut().push(buf);
                })
            });
            match entered {
                Some(submitted) => drop(submitted.map_err(invalid)?),
                None => {
                    self.back.free.borrow_mut().extend(buf);
                    return Ok(());
                }
            }
        }
    }
}
