//! What is asked of both twins: the same calls in the same order, over the same files, paths and rules.

use crate::Invalid;
use std::sync::{Arc, Mutex};

pub(super) const PROCESSES: u32 = 256;
pub(super) const OPEN: u32 = 32;
pub(super) const FILES: usize = 64;
const FILE_BYTES: usize = 16 << 10;

/// A file in memory. Its own lock is no subject here: both twins pay it alike.
pub(super) struct File {
    bytes: Mutex<Box<[u8]>>,
}

impl File {
    pub(super) fn all() -> Vec<Arc<Self>> {
        let file = |n: usize| {
            let bytes: Box<[u8]> = (0..FILE_BYTES).map(|at| (at * 31 + n) as u8).collect();
            Arc::new(Self {
                bytes: Mutex::new(bytes),
            })
        };
        (0..FILES).map(file).collect()
    }

    /// Copies a range to the end of `to`.
    pub(super) fn read(&self, at: usize, bytes: usize, to: &mut Vec<u8>) {
        let from = self.bytes.lock().expect("nobody panics");
        to.extend_from_slice(&from[at..at + bytes]);
    }

    /// Writes what stands there already, so that every order of calls leaves the same file.
    pub(super) fn write(&self, at: usize, data: &mut [u8]) {
        let mut to = self.bytes.lock().expect("nobody panics");
        data.copy_from_slice(&to[at..at + data.len()]);
        to[at..at + data.len()].copy_from_slice(data);
    }
}

/// What a call looks a process up for.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) user: u64,
}

impl Process {
    pub(super) fn nth(pid: u32) -> Self {
        Self {
            user: u64::from(pid % 7),
        }
    }
}

/// What may be opened: the first rule that a path begins with decides, and without one it may not.
pub(super) struct Rule {
    prefix: String,
    allowed: bool,
}

pub(super) fn rules() -> Vec<Rule> {
    let rule = |n: usize| Rule {
        prefix: format!("/srv/tenant{:02}/", n),
        allowed: !n.is_multiple_of(5),
    };
    (0..24).map(rule).collect()
}

pub(super) fn allowed(rules: &[Rule], path: &str) -> bool {
    rules
        .iter()
        .find(|rule| path.starts_with(&rule.prefix))
        .is_some_and(|rule| rule.allowed)
}

pub(super) fn paths() -> Vec<String> {
    (0..28)
        .map(|n| format!("/srv/tenant{n:02}/data/segment-{n}.log"))
        .collect()
}

/// A call, as a syscall layer in user space would see it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Call {
    /// Copy bytes of an open file into a fresh result.
    Read {
        pid: u32,
        fd: u32,
        at: usize,
        bytes: usize,
    },
    /// Copy bytes of a result into an open file.
    Write {
        pid: u32,
        fd: u32,
        at: usize,
        bytes: usize,
    },
    /// Ask whether a process may open a path.
    Check { pid: u32, path: usize },
    /// Ask, open at the lowest free number, close.
    Open { pid: u32, path: usize },
    /// Read a descriptor that nobody has: an error with its text.
    Missing { pid: u32, fd: u32 },
    /// Read all statistics.
    Statistics,
    /// Replace a process in the map.
    Replace { pid: u32 },
}

/// The `n`th call of a thread: nine of ten only read what is shared.
pub(super) fn call(thread: usize, n: u64) -> Call {
    let mut random = (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (thread as u64) << 40;
    random ^= random >> 29;
    random = random.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    random ^= random >> 32;
    let pid = (random >> 8) as u32 % PROCESSES;
    let fd = (random >> 20) as u32 % OPEN;
    let bytes = [64, 256, 256, 1024, 4096, 512, 128, 2048][(random >> 28) as usize % 8];
    let at = (random >> 33) as usize % (FILE_BYTES - bytes);
    let path = (random >> 44) as usize;
    match random % 1000 {
        0..550 => Call::Read { pid, fd, at, bytes },
        550..650 => Call::Write { pid, fd, at, bytes },
        650..800 => Call::Check { pid, path },
        800..850 => Call::Open { pid, path },
        850..930 => Call::Missing {
            pid,
            fd: OPEN + 7 + fd,
        },
        930..999 => Call::Statistics,
        _ => Call::Replace { pid },
    }
}

/// What both twins do, each with what it is made of.
pub(super) trait Twin: Sync {
    /// What a thread keeps to itself.
    type Session<'t>
    where
        Self: 't;

    fn session(&self) -> Self::Session<'_>;

    /// Makes a call; the number depends on everything that the call found, and is the same in both twins.
    fn call(&self, session: &mut Self::Session<'_>, call: Call) -> u64;
}

/// The floor: what is read and written, and nothing of what is looked up, counted or allocated for it.
pub(super) struct Copies(Vec<Arc<File>>);

impl Copies {
    pub(super) fn new() -> Self {
        Self(File::all())
    }
}

impl Twin for Copies {
    type Session<'t> = Vec<u8>;

    fn session(&self) -> Vec<u8> {
        Vec::new()
    }

    fn call(&self, buffer: &mut Vec<u8>, call: Call) -> u64 {
        buffer.clear();
        match call {
            Call::Read { pid, fd, at, bytes } => {
                self.0[(pid * 7 + fd) as usize % FILES].read(at, bytes, buffer)
            }
            Call::Write { pid, fd, at, bytes } => {
                buffer.resize(bytes, 0);
                self.0[(pid * 7 + fd) as usize % FILES].write(at, buffer);
            }
            _ => {}
        }
        digest(buffer)
    }
}

/// Both twins must answer alike before either is measured.
pub(super) fn answer_alike(a: &impl Twin, b: &impl Twin) -> Result<(), Invalid> {
    let (mut with_a, mut with_b) = (a.session(), b.session());
    for n in 0..4_000 {
        let call = call(0, n);
        let (x, y) = (a.call(&mut with_a, call), b.call(&mut with_b, call));
        if x != y {
            return Err(Invalid(format!("call {n}, {call:?}: {x} and {y}")));
        }
    }
    Ok(())
}

/// What a result is worth to who asked: its length, its first byte and its last.
pub(super) fn digest(bytes: &[u8]) -> u64 {
    match bytes {
        [] => 0,
        [first, .., last] => bytes.len() as u64 + (u64::from(*first) << 16) + (u64::from(*last) << 24),
        [only] => 1 + (u64::from(*only) << 16),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Locked, Ours};
    use super::*;

    #[test]
    fn c17_both_twins_answer_every_kind_of_call_alike() {
        let kinds: std::collections::BTreeSet<_> = (0..4_000)
            .map(|n| format!("{:?}", call(0, n)).split(' ').next().map(str::to_owned))
            .collect();
        assert_eq!(kinds.len(), 7, "{kinds:?}");
        answer_alike(&Ours::new(), &Locked::new()).expect("they answer alike");
    }

    #[test]
    fn a_twin_that_answers_otherwise_is_noticed() {
        struct Wrong(Locked);
        impl Twin for Wrong {
            type Session<'t> = ();
            fn session(&self) {}
            fn call(&self, session: &mut (), call: Call) -> u64 {
                self.0.call(session, call) + u64::from(matches!(call, Call::Replace { .. }))
            }
        }
        assert!(answer_alike(&Ours::new(), &Wrong(Locked::new())).is_err());
    }
}
