//! Messages and files from ring to ring.

use super::drive::*;
use std::cell::RefCell;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;
use uring_core::op::{Inbox, Message, Nop, PassFd, Recv};
use uring_core::{ErrorKind, LocalRing, Options};

fn inbox(ring: &LocalRing) -> (uring_core::OpId, Rc<RefCell<Vec<u32>>>) {
    let got: Rc<RefCell<Vec<u32>>> = Rc::default();
    let sink = Rc::clone(&got);
    let opened = ring.submit_each(Inbox::new(), move |value, more| match value {
        Ok(value) => sink.borrow_mut().push(value),
        Err(error) => assert!(error.is_cancelled() && !more),
    });
    let id = opened.unwrap();
    ring.poll().unwrap();
    (id, got)
}

#[test]
fn d7_messages_reach_their_inbox_in_order_whatever_their_value() {
    let (here, there) = (clean(&Options::new()), clean(&Options::new()));
    let (id, got) = inbox(&there);
    let mailbox = there.mailbox(id).unwrap();
    let values = [0, 1, 42, i32::MAX as u32, 1 << 31, u32::MAX];
    for value in values {
        done(&here, Message::new(&mailbox, value).unwrap()).unwrap();
    }
    while got.borrow().len() < values.len() {
        there.wait(1, LONG).unwrap();
    }
    assert_eq!(*got.borrow(), values);
    there.cancel(id).unwrap();
    settle(&there);
    assert_eq!(there.mailbox(id).unwrap_err().kind(), ErrorKind::Stale);
    let nop = there.submit(Nop::new()).unwrap();
    assert_eq!(
        there.mailbox(&nop).unwrap_err().kind(),
        ErrorKind::Stale,
        "it is no inbox"
    );
    there.finish(nop, LONG).unwrap().unwrap();
}

#[test]
fn d7_message_wakes_a_ring_that_sleeps_on_another_thread() {
    let (send, receive) = mpsc::channel();
    let sleeper = std::thread::spawn(move || {
        let ring = clean(&Options::new());
        let (id, got) = inbox(&ring);
        send.send(ring.mailbox(id).unwrap()).unwrap();
        while got.borrow().len() < 100 {
            ring.wait(1, LONG).unwrap();
        }
        let sum: u32 = got.borrow().iter().sum();
        ring.cancel(id).unwrap();
        settle(&ring);
        sum
    });
    let mailbox = receive.recv().unwrap();
    let here = clean(&Options::new());
    for value in 0..100 {
        done(&here, Message::new(&mailbox, value).unwrap()).unwrap();
    }
    assert_eq!(sleeper.join().unwrap(), 4950);
    assert_eq!(
        Message::new(&mailbox, 1).unwrap_err().kind(),
        ErrorKind::Closed,
        "the ring is gone"
    );
}

#[test]
fn d7_streamed_inbox_names_itself_once_it_is_polled() {
    let (here, there) = (clean(&Options::new()), clean(&Options::new()));
    let mut items = there.stream(Inbox::new());
    assert!(items.id().is_none());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(items.poll_item(&mut cx).is_pending());
    there.poll().unwrap();
    let mailbox = there.mailbox(items.id().unwrap()).unwrap();
    done(&here, Message::new(&mailbox, 7).unwrap()).unwrap();
    assert_eq!(there.block_on(items.next()).unwrap().unwrap(), Ok(7));
    drop(items);
}

/// Others know an inbox by its id, so that it cannot go on under another: what came is handed out, then it says why it ends.
#[test]
fn d7_streamed_inbox_that_nobody_empties_ends_as_back_pressure() {
    let (here, there) = (clean(&Options::new()), clean(&Options::new()));
    let mut items = there.stream(Inbox::new());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(items.poll_item(&mut cx).is_pending());
    there.poll().unwrap();
    let mailbox = there.mailbox(items.id().unwrap()).unwrap();
    for value in 0..1024 {
        done(&here, Message::new(&mailbox, value).unwrap()).unwrap();
        there.poll().unwrap();
    }
    for value in 0..1024 {
        assert_eq!(there.block_on(items.next()).unwrap().unwrap(), Ok(value));
    }
    let end = there.block_on(items.next()).unwrap().unwrap().unwrap_err();
    assert_eq!(end.kind(), ErrorKind::WouldBlock);
    assert!(there.block_on(items.next()).unwrap().is_none());
}

#[test]
fn e2_file_passes_to_a_slot_that_another_ring_offers() {
    let (here, there) = (clean(&Options::new()), clean(&Options::new()));
    let (near, mut far) = UnixStream::pair().unwrap();
    let mine = Arc::new(here.adopt_file(&near).unwrap());
    drop(near);
    let offer = there.offer_slot().unwrap();
    let offer = offer.take().unwrap_err();
    done(&here, PassFd::new(offer.clone(), Arc::clone(&mine)).unwrap()).unwrap();
    assert!(offer.is_filled());
    let theirs = offer.take().unwrap();
    drop(mine);
    here.poll().unwrap();
    far.write_all(b"passed").unwrap();
    let (count, buf) = done(&there, Recv::new(theirs, vec![0; 8]));
    assert_eq!((count, &buf[..]), (Ok(6), &b"passed"[..]));
    there.poll().unwrap();
    assert!(is_gone(far), "each copy was closed");
}

fn is_gone(mut far: UnixStream) -> bool {
    far.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    matches!(std::io::Read::read(&mut far, &mut [0; 1]), Ok(0))
}

#[test]
fn e2_file_passed_to_an_offer_that_nobody_takes_is_closed_and_the_slot_free() {
    let here = clean(&Options::new());
    let there = clean(&Options::new().registered_files(1));
    for _ in 0..5 {
        let (near, far) = UnixStream::pair().unwrap();
        let mine = here.adopt_file(&near).unwrap();
        drop(near);
        let offer = there.offer_slot().unwrap();
        let pass = here.submit(PassFd::new(offer.clone(), mine).unwrap()).unwrap();
        // A clone is with the operation: the slot cannot become another file's before it is over.
        drop(offer);
        assert_eq!(there.reserve_slot().unwrap_err().kind(), ErrorKind::WouldBlock);
        here.finish(pass, LONG).unwrap().unwrap();
        there.poll().unwrap();
        here.poll().unwrap();
        assert!(is_gone(far));
    }
}

#[test]
fn e2_pass_of_what_is_no_registered_file_or_to_a_ring_that_is_gone_is_refused() {
    let here = clean(&Options::new());
    let there = uncounted(&Options::new());
    let offer = there.offer_slot().unwrap();
    let (error, _file) = PassFd::new(offer.clone(), scratch()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    drop(there);
    let mine = here.adopt_file(&*scratch()).unwrap();
    let (error, mine) = PassFd::new(offer, mine).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    // To itself: the kernel refuses, and says so.
    let own = here.offer_slot().unwrap();
    let refused = done(&here, PassFd::new(own.clone(), mine).unwrap()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(own.take().is_err());
}
