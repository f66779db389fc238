//! uring-core's shared ring: submissions of threads that meet are combined and each ends once; the lead is handed over and never
//! lost; whoever waits is woken, whoever it is that collects.
#![cfg(loom)]

use loom_tests::{Bounds, check};
use std::collections::VecDeque;
use std::sync::Arc as StdArc;
use std::task::{Wake as TaskWake, Waker};
use std::time::{Duration, Instant};
use sync_base::atomic::{AtomicUsize, Ordering};
use sync_base::cell::UnsafeCell;
use sync_base::sync::{Arc, Condvar, Mutex};
use sync_base::thread;
use uring_core::{Claim, Hub, Landing, Port, Sleep, Strike, Wake, seat};

/// What an operation brings: memory that the thread which landed it wrote.
struct Brought(Arc<UnsafeCell<u32>>);

// SAFETY: handed from the thread that wrote to the one that reads: that is what is being checked.
unsafe impl Send for Brought {}
// SAFETY: as above.
unsafe impl Sync for Brought {}

impl Brought {
    fn new(value: u32) -> Self {
        let memory = Arc::new(UnsafeCell::new(0));
        // SAFETY: nobody else has it yet.
        memory.with_mut(|at| unsafe { *at = value });
        Self(memory)
    }

    fn value(&self) -> u32 {
        // SAFETY: whoever landed it is done with it.
        self.0.with(|at| unsafe { *at })
    }
}

type Ticket = Claim<Brought>;
type Ending = Landing<Brought>;

/// The kernel: what completed and was not collected, and the strike; a sleep ends while there is either.
#[derive(Default)]
struct Kernel {
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Default)]
struct State {
    completed: VecDeque<(Ending, u32)>,
    struck: bool,
}

impl Kernel {
    fn complete(&self, ending: Ending, value: u32) {
        self.state.lock().unwrap().completed.push_back((ending, value));
        self.told.notify_all();
    }
}

impl Strike for Kernel {
    fn strike(&self) {
        self.state.lock().unwrap().struck = true;
        self.told.notify_all();
    }
}

/// What is queued, and completes as soon as it is submitted.
struct Queue {
    kernel: Arc<Kernel>,
    queued: Vec<(Ending, u32)>,
    calls: usize,
}

impl Port for Queue {
    fn turn(&mut self) {
        self.calls += usize::from(!self.queued.is_empty());
        for (ending, value) in self.queued.drain(..) {
            self.kernel.complete(ending, value);
        }
        loop {
            let next = self.kernel.state.lock().unwrap().completed.pop_front();
            let Some((ending, value)) = next else { return };
            ending.land(Brought::new(value));
        }
    }
}

struct Bed(Arc<Kernel>);

impl Sleep for Bed {
    fn sleep(&self, _: Duration) {
        let mut state = self.0.state.lock().unwrap();
        while state.completed.is_empty() && !state.struck {
            state = self.0.told.wait(state).unwrap();
        }
        state.struck = false;
    }

    fn strike(&self) -> StdArc<dyn Strike> {
        StdArc::new(Striking(Arc::clone(&self.0)))
    }
}

struct Striking(Arc<Kernel>);

impl Strike for Striking {
    fn strike(&self) {
        self.0.strike();
    }
}

type Shared = Arc<Hub<Queue, Bed>>;

fn ring() -> (Shared, Arc<Kernel>) {
    let kernel = Arc::new(Kernel::default());
    let queue = Queue {
        kernel: Arc::clone(&kernel),
        queued: Vec::new(),
        calls: 0,
    };
    (Arc::new(Hub::new(queue, Bed(Arc::clone(&kernel)))), kernel)
}

/// Submits what completes at once.
fn submit(ring: &Shared, value: u32) -> Ticket {
    let (ticket, ending) = seat(());
    ring.act(move |queue| queue.queued.push((ending, value)));
    ticket
}

/// Waits for the end and looks at what it brought.
fn finish(ring: &Shared, mut ticket: Ticket, value: u32) {
    assert!(ring.wait(&ticket, None));
    assert_eq!(ticket.take().expect("it landed").value(), value);
    assert!(ticket.take().is_none(), "it ends once");
}

const TWO: Bounds = Bounds {
    threads: 3,
    quick: 2,
    deep: 3,
};
const THREE: Bounds = Bounds {
    threads: 4,
    quick: 1,
    deep: 2,
};

#[test]
fn combined_submissions_end_once_each() {
    check("shared.combined_submissions_end_once_each", TWO, || {
        let (ring, _) = ring();
        let threads: Vec<_> = (1..=2)
            .map(|value| {
                let ring = Arc::clone(&ring);
                thread::spawn(move || {
                    let ticket = submit(&ring, value);
                    finish(&ring, ticket, value);
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let calls = ring.act(|queue| queue.calls);
        assert!((1..=2).contains(&calls), "{calls} calls for two submissions");
    });
}

/// The kernel ends both in either order: whoever leads first is served first, or last.
#[test]
fn the_lead_is_handed_over_and_never_lost() {
    for leader_first in [true, false] {
        check(
            &format!("shared.the_lead_is_handed_over.{leader_first}"),
            THREE,
            move || {
                let (ring, kernel) = ring();
                let (tickets, endings): (Vec<Ticket>, Vec<Ending>) = (0..2).map(|_| seat(())).unzip();
                let threads: Vec<_> = tickets
                    .into_iter()
                    .zip(0..)
                    .map(|(ticket, at)| {
                        let ring = Arc::clone(&ring);
                        thread::spawn(move || finish(&ring, ticket, at))
                    })
                    .collect();
                let ending = thread::spawn(move || {
                    let mut endings: Vec<_> = endings.into_iter().zip(0..).collect();
                    if !leader_first {
                        endings.reverse();
                    }
                    for (ending, at) in endings {
                        kernel.complete(ending, at);
                    }
                });
                for thread in threads {
                    thread.join().unwrap();
                }
                ending.join().unwrap();
            },
        );
    }
}

/// One leads, then leaves: it hands the lead over and collects the end of the other in the same step, so that the other, in line
/// when it had its seat watched, is woken as one in line although it leads by now.
#[test]
fn a_thread_sleeps_as_it_is_watched() {
    check("shared.a_thread_sleeps_as_it_is_watched", TWO, || {
        let (ring, kernel) = ring();
        let (ticket, ending): (Ticket, Ending) = seat(());
        let waiting = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || finish(&ring, ticket, 4))
        };
        let leaving = thread::spawn(move || {
            let ending = std::cell::Cell::new(Some(ending));
            ring.keep(Duration::from_secs(1), || {
                kernel.complete(ending.take().expect("asked once"), 4);
                true
            });
        });
        waiting.join().unwrap();
        leaving.join().unwrap();
    });
}

/// One waits for what the kernel ends; another submits, and may collect the end of the first on its way to bed.
#[test]
fn a_leader_is_woken_by_whoever_collects_its_end() {
    check("shared.a_leader_is_woken_by_whoever_collects", TWO, || {
        let (ring, kernel) = ring();
        let (slow, ending): (Ticket, Ending) = seat(());
        let waiting = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || finish(&ring, slow, 7))
        };
        let submitting = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                kernel.complete(ending, 7);
                let fast = submit(&ring, 1);
                finish(&ring, fast, 1);
            })
        };
        waiting.join().unwrap();
        submitting.join().unwrap();
    });
}

/// One that gives up while it leads, or in line, takes the lead of nobody with it.
#[test]
fn who_gives_up_takes_no_lead_along() {
    check("shared.who_gives_up_takes_no_lead_along", THREE, || {
        let (ring, kernel) = ring();
        let (ticket, ending): (Ticket, Ending) = seat(());
        let waiting = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || finish(&ring, ticket, 3))
        };
        let giving_up = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                let (hung, _never): (Ticket, Ending) = seat(());
                assert!(!ring.wait(&hung, Some(Instant::now())), "nothing ends it");
            })
        };
        let ending = thread::spawn(move || kernel.complete(ending, 3));
        for thread in [waiting, giving_up, ending] {
            thread.join().unwrap();
        }
    });
}

/// Counts how often it was woken.
struct Task(StdArc<std::sync::atomic::AtomicUsize>);

impl TaskWake for Task {
    fn wake(self: StdArc<Self>) {
        // Relaxed: read after every thread was joined.
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// A task has its waker put in while another thread collects its end: it finds it there, or is woken.
#[test]
fn a_task_finds_its_end_or_is_woken() {
    check("shared.a_task_finds_its_end_or_is_woken", TWO, || {
        let (ring, kernel) = ring();
        let (mut ticket, ending): (Ticket, Ending) = seat(());
        let woken = StdArc::new(std::sync::atomic::AtomicUsize::new(0));
        let polling = {
            let woken = StdArc::clone(&woken);
            thread::spawn(move || {
                let pending = ticket.watch(Wake::Task(Waker::from(StdArc::new(Task(woken)))));
                if !pending {
                    assert_eq!(ticket.take().expect("it landed").value(), 5);
                }
                (ticket, usize::from(pending))
            })
        };
        let collecting = thread::spawn(move || {
            kernel.complete(ending, 5);
            ring.act(|_| ());
        });
        let (_ticket, pending) = polling.join().unwrap();
        collecting.join().unwrap();
        // Relaxed: every thread was joined.
        assert_eq!(woken.load(std::sync::atomic::Ordering::Relaxed), pending);
    });
}

/// Counts its end.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        // Relaxed: read after every thread was joined.
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Nothing;

impl Port for Nothing {
    fn turn(&mut self) {}
}

/// A ticket goes while its operation lands: what it owned is dropped once, by the one or by the other.
#[test]
fn what_a_dropped_ticket_owned_is_dropped_once() {
    check("shared.what_a_dropped_ticket_owned_is_dropped_once", TWO, || {
        let ring = Arc::new(Hub::new(Nothing, Bed(Arc::new(Kernel::default()))));
        let ended = Arc::new(AtomicUsize::new(0));
        let (ticket, ending): (Claim<Counted>, Landing<Counted>) = seat(());
        let landing = {
            let ended = Arc::clone(&ended);
            thread::spawn(move || ring.act(move |_| ending.land(Counted(ended))))
        };
        let leaving = thread::spawn(move || drop(ticket));
        landing.join().unwrap();
        leaving.join().unwrap();
        // Relaxed: every thread was joined.
        assert_eq!(ended.load(Ordering::Relaxed), 1);
    });
}

/// A thread that waits for nothing of its own drives for a task, and ends when it is told to.
#[test]
fn a_helper_serves_tasks_and_ends() {
    check("shared.a_helper_serves_tasks_and_ends", TWO, || {
        let (ring, kernel) = ring();
        let (ticket, landing): (Ticket, Ending) = seat(());
        let over = Arc::new(AtomicUsize::new(0));
        let helping = {
            let (ring, over) = (Arc::clone(&ring), Arc::clone(&over));
            thread::spawn(move || {
                // Acquire: pairs with the Release below.
                ring.keep(Duration::from_secs(1), || over.load(Ordering::Acquire) == 1);
            })
        };
        let ending = thread::spawn(move || {
            kernel.complete(landing, 9);
            while !ticket.is_landed() {
                thread::yield_now();
            }
            // Release: pairs with the Acquire above.
            over.store(1, Ordering::Release);
            kernel.strike();
        });
        helping.join().unwrap();
        ending.join().unwrap();
    });
}
