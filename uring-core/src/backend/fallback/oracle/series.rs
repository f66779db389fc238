//! Series of completions, and the buffers that they pick.

use super::*;

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

/// A cancellation that comes while a thread is in the accept: the series ends with what that brings, and does not go on.
#[test]
fn d7_cancellation_that_meets_a_thread_ends_the_series() {
    agree(|rig| {
        for series in [abi::ACCEPT_MULTISHOT, 0] {
            for _ in 0..100 {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let clients = [(); 2].map(|()| TcpStream::connect(listener.local_addr().unwrap()).unwrap());
                let accept = Sqe {
                    ioprio: series,
                    ..entry(code::ACCEPT, listener.as_raw_fd(), 1)
                };
                rig.send(&[accept, cancel(1, 0, -1, 2)]);
                let mut over = 0;
                while over < 2 {
                    let came = rig.some(1);
                    assert!(!came.is_empty(), "the series neither goes on nor ends");
                    for cqe in came {
                        over += usize::from(cqe.flags & abi::CQE_MORE == 0);
                        if cqe.result > 2 {
                            // SAFETY: the operation just brought it.
                            drop(unsafe { OwnedFd::from_raw_fd(cqe.result) });
                        }
                    }
                }
                drop(clients);
            }
        }
        rig.nothing();
    });
}
