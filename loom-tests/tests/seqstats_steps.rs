//! seqstats' latch: a read takes no more than the steps that are stated, counted under a scheduler that favours the writer.
#![cfg(shuttle)]

use seqstats::{Latch, LatchWriter};
use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};
use shuttle::thread;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Words of the value.
const WORDS: usize = 2;
/// What `Latch` states: of two copies, each word once; beside them six.
const STATED: usize = 2 * WORDS + 6;
/// Of so many steps the reader gets one.
const AGAINST: u64 = 24;

/// Threads in the order in which they are spawned, after the main one.
const READER: usize = 2;

#[derive(Debug, Default)]
struct Steps {
    reading: AtomicBool,
    of_this_read: AtomicUsize,
}

/// Lets the writer run most of the time, and counts what the reader gets.
struct Against {
    executions: usize,
    state: u64,
    steps: Arc<Steps>,
}

impl Scheduler for Against {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.executions = self.executions.checked_sub(1)?;
        Some(Schedule::new(self.state))
    }

    fn next_task(&mut self, runnable: &[&Task], _: Option<TaskId>, _: bool) -> Option<TaskId> {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let is_reader = |task: &&&Task| usize::from(task.id()) == READER;
        let reader = runnable.iter().find(is_reader);
        let other = runnable.iter().find(|task| !is_reader(task));
        let chosen = match (reader, other) {
            (Some(reader), Some(other)) => {
                if (self.state >> 32).is_multiple_of(AGAINST) {
                    reader
                } else {
                    other
                }
            }
            (one, another) => one.or(another)?,
        };
        // Relaxed: shuttle runs one thread at a time.
        if is_reader(&chosen) && self.steps.reading.load(Ordering::Relaxed) {
            // Relaxed: as above.
            self.steps.of_this_read.fetch_add(1, Ordering::Relaxed);
        }
        Some(chosen.id())
    }

    fn next_u64(&mut self) -> u64 {
        self.state
    }
}

#[test]
fn c3_latch_reader_finishes_in_the_stated_number_of_steps() {
    let steps = Arc::new(Steps::default());
    let scheduler = Against {
        executions: 2_000,
        state: 0x9E37_79B9_7F4A_7C15,
        steps: Arc::clone(&steps),
    };
    let (most, announced) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (seen, lapped) = (Arc::clone(&most), Arc::clone(&announced));
    shuttle::Runner::new(scheduler, shuttle::Config::new()).run(move || {
        let latch = Arc::new(Latch::<[u64; WORDS], 3>::new([0; WORDS]));
        let theirs = Arc::clone(&latch);
        let writer = thread::spawn(move || {
            let mut writer = LatchWriter::try_claim(theirs).expect("the only writer");
            for i in 1..40 {
                // A reader stopped in a slot may leave no room.
                let _ = writer.try_write([i; WORDS]);
            }
        });
        let (steps, seen, lapped) = (Arc::clone(&steps), Arc::clone(&seen), Arc::clone(&lapped));
        let reader = thread::spawn(move || {
            // Relaxed, all: shuttle runs one thread at a time.
            steps.of_this_read.store(0, Ordering::Relaxed);
            steps.reading.store(true, Ordering::Relaxed);
            let [a, b] = latch.read();
            steps.reading.store(false, Ordering::Relaxed);
            assert_eq!(a, b, "torn");
            let taken = steps.of_this_read.load(Ordering::Relaxed);
            assert!(taken <= STATED, "{taken} steps, {STATED} are stated");
            seen.fetch_max(taken, Ordering::Relaxed);
            // More than a glance that succeeds at once: it was overtaken and announced itself.
            lapped.fetch_add(usize::from(taken > WORDS + 4), Ordering::Relaxed);
        });
        writer.join().unwrap();
        reader.join().unwrap();
    });
    // Relaxed: every execution is over.
    let (most, announced) = (most.load(Ordering::Relaxed), announced.load(Ordering::Relaxed));
    println!("{most} steps at most of {STATED} stated; {announced} of 2000 reads were overtaken");
    assert!(
        announced >= 100,
        "hardly a read was overtaken: the test shows nothing"
    );
}
