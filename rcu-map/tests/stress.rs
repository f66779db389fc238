//! Many threads, every operation, drop counting: each value is dropped exactly once.
#![cfg(not(any(loom, shuttle)))]

use rcu_map::{Action, RcuCell, RcuMap, SnapshotMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};
use sync_base::Domain;

/// Counts itself, and notices a second drop.
struct Counted {
    value: u64,
    gone: AtomicBool,
    alive: Arc<AtomicIsize>,
    made: Arc<AtomicUsize>,
}

#[derive(Clone, Default)]
struct Tally {
    alive: Arc<AtomicIsize>,
    made: Arc<AtomicUsize>,
}

impl Tally {
    fn make(&self, value: u64) -> Counted {
        // Relaxed, both: tallies read after every thread was joined.
        self.alive.fetch_add(1, Ordering::Relaxed);
        self.made.fetch_add(1, Ordering::Relaxed);
        Counted {
            value,
            gone: AtomicBool::new(false),
            alive: Arc::clone(&self.alive),
            made: Arc::clone(&self.made),
        }
    }

    fn settled(&self) {
        // Relaxed, both: every thread was joined.
        assert_eq!(self.alive.load(Ordering::Relaxed), 0, "leaked or dropped twice");
        assert!(
            self.made.load(Ordering::Relaxed) > 1_000,
            "the stress did nothing"
        );
    }
}

impl Counted {
    fn get(&self) -> u64 {
        // Relaxed: a value in use must not be gone, whoever dropped it.
        assert!(!self.gone.load(Ordering::Relaxed), "read after drop");
        self.value
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        Tally {
            alive: Arc::clone(&self.alive),
            made: Arc::clone(&self.made),
        }
        .make(self.get())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // Relaxed, both: tallies.
        assert!(!self.gone.swap(true, Ordering::Relaxed), "dropped twice");
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits for threads to their very end, what they free on the way out included: a scope alone waits for the closures.
fn end(running: Vec<std::thread::ScopedJoinHandle<'_, ()>>) {
    for thread in running {
        thread.join().expect("a thread failed");
    }
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state >> 11
}

#[test]
fn every_value_of_a_map_is_dropped_exactly_once() {
    let tally = Tally::default();
    let domain = Domain::builder().batch(8).build();
    let map = RcuMap::<u64, Counted>::builder()
        .shards(2)
        .domain(domain.clone())
        .build();
    std::thread::scope(|s| {
        let mut running = Vec::new();
        for seed in 1..=4u64 {
            let (map, tally) = (&map, &tally);
            running.push(s.spawn(move || {
                let reader = map.reader();
                let mut kept = Vec::new();
                let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                for i in 0..15_000u64 {
                    let roll = random(&mut state);
                    let key = roll % 97;
                    // Each value is its key and something else above it.
                    let value = key | i << 8;
                    match roll >> 20 & 15 {
                        0..=3 => drop(map.insert(key, tally.make(value))),
                        4 | 5 => drop(map.remove(&key)),
                        6 => drop(map.update(&key, |v| tally.make(v.get()))),
                        7 => drop(map.get_or_insert_with(key, || tally.make(value))),
                        8 => drop(map.compute(key, |v| match v {
                            Some(_) => Action::Remove,
                            None => Action::Put(tally.make(value)),
                        })),
                        9 => kept.extend(map.get_entry(&key)),
                        10 if i % 64 == 0 => _ = map.retain(|k, _| k % 3 != 0),
                        11 if i % 512 == 0 => map.clear(),
                        12 if i % 64 == 0 => {
                            assert!(map.snapshot().iter().all(|(k, v)| v.get() & 0xFF == *k));
                        }
                        13 if i % 64 == 0 => {
                            assert!(map.pin().iter().all(|(k, v)| v.get() & 0xFF == *k));
                        }
                        _ => {
                            let seen = reader.with(&key, Counted::get);
                            assert!(seen.is_none_or(|v| v & 0xFF == key));
                        }
                    }
                    if kept.len() > 32 {
                        assert!(kept.iter().all(|e| e.get() & 0xFF == *e.key()));
                        kept.clear();
                    }
                }
            }));
        }
        end(running);
    });
    drop(map);
    drop(domain);
    tally.settled();
}

#[test]
fn every_version_of_a_cell_is_dropped_exactly_once() {
    let tally = Tally::default();
    let domain = Domain::builder().batch(8).build();
    let cell = RcuCell::in_domain(Arc::new(tally.make(0)), domain.clone());
    let added = AtomicUsize::new(0);
    std::thread::scope(|s| {
        let mut running = Vec::new();
        for seed in 1..=3u64 {
            let (cell, tally, added) = (&cell, &tally, &added);
            running.push(s.spawn(move || {
                let mut reader = cell.reader();
                let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                let mut last = 0;
                for _ in 0..8_000 {
                    match random(&mut state) % 6 {
                        0 | 1 => {
                            cell.rcu(|v| tally.make(v.get() + 1));
                            // Relaxed: a tally.
                            added.fetch_add(1, Ordering::Relaxed);
                        }
                        2 => assert!(cell.load_full().get() >= last),
                        3 => last = reader.get().get(),
                        4 => assert!(reader.load().get() >= last),
                        _ => assert!(cell.load().get() >= last),
                    }
                }
            }));
        }
        end(running);
    });
    // Relaxed: every thread was joined.
    assert_eq!(cell.load().get(), added.load(Ordering::Relaxed) as u64);
    drop(cell);
    drop(domain);
    tally.settled();
}

#[test]
fn every_version_of_a_snapshot_map_is_dropped_exactly_once() {
    let tally = Tally::default();
    let domain = Domain::builder().batch(2).build();
    let map: SnapshotMap<u64, Counted> =
        SnapshotMap::in_domain((0..8).map(|i| (i, tally.make(0))).collect(), domain.clone());
    std::thread::scope(|s| {
        let mut running = Vec::new();
        for _ in 0..2 {
            running.push(s.spawn(|| {
                for _ in 0..300 {
                    map.batch(|b| {
                        let next = b[&0].get() + 1;
                        (0..8).for_each(|i| drop(b.insert(i, tally.make(next))));
                    });
                }
            }));
            running.push(s.spawn(|| {
                let reader = map.reader();
                for _ in 0..3_000 {
                    let seen = reader.load();
                    let first = seen[&0].get();
                    assert!(seen.values().all(|v| v.get() == first), "half a batch");
                }
            }));
        }
        end(running);
    });
    assert_eq!(map.with(&0, Counted::get), Some(600));
    drop(map);
    drop(domain);
    tally.settled();
}
