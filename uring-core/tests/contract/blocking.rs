//! Files and paths, and what cannot be hurried: it is waited for, never freed under the kernel, and never waited for
//! without bound.

use super::kit::{Kit, LONG, done, pattern};
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use uring_core::op::{Close, Connect, Fsync, IoFd, Open, Read, Target, Write};
use uring_core::{LocalRing, totals};

fn fifo(path: &Path) {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: a valid path.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
}

/// Whether nobody has the FIFO open for reading any more, sooner or later.
fn is_left(writer: &File) -> bool {
    (0..500).any(|_| {
        let mut poll = libc::pollfd {
            fd: writer.as_raw_fd(),
            events: 0,
            revents: 0,
        };
        // SAFETY: one valid pollfd.
        unsafe { libc::poll(&mut poll, 1, 10) };
        poll.revents & libc::POLLERR != 0
    })
}

semantics! {
    #[test]
    fn b9_file_is_made_written_flushed_read_and_closed(kit: &Kit) {
        let (ring, dir) = (kit.ring(4), tempfile::tempdir().unwrap());
        let path = dir.path().join("file");
        let file = Arc::new(done(&ring, Open::new(&path, libc::O_RDWR | libc::O_CREAT).unwrap()).unwrap());
        assert_eq!(done(&ring, Write::new(Arc::clone(&file), b"content".to_vec()).at(0)).0, Ok(7));
        done(&ring, Fsync::new(Arc::clone(&file))).unwrap();
        done(&ring, Fsync::data(Arc::clone(&file))).unwrap();
        let (read, buf) = done(&ring, Read::new(Arc::clone(&file), Vec::with_capacity(64)).at(3));
        assert_eq!((read, &buf[..]), (Ok(4), &b"tent"[..]));
        done(&ring, Close::new(Arc::into_inner(file).unwrap())).unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"content");
    }

    #[test]
    fn c9_failures_of_files_keep_their_numbers(kit: &Kit) {
        let ring = kit.ring(4);
        let missing = done(&ring, Open::new("/no/such/file", libc::O_RDONLY).unwrap()).unwrap_err();
        assert_eq!(missing.errno(), libc::ENOENT);
        let directory = Arc::new(File::open("/").unwrap());
        let (read, buf) = done(&ring, Read::new(directory, vec![3; 8]).at(0));
        assert_eq!((read.unwrap_err().errno(), buf), (libc::EISDIR, vec![3; 8]));
        let full = Arc::new(OpenOptions::new().write(true).open("/dev/full").unwrap());
        let (written, buf) = done(&ring, Write::new(full, b"lost".to_vec()));
        assert_eq!((written.unwrap_err().errno(), &buf[..]), (libc::ENOSPC, &b"lost"[..]));
        let read_only = Arc::new(File::open("/proc/self/exe").unwrap());
        let (written, _) = done(&ring, Write::new(Arc::clone(&read_only), b"no".to_vec()).at(0));
        assert_eq!(written.unwrap_err().errno(), libc::EBADF);
        let zero = Arc::new(File::open("/dev/zero").unwrap());
        assert_eq!(done(&ring, Read::new(zero, vec![1; 16])), (Ok(16), vec![0; 16]));
        let tty_like = Arc::new(File::open("/proc/self/stat").unwrap());
        assert!(done(&ring, Read::new(tty_like, vec![0; 4096]).at(0)).0.unwrap() > 10);
    }

    #[test]
    fn d7_file_position_moves_with_reads_that_name_none(kit: &Kit) {
        let ring = kit.ring(4);
        let content = pattern(20_000);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let file = Arc::new(file);
        let mut got = Vec::new();
        loop {
            let (read, buf) = done(&ring, Read::new(Arc::clone(&file), vec![0; 3000]));
            let read = read.unwrap();
            if read == 0 {
                break;
            }
            got.extend_from_slice(&buf[..read]);
        }
        assert_eq!(got, content);
    }

    #[test]
    fn e2_registered_file_outlives_its_descriptor_and_ends_with_its_slot(kit: &Kit) {
        let ring = kit.ring(4);
        ring.keeps_files(1);
        let content = pattern(512);
        let file = kit.file(&ring, &content);
        let fixed = ring.register_file(&file).unwrap();
        drop(file);
        assert_eq!(done(&ring, Read::new(fixed, vec![0; 512]).at(0)), (Ok(512), content));
        ring.unregister_file(fixed).unwrap();
        let (read, _) = done(&ring, Read::new(fixed, vec![0; 512]).at(0));
        assert_eq!(read.unwrap_err().errno(), libc::EBADF);
    }

    #[test]
    fn e1_registered_buffers_carry_reads_and_come_back(kit: &Kit) {
        let ring = kit.ring(4);
        let content = pattern(4096);
        let file = kit.file(&ring, &content);
        let slab = pooled_vec::Slab::new(2, 4096, pooled_vec::AlignedOptions::new()).unwrap();
        let slab = ring.register_slab(slab).unwrap();
        let (read, buf) = done(&ring, Read::new(file.clone(), slab.lease().unwrap()).at(0));
        assert_eq!((read, &buf[..]), (Ok(4096), &content[..]));
        let (written, buf) = done(&ring, Write::new(file.clone(), buf).at(4096));
        assert_eq!(written, Ok(4096));
        assert_eq!(slab.available(), 1);
        drop(buf);
        assert_eq!(slab.available(), 2);
        let (read, buf) = done(&ring, Read::new(file, vec![0; 8192]).at(0));
        assert_eq!((read, &buf[4096..]), (Ok(8192), &content[..]));
    }

    #[test]
    fn d7_more_reads_of_files_than_threads_all_complete(kit: &Kit) {
        let ring = kit.ring(128);
        let content = pattern(128 * 64);
        let file = kit.file(&ring, &content);
        let tokens: Vec<_> = (0..128)
            .map(|i| ring.submit(Write::new(file.clone(), vec![i as u8; 64]).at(i * 64)).unwrap())
            .collect();
        for token in tokens {
            assert_eq!(ring.finish(token, LONG).unwrap().0, Ok(64));
        }
        let (read, buf) = done(&ring, Read::new(file, vec![0; 128 * 64]).at(0));
        assert_eq!(read, Ok(128 * 64));
        assert!(buf.chunks(64).enumerate().all(|(i, chunk)| chunk == [i as u8; 64]));
    }

    /// An open that waits for another process: the ring gives up at its deadline, and the descriptor that comes when the
    /// ring is gone is closed.
    #[test]
    fn d7_ring_dropped_with_an_open_that_hangs_returns_and_closes_what_comes_late(kit: &Kit) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        fifo(&path);
        let options = kit.options(4).drain_limit(Duration::from_millis(20));
        let ring = LocalRing::with(&options).unwrap();
        let _ = ring.submit(Open::new(&path, libc::O_RDONLY).unwrap()).unwrap();
        ring.flush().unwrap();
        // A thread, if it takes one, has to be in the call: what is still queued would be withdrawn.
        std::thread::sleep(Duration::from_millis(20));
        drop(ring);
        let writer = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&path);
        match writer {
            Ok(writer) => assert!(is_left(&writer), "the descriptor that came late is still open"),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENXIO), "it was cancelled"),
        }
        let freed = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            totals().abandoned.sum() == 0
        });
        assert!(freed, "what was left behind was never freed");
    }

    /// A call that a thread is in cannot be cancelled, and what it uses is not let go under it: here a connection to a Unix
    /// listener whose queue is full.
    #[test]
    fn d7_what_a_call_that_hangs_uses_outlives_its_ring_until_the_call_is_over(kit: &Kit) {
        // A job that no thread has taken by then is withdrawn, which shows nothing: once more.
        let shown = (0..20).any(|_| is_kept_until_the_call_is_over(kit));
        assert!(shown, "no thread was ever in the call");
    }
}

/// One call that hangs and a ring that is dropped; `false` when the call had not begun.
fn is_kept_until_the_call_is_over(kit: &Kit) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    // SAFETY: no memory.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let _fills = UnixStream::connect(&path).unwrap();
    let drops = Arc::new(AtomicUsize::new(0));
    let ring = LocalRing::with(&kit.options(4).drain_limit(Duration::from_millis(20))).unwrap();
    let hangs = ring.info().backend == "fallback";
    let _ = ring
        .submit(Connect::unix(Counted::new(&drops), &path).unwrap())
        .unwrap();
    ring.flush().unwrap();
    std::thread::sleep(Duration::from_millis(30));
    drop(ring);
    let abandoned = totals().abandoned.sum();
    if hangs && abandoned == 0 {
        return false;
    }
    assert_eq!(abandoned, i64::from(hangs));
    // Time enough for a reaper that did not know better.
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(
        drops.load(Ordering::SeqCst),
        usize::from(!hangs),
        "let go while a thread is in the call"
    );
    drop(listener);
    (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        drops.load(Ordering::SeqCst) == 1 && totals().abandoned.sum() == 0
    }) || panic!("what the call used was never let go")
}

/// A socket that counts its own end.
struct Counted(OwnedFd, Arc<AtomicUsize>);

impl Counted {
    fn new(drops: &Arc<AtomicUsize>) -> Self {
        // SAFETY: makes a descriptor or fails.
        let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
        assert!(fd >= 0);
        // SAFETY: just made.
        Self(unsafe { OwnedFd::from_raw_fd(fd) }, Arc::clone(drops))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

impl IoFd for Counted {
    fn target(&self) -> Target {
        self.0.target()
    }
}
