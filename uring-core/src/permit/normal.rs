//! A path in its one spelling: what rules judge is what the kernel is given.
//!
//! Lexical, without a look at any file. The kernel walks `a/link/..` through the link; here it is `a`, whatever `a/link` is.
//! That is sound because the spelling made here is the one that is opened, and never the caller's.

use std::borrow::Cow;
use std::fmt;

/// The longest path that Linux takes: `PATH_MAX` less the zero at its end.
pub const LONGEST: usize = libc::PATH_MAX as usize - 1;

/// Why a path has no normal spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathError {
    /// There is nothing in it.
    Empty,
    /// It does not begin with `/`; a policy knows no working directory.
    Relative,
    /// It is longer than [`LONGEST`].
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// It has a zero byte.
    Zero {
        /// Where.
        at: usize,
    },
    /// A `..` climbs above the root. The kernel would stay at the root; nobody who means well asks for it.
    AboveRoot {
        /// Where that `..` begins.
        at: usize,
    },
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the path is empty"),
            Self::Relative => {
                f.write_str("the path does not begin with `/`: a policy knows no working directory")
            }
            Self::TooLong { len } => write!(f, "the path has {len} bytes, {LONGEST} are the most"),
            Self::Zero { at } => write!(f, "the path has a zero byte at {at}"),
            Self::AboveRoot { at } => write!(f, "`..` at byte {at} climbs above the root"),
        }
    }
}

impl std::error::Error for PathError {}

/// An absolute path without `.`, `..`, empty components, slash at its end.
///
/// Bytes, as the kernel has them: case counts, nothing is decoded. Borrows a path that is normal already, the usual
/// case; allocates once for any other. O(length).
///
/// | path | normal |
/// |---|---|
/// | `/a/./b//c` | `/a/b/c` |
/// | `/a/b/../c` | `/a/c` |
/// | `/a/`, `/a/.`, `/a/b/..` | `/a`, and [`is_directory`](Self::is_directory) |
/// | `/`, `//`, `/a/..` | `/` |
/// | `/..`, `/a/../../b` | refused: above the root |
/// | empty, `a`, `./a` | refused: not absolute |
/// | a zero byte, over 4,095 bytes | refused |
///
/// ```
/// use uring_core::permit::{Normal, PathError};
/// let path = Normal::of("/srv//www/./img/../index.html").unwrap();
/// assert_eq!(path.as_bytes(), b"/srv/www/index.html");
/// assert_eq!(Normal::of("/srv/../../etc/passwd"), Err(PathError::AboveRoot { at: 8 }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Normal<'p> {
    path: Cow<'p, [u8]>,
    directory: bool,
}

impl<'p> Normal<'p> {
    /// Normalises.
    ///
    /// # Errors
    /// [`PathError`], in the order of its variants.
    pub fn of(path: &'p (impl AsRef<[u8]> + ?Sized)) -> Result<Self, PathError> {
        let path = path.as_ref();
        match path.first() {
            None => return Err(PathError::Empty),
            Some(b'/') if path.len() > LONGEST => return Err(PathError::TooLong { len: path.len() }),
            Some(b'/') => {}
            Some(_) => return Err(PathError::Relative),
        }
        if is_normal(path) {
            return Ok(Self {
                path: Cow::Borrowed(path),
                directory: path.len() == 1,
            });
        }
        rewritten(path)
    }

    /// The bytes: `/`, or components each after a slash.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.path
    }

    /// Whether the path as it was given can only name a directory: it ended in `/`, `/.` or `/..`.
    #[inline]
    pub fn is_directory(&self) -> bool {
        self.directory
    }
}

/// Whether every component stands after one slash, is neither `.` nor `..`, and no byte is zero. One pass.
fn is_normal(path: &[u8]) -> bool {
    if path.len() == 1 {
        return true;
    }
    // Bytes of the component so far, and whether all are dots.
    let (mut len, mut dots) = (0usize, true);
    for &byte in &path[1..] {
        if byte == b'/' {
            if len == 0 || (dots && len <= 2) {
                return false;
            }
            (len, dots) = (0, true);
        } else {
            if byte == 0 {
                return false;
            }
            len += 1;
            dots &= byte == b'.';
        }
    }
    len > 2 || (len > 0 && !dots)
}

/// Builds the normal spelling of a path that begins with a slash and is not normal.
#[cold]
fn rewritten(path: &[u8]) -> Result<Normal<'static>, PathError> {
    if let Some(at) = path.iter().position(|&byte| byte == 0) {
        return Err(PathError::Zero { at });
    }
    let mut normal = Vec::with_capacity(path.len());
    let (mut at, mut directory) = (1, true);
    for component in path[1..].split(|&byte| byte == b'/') {
        directory = matches!(component, b"" | b"." | b"..");
        match component {
            b"" | b"." => {}
            b".." => {
                let parent = normal.iter().rposition(|&byte| byte == b'/');
                normal.truncate(parent.ok_or(PathError::AboveRoot { at })?);
            }
            name => {
                normal.push(b'/');
                normal.extend_from_slice(name);
            }
        }
        at += component.len() + 1;
    }
    if normal.is_empty() {
        normal.push(b'/');
    }
    Ok(Normal {
        path: Cow::Owned(normal),
        directory,
    })
}
