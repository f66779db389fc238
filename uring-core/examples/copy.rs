//! Copies one file, many blocks in flight: `copy FROM TO [--verify]`.
//!
//! Token style: each of the blocks in flight is a read, then a write of what was read, then the next block's read.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use uring_core::buffer::Slice;
use uring_core::op::{Fsync, Read, Write};
use uring_core::{Done, Error, LocalRing, Options};

const BLOCK: usize = 256 << 10;
const IN_FLIGHT: usize = 16;
const LONG: Duration = Duration::from_secs(60);

type Reading = Read<Vec<u8>, Arc<File>>;
type Writing = Write<Slice<Vec<u8>>, Arc<File>>;

/// One copy under way.
struct Copy<'r> {
    ring: &'r LocalRing,
    from: Arc<File>,
    to: Arc<File>,
    size: u64,
    /// Where the next block begins.
    next: u64,
    written: u64,
    in_flight: usize,
    /// Where the operation in each slot of the ring's table works.
    offsets: Vec<u64>,
}

/// Copies a file and returns how many bytes it had. What was at `to` is gone.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    let ring = LocalRing::with(&Options::new().depth(IN_FLIGHT as u32)).map_err(io::Error::from)?;
    let from = File::open(from)?;
    let size = copyable(&from, to)?;
    let to = Arc::new(File::create(to)?);
    let mut copy = Copy {
        ring: &ring,
        from: Arc::new(from),
        to: Arc::clone(&to),
        size,
        next: 0,
        written: 0,
        in_flight: 0,
        offsets: vec![0; IN_FLIGHT],
    };
    copy.run()?;
    let written = copy.written;
    ring.block_on(ring.run(Fsync::new(to)))??;
    Ok(written)
}

/// The size of a file that can be copied there, checked before what is at `to` is gone.
fn copyable(from: &File, to: &Path) -> io::Result<u64> {
    let source = from.metadata()?;
    let refuse = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    if !source.is_file() {
        return refuse("only regular files are copied");
    }
    match std::fs::metadata(to) {
        Ok(target) if (target.dev(), target.ino()) == (source.dev(), source.ino()) => {
            refuse("source and target are the same file")
        }
        Ok(target) if !target.is_file() => refuse("the target is there and no regular file"),
        _ => Ok(source.len()),
    }
}

impl Copy<'_> {
    fn run(&mut self) -> io::Result<()> {
        for _ in 0..IN_FLIGHT {
            self.read_next(Vec::with_capacity(BLOCK))?;
        }
        while self.in_flight > 0 {
            self.ring.wait(1, LONG)?;
            let mut failed = None;
            let ring = self.ring;
            ring.reap(|done| {
                if let Err(error) = self.completed(done) {
                    failed.get_or_insert(error);
                }
            });
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(())
    }

    fn completed(&mut self, done: Done<'_>) -> io::Result<()> {
        self.in_flight -= 1;
        let offset = self.offsets[done.id().slot()];
        match done.take::<Reading>() {
            Ok((read, buf)) => self.was_read(offset, read, buf),
            Err(done) => {
                let (written, part) = done.take::<Writing>().expect("reads and writes are all there is");
                self.was_written(offset, written, part)
            }
        }
    }

    fn was_read(&mut self, offset: u64, read: Result<usize, Error>, buf: Vec<u8>) -> io::Result<()> {
        match read? {
            // The file shrank while it was copied.
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => self.write(offset, Slice::new(buf, ..)),
        }
    }

    fn was_written(
        &mut self,
        offset: u64,
        written: Result<usize, Error>,
        part: Slice<Vec<u8>>,
    ) -> io::Result<()> {
        let (written, range) = (written?, part.range());
        self.written += written as u64;
        let buf = part.into_inner();
        if range.start + written < range.end {
            // A short write: the rest of it.
            return self.write(
                offset + written as u64,
                Slice::new(buf, range.start + written..range.end),
            );
        }
        let (end, block_end) = (
            offset + written as u64,
            (offset / BLOCK as u64 + 1) * BLOCK as u64,
        );
        if end < block_end.min(self.size) {
            // A short read: the rest of the block.
            return self.read(end, Vec::with_capacity((block_end - end) as usize));
        }
        self.read_next(buf)
    }

    fn read_next(&mut self, mut buf: Vec<u8>) -> io::Result<()> {
        if self.next >= self.size {
            return Ok(());
        }
        let offset = self.next;
        self.next += BLOCK as u64;
        buf.clear();
        if buf.capacity() != BLOCK {
            buf = Vec::with_capacity(BLOCK);
        }
        self.read(offset, buf)
    }

    fn read(&mut self, offset: u64, buf: Vec<u8>) -> io::Result<()> {
        let token = self
            .ring
            .submit(Read::new(Arc::clone(&self.from), buf).at(offset))?;
        self.offsets[token.id().slot()] = offset;
        self.in_flight += 1;
        Ok(())
    }

    fn write(&mut self, offset: u64, part: Slice<Vec<u8>>) -> io::Result<()> {
        let token = self
            .ring
            .submit(Write::new(Arc::clone(&self.to), part).at(offset))?;
        self.offsets[token.id().slot()] = offset;
        self.in_flight += 1;
        Ok(())
    }
}

/// Says whether two files have the same content, read the ordinary way.
pub(crate) fn same(one: &Path, other: &Path) -> io::Result<bool> {
    use std::io::Read as _;
    let (mut one, mut other) = (io::BufReader::new(File::open(one)?), File::open(other)?);
    let (mut a, mut b) = (vec![0; BLOCK], vec![0; BLOCK]);
    loop {
        let count = one.read(&mut a)?;
        if count == 0 {
            return Ok(other.read(&mut b)? == 0);
        }
        match other.read_exact(&mut b[..count]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            read => read?,
        }
        if a[..count] != b[..count] {
            return Ok(false);
        }
    }
}

/// Does what the arguments say; gives the exit status and what to print: 0, 1 for a copy that differs, 2 for anything else.
pub(crate) fn run(args: &[String]) -> (u8, String) {
    let verify = args.iter().any(|arg| arg == "--verify");
    let [from, to] = &args.iter().filter(|arg| *arg != "--verify").collect::<Vec<_>>()[..] else {
        return (2, "usage: copy FROM TO [--verify]".into());
    };
    let done = copy(from.as_ref(), to.as_ref()).and_then(|bytes| {
        let good = !verify || same(from.as_ref(), to.as_ref())?;
        Ok((bytes, good))
    });
    match done {
        Ok((bytes, true)) => (0, format!("{bytes} bytes")),
        Ok((_, false)) => {
            let why = format!("copy: {to} differs from {from}: was one of them written meanwhile?");
            (1, why)
        }
        Err(error) => (2, format!("copy: {from} to {to}: {error}")),
    }
}

#[allow(dead_code)] // the tests call `run`
fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        (0, told) => {
            println!("{told}");
            ExitCode::SUCCESS
        }
        (status, told) => {
            eprintln!("{told}");
            ExitCode::from(status)
        }
    }
}
