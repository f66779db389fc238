//! The traps of C1, B5 and C10, each by name.
#![cfg(not(any(loom, shuttle)))]

use rcu_map::{Action, RcuCell, RcuMap, SnapshotMap, SnapshotReader};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;
use sync_base::Domain;

fn tight_domain() -> Domain {
    Domain::builder()
        .garbage_limit(4096)
        .stall_wait(Duration::from_millis(1))
        .batch(1)
        .build()
}

#[test]
fn c1_update_closure_may_run_twice_and_nothing_is_lost() {
    let map = RcuMap::new();
    map.insert("k", 1);
    let mut runs = 0;
    map.update("k", |v| {
        runs += 1;
        if runs == 1 {
            map.insert("k", 10); // another writer gets in between
        }
        v + 1
    });
    assert_eq!((runs, map.get_cloned("k")), (2, Some(11)));
}

#[test]
fn c1_rcu_closure_may_run_twice_and_nothing_is_lost() {
    let cell = RcuCell::new(1);
    let mut runs = 0;
    let former = cell.rcu(|v| {
        runs += 1;
        if runs == 1 {
            cell.store(10);
        }
        v + 1
    });
    assert_eq!((runs, *former, *cell.load()), (2, 10, 11));
}

#[test]
fn c1_snapshot_map_closures_run_once() {
    let map: SnapshotMap<u32, u32> = [(1, 0)].into_iter().collect();
    let runs = AtomicUsize::new(0);
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                for _ in 0..50 {
                    map.update(&1, |v| {
                        // Relaxed: read after every thread was joined.
                        runs.fetch_add(1, Ordering::Relaxed);
                        v + 1
                    });
                }
            });
        }
    });
    // Relaxed: every thread was joined.
    assert_eq!(
        (runs.load(Ordering::Relaxed), map.get_cloned(&1)),
        (200, Some(200))
    );
}

#[test]
fn c1_a_borrowed_read_takes_no_count() {
    let shared = Arc::new(7);
    let map = RcuMap::new();
    map.insert(1, Arc::clone(&shared));
    let cell = RcuCell::from_arc(Arc::clone(&shared));
    let (pinned, reader, handle) = (map.pin(), map.reader(), cell.reader());
    let before = Arc::strong_count(&shared);
    let (a, b, c, d) = (
        pinned.get(&1).unwrap(),
        reader.get(&1).unwrap(),
        cell.load(),
        handle.load(),
    );
    assert_eq!((**a, **b, *c, *d), (7, 7, 7, 7));
    map.with(&1, |v| assert_eq!(Arc::strong_count(v), before));
    assert_eq!(
        map.get_cloned(&1).map(|v| Arc::strong_count(&v)),
        Some(before + 1),
        "a clone is counted"
    );
}

#[test]
fn c1_snapshot_map_write_copies_every_entry_and_a_batch_copies_once() {
    #[derive(Debug)]
    struct Counted(Arc<AtomicUsize>);
    impl Clone for Counted {
        fn clone(&self) -> Self {
            // Relaxed: one thread.
            self.0.fetch_add(1, Ordering::Relaxed);
            Self(Arc::clone(&self.0))
        }
    }
    let clones = Arc::new(AtomicUsize::new(0));
    let map: SnapshotMap<usize, Counted> = (0..100).map(|i| (i, Counted(Arc::clone(&clones)))).collect();
    // Relaxed, all: one thread.
    let spent = |f: &dyn Fn()| {
        let before = clones.load(Ordering::Relaxed);
        f();
        clones.load(Ordering::Relaxed) - before
    };
    assert_eq!(spent(&|| drop(map.insert(0, Counted(Arc::clone(&clones))))), 100);
    let batch = || {
        map.batch(|b| {
            for i in 0..50 {
                b.insert(i, Counted(Arc::clone(&clones)));
            }
        });
    };
    assert_eq!(spent(&batch), 100, "O(n) a batch, not a change");
    assert_eq!(
        spent(&|| assert!(map.remove(&1000).is_none())),
        0,
        "nothing changed, nothing copied"
    );
    assert_eq!(spent(&|| drop(map.snapshot())), 0, "a snapshot is O(1)");
    assert_eq!(spent(&|| map.clear()), 0);
}

#[test]
fn c1_a_stalled_reader_pins_old_versions_bounded_and_visible() {
    let domain = tight_domain();
    let map = RcuMap::<u32, [u8; 1000]>::builder()
        .domain(domain.clone())
        .build();
    map.insert(1, [0; 1000]);
    let asleep = Barrier::new(2);
    std::thread::scope(|s| {
        // Dropped by a panic too, so that a failure is reported and not waited for.
        let (wake, woken) = mpsc::channel::<()>();
        let (map, ready) = (&map, &asleep);
        s.spawn(move || {
            let pinned = map.pin();
            let seen = pinned.get(&1).unwrap();
            ready.wait();
            let _ = woken.recv();
            assert_eq!(seen[999], 0, "still the version it met");
        });
        asleep.wait();
        let mut refused = None;
        for i in 0..100u32 {
            match map.try_insert(1, [i as u8 + 1; 1000]) {
                Ok(_) => assert!(refused.is_none()),
                Err(rejected) => {
                    assert!(rejected.to_string().contains("thread"), "{rejected}");
                    assert_eq!(rejected.stalled().limit, 4096);
                    refused.get_or_insert(rejected.into_value());
                }
            }
        }
        let (key, value) = refused.expect("the limit was never reached");
        assert!(key == 1 && value[0] > 1, "the refused value came back");
        let held = domain.stats();
        assert!(
            held.garbage >= 1000 && held.garbage <= 4096 + 2048,
            "bounded: {held:?}"
        );
        assert!(
            held.oldest_reader.is_some() && held.limit_refused > 0,
            "visible: {held:?}"
        );
        // A write that cannot be refused waits its time, then goes past the limit, counted.
        map.insert(1, [200; 1000]);
        assert!(domain.stats().limit_exceeded > 0);
        drop(wake);
    });
    assert!(
        map.try_insert(1, [7; 1000]).is_ok(),
        "writers go on once the reader has left"
    );
    domain.collect();
    assert!(domain.stats().garbage <= 2048, "{:?}", domain.stats());
}

#[test]
fn c1_try_writes_of_cell_and_snapshot_map_hand_the_value_back() {
    let domain = tight_domain();
    let cell = RcuCell::in_domain(Arc::new([0u8; 2000]), domain.clone());
    let map: SnapshotMap<i32, [u8; 2000]> =
        SnapshotMap::in_domain([(0, [0u8; 2000])].into_iter().collect(), domain.clone());
    let asleep = Barrier::new(2);
    std::thread::scope(|s| {
        // Dropped by a panic too, so that a failure is reported and not waited for.
        let (wake, woken) = mpsc::channel::<()>();
        let (cell, ready) = (&cell, &asleep);
        s.spawn(move || {
            let _pinned = cell.load();
            ready.wait();
            let _ = woken.recv();
        });
        asleep.wait();
        let back = (0..20u8).find_map(|i| cell.try_store([i; 2000]).err());
        assert!(back.is_some_and(|b| b.into_value().len() == 2000));
        let (key, value) = map.try_insert(3, [9; 2000]).unwrap_err().into_value();
        assert_eq!((key, value[0]), (3, 9));
        drop(wake);
    });
}

/// Runs `body` while a reader that sleeps holds the domain of `fill` past its limit of 4 KiB.
fn past_the_limit(domain: &Domain, fill: impl Fn() -> bool, body: impl FnOnce()) {
    let asleep = Barrier::new(2);
    std::thread::scope(|s| {
        // Dropped by a panic too, so that a failure is reported and not waited for.
        let (wake, woken) = mpsc::channel::<()>();
        let ready = &asleep;
        s.spawn(move || {
            let _pinned = domain.pin();
            ready.wait();
            let _ = woken.recv();
        });
        asleep.wait();
        assert!((0..1_000).any(|_| !fill()), "the limit was never reached");
        body();
        drop(wake);
    });
}

#[test]
fn c1_a_write_that_makes_no_garbage_neither_waits_nor_is_refused() {
    let domain = tight_domain();
    let map: RcuMap<u32, [u8; 1000]> = RcuMap::builder().domain(domain.clone()).build();
    map.insert(0, [0; 1000]);
    let fill = || map.try_insert(0, [1; 1000]).is_ok();
    past_the_limit(&domain, fill, || {
        let before = domain.stats();
        assert!(map.remove(&1).is_none() && map.update(&1, |v| *v).is_none());
        map.compute(0, |_| Action::Keep);
        map.compute(1, |_| Action::Remove);
        map.insert(1, [0; 1000]);
        assert!(map.try_insert(2, [0; 1000]).is_ok());
        map.extend((3..53).map(|key| (key, [0; 1000])));
        assert_eq!(map.retain(|_, _| true), 0);
        assert!(
            map.compare_exchange(0, Some(&[9; 1000]), None).is_err()
                && map.compare_exchange(60, None, Some([0; 1000])).is_ok()
        );
        let after = domain.stats();
        assert_eq!(
            (before.limit_exceeded, before.limit_refused),
            (after.limit_exceeded, after.limit_refused)
        );
        map.extend((0..50).map(|key| (key, [2; 1000])));
        assert_eq!(
            domain.stats().limit_exceeded,
            after.limit_exceeded + 1,
            "one wait a call"
        );
        map.retain(|key, _| *key >= 50);
        assert_eq!(domain.stats().limit_exceeded, after.limit_exceeded + 2);
        map.clear();
        assert_eq!(domain.stats().limit_exceeded, after.limit_exceeded + 3, "counted");
    });
}

#[test]
fn c1_try_writes_of_the_map_hand_back_what_they_were_given() {
    let domain = tight_domain();
    let map: RcuMap<u32, [u8; 1000]> = RcuMap::builder().domain(domain.clone()).build();
    map.insert(0, [0; 1000]);
    let fill = || map.try_insert(0, [1; 1000]).is_ok();
    past_the_limit(&domain, fill, || {
        let exceeded = domain.stats().limit_exceeded;
        assert_eq!(map.try_remove(&0).unwrap_err().limit, 4096);
        assert!(map.try_remove(&1).is_ok_and(|former| former.is_none()));
        let back = map.try_update(&0, |_| [7; 1000]).unwrap_err();
        assert_eq!(back.into_value()(&[0; 1000])[0], 7);
        assert!(map.try_update(&1, |v| *v).is_ok());
        let (key, mut decide) = map.try_compute(0, |_| Action::Remove).unwrap_err().into_value();
        assert_eq!((key, decide(None)), (0, Action::Remove));
        assert!(map.try_compute(0, |_| Action::Keep).is_ok());
        assert!(map.try_compute(1, |_| Action::Put([1; 1000])).is_ok());
        let (old, new) = (map.get_cloned(&0), Some([5; 1000]));
        let back = map.try_compare_exchange(0, old.as_ref(), new).unwrap_err();
        assert_eq!(back.into_value(), (0, new));
        assert!(
            map.try_compare_exchange(0, new.as_ref(), None)
                .is_ok_and(|found| found.is_err())
        );
        assert!(
            map.try_compare_exchange(2, None, new)
                .is_ok_and(|former| former.is_ok())
        );
        assert_eq!(map.try_retain(|_, _| true), Ok(0), "nothing is to go");
        assert_eq!(map.try_retain(|key, _| *key != 0).unwrap_err().limit, 4096);
        assert!(map.try_clear().is_err());
        assert_eq!((map.len(), domain.stats().limit_exceeded), (3, exceeded));
    });
    let old = map.get_cloned(&2);
    assert!(
        map.try_compare_exchange(2, old.as_ref(), None)
            .is_ok_and(|former| former.is_ok_and(|f| f.is_some()))
    );
    assert_eq!((map.try_retain(|key, _| *key == 0), map.len()), (Ok(1), 1));
    assert!(map.try_compute(0, |_| Action::Put([3; 1000])).is_ok());
    assert_eq!(map.get_cloned(&0).map(|v| v[0]), Some(3));
    assert!(map.try_update(&0, |_| [4; 1000]).is_ok() && map.try_remove(&0).is_ok());
    assert!(map.try_clear().is_ok() && map.is_empty());
}

#[test]
fn c1_try_writes_of_the_snapshot_map_hand_back_what_they_were_given() {
    let domain = tight_domain();
    let map: SnapshotMap<u32, [u8; 1000]> =
        SnapshotMap::in_domain([(0, [0; 1000])].into_iter().collect(), domain.clone());
    let fill = || map.try_insert(0, [1; 1000]).is_ok();
    past_the_limit(&domain, fill, || {
        let before = domain.stats();
        assert!(map.remove(&1).is_none() && !map.update(&1, |v| *v));
        assert_eq!(map.try_remove(&1), Ok(None));
        assert!(map.try_update(&1, |v| *v).is_ok_and(|present| !present));
        assert_eq!(domain.stats().limit_exceeded, before.limit_exceeded, "no wait");
        assert_eq!(map.try_remove(&0).unwrap_err().limit, 4096);
        let back = map.try_update(&0, |_| [7; 1000]).unwrap_err();
        assert_eq!(back.into_value()(&[0; 1000])[0], 7);
        assert!(map.try_clear().is_err());
        assert_eq!(
            (map.len(), domain.stats().limit_exceeded),
            (1, before.limit_exceeded)
        );
    });
    assert_eq!(map.try_update(&0, |_| [7; 1000]).ok(), Some(true));
    assert_eq!(map.try_remove(&0).map(|v| v.map(|v| v[0])), Ok(Some(7)));
    assert!(map.try_clear().is_ok());
}

#[test]
fn b5_a_forgotten_version_does_not_keep_its_reader_in_the_past() {
    let cell = RcuCell::new(1);
    let mut reader = cell.reader();
    std::mem::forget(reader.load());
    cell.store(2);
    assert_eq!(*reader.load(), 1, "held, for all it knows");
    assert_eq!(*reader.get(), 2);
    assert_eq!(*reader.load(), 2);
    std::mem::forget(reader.load());
    cell.store(3);
    assert!(reader.refresh() && !reader.refresh());
    assert_eq!(*reader.load(), 3);
    let map: SnapshotMap<u32, u32> = SnapshotMap::new();
    let mut reader = map.reader();
    std::mem::forget(reader.load());
    map.insert(1, 1);
    assert!(reader.refresh());
    assert_eq!(reader.with(&1, |v| *v), Some(1));
}

#[test]
fn c1_remove_update_batch_iteration_and_snapshot_work_together() {
    let map: RcuMap<u32, u32> = (0..1000).map(|i| (i, i)).collect();
    let snapshot = map.snapshot();
    assert_eq!(map.retain(|k, _| k % 2 == 0), 500);
    map.update(&0, |v| v + 1);
    map.compute(2, |_| Action::Remove);
    assert_eq!((map.len(), map.pin().iter().count()), (499, 499));
    assert_eq!(
        (snapshot.len(), snapshot.get(&2), snapshot.get(&1)),
        (1000, Some(&2), Some(&1))
    );
    assert!(snapshot.iter().all(|(k, v)| k == v));
}

/// Entries come in ascending order, so what is seen at any moment begins with the first, unless it is nothing.
#[test]
fn c1_clear_empties_the_map_at_one_moment() {
    let map: RcuMap<u32, u32> = RcuMap::new();
    std::thread::scope(|s| {
        let writer = s.spawn(|| {
            for _ in 0..400 {
                (0..200).for_each(|i| drop(map.insert(i, i)));
                map.clear();
            }
        });
        let mut whole = 0;
        while !writer.is_finished() {
            let snapshot = map.snapshot();
            assert_eq!(snapshot.iter().count(), snapshot.len());
            assert!(
                (0..snapshot.len() as u32).all(|i| snapshot.get(&i) == Some(&i)),
                "{} entries, and not the first ones: a map half emptied",
                snapshot.len()
            );
            whole += snapshot.len();
        }
        assert!(whole > 0, "nothing was ever seen");
    });
    assert!(map.is_empty());
    assert_eq!(map.pin().iter().count(), 0);
}

#[test]
fn c1_a_walk_goes_on_over_what_was_cleared_under_it() {
    let map: RcuMap<u32, u32> = (0..10_000).map(|i| (i, i)).collect();
    let pinned = map.pin();
    let mut walk = pinned.iter();
    let first = walk.next().map(|(key, _)| *key);
    map.clear();
    map.insert(1, 1);
    assert_eq!((map.len(), pinned.iter().count()), (1, 1));
    let mut met: Vec<_> = walk.map(|(key, _)| *key).chain(first).collect();
    met.sort_unstable();
    assert!(met.into_iter().eq(0..10_000), "the walk had begun before");
}

#[test]
fn c1_a_guard_of_another_domain_is_refused() {
    let map: RcuMap<u32, u32> = [(1, 1)].into_iter().collect();
    let other = Domain::new();
    let guard = other.pin();
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| map.get(&1, &guard).copied()));
    assert!(refused.is_err());
    let cell = RcuCell::new(1);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| *cell.get(&guard))).is_err());
}

#[test]
fn c1_a_key_present_throughout_is_never_absent_beside_replace_and_growth() {
    let map = RcuMap::<u64, u64>::builder().shards(1).build();
    map.insert(0, 0);
    std::thread::scope(|s| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                s.spawn(|| {
                    let reader = map.reader();
                    let mut last = 0;
                    while last < 20_000 {
                        let now = reader.with(&0, |v| *v).expect("the key was absent");
                        assert!(now >= last, "went back in time");
                        last = now;
                    }
                })
            })
            .collect();
        for i in 1..=20_000 {
            map.insert(0, i);
            map.insert(i, i);
            if i % 3 == 0 {
                map.remove(&(i - 1));
            }
        }
        readers.into_iter().for_each(|r| r.join().unwrap());
    });
}

#[test]
fn b5_readers_see_one_version_throughout_a_request() {
    struct Context {
        version: u64,
        routes: [u64; 8],
    }
    let context = Arc::new(RcuCell::new(Context {
        version: 0,
        routes: [0; 8],
    }));
    std::thread::scope(|s| {
        for _ in 0..2 {
            let handle = rcu_map::CellReader::new(Arc::clone(&context));
            s.spawn(move || {
                let mut last = 0;
                for _ in 0..20_000 {
                    let request = handle.load();
                    let first = request.version;
                    assert!(request.routes.iter().all(|r| *r == first), "one version, whole");
                    // Deeper in the same request, through the handle again.
                    assert_eq!(handle.load().version, first);
                    assert!(first >= last);
                    last = first;
                }
            });
        }
        for version in 1..=5_000 {
            context.store(Context {
                version,
                routes: [version; 8],
            });
        }
    });
    assert_eq!(context.load().version, 5_000);
}

#[test]
fn b5_a_snapshot_reader_holds_one_map_throughout() {
    let map = Arc::new(SnapshotMap::<u32, u32>::new());
    map.extend((0..10).map(|i| (i, 0)));
    let reader = SnapshotReader::new(Arc::clone(&map));
    std::thread::scope(|s| {
        s.spawn(|| {
            for round in 1..=500 {
                map.batch(|b| (0..10).for_each(|i| _ = b.insert(i, round)));
            }
        });
        s.spawn(move || {
            for _ in 0..2_000 {
                let seen = reader.load();
                let first = seen[&0];
                assert!((0..10).all(|i| seen[&i] == first && reader.with(&i, |v| *v) == Some(first)));
            }
        });
    });
}

#[test]
fn c10_a_walk_meets_every_entry_once_whatever_the_chunks() {
    for n in [0usize, 1, 7, 8, 31, 32, 33, 63, 64, 65, 1000, 5000] {
        for shards in [1, 2, 64] {
            let map = RcuMap::<usize, usize>::builder().shards(shards).build();
            map.extend((0..n).map(|i| (i, i)));
            let mut met: Vec<_> = map.pin().iter().map(|(k, _)| *k).collect();
            met.sort_unstable();
            assert!(met.into_iter().eq(0..n), "{n} entries, {shards} shards");
        }
    }
}

/// Where the nodes of a full map would exceed the processor's caches they are asked for ahead.
#[test]
fn c10_a_prefetched_walk_meets_every_entry_once() {
    let map = RcuMap::<u64, [u64; 8]>::builder().capacity(400_000).build();
    map.extend((0..1_000).map(|i| (i, [i; 8])));
    let pinned = map.pin();
    let by_fold = pinned.iter().fold(0, |sum, (_, value)| sum + value[7]);
    let mut by_next = 0;
    for (_, value) in pinned.iter() {
        by_next += value[7];
    }
    assert_eq!(
        (by_fold, by_next, pinned.iter().count()),
        (499_500, 499_500, 1_000)
    );
}

#[test]
fn c10_a_walk_beside_writers_meets_each_entry_that_stays_once() {
    let map: RcuMap<u64, u64> = (0..2_000).map(|i| (i, i)).collect();
    std::thread::scope(|s| {
        let churn = s.spawn(|| {
            for i in 0..40_000u64 {
                map.insert(10_000 + i % 5_000, i);
                map.remove(&(10_000 + (i * 7) % 5_000));
                map.insert(i % 2_000, i);
            }
        });
        while !churn.is_finished() {
            let pinned = map.pin();
            let mut met: Vec<_> = pinned.keys().filter(|k| **k < 2_000).copied().collect();
            met.sort_unstable();
            assert!(met.into_iter().eq(0..2_000));
        }
    });
}
