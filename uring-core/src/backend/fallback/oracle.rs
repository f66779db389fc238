//! The kernel as the oracle: the same entries on io_uring and on the fallback give the same completions.

use super::super::{Backend, Fallback, LOT, Uring};
use super::blocking::{POLL_REMOVE, TIMEOUT_REMOVE};
use super::clock;
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

    fn collect(&mut self, want: usize) -> Vec<(u64, i32, u32)> {
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

/// Runs a scenario on both and compares what it saw; on the fallback alone where io_uring is refused.
fn agree<R: PartialEq + std::fmt::Debug>(scenario: impl Fn(&mut Rig) -> R) {
    let wish = Wish {
        sq_entries: 64,
        cq_entries: 256,
        movable: false,
        sqpoll_idle_ms: None,
        highest: None,
    };
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

#[test]
fn d7_entry_that_no_kernel_knows_is_invalid() {
    agree(|rig| {
        let odd = Sqe {
            len: 2,
            ..sleep(&SHORT, 2)
        };
        let unknown_flag = linked(nop(3), 1 << 7);
        let loose_limit = limit(&LONG, 4);
        rig.all(&[entry(200, -1, 1)], 1);
        let unknown = rig.all(&[odd], 1);
        let bad = rig.all(&[loose_limit], 1);
        let closed = rig.all(&[read(9999, &mut [0; 4], 0, 5)], 1);
        let no_slot = rig.all(&[linked(read(3, &mut [0; 4], 0, 6), abi::SQE_FIXED_FILE)], 1);
        let flag = rig.all(&[unknown_flag], 1);
        (unknown, bad, closed, no_slot, flag)
    });
}

#[test]
fn d2_chain_runs_in_order_and_breaks_at_a_failure() {
    agree(|rig| {
        let content = file(b"abcdef");
        let fd = content.as_raw_fd();
        let link = abi::SQE_IO_LINK;
        let mut buf = [0u8; 6];
        let whole = rig.all(
            &[
                linked(write(fd, b"ABC", 0, 1), link),
                linked(read(fd, &mut buf, 0, 2), link),
                nop(3),
            ],
            3,
        );
        assert_eq!(&buf, b"ABCdef", "the read came after the write");
        let mut long = [0u8; 64];
        let short = rig.all(
            &[
                linked(read(fd, &mut long, 0, 1), link),
                linked(nop(2), link),
                nop(3),
            ],
            3,
        );
        let failed = rig.all(&[linked(read(-1, &mut long, 0, 1), link), nop(2)], 2);
        let hard = rig.all(
            &[
                linked(read(fd, &mut long, 0, 1), HARD_LINK),
                linked(nop(2), link),
                nop(3),
            ],
            3,
        );
        let two_chains = rig.all(
            &[
                linked(read(-1, &mut long, 0, 1), link),
                nop(2),
                linked(nop(3), link),
                nop(4),
            ],
            4,
        );
        (whole, short, failed, hard, two_chains)
    });
}

#[test]
fn d2_chain_ends_with_the_batch() {
    agree(|rig| {
        let first = rig.all(&[linked(nop(1), abi::SQE_IO_LINK)], 1);
        let second = rig.all(&[limit(&LONG, 2)], 1);
        (first, second)
    });
}

#[test]
fn d7_limit_ends_what_it_is_linked_to_and_is_called_off_by_its_end() {
    agree(|rig| {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut buf = [0u8; 8];
        let link = abi::SQE_IO_LINK;
        let slow = rig.all(
            &[
                linked(read(near.as_raw_fd(), &mut buf, 0, 1), link),
                limit(&SHORT, 2),
            ],
            2,
        );
        far.write_all(b"now").unwrap();
        let mut three = [0u8; 3];
        let fast = rig.all(
            &[
                linked(read(near.as_raw_fd(), &mut three, 0, 1), link),
                linked(limit(&LONG, 2), link),
                nop(3),
            ],
            3,
        );
        (slow, fast)
    });
}

#[test]
fn d7_cancellation_answers_as_the_kernel_does() {
    agree(|rig| {
        let (near, _far) = UnixStream::pair().unwrap();
        let fd = near.as_raw_fd();
        let mut bufs = [[0u8; 8]; 4];
        let nobody = rig.all(&[cancel(77, 0, -1, 9)], 1);
        rig.send(&[sleep(&LONG, 1)]);
        let one = rig.all(&[cancel(1, 0, -1, 9)], 2);
        let [a, b, c, d] = &mut bufs;
        rig.send(&[read(fd, a, 0, 1), read(fd, b, 0, 2), sleep(&LONG, 3)]);
        let all_on_fd = rig.all(&[cancel(0, abi::CANCEL_FD | abi::CANCEL_ALL, fd, 9)], 3);
        rig.send(&[read(fd, c, 0, 4)]);
        let first_on_fd = rig.all(&[cancel(0, abi::CANCEL_FD, fd, 9)], 2);
        rig.send(&[read(fd, d, 0, 5)]);
        let by_op = Sqe {
            len: u32::from(code::READ),
            ..cancel(0, CANCEL_OP | abi::CANCEL_ALL, -1, 9)
        };
        let by_op = rig.all(&[by_op], 2);
        let rest = rig.all(&[cancel(0, abi::CANCEL_ANY, -1, 9)], 2);
        let none = rig.all(&[cancel(0, abi::CANCEL_ANY, -1, 9)], 1);
        rig.nothing();
        (nobody, one, all_on_fd, first_on_fd, by_op, rest, none)
    });
}

#[test]
fn d7_timeouts_are_updated_removed_and_repeated() {
    agree(|rig| {
        let remove = |of, user_data| Sqe {
            addr: of,
            ..entry(TIMEOUT_REMOVE, -1, user_data)
        };
        rig.send(&[sleep(&LONG, 1), sleep(&LONG, 2)]);
        let removed = rig.all(&[remove(1, 8)], 2);
        let gone = rig.all(&[remove(1, 8)], 1);
        let update = Sqe {
            off: SHORT.as_ptr() as u64,
            op_flags: 1 << 1,
            ..remove(2, 9)
        };
        let updated = rig.all(&[update], 2);
        let three_times = Sqe {
            op_flags: clock::MULTISHOT,
            off: 3,
            ..sleep(&SHORT, 3)
        };
        let repeated = rig.all(&[three_times], 3);
        let past = [1i64, 0];
        let absolute = Sqe {
            op_flags: clock::ABSOLUTE,
            ..sleep(&past, 4)
        };
        let absolute = rig.all(&[absolute], 1);
        let success = Sqe {
            op_flags: clock::SUCCESS,
            ..sleep(&SHORT, 5)
        };
        let link = abi::SQE_IO_LINK;
        let chained = rig.all(&[linked(success, link), nop(6)], 2);
        let broken = rig.all(&[linked(sleep(&SHORT, 5), link), nop(6)], 2);
        let (overfull, negative) = ([0i64, 1_000_000_001], [-1i64, 0]);
        let bad = (
            rig.all(&[sleep(&overfull, 7)], 1),
            rig.all(&[sleep(&negative, 8)], 1),
        );
        rig.nothing();
        (removed, gone, updated, repeated, absolute, chained, broken, bad)
    });
}

#[test]
fn d7_polls_tell_events_once_again_and_are_removed() {
    agree(|rig| {
        let (near, mut far) = UnixStream::pair().unwrap();
        let fd = near.as_raw_fd();
        let poll = |events: i16, len, user_data| Sqe {
            op_flags: u32::from(events as u16),
            len,
            ..entry(code::POLL_ADD, fd, user_data)
        };
        let writable = rig.all(&[poll(libc::POLLOUT, 0, 1)], 1);
        rig.send(&[poll(libc::POLLIN, 0, 2)]);
        rig.nothing();
        far.write_all(b"a").unwrap();
        let readable = rig.collect(1);
        (&near).read_exact(&mut [0]).unwrap();
        rig.send(&[poll(libc::POLLIN, abi::POLL_MULTISHOT, 3)]);
        far.write_all(b"b").unwrap();
        let first = rig.collect(1);
        rig.nothing();
        far.write_all(b"c").unwrap();
        let second = rig.collect(1);
        let remove = Sqe {
            addr: 3,
            ..entry(POLL_REMOVE, -1, 9)
        };
        let removed = rig.all(&[remove], 2);
        rig.send(&[poll(0, 0, 4)]);
        drop(far);
        let hung_up = rig.collect(1);
        let on_file = file(b"x");
        let file_poll = Sqe {
            fd: on_file.as_raw_fd(),
            ..poll(libc::POLLIN, 0, 5)
        };
        let always = rig.all(&[file_poll], 1);
        (writable, readable, first, second, removed, hung_up, always)
    });
}

#[test]
fn d7_position_of_the_file_moves_only_without_an_offset() {
    agree(|rig| {
        let mut content = file(b"0123456789");
        content.rewind().unwrap();
        let fd = content.as_raw_fd();
        let (mut a, mut b, mut c) = ([0u8; 3], [0u8; 3], [0u8; 8]);
        let first = rig.all(&[read(fd, &mut a, u64::MAX, 1)], 1);
        let at = rig.all(&[read(fd, &mut b, 7, 1)], 1);
        let second = rig.all(&[read(fd, &mut c, u64::MAX, 1)], 1);
        let end = rig.all(&[read(fd, &mut [0; 4], u64::MAX, 1)], 1);
        let written = rig.all(&[write(fd, b"xy", u64::MAX, 1)], 1);
        let place = content.stream_position().unwrap();
        (first, at, second, end, written, place, a, b, c)
    });
}

#[test]
fn d7_several_buffers_are_read_and_written_in_one_go() {
    agree(|rig| {
        let content = file(b"");
        let (near, far) = UnixStream::pair().unwrap();
        let (x, y) = (b"hello ".to_vec(), b"world".to_vec());
        let vector = |bytes: &[u8]| libc::iovec {
            iov_base: bytes.as_ptr() as *mut _,
            iov_len: bytes.len(),
        };
        let out = [vector(&x), vector(&y)];
        let (a, b) = ([0u8; 4], [0u8; 16]);
        let into = [vector(&a), vector(&b)];
        let several = |opcode, fd, vectors: &[libc::iovec], user_data| Sqe {
            addr: vectors.as_ptr() as u64,
            len: vectors.len() as u32,
            ..entry(opcode, fd, user_data)
        };
        let (fd, end) = (content.as_raw_fd(), near.as_raw_fd());
        let to_file = rig.all(&[several(code::WRITEV, fd, &out, 1)], 1);
        let from_file = rig.all(&[several(code::READV, fd, &into, 2)], 1);
        let read_back = (a, b);
        let to_socket = rig.all(&[several(code::WRITEV, end, &out, 3)], 1);
        let from_socket = rig.all(&[several(code::READV, far.as_raw_fd(), &into, 4)], 1);
        // Written behind the compiler's back.
        (
            to_file,
            from_file,
            std::hint::black_box(read_back),
            to_socket,
            from_socket,
        )
    });
}

#[test]
fn b9_paths_are_made_told_about_renamed_linked_and_removed() {
    agree(|rig| {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| CString::new(dir.path().join(name).to_str().unwrap()).unwrap();
        let (a, b, c, d) = (path("a"), path("b"), path("c"), path("d"));
        let at = |name: &CString| name.as_ptr() as u64;
        let cwd = |opcode, user_data| entry(opcode, libc::AT_FDCWD, user_data);
        // SAFETY: plain numbers.
        let mut about: libc::statx = unsafe { std::mem::zeroed() };
        let steps = [
            Sqe {
                addr: at(&a),
                len: 0o700,
                ..cwd(opcode::MkDirAt::CODE, 1)
            },
            Sqe {
                addr: at(&a),
                len: 0o700,
                ..cwd(opcode::MkDirAt::CODE, 2)
            },
            Sqe {
                addr: at(&a),
                off: at(&b),
                len: libc::AT_FDCWD as u32,
                ..cwd(opcode::RenameAt::CODE, 3)
            },
            Sqe {
                addr: at(&b),
                off: at(&c),
                ..cwd(opcode::SymlinkAt::CODE, 4)
            },
            Sqe {
                addr: at(&c),
                off: at(&d),
                len: libc::AT_FDCWD as u32,
                ..cwd(opcode::LinkAt::CODE, 5)
            },
            Sqe {
                addr: at(&b),
                off: (&raw mut about) as u64,
                len: libc::STATX_BASIC_STATS,
                ..cwd(opcode::Statx::CODE, 6)
            },
            Sqe {
                addr: at(&c),
                ..cwd(opcode::UnlinkAt::CODE, 7)
            },
            Sqe {
                addr: at(&c),
                ..cwd(opcode::UnlinkAt::CODE, 8)
            },
            Sqe {
                addr: at(&b),
                op_flags: libc::AT_REMOVEDIR as u32,
                ..cwd(opcode::UnlinkAt::CODE, 9)
            },
        ];
        let told: Vec<_> = steps.iter().map(|step| rig.all(&[*step], 1)).collect();
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        (told, left, about.stx_mode & 0o170_000)
    });
}

#[test]
fn b9_space_length_and_advice_of_a_file() {
    agree(|rig| {
        let content = file(b"12345");
        let fd = content.as_raw_fd();
        let page = vec![0u8; 8192];
        let aligned = (page.as_ptr() as u64).next_multiple_of(4096);
        let told: Vec<_> = [
            Sqe {
                off: 0,
                addr: 4096,
                ..entry(opcode::Fallocate::CODE, fd, 1)
            },
            Sqe {
                off: 3,
                ..entry(opcode::Ftruncate::CODE, fd, 2)
            },
            Sqe {
                len: 3,
                op_flags: libc::POSIX_FADV_WILLNEED as u32,
                ..entry(opcode::Fadvise::CODE, fd, 3)
            },
            Sqe {
                addr: aligned,
                len: 4096,
                op_flags: libc::MADV_NORMAL as u32,
                ..entry(opcode::Madvise::CODE, -1, 4)
            },
            Sqe {
                len: 3,
                ..entry(opcode::SyncFileRange::CODE, fd, 5)
            },
            Sqe {
                op_flags: 1,
                ..entry(code::FSYNC, fd, 6)
            },
            entry(code::FSYNC, fd, 7),
        ]
        .iter()
        .map(|step| rig.all(&[*step], 1))
        .collect();
        (told, content.metadata().unwrap().len())
    });
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: writes two descriptors.
    assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    // SAFETY: just made.
    unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) }
}

#[test]
fn b9_data_moves_through_pipes() {
    agree(|rig| {
        let content = file(b"through the pipe");
        let (from, to) = pipe();
        let (from_two, to_two) = pipe();
        let splice = Sqe {
            file_index: content.as_raw_fd() as u32,
            addr: 8,
            off: u64::MAX,
            len: 8,
            ..entry(code::SPLICE, to.as_raw_fd(), 1)
        };
        let spliced = rig.all(&[splice], 1);
        let tee = Sqe {
            file_index: from.as_raw_fd() as u32,
            len: 3,
            ..entry(code::TEE, to_two.as_raw_fd(), 2)
        };
        let teed = rig.all(&[tee], 1);
        let (mut whole, mut part) = ([0u8; 16], [0u8; 16]);
        let read_whole = rig.all(&[read(from.as_raw_fd(), &mut whole, 0, 3)], 1);
        let read_part = rig.all(&[read(from_two.as_raw_fd(), &mut part, u64::MAX, 4)], 1);
        rig.send(&[read(from.as_raw_fd(), &mut [0; 4], 0, 5)]);
        rig.nothing();
        drop(to);
        let end = rig.collect(1);
        (spliced, teed, read_whole, read_part, whole, part, end)
    });
}

#[test]
fn b9_descriptors_that_do_not_block_wait_all_the_same() {
    agree(|rig| {
        let (from, to) = pipe();
        // SAFETY: no memory.
        unsafe { libc::fcntl(from.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        let mut buf = [0u8; 4];
        rig.send(&[read(from.as_raw_fd(), &mut buf, 0, 1)]);
        rig.nothing();
        let wrote = rig.all(&[write(to.as_raw_fd(), b"data", 0, 2)], 2);
        // SAFETY: makes a descriptor.
        let event = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_CLOEXEC)) };
        let mut count = [0u8; 8];
        rig.send(&[read(event.as_raw_fd(), &mut count, 0, 3)]);
        rig.nothing();
        let rung = rig.all(&[write(event.as_raw_fd(), &7u64.to_ne_bytes(), 0, 4)], 2);
        (wrote, rung, buf, count)
    });
}

#[test]
fn d7_full_pipe_takes_a_part_and_waits_with_the_rest() {
    agree(|rig| {
        let (mut from, to) = {
            let (from, to) = pipe();
            (File::from(from), to)
        };
        let large = vec![7u8; 100_000];
        let part = rig.all(&[write(to.as_raw_fd(), &large, 0, 1)], 1);
        rig.send(&[write(to.as_raw_fd(), b"next", 0, 2)]);
        rig.nothing();
        from.read_exact(&mut vec![0; 65_536]).unwrap();
        let next = rig.collect(1);
        drop(from);
        let broken = rig.all(&[write(to.as_raw_fd(), b"gone", 0, 3)], 1);
        (part, next, broken)
    });
}

#[test]
fn d7_zero_copy_send_has_a_result_and_a_notification() {
    agree(|rig| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let payload = b"zero copy".to_vec();
        let send = |opcode, user_data| Sqe {
            addr: payload.as_ptr() as u64,
            len: payload.len() as u32,
            op_flags: libc::MSG_NOSIGNAL as u32,
            ..entry(opcode, near.as_raw_fd(), user_data)
        };
        rig.send(&[send(code::SEND_ZC, 1)]);
        let mut got = [0u8; 9];
        far.read_exact(&mut got).unwrap();
        let zero_copy = rig.collect(2);
        let plain = rig.all(&[send(code::SEND, 2)], 1);
        (zero_copy, plain, got)
    });
}

#[test]
fn b9_waiting_for_all_of_it_takes_pieces_as_they_come() {
    agree(|rig| {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut buf = [0u8; 8];
        let receive = Sqe {
            addr: buf.as_mut_ptr() as u64,
            len: 8,
            op_flags: libc::MSG_WAITALL as u32,
            ..entry(code::RECV, near.as_raw_fd(), 1)
        };
        rig.send(&[receive]);
        far.write_all(b"first").unwrap();
        rig.nothing();
        far.write_all(b"end").unwrap();
        let whole = rig.collect(1);
        rig.send(&[receive]);
        far.write_all(b"part").unwrap();
        rig.nothing();
        drop(far);
        let part = rig.collect(1);
        let no_wait = Sqe {
            op_flags: libc::MSG_DONTWAIT as u32,
            ..receive
        };
        let (idle, _kept) = UnixStream::pair().unwrap();
        let again = rig.all(
            &[Sqe {
                fd: idle.as_raw_fd(),
                ..no_wait
            }],
            1,
        );
        (whole, part, again, buf)
    });
}

#[test]
fn b9_sockets_are_made_bound_connected_and_shut_down() {
    agree(|rig| {
        let made = |rig: &mut Rig| {
            let socket = Sqe {
                off: (libc::SOCK_STREAM | libc::SOCK_CLOEXEC) as u64,
                ..entry(opcode::Socket::CODE, libc::AF_INET, 1)
            };
            let told = rig.all(&[socket], 1);
            // SAFETY: the operation just brought it.
            unsafe { OwnedFd::from_raw_fd(told[0].1) }
        };
        let (server, client) = (made(rig), made(rig));
        // SAFETY: plain numbers.
        let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        address.sin_family = libc::AF_INET as u16;
        address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
        let mut len = size_of_val(&address) as libc::socklen_t;
        let bind = Sqe {
            addr: (&raw const address) as u64,
            off: u64::from(len),
            ..entry(opcode::Bind::CODE, server.as_raw_fd(), 2)
        };
        let listen = Sqe {
            len: 4,
            ..entry(opcode::Listen::CODE, server.as_raw_fd(), 3)
        };
        let told = (rig.all(&[bind], 1), rig.all(&[listen], 1));
        // SAFETY: room for one address, whose size is told.
        unsafe { libc::getsockname(server.as_raw_fd(), (&raw mut address).cast(), &mut len) };
        let connect = Sqe {
            addr: (&raw const address) as u64,
            off: u64::from(len),
            ..entry(code::CONNECT, client.as_raw_fd(), 4)
        };
        let connected = rig.all(&[connect], 1);
        let twice = rig.all(&[connect], 1);
        let accepted = rig.all(&[entry(code::ACCEPT, server.as_raw_fd(), 5)], 1);
        // SAFETY: the operation just brought it.
        let peer = unsafe { OwnedFd::from_raw_fd(accepted[0].1) };
        let shut = Sqe {
            len: libc::SHUT_WR as u32,
            ..entry(opcode::Shutdown::CODE, client.as_raw_fd(), 6)
        };
        let shut = rig.all(&[shut], 1);
        let end = rig.all(&[read(peer.as_raw_fd(), &mut [0; 4], 0, 7)], 1);
        drop(server);
        let refused = made(rig);
        let refused = rig.all(
            &[Sqe {
                fd: refused.as_raw_fd(),
                ..connect
            }],
            1,
        );
        (told, connected, twice, shut, end, refused)
    });
}

#[test]
fn e2_files_come_into_slots_and_leave_them() {
    agree(|rig| {
        let content = file(b"registered");
        rig.carrier.set_file(0, content.as_raw_fd()).unwrap();
        let fixed = |mut sqe: Sqe| {
            sqe.flags |= abi::SQE_FIXED_FILE;
            sqe
        };
        drop(content);
        let mut buf = [0u8; 10];
        let kept = rig.all(&[fixed(read(0, &mut buf, 0, 1))], 1);
        let path = CString::new("/proc/self/exe").unwrap();
        let open = |slot: u32, user_data| Sqe {
            addr: path.as_ptr() as u64,
            file_index: slot + 1,
            ..entry(code::OPENAT, libc::AT_FDCWD, user_data)
        };
        let opened = rig.all(&[open(3, 2)], 1);
        let magic = rig.all(&[fixed(read(3, &mut buf[..4], 0, 3))], 1);
        let outside = rig.all(&[open(500, 4)], 1);
        let close = |slot: u32| Sqe {
            file_index: slot + 1,
            ..entry(code::CLOSE, 0, 5)
        };
        let closed = rig.all(&[close(3)], 1);
        let closed_twice = rig.all(&[close(3)], 1);
        let gone = rig.all(&[fixed(read(3, &mut buf[..4], 0, 6))], 1);
        let installed = rig.all(&[fixed(entry(code::FIXED_FD_INSTALL, 0, 7))], 1);
        // SAFETY: the operation just brought it.
        drop(unsafe { OwnedFd::from_raw_fd(installed[0].1) });
        (kept, opened, magic, outside, closed, closed_twice, gone, buf)
    });
}

#[test]
fn e1_registered_buffer_is_kept_to_its_bounds() {
    agree(|rig| {
        let content = file(b"registered buffer");
        let fd = content.as_raw_fd();
        let mut memory = vec![0u8; 8192];
        let range = libc::iovec {
            iov_base: memory.as_mut_ptr().cast(),
            iov_len: 4096,
        };
        // SAFETY: the memory outlives the rig.
        unsafe { rig.carrier.set_buffer(0, Some(range)) }.unwrap();
        let start = memory.as_ptr() as u64;
        let read = |addr, len, index, user_data| Sqe {
            addr,
            len,
            buf_index: index,
            ..entry(code::READ_FIXED, fd, user_data)
        };
        let inside = rig.all(&[read(start + 8, 17, 0, 1)], 1);
        let last = rig.all(&[read(start + 4080, 16, 0, 2)], 1);
        let beyond = rig.all(&[read(start + 4080, 17, 0, 3)], 1);
        let before = rig.all(&[read(start - 1, 4, 0, 4)], 1);
        let no_such = rig.all(&[read(start, 4, 1, 5)], 1);
        (inside, last, beyond, before, no_such, memory[8..25].to_vec())
    });
}

/// A ring of provided buffers, filled once.
struct Buffers {
    entries: pooled_vec::AlignedBuf,
    memory: Vec<u8>,
    each: usize,
}

impl Buffers {
    fn new(count: u16, each: usize) -> Self {
        let mut this = Self {
            entries: pooled_vec::AlignedBuf::new(usize::from(count) * 16).unwrap(),
            memory: vec![0; usize::from(count) * each],
            each,
        };
        for id in 0..count {
            let at = usize::from(id) * 16;
            let addr = this.memory.as_ptr() as u64 + (usize::from(id) * each) as u64;
            this.entries[at..at + 8].copy_from_slice(&addr.to_ne_bytes());
            this.entries[at + 8..at + 12].copy_from_slice(&(each as u32).to_ne_bytes());
            this.entries[at + 12..at + 14].copy_from_slice(&id.to_ne_bytes());
        }
        this.set_tail(count);
        this
    }

    fn set_tail(&mut self, tail: u16) {
        self.entries[14..16].copy_from_slice(&tail.to_ne_bytes());
    }

    fn register(&self, rig: &mut Rig, group: u16, flags: u16) -> std::io::Result<()> {
        let start = self.entries.as_non_null().as_ptr() as u64;
        let count = (self.memory.len() / self.each) as u16;
        // SAFETY: the entries outlive the rig: each scenario drops its ring of buffers after its last completion, and
        // nothing is in flight then.
        unsafe { rig.carrier.register_buf_ring(start, count, group, flags) }
    }

    /// The bytes that a completion brought.
    fn bytes(&self, (_, moved, flags): (u64, i32, u32)) -> Vec<u8> {
        let id = (flags >> 16) as usize;
        self.memory[id * self.each..][..moved as usize].to_vec()
    }
}

#[test]
fn d7_series_of_receives_picks_buffers_ends_without_them_and_goes_on_anew() {
    agree(|rig| {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut buffers = Buffers::new(2, 16);
        buffers.register(rig, 3, 0).unwrap();
        let receive = Sqe {
            flags: abi::SQE_BUFFER_SELECT,
            ioprio: abi::RECV_MULTISHOT,
            buf_index: 3,
            ..entry(code::RECV, near.as_raw_fd(), 1)
        };
        rig.send(&[receive]);
        far.write_all(b"one").unwrap();
        let first = rig.collect(1);
        let one = buffers.bytes(first[0]);
        far.write_all(b"two").unwrap();
        let second = rig.collect(1);
        far.write_all(b"three").unwrap();
        let out = rig.collect(1);
        let at_once = rig.all(&[receive], 1);
        // Both buffers are provided again.
        buffers.set_tail(4);
        rig.send(&[receive]);
        let third = rig.collect(1);
        let three = buffers.bytes(third[0]);
        drop(far);
        let end = rig.collect(1);
        let nowhere = rig.all(
            &[Sqe {
                buf_index: 9,
                ..receive
            }],
            1,
        );
        (first, second, out, at_once, third, end, nowhere, one, three)
    });
}

#[test]
fn d7_buffers_in_pieces_are_filled_one_after_the_other() {
    agree(|rig| {
        let (near, mut far) = UnixStream::pair().unwrap();
        let buffers = Buffers::new(2, 8);
        if let Err(refused) = buffers.register(rig, 0, abi::BUF_RING_INCREMENTAL) {
            eprintln!("not compared: {refused}");
            return vec![];
        }
        let receive = Sqe {
            flags: abi::SQE_BUFFER_SELECT,
            ioprio: abi::RECV_MULTISHOT,
            buf_index: 0,
            ..entry(code::RECV, near.as_raw_fd(), 1)
        };
        rig.send(&[receive]);
        let mut told = Vec::new();
        for piece in [&b"abc"[..], b"de", b"fgh", b"next"] {
            far.write_all(piece).unwrap();
            told.extend(rig.collect(1));
        }
        assert_eq!(&buffers.memory, b"abcdefghnext\0\0\0\0");
        drop(far);
        told.extend(rig.collect(1));
        told
    });
}

#[test]
fn d7_series_of_reads_of_a_pipe_picks_buffers_and_refuses_a_file() {
    agree(|rig| {
        let (from, to) = pipe();
        let mut to = File::from(to);
        let buffers = Buffers::new(4, 8);
        buffers.register(rig, 0, 0).unwrap();
        let series = |fd, user_data| Sqe {
            flags: abi::SQE_BUFFER_SELECT,
            off: u64::MAX,
            buf_index: 0,
            ..entry(code::READ_MULTISHOT, fd, user_data)
        };
        rig.send(&[series(from.as_raw_fd(), 1)]);
        to.write_all(b"ab").unwrap();
        let first = rig.collect(1);
        to.write_all(b"cd").unwrap();
        let second = rig.collect(1);
        let bytes = (buffers.bytes(first[0]), buffers.bytes(second[0]));
        let cancelled = rig.all(&[cancel(1, 0, -1, 9)], 2);
        let content = file(b"no stream");
        let refused = rig.all(&[series(content.as_raw_fd(), 2)], 1);
        (first, second, bytes, cancelled, refused)
    });
}

#[test]
fn e2_any_slot_is_handed_out_until_none_is_left() {
    agree(|rig| {
        if let Err(refused) = rig.carrier.direct_slots() {
            eprintln!("not compared: {refused}");
            return vec![];
        }
        let path = CString::new("/proc/self/exe").unwrap();
        let open = Sqe {
            addr: path.as_ptr() as u64,
            file_index: abi::FILE_INDEX_ALLOC,
            ..entry(code::OPENAT, libc::AT_FDCWD, 1)
        };
        let mut told = Vec::new();
        for _ in 0..3 {
            told.extend(rig.all(&[open], 1));
        }
        let slot = told[0].1 as u32;
        let close = Sqe {
            file_index: slot + 1,
            ..entry(code::CLOSE, 0, 2)
        };
        told.extend(rig.all(&[close], 1));
        told.extend(rig.all(&[open], 1));
        let mut magic = [0u8; 4];
        told.extend(rig.all(
            &[linked(read(slot as i32, &mut magic, 0, 3), abi::SQE_FIXED_FILE)],
            1,
        ));
        assert_eq!(&magic, b"\x7fELF");
        told
    });
}

#[test]
fn b9_series_of_accepts_brings_a_descriptor_each() {
    agree(|rig| {
        for blocks in [true, false] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(!blocks).unwrap();
            let accept = Sqe {
                ioprio: abi::ACCEPT_MULTISHOT,
                ..entry(code::ACCEPT, listener.as_raw_fd(), 1)
            };
            rig.send(&[accept]);
            for _ in 0..3 {
                let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let came = rig.collect(1)[0];
                assert!(came.1 >= 0 && came.2 == abi::CQE_MORE, "{came:?}");
                // SAFETY: the operation just brought it.
                let mut server = unsafe { TcpStream::from_raw_fd(came.1) };
                server.write_all(b"hi").unwrap();
                client.read_exact(&mut [0; 2]).unwrap();
            }
            assert_eq!(
                rig.all(&[cancel(1, 0, -1, 2)], 2),
                [(1, -libc::ECANCELED, 0), (2, 0, 0)]
            );
        }
    });
}

#[test]
fn b9_full_queue_of_a_unix_listener_is_waited_for() {
    agree(|rig| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        // SAFETY: no memory.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let _fills = UnixStream::connect(&path).unwrap();
        // SAFETY: makes a descriptor.
        let late = unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)) };
        // SAFETY: plain numbers.
        let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        address.sun_family = libc::AF_UNIX as u16;
        for (to, from) in address.sun_path.iter_mut().zip(path.to_str().unwrap().bytes()) {
            *to = from as _;
        }
        let connect = Sqe {
            addr: (&raw const address) as u64,
            off: size_of_val(&address) as u64,
            ..entry(code::CONNECT, late.as_raw_fd(), 1)
        };
        rig.send(&[connect]);
        rig.nothing();
        listener.accept().unwrap();
        rig.collect(1)
    });
}

#[test]
fn d7_child_is_waited_for_and_the_wait_called_off() {
    agree(|rig| {
        let child = || {
            std::process::Command::new("cat")
                .stdin(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        };
        let mut waited = child();
        // SAFETY: plain numbers.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let wait = |pid: u32, info: &mut libc::siginfo_t, user_data| Sqe {
            len: libc::P_PID,
            off: std::ptr::from_mut(info) as u64,
            file_index: libc::WEXITED as u32,
            ..entry(code::WAITID, pid as i32, user_data)
        };
        rig.send(&[wait(waited.id(), &mut info, 1)]);
        rig.nothing();
        let called_off = rig.all(&[cancel(1, 0, -1, 2)], 2);
        // Some kernels count what they cancelled here.
        let called_off = (called_off[0], called_off[1].1 >= 0);
        rig.send(&[wait(waited.id(), &mut info, 3)]);
        drop(waited.stdin.take());
        let ended = rig.collect(1);
        // SAFETY: filled in by the completed wait.
        let told = unsafe { info.si_pid() } == waited.id() as i32;
        let nobody = rig.all(&[wait(waited.id(), &mut info, 4)], 1);
        (called_off, ended, told, nobody)
    });
}
