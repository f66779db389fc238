//! Files and streams through `AsyncRead` and its kin: what is kept, what is told, what survives a call that is given up.
#![cfg(all(feature = "tokio", feature = "futures-io", not(any(loom, shuttle))))]

use std::fs::File;
use std::future::Future;
use std::io::{self, Read as _, SeekFrom, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncSeekExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use uring_core::adapt::{AsyncFile, AsyncStream};
use uring_core::op::{Nop, Recv};
use uring_core::{LocalRing, Options};

const LONG: Duration = Duration::from_secs(10);

fn ring(depth: u32) -> LocalRing {
    LocalRing::with(&Options::new().depth(depth)).unwrap()
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut word = 0x9E37_79B9_7F4A_7C15u64;
    std::iter::repeat_with(|| {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (word >> 33) as u8
    })
    .take(bytes)
    .collect()
}

fn file_of(content: &[u8]) -> Arc<File> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    Arc::new(file)
}

fn content(file: &File) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let mut all = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut all, 0).unwrap();
    all
}

/// One poll by a task that nobody wakes.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future)
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

/// Turns a ring until nothing is in flight.
fn settle(ring: &LocalRing) {
    while ring.held() > 0 {
        ring.wait(1, LONG).unwrap();
    }
}

/// A file of bytes and a position, as simple as can be.
#[derive(Default)]
struct Oracle {
    bytes: Vec<u8>,
    position: usize,
}

impl Oracle {
    fn read(&mut self, most: usize) -> Vec<u8> {
        let start = self.position.min(self.bytes.len());
        let end = (start + most).min(self.bytes.len());
        let read = self.bytes[start..end].to_vec();
        self.position += read.len();
        read
    }

    fn write(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = self.position + bytes.len();
        self.bytes.resize(self.bytes.len().max(end), 0);
        self.bytes[self.position..end].copy_from_slice(bytes);
        self.position = end;
    }

    fn seek(&mut self, to: SeekFrom) -> Option<u64> {
        let position = match to {
            SeekFrom::Start(n) => Some(n),
            SeekFrom::Current(n) => (self.position as u64).checked_add_signed(n),
            SeekFrom::End(n) => (self.bytes.len() as u64).checked_add_signed(n),
        }?;
        self.position = position as usize;
        Some(position)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Read(usize),
    /// Begins a read and gives it up.
    GiveUp(usize),
    Write(usize),
    Flush,
    Seek(SeekFrom),
}

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    use proptest::prelude::*;
    let step = prop_oneof![
        (0usize..40).prop_map(Step::Read),
        (1usize..40).prop_map(Step::GiveUp),
        (0usize..40).prop_map(Step::Write),
        Just(Step::Flush),
        (0u64..120).prop_map(|n| Step::Seek(SeekFrom::Start(n))),
        (-60i64..60).prop_map(|n| Step::Seek(SeekFrom::Current(n))),
        (-60i64..20).prop_map(|n| Step::Seek(SeekFrom::End(n))),
    ];
    proptest::collection::vec(step, 1..40)
}

/// Runs the same steps on an adapter, through one family of traits, and on the oracle.
macro_rules! against_the_oracle {
    ($name:ident, $read:path, $write:path, $flush:path, $seek:path) => {
        async fn $name(steps: Vec<Step>, ring: &LocalRing) {
            let start = noise(100);
            let file = file_of(&start);
            let mut adapter = AsyncFile::with_capacity(16, ring, Arc::clone(&file));
            let mut oracle = Oracle {
                bytes: start,
                position: 0,
            };
            for (turn, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Read(most) => {
                        let mut buf = vec![0; most];
                        let count = $read(&mut adapter, &mut buf).await.unwrap();
                        assert!(count <= most && (count > 0 || oracle.read(most).is_empty()));
                        assert_eq!(&buf[..count], oracle.read(count));
                    }
                    Step::GiveUp(most) => {
                        let mut buf = vec![0; most];
                        if let Poll::Ready(count) = poll_once($read(&mut adapter, &mut buf)) {
                            let count = count.unwrap();
                            assert_eq!(&buf[..count], oracle.read(count));
                        }
                    }
                    Step::Write(bytes) => {
                        let bytes = vec![turn as u8; bytes];
                        let count = $write(&mut adapter, &bytes).await.unwrap();
                        assert_eq!(count, bytes.len().min(16));
                        oracle.write(&bytes[..count]);
                    }
                    Step::Flush => {
                        $flush(&mut adapter).await.unwrap();
                        assert_eq!(content(&file), oracle.bytes);
                    }
                    Step::Seek(to) => match $seek(&mut adapter, to).await {
                        Ok(position) => assert_eq!(Some(position), oracle.seek(to)),
                        Err(error) => {
                            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
                            assert_eq!(oracle.seek(to), None);
                        }
                    },
                }
                assert_eq!(adapter.position(), oracle.position as u64);
            }
            $flush(&mut adapter).await.unwrap();
            assert_eq!(content(&file), oracle.bytes);
        }
    };
}
against_the_oracle!(
    by_tokio,
    AsyncReadExt::read,
    AsyncWriteExt::write,
    AsyncWriteExt::flush,
    AsyncSeekExt::seek
);
against_the_oracle!(
    by_futures,
    futures_lite::AsyncReadExt::read,
    futures_lite::AsyncWriteExt::write,
    futures_lite::AsyncWriteExt::flush,
    futures_lite::AsyncSeekExt::seek
);

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn d7_adapters_keep_their_offset(steps in steps()) {
        let ring = ring(4);
        ring.block_on(by_tokio(steps.clone(), &ring)).unwrap();
        ring.block_on(by_futures(steps, &ring)).unwrap();
        settle(&ring);
    }
}

#[test]
fn d7_adapters_over_one_file_have_a_position_each_and_leave_the_files_own_alone() {
    let ring = ring(4);
    let bytes = noise(64);
    let file = file_of(&bytes);
    let own = |file: &File| (&*file).stream_position().unwrap();
    use std::io::Seek as _;
    let before = own(&file);
    let mut one = AsyncFile::new(&ring, Arc::clone(&file));
    let mut two = AsyncFile::new(&ring, Arc::clone(&file)).at(32);
    ring.block_on(async {
        let (mut a, mut b) = ([0; 8], [0; 8]);
        for turn in 0..4 {
            one.read_exact(&mut a).await.unwrap();
            two.read_exact(&mut b).await.unwrap();
            assert_eq!(
                (a, b),
                (
                    bytes[turn * 8..][..8].try_into().unwrap(),
                    bytes[32 + turn * 8..][..8].try_into().unwrap()
                )
            );
        }
    })
    .unwrap();
    assert_eq!(own(&file), before);
}

/// Beyond `i64::MAX` there are no positions, and the last number is the kernel's word for the descriptor's own.
#[test]
fn d7_a_position_that_no_file_has_is_refused_and_leaves_everything_where_it_was() {
    use std::io::Seek as _;
    const LAST: u64 = i64::MAX as u64;
    let ring = ring(4);
    let file = file_of(b"content");
    (&*file).seek(SeekFrom::Start(3)).unwrap();
    let refused = |error: io::Error| {
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("9223372036854775807"), "{error}");
    };
    ring.block_on(async {
        let mut adapter = AsyncFile::new(&ring, Arc::clone(&file));
        adapter.seek(SeekFrom::Start(2)).await.unwrap();
        for beyond in [u64::MAX, u64::MAX - 1, LAST + 1] {
            let to = SeekFrom::Start(beyond);
            refused(adapter.seek(to).await.unwrap_err());
            assert_eq!(
                (&*file).seek(to).unwrap_err().kind(),
                io::ErrorKind::InvalidInput,
                "std's answer"
            );
            assert_eq!(adapter.position(), 2);
        }
        refused(adapter.seek(SeekFrom::Current(i64::MAX)).await.unwrap_err());
        refused(adapter.seek(SeekFrom::End(i64::MAX)).await.unwrap_err());
        let before = adapter.seek(SeekFrom::Current(i64::MIN)).await.unwrap_err();
        assert!(before.to_string().contains("before the start"), "{before}");
        let mut buf = [0; 3];
        adapter.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"nte", "the position stayed");
        assert_eq!(adapter.seek(SeekFrom::Start(LAST)).await.unwrap(), LAST);
        refused(adapter.seek(SeekFrom::Current(1)).await.unwrap_err());
        for beyond in [u64::MAX, LAST + 1] {
            let mut adapter = AsyncFile::new(&ring, Arc::clone(&file)).at(beyond);
            refused(adapter.read(&mut buf).await.unwrap_err());
            refused(adapter.write(b"lost").await.unwrap_err());
            assert_eq!(adapter.position(), beyond);
            adapter.rewind().await.unwrap();
            adapter.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"con");
        }
        // The kernel's own limit: nothing is written, and the position comes back.
        let mut adapter = AsyncFile::new(&ring, Arc::clone(&file)).at(LAST);
        let written = match adapter.write(b"beyond the end").await {
            Ok(_) => adapter.flush().await,
            Err(error) => Err(error),
        };
        written.unwrap_err();
        assert_eq!(adapter.position(), LAST);
    })
    .unwrap();
    assert_eq!(
        ((&*file).stream_position().unwrap(), &content(&file)[..]),
        (3, &b"content"[..])
    );
}

#[test]
fn d7_a_read_that_is_given_up_loses_nothing() {
    let ring = ring(4);
    let (near, mut far) = UnixStream::pair().unwrap();
    let mut stream = AsyncStream::socket(&ring, Arc::new(near));
    let mut buf = [0; 4];
    assert!(poll_once(stream.read(&mut buf)).is_pending());
    ring.flush().unwrap();
    far.write_all(b"abcdefgh").unwrap();
    // The completion comes while nobody reads, and then a smaller read than the one given up.
    ring.wait(1, LONG).unwrap();
    let rest = ring.block_on(async {
        let mut first = [0; 1];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"a");
        let mut rest = [0; 7];
        stream.read_exact(&mut rest).await.unwrap();
        rest
    });
    assert_eq!(&rest.unwrap(), b"bcdefgh");
}

#[test]
fn d7_a_write_that_is_given_up_wrote_nothing() {
    let ring = ring(4);
    let (near, mut far) = UnixStream::pair().unwrap();
    let mut stream = AsyncStream::socket(&ring, Arc::new(near)).capacity(4096);
    let bytes = noise(1 << 20);
    let mut accepted = 0;
    // Until the socket is full and a write has to wait; that one is given up.
    loop {
        match poll_once(stream.write(&bytes[accepted..])) {
            Poll::Ready(count) => accepted += count.unwrap(),
            Poll::Pending if ring.wait(1, Duration::from_millis(50)).unwrap() == 0 => break,
            Poll::Pending => {}
        }
    }
    assert!(accepted > 4096 && accepted < bytes.len());
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        far.read_to_end(&mut all).unwrap();
        all
    });
    ring.block_on(async {
        stream.write_all(b"and then something else").await.unwrap();
        stream.shutdown().await.unwrap();
    })
    .unwrap();
    let all = reading.join().unwrap();
    assert_eq!(all.len(), accepted + 23);
    assert_eq!(&all[..accepted], &bytes[..accepted]);
    assert_eq!(&all[accepted..], b"and then something else");
}

#[test]
fn d7_flush_and_shutdown_wait_for_what_is_in_flight_and_tell_its_error_once() {
    let ring = ring(4);
    let full = Arc::new(File::options().write(true).open("/dev/full").unwrap());
    let mut file = AsyncFile::new(&ring, full);
    ring.block_on(async {
        for end in 0..3 {
            assert_eq!(file.write(b"lost").await.unwrap(), 4, "accepted before it fails");
            assert_eq!(file.position(), 4);
            let told = match end {
                0 => file.flush().await,
                1 => file.shutdown().await,
                _ => file.write(b"more").await.map(drop),
            };
            assert_eq!(told.unwrap_err().raw_os_error(), Some(libc::ENOSPC));
            assert_eq!(file.position(), 0, "what was lost does not count");
            file.flush().await.unwrap();
        }
        futures_lite::AsyncWriteExt::write(&mut file, b"lost")
            .await
            .unwrap();
        let told = futures_lite::AsyncWriteExt::close(&mut file).await;
        assert_eq!(told.unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    })
    .unwrap();
    // Waits: the bytes are there when flush returns, however many pieces they went in.
    let target = file_of(b"");
    let mut file = AsyncFile::with_capacity(1000, &ring, Arc::clone(&target));
    let bytes = noise(10_500);
    ring.block_on(async {
        file.write_all(&bytes).await.unwrap();
        file.flush().await.unwrap();
    })
    .unwrap();
    assert_eq!(content(&target), bytes);
}

#[test]
fn b9_a_peer_that_is_gone_is_an_error_and_no_signal() {
    let ring = ring(4);
    let (near, far) = UnixStream::pair().unwrap();
    drop(far);
    let mut stream = AsyncStream::socket(&ring, Arc::new(near));
    ring.block_on(async {
        stream.write_all(b"into the void").await.unwrap();
        // A reader meets the error first: it is kept for who writes.
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(
            stream.flush().await.unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
        stream.flush().await.unwrap();
        stream.shutdown().await.unwrap();
    })
    .unwrap();
}

#[test]
fn d7_shutdown_ends_one_direction_and_the_other_goes_on() {
    let ring = ring(4);
    let (near, mut far) = UnixStream::pair().unwrap();
    let mut stream = AsyncStream::socket(&ring, Arc::new(near));
    ring.block_on(async {
        stream.write_all(b"question").await.unwrap();
        stream.shutdown().await.unwrap();
    })
    .unwrap();
    let mut asked = String::new();
    far.read_to_string(&mut asked).unwrap();
    assert_eq!(asked, "question");
    far.write_all(b"answer").unwrap();
    drop(far);
    let mut answer = String::new();
    ring.block_on(stream.read_to_string(&mut answer))
        .unwrap()
        .unwrap();
    assert_eq!(answer, "answer");
}

#[test]
fn b9_a_full_ring_makes_a_call_wait_and_wakes_it() {
    let ring = ring(1);
    let ((a, mut far_a), (b, far_b)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    let mut reader = AsyncStream::socket(&ring, Arc::new(a));
    let mut writer = AsyncStream::socket(&ring, Arc::new(b));
    let mut first = [0; 2];
    assert!(poll_once(reader.read_exact(&mut first)).is_pending());
    let refused = ring.submit(Nop::new()).expect_err("the only slot is taken");
    assert!(refused.error.is_retryable());
    let waking = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        far_a.write_all(b"go").unwrap();
        far_a
    });
    ring.block_on(futures_lite::future::zip(
        async {
            writer.write_all(b"waited").await.unwrap();
            writer.shutdown().await.unwrap();
        },
        async {
            reader.read_exact(&mut first).await.unwrap();
            assert_eq!(&first, b"go");
            // The slot is contended for again and again.
            for _ in 0..10 {
                ring.run(Nop::new())
                    .await
                    .or_else(|e| e.is_retryable().then_some(()).ok_or(e))
                    .unwrap();
            }
        },
    ))
    .unwrap();
    waking.join().unwrap();
    let mut got = String::new();
    (&far_b).read_to_string(&mut got).unwrap();
    assert_eq!(got, "waited");
}

#[test]
fn d7_a_descriptor_that_does_not_block_is_waited_for() {
    let ring = ring(4);
    let (near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let mut stream = AsyncStream::socket(&ring, Arc::new(near));
    let bytes = noise(2 << 20);
    let expected = bytes.clone();
    let echo = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(10));
        let mut all = vec![0; 2 << 20];
        (&far).read_exact(&mut all).unwrap();
        (&far).write_all(&all).unwrap();
    });
    let back = ring.block_on(async {
        stream.write_all(&bytes).await.unwrap();
        let mut back = vec![0; bytes.len()];
        // No flush: reading sees to what is still to be written.
        stream.read_exact(&mut back).await.unwrap();
        back
    });
    assert!(back.unwrap() == expected);
    echo.join().unwrap();
}

#[test]
fn d7_both_halves_of_a_stream_work_in_tasks_of_their_own() {
    let ring = ring(8);
    let (near, far) = UnixStream::pair().unwrap();
    let near = AsyncStream::socket(&ring, Arc::new(near)).capacity(777);
    let far = AsyncStream::socket(&ring, Arc::new(far)).capacity(1234);
    let bytes = noise(400_000);
    let (mut near_in, mut near_out) = tokio::io::split(near);
    let (mut far_in, mut far_out) = tokio::io::split(far);
    async fn send(out: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
        out.write_all(bytes).await.unwrap();
        out.shutdown().await.unwrap();
    }
    async fn receive(from: &mut (impl AsyncRead + Unpin), bytes: &[u8]) {
        let mut all = Vec::new();
        from.read_to_end(&mut all).await.unwrap();
        assert!(all == bytes);
    }
    // Each half in a task with a waker of its own, all at once.
    let mut tasks: Vec<Pin<Box<dyn Future<Output = ()>>>> = vec![
        Box::pin(send(&mut near_out, &bytes)),
        Box::pin(receive(&mut near_in, &bytes)),
        Box::pin(send(&mut far_out, &bytes)),
        Box::pin(receive(&mut far_in, &bytes)),
    ];
    let flags: Vec<Arc<Flag>> = tasks.iter().map(|_| Arc::new(Flag(true.into()))).collect();
    let mut left = tasks.len();
    let mut idle = 0;
    while left > 0 {
        for (task, flag) in tasks.iter_mut().zip(&flags) {
            if flag.0.swap(false, std::sync::atomic::Ordering::SeqCst) {
                let waker = Waker::from(Arc::clone(flag));
                if task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                    left -= 1;
                    *task = Box::pin(std::future::pending());
                }
            }
        }
        idle = if ring.wait(1, Duration::from_secs(1)).unwrap() == 0 {
            idle + 1
        } else {
            0
        };
        assert!(
            idle < 5 || left == 0,
            "a wake-up was lost: {left} tasks wait for ever"
        );
    }
}

/// A waker that notes that it was woken.
struct Flag(std::sync::atomic::AtomicBool);

impl std::task::Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

#[test]
fn d7_a_dropped_adapter_leaves_its_buffer_to_the_ring() {
    let ring = ring(4);
    let (near, far) = UnixStream::pair().unwrap();
    let near = Arc::new(near);
    let mut stream = AsyncStream::socket(&ring, Arc::clone(&near));
    assert!(poll_once(stream.read(&mut [0; 64])).is_pending());
    ring.flush().unwrap();
    drop(stream);
    assert_eq!(ring.held(), 1, "the kernel still has it");
    assert_eq!(Arc::strong_count(&near), 2);
    settle(&ring);
    assert_eq!(Arc::strong_count(&near), 1);
    drop(far);
}

#[test]
fn d7_a_short_read_is_no_end_and_an_end_is_one() {
    let ring = ring(4);
    let (near, mut far) = UnixStream::pair().unwrap();
    let mut stream = AsyncStream::socket(&ring, Arc::new(near));
    far.write_all(b"one\ntwo\nthr").unwrap();
    let lines = ring.block_on(async {
        let mut lines = Vec::new();
        let mut line = String::new();
        while stream.read_line(&mut line).await.unwrap() > 0 {
            lines.push(std::mem::take(&mut line));
            if lines.len() == 2 {
                far.write_all(b"ee\n").unwrap();
                far.shutdown(std::net::Shutdown::Write).unwrap();
            }
        }
        // The end stays the end; a read of nothing is none.
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(stream.read(&mut []).await.unwrap(), 0);
        lines
    });
    assert_eq!(lines.unwrap(), ["one\n", "two\n", "three\n"]);
}

#[test]
fn b9_pipes_carry_more_than_they_hold() {
    let ring = ring(4);
    let (from, to) = io::pipe().unwrap();
    let mut from = AsyncStream::pipe(&ring, Arc::new(from));
    let mut to = AsyncStream::pipe(&ring, Arc::new(to));
    let bytes = noise(300_000);
    let mut all = Vec::new();
    ring.block_on(futures_lite::future::zip(
        async {
            to.write_all(&bytes).await.unwrap();
            to.shutdown().await.unwrap();
            drop(to);
        },
        async { from.read_to_end(&mut all).await.unwrap() },
    ))
    .unwrap();
    assert!(all == bytes);
}

#[test]
fn d7_a_registered_file_is_read_and_says_what_it_cannot() {
    let ring = ring(4);
    let bytes = noise(500);
    let fixed = ring.register_file(&*file_of(&bytes)).unwrap();
    let mut file = AsyncFile::new(&ring, fixed).at(100);
    ring.block_on(async {
        let mut all = Vec::new();
        file.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, &bytes[100..]);
        let refused = file.seek(SeekFrom::End(0)).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
        assert!(refused.to_string().contains("seek from the start"));
        assert_eq!(file.position(), 500);
    })
    .unwrap();
}

#[test]
fn d7_what_a_ring_refuses_for_good_is_an_error() {
    let (one, two) = (ring(2), ring(2));
    let fixed = one.register_file(&*file_of(b"x")).unwrap();
    let mut file = AsyncFile::new(&two, fixed);
    let refused = two.block_on(async { (file.read(&mut [0; 1]).await, file.write(b"y").await) });
    let (read, written) = refused.unwrap();
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(file.position(), 0);
}

#[test]
fn b9_a_short_receive_is_what_came_and_the_rest_comes_next() {
    let ring = ring(2);
    let (near, mut far) = UnixStream::pair().unwrap();
    let near = Arc::new(near);
    far.write_all(b"abc").unwrap();
    let (count, buf) = ring
        .block_on(ring.run(Recv::new(Arc::clone(&near), vec![0; 64])))
        .unwrap();
    assert_eq!((count, &buf[..3]), (Ok(3), &b"abc"[..]));
    far.write_all(b"defg").unwrap();
    let (count, buf) = ring.block_on(ring.run(Recv::new(near, vec![0; 2]))).unwrap();
    assert_eq!((count, &buf[..]), (Ok(2), &b"de"[..]));
}

/// The poll of `read` with a buffer that is partly filled appends.
#[test]
fn d7_a_partly_filled_read_buffer_is_appended_to() {
    let ring = ring(2);
    let mut file = AsyncFile::new(&ring, file_of(b"tail"));
    let mut space = *b"head----";
    let mut buf = ReadBuf::new(&mut space);
    buf.set_filled(4);
    ring.block_on(std::future::poll_fn(|cx| {
        Pin::new(&mut file).poll_read(cx, &mut buf)
    }))
    .unwrap()
    .unwrap();
    assert_eq!(buf.filled(), b"headtail");
    assert!(file.get_ref().as_raw_fd() >= 0);
}
