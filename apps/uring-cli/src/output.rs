//! A file for results, claimed before the work so that an unwritable path costs no run.

use crate::failure::{Failure, cause, refused};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file to be written at the end; if it was made for that and the end never comes, it is removed.
#[derive(Debug)]
pub struct Output {
    flag: &'static str,
    path: PathBuf,
    file: File,
    fresh: bool,
    /// Which file it is, by whatever name; none for what has no content to lose, as a pipe or a terminal.
    identity: Option<Identity>,
    /// It is the file that standard output goes to, and is written through the same descriptor, one after the other.
    shared: bool,
}

/// A regular file, whatever it is called: device, then number on it.
type Identity = (u64, u64);

fn identity(meta: &Metadata) -> Option<Identity> {
    meta.is_file().then(|| (meta.dev(), meta.ino()))
}

impl Output {
    /// Opens `path` for the results that `flag` asks for, and leaves what is in it for now. Never waits: a pipe that
    /// nobody reads is refused.
    ///
    /// # Errors
    /// When it cannot be written, naming flag, path, cause, remedy.
    pub fn claim(flag: &'static str, path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Self::stdout(flag).map_err(|e| unwritable(flag, path, &e));
        }
        let open = |fresh| {
            let mut options = OpenOptions::new();
            options.write(true).create_new(fresh);
            options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
        };
        let opened = match open(true) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => open(false).map(|file| (file, false)),
            other => other.map(|file| (file, true)),
        };
        let (file, fresh) = opened.map_err(|e| unwritable(flag, path, &e))?;
        let mut output = Self {
            flag,
            path: path.to_owned(),
            file,
            fresh,
            identity: None,
            shared: false,
        };
        output.settle().map_err(|e| unwritable(flag, path, &e))?;
        Ok(output)
    }

    fn stdout(flag: &'static str) -> io::Result<Self> {
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Self {
            flag,
            path: "-".into(),
            identity: identity(&file.metadata()?),
            file,
            fresh: false,
            shared: true,
        })
    }

    /// Whether it is standard output, asked for as `-`: nothing else should go there.
    pub fn is_stdout(&self) -> bool {
        self.path == Path::new("-")
    }

    /// Learns which file it is; from here on, writing may wait.
    fn settle(&mut self) -> io::Result<()> {
        self.identity = identity(&self.file.metadata()?);
        let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
        if self.identity.is_some()
            && let Ok(stdout) = stdout
            && stdout
                .metadata()
                .is_ok_and(|meta| identity(&meta) == self.identity)
        {
            (self.file, self.shared) = (stdout, true);
            return Ok(());
        }
        let fd = self.file.as_raw_fd();
        // SAFETY: reads the flags of a descriptor that is open.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
        // SAFETY: sets them, without the one, on a descriptor that nobody else has.
        if flags < 0 || unsafe { libc::fcntl(fd, libc::F_SETFL, flags & !libc::O_NONBLOCK) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Claims the file if there is a path.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    pub fn claim_if(flag: &'static str, path: Option<&PathBuf>) -> Result<Option<Self>, Failure> {
        path.map(|path| Self::claim(flag, path)).transpose()
    }

    /// Refuses to overwrite the file at `other`, by whatever name, link or symbolic link.
    ///
    /// # Errors
    /// When it is the same regular file, naming both flags.
    pub fn spare(&self, flag: &str, other: &Path) -> Result<(), Failure> {
        let same = std::fs::metadata(other).is_ok_and(|meta| identity(&meta) == self.identity);
        if same && self.identity.is_some() {
            return Err(self.same_as(flag, other));
        }
        Ok(())
    }

    /// Refuses to write two results to one file.
    ///
    /// # Errors
    /// When both are the same regular file, naming both flags.
    pub fn apart(&self, other: &Self) -> Result<(), Failure> {
        let same = self.identity.is_some() && self.identity == other.identity;
        if same || self.is_stdout() && other.is_stdout() {
            return Err(self.same_as(other.flag, &other.path));
        }
        Ok(())
    }

    fn same_as(&self, flag: &str, other: &Path) -> Failure {
        refused(format_args!(
            "{} {}: the same file as {flag} {}, which would be lost; name another",
            self.flag,
            self.path.display(),
            other.display()
        ))
    }

    /// Replaces what is in the file by `text`.
    ///
    /// # Errors
    /// When the disk is full or the file is gone.
    pub fn write(mut self, text: &str) -> Result<(), Failure> {
        // A pipe or a terminal has no length to cut, and what standard output has said stays.
        if self.identity.is_some() && !self.shared {
            let _ = self.file.set_len(0);
        }
        let written = self
            .file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.flush());
        match written {
            Ok(()) => {
                self.fresh = false;
                Ok(())
            }
            // Who reads standard output may have left: that is no failure.
            Err(e) if self.is_stdout() && e.kind() == ErrorKind::BrokenPipe => Ok(()),
            Err(e) => {
                let (flag, path, cause) = (self.flag, self.path.display(), cause(&e));
                let remedy = match e.raw_os_error() {
                    Some(libc::EFBIG) => "raise `ulimit -f`",
                    _ => "free some space or name another file",
                };
                Err(refused(format_args!("{flag} {path}: {cause}; {remedy}")))
            }
        }
    }
}

fn unwritable(flag: &str, path: &Path, error: &io::Error) -> Failure {
    let (shown, cause) = (path.display(), cause(error));
    if error.raw_os_error() == Some(libc::ENXIO) {
        return refused(format_args!(
            "{flag} {shown}: a pipe that nobody reads; start its reader first or name a file"
        ));
    }
    let remedy = if path.is_file() {
        "make it writable or name another file"
    } else {
        "name a file in a directory that exists and that you may write to"
    };
    refused(format_args!("{flag} {shown}: {cause}; {remedy}"))
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.fresh {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Writes all of `text` to standard output. A reader that has left wants no more: that is no failure.
///
/// # Errors
/// When standard output takes no more for another reason.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_to("output", &mut io::stdout().lock(), text)
}

/// The same to standard error, where standard output has been asked for as a file.
///
/// # Errors
/// When standard error takes no more for another reason.
pub(crate) fn print_beside(text: &str) -> Result<(), Failure> {
    print_to("error", &mut io::stderr().lock(), text)
}

fn print_to(standard: &str, to: &mut impl Write, text: &str) -> Result<(), Failure> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            let cause = cause(&e);
            Err(refused(format_args!(
                "standard {standard}: {cause}; free some space or send it elsewhere"
            )))
        }
        _ => Ok(()),
    }
}
