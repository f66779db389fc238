//! sync-base's reclamation domain under shuttle: more threads and more operations than loom explores, logic alone.
//!
//! Objects are never given back to the allocator: freeing one marks it, and a reader that meets the mark inside its
//! section has found a defect. Afterwards each object was freed exactly once.
#![cfg(shuttle)]

use std::sync::Mutex;
use sync_base::atomic::{AtomicPtr, AtomicUsize, Ordering};
use sync_base::domain::Guard;
use sync_base::sync::Arc;
use sync_base::{Domain, thread};

const SCHEDULES: usize = 1_000;
const DEPTH: usize = 3;

/// An object with the number of times that it was freed.
struct Object {
    freed: AtomicUsize,
    all: Heap,
    /// Retires another when it is freed.
    heir: Option<Domain>,
}

/// Every object ever made; freed by the last holder, after the schedule.
type Heap = Arc<Mutex<Vec<usize>>>;

fn object(all: &Heap, heir: Option<Domain>) -> *mut Object {
    let made = Box::into_raw(Box::new(Object {
        freed: AtomicUsize::new(0),
        all: Arc::clone(all),
        heir,
    }));
    all.lock().unwrap().push(made as usize);
    made
}

unsafe fn reclaim(object: *mut ()) {
    // SAFETY: objects live until the schedule is over.
    let object = unsafe { &*object.cast::<Object>() };
    assert_eq!(object.freed.fetch_add(1, Ordering::AcqRel), 0, "freed twice");
    if let Some(domain) = &object.heir {
        retire(domain, self::object(&object.all, None));
    }
}

fn retire(domain: &Domain, object: *mut Object) {
    // SAFETY: unlinked, once; `reclaim` is for objects.
    unsafe { domain.retire(object.cast(), 8, reclaim) };
}

fn read(root: &AtomicPtr<Object>, _guard: &Guard<'_>) {
    let found = root.load(Ordering::Acquire);
    for _ in 0..2 {
        thread::yield_now();
        // SAFETY: objects live until the schedule is over.
        assert_eq!(
            unsafe { &*found }.freed.load(Ordering::Acquire),
            0,
            "freed under a reader"
        );
    }
}

/// Readers that nest and repin, writers that replace and end, one that collects; `batch` objects wait for a barrier.
fn meeting(batch: usize, readers: usize, writers: usize) {
    let all = Heap::default();
    let domain = Domain::builder().batch(batch).build();
    let root = Arc::new(AtomicPtr::new(object(&all, None)));
    let mut threads = Vec::new();
    for me in 0..readers {
        let (domain, root) = (domain.clone(), Arc::clone(&root));
        threads.push(thread::spawn(move || {
            let own = domain.reader();
            let mut guard = if me % 2 == 0 { domain.pin() } else { own.pin() };
            read(&root, &guard);
            let inner = domain.pin();
            read(&root, &guard);
            drop(inner);
            let _ = guard.repin();
            read(&root, &guard);
        }));
    }
    for me in 0..writers {
        let (domain, root, all) = (domain.clone(), Arc::clone(&root), Arc::clone(&all));
        threads.push(thread::spawn(move || {
            for round in 0..3 {
                let heir = (round == 1).then(|| domain.clone());
                let guard = (me == 0).then(|| domain.pin());
                retire(&domain, root.swap(object(&all, heir), Ordering::AcqRel));
                if let Some(guard) = guard {
                    read(&root, &guard);
                }
            }
        }));
    }
    let (sweeper, left) = (domain.clone(), Arc::clone(&root));
    threads.push(thread::spawn(move || {
        sweeper.collect();
        read(&left, &sweeper.pin());
        sweeper.collect();
    }));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    retire(&domain, root.load(Ordering::Acquire));
    domain.collect();
    let garbage = domain.stats().garbage;
    let objects = std::mem::take(&mut *all.lock().unwrap());
    for object in objects {
        // SAFETY: every thread is gone, and each object was made by `Box`.
        let object = unsafe { Box::from_raw(object as *mut Object) };
        assert_eq!(object.freed.load(Ordering::Acquire), 1, "each freed exactly once");
    }
    assert_eq!(garbage, 0);
}

#[test]
fn every_schedule_frees_each_object_once_and_none_under_a_reader() {
    shuttle::check_pct(|| meeting(1, 2, 2), SCHEDULES, DEPTH);
    shuttle::check_pct(|| meeting(3, 3, 3), SCHEDULES, DEPTH);
    shuttle::check_random(|| meeting(2, 3, 2), SCHEDULES);
    shuttle::check_random(|| meeting(3, 2, 4), SCHEDULES / 2);
}
