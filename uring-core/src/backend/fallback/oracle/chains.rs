//! Chains, limits and cancellations.

use super::*;

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

/// What a kernel has and the fallback has not is told apart from nonsense.
#[test]
fn d7_operation_that_the_fallback_lacks_is_unsupported() {
    let wish = wish();
    let mut rig = Rig {
        carrier: Box::new(Fallback::new(&wish, 1, 0, Vec::new()).unwrap()),
    };
    for lacking in [code::MSG_RING, code::FUTEX_WAIT, code::FUTEX_WAKE] {
        assert_eq!(rig.all(&[entry(lacking, 0, 1)], 1), [(1, -libc::EOPNOTSUPP, 0)]);
    }
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
