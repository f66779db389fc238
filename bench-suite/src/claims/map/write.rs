//! Writes, walks, and reads beside writes.

use super::keys::{Hasher, Keys, Size, start, value};
use crate::{Contest, Invalid, Row, Task, Worker, thread_cpu_ns};
use rcu_map::RcuMap;
use std::collections::HashMap;

type Ours = RcuMap<u64, u64, Hasher>;

fn ours(keys: &Keys<u64>) -> Ours {
    let map = RcuMap::<u64, u64>::builder().hasher(Hasher::default()).build();
    map.extend(keys.entries());
    map
}

#[cfg(feature = "peers")]
fn papaya(keys: &Keys<u64>) -> papaya::HashMap<u64, u64, Hasher> {
    let map = papaya::HashMap::with_hasher(Hasher::default());
    for (key, value) in keys.entries() {
        map.pin().insert(key, value);
    }
    map
}

/// One write in so many operations of `mixed`.
const WRITE_EVERY: u64 = 1_000;

/// Reads with a write now and then; each write stores the value that is there already, so reads can be checked.
fn mix(
    worker: &mut Worker<'_>,
    keys: &Keys<u64>,
    mut get: impl FnMut(&u64) -> u64,
    mut put: impl FnMut(u64, u64),
) -> Result<(), Invalid> {
    let from = start(worker.index);
    let mut asked = 0;
    let sum = worker.measure(|n| {
        asked = n;
        (from..from + n).fold(0u64, |sum, i| {
            let index = keys.index(i);
            if i % WRITE_EVERY == 0 {
                put(keys.keys[index], value(index));
                return sum.wrapping_add(value(index));
            }
            sum.wrapping_add(get(&keys.keys[index]))
        })
    });
    keys.verify(from, asked, sum)
}

pub(super) fn mixed(task: &Task<'_>, size: Size) -> Result<Row, Invalid> {
    let keys = Keys::<u64>::zipf(size);
    let map = ours(&keys);
    #[cfg(feature = "peers")]
    let (peer, dash, index) = {
        let dash = dashmap::DashMap::with_hasher(Hasher::default());
        let index = scc::HashIndex::with_hasher(Hasher::default());
        for (key, value) in keys.entries() {
            dash.insert(key, value);
            let _ = index.insert_sync(key, value);
        }
        (papaya(&keys), dash, index)
    };
    let locked = std::sync::RwLock::new(keys.entries().collect::<HashMap<u64, u64, Hasher>>());
    let mut contest = Contest::new(task);
    contest.ours("RcuMap", 2, |w| {
        let reader = map.reader();
        mix(
            w,
            &keys,
            |k| reader.with(k, |v| *v).unwrap_or(0),
            |k, v| drop(map.insert(k, v)),
        )
    });
    contest.peer("RwLock<HashMap>", 2, |w| {
        let read = |k: &u64| locked.read().ok().and_then(|m| m.get(k).copied()).unwrap_or(0);
        mix(w, &keys, read, |k, v| {
            drop(locked.write().map(|mut m| m.insert(k, v)));
        })
    });
    contest.faster_than(1.3, "RwLock<HashMap>");
    #[cfg(feature = "peers")]
    {
        contest.peer("papaya", 2, |w| {
            let put = |k, v| _ = peer.pin().insert(k, v);
            mix(w, &keys, |k| peer.pin().get(k).copied().unwrap_or(0), put)
        });
        contest.peer("dashmap", 2, |w| {
            mix(
                w,
                &keys,
                |k| dash.get(k).map_or(0, |v| *v),
                |k, v| _ = dash.insert(k, v),
            )
        });
        contest.peer("scc::HashIndex", 2, |w| {
            let put = |k, v| {
                if let scc::hash_index::Entry::Occupied(mut entry) = index.entry_sync(k) {
                    entry.update(v);
                }
            };
            // A key being updated there is absent for a moment, which a caller who knows it to be present has to bridge.
            let get = |k: &u64| {
                (0..10_000)
                    .find_map(|_| index.peek_with(k, |_, v| *v))
                    .unwrap_or(0)
            };
            mix(w, &keys, get, put)
        });
        contest.note("scc::HashIndex drops a key while it is updated: its lane looks again");
    }
    for peer in ["papaya", "dashmap", "scc::HashIndex"] {
        contest.faster_than(1.3, peer);
    }
    contest.run()
}

pub(super) fn replace(task: &Task<'_>, n: usize) -> Result<Row, Invalid> {
    let keys = Keys::<u64>::uniform(Size(n));
    let map = ours(&keys);
    let check = |former: Option<u64>| {
        if former.is_none() {
            return Err(Invalid("a replace found its key absent".into()));
        }
        Ok(())
    };
    #[cfg(feature = "peers")]
    let peer = papaya(&keys);
    let mut contest = Contest::new(task);
    contest.ours("RcuMap", 1, |w| {
        w.measure(|n| (0..n).try_for_each(|i| check(map.insert(*keys.at(i), i).as_deref().copied())))
    });
    #[cfg(feature = "peers")]
    contest.peer("papaya", 1, |w| {
        w.measure(|n| (0..n).try_for_each(|i| check(peer.pin().insert(*keys.at(i), i).copied())))
    });
    contest.at_most(0.95, "papaya");
    contest.run()
}

/// Times each insert of a growing map, by the CPU time of its thread, and reports what one in 100,000 exceeds.
fn growing(worker: &mut Worker<'_>, mut insert: impl FnMut(u64)) -> Result<(), Invalid> {
    // Touched beforehand, so that its own page faults are in nobody's time.
    let mut times = vec![u64::MAX; worker.ops() as usize];
    times.clear();
    worker.measure(|n| {
        for i in 0..n {
            let key = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let before = thread_cpu_ns();
            insert(key);
            times.push(thread_cpu_ns() - before);
        }
    });
    times.sort_unstable();
    let at = times.len() - 1 - times.len() / 100_000;
    worker.report(times[at] as f64 / 1_000.0);
    Ok(())
}

pub(super) fn worst_insert(task: &Task<'_>) -> Result<Row, Invalid> {
    let mut contest = Contest::new(task);
    contest.fixed_ops(if task.plan.quick { 250_000 } else { 1_000_000 });
    contest.ours("RcuMap", 1, |w| {
        let map: Ours = RcuMap::with_hasher(Hasher::default());
        growing(w, |k| drop(map.insert(k, k)))?;
        if map.len() as u64 != w.ops() {
            return Err(Invalid("inserts were lost".into()));
        }
        Ok(())
    });
    contest.floor("a box each, in no map", 1, |w| {
        let mut boxes = Vec::with_capacity(w.ops() as usize);
        growing(w, |k| boxes.push(Box::new((k, k))))
    });
    contest.peer("std HashMap", 1, |w| {
        let mut map = HashMap::with_hasher(Hasher::default());
        growing(w, |k| _ = map.insert(k, k))
    });
    #[cfg(feature = "peers")]
    contest.peer("papaya", 1, |w| {
        let map = papaya::HashMap::with_hasher(Hasher::default());
        growing(w, |k| _ = map.pin().insert(k, k))
    });
    contest.at_most(0.5, "papaya");
    contest.at_most(1.0 / 40.0, "std HashMap");
    contest.note("std HashMap copies itself ten times on the way from 1,000 entries to a million: one in 100,000 leaves those out");
    contest.run()
}

pub(super) fn iterate(task: &Task<'_>) -> Result<Row, Invalid> {
    const N: u64 = 100_000;
    let keys = Keys::<u64>::uniform(Size(N as usize));
    let map = ours(&keys);
    let plain: HashMap<u64, std::sync::Arc<u64>, Hasher> =
        keys.entries().map(|(k, v)| (k, std::sync::Arc::new(v))).collect();
    let expected = keys.entries().fold(0u64, |sum, (_, v)| sum.wrapping_add(v));
    let walk = |w: &mut Worker<'_>, sum: &dyn Fn() -> u64| {
        let wrong = w.measure(|_| (0..w_rounds(task)).filter(|_| sum() != expected).count());
        if wrong > 0 {
            return Err(Invalid("a walk missed an entry or met one twice".into()));
        }
        Ok(())
    };
    #[cfg(feature = "peers")]
    let peer = papaya(&keys);
    let mut contest = Contest::new(task);
    contest.fixed_ops(N * w_rounds(task));
    contest.ours("RcuMap", 1, |w| {
        walk(w, &|| {
            map.pin().iter().fold(0u64, |sum, (_, v)| sum.wrapping_add(*v))
        })
    });
    contest.floor("HashMap<K, Arc<V>>", 1, |w| {
        walk(w, &|| plain.values().fold(0u64, |sum, v| sum.wrapping_add(**v)))
    });
    #[cfg(feature = "peers")]
    contest.peer("papaya", 1, |w| {
        walk(w, &|| {
            peer.pin().iter().fold(0u64, |sum, (_, v)| sum.wrapping_add(*v))
        })
    });
    contest.at_most(1.5, "HashMap<K, Arc<V>>");
    contest.run()
}

/// Walks of one lane in one round.
fn w_rounds(task: &Task<'_>) -> u64 {
    if task.plan.quick { 4 } else { 20 }
}
