//! Reading and writing with plain `pread` and `pwrite`: one at a time a thread, one system call each.

use super::by_ring::Handles;
use super::course::{Course, Done, Walk};
use crate::failure::{Failure, FailureKind, refused};
use crate::sys::{pin_to, thread_cpu_ns};
use flat_combine::StripedCounter;
use inline_error::InlineError;
use seqstats::{Histogram, Recorder};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::mpsc::Sender;
use std::time::Instant;
use sync_base::sync::Arc;
use uring_core::LATENCY_BUCKETS;

/// What the readers publish while they read.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// Reads made, each one system call.
    pub(super) reads: StripedCounter,
}

/// The latencies of one reader.
pub(super) type Latencies = Arc<Histogram<LATENCY_BUCKETS>>;

/// Reads until told to stop, on one of the processors; drops `ready` once it is.
///
/// # Errors
/// When a read fails or comes back wrong.
pub(super) fn read(
    course: &Course<'_>,
    index: usize,
    readers: usize,
    ready: Sender<Handles>,
    published: &Published,
    latencies: &Latencies,
) -> Result<Done, Failure> {
    pin_to(course.cpus[index % course.cpus.len()]);
    let buffer = course.slab.claim();
    let recorder = Recorder::try_claim(Arc::clone(latencies));
    let files: Vec<_> = course
        .parts
        .iter()
        .map_while(|part| course.files.get(part.file))
        .collect();
    // Whoever waits for all to be ready need not wait for this one.
    drop(ready);
    let go = course.start.wait();
    let (Some(mut buffer), Ok(mut recorder), true) = (buffer, recorder, files.len() == course.parts.len())
    else {
        return Err(refused(format_args!(
            "no buffer for reader {index}; give a smaller --static"
        )));
    };
    if !go {
        return Ok(Done::default());
    }
    let mut walk = Walk::new(index, readers, course.blocks(), course.rw);
    let mut settings = course.settings.reader();
    let mut done = Done::default();
    let (begun, cpu) = (Instant::now(), thread_cpu_ns());
    while !settings.get().stop {
        let (number, writes) = walk.next();
        let (at, local) = course.locate(number);
        let (fd, offset) = (
            files[at].as_fd().as_raw_fd(),
            (local * course.block as u64) as libc::off_t,
        );
        if writes {
            course.make(number, &mut buffer);
        }
        let asked = Instant::now();
        let moved = if writes {
            // SAFETY: the buffer is this thread's and as long as said; the descriptor is held open by `files`.
            unsafe { libc::pwrite(fd, buffer.as_ptr().cast(), buffer.len(), offset) }
        } else {
            // SAFETY: as above.
            unsafe { libc::pread(fd, buffer.as_mut_ptr().cast(), buffer.len(), offset) }
        };
        recorder.record(asked.elapsed().as_nanos() as u64);
        published.reads.add(1);
        let Ok(moved) = usize::try_from(moved) else {
            let error = std::io::Error::last_os_error();
            let call = if writes { "pwrite" } else { "pread" };
            let message = format_args!("{call}: {}", crate::failure::cause(&error));
            return Err(InlineError::new(FailureKind::Wrong, message).boxed());
        };
        course
            .check(&mut done, number, moved, &buffer)
            .map_err(InlineError::boxed)?;
    }
    done.cpu_ns = thread_cpu_ns() - cpu;
    done.span = Some((begun, Instant::now()));
    Ok(done)
}
