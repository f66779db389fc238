//! rcu-map's writers' lock: one holder at a time, who waits is woken, and who would wait for ever panics.
#![cfg(loom)]

use loom_tests::{Bounds, check};
use rcu_map::RcuMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use sync_base::interrupt::{Model, under};
use sync_base::sync::Arc;
use sync_base::{Domain, thread};

fn bounds(threads: usize, quick: usize) -> Bounds {
    Bounds {
        threads,
        quick,
        deep: quick + 1,
    }
}

#[derive(Default)]
struct Same;
impl Hasher for Same {
    fn finish(&self) -> u64 {
        0
    }
    fn write(&mut self, _: &[u8]) {}
}

type Map<K> = RcuMap<K, u32, BuildHasherDefault<Same>>;

/// A map of one shard with room for all that a model stores, in a domain of its own.
fn map<K: Hash + Eq + Send + Sync>() -> Map<K> {
    RcuMap::<K, u32>::builder()
        .shards(1)
        .capacity(6)
        .hasher(BuildHasherDefault::default())
        .domain(Domain::builder().batch(100).build())
        .build()
}

/// Each of `writers` threads inserts a key of its own: a lost wake-up is a deadlock, a lost exclusion a lost entry.
fn writers(count: u32) {
    let map = Arc::new(map::<u32>());
    let threads: Vec<_> = (0..count)
        .map(|key| {
            let map = Arc::clone(&map);
            thread::spawn(move || {
                map.insert(key, key);
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(map.len(), count as usize);
    assert!((0..count).all(|key| map.pin().get(&key) == Some(&key)));
}

#[test]
fn a_writer_that_sleeps_for_the_lock_is_woken() {
    under(Model::Interrupt, || {
        check("map.lock_sleeper_is_woken", bounds(3, 3), || writers(2));
    });
}

#[test]
fn a_writer_that_sleeps_for_the_lock_is_woken_where_both_sides_fence() {
    under(Model::Fence, || {
        check("map.lock_sleeper_is_woken.fenced", bounds(3, 3), || writers(2));
    });
}

#[test]
fn of_several_that_sleep_each_is_woken() {
    check("map.lock_sleepers_are_woken", bounds(4, 1), || writers(3));
}

/// A key that, when it is compared, writes to the other map.
struct Crossing(Arc<[Map<Crossing>; 2]>, Option<usize>);
impl Hash for Crossing {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
impl PartialEq for Crossing {
    fn eq(&self, _: &Self) -> bool {
        if let Some(other) = self.1 {
            self.0[other].remove(&Crossing(Arc::clone(&self.0), None));
        }
        true
    }
}
impl Eq for Crossing {}

#[test]
fn writers_that_wait_for_each_other_crosswise_panic() {
    check("map.lock_crosswise", bounds(3, 2), || {
        let maps = Arc::new([map(), map()]);
        for of in 0..2 {
            maps[of].insert(Crossing(Arc::clone(&maps), None), 0);
        }
        let threads = [0, 1].map(|of| {
            let maps = Arc::clone(&maps);
            thread::spawn(move || {
                let key = Crossing(Arc::clone(&maps), Some(1 - of));
                catch_unwind(AssertUnwindSafe(|| drop(maps[of].remove(&key)))).is_ok()
            })
        });
        let ended = threads.map(|t| t.join().unwrap());
        assert!(ended.contains(&true), "at most one gives way");
        // The maps hold keys that hold the maps.
        for map in maps.iter() {
            map.clear();
            map.domain().collect();
        }
    });
}
