//! The second set of books of debug builds: whoever touches memory that the kernel has is told, whatever the operation.
#![cfg(all(debug_assertions, not(any(loom, shuttle))))]

use std::fs::File;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use uring_core::op::{ReadV, RecvLeased, RecvMsg, SendMsg, WriteV};
use uring_core::{Carrier, LocalRing, Operation, Options};

const LONG: Duration = Duration::from_secs(10);

fn rings() -> impl Iterator<Item = LocalRing> {
    let carriers = [Carrier::Uring, Carrier::Fallback];
    carriers
        .into_iter()
        .map(|carrier| LocalRing::with(&Options::new().depth(4).carrier(carrier)).unwrap())
}

/// Three buffers, and where the last one lies: its owner keeps an address, as only unsafe code can.
fn buffers(bytes: usize) -> (Vec<Vec<u8>>, usize) {
    let mut bufs = vec![vec![1; bytes], vec![2; bytes], vec![3; bytes]];
    let at = bufs[2].as_mut_ptr() as usize;
    (bufs, at)
}

fn touch(at: usize) {
    // SAFETY: none: this is what the ledger is to tell. The memory is alive, and nobody else is looking.
    unsafe { (at as *mut u8).write_volatile(0x55) };
}

/// Runs an operation to its end with what happens meanwhile; what it panicked with, if it did.
fn told<O: Operation>(ring: LocalRing, op: O, meanwhile: impl FnOnce()) -> Option<String> {
    let token = ring.submit(op).unwrap();
    meanwhile();
    let ended = catch_unwind(AssertUnwindSafe(|| drop(ring.finish(token, LONG).unwrap())));
    let said = ended.err()?;
    Some(said.downcast_ref::<String>().expect("a message").clone())
}

const TOUCHED: &str = "was touched while the kernel had it";

#[test]
fn d7_list_of_buffers_touched_while_it_is_read_into_is_told() {
    for ring in rings() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let (bufs, at) = buffers(16);
        let said = told(ring, ReadV::new(near, bufs), || {
            touch(at + 9);
            far.write_all(&[7; 40]).unwrap();
        });
        assert_eq!(said, Some(format!("byte 9 of a buffer of 16 {TOUCHED}")));
    }
}

#[test]
fn d7_list_of_buffers_touched_while_it_is_written_from_is_told() {
    for ring in rings() {
        let (bufs, at) = buffers(200);
        let to = Arc::new(File::options().write(true).open("/dev/null").unwrap());
        let said = told(ring, WriteV::new(to, bufs), || touch(at + 199));
        assert_eq!(said, Some(format!("byte 199 of a buffer of 200 {TOUCHED}")));
    }
}

#[test]
fn d7_message_touched_while_it_is_received_is_told() {
    for ring in rings() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let (bufs, at) = buffers(16);
        let said = told(ring, RecvMsg::new(near, bufs), || {
            touch(at);
            far.write_all(&[7; 32]).unwrap();
        });
        assert_eq!(said, Some(format!("byte 0 of a buffer of 16 {TOUCHED}")));
    }
}

#[test]
fn d7_message_touched_while_it_is_sent_is_told() {
    for ring in rings() {
        let (near, _far) = UnixStream::pair().unwrap();
        let (bufs, at) = buffers(16);
        let said = told(ring, SendMsg::new(near, bufs), || touch(at + 3));
        assert_eq!(said, Some(format!("byte 3 of a buffer of 16 {TOUCHED}")));
    }
}

#[test]
fn d7_provided_buffer_touched_while_the_kernel_has_it_is_told() {
    for ring in rings() {
        let group = ring.provide_buffers(1, 32).unwrap();
        let (near, mut far) = UnixStream::pair().unwrap();
        let near = Arc::new(near);
        let token = ring.submit(RecvLeased::new(Arc::clone(&near), &group)).unwrap();
        far.write_all(b"first").unwrap();
        let mut lease = ring.finish(token, LONG).unwrap().unwrap().unwrap();
        let at = lease.as_mut_ptr() as usize;
        drop(lease);
        let said = told(ring, RecvLeased::new(near, &group), || {
            touch(at + 31);
            far.write_all(b"second").unwrap();
        });
        assert_eq!(
            said,
            Some(format!("byte 31 of a provided buffer of 32 {TOUCHED}"))
        );
    }
}

/// Nothing is told of owners that keep off, however little comes, and bytes that nobody wrote are what they were.
#[test]
fn d7_lists_and_messages_left_alone_come_back_as_they_were() {
    for ring in rings() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let near = Arc::new(near);
        for count in [1, 15, 16, 17, 32, 47, 48] {
            for messages in [false, true] {
                far.write_all(&vec![7; count]).unwrap();
                let bufs: Vec<Box<[u8]>> = buffers(16).0.into_iter().map(Vec::into_boxed_slice).collect();
                let (came, bufs) = if messages {
                    let token = ring.submit(RecvMsg::new(Arc::clone(&near), bufs)).unwrap();
                    let (came, bufs) = ring.finish(token, LONG).unwrap();
                    (came.unwrap().bytes, bufs)
                } else {
                    let token = ring.submit(ReadV::new(Arc::clone(&near), bufs)).unwrap();
                    let (came, bufs) = ring.finish(token, LONG).unwrap();
                    (came.unwrap(), bufs)
                };
                assert_eq!(came, count);
                let bytes = bufs.concat();
                let before = buffers(16).0.concat();
                assert!(bytes[..count].iter().all(|&b| b == 7));
                assert_eq!(bytes[count..], before[count..], "{count}");
            }
        }
    }
}
