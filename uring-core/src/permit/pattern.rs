//! What a rule or a mount is written as, and why one is refused.

use super::glob::Glob;
use super::normal::LONGEST;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The paths that a rule speaks of.
///
/// Absolute, in normal spelling, compared byte by byte: case counts, nothing is decoded. On a filesystem that folds case, allow what
/// is meant and deny the rest, for no list of what is denied is ever complete there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    pub(super) kind: Kind,
    pub(super) text: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Exact,
    Prefix,
    Glob,
}

impl Pattern {
    /// One path. Neither what lies beneath it nor `path` with another ending.
    pub fn exact(path: impl AsRef<Path>) -> Self {
        Self::new(Kind::Exact, path.as_ref())
    }

    /// A path and all beneath it: `/srv` is a prefix of `/srv` and `/srv/a`, not of `/srvx`.
    pub fn prefix(path: impl AsRef<Path>) -> Self {
        Self::new(Kind::Prefix, path.as_ref())
    }

    /// Paths by wildcards, all of the path and not a part of it.
    ///
    /// | part | matches |
    /// |---|---|
    /// | `**`, as a whole component | any number of components, none among them: `/a/**` matches `/a`, `/a/b`, `/a/b/c` |
    /// | `*` | any run of bytes within a component, a leading dot too |
    /// | `?` | one byte within a component |
    /// | `[a-c_]`, `[!a-c_]` | one of these ASCII bytes; any byte but these |
    /// | `\*` | the byte after the `\` as it is |
    pub fn glob(pattern: impl AsRef<Path>) -> Self {
        Self::new(Kind::Glob, pattern.as_ref())
    }

    fn new(kind: Kind, path: &Path) -> Self {
        Self {
            kind,
            text: path.as_os_str().as_bytes().into(),
        }
    }

    /// Checks and compiles.
    pub(super) fn compiled(&self) -> Result<Matcher, (usize, Cause)> {
        check(&self.text, self.kind)?;
        Ok(match self.kind {
            Kind::Exact => Matcher::Exact(self.text.clone()),
            Kind::Prefix => Matcher::Prefix(self.text.clone()),
            Kind::Glob => Matcher::Glob(Glob::new(&self.text)?),
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown(&self.text).fmt(f)
    }
}

/// A pattern, compiled.
#[derive(Clone, Debug)]
pub(super) enum Matcher {
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Glob(Glob),
}

impl Matcher {
    /// Whether a normal path is meant.
    #[inline]
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        match self {
            Matcher::Exact(one) => one.len() == path.len() && same(one, path),
            Matcher::Prefix(prefix) => beneath(prefix, path).is_some(),
            Matcher::Glob(glob) => glob.matches(path),
        }
    }
}

/// What of a normal path lies beneath a normal prefix, without the slash before it; `None` if it does not.
#[inline]
pub(super) fn beneath<'p>(prefix: &[u8], path: &'p [u8]) -> Option<&'p [u8]> {
    if prefix.len() == 1 {
        return Some(&path[1..]);
    }
    let (start, rest) = path.split_at_checked(prefix.len())?;
    let rest = match rest {
        [] => rest,
        [b'/', rest @ ..] => rest,
        _ => return None,
    };
    same(prefix, start).then_some(rest)
}

/// Whether two slices of one length hold the same, eight bytes a step and without a call: paths are short.
#[inline(always)]
fn same(one: &[u8], other: &[u8]) -> bool {
    let (Some(last), Some(other_last)) = (one.last_chunk::<8>(), other.last_chunk::<8>()) else {
        return one == other;
    };
    let (words, _) = one.as_chunks::<8>();
    let (other_words, _) = other.as_chunks::<8>();
    last == other_last && words.iter().zip(other_words).all(|(word, other)| word == other)
}

/// A pattern that was refused: which, where, why, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPattern {
    /// `"rule"` or `"mount"`.
    pub of: &'static str,
    /// Its number, counted from 0 in the order in which it was added.
    pub index: usize,
    /// The pattern as it was given.
    pub pattern: Box<[u8]>,
    /// The byte at which the fault lies.
    pub at: usize,
    /// The fault.
    pub cause: Cause,
}

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            of,
            index,
            pattern,
            at,
            cause,
        } = self;
        write!(f, "{of} {index}, {}, byte {at}: {cause}", Shown(pattern))
    }
}

impl std::error::Error for BadPattern {}

/// What is wrong with a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Nothing in it.
    Empty,
    /// No slash at its beginning.
    Relative,
    /// Longer than any path.
    TooLong,
    /// A zero byte, which no path has.
    Zero,
    /// Two slashes side by side.
    EmptyComponent,
    /// A slash at its end.
    TrailingSlash,
    /// A component `.` or `..`, which no normal path has.
    Dots,
    /// `**` with something beside it in its component.
    DeepInComponent,
    /// `[` without `]`.
    ClassOpen,
    /// `[]` or `[!]`.
    ClassEmpty,
    /// A range whose end lies before its beginning.
    RangeReversed,
    /// A class that names a byte beyond ASCII, where one character is several bytes.
    ClassNotAscii,
    /// `\` at the end of a component.
    EscapesNothing,
    /// The same as an earlier mount, which would never be reached.
    Repeated {
        /// The earlier one.
        first: usize,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Empty => "it is empty; write `/` for everything",
            Cause::Relative => "it is not absolute; begin it with `/`",
            Cause::TooLong => "it is longer than any path; shorten it to 4095 bytes",
            Cause::Zero => "a zero byte, which no path has; leave it out",
            Cause::EmptyComponent => "two slashes side by side match nothing; write one",
            Cause::TrailingSlash => "a slash at the end matches nothing; leave it out",
            Cause::Dots => {
                "`.` and `..` match nothing, for paths are judged without them; write the path that is meant"
            }
            Cause::DeepInComponent => "`**` is a component of its own; write `*` here, or `/**/`",
            Cause::ClassOpen => "`[` has no `]`; close it, or write `\\[` for the byte",
            Cause::ClassEmpty => "a class of nothing; name a byte in it, `]` as `\\]`",
            Cause::RangeReversed => "the range ends before it begins; write the lower byte first",
            Cause::ClassNotAscii => {
                "a class names bytes, and this character is several; write a rule for each"
            }
            Cause::EscapesNothing => "`\\` has nothing after it; write `\\\\` for the byte",
            Cause::Repeated { first } => {
                return write!(f, "mount {first} is the same and comes first; leave one out");
            }
        })
    }
}

/// Checks what holds for every kind. In a glob, `.` and `..` are found by its own reading, which knows escapes.
pub(super) fn check(text: &[u8], kind: Kind) -> Result<(), (usize, Cause)> {
    match text {
        [] => return Err((0, Cause::Empty)),
        [b'/'] => return Ok(()),
        [b'/', ..] => {}
        _ => return Err((0, Cause::Relative)),
    }
    if text.len() > LONGEST {
        return Err((LONGEST, Cause::TooLong));
    }
    if let Some(at) = text.iter().position(|&byte| byte == 0) {
        return Err((at, Cause::Zero));
    }
    let mut at = 1;
    for component in text[1..].split(|&byte| byte == b'/') {
        match component {
            b"" if at == text.len() => return Err((at - 1, Cause::TrailingSlash)),
            b"" => return Err((at, Cause::EmptyComponent)),
            b"." | b".." if kind != Kind::Glob => return Err((at, Cause::Dots)),
            _ => {}
        }
        at += component.len() + 1;
    }
    Ok(())
}

/// Bytes that strangers chose, for a message: quoted, control characters and what is no ASCII escaped, and past 256 bytes
/// the rest counted.
pub(super) struct Shown<'b>(pub(super) &'b [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 256;
        let shown = &self.0[..self.0.len().min(MOST)];
        write!(f, "`{}`", shown.escape_ascii())?;
        match self.0.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, " and {more} bytes more"),
        }
    }
}
