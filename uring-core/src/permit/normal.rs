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

/// Whether every component stands after one slash, is neither `.` nor `..`, and no byte is zero.
fn is_normal(path: &[u8]) -> bool {
    let ends_well = path.len() == 1 || path.last() != Some(&b'/');
    ends_well && (!looks_odd(path) || components_are_names(path))
}

/// Whether there is a zero byte, or a slash before a slash or a dot: false for most paths, at sixteen bytes a step.
#[inline]
fn looks_odd(path: &[u8]) -> bool {
    const STEP: usize = 16;
    let odd = |before: u8, byte: u8| (byte == 0) | ((before == b'/') & ((byte == b'/') | (byte == b'.')));
    let (befores, bytes) = (&path[..path.len() - 1], &path[1..]);
    let (Some(last_befores), Some(last_bytes)) = (befores.last_chunk::<STEP>(), bytes.last_chunk::<STEP>())
    else {
        return befores
            .iter()
            .zip(bytes)
            .any(|(&before, &byte)| odd(before, byte));
    };
    // Without a way out within a step, so that it is done for all sixteen at once.
    let step = |befores: &[u8; STEP], bytes: &[u8; STEP]| {
        let pairs = befores.iter().zip(bytes);
        pairs.fold(0, |any, (&before, &byte)| any | u8::from(odd(before, byte))) != 0
    };
    let (steps, _) = bytes.as_chunks::<STEP>();
    let (steps_before, _) = befores.as_chunks::<STEP>();
    steps_before
        .iter()
        .zip(steps)
        .any(|(befores, bytes)| step(befores, bytes))
        || step(last_befores, last_bytes)
}

/// The same as [`is_normal`], exactly and byte by byte, for a path with an odd look: a name may begin with a dot.
#[cold]
fn components_are_names(path: &[u8]) -> bool {
    let names = || path[1..].split(|&byte| byte == b'/');
    path.len() == 1 || (!path.contains(&0) && names().all(|name| !matches!(name, b"" | b"." | b"..")))
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
