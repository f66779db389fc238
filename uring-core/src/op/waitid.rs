//! Waiting for a child process: `waitid(2)`.

use super::result_of;
use crate::error::Error;
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Operation, Outcome};
use crate::sys::abi::{Sqe, code};

/// Which children to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Children {
    /// Any child.
    Any,
    /// The child of this process number.
    Pid(u32),
    /// Any child of this process group.
    Group(u32),
}

/// What became of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChildEvent {
    /// It exited with this status.
    Exited {
        /// Its process number, which may be another's from now on.
        pid: u32,
        /// The exit status.
        status: i32,
    },
    /// A signal ended it.
    Killed {
        /// Its process number, which may be another's from now on.
        pid: u32,
        /// The signal.
        signal: i32,
        /// Whether it left a core file.
        dumped: bool,
    },
    /// It was stopped, continued or trapped.
    Other {
        /// Its process number.
        pid: u32,
        /// `CLD_*` of `sigaction(2)`.
        code: i32,
        /// The signal.
        signal: i32,
    },
}

/// Waits for a child to end (Linux 6.7). Gives what became of it, and `None` when nothing did and it was not to wait.
pub struct WaitId {
    which: Children,
    options: i32,
    /// A `siginfo_t`, as integers so that it may go to another thread.
    info: [u64; 16],
}

const _: () = assert!(size_of::<libc::siginfo_t>() == 128 && align_of::<libc::siginfo_t>() <= 8);

impl std::fmt::Debug for WaitId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WaitId")
            .field("which", &self.which)
            .finish_non_exhaustive()
    }
}

impl WaitId {
    /// Waits for one of these children to end, and takes its process number back from it.
    pub fn new(which: Children) -> Self {
        Self {
            which,
            options: libc::WEXITED,
            info: [0; 16],
        }
    }

    /// Waits for other events, in the bits of `waitid(2)` (`WSTOPPED`, `WNOWAIT`, `WNOHANG`, ...).
    pub fn options(mut self, options: i32) -> Self {
        self.options = options;
        self
    }
}

impl Sealed for WaitId {}

// SAFETY: the entry names the `siginfo_t` inside the operation, which does not move.
unsafe impl Operation for WaitId {
    type Output = Result<Option<ChildEvent>, Error>;

    fn entry(&mut self) -> Sqe {
        let (kind, id) = match self.which {
            Children::Any => (libc::P_ALL, 0),
            Children::Pid(pid) => (libc::P_PID, pid),
            Children::Group(group) => (libc::P_PGID, group),
        };
        Sqe {
            len: kind,
            off: std::ptr::from_mut(&mut self.info) as u64,
            file_index: self.options as u32,
            ..Sqe::new(code::WAITID, id as i32)
        }
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        result_of(outcome, code::WAITID)?;
        // SAFETY: as large and aligned (asserted), and every bit pattern is one of its values.
        let info = unsafe { self.info.as_ptr().cast::<libc::siginfo_t>().read() };
        // SAFETY: the kernel has filled in the fields of a child's signal, or left all of them zero.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        if pid == 0 {
            return Ok(None);
        }
        let (pid, code) = (pid as u32, info.si_code);
        Ok(Some(match code {
            libc::CLD_EXITED => ChildEvent::Exited { pid, status },
            libc::CLD_KILLED | libc::CLD_DUMPED => ChildEvent::Killed {
                pid,
                signal: status,
                dumped: code == libc::CLD_DUMPED,
            },
            code => ChildEvent::Other {
                pid,
                code,
                signal: status,
            },
        }))
    }
}
