//! The file that is read.
//!
//! A file made for the run has no name: it is gone when its last descriptor is closed, so no end of this process, a
//! SIGKILL included, can leave it behind. Where the file system has no nameless files it has a name until it is opened.

use super::content::Content;
use crate::args::Bytes;
use crate::failure::{Failure, cause, refused};
use crate::sys::{FileSystem, file_system};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The smallest block that O_DIRECT takes anywhere.
pub const SMALLEST_BLOCK: u64 = 512;

/// A file open for reading, with what it must hold.
#[derive(Debug)]
pub struct DataFile {
    /// Open in the ordinary way.
    pub cached: File,
    /// Open past the page cache, or why that cannot be.
    pub direct: Result<File, String>,
    /// What is in it.
    pub content: Content,
    /// How many blocks are read.
    pub blocks: u64,
    /// Bytes a block.
    pub block: usize,
    /// Where it is, in words.
    pub place: String,
}

/// What making or surveying a file tells while it goes on: bytes done. An error ends it.
pub type Step<'a> = dyn FnMut(u64) -> Result<(), Failure> + 'a;

impl DataFile {
    /// Makes a nameless file of random data in `dir`, or in a directory found on a real disk; opened past the page cache for
    /// writing too if it will be `written`.
    ///
    /// # Errors
    /// No such directory, no permission, no space: each with its remedy. Nothing is left behind.
    pub fn make(
        dir: Option<&Path>,
        size: Bytes,
        block: Bytes,
        seed: u64,
        written: bool,
        step: &mut Step<'_>,
    ) -> Result<Self, Failure> {
        let (dir, fs) = match dir {
            Some(dir) => (Place::asked(dir), asked(dir)?),
            None => find_disk()?,
        };
        let blocks = count_blocks(size, block)?;
        let bytes = blocks * block.0;
        if i64::try_from(bytes).is_err() {
            return Err(refused(format_args!(
                "--size {size}: more than any file can hold; give a smaller --size"
            )));
        }
        // First of all, or a file system that takes no files would pass for a full one.
        let file = nameless(&dir.path).map_err(|e| match fs.takes_files {
            true => refused(format_args!(
                "{dir}: {}; choose a directory that you may write to",
                cause(&e)
            )),
            false => refused(format_args!(
                "{dir}: {} takes no files; choose a --dir on a disk",
                fs.name
            )),
        })?;
        if fs.free_bytes < bytes {
            return Err(too_full(&dir, bytes, Some(fs.free_bytes)));
        }
        reserve(&file, bytes).map_err(|e| on_write(&e, &dir, bytes))?;
        let mut chunk = vec![0; 1 << 20];
        let mut at = 0;
        while at < bytes {
            step(at)?;
            let len = (bytes - at).min(chunk.len() as u64) as usize;
            Content::fill(seed, at, &mut chunk[..len]);
            file.write_all_at(&chunk[..len], at)
                .map_err(|e| on_write(&e, &dir, bytes))?;
            at += len as u64;
        }
        // On the disk, or O_DIRECT would begin by writing it back.
        file.sync_data().map_err(|e| on_write(&e, &dir, bytes))?;
        Ok(Self {
            direct: open_direct(&file, fs, block, written),
            cached: file,
            content: Content::Made { seed },
            blocks,
            block: block.0 as usize,
            place: format!(
                "{} of random data, nameless, in {} ({})",
                Bytes(bytes),
                dir.path.display(),
                fs.name
            ),
        })
    }

    /// Opens another's file for reading alone, and reads it once to know what is in it.
    ///
    /// # Errors
    /// When it cannot be opened or read, or is shorter than a block.
    pub fn open(path: &Path, size: Bytes, block: Bytes, step: &mut Step<'_>) -> Result<Self, Failure> {
        let told = |e: &io::Error| {
            let (path, cause) = (path.display(), cause(e));
            refused(format_args!(
                "--file {path}: {cause}; name a file that you may read"
            ))
        };
        // A pipe is refused below, and opening it must not wait for its other end.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)
            .map_err(|e| told(&e))?;
        let meta = file.metadata().map_err(|e| told(&e))?;
        if !meta.is_file() {
            let path = path.display();
            return Err(refused(format_args!(
                "--file {path}: not a regular file; name one, or leave --file out"
            )));
        }
        if meta.len() < block.0 {
            let (path, len) = (path.display(), meta.len());
            return Err(refused(format_args!(
                "--file {path}: {len} bytes are less than one block; name a file of at least {block}"
            )));
        }
        let fs = file_system(path).map_err(|e| told(&e))?;
        let blocks = count_blocks(Bytes(size.0.min(meta.len())), block)?;
        let content = Content::survey(&file, blocks, block.0 as usize, step)?;
        Ok(Self {
            direct: open_direct(&file, fs, block, false),
            cached: file,
            content,
            blocks,
            block: block.0 as usize,
            place: format!("{} of {} ({})", Bytes(blocks * block.0), path.display(), fs.name),
        })
    }
}

/// A directory, and who chose it.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    asked: bool,
}

impl Place {
    fn asked(path: &Path) -> Self {
        let path = path.to_owned();
        Self { path, asked: true }
    }

    fn found(path: PathBuf) -> Self {
        Self { path, asked: false }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.asked {
            "--dir"
        } else {
            "the default directory"
        };
        write!(f, "{what} {}", self.path.display())
    }
}

fn count_blocks(size: Bytes, block: Bytes) -> Result<u64, Failure> {
    if size.0 == 0 {
        return Err(refused(format_args!(
            "--size 0: nothing to read; give a size such as 512MiB"
        )));
    }
    if block.0 < SMALLEST_BLOCK || block.0 > 1 << 20 || !block.0.is_power_of_two() {
        let block = block.0;
        return Err(refused(format_args!(
            "--bs {block}: not a block size; give a power of two from 512 to 1MiB"
        )));
    }
    match size.0 / block.0 {
        0 => Err(refused(format_args!(
            "--size {size}: less than one block; give at least {block}"
        ))),
        blocks => Ok(blocks),
    }
}

fn asked(dir: &Path) -> Result<FileSystem, Failure> {
    let shown = dir.display();
    match std::fs::metadata(dir) {
        Err(e) => Err(refused(format_args!(
            "--dir {shown}: {}; make it or choose another directory",
            cause(&e)
        ))),
        Ok(meta) if !meta.is_dir() => Err(refused(format_args!(
            "--dir {shown}: not a directory; choose one"
        ))),
        Ok(_) => file_system(dir)
            .map_err(|e| refused(format_args!("--dir {shown}: {}; choose another", cause(&e)))),
    }
}

/// Finds a directory that can be written and whose files are on a disk; failing that, one in memory.
fn find_disk() -> Result<(Place, FileSystem), Failure> {
    let candidates = [std::env::temp_dir(), "/var/tmp".into(), "/tmp".into(), ".".into()];
    let mut in_memory = None;
    for dir in candidates {
        let Ok(fs) = file_system(&dir) else { continue };
        if nameless(&dir).is_err() {
            continue;
        }
        if !fs.in_memory {
            return Ok((Place::found(dir), fs));
        }
        in_memory.get_or_insert((Place::found(dir), fs));
    }
    in_memory.ok_or_else(|| {
        refused(format_args!(
            "no directory to write to among TMPDIR, /var/tmp, /tmp and this one; give --dir"
        ))
    })
}

fn nameless(dir: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.custom_flags(libc::O_TMPFILE).open(dir) {
        Err(e)
            if matches!(
                e.raw_os_error(),
                Some(libc::EOPNOTSUPP | libc::EISDIR | libc::ENOENT)
            ) =>
        {
            named_at_first(options.custom_flags(0), dir)
        }
        other => other,
    }
}

/// Makes a file whose name is gone as soon as it is open.
fn named_at_first(options: &mut OpenOptions, dir: &Path) -> io::Result<File> {
    let path = dir.join(format!(".uring-bench-{}", std::process::id()));
    let file = options.create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// Claims the space at once, so that a full disk is known before anything is written.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    // SAFETY: a call on a descriptor that is open.
    if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, bytes as libc::off_t) } == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        // Writing will tell.
        e if matches!(
            e.raw_os_error(),
            Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINTR)
        ) =>
        {
            Ok(())
        }
        e => Err(e),
    }
}

fn on_write(error: &io::Error, dir: &Place, bytes: u64) -> Failure {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => too_full(dir, bytes, None),
        Some(libc::EFBIG) => refused(format_args!(
            "--size {}: more than `ulimit -f` or the file system of {} allows one file; give a smaller --size",
            Bytes(bytes),
            dir.path.display()
        )),
        _ => refused(format_args!("{dir}: {}; choose another --dir", cause(error))),
    }
}

fn too_full(dir: &Place, bytes: u64, free: Option<u64>) -> Failure {
    let bytes = Bytes(bytes);
    let free = free.map_or(String::new(), |free| format!(" ({} MiB free)", free >> 20));
    refused(format_args!(
        "{dir}: no space for {bytes}{free}; give a smaller --size or another --dir"
    ))
}

/// Opens the same file past the page cache, or says why not.
fn open_direct(file: &File, fs: FileSystem, block: Bytes, written: bool) -> Result<File, String> {
    if fs.in_memory {
        return Err(format!("{} is memory: choose a --dir on a disk", fs.name));
    }
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let direct = OpenOptions::new()
        .read(true)
        .write(written)
        .custom_flags(libc::O_DIRECT)
        .open(path)
        .map_err(|e| format!("{} refuses it: {}", fs.name, cause(&e)))?;
    let mut probe = pooled_vec::AlignedBuf::new(block.0 as usize).map_err(|e| e.to_string())?;
    direct
        .read_exact_at(&mut probe, 0)
        .map_err(|e| format!("{} refuses blocks of {block}: {}", fs.name, cause(&e)))?;
    Ok(direct)
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_name_leaves_none_whichever_way_it_was_made() {
        let home = tempfile::tempdir().unwrap();
        let made = [
            nameless(home.path()).unwrap(),
            named_at_first(OpenOptions::new().read(true).write(true), home.path()).unwrap(),
        ];
        for file in made {
            file.write_all_at(b"x", 4095).unwrap();
            assert_eq!(file.metadata().unwrap().len(), 4096);
        }
        assert!(std::fs::read_dir(home.path()).unwrap().next().is_none());
    }
}
