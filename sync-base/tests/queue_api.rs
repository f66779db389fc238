//! The queues as their users see them: order, policies, closing, batches, drops.
#![cfg(not(any(loom, shuttle)))]

use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use sync_base::queue::{Closed, Overrun, PopError, PushError, Pushed, mpmc::Queue, mpsc, spsc};

/// Counts how many of it are alive.
#[derive(Debug)]
struct Alive(Arc<AtomicUsize>, u64);

impl Alive {
    fn new(count: &Arc<AtomicUsize>, value: u64) -> Self {
        // Relaxed: a tally read after everything is over.
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count), value)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        // Relaxed: as above.
        assert!(self.0.fetch_sub(1, Ordering::Relaxed) > 0, "dropped twice");
    }
}

#[derive(Clone, Debug)]
enum Op {
    TryPush(u8),
    Push(u8),
    Pop,
    PushBatch(Vec<u8>),
    PushSlice(Vec<u8>),
    PopBatch(usize),
    Peek(usize, usize),
}

fn op() -> impl Strategy<Value = Op> {
    let many = || prop::collection::vec(any::<u8>(), 0..6);
    prop_oneof![
        any::<u8>().prop_map(Op::TryPush),
        any::<u8>().prop_map(Op::Push),
        Just(Op::Pop),
        many().prop_map(Op::PushBatch),
        many().prop_map(Op::PushSlice),
        (0usize..6).prop_map(Op::PopBatch),
        (0usize..6, 0usize..6).prop_map(|(max, consume)| Op::Peek(max, consume)),
    ]
}

/// The oracle: what a bounded queue is.
struct Model {
    queue: VecDeque<u8>,
    capacity: usize,
    overrun: Overrun,
    newest: u64,
    oldest: u64,
}

impl Model {
    fn room(&self) -> usize {
        self.capacity - self.queue.len()
    }

    fn push(&mut self, v: u8) -> Pushed<u8> {
        if self.room() > 0 {
            self.queue.push_back(v);
            return Pushed::Stored;
        }
        if self.overrun == Overrun::DropOldest {
            self.oldest += 1;
            self.queue.push_back(v);
            return Pushed::DroppedOldest(self.queue.pop_front().expect("full"));
        }
        self.newest += 1;
        Pushed::DroppedNewest(v)
    }

    fn push_many(&mut self, values: &[u8]) -> usize {
        let n = self.room().min(values.len());
        self.queue.extend(&values[..n]);
        n
    }

    fn pop_many(&mut self, max: usize) -> Vec<u8> {
        let n = self.queue.len().min(max);
        self.queue.drain(..n).collect()
    }
}

fn policy() -> impl Strategy<Value = Overrun> {
    prop_oneof![Just(Overrun::DropNewest), Just(Overrun::DropOldest)]
}

proptest! {
    #[test]
    fn a8_spsc_does_what_a_bounded_deque_does(
        capacity in 1usize..6, overrun in policy(), start in prop_oneof![Just(0), Just(usize::MAX - 3)],
        ops in prop::collection::vec(op(), 0..80),
    ) {
        let (mut tx, mut rx) = spsc::channel_at(capacity, overrun, start);
        let mut model = Model { queue: VecDeque::new(), capacity, overrun, newest: 0, oldest: 0 };
        let mut claimed = 0;
        for op in ops {
            match op {
                // A batch that was looked at and not consumed keeps its values from being displaced; here it always is.
                Op::TryPush(v) => match tx.try_push(v) {
                    Ok(()) => prop_assert_eq!(model.push(v), Pushed::Stored),
                    Err(e) => { prop_assert_eq!(e, PushError::Full(v)); prop_assert_eq!(model.room(), 0); }
                },
                Op::Push(v) if claimed == 0 => prop_assert_eq!(tx.push(v), Ok(model.push(v))),
                Op::Push(_) => {}
                Op::Pop => match rx.try_pop() {
                    Ok(v) => { prop_assert_eq!(Some(v), model.queue.pop_front()); claimed = usize::saturating_sub(claimed, 1); }
                    Err(e) => { prop_assert_eq!(e, PopError::Empty); prop_assert!(model.queue.is_empty()); }
                },
                Op::PushBatch(vs) => {
                    let mut rest: VecDeque<u8> = vs.iter().copied().collect();
                    let n = tx.push_batch(&mut rest).unwrap();
                    prop_assert_eq!(n, model.push_many(&vs));
                    prop_assert_eq!(Vec::from(rest), &vs[n..]);
                }
                Op::PushSlice(vs) => prop_assert_eq!(tx.push_slice(&vs).unwrap(), model.push_many(&vs)),
                Op::PopBatch(max) => {
                    let mut got = Vec::new();
                    prop_assert_eq!(rx.pop_batch(&mut got, max), got.len());
                    claimed = usize::saturating_sub(claimed, got.len());
                    prop_assert_eq!(got, model.pop_many(max));
                }
                Op::Peek(max, consume) => {
                    let batch = rx.batch(max);
                    let (a, b) = batch.slices();
                    let seen: Vec<u8> = a.iter().chain(b).copied().collect();
                    prop_assert_eq!(seen.len(), batch.len());
                    let want: Vec<u8> = model.queue.iter().take(max).copied().collect();
                    prop_assert_eq!(&seen, &want);
                    batch.consume(consume);
                    model.pop_many(consume.min(want.len()));
                    if overrun == Overrun::DropOldest { claimed = claimed.max(want.len()).saturating_sub(consume.min(want.len())); }
                }
            }
        }
        prop_assert_eq!((tx.drops().newest, tx.drops().oldest), (model.newest, model.oldest));
        drop(tx);
        let rest: Vec<u8> = std::iter::from_fn(|| rx.pop()).collect();
        prop_assert_eq!(rest, Vec::from(model.queue));
        prop_assert_eq!(rx.try_pop(), Err(PopError::Closed));
    }

    #[test]
    fn a8_mpmc_and_mpsc_do_what_a_bounded_deque_does(
        log in 0u32..3, overrun in policy(), single in any::<bool>(), ops in prop::collection::vec(op(), 0..80),
    ) {
        let capacity = 1 << log;
        let mut model = Model { queue: VecDeque::new(), capacity, overrun, newest: 0, oldest: 0 };
        let queue = Queue::after_laps(capacity, overrun, 1_000);
        let (tx, mut rx) = mpsc::channel(capacity, overrun);
        for op in ops {
            match op {
                Op::TryPush(v) => match if single { tx.try_push(v) } else { queue.try_push(v) } {
                    Ok(()) => prop_assert_eq!(model.push(v), Pushed::Stored),
                    Err(e) => { prop_assert_eq!(e, PushError::Full(v)); prop_assert_eq!(model.room(), 0); }
                },
                Op::Push(v) => {
                    let got = if single { tx.push(v) } else { queue.push(v) };
                    prop_assert_eq!(got, Ok(model.push(v)));
                }
                Op::Pop | Op::Peek(..) => match if single { rx.try_pop() } else { queue.try_pop() } {
                    Ok(v) => prop_assert_eq!(Some(v), model.queue.pop_front()),
                    Err(e) => { prop_assert_eq!(e, PopError::Empty); prop_assert!(model.queue.is_empty()); }
                },
                Op::PushBatch(vs) | Op::PushSlice(vs) => {
                    let mut rest: VecDeque<u8> = vs.iter().copied().collect();
                    let n = if single { tx.push_batch(&mut rest) } else { queue.push_batch(&mut rest) }.unwrap();
                    prop_assert_eq!(n, model.push_many(&vs));
                    prop_assert_eq!(Vec::from(rest), &vs[n..]);
                }
                Op::PopBatch(max) => {
                    let mut got = Vec::new();
                    let n = if single { rx.pop_batch(&mut got, max) } else { queue.pop_batch(&mut got, max) };
                    prop_assert_eq!(n, got.len());
                    prop_assert_eq!(got, model.pop_many(max));
                }
            }
            prop_assert_eq!(if single { tx.len() } else { queue.len() }, model.queue.len());
        }
        let drops = if single { rx.drops() } else { queue.drops() };
        prop_assert_eq!((drops.newest, drops.oldest), (model.newest, model.oldest));
        queue.close();
        drop(tx);
        let rest: Vec<u8> = std::iter::from_fn(|| if single { rx.pop() } else { queue.pop() }).collect();
        prop_assert_eq!(rest, Vec::from(model.queue));
    }
}

#[test]
fn a10_wrap_around_gives_two_segments() {
    let (mut tx, mut rx) = spsc::channel(4, Overrun::Block);
    assert_eq!(tx.push_slice(&[1, 2, 3]), Ok(3));
    rx.batch(3).consume(3);
    assert_eq!(tx.push_slice(&[4, 5, 6, 7, 8]), Ok(4));
    let batch = rx.batch(usize::MAX);
    assert_eq!(batch.slices(), (&[4][..], &[5, 6, 7][..]));
    batch.consume(usize::MAX);
    assert!(rx.is_empty());
}

#[test]
fn a8_oldest_gives_way_only_while_the_consumer_does_not_hold_it() {
    let (mut tx, mut rx) = spsc::channel(2, Overrun::DropOldest);
    tx.try_push(1).unwrap();
    tx.try_push(2).unwrap();
    assert_eq!(rx.batch(1).len(), 1);
    assert_eq!(
        tx.push(3),
        Ok(Pushed::DroppedNewest(3)),
        "1 is claimed: its slot may be being read"
    );
    assert_eq!((rx.pop(), rx.try_pop()), (Some(1), Ok(2)));
    tx.try_push(4).unwrap();
    tx.try_push(5).unwrap();
    assert_eq!(tx.push(6), Ok(Pushed::DroppedOldest(4)));
    assert_eq!(
        (tx.drops().newest, rx.drops().oldest, rx.drops().total()),
        (1, 1, 2)
    );
}

#[test]
fn capacity_zero_is_a_clear_error_everywhere() {
    for make in [
        || drop(spsc::channel::<u8>(0, Overrun::Block)),
        || drop(mpsc::channel::<u8>(0, Overrun::Block)),
        || drop(Queue::<u8>::new(0, Overrun::Block)),
    ] {
        let panic = std::panic::catch_unwind(make).expect_err("capacity 0");
        assert!(
            panic
                .downcast_ref::<&str>()
                .expect("a message")
                .contains("capacity 0")
        );
    }
}

#[test]
fn values_of_no_size_are_counted() {
    let (mut tx, mut rx) = spsc::channel(3, Overrun::DropNewest);
    for _ in 0..3 {
        tx.try_push(()).unwrap();
    }
    assert_eq!(tx.push(()), Ok(Pushed::DroppedNewest(())));
    assert_eq!(rx.batch(9).slices().0.len(), 3);
    assert_eq!(std::iter::from_fn(|| rx.try_pop().ok()).count(), 3);
}

#[test]
fn closed_queue_hands_the_value_back() {
    let (mut tx, rx) = spsc::channel(1, Overrun::Block);
    drop(rx);
    assert_eq!(tx.push(7), Err(Closed(7)));
    assert_eq!(tx.try_push(8), Err(PushError::Closed(8)));
    assert!(
        tx.push_batch(&mut VecDeque::from([9])).is_err() && tx.push_slice(&[9]).is_err() && tx.is_closed()
    );

    let (tx, mut rx) = mpsc::channel(1, Overrun::DropOldest);
    tx.try_push(1).unwrap();
    rx.close();
    assert_eq!(tx.push(7), Err(Closed(7)), "a closed queue displaces nothing");
    assert_eq!((rx.try_pop(), rx.try_pop()), (Ok(1), Err(PopError::Closed)));
    assert!(tx.clone().push_batch(&mut VecDeque::from([9])).is_err());
}

#[test]
fn b11_nothing_is_freed_twice_or_leaked_whatever_is_left_where() {
    let alive = Arc::new(AtomicUsize::new(0));
    for overrun in [Overrun::DropNewest, Overrun::DropOldest] {
        for producer_first in [false, true] {
            for left in 0..4 {
                let (mut tx, mut rx) = spsc::channel(2, overrun);
                for i in 0..5 {
                    drop(tx.push(Alive::new(&alive, i)));
                }
                if left == 1 {
                    assert_eq!(rx.batch(1).slices().0.len(), 1);
                }
                if left == 2 {
                    rx.batch(2).consume(1);
                }
                if left == 3 {
                    assert_eq!(rx.batch(2).len(), 2);
                    drop(rx.try_pop());
                }
                if producer_first {
                    drop(tx);
                    drop(rx);
                } else {
                    drop(rx);
                    let back = tx.push(Alive::new(&alive, 9)).expect_err("closed");
                    assert_eq!(back.0.1, 9);
                    drop(back);
                    drop(tx);
                }
                // Relaxed: one thread.
                assert_eq!(
                    alive.load(Ordering::Relaxed),
                    0,
                    "{overrun:?} {producer_first} {left}"
                );
            }
        }
        let queue = Queue::new(2, overrun);
        for i in 0..5 {
            drop(queue.push(Alive::new(&alive, i)));
        }
        drop(queue);
        // Relaxed: one thread.
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn panicking_drop_in_a_batch_neither_repeats_nor_loses_the_rest() {
    struct Bomb(u32);
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(self.0 != 1, "bomb");
        }
    }
    for overrun in [Overrun::Block, Overrun::DropOldest] {
        let (mut tx, mut rx) = spsc::channel(4, overrun);
        for i in 0..4 {
            tx.try_push(Bomb(i)).unwrap_or_else(|_| unreachable!());
        }
        let blown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rx.batch(4).consume(4)));
        assert!(blown.is_err());
        assert_eq!(rx.try_pop().map(|b| b.0), Ok(2));
        drop(tx);
    }
}

#[test]
fn b11_dequeue_is_right_at_every_length() {
    for capacity in 1..=9usize {
        for length in 0..=capacity {
            let queue = Queue::new(capacity, Overrun::DropNewest);
            let (mut tx, mut rx) = spsc::channel(capacity, Overrun::DropNewest);
            for lap in 0..3 * capacity {
                for i in 0..length {
                    assert_eq!((queue.try_push(lap + i), tx.try_push(lap + i)), (Ok(()), Ok(())));
                }
                assert_eq!((queue.len(), rx.len()), (length, length));
                for i in 0..length {
                    assert_eq!((queue.try_pop(), rx.try_pop()), (Ok(lap + i), Ok(lap + i)));
                }
                assert_eq!(
                    (queue.try_pop(), rx.try_pop()),
                    (Err(PopError::Empty), Err(PopError::Empty))
                );
            }
        }
    }
}
