//! The membarrier system call as loom sees it: a request that every other thread serves at some point of its own.
//!
//! The kernel interrupts each processor that runs a thread of this process, at an instant nobody chooses, and returns
//! when each has run a full barrier. So a request is *posted* to every thread's seat, and each thread *polls* its seat
//! before every facade operation; the poster waits until all have polled. Loom's choice of where to switch threads
//! decides between which two operations a barrier falls, and so every placement is explored.
//!
//! A thread that blocks runs a barrier before and after, as a context switch does, and serves nothing meanwhile.
//! The table below is plain memory: loom runs one thread at a time, all on one thread of the system, and the table
//! must add no ordering that the kernel's call would not.

use super::atomic::{self, Ordering};
use loom::sync::atomic::AtomicUsize;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// What the two sides of the asymmetric barrier are in a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// Light is a point where an interrupt may fall; heavy interrupts every thread. What ships where membarrier works.
    Interrupt,
    /// Both are SeqCst fences. What ships where membarrier is refused; hides what only the other model can find.
    Fence,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seat {
    /// A request was posted and not yet served.
    posted: bool,
    /// Blocked or ended: it has run a barrier, and runs another before it goes on.
    away: bool,
}

std::thread_local! {
    static SEATS: RefCell<Vec<Seat>> = const { RefCell::new(Vec::new()) };
    static MODEL: Cell<Option<Model>> = const { Cell::new(None) };
    // Not a lazy static of loom's: those are dropped while threads still run their thread-local destructors.
    static SWITCH: RefCell<Option<Rc<AtomicUsize>>> = const { RefCell::new(None) };
    static NEXT: Cell<Option<usize>> = const { Cell::new(None) };
}

loom::thread_local! {
    static MINE: usize = first_use();
}

/// Marks the main thread's seat when loom drops it: the main closure has returned.
struct MainSeat;

impl Drop for MainSeat {
    fn drop(&mut self) {
        leave(0);
    }
}

loom::lazy_static! {
    static ref MAIN: MainSeat = MainSeat;
}

/// Chooses the model for executions begun by this thread of the system from now on.
///
/// Without a choice the environment decides: `LOOM_BARRIER=fence`, anything else being [`Model::Interrupt`].
pub fn choose(model: Model) {
    MODEL.with(|m| m.set(Some(model)));
}

/// The model in force.
pub fn model() -> Model {
    MODEL.with(|m| match m.get() {
        Some(model) => model,
        None => {
            let fence = std::env::var_os("LOOM_BARRIER").is_some_and(|v| v == "fence");
            let model = if fence { Model::Fence } else { Model::Interrupt };
            m.set(Some(model));
            model
        }
    })
}

/// Begins an execution on its main thread, so that a later first use by another does not order it before a third.
pub fn begin() {
    MINE.with(|_| ());
}

/// The seat of a thread that was not seated by `spawn`: the main thread of a new execution, which clears the table, or
/// one started behind the facade's back, which is refused, since nobody could tell when it ends.
fn first_use() -> usize {
    if let Some(seat) = NEXT.with(Cell::take) {
        return seat;
    }
    assert_eq!(
        format!("{:?}", loom::thread::current().id()),
        "ThreadId(0)",
        "start threads with sync_base::thread::spawn: a loom thread of its own cannot be interrupted"
    );
    let _: &MainSeat = &MAIN;
    SWITCH.with(|switch| *switch.borrow_mut() = Some(Rc::new(AtomicUsize::new(0))));
    SEATS.with(|seats| {
        let mut seats = seats.borrow_mut();
        seats.clear();
        seats.push(Seat::default());
    });
    0
}

/// A point at which loom may switch threads.
pub(super) fn switch_point() {
    let word = SWITCH.with(|switch| switch.borrow().clone());
    if let Some(word) = word {
        // Relaxed: the store exists only to give loom a place to switch threads.
        word.store(0, Ordering::Relaxed);
    }
}

/// Gives a thread that is about to start its seat.
pub(super) fn enlist() -> usize {
    poll();
    SEATS.with(|seats| {
        let mut seats = seats.borrow_mut();
        seats.push(Seat::default());
        seats.len() - 1
    })
}

/// Takes the seat, on the new thread.
pub(super) fn sit(seat: usize) {
    NEXT.with(|next| next.set(Some(seat)));
    MINE.with(|mine| assert_eq!(*mine, seat));
}

/// Runs a barrier and waits for no further request.
pub(super) fn leave(seat: usize) {
    loom::sync::atomic::fence(Ordering::SeqCst);
    SEATS.with(|seats| {
        seats.borrow_mut()[seat] = Seat {
            posted: false,
            away: true,
        };
    });
}

/// Serves a posted request: the point at which the interrupt falls.
pub(super) fn poll() {
    let Ok(seat) = MINE.try_with(|mine| *mine) else {
        // Thread-local destructors run after the seat is left: a barrier at every operation stands for any request.
        loom::sync::atomic::fence(Ordering::SeqCst);
        return;
    };
    let posted = SEATS.with(|seats| std::mem::take(&mut seats.borrow_mut()[seat].posted));
    if posted {
        loom::sync::atomic::fence(Ordering::SeqCst);
    }
}

/// Runs `f`, which may block, between two barriers.
pub(super) fn while_blocked<R>(f: impl FnOnce() -> R) -> R {
    let seat = MINE.try_with(|mine| *mine).ok();
    if let Some(seat) = seat {
        leave(seat);
    }
    let result = f();
    if let Some(seat) = seat {
        SEATS.with(|seats| seats.borrow_mut()[seat].away = false);
        loom::sync::atomic::fence(Ordering::SeqCst);
    }
    result
}

/// The light side: only a point where an interrupt may fall, or a fence.
#[track_caller]
pub(crate) fn light() {
    match model() {
        Model::Interrupt => poll(),
        Model::Fence => atomic::fence(Ordering::SeqCst),
    }
}

/// The heavy side: interrupts every other thread and waits until each has run a barrier.
#[track_caller]
pub(crate) fn heavy() {
    atomic::fence(Ordering::SeqCst);
    if model() == Model::Fence {
        return;
    }
    let mine = MINE.try_with(|mine| *mine).ok();
    SEATS.with(|seats| {
        for (seat, state) in seats.borrow_mut().iter_mut().enumerate() {
            state.posted |= !state.away && Some(seat) != mine;
        }
    });
    let waiting = || {
        SEATS.with(|seats| {
            seats
                .borrow()
                .iter()
                .enumerate()
                .any(|(i, s)| Some(i) != mine && s.posted)
        })
    };
    while waiting() {
        loom::thread::yield_now();
        poll();
    }
    loom::sync::atomic::fence(Ordering::SeqCst);
}
