//! A file for results, claimed before the work so that an unwritable path costs no run.

use crate::failure::{Failure, cause, refused};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file to be written at the end; if it was made for that and the end never comes, it is removed.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    file: File,
    fresh: bool,
}

impl Output {
    /// Opens `path` for the results that `flag` asks for, and leaves what is in it for now.
    ///
    /// # Errors
    /// When it cannot be written, naming flag, path, cause, remedy.
    pub fn claim(flag: &str, path: &Path) -> Result<Self, Failure> {
        let open = |fresh| OpenOptions::new().write(true).create_new(fresh).open(path);
        let opened = match open(true) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => open(false).map(|file| (file, false)),
            other => other.map(|file| (file, true)),
        };
        let (file, fresh) = opened.map_err(|e| {
            let (path, cause) = (path.display(), cause(&e));
            refused(format_args!(
                "{flag} {path}: {cause}; name a file in a directory that exists and that you may write to"
            ))
        })?;
        let path = path.to_owned();
        Ok(Self { path, file, fresh })
    }

    /// Claims the file if there is a path.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    pub fn claim_if(flag: &str, path: Option<&PathBuf>) -> Result<Option<Self>, Failure> {
        path.map(|path| Self::claim(flag, path)).transpose()
    }

    /// Replaces what is in the file by `text`.
    ///
    /// # Errors
    /// When the disk is full or the file is gone.
    pub fn write(mut self, text: &str) -> Result<(), Failure> {
        // A pipe or a terminal has no length to cut.
        if self.file.metadata().is_ok_and(|m| m.is_file()) {
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
            Err(e) => {
                let (path, cause) = (self.path.display(), cause(&e));
                Err(refused(format_args!(
                    "{path}: {cause}; free some space or name another file"
                )))
            }
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.fresh {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
