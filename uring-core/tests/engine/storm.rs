//! Many threads submit from anywhere while cores are paused, panicked and resumed: each operation is answered exactly once,
//! and every buffer comes back.

use crate::kit::{asked, until};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use uring_core::buffer::{IoBuf, IoBufMut};
use uring_core::engine::{CoreState, Engine};
use uring_core::op::{Nop, Read, Timeout};

const THREADS: usize = 24;
const ROUNDS: usize = 60;

/// A buffer that is counted, from its making to its end.
struct Counted {
    bytes: Box<[u8]>,
    alive: Arc<AtomicUsize>,
}

impl Counted {
    fn new(alive: &Arc<AtomicUsize>) -> Self {
        // Relaxed: read when every thread is over.
        alive.fetch_add(1, Ordering::Relaxed);
        Self {
            bytes: vec![0; 16].into(),
            alive: Arc::clone(alive),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // Relaxed: as in `new`.
        let before = self.alive.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0, "a buffer ended twice");
    }
}

// SAFETY: the bytes lie in a box, which does not move with it.
unsafe impl IoBuf for Counted {
    fn stable_ptr(&self) -> *const u8 {
        self.bytes.as_ptr()
    }
    fn bytes_init(&self) -> usize {
        self.bytes.len()
    }
}

// SAFETY: as above; all of them are initialised from the start.
unsafe impl IoBufMut for Counted {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.bytes.as_mut_ptr()
    }
    fn bytes_total(&self) -> usize {
        self.bytes.len()
    }
    unsafe fn set_init(&mut self, _: usize) {}
}

#[derive(Default)]
struct Tally {
    given: AtomicUsize,
    done: AtomicUsize,
    refused: AtomicUsize,
    tasks: AtomicUsize,
}

impl Tally {
    fn add(count: &AtomicUsize) {
        // Relaxed: read when every thread is over.
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// What one thread does.
fn submit(engine: &Engine, thread: usize, alive: &Arc<AtomicUsize>, tally: &Tally) {
    let file = Arc::new(File::open("/proc/self/exe").unwrap());
    for round in 0..ROUNDS {
        let reads: Vec<_> = (0..4)
            .map(|n| {
                Tally::add(&tally.given);
                let read = Read::new(Arc::clone(&file), Counted::new(alive)).at(0);
                match (thread + round + n) % 3 {
                    0 => engine.submit_on(n % engine.core_count(), read),
                    _ => engine.submit(read),
                }
            })
            .collect();
        let tasks: Vec<_> = (0..engine.core_count())
            .map(|core| {
                engine.spawn_on(core, move || async move {
                    core + uring_core::engine::run(Nop::new()).await.map_or(0, |()| 1)
                })
            })
            .collect();
        for read in reads {
            let (result, buf) = if round % 2 == 0 {
                read.wait()
            } else {
                futures_executor::block_on(read)
            };
            match result {
                Ok(16) => {
                    assert_eq!(&buf.bytes[..4], b"\x7fELF");
                    Tally::add(&tally.done);
                }
                Ok(short) => panic!("{short} bytes"),
                Err(error) => {
                    let known = [libc::ESHUTDOWN, libc::ECANCELED];
                    assert!(known.contains(&error.errno()), "{error}");
                    Tally::add(&tally.refused);
                }
            }
        }
        for task in tasks.into_iter().flatten() {
            if task.wait().is_ok() {
                Tally::add(&tally.tasks);
            }
        }
        if thread.is_multiple_of(8) {
            engine
                .submit(Timeout::after(std::time::Duration::from_micros(200)))
                .wait()
                .ok();
        }
    }
}

#[test]
fn e4_e9_nothing_is_lost_while_cores_are_paused_panicked_and_resumed() {
    let engine = asked(3).depth(8).mailbox(8).build().unwrap();
    let alive = Arc::new(AtomicUsize::new(0));
    let (tally, over) = (Tally::default(), AtomicBool::new(false));
    let (mut pauses, mut failures, mut resumed) = (0, 0, 0);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (engine, alive, tally) = (engine.clone(), Arc::clone(&alive), &tally);
                scope.spawn(move || submit(&engine, thread, &alive, tally))
            })
            .collect();
        let trouble = scope.spawn(|| {
            let mut turn = 0usize;
            // Relaxed: a request to end, nothing more.
            while !over.load(Ordering::Relaxed) {
                turn += 1;
                let core = turn % 3;
                if turn.is_multiple_of(2) {
                    pauses += usize::from(engine.pause(core).unwrap());
                } else {
                    failures += usize::from(engine.fail(core).is_ok());
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
                for core in 0..3 {
                    resumed += usize::from(engine.resume(core).unwrap());
                }
            }
            // The last drill may lie in a mailbox yet.
            until("rest", || {
                (0..3).for_each(|core| drop(engine.resume(core)));
                engine.cores().iter().all(|core| core.state == CoreState::Running)
            });
        });
        for thread in threads {
            thread.join().unwrap();
        }
        // Relaxed: as above.
        over.store(true, Ordering::Relaxed);
        trouble.join().unwrap();
    });
    // Relaxed: every thread is over.
    let [given, done, refused, tasks, left] =
        [&tally.given, &tally.done, &tally.refused, &tally.tasks, &*alive]
            .map(|count| count.load(Ordering::Relaxed));
    assert_eq!(given, THREADS * ROUNDS * 4);
    assert_eq!(done + refused, given, "each is answered exactly once");
    assert_eq!(left, 0, "every buffer came back");
    println!(
        "{given} given, {done} done, {refused} refused, {tasks} tasks; {pauses} pauses, {failures} failures, {resumed} resumed"
    );
    assert!(
        pauses > 0 && failures > 0 && resumed > 0,
        "{pauses} {failures} {resumed}"
    );
    assert!(done > 0 && refused > 0 && tasks > 0, "{done} {refused} {tasks}");
    engine.submit(Nop::new()).wait().unwrap();
}
