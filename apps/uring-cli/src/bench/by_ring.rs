//! Reading through a ring of one's own: one thread a core, many reads in flight.

use super::course::{Blocks, Course, Done, ReadError};
use crate::failure::{Failure, FailureKind, refused};
use crate::sys::{pin_to, thread_cpu_ns};
use inline_error::InlineError;
use pooled_vec::{Slab, SlabBuf};
use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};
use uring_core::buffer::{FixedBuf, IoBufMut, RegisteredSlab};
use uring_core::op::{FixedFd, Read};
use uring_core::{Error, LocalRing, Options, StatsHandle};

/// A read that came back: block number, outcome, buffer.
type Arrived<B> = (u64, Result<usize, Error>, B);

/// Where buffers come from: memory that the ring has registered, or the same memory as it is.
trait Source {
    type Buffer: IoBufMut + Deref<Target = [u8]>;
    fn lease(&self) -> Option<Self::Buffer>;
}

impl Source for RegisteredSlab {
    type Buffer = FixedBuf;
    fn lease(&self) -> Option<FixedBuf> {
        self.lease()
    }
}

impl Source for Slab {
    type Buffer = SlabBuf;
    fn lease(&self) -> Option<SlabBuf> {
        self.claim()
    }
}

/// Reads until told to stop, on processor `cpu`; hands out what its ring publishes before it starts.
///
/// # Errors
/// When the ring cannot be set up, or a read fails or comes back wrong.
pub(super) fn read(course: &Course<'_>, index: usize, stats: Sender<StatsHandle>) -> Result<Done, Failure> {
    let set_up = set_up(course, index, &stats);
    // Whoever waits for the handles must not wait for one that will not come.
    drop(stats);
    let go = course.start.wait();
    let (ring, file, registered, mut done) = set_up?;
    if !go {
        return Ok(done);
    }
    let blocks = Blocks::new(index, course.blocks);
    let (begun, cpu) = (Instant::now(), thread_cpu_ns());
    let ended = match &registered {
        Some(slab) => Loop::new(&ring, file, slab, blocks).run(course, &mut done),
        None => Loop::new(&ring, file, course.slab, blocks).run(course, &mut done),
    };
    done.cpu_ns = thread_cpu_ns() - cpu;
    done.span = Some((begun, Instant::now()));
    ended.map_err(InlineError::boxed)?;
    Ok(done)
}

fn set_up(
    course: &Course<'_>,
    index: usize,
    stats: &Sender<StatsHandle>,
) -> Result<(LocalRing, FixedFd, Option<RegisteredSlab>, Done), Failure> {
    pin_to(course.cpus[index % course.cpus.len()]);
    let depth = course.settings.get().depth;
    let ring = LocalRing::with(&Options::new().depth(depth).registered_files(1))
        .map_err(|e| refused(format_args!("{}; `uring probe` tells more", e.message())))?;
    let file = ring
        .register_shared(course.files, course.file)
        .map_err(|e| refused(format_args!("{}", e.explain("registering the file"))))?;
    let slot = course.files.slot(course.file);
    // Without room to lock memory the reads are as right, and a little dearer: said, not refused.
    let (registered, buffers) = match ring.register_slab(course.slab.clone()) {
        Ok(slab) => (Some(slab), "registered buffers".to_owned()),
        Err(e) => (None, format!("plain buffers ({e:#})")),
    };
    let done = Done {
        slot,
        ring: Some(format!("{}, {buffers}", ring.info())),
        ..Done::default()
    };
    // Nobody listens any more only if the run is being given up.
    let _ = stats.send(ring.stats());
    Ok((ring, file, registered, done))
}

struct Loop<'r, S: Source> {
    ring: &'r LocalRing,
    file: FixedFd,
    source: &'r S,
    blocks: Blocks,
    /// Filled by the completions' closures, emptied by the loop.
    inbox: Rc<RefCell<Vec<Arrived<S::Buffer>>>>,
    batch: Vec<Arrived<S::Buffer>>,
    in_flight: u32,
}

impl<'r, S: Source> Loop<'r, S> {
    fn new(ring: &'r LocalRing, file: FixedFd, source: &'r S, blocks: Blocks) -> Self {
        Self {
            ring,
            file,
            source,
            blocks,
            inbox: Rc::default(),
            batch: Vec::new(),
            in_flight: 0,
        }
    }

    fn run(&mut self, course: &Course<'_>, done: &mut Done) -> Result<(), ReadError> {
        let mut settings = course.settings.reader();
        loop {
            let now = settings.get();
            if now.stop {
                return self.drain(course, done);
            }
            while self.in_flight < now.depth {
                let Some(buffer) = self.source.lease() else { break };
                self.submit(buffer)?;
            }
            self.turn((now.depth / 4).clamp(1, 16) as usize)?;
            self.check(course, done, now.depth)?;
        }
    }

    fn submit(&mut self, buffer: S::Buffer) -> Result<(), ReadError> {
        let number = self.blocks.next();
        let offset = number * buffer.len() as u64;
        let inbox = Rc::clone(&self.inbox);
        let read = Read::new(self.file, buffer).at(offset);
        self.ring
            .submit_with(read, move |(outcome, buffer)| {
                inbox.borrow_mut().push((number, outcome, buffer))
            })
            .map_err(|rejected| failed(rejected.error, "submitting a read"))?;
        self.in_flight += 1;
        Ok(())
    }

    fn turn(&mut self, want: usize) -> Result<(), ReadError> {
        match self.ring.wait(want, Duration::from_millis(50)) {
            Ok(_) => {}
            // A signal, or the time is up: the settings are looked at.
            Err(e) if e.is_retryable() || e.kind().is_timed_out() => {}
            Err(e) => return Err(failed(e, "waiting for reads")),
        }
        std::mem::swap(&mut self.batch, &mut self.inbox.borrow_mut());
        Ok(())
    }

    /// Checks what arrived, and reads the next block into each buffer as long as the depth asks for it.
    fn check(&mut self, course: &Course<'_>, done: &mut Done, depth: u32) -> Result<(), ReadError> {
        let mut batch = std::mem::take(&mut self.batch);
        for (number, outcome, buffer) in batch.drain(..) {
            self.in_flight -= 1;
            let read = outcome.map_err(|e| failed(e, "read"))?;
            course.check(done, number, read, &buffer)?;
            if self.in_flight < depth {
                self.submit(buffer)?;
            }
        }
        self.batch = batch;
        Ok(())
    }

    /// Takes back everything that is in flight, asking for nothing more.
    fn drain(&mut self, course: &Course<'_>, done: &mut Done) -> Result<(), ReadError> {
        while self.in_flight > 0 {
            self.turn(1)?;
            self.check(course, done, 0)?;
        }
        Ok(())
    }
}

#[cold]
fn failed(error: Error, what: &str) -> ReadError {
    let told = error.explain(what);
    let cause = told.errno();
    let new = InlineError::new(FailureKind::Wrong, format_args!("{told:#}"));
    match cause {
        Some(errno) => new.with_errno(errno),
        None => new,
    }
}
