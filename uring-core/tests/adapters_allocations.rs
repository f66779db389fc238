//! In steady state the adapters call the allocator for nothing. Alone in its process: the count is the process's.
#![cfg(all(feature = "tokio", feature = "futures-io", not(any(loom, shuttle))))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::File;
use std::io::SeekFrom;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use uring_core::adapt::{AsyncFile, AsyncStream};
use uring_core::{LocalRing, Options};

struct Counting;
static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator, counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const WARM: usize = 100;
const ROUNDS: usize = 1000;

/// One future that works until it is warm, then counts the allocator's calls while it works on.
macro_rules! calls {
    ($ring:expr, $round:expr) => {
        $ring
            .block_on(async {
                for _ in 0..WARM {
                    $round;
                }
                let before = CALLS.load(Ordering::SeqCst);
                for _ in 0..ROUNDS {
                    $round;
                }
                CALLS.load(Ordering::SeqCst) - before
            })
            .unwrap()
    };
}

#[test]
fn d7_adapters_allocate_nothing_per_operation() {
    let ring = LocalRing::with(&Options::new().depth(8)).unwrap();
    let file: Arc<File> = Arc::new(tempfile::tempfile().unwrap());
    let mut file = AsyncFile::new(&ring, file);
    let (near, far) = UnixStream::pair().unwrap();
    let mut near = AsyncStream::socket(&ring, Arc::new(near));
    let mut far = AsyncStream::socket(&ring, Arc::new(far));
    let mut space = [0; 512];
    let by_tokio = calls!(ring, {
        file.seek(SeekFrom::Start(0)).await.unwrap();
        file.write_all(&[7; 512]).await.unwrap();
        file.seek(SeekFrom::Start(0)).await.unwrap();
        file.read_exact(&mut space).await.unwrap();
        near.write_all(&space).await.unwrap();
        near.flush().await.unwrap();
        far.read_exact(&mut space).await.unwrap();
    });
    assert_eq!(by_tokio, 0, "allocations in {ROUNDS} rounds");
    let by_futures = calls!(ring, {
        futures_lite::AsyncSeekExt::seek(&mut file, SeekFrom::Start(0))
            .await
            .unwrap();
        futures_lite::AsyncWriteExt::write_all(&mut file, &[7; 512])
            .await
            .unwrap();
        futures_lite::AsyncSeekExt::seek(&mut file, SeekFrom::Start(0))
            .await
            .unwrap();
        futures_lite::AsyncReadExt::read_exact(&mut file, &mut space)
            .await
            .unwrap();
        futures_lite::AsyncWriteExt::write_all(&mut near, &space)
            .await
            .unwrap();
        futures_lite::AsyncWriteExt::flush(&mut near).await.unwrap();
        futures_lite::AsyncReadExt::read_exact(&mut far, &mut space)
            .await
            .unwrap();
    });
    assert_eq!(by_futures, 0, "allocations in {ROUNDS} rounds");
    // The count counts.
    let before = CALLS.load(Ordering::SeqCst);
    drop(std::hint::black_box(vec![1u8; 100]));
    assert!(CALLS.load(Ordering::SeqCst) > before);
}
