//! Times, readiness and children.

use super::*;

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
#[expect(clippy::zombie_processes, reason = "the ring waits for it: that is the test")]
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
