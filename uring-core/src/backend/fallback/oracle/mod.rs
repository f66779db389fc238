//! The kernel as the oracle: the same entries on io_uring and on the fallback give the same completions.

mod chains;
mod files;
mod series;
mod streams;
mod time;

use super::blocking::{POLL_REMOVE, TIMEOUT_REMOVE};
use super::clock;
use crate::backend::{Backend, Fallback, LOT, Uring};
use crate::sys::abi::{self, Cqe, Sqe, code};
use crate::sys::ladder::Wish;
use io_uring::opcode;
use std::ffi::CString;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const HARD_LINK: u8 = 1 << 3;
const CANCEL_OP: u32 = 1 << 5;

/// A carrier under test, and what it lets be compared.
struct Rig {
    carrier: Box<dyn Backend>,
}

impl Rig {
    /// Passes entries on together and gives so many completions, by `user_data` and then in their order.
    fn all(&mut self, entries: &[Sqe], want: usize) -> Vec<(u64, i32, u32)> {
        self.send(entries);
        self.collect(want)
    }

    fn send(&mut self, entries: &[Sqe]) {
        for entry in entries {
            assert!(self.carrier.push(entry));
        }
        let passed = self.carrier.enter(0, None).unwrap();
        assert_eq!(passed as usize, entries.len());
    }

    /// Waits for at least so many completions and gives all that came.
    fn some(&mut self, want: usize) -> Vec<Cqe> {
        let mut got: Vec<Cqe> = Vec::new();
        for _ in 0..2000 {
            let mut lot = [Cqe::default(); LOT];
            let count = self.carrier.drain(&mut lot);
            got.extend(&lot[..count]);
            if got.len() >= want {
                break;
            }
            self.carrier.enter(1, Some(Duration::from_millis(5))).unwrap();
        }
        got
    }

    fn collect(&mut self, want: usize) -> Vec<(u64, i32, u32)> {
        let mut got = self.some(want);
        assert_eq!(got.len(), want, "{got:?}");
        got.sort_by_key(|cqe| cqe.user_data);
        // Whether more lies in a socket is a hint that a carrier need not give.
        let seen = |cqe: Cqe| (cqe.user_data, cqe.result, cqe.flags & !abi::CQE_SOCK_NONEMPTY);
        got.into_iter().map(seen).collect()
    }

    /// Nothing comes that was not asked for.
    fn nothing(&mut self) {
        self.carrier.enter(1, Some(Duration::from_millis(2))).unwrap();
        assert_eq!(self.carrier.drain(&mut [Cqe::default(); LOT]), 0);
    }
}

fn wish() -> Wish {
    Wish {
        sq_entries: 64,
        cq_entries: 256,
        movable: false,
        sqpoll_idle_ms: None,
        highest: None,
    }
}

/// Runs a scenario on both and compares what it saw; on the fallback alone where io_uring is refused.
fn agree<R: PartialEq + std::fmt::Debug>(scenario: impl Fn(&mut Rig) -> R) {
    let wish = wish();
    let fallback = scenario(&mut Rig {
        carrier: Box::new(Fallback::new(&wish, 8, 2, Vec::new()).unwrap()),
    });
    match Uring::new(&wish, 8, 2) {
        Ok(uring) => {
            let kernel = scenario(&mut Rig {
                carrier: Box::new(uring),
            });
            assert_eq!(fallback, kernel, "left: the fallback, right: the kernel");
        }
        Err(refused) => eprintln!("not compared: {refused}"),
    }
}

fn entry(opcode: u8, fd: i32, user_data: u64) -> Sqe {
    Sqe {
        user_data,
        ..Sqe::new(opcode, fd)
    }
}

fn nop(user_data: u64) -> Sqe {
    entry(code::NOP, -1, user_data)
}

fn linked(mut sqe: Sqe, flags: u8) -> Sqe {
    sqe.flags |= flags;
    sqe
}

fn read(fd: i32, buf: &mut [u8], off: u64, user_data: u64) -> Sqe {
    Sqe {
        addr: buf.as_mut_ptr() as u64,
        len: buf.len() as u32,
        off,
        ..entry(code::READ, fd, user_data)
    }
}

fn write(fd: i32, buf: &[u8], off: u64, user_data: u64) -> Sqe {
    Sqe {
        addr: buf.as_ptr() as u64,
        len: buf.len() as u32,
        off,
        ..entry(code::WRITE, fd, user_data)
    }
}

fn sleep(time: &[i64; 2], user_data: u64) -> Sqe {
    Sqe {
        addr: time.as_ptr() as u64,
        len: 1,
        ..entry(code::TIMEOUT, -1, user_data)
    }
}

fn limit(time: &[i64; 2], user_data: u64) -> Sqe {
    Sqe {
        opcode: code::LINK_TIMEOUT,
        ..sleep(time, user_data)
    }
}

fn cancel(of: u64, flags: u32, fd: i32, user_data: u64) -> Sqe {
    Sqe {
        addr: of,
        op_flags: flags,
        ..entry(code::ASYNC_CANCEL, fd, user_data)
    }
}

fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}

const SHORT: [i64; 2] = [0, 3_000_000];
const LONG: [i64; 2] = [3600, 0];

fn pipe() -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: writes two descriptors.
    assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    // SAFETY: just made.
    unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) }
}
