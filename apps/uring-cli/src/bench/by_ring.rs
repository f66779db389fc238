//! Reading and writing through a ring of one's own: one thread a core, as much in flight as its window allows.

use super::course::{Course, Done, ReadError, Walk};
use crate::failure::{Failure, FailureKind, refused};
use crate::sys::{pin_to, thread_cpu_ns};
use inline_error::InlineError;
use pooled_vec::{Slab, SlabBuf};
use std::cell::RefCell;
use std::ops::DerefMut;
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};
use uring_core::buffer::{FixedBuf, IoBufMut, RegisteredSlab};
use uring_core::op::{FixedFd, Read, Write};
use uring_core::pace::{Window, WindowHandle};
use uring_core::{Error, LocalRing, Options, StatsHandle};

/// What a ring and its window publish.
pub(super) type Handles = (StatsHandle, WindowHandle);

/// An operation that came back: block number, outcome, buffer.
type Arrived<B> = (u64, Result<usize, Error>, B);

/// Where buffers come from: memory that the ring has registered, or the same memory as it is.
trait Source {
    type Buffer: IoBufMut + DerefMut<Target = [u8]>;
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
pub(super) fn read(
    course: &Course<'_>,
    index: usize,
    readers: usize,
    stats: Sender<Handles>,
) -> Result<Done, Failure> {
    let set_up = set_up(course, index, &stats);
    // Whoever waits for the handles must not wait for one that will not come.
    drop(stats);
    let go = course.start.wait();
    let mut ready = set_up?;
    if !go {
        return Ok(ready.done);
    }
    let walk = Walk::new(index, readers, course.blocks(), course.rw);
    let (begun, cpu) = (Instant::now(), thread_cpu_ns());
    let ended = match &ready.registered {
        Some(slab) => Loop::new(&ready.window, &ready.files, slab, walk).run(course, &mut ready.done),
        None => Loop::new(&ready.window, &ready.files, course.slab, walk).run(course, &mut ready.done),
    };
    let mut done = ready.done;
    done.cpu_ns = thread_cpu_ns() - cpu;
    done.span = Some((begun, Instant::now()));
    ended.map_err(InlineError::boxed)?;
    Ok(done)
}

/// A ring set up.
struct Ready {
    window: Window<LocalRing>,
    files: Vec<FixedFd>,
    registered: Option<RegisteredSlab>,
    done: Done,
}

fn set_up(course: &Course<'_>, index: usize, stats: &Sender<Handles>) -> Result<Ready, Failure> {
    pin_to(course.cpus[index % course.cpus.len()]);
    let depth = course.settings.get().depth;
    let options = Options::new()
        .depth(depth)
        .registered_files(course.parts.len() as u32);
    let ring = LocalRing::with(&options)
        .map_err(|e| refused(format_args!("{}; `uring probe` tells more", e.message())))?;
    let mut files = Vec::new();
    for part in &course.parts {
        let file = ring
            .register_shared(course.files, part.file)
            .map_err(|e| refused(format_args!("{}", e.explain("registering the file"))))?;
        files.push(file);
    }
    let slot = course.files.slot(course.parts[0].file);
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
    let window = Window::new(ring, &course.window).map_err(|e| refused(format_args!("{}", e.message())))?;
    // Nobody listens any more only if the run is being given up.
    let _ = stats.send((window.ring().stats(), window.handle()));
    Ok(Ready {
        window,
        files,
        registered,
        done,
    })
}

struct Loop<'r, S: Source> {
    window: &'r Window<LocalRing>,
    files: &'r [FixedFd],
    source: &'r S,
    walk: Walk,
    /// Filled by the completions' closures, emptied by the loop.
    inbox: Rc<RefCell<Vec<Arrived<S::Buffer>>>>,
    batch: Vec<Arrived<S::Buffer>>,
    /// Buffers that came back.
    spare: Vec<S::Buffer>,
    in_flight: u32,
}

impl<'r, S: Source> Loop<'r, S> {
    fn new(window: &'r Window<LocalRing>, files: &'r [FixedFd], source: &'r S, walk: Walk) -> Self {
        Self {
            window,
            files,
            source,
            walk,
            inbox: Rc::default(),
            batch: Vec::new(),
            spare: Vec::new(),
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
            while self.submit(course)? {}
            self.turn()?;
            self.check(course, done)?;
        }
    }

    /// Submits one operation more; `false` when there is no place, or no buffer.
    fn submit(&mut self, course: &Course<'_>) -> Result<bool, ReadError> {
        let ring = self.window.ring();
        // The place first: to be refused one is what tells the window that more would be asked for.
        let entered = self.window.enter(|| {
            let mut buffer = self.spare.pop().or_else(|| self.source.lease())?;
            let (number, writes) = self.walk.next();
            let (at, local) = course.locate(number);
            let offset = local * course.block as u64;
            let inbox = Rc::clone(&self.inbox);
            let then = move |(outcome, buffer)| inbox.borrow_mut().push((number, outcome, buffer));
            Some(if writes {
                course.make(number, &mut buffer);
                let write = Write::new(self.files[at], buffer).at(offset);
                ring.submit_with(write, then).map_err(|rejected| rejected.error)
            } else {
                let read = Read::new(self.files[at], buffer).at(offset);
                ring.submit_with(read, then).map_err(|rejected| rejected.error)
            })
        });
        let Some(submitted) = entered.flatten() else {
            return Ok(false);
        };
        submitted.map_err(|error| failed(error, "submitting an operation"))?;
        self.in_flight += 1;
        Ok(true)
    }

    fn turn(&mut self) -> Result<(), ReadError> {
        match self.window.wait(Duration::from_millis(50)) {
            Ok(_) => {}
            // A signal, or the time is up: the settings are looked at.
            Err(e) if e.is_retryable() || e.kind().is_timed_out() => {}
            Err(e) => return Err(failed(e, "waiting for operations")),
        }
        std::mem::swap(&mut self.batch, &mut self.inbox.borrow_mut());
        Ok(())
    }

    /// Checks what arrived.
    fn check(&mut self, course: &Course<'_>, done: &mut Done) -> Result<(), ReadError> {
        let mut batch = std::mem::take(&mut self.batch);
        for (number, outcome, buffer) in batch.drain(..) {
            self.in_flight -= 1;
            let what = if course.rw.writes() { "operation" } else { "read" };
            let moved = outcome.map_err(|e| failed(e, what))?;
            course.check(done, number, moved, &buffer)?;
            self.spare.push(buffer);
        }
        self.batch = batch;
        Ok(())
    }

    /// Takes back everything that is in flight, asking for nothing more.
    fn drain(&mut self, course: &Course<'_>, done: &mut Done) -> Result<(), ReadError> {
        while self.in_flight > 0 {
            self.turn()?;
            self.check(course, done)?;
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
