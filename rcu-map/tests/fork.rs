//! Writes in the child of a fork, to maps that absent threads were writing.
#![cfg(not(any(loom, shuttle)))]

use rcu_map::{RcuMap, SnapshotMap};
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, mpsc};

/// Runs `body` in a forked child; true if it returned true before its time was up.
fn in_child(body: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs `body` and exits without unwinding or running exit handlers.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            // SAFETY: a child that hangs is ended by a signal, which is no exit.
            unsafe { libc::alarm(60) };
            let ok = catch_unwind(AssertUnwindSafe(body)).unwrap_or(false);
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(!ok)) }
        }
        child => {
            let mut status = 0;
            // SAFETY: waits for our child.
            let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
            waited == child && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
        }
    }
}

/// Whether a write says, by a panic, that it can never have the lock.
fn is_refused(write: impl FnOnce()) -> bool {
    let Err(panic) = catch_unwind(AssertUnwindSafe(write)) else {
        return false;
    };
    panic
        .downcast_ref::<&str>()
        .is_some_and(|text| text.contains("does not exist here"))
}

/// Tells that somebody is under the lock, and stays there until `wake` is dropped.
struct Sleep {
    asleep: mpsc::Sender<()>,
    wake: mpsc::Receiver<()>,
}
impl Sleep {
    fn pair() -> (Self, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let ((asleep, is_asleep), (waker, wake)) = (mpsc::channel(), mpsc::channel());
        (Self { asleep, wake }, is_asleep, waker)
    }
    fn sleep(&self) {
        self.asleep.send(()).unwrap();
        let _ = self.wake.recv();
    }
}

/// A key whose comparison can be made to sleep.
struct Sleepy(u32, Option<Mutex<Sleep>>);
impl Hash for Sleepy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl PartialEq for Sleepy {
    fn eq(&self, other: &Self) -> bool {
        for sleep in [&self.1, &other.1].into_iter().flatten() {
            sleep.lock().unwrap().sleep();
        }
        self.0 == other.0
    }
}
impl Eq for Sleepy {}

#[test]
fn c1_a_write_in_a_forked_child_panics_where_an_absent_thread_holds_the_lock() {
    let map = RcuMap::<Sleepy, u32>::builder().shards(1).build();
    let other: RcuMap<u32, u32> = RcuMap::new();
    map.insert(Sleepy(1, None), 1);
    let (sleep, is_asleep, wake) = Sleep::pair();
    std::thread::scope(|s| {
        let map = &map;
        s.spawn(move || map.insert(Sleepy(1, Some(Mutex::new(sleep))), 2).map(|_| ()));
        is_asleep.recv().unwrap();
        let child = || {
            is_refused(|| drop(map.insert(Sleepy(2, None), 2)))
                && is_refused(|| drop(map.remove(&Sleepy(1, None))))
                && is_refused(|| map.clear())
                && is_refused(|| drop(map.snapshot()))
                && map.get_cloned(&Sleepy(1, None)) == Some(1)
                && map.pin().iter().count() == 1
                && (0..2_000).all(|i| other.insert(i, i).is_none())
                && other.snapshot().len() == 2_000
        };
        assert!(in_child(child));
        drop(wake);
    });
    assert_eq!(map.get_cloned(&Sleepy(1, None)), Some(2), "the parent goes on");
    assert!(
        in_child(|| map.insert(Sleepy(2, None), 2).is_none() && map.len() == 2),
        "nobody was writing"
    );
}

#[test]
fn c1_a_write_in_a_forked_child_panics_where_an_absent_thread_is_in_a_batch() {
    let map: SnapshotMap<u32, u32> = [(1, 1)].into_iter().collect();
    let (sleep, is_asleep, wake) = Sleep::pair();
    std::thread::scope(|s| {
        let map = &map;
        s.spawn(move || {
            map.batch(|batch| {
                sleep.sleep();
                batch.insert(1, 2)
            })
        });
        is_asleep.recv().unwrap();
        let child = || {
            is_refused(|| _ = map.insert(2, 2)) && is_refused(|| map.clear()) && map.get_cloned(&1) == Some(1)
        };
        assert!(in_child(child));
        drop(wake);
    });
    assert_eq!(map.get_cloned(&1), Some(2));
    assert!(in_child(|| map.insert(2, 2).is_none() && map.len() == 2));
}

/// The thread that forks under the lock is in the child too, and releases it there.
#[test]
fn c1_a_thread_that_forks_inside_a_batch_ends_it_in_the_child() {
    let map: SnapshotMap<u32, u32> = SnapshotMap::new();
    let forked = map.batch(|batch| {
        batch.insert(1, 1);
        // SAFETY: the child below does nothing but write to the map, and exits.
        unsafe { libc::fork() }
    });
    if forked == 0 {
        let ok = map.insert(2, 2).is_none() && map.len() == 2;
        // SAFETY: ends the child.
        unsafe { libc::_exit(i32::from(!ok)) }
    }
    let mut status = 0;
    // SAFETY: waits for our child.
    assert_eq!(unsafe { libc::waitpid(forked, &raw mut status, 0) }, forked);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
}
