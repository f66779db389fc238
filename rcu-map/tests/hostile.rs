//! Panics in every user callback, re-entrant use, odd sizes, odd drop orders.
#![cfg(not(any(loom, shuttle)))]

use rcu_map::{Action, RcuCell, RcuMap, SnapshotMap};
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};
use sync_base::Domain;

/// What the next callback does, for the callbacks that a key or value makes.
#[derive(Default)]
struct Mood {
    hash: AtomicBool,
    eq: AtomicBool,
    clone: AtomicBool,
    drop: AtomicBool,
    alive: AtomicIsize,
}

fn panic_if(flag: &AtomicBool, what: &str) {
    // Relaxed: one thread.
    if flag.load(Ordering::Relaxed) && !std::thread::panicking() {
        panic!("{what} panics");
    }
}

struct Moody(u32, Arc<Mood>);

impl Moody {
    fn new(n: u32, mood: &Arc<Mood>) -> Self {
        // Relaxed: a tally.
        mood.alive.fetch_add(1, Ordering::Relaxed);
        Self(n, Arc::clone(mood))
    }
}
impl Hash for Moody {
    fn hash<H: Hasher>(&self, state: &mut H) {
        panic_if(&self.1.hash, "hash");
        self.0.hash(state);
    }
}
impl PartialEq for Moody {
    fn eq(&self, other: &Self) -> bool {
        panic_if(&self.1.eq, "eq");
        self.0 == other.0
    }
}
impl Eq for Moody {}
impl Clone for Moody {
    fn clone(&self) -> Self {
        panic_if(&self.1.clone, "clone");
        Self::new(self.0, &self.1)
    }
}
impl Drop for Moody {
    fn drop(&mut self) {
        // Relaxed: a tally.
        self.1.alive.fetch_sub(1, Ordering::Relaxed);
        panic_if(&self.1.drop, "drop");
    }
}

fn panics(f: impl FnOnce()) {
    assert!(
        catch_unwind(AssertUnwindSafe(f)).is_err(),
        "the callback was not reached"
    );
}

// Relaxed, in all of these: one thread.
fn set(flag: &AtomicBool, on: bool) {
    flag.store(on, Ordering::Relaxed);
}
fn alive(mood: &Mood) -> isize {
    mood.alive.load(Ordering::Relaxed)
}

#[test]
fn a_panicking_hash_eq_or_clone_leaves_the_map_as_it_was() {
    let mood = Arc::new(Mood::default());
    let map: RcuMap<Moody, Moody> = RcuMap::<Moody, Moody>::builder()
        .shards(1)
        .domain(Domain::new())
        .build();
    let m = |n| Moody::new(n, &mood);
    for i in 0..20 {
        map.insert(m(i), m(i));
    }
    for flag in [&mood.hash, &mood.eq] {
        set(flag, true);
        panics(|| drop(map.insert(m(3), m(99))));
        panics(|| drop(map.remove(&m(3))));
        panics(|| drop(map.update(&m(3), |_| m(99))));
        panics(|| drop(map.compute(m(3), |_| Action::Put(m(99)))));
        panics(|| drop(map.get_or_insert_with(m(3), || m(99))));
        panics(|| drop(map.compare_exchange(m(3), Some(&m(3)), Some(m(99)))));
        panics(|| drop(map.get_entry(&m(3))));
        panics(|| map.extend([(m(3), m(99))]));
        set(flag, false);
    }
    set(&mood.clone, true);
    panics(|| drop(map.update(&m(3), |_| m(99))));
    set(&mood.clone, false);
    assert_eq!(map.len(), 20);
    assert!((0..20).all(|i| map.with(&m(i), |v| v.0) == Some(i)));
    drop(map);
    assert_eq!(alive(&mood), 0, "what the panics interrupted was dropped");
}

#[test]
fn a_panicking_closure_leaves_the_map_as_it_was_and_no_lock_behind() {
    let map: RcuMap<u32, u32> = (0..100).map(|i| (i, i)).collect();
    let boom = || -> u32 { panic!("closure") };
    panics(|| _ = map.with(&1, |_| boom()));
    panics(|| drop(map.update(&1, |_| boom())));
    panics(|| drop(map.compute(1, |_| Action::Put(boom()))));
    panics(|| drop(map.get_or_insert_with(1000, boom)));
    panics(|| _ = map.retain(|_, _| boom() == 0));
    panics(|| map.extend((0..10).map(|i| if i == 5 { (boom(), 0) } else { (i, i) })));
    assert_eq!(map.len(), 100);
    assert!(
        (0..100).all(|i| map.insert(i, i).is_some()),
        "every shard can still be written"
    );
    let cell = RcuCell::new(1);
    panics(|| drop(cell.rcu(|_| panic!("closure"))));
    panics(|| cell.with(|_| panic!("closure")));
    assert_eq!(*cell.load(), 1);
}

#[test]
fn a_panicking_batch_publishes_nothing() {
    let map: SnapshotMap<u32, u32> = (0..10).map(|i| (i, i)).collect();
    panics(|| {
        map.batch(|b| {
            b.insert(1, 99);
            panic!("batch");
        })
    });
    panics(|| map.retain(|_, _| panic!("retain")));
    panics(|| _ = map.update(&1, |_| panic!("update")));
    let refused: Result<(), &str> = map.try_batch(|b| {
        b.clear();
        Err("no")
    });
    assert!(refused.is_err());
    assert_eq!((map.len(), map.get_cloned(&1)), (10, Some(1)));
    assert_eq!(map.insert(1, 2), Some(1), "the lock is free");
}

#[test]
fn a_panicking_drop_keeps_no_other_value_alive() {
    let mood = Arc::new(Mood::default());
    let map: RcuMap<u32, Moody> = RcuMap::<u32, Moody>::builder().domain(Domain::new()).build();
    for i in 0..100 {
        map.insert(i, Moody::new(i, &mood));
    }
    set(&mood.drop, true);
    panics(|| drop(map));
    assert_eq!(alive(&mood), 0);
}

#[test]
fn closures_may_use_the_map_they_are_called_from() {
    let map: RcuMap<u32, u32> = RcuMap::<u32, u32>::builder().shards(1).build();
    map.extend((0..10).map(|i| (i, i)));
    map.with(&1, |_| {
        map.insert(1, 100);
        map.remove(&2);
        map.clear();
        map.extend((0..10).map(|i| (i, i)));
    });
    map.compute(1, |v| {
        map.insert(50, 50);
        Action::Put(v.copied().unwrap_or(0) + 1)
    });
    let made = map.get_or_insert_with(60, || map.insert(61, 61).map_or(1, |_| 2));
    assert_eq!((*made, map.get_cloned(&61)), (1, Some(61)));
    // The closure stores the very key that is being made: that entry stands.
    assert_eq!(
        *map.get_or_insert_with(70, || map.insert(70, 7).map_or(8, |_| 9)),
        7
    );
    map.retain(|k, _| {
        map.insert(1000 + *k, 0);
        *k >= 1000 || k % 2 == 0
    });
    assert!(map.contains_key(&0) && !map.contains_key(&1));
    let pinned = map.pin();
    for (k, _) in pinned.iter() {
        map.remove(k);
    }
}

/// A key or value that panics when it is dropped, if it is the named one.
struct Bomb(&'static str, Arc<Fuse>);
#[derive(Default)]
struct Fuse {
    lit: std::sync::Mutex<&'static str>,
    alive: AtomicIsize,
}
impl Bomb {
    fn new(name: &'static str, fuse: &Arc<Fuse>) -> Self {
        // Relaxed: a tally.
        fuse.alive.fetch_add(1, Ordering::Relaxed);
        Self(name, Arc::clone(fuse))
    }
}
// All are one key, and equal values.
impl Hash for Bomb {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
impl PartialEq for Bomb {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for Bomb {}
impl Drop for Bomb {
    fn drop(&mut self) {
        // Relaxed: a tally.
        self.1.alive.fetch_sub(1, Ordering::Relaxed);
        let lit = {
            let mut lit = self.1.lit.lock().unwrap();
            *lit == self.0 && std::mem::take(&mut *lit) == self.0
        };
        assert!(!lit, "{} panics", self.0);
    }
}

#[test]
fn a_panicking_drop_of_what_was_passed_in_leaks_no_entry() {
    type Map = RcuMap<Bomb, Bomb>;
    type Write = fn(&Map, &dyn Fn(&'static str) -> Bomb);
    let writes: [(&str, bool, Write); 7] = [
        ("arg", true, |map, b| {
            drop(map.compute(b("arg"), |_| Action::Remove))
        }),
        ("arg", true, |map, b| {
            drop(map.compute(b("arg"), |_| Action::Keep))
        }),
        ("arg", true, |map, b| {
            drop(map.get_or_insert_with(b("arg"), || b("made")))
        }),
        ("arg", false, |map, b| {
            let make = || map.insert(b("k"), b("v")).map_or_else(|| b("made"), |_| b("odd"));
            drop(map.get_or_insert_with(b("arg"), make));
        }),
        ("made", false, |map, b| {
            let make = || map.insert(b("k"), b("v")).map_or_else(|| b("made"), |_| b("odd"));
            drop(map.get_or_insert_with(b("arg"), make));
        }),
        ("arg", true, |map, b| {
            let expected = b("expected");
            drop(map.compare_exchange(b("arg"), Some(&expected), None));
        }),
        ("closure", true, |map, b| {
            let owned = b("closure");
            drop(map.compute(b("arg"), move |_| {
                assert_eq!(owned.0, "closure");
                Action::Remove
            }));
        }),
    ];
    for (number, (lit, present, write)) in writes.into_iter().enumerate() {
        let (fuse, domain) = (Arc::new(Fuse::default()), Domain::new());
        let bomb = |name| Bomb::new(name, &fuse);
        let map: Map = RcuMap::builder().domain(domain.clone()).build();
        if present {
            map.insert(bomb("k"), bomb("v"));
        }
        *fuse.lit.lock().unwrap() = lit;
        panics(|| write(&map, &bomb));
        drop(map);
        domain.collect();
        // Relaxed: one thread.
        assert_eq!(fuse.alive.load(Ordering::Relaxed), 0, "write {number}");
    }
}

#[test]
#[should_panic(expected = "capacity overflow")]
fn room_for_more_than_the_address_space_is_refused() {
    let _: RcuMap<u8, u8> = RcuMap::with_capacity(usize::MAX);
}

/// A key whose comparison writes to the map it stands in.
struct Reentrant(u32, &'static std::sync::OnceLock<RcuMap<Reentrant, u32>>);
impl Hash for Reentrant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl PartialEq for Reentrant {
    fn eq(&self, other: &Self) -> bool {
        if self.0 == 7 && other.0 == 7 {
            self.1.get().unwrap().remove(&Reentrant(8, self.1));
        }
        self.0 == other.0
    }
}
impl Eq for Reentrant {}

#[test]
fn an_eq_that_writes_to_its_map_panics_instead_of_deadlocking() {
    let map: &'static _ = Box::leak(Box::new(std::sync::OnceLock::new()));
    map.get_or_init(|| RcuMap::builder().shards(1).build());
    let map_ref = map.get().unwrap();
    map_ref.insert(Reentrant(7, map), 1);
    panics(|| drop(map_ref.insert(Reentrant(7, map), 2)));
    assert!(
        map_ref.insert(Reentrant(9, map), 3).is_none(),
        "the shard is not left locked"
    );
}

type Act = dyn Fn(&'static RcuMap<Acting, u32>) + Sync;
/// A key whose comparison does something with the map it stands in.
struct Acting(
    u32,
    Option<(&'static Act, &'static std::sync::OnceLock<RcuMap<Acting, u32>>)>,
);
impl Hash for Acting {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl PartialEq for Acting {
    fn eq(&self, other: &Self) -> bool {
        for (act, map) in [self.1, other.1].into_iter().flatten() {
            act(map.get().unwrap());
        }
        self.0 == other.0
    }
}
impl Eq for Acting {}

/// Two threads that each held a shard and wanted the other's would wait for ever.
#[test]
fn an_eq_that_takes_any_lock_of_its_map_panics_instead_of_deadlocking() {
    static MAP: std::sync::OnceLock<RcuMap<Acting, u32>> = std::sync::OnceLock::new();
    static REFUSED: AtomicUsize = AtomicUsize::new(0);
    // Relaxed, all: one thread.
    fn refused(f: impl FnOnce()) {
        panics(f);
        REFUSED.fetch_add(1, Ordering::Relaxed);
    }
    let map = MAP.get_or_init(RcuMap::new);
    map.insert(Acting(7, None), 1);
    let act: &'static Act = &|map| {
        (100..200).for_each(|key| refused(|| drop(map.insert(Acting(key, None), 0))));
        refused(|| drop(map.snapshot()));
        refused(|| map.clear());
        let other: RcuMap<u32, u32> = RcuMap::new();
        assert!(other.insert(1, 1).is_none() && map.get_cloned(&Acting(7, None)) == Some(1));
    };
    map.insert(Acting(7, Some((act, &MAP))), 2);
    assert_eq!((REFUSED.load(Ordering::Relaxed), map.len()), (102, 1));
    (100..200).for_each(|key| assert!(map.insert(Acting(key, None), 0).is_none()));
}

/// Each of two threads, in user code under one map's lock, writes to the other's map.
#[test]
fn c1_two_maps_written_crosswise_from_under_their_locks_panic_instead_of_deadlocking() {
    let maps: [SnapshotMap<u32, u32>; 2] = [SnapshotMap::new(), SnapshotMap::new()];
    let both = std::sync::Barrier::new(2);
    let ended = std::thread::scope(|s| {
        let threads = [0, 1].map(|of| {
            let (maps, both) = (&maps, &both);
            s.spawn(move || {
                maps[of].batch(|batch| {
                    both.wait();
                    batch.insert(1, 1);
                    maps[1 - of].insert(2, 2)
                })
            })
        });
        threads.map(|thread| thread.join())
    });
    let refused: Vec<_> = ended.iter().filter_map(|end| end.as_ref().err()).collect();
    assert_eq!(refused.len(), 1, "one gives way, the other goes on");
    let text = refused[0].downcast_ref::<&str>().unwrap();
    assert!(text.contains("wait for each other for ever"), "{text}");
    let of_the_other = usize::from(ended[0].is_err());
    assert_eq!(maps[of_the_other].get_cloned(&1), Some(1));
    assert_eq!(
        maps[1 - of_the_other].get_cloned(&1),
        None,
        "its batch was not published"
    );
    assert_eq!(maps[1 - of_the_other].get_cloned(&2), Some(2));
    assert!(maps[0].insert(3, 3).is_none() && maps[1].insert(3, 3).is_none());
}

#[test]
fn a_batch_inside_a_batch_panics_instead_of_deadlocking() {
    let map: SnapshotMap<u32, u32> = SnapshotMap::new();
    panics(|| {
        map.batch(|b| {
            b.insert(1, 1);
            map.insert(2, 2);
        });
    });
    assert!(map.is_empty());
    map.batch(|b| {
        assert_eq!(map.len(), 0, "reading inside a batch is fine");
        b.insert(1, 1);
    });
}

#[test]
fn zero_sized_and_huge_values_work() {
    let units: RcuMap<u32, ()> = (0..100).map(|i| (i, ())).collect();
    assert_eq!((units.len(), units.pin().get(&5)), (100, Some(&())));
    assert_eq!(units.retain(|k, ()| *k < 10), 90);
    let nothing: RcuMap<(), ()> = RcuMap::new();
    assert!(nothing.insert((), ()).is_none() && nothing.insert((), ()).is_some());
    assert_eq!(nothing.len(), 1);
    let huge: RcuMap<u8, [u64; 8192]> = RcuMap::new();
    for i in 0..20 {
        huge.insert(1, [i; 8192]);
    }
    assert!(huge.with(&1, |v| v.iter().all(|w| *w == 19)).unwrap());
    let empty_cell = RcuCell::new(());
    empty_cell.store(());
    assert!(
        empty_cell
            .compare_exchange(&empty_cell.load(), Arc::new(()))
            .is_ok()
    );
    #[repr(align(256))]
    #[derive(Debug, PartialEq)]
    struct Aligned(u8);
    let aligned: RcuMap<u8, Aligned> = [(1, Aligned(2))].into_iter().collect();
    assert_eq!(aligned.with(&1, |v| std::ptr::from_ref(v).addr() % 256), Some(0));
}

#[test]
fn handles_outlive_the_map_in_any_order() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    struct Counts;
    impl Drop for Counts {
        fn drop(&mut self) {
            // Relaxed: one thread.
            DROPS.fetch_add(1, Ordering::Relaxed);
        }
    }
    let domain = Domain::new();
    let map = RcuMap::<u32, Counts>::builder().domain(domain.clone()).build();
    for i in 0..4 {
        map.insert(i, Counts);
    }
    let entry = map.get_entry(&0).unwrap();
    let clone = entry.clone();
    let snapshot = map.snapshot();
    let removed = map.remove(&1).unwrap().into_entry();
    let reader = Arc::new(map);
    let shared = reader.shared_reader();
    drop(reader);
    assert!(shared.get(&2).is_some());
    drop(shared);
    // Relaxed, all: one thread.
    assert_eq!(DROPS.load(Ordering::Relaxed), 0, "all are held");
    drop(snapshot);
    drop(domain);
    assert_eq!(DROPS.load(Ordering::Relaxed), 2);
    assert!(entry.same(&clone));
    drop(entry);
    drop(removed);
    assert_eq!(DROPS.load(Ordering::Relaxed), 3);
    assert!(clone.try_into_parts().is_ok());
    assert_eq!(DROPS.load(Ordering::Relaxed), 4);
}

#[test]
fn a_value_may_write_to_a_map_when_it_is_dropped() {
    static LOG: std::sync::OnceLock<RcuMap<u32, u32>> = std::sync::OnceLock::new();
    struct Logs(u32);
    impl Drop for Logs {
        fn drop(&mut self) {
            LOG.get_or_init(RcuMap::new).insert(self.0, self.0);
        }
    }
    let domain = Domain::new();
    let map = RcuMap::<u32, Logs>::builder().domain(domain.clone()).build();
    for i in 0..500 {
        map.insert(i % 5, Logs(i));
    }
    map.clear();
    domain.collect();
    drop(map);
    drop(domain);
    assert_eq!(LOG.get().unwrap().len(), 500);
}

#[cfg(feature = "serde")]
#[test]
fn maps_and_cells_survive_json() {
    let map: RcuMap<String, u32> = [("a".into(), 1), ("b".into(), 2)].into_iter().collect();
    let text = serde_json::to_string(&map).unwrap();
    let back: RcuMap<String, u32> = serde_json::from_str(&text).unwrap();
    assert_eq!((back.len(), back.get_cloned("b")), (2, Some(2)));
    let snapshot: SnapshotMap<String, u32> = serde_json::from_str(&text).unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&serde_json::to_string(&snapshot).unwrap()).unwrap()["a"],
        1
    );
    let cell: RcuCell<Vec<u8>> = serde_json::from_str("[1,2]").unwrap();
    assert_eq!(serde_json::to_string(&cell).unwrap(), "[1,2]");
    assert!(serde_json::from_str::<RcuMap<String, u32>>("[1]").is_err());
}

#[cfg(feature = "arc-swap")]
#[test]
fn code_written_for_arc_swap_reads_a_cell() {
    use arc_swap::access::{Access, DynAccess, Map};
    fn read(config: &impl Access<u32>) -> u32 {
        *config.load()
    }
    let cell = Arc::new(RcuCell::new((1u32, "x")));
    let first = Map::new(Arc::clone(&cell), |pair: &(u32, &str)| &pair.0);
    assert_eq!(read(&first), 1);
    cell.store((2, "y"));
    assert_eq!(read(&first), 2);
    let boxed: Box<dyn DynAccess<(u32, &str)>> = Box::new(Arc::clone(&cell));
    assert_eq!(DynAccess::load(&*boxed).1, "y");
}
