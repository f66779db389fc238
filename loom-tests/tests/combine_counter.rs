//! flat-combine's exact counter: batches of a funnel, additions past it, and switches between the two at any moment.
//! Under loom an aggregator has two slots, so that its leader also has to wait for a free one.
#![cfg(loom)]

use flat_combine::{Counter, Way};
use loom_tests::{Bounds, check};
use sync_base::atomic::{AtomicU64, Ordering};
use sync_base::cell::UnsafeCell;
use sync_base::sync::Arc;
use sync_base::thread;

const TWO: Bounds = Bounds {
    threads: 3,
    quick: 2,
    deep: 3,
};

const THREE: Bounds = Bounds {
    threads: 4,
    quick: 1,
    deep: 2,
};

/// Each thread increments so many times; the values found must be a permutation.
fn permutation(ops: &[u64], way: Way, also: impl Fn(&Counter) + Send + 'static) {
    let counter = Arc::new(Counter::new(0));
    counter.set_way(way);
    let threads: Vec<_> = ops
        .iter()
        .map(|&ops| {
            let counter = Arc::clone(&counter);
            thread::spawn(move || (0..ops).map(|_| counter.fetch_add(1)).collect::<Vec<_>>())
        })
        .collect();
    also(&counter);
    let mut found: Vec<u64> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
    found.sort_unstable();
    let total = ops.iter().sum();
    assert!(found.iter().copied().eq(0..total), "{found:?}");
    assert_eq!(counter.load(), total);
}

#[test]
fn previous_values_of_a_funnel_form_a_permutation() {
    check("counter.funnel_two_threads", TWO, || {
        permutation(&[2, 2], Way::Funnel, |_| ())
    });
}

#[test]
fn batches_of_three_and_a_slot_that_is_not_free_yet() {
    check("counter.funnel_three_threads", THREE, || {
        permutation(&[1, 2, 1], Way::Funnel, |_| ())
    });
}

#[test]
fn switching_while_both_ways_are_in_use_changes_no_result() {
    check("counter.switch_to_funnel_and_back", TWO, || {
        permutation(&[2, 1], Way::Plain, |counter| {
            counter.set_way(Way::Funnel);
            counter.set_way(Way::Plain);
        });
    });
}

/// A payload and a counter at zero.
struct Shared(Counter, UnsafeCell<u64>);
// SAFETY: the payload is written before the counter says so and read after; loom reports it if that is not ordered.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

/// One thread writes the payload and then moves the counter by `put`; the others look at the payload when what `get`
/// returns says that the counter had moved.
fn publishes(way: Way, readers: usize, put: fn(&Counter), get: fn(&Counter) -> bool) {
    let shared = Arc::new(Shared(Counter::new(0), UnsafeCell::new(0)));
    shared.0.set_way(way);
    let theirs = Arc::clone(&shared);
    let writer = thread::spawn(move || {
        // SAFETY: the readers keep away until the counter has moved.
        theirs.1.with_mut(|n| unsafe { *n = 5 });
        put(&theirs.0);
    });
    let readers: Vec<_> = (0..readers)
        .map(|_| {
            let theirs = Arc::clone(&shared);
            thread::spawn(move || {
                if get(&theirs.0) {
                    // SAFETY: the counter had moved, so the writer is done.
                    assert_eq!(theirs.1.with(|n| unsafe { *n }), 5);
                }
            })
        })
        .collect();
    writer.join().unwrap();
    readers.into_iter().for_each(|t| t.join().unwrap());
}

#[test]
fn an_operation_passes_on_what_was_done_before_it() {
    let one = |counter: &Counter| _ = counter.fetch_add(1);
    let ten = |counter: &Counter| counter.fetch_add(10) % 10 == 1;
    let pairs: [(&str, Way, fn(&Counter), fn(&Counter) -> bool); 9] = [
        ("plain", Way::Plain, one, ten),
        ("funnel", Way::Funnel, one, ten),
        ("funnel_to_load", Way::Funnel, one, |counter| counter.load() == 1),
        (
            "past_the_funnel_to_funnel",
            Way::Funnel,
            |counter| _ = counter.fetch_add(1 << 20),
            |counter| counter.fetch_add(10) == 1 << 20,
        ),
        ("load", Way::Plain, one, |counter| counter.load() == 1),
        (
            "swap",
            Way::Plain,
            |counter| _ = counter.swap(1),
            |counter| counter.swap(2) == 1,
        ),
        (
            "limit",
            Way::Plain,
            |counter| _ = counter.fetch_add_if_below(1, 99),
            |counter| counter.fetch_add_if_below(10, 99) == Ok(1),
        ),
        ("refusal", Way::Plain, one, |counter| {
            counter.fetch_add_if_below(1, 1) == Err(1)
        }),
        (
            "past_the_funnel",
            Way::Funnel,
            |counter| _ = counter.fetch_add(1 << 20),
            |counter| counter.fetch_add(1 << 21) == 1 << 20,
        ),
    ];
    for (name, way, put, get) in pairs {
        check(&format!("counter.passes_on_{name}"), TWO, move || {
            publishes(way, 1, put, get)
        });
    }
}

/// The value that an update replaces may have come back since the update looked: it is the later one that counts.
#[test]
fn an_update_shows_what_the_writer_of_the_value_that_it_replaced_did_before() {
    check("counter.value_came_back", TWO, || {
        let shared = Arc::new((Shared(Counter::new(1), UnsafeCell::new(0)), AtomicU64::new(0)));
        let theirs = Arc::clone(&shared);
        let writer = thread::spawn(move || {
            let (Shared(counter, payload), replaced) = &*theirs;
            counter.swap(2);
            // SAFETY: the other thread keeps away until it knows that it replaced the 1 put in next.
            payload.with_mut(|n| unsafe { *n = 5 });
            counter.swap(1);
            if counter.fetch_add(100) == 11 {
                // Relaxed: it tells which value was replaced, and must order nothing.
                replaced.store(1, Ordering::Relaxed);
            }
        });
        let theirs = Arc::clone(&shared);
        let updater = thread::spawn(move || {
            let (Shared(counter, payload), replaced) = &*theirs;
            let done = counter.fetch_add_if_below(10, 11).is_ok();
            // Relaxed: as above.
            if done && replaced.load(Ordering::Relaxed) == 1 {
                // SAFETY: the second 1 was replaced, so the writer is done.
                assert_eq!(payload.with(|n| unsafe { *n }), 5);
            }
        });
        writer.join().unwrap();
        updater.join().unwrap();
    });
}

#[test]
fn a_batch_passes_on_what_its_other_members_did_before() {
    let bounds = Bounds { quick: 2, ..THREE };
    check("counter.batch_passes_on", bounds, || {
        publishes(
            Way::Funnel,
            2,
            |counter| _ = counter.fetch_add(1),
            |counter| counter.fetch_add(10) % 10 == 1,
        );
    });
}

/// What a member of a batch did before reaches whoever finds the batch in the counter and took no funnel.
#[test]
fn a_batch_passes_on_what_its_members_did_to_those_past_the_funnel() {
    check("counter.batch_to_load", Bounds { quick: 2, ..THREE }, || {
        let shared = Arc::new(Shared(Counter::new(0), UnsafeCell::new(0)));
        shared.0.set_way(Way::Funnel);
        // Made here, lest making it orders the threads.
        shared.0.fetch_add(0);
        let theirs = Arc::clone(&shared);
        let leader = thread::spawn(move || theirs.0.fetch_add(1));
        let theirs = Arc::clone(&shared);
        let member = thread::spawn(move || {
            // SAFETY: the reader keeps away until the ten are in the counter.
            theirs.1.with_mut(|n| unsafe { *n = 5 });
            theirs.0.fetch_add(10);
        });
        let reader = thread::spawn(move || {
            if shared.0.load() >= 10 {
                // SAFETY: the member's ten are in the counter, so it is done.
                assert_eq!(shared.1.with(|n| unsafe { *n }), 5);
            }
        });
        leader.join().unwrap();
        member.join().unwrap();
        reader.join().unwrap();
    });
}

/// The first batch holds three; the next one; the next, in the slot of the first, two, neither of them the member that read
/// its result first.
#[test]
fn a_slot_opens_again_only_when_every_member_has_read_its_result() {
    let five = Bounds {
        threads: 5,
        quick: 1,
        deep: 2,
    };
    check("counter.slot_reused", five, || {
        let counter = Arc::new(Counter::new(0));
        counter.set_way(Way::Funnel);
        counter.fetch_add(0); // the funnel is made before they start
        let one = |counter: &Arc<Counter>| {
            let counter = Arc::clone(counter);
            thread::spawn(move || counter.fetch_add(1))
        };
        let theirs = Arc::clone(&counter);
        let leader = thread::spawn(move || {
            theirs.fetch_add(1);
            theirs.fetch_add(1);
            // Begun only now: that spares the model most of its interleavings.
            let late = one(&theirs);
            theirs.fetch_add(1);
            late.join().unwrap();
        });
        let members = [one(&counter), one(&counter)];
        members.map(|member| member.join().unwrap());
        leader.join().unwrap();
        assert_eq!(counter.load(), 6);
    });
}

#[test]
fn a_limit_holds_beside_subtractions_by_funnel() {
    check("counter.limit_beside_funnel", TWO, || {
        let used = Arc::new(Counter::new(2));
        used.set_way(Way::Funnel);
        let theirs = Arc::clone(&used);
        let giving = thread::spawn(move || theirs.fetch_sub(1));
        let theirs = Arc::clone(&used);
        let taking = thread::spawn(move || {
            let taken = (0..2).filter(|_| theirs.fetch_add_if_below(1, 2).is_ok()).count() as u64;
            assert!(theirs.load() <= 2);
            taken
        });
        giving.join().unwrap();
        let taken = taking.join().unwrap();
        assert!(taken <= 1);
        assert_eq!(used.load(), 1 + taken);
    });
}
