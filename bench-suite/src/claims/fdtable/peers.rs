//! The peers, each as its documentation recommends.

use super::{BELOW, OPEN, Value, churn, look_up};
use crate::Contest;
use crossbeam_epoch::{self as epoch, Atomic, Owned};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use sync_base::CachePadded;

/// Slots of crossbeam-epoch with the same bitmap as ours.
struct Slots {
    words: Vec<CachePadded<AtomicU64>>,
    slots: Vec<Atomic<Value>>,
}

impl Slots {
    fn new(open: u32) -> Self {
        let word = |at: u32| CachePadded::new(AtomicU64::new(if at < open / 64 { u64::MAX } else { 0 }));
        let slot = |n: u32| {
            if n < open {
                Atomic::new(Value::from(n))
            } else {
                Atomic::null()
            }
        };
        Self {
            words: (0..OPEN / 64).map(word).collect(),
            slots: (0..OPEN).map(slot).collect(),
        }
    }

    fn get(&self, number: u32) -> Option<Value> {
        let guard = epoch::pin();
        let slot = self.slots[number as usize].load(Ordering::Acquire, &guard);
        // SAFETY: retired only after it was unlinked, and the guard was there before.
        unsafe { slot.as_ref() }.copied()
    }

    fn insert_in(&self, word: usize, value: Value) -> Option<u32> {
        let node = Owned::new(value);
        let mut seen = self.words[word].load(Ordering::Relaxed);
        loop {
            let bit = seen.trailing_ones();
            let taken = seen | 1 << bit;
            match self.words[word].compare_exchange(seen, taken, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => {
                    let number = word as u32 * 64 + bit;
                    self.slots[number as usize].store(node, Ordering::Release);
                    return Some(number);
                }
                Err(now) => seen = now,
            }
        }
    }

    fn remove(&self, number: u32) -> Option<Value> {
        let guard = epoch::pin();
        let old = self.slots[number as usize].swap(epoch::Shared::null(), Ordering::AcqRel, &guard);
        // SAFETY: the guard protects it.
        let value = unsafe { old.as_ref() }.copied()?;
        self.words[(number / 64) as usize].fetch_and(!(1 << (number % 64)), Ordering::Release);
        // SAFETY: unlinked by the swap, so retired once; not null.
        unsafe { guard.defer_destroy(old) };
        Some(value)
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        for slot in std::mem::take(&mut self.slots) {
            // SAFETY: `&mut self`: nobody else reaches the slot.
            drop(unsafe { slot.try_into_owned() });
        }
    }
}

pub(super) fn get<'a>(contest: &mut Contest<'a>, threads: usize, order: &'a [u32]) {
    let slots = Slots::new(OPEN);
    contest.peer("crossbeam-epoch", threads, move |w| {
        look_up(w, order, |n| slots.get(n).unwrap_or(0))
    });
    let map: dashmap::DashMap<u32, Arc<Value>> = (0..OPEN).map(|n| (n, Arc::new(n.into()))).collect();
    contest.peer("dashmap", threads, move |w| {
        look_up(w, order, |n| map.get(&n).map_or(0, |v| **v))
    });
    let slab = sharded_slab::Slab::new();
    let keys: Vec<usize> = (0..OPEN).filter_map(|n| slab.insert(Value::from(n))).collect();
    contest.peer("sharded-slab", threads, move |w| {
        look_up(w, order, |n| slab.get(keys[n as usize]).map_or(0, |v| *v))
    });
    let map = papaya::HashMap::<u32, Arc<Value>>::new();
    (0..OPEN).for_each(|n| drop(map.pin().insert(n, Arc::new(n.into())).cloned()));
    contest.peer("papaya", threads, move |w| {
        look_up(w, order, |n| map.pin().get(&n).map_or(0, |v| **v))
    });
}

pub(super) fn lowest(contest: &mut Contest<'_>) {
    let slots = Slots::new(BELOW);
    contest.peer("crossbeam-epoch", 2, move |w| {
        churn(
            w,
            |v| slots.insert_in((BELOW / 64) as usize, v),
            |n| slots.remove(n),
        )
    });
}

pub(super) fn any(contest: &mut Contest<'_>) {
    let slots = Slots::new(BELOW);
    contest.peer("crossbeam-epoch", 2, move |w| {
        let home = (BELOW / 64) as usize + w.index;
        churn(w, |v| slots.insert_in(home, v), |n| slots.remove(n))
    });
    let slab = sharded_slab::Slab::new();
    contest.peer("sharded-slab", 2, move |w| {
        churn(w, |v| slab.insert(v), |key| slab.take(key))
    });
}
