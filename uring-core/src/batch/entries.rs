//! What a batch hands to its carrier, entry by entry.

use super::Batch;
use crate::backend::{Backend, LOT};
use crate::op::{Nop, Within};
use crate::ring::{Core, Options};
use crate::sys::abi::{Cqe, SQE_IO_LINK, Sqe, code};
use crate::sys::ladder::RingInfo;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// The entries of each `enter`.
type Calls = Arc<Mutex<Vec<Vec<Sqe>>>>;

/// Writes down what it is handed and says that it was done.
struct Scribe {
    info: RingInfo,
    queued: Vec<Sqe>,
    done: VecDeque<Cqe>,
    calls: Calls,
}

impl Backend for Scribe {
    fn info(&self) -> &RingInfo {
        &self.info
    }
    fn set_depth(&mut self, depth: u32) {
        self.info.depth = depth;
    }
    fn space(&mut self, _: bool) -> u32 {
        self.info.sq_entries - self.queued.len() as u32
    }
    fn queued(&mut self) -> u32 {
        self.queued.len() as u32
    }
    fn push(&mut self, sqe: &Sqe) -> bool {
        self.queued.push(*sqe);
        true
    }
    fn enter(&mut self, _: u32, _: Option<Duration>) -> io::Result<u32> {
        let entries = std::mem::take(&mut self.queued);
        self.done.extend(entries.iter().map(|sqe| Cqe {
            user_data: sqe.user_data,
            ..Cqe::default()
        }));
        self.calls.lock().unwrap().push(entries.clone());
        Ok(entries.len() as u32)
    }
    fn owes_enter(&self) -> bool {
        false
    }
    fn overflowed(&self) -> bool {
        false
    }
    fn drain(&mut self, out: &mut [Cqe; LOT]) -> usize {
        let count = self.done.len().min(LOT);
        for (to, from) in out.iter_mut().zip(self.done.drain(..count)) {
            *to = from;
        }
        count
    }
    fn poll_fd(&self) -> RawFd {
        -1
    }
    fn buffer_slots(&mut self) -> u16 {
        0
    }
    unsafe fn set_buffer(&mut self, _: u16, _: Option<libc::iovec>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn set_file(&mut self, _: u32, _: RawFd) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn file_slots(&self) -> io::Result<u32> {
        Ok(0)
    }
    fn direct_slots(&self) -> io::Result<std::ops::Range<u32>> {
        Ok(0..0)
    }
    unsafe fn register_buf_ring(&mut self, _: u64, _: u16, _: u16, _: u16) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn unregister_buf_ring(&mut self, _: u16) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn tombstone(&mut self, _: RawFd) -> io::Result<()> {
        Ok(())
    }
    fn disown(self: Box<Self>) {}
}

/// Runs a batch beside other operations that are queued before and behind it; gives the entries of each call.
fn calls(batch: Batch, depth: u32) -> Vec<Vec<Sqe>> {
    let calls = Calls::default();
    let scribe = Scribe {
        info: RingInfo {
            backend: "scribe",
            rung: None,
            sq_entries: 64,
            cq_entries: 128,
            depth,
            sqpoll: false,
            registered_ring_fd: false,
            features: 0,
            refusals: Vec::new(),
        },
        queued: Vec::new(),
        done: VecDeque::new(),
        calls: Arc::clone(&calls),
    };
    let mut core = Core::new(Box::new(scribe), &Options::new().depth(depth));
    core.submit(Nop::new()).unwrap();
    let mut run = core.run_batch(batch).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut run).poll(&mut cx).is_pending());
    core.submit(Nop::new()).unwrap();
    let results = loop {
        core.wait(1, Duration::ZERO).unwrap();
        core.reap(|done| drop(done));
        if let Poll::Ready(results) = Pin::new(&mut run).poll(&mut cx) {
            break results;
        }
    };
    assert!(results.is_success());
    drop((results, run));
    core.shut();
    Arc::try_unwrap(calls).unwrap().into_inner().unwrap()
}

fn chain(length: usize) -> Batch {
    let mut batch = Batch::new();
    let nodes: Vec<_> = (0..length).map(|_| batch.add(Nop::new()).unwrap()).collect();
    for pair in nodes.windows(2) {
        batch.needs(pair[1], pair[0]).unwrap();
    }
    batch
}

fn linked(entries: &[Sqe]) -> Vec<bool> {
    entries.iter().map(|sqe| sqe.flags & SQE_IO_LINK != 0).collect()
}

#[test]
fn d2_a_chain_of_three_links_exactly_two_and_goes_in_one_call_with_no_stranger_between() {
    let calls = calls(chain(3), 16);
    assert_eq!(calls.len(), 1);
    // One operation of another before, the chain, one behind.
    assert_eq!(linked(&calls[0]), [false, true, true, false, false]);
}

#[test]
fn d2_a_chain_longer_than_the_ring_is_cut_between_calls_and_never_within_one() {
    let calls = calls(chain(10), 4);
    let mut lengths = Vec::new();
    for call in &calls {
        let links = linked(call);
        assert_ne!(
            links.last(),
            Some(&true),
            "no call ends within a chain: {links:?}"
        );
        lengths.extend(
            links
                .split(|linked| !linked)
                .map(<[bool]>::len)
                .filter(|&n| n > 0),
        );
    }
    assert!(lengths.iter().all(|&links| links < 4), "{lengths:?}");
    let entries: usize = calls.iter().map(Vec::len).sum();
    assert_eq!(entries, 10 + 2);
}

#[test]
fn d2_a_limit_of_its_own_is_linked_to_its_operation_alone() {
    let mut batch = Batch::new();
    let first = batch.add(Nop::new()).unwrap();
    let limited = batch
        .add(Within::new(Duration::from_secs(1), Nop::new()))
        .unwrap();
    batch.needs(limited, first).unwrap();
    let calls = calls(batch, 16);
    let entries: Vec<_> = calls.concat();
    let timeout = entries
        .iter()
        .position(|sqe| sqe.opcode == code::LINK_TIMEOUT)
        .unwrap();
    let links = linked(&entries);
    assert!(links[timeout - 1] && !links[timeout], "{links:?}");
    assert_eq!(links.iter().filter(|&&linked| linked).count(), 1);
}
