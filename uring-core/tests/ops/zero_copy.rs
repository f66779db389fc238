//! Zero-copy sends: the buffer is the network's until the notification.

use super::drive::*;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use uring_core::op::{Send, SendMsg};
use uring_core::{ErrorKind, Options};

#[test]
fn d7_zero_copy_send_gives_its_buffer_back_with_the_notification_and_not_before() {
    let ring = ring(4);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    let payload: Vec<u8> = (0..32_768u32).map(|i| i as u8).collect();
    let token = ring.submit(Send::new(near, payload.clone()).zero_copy()).unwrap();
    ring.flush().unwrap();
    let mut got = vec![0; payload.len()];
    far.read_exact(&mut got).unwrap();
    let (sent, buf) = ring.finish(token, LONG).unwrap();
    assert_eq!(
        sent,
        Ok(payload.len()),
        "the result is the first completion's, not the notification's"
    );
    assert_eq!((got, buf), (payload.clone(), payload));
    assert_eq!(ring.stats().counts().stale, 0);
}

/// The count of what was abandoned is the process's: the tests that read it run one at a time.
static ABANDONING: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn wait_for_the_reaper() {
    let mut rounds = 0;
    while uring_core::totals().abandoned.sum() != 0 {
        rounds += 1;
        assert!(
            rounds < 1000,
            "{} never freed",
            uring_core::totals().abandoned.sum()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Zero-copy sends to a peer that does not read: the network holds the buffers for as long as the socket lives. The ring
/// gives up at its deadline, the reaper waits on, and frees when the socket is closed.
#[test]
fn d7_what_a_dropped_ring_cannot_get_back_is_freed_by_the_reaper_and_not_before() {
    let _alone = ABANDONING.lock().unwrap_or_else(|e| e.into_inner());
    use std::sync::atomic::{AtomicUsize, Ordering};
    struct Counted(Box<[u8]>, Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }
    // SAFETY: the box's block stays where it is.
    unsafe impl uring_core::buffer::IoBuf for Counted {
        fn stable_ptr(&self) -> *const u8 {
            self.0.as_ptr()
        }
        fn bytes_init(&self) -> usize {
            self.0.len()
        }
    }
    let options = Options::new().depth(32).drain_limit(Duration::from_millis(50));
    let ring = uncounted(&options);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = Arc::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    let (far, _) = listener.accept().unwrap();
    let drops = Arc::new(AtomicUsize::new(0));
    for _ in 0..16 {
        let buf = Counted(vec![1; 1 << 20].into(), Arc::clone(&drops));
        let _ = ring
            .submit(Send::new(Arc::clone(&near), buf).zero_copy())
            .unwrap();
    }
    ring.flush().unwrap();
    drop(ring);
    let held = 16 - drops.load(Ordering::SeqCst);
    assert_eq!(uring_core::totals().abandoned.sum(), held as i64);
    assert!(held > 0, "a peer that does not read leaves sends unfinished");
    drop((near, far));
    let mut rounds = 0;
    while drops.load(Ordering::SeqCst) < 16 {
        rounds += 1;
        assert!(rounds < 1000, "{} of 16 freed", drops.load(Ordering::SeqCst));
        std::thread::sleep(Duration::from_millis(10));
    }
    wait_for_the_reaper();
}

/// The operation must not hold open the very socket whose end releases its buffer.
#[test]
fn d7_unfinished_zero_copy_send_lets_go_of_its_socket() {
    let _alone = ABANDONING.lock().unwrap_or_else(|e| e.into_inner());
    let options = Options::new().depth(32).drain_limit(Duration::from_millis(50));
    let ring = uncounted(&options);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = Arc::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    let (far, _) = listener.accept().unwrap();
    for _ in 0..16 {
        let _ = ring
            .submit(Send::new(Arc::clone(&near), vec![1; 1 << 20]).zero_copy())
            .unwrap();
    }
    ring.flush().unwrap();
    drop(ring);
    let left = Arc::strong_count(&near);
    assert_eq!(left, 1, "what is left are buffers, not descriptors");
    drop((near, far));
    wait_for_the_reaper();
}

#[test]
fn b9_zero_copy_is_chosen_from_the_size_that_was_asked_for() {
    let (a, _b) = UnixStream::pair().unwrap();
    let a = Arc::new(a);
    let chosen = |bytes| {
        Send::new(Arc::clone(&a), vec![0u8; bytes])
            .zero_copy_from(4096)
            .is_zero_copy()
    };
    assert_eq!((chosen(4095), chosen(4096)), (false, true));
    let ring = clean(&Options::new());
    let (sent, back) = done(&ring, Send::new(Arc::clone(&a), vec![1u8; 8]).zero_copy());
    assert_eq!(
        sent.unwrap_err().kind(),
        ErrorKind::Unsupported,
        "a Unix socket copies"
    );
    assert_eq!(back, [1; 8]);
}

#[test]
fn b9_zero_copy_from_a_registered_buffer_and_of_a_message_arrive_whole() {
    let ring = clean(&Options::new());
    let slab = pooled_vec::Slab::new(2, 16 << 10, pooled_vec::AlignedOptions::new()).unwrap();
    let slab = ring.register_slab(slab).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = Arc::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    let (mut far, _) = listener.accept().unwrap();
    let mut buf = slab.lease().unwrap();
    buf.fill(7);
    let token = ring
        .submit(Send::new(Arc::clone(&near), buf).zero_copy())
        .unwrap();
    ring.flush().unwrap();
    let mut got = vec![0; 16 << 10];
    far.read_exact(&mut got).unwrap();
    let (sent, buf) = ring.finish(token, LONG).unwrap();
    assert_eq!((sent, slab.available()), (Ok(16 << 10), 1));
    assert!(got.iter().all(|&byte| byte == 7));
    drop(buf);
    assert_eq!(slab.available(), 2);
    let parts = vec![vec![1u8; 5000], vec![2u8; 5000]];
    let token = ring.submit(SendMsg::new(near, parts).zero_copy()).unwrap();
    ring.flush().unwrap();
    let mut got = vec![0; 10_000];
    far.read_exact(&mut got).unwrap();
    let (sent, parts) = ring.finish(token, LONG).unwrap();
    assert_eq!((sent, parts.concat()), (Ok(10_000), got));
}
