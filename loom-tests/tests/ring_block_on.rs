//! uring-core's `block_on`: a wake-up from another thread is never lost, and the poll behind it sees what the waker did.
#![cfg(loom)]

use loom_tests::{Bounds, check};
use sync_base::atomic::{AtomicUsize, Ordering};
use sync_base::sync::{Arc, Condvar, Mutex};
use sync_base::thread;
use uring_core::{Alarm, Chime};

/// An event counter, and a sleep that ends when it is not zero: a read of an eventfd in the ring.
#[derive(Default)]
struct Event {
    count: Mutex<u64>,
    struck: Condvar,
}

impl Chime for Event {
    fn strike(&self) {
        *self.count.lock().unwrap() += 1;
        self.struck.notify_all();
    }
}

impl Event {
    fn sleep(&self) {
        let mut count = self.count.lock().unwrap();
        while *count == 0 {
            count = self.struck.wait(count).unwrap();
        }
        *count = 0;
    }
}

/// Polls until `wanted` things are done, sleeping in between; a lost wake-up is a sleep without end, which loom tells.
fn run(alarm: &Alarm<Event>, done: &AtomicUsize, wanted: usize) {
    loop {
        if alarm.take() {
            // Relaxed: what the wakers did is published by the alarm alone.
            if done.load(Ordering::Relaxed) == wanted {
                return;
            }
            continue;
        }
        if alarm.doze() {
            alarm.chime().sleep();
            alarm.wake();
        }
    }
}

fn model(name: &str, wakers: usize, quick: usize, deep: usize) {
    let bounds = Bounds {
        threads: wakers + 2,
        quick,
        deep,
    };
    check(name, bounds, move || {
        let alarm = Arc::new(Alarm::new(Event::default()));
        let done = Arc::new(AtomicUsize::new(0));
        let home = {
            let (alarm, done) = (Arc::clone(&alarm), Arc::clone(&done));
            thread::spawn(move || run(&alarm, &done, wakers))
        };
        let wakers: Vec<_> = (0..wakers)
            .map(|_| {
                let (alarm, done) = (Arc::clone(&alarm), Arc::clone(&done));
                thread::spawn(move || {
                    // Relaxed: published by the alarm alone.
                    done.fetch_add(1, Ordering::Relaxed);
                    alarm.ring(true);
                })
            })
            .collect();
        for waker in wakers {
            waker.join().unwrap();
        }
        home.join().unwrap();
    });
}

#[test]
fn wake_up_from_afar_is_not_lost() {
    model("ring.wake_up_from_afar_is_not_lost", 1, 3, 5);
}

#[test]
fn two_wake_ups_from_afar_are_not_lost() {
    model("ring.two_wake_ups_from_afar_are_not_lost", 2, 2, 3);
}
