//! uring-core's engine: what other threads send to a core, wake on it and ask of it is seen, exactly once, and no sleep
//! lasts past it.
#![cfg(loom)]

use loom_tests::{Bounds, check};
use std::sync::Arc as StdArc;
use std::task::{Context, Poll, Wake, Waker};
use sync_base::atomic::{AtomicPtr, AtomicUsize, Ordering};
use sync_base::cell::UnsafeCell;
use sync_base::sync::{Arc, Condvar, Mutex};
use sync_base::thread;
use uring_core::{Alarm, Chime, Linked, Mailbox, QueueClaim, Reply, Wakes, mailbox};

/// An event counter, and a sleep that ends when it is not zero: a completion in the core's ring.
#[derive(Debug, Default)]
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

/// The core's turn: clear the alarm, look, and sleep only if nothing rang meanwhile. Until `look` says that all is done.
fn turn(alarm: &Alarm<Event>, mut look: impl FnMut() -> bool) {
    loop {
        alarm.take();
        if look() {
            return;
        }
        if alarm.doze() {
            alarm.chime().sleep();
            alarm.wake();
        }
    }
}

/// A message whose end is counted, and which carries what only the mailbox publishes.
struct Note {
    ended: Arc<AtomicUsize>,
    text: UnsafeCell<u32>,
}

impl Note {
    fn new(ended: &Arc<AtomicUsize>) -> Self {
        let text = UnsafeCell::new(0);
        // SAFETY: nobody else has it yet.
        text.with_mut(|at| unsafe { *at = 7 });
        let ended = Arc::clone(ended);
        Self { ended, text }
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        // SAFETY: the last owner reads.
        assert_eq!(self.text.with(|at| unsafe { *at }), 7);
        // Relaxed: read after every thread was joined.
        self.ended.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn messages_to_a_core_are_not_left_lying_while_it_sleeps() {
    for senders in [1, 2] {
        let bounds = Bounds {
            threads: senders + 2,
            quick: if senders == 1 { 3 } else { 2 },
            deep: if senders == 1 { 4 } else { 3 },
        };
        let name = format!("ring.messages_to_a_core_are_not_left_lying_while_it_sleeps.{senders}");
        check(&name, bounds, move || {
            let alarm = Arc::new(Alarm::new(Event::default()));
            let (post, mut letters) = mailbox::<Note>(2);
            let (post, ended) = (Arc::new(post), Arc::new(AtomicUsize::new(0)));
            let threads: Vec<_> = (0..senders)
                .map(|_| {
                    let (alarm, post, ended) = (Arc::clone(&alarm), Arc::clone(&post), Arc::clone(&ended));
                    thread::spawn(move || post.post(Note::new(&ended), &alarm, true).unwrap())
                })
                .collect();
            let core = thread::spawn(move || {
                let (mut got, mut batch) = (0, Vec::new());
                turn(&alarm, || {
                    letters.take(&mut batch, 2);
                    got += batch.drain(..).count();
                    got == senders
                });
            });
            for thread in threads {
                thread.join().unwrap();
            }
            core.join().unwrap();
            // Relaxed: every thread was joined.
            assert_eq!(ended.load(Ordering::Relaxed), senders);
        });
    }
}

#[test]
fn a_message_to_a_core_that_ends_is_run_or_handed_back_once() {
    let bounds = Bounds {
        threads: 4,
        quick: 2,
        deep: 3,
    };
    check(
        "ring.a_message_to_a_core_that_ends_is_run_or_handed_back_once",
        bounds,
        || {
            let alarm = Arc::new(Alarm::new(Event::default()));
            let (post, mut letters) = mailbox::<Note>(2);
            let (post, ended) = (Arc::new(post), Arc::new(AtomicUsize::new(0)));
            let came_back = Arc::new(AtomicUsize::new(0));
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let (alarm, post, ended) = (Arc::clone(&alarm), Arc::clone(&post), Arc::clone(&ended));
                    let came_back = Arc::clone(&came_back);
                    thread::spawn(move || {
                        if let Err(refused) = post.post(Note::new(&ended), &alarm, true) {
                            // Relaxed: read after every thread was joined.
                            came_back.fetch_add(1, Ordering::Relaxed);
                            drop(refused.into_inner());
                        }
                    })
                })
                .collect();
            let core = thread::spawn(move || {
                let (mut handed_out, mut batch) = (0, Vec::new());
                letters.take(&mut batch, 1);
                handed_out += batch.drain(..).count();
                letters.close(|_| handed_out += 1);
                handed_out
            });
            for thread in threads {
                thread.join().unwrap();
            }
            let handed_out = core.join().unwrap();
            // Relaxed: every thread was joined.
            let (came_back, ended) = (came_back.load(Ordering::Relaxed), ended.load(Ordering::Relaxed));
            assert_eq!((handed_out + came_back, ended), (2, 2));
        },
    );
}

/// Wakes a sleeping sender.
struct Sender(Event);

impl Wake for Sender {
    fn wake(self: StdArc<Self>) {
        self.0.strike();
    }
}

/// Sends as a future does: leaves its waker where there is no room, and then tries once more.
fn send(post: &Mailbox<Note>, alarm: &Alarm<Event>, mut note: Note) {
    let sender = StdArc::new(Sender(Event::default()));
    let waker = Waker::from(StdArc::clone(&sender));
    loop {
        for told in [false, true] {
            match post.post(note, alarm, true) {
                Ok(()) => return,
                Err(full) => note = full.into_inner(),
            }
            if !told {
                post.wait_for_room(&waker);
            }
        }
        sender.0.sleep();
    }
}

#[test]
fn a_sender_that_waits_for_room_is_told() {
    let bounds = Bounds {
        threads: 3,
        quick: 3,
        deep: 4,
    };
    check("ring.a_sender_that_waits_for_room_is_told", bounds, || {
        let alarm = Arc::new(Alarm::new(Event::default()));
        let (post, mut letters) = mailbox::<Note>(1);
        let ended = Arc::new(AtomicUsize::new(0));
        let sender = {
            let (alarm, ended) = (Arc::clone(&alarm), Arc::clone(&ended));
            thread::spawn(move || (0..2).for_each(|_| send(&post, &alarm, Note::new(&ended))))
        };
        let core = thread::spawn(move || {
            let (mut got, mut batch) = (0, Vec::new());
            turn(&alarm, || {
                letters.take(&mut batch, 1);
                got += batch.drain(..).count();
                got == 2
            });
        });
        sender.join().unwrap();
        core.join().unwrap();
        // Relaxed: every thread was joined.
        assert_eq!(ended.load(Ordering::Relaxed), 2);
    });
}

/// A task that other threads wake.
struct Task {
    claim: QueueClaim,
    link: AtomicPtr<Task>,
    /// What the wakers did, published by the list alone.
    done: [UnsafeCell<u32>; 2],
}

impl Linked for Task {
    fn link(&self) -> &AtomicPtr<Self> {
        &self.link
    }
}

impl Task {
    fn new() -> StdArc<Self> {
        let done = [(), ()].map(|()| {
            let done = UnsafeCell::new(0);
            // SAFETY: nobody else has it yet.
            done.with_mut(|at| unsafe { *at = 0 });
            done
        });
        StdArc::new(Self {
            claim: QueueClaim::new(),
            link: AtomicPtr::new(std::ptr::null_mut()),
            done,
        })
    }
}

#[test]
fn tasks_woken_from_afar_are_each_polled_behind_what_their_wakers_did() {
    let bounds = Bounds {
        threads: 4,
        quick: 2,
        deep: 3,
    };
    check("ring.tasks_woken_from_afar_are_each_polled", bounds, || {
        let alarm = Arc::new(Alarm::new(Event::default()));
        let wakes = Arc::new(Wakes::<Task>::new());
        let threads: Vec<_> = (0..2)
            .map(|n| {
                let (alarm, wakes) = (Arc::clone(&alarm), Arc::clone(&wakes));
                thread::spawn(move || {
                    let task = Task::new();
                    // SAFETY: nobody else has the task before it is pushed.
                    task.done[n].with_mut(|at| unsafe { *at = 1 });
                    assert!(wakes.push(task).is_ok());
                    alarm.ring(true);
                })
            })
            .collect();
        let core = thread::spawn(move || {
            let mut polled = 0;
            turn(&alarm, || {
                wakes.take(|task| {
                    // SAFETY: its waker is through with it.
                    let done = task.done.iter().map(|done| done.with(|at| unsafe { *at }));
                    assert_eq!(done.sum::<u32>(), 1);
                    polled += 1;
                });
                polled == 2
            });
        });
        for thread in threads {
            thread.join().unwrap();
        }
        core.join().unwrap();
    });
}

#[test]
fn a_list_of_wakes_that_is_closed_keeps_nothing_back() {
    let bounds = Bounds {
        threads: 4,
        quick: 3,
        deep: 4,
    };
    check(
        "ring.a_list_of_wakes_that_is_closed_keeps_nothing_back",
        bounds,
        || {
            let wakes = Arc::new(Wakes::<Task>::new());
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let wakes = Arc::clone(&wakes);
                    thread::spawn(move || {
                        let task = Task::new();
                        // SAFETY: nobody else has the task before it is pushed.
                        task.done[0].with_mut(|at| unsafe { *at = 1 });
                        usize::from(wakes.push(task).is_err())
                    })
                })
                .collect();
            let core = thread::spawn(move || {
                let mut out = 0;
                let mut each = |task: StdArc<Task>| {
                    // SAFETY: its waker is through with it.
                    assert_eq!(task.done[0].with(|at| unsafe { *at }), 1);
                    out += 1;
                };
                wakes.take(&mut each);
                wakes.close(&mut each);
                wakes.close(&mut each);
                out
            });
            let back: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
            assert_eq!(
                core.join().unwrap() + back,
                2,
                "each comes out once, or comes back"
            );
        },
    );
}

#[test]
fn a_task_woken_twice_is_polled_behind_both() {
    let bounds = Bounds {
        threads: 4,
        quick: 2,
        deep: 3,
    };
    check("ring.a_task_woken_twice_is_polled_behind_both", bounds, || {
        let alarm = Arc::new(Alarm::new(Event::default()));
        let wakes = Arc::new(Wakes::<Task>::new());
        let (task, done) = (Task::new(), Arc::new(AtomicUsize::new(0)));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (alarm, wakes, task) = (Arc::clone(&alarm), Arc::clone(&wakes), StdArc::clone(&task));
                let done = Arc::clone(&done);
                thread::spawn(move || {
                    // Relaxed: published by the claim alone.
                    done.fetch_add(1, Ordering::Relaxed);
                    if task.claim.claim() {
                        assert!(wakes.push(task).is_ok());
                        alarm.ring(true);
                    }
                })
            })
            .collect();
        let core = thread::spawn(move || {
            // A poll that misses what a waker did is the last one: then this never ends, which loom tells.
            let mut seen = 0;
            turn(&alarm, || {
                wakes.take(|task| {
                    assert!(!task.claim.begin());
                    // Relaxed: as above.
                    seen = done.load(Ordering::Relaxed);
                });
                seen == 2
            });
        });
        for thread in threads {
            thread.join().unwrap();
        }
        core.join().unwrap();
    });
}

#[test]
fn whoever_waits_for_a_reply_is_told_once() {
    let bounds = Bounds {
        threads: 3,
        quick: 4,
        deep: 6,
    };
    check("ring.whoever_waits_for_a_reply_is_told_once", bounds, || {
        let reply = Arc::new(Reply::<Note>::new());
        let ended = Arc::new(AtomicUsize::new(0));
        let keeper = {
            let (reply, ended) = (Arc::clone(&reply), Arc::clone(&ended));
            thread::spawn(move || {
                assert!(reply.keep(Note::new(&ended)).is_ok());
                assert!(reply.keep(Note::new(&ended)).is_err(), "a second one comes back");
            })
        };
        let waiter = thread::spawn(move || {
            let sender = StdArc::new(Sender(Event::default()));
            let waker = Waker::from(StdArc::clone(&sender));
            loop {
                match reply.poll(&Context::from_waker(&waker)) {
                    Poll::Ready(note) => return drop(note),
                    Poll::Pending => sender.0.sleep(),
                }
            }
        });
        keeper.join().unwrap();
        waiter.join().unwrap();
        // Relaxed: every thread was joined.
        assert_eq!(ended.load(Ordering::Relaxed), 2);
    });
}
