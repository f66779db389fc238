//! Reading with plain `pread`: one read a thread, one system call a read.

use super::course::{Blocks, Course, Done};
use crate::failure::{Failure, FailureKind, refused};
use crate::sys::{pin_to, thread_cpu_ns};
use flat_combine::StripedCounter;
use inline_error::InlineError;
use seqstats::{Histogram, Recorder};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::mpsc::Sender;
use std::time::Instant;
use sync_base::sync::Arc;
use uring_core::{LATENCY_BUCKETS, StatsHandle};

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
    ready: Sender<StatsHandle>,
    published: &Published,
    latencies: &Latencies,
) -> Result<Done, Failure> {
    pin_to(course.cpus[index % course.cpus.len()]);
    let buffer = course.slab.claim();
    let recorder = Recorder::try_claim(Arc::clone(latencies));
    let file = course.files.get(course.file);
    // Whoever waits for all to be ready need not wait for this one.
    drop(ready);
    let go = course.start.wait();
    let (Some(mut buffer), Ok(mut recorder), Some(file)) = (buffer, recorder, file) else {
        return Err(refused(format_args!(
            "no buffer for reader {index}; give a smaller --depth"
        )));
    };
    if !go {
        return Ok(Done::default());
    }
    let fd = file.as_fd().as_raw_fd();
    let mut blocks = Blocks::new(index, course.blocks);
    let mut settings = course.settings.reader();
    let mut done = Done::default();
    let (begun, cpu) = (Instant::now(), thread_cpu_ns());
    while !settings.get().stop {
        let number = blocks.next();
        let offset = number * course.block as u64;
        let asked = Instant::now();
        // SAFETY: the buffer is this thread's and as long as said; the descriptor is held open by `file`.
        let read = unsafe {
            libc::pread(
                fd,
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                offset as libc::off_t,
            )
        };
        recorder.record(asked.elapsed().as_nanos() as u64);
        published.reads.add(1);
        let Ok(read) = usize::try_from(read) else {
            let error = std::io::Error::last_os_error();
            let message = format_args!("pread: {}", crate::failure::cause(&error));
            return Err(InlineError::new(FailureKind::Wrong, message).boxed());
        };
        course
            .check(&mut done, number, read, &buffer)
            .map_err(InlineError::boxed)?;
    }
    done.cpu_ns = thread_cpu_ns() - cpu;
    done.span = Some((begun, Instant::now()));
    Ok(done)
}
