//! What happens to queued values when an end goes, and to a queue when a value's drop panics.
#![cfg(not(any(loom, shuttle)))]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::rc::Rc;
use sync_base::queue::{Closed, Overrun, PopError, PushError, Pushed, mpmc::Queue, mpsc, spsc};

const POLICIES: [Overrun; 3] = [Overrun::Block, Overrun::DropNewest, Overrun::DropOldest];

/// A value whose drop panics where it is told to, and is counted.
struct Fragile<'a> {
    drops: &'a Cell<u32>,
    breaks: bool,
}

impl Drop for Fragile<'_> {
    fn drop(&mut self) {
        self.drops.set(self.drops.get() + 1);
        assert!(!self.breaks, "fragile");
    }
}

/// Four values, of which the one numbered `breaks` breaks.
fn four(drops: &Cell<u32>, breaks: usize) -> impl Iterator<Item = Fragile<'_>> {
    drops.set(0);
    (0..4).map(move |i| Fragile {
        drops,
        breaks: i == breaks,
    })
}

fn breaks<E>(end: E) -> bool {
    catch_unwind(AssertUnwindSafe(|| drop(end))).is_err()
}

#[test]
fn b11_a_value_whose_drop_panics_takes_no_other_with_it() {
    let drops = Cell::new(0);
    for (overrun, at) in POLICIES.into_iter().flat_map(|o| (0..4).map(move |at| (o, at))) {
        let queue = Queue::new(4, overrun);
        four(&drops, at).for_each(|v| assert!(queue.try_push(v).is_ok()));
        assert!(breaks(queue));
        assert_eq!(drops.get(), 4, "mpmc, {overrun:?}, {at}");

        let (tx, rx) = mpsc::channel(4, overrun);
        four(&drops, at).for_each(|v| assert!(tx.try_push(v).is_ok()));
        assert!(breaks(rx));
        assert_eq!(drops.get(), 4, "mpsc, {overrun:?}, {at}");
        assert!(tx.is_closed());

        let (mut tx, rx) = spsc::channel(4, overrun);
        four(&drops, at).for_each(|v| assert!(tx.try_push(v).is_ok()));
        assert!(breaks(rx));
        assert_eq!(drops.get(), 4, "spsc, {overrun:?}, {at}");
        assert!(tx.is_closed(), "a panic hid that the consumer is gone");

        // The other way round: the consumer's batch is cut short by a panic, and is gone with the rest at the end.
        let (mut tx, mut rx) = spsc::channel(4, overrun);
        four(&drops, at).for_each(|v| assert!(tx.try_push(v).is_ok()));
        let cut = catch_unwind(AssertUnwindSafe(|| rx.batch(4).consume(4)));
        assert!(cut.is_err() && drops.get() == at as u32 + 1);
        drop((tx, rx));
        assert_eq!(drops.get(), 4, "batch, {overrun:?}, {at}");
    }
}

#[test]
fn b11_what_is_queued_goes_with_its_last_consumer() {
    for overrun in POLICIES {
        let value = Rc::new(());
        let (mut tx, mut rx) = spsc::channel(4, overrun);
        for _ in 0..4 {
            tx.try_push(Rc::clone(&value)).expect("room for four");
        }
        // One popped, one claimed and given back unread, two untouched.
        assert!(rx.try_pop().is_ok());
        assert_eq!(rx.batch(1).len(), 1);
        drop(rx);
        assert_eq!(
            Rc::strong_count(&value),
            1,
            "{overrun:?}: kept by a queue that nobody reads"
        );
        assert!(tx.try_push(Rc::clone(&value)).is_err());
    }
}

#[test]
fn b11_a_batch_cut_short_by_a_panic_gives_its_slots_back() {
    let drops = Cell::new(0);
    let (mut tx, mut rx) = spsc::channel(4, Overrun::Block);
    four(&drops, 1).for_each(|v| assert!(tx.try_push(v).is_ok()));
    assert!(catch_unwind(AssertUnwindSafe(|| rx.batch(4).consume(4))).is_err());
    assert_eq!(tx.len(), 2, "a producer that waits for room would wait on");
}

#[test]
fn a8_a_closed_queue_says_that_a_call_may_have_closed_it() {
    let queue = Queue::new(1, Overrun::Block);
    queue.close();
    for said in [
        queue.try_push(1).expect_err("closed").to_string(),
        queue.push(1).expect_err("closed").to_string(),
    ] {
        assert!(
            said.contains("by a call") && said.contains("other side is gone"),
            "{said}"
        );
    }
}

#[test]
fn a8_what_a_push_dropped_is_handed_out() {
    assert_eq!(Pushed::<u8>::Stored.dropped(), None);
    assert_eq!(Pushed::DroppedNewest(1).dropped(), Some(1));
    assert_eq!(Pushed::DroppedOldest(2).dropped(), Some(2));
}

#[test]
fn room_for_many_values_of_no_size_is_made_at_once() {
    let (mut tx, mut rx) = spsc::channel(1 << 62, Overrun::DropNewest);
    assert_eq!(
        (tx.push(()), tx.len(), rx.try_pop()),
        (Ok(Pushed::Stored), 1, Ok(()))
    );
    assert_eq!(rx.try_pop(), Err(PopError::Empty));
}

#[test]
fn a_queue_may_be_used_where_a_panic_is_caught() {
    fn caught<T: UnwindSafe + RefUnwindSafe>() {}
    caught::<Queue<Cell<u8>>>();
    caught::<mpsc::Sender<Cell<u8>>>();
    caught::<mpsc::Receiver<Cell<u8>>>();
    caught::<spsc::Producer<Cell<u8>>>();
    caught::<spsc::Consumer<Cell<u8>>>();
    let queue = Queue::new(1, Overrun::DropNewest);
    let blown = catch_unwind(|| queue.try_push(1).map(|()| panic!("after the push")));
    assert!(blown.is_err());
    assert_eq!(
        (queue.try_push(2), queue.push(3)),
        (Err(PushError::Full(2)), Ok(Pushed::DroppedNewest(3)))
    );
    queue.close();
    assert_eq!(queue.push(4), Err(Closed(4)));
}
