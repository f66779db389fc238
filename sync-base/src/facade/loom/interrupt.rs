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
use loom::thread::Thread;
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

/// What the table knows of one thread.
#[derive(Debug)]
struct Seat {
    /// Threads whose request was posted and not yet served.
    posted: Vec<Thread>,
    /// Blocked or ended: it has run a barrier, and runs another before it goes on.
    away: bool,
    /// Ended: only its thread-local destructors still run.
    ended: bool,
    /// The thread itself, once it runs, and where its stack begins.
    place: Option<(Thread, usize)>,
}

impl Seat {
    const fn new() -> Self {
        Self {
            posted: Vec::new(),
            away: false,
            ended: false,
            place: None,
        }
    }
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
        // A failed model drops it after its execution is gone.
        if !std::thread::panicking() {
            leave(0);
        }
    }
}

loom::lazy_static! {
    static ref MAIN: MainSeat = MainSeat;
}

/// Runs `f` with the executions that it begins under `model`.
///
/// Without a choice the environment decides: `LOOM_BARRIER=fence`, anything else being [`Model::Interrupt`].
pub fn under<R>(model: Model, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Model>);
    impl Drop for Restore {
        fn drop(&mut self) {
            MODEL.with(|m| m.set(self.0));
        }
    }
    let _restore = Restore(MODEL.with(|m| m.replace(Some(model))));
    f()
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
    with_seats(|seats| {
        seats.clear();
        seats.push(Seat::new());
    });
    take_place(0);
    0
}

fn with_seats<R>(f: impl FnOnce(&mut Vec<Seat>) -> R) -> R {
    SEATS.with(|seats| f(&mut seats.borrow_mut()))
}

/// Room for the frames between a thread's outermost one and the one that took its place; below a guard page's size.
const SLACK: usize = 2048;

fn stack_address() -> usize {
    let here = 0u8;
    std::hint::black_box(&raw const here) as usize
}

fn take_place(seat: usize) {
    let place = (loom::thread::current(), stack_address());
    with_seats(|seats| seats[seat].place = Some(place));
}

/// The calling thread's place in the table.
///
/// While its thread-locals are torn down the thread is known by its stack: the one that begins next above here.
pub(crate) fn seat() -> Option<usize> {
    MINE.try_with(|mine| *mine).ok().or_else(|| {
        let here = stack_address().saturating_sub(SLACK);
        with_seats(|seats| {
            let begins = |seat: &Seat| seat.place.as_ref().map_or(usize::MAX, |place| place.1);
            let above = seats.iter().enumerate().filter(|(_, seat)| begins(seat) >= here);
            above.min_by_key(|(_, seat)| begins(seat)).map(|(at, _)| at)
        })
    })
}

/// Whether only the calling thread's thread-local destructors still run. Loom would initialise a thread-local anew here,
/// and drop it outside the execution.
pub(crate) fn is_ending() -> bool {
    seat().is_none_or(|seat| with_seats(|seats| seats[seat].ended))
}

/// A point at which loom may switch threads.
pub(super) fn switch_point() {
    let word = SWITCH.with(|switch| switch.borrow().clone());
    if let Some(word) = word {
        // Relaxed: the store exists only to give loom a place to switch threads.
        word.store(0, Ordering::Relaxed);
    }
}

/// A place, in a model's own code, where threads may switch and an interrupt posted meanwhile is served.
///
/// Loom tries only such orders of two accesses as touch one object, and a posted request is none. This touches the word
/// that every heavy barrier touches before it posts.
pub fn place() {
    switch_point();
    poll();
}

/// Gives a thread that is about to start its seat.
pub(super) fn enlist() -> usize {
    poll();
    with_seats(|seats| {
        seats.push(Seat::new());
        seats.len() - 1
    })
}

/// Takes the seat, on the new thread.
pub(super) fn sit(seat: usize) {
    NEXT.with(|next| next.set(Some(seat)));
    MINE.with(|mine| assert_eq!(*mine, seat));
    take_place(seat);
}

/// Ends the thread's part: what it still does in thread-local destructors passes a barrier at every operation.
pub(super) fn leave(seat: usize) {
    go_away(seat);
    with_seats(|seats| seats[seat].ended = true);
}

fn go_away(seat: usize) {
    with_seats(|seats| seats[seat].away = true);
    serve(seat);
}

/// Runs a barrier and lets those go on who asked for it.
fn serve(seat: usize) {
    loom::sync::atomic::fence(Ordering::SeqCst);
    let waiting = with_seats(|seats| std::mem::take(&mut seats[seat].posted));
    // Waking them orders nothing that the barrier has not ordered.
    waiting.iter().for_each(Thread::unpark);
}

/// Serves posted requests: the point at which the interrupt falls.
pub(super) fn poll() {
    let Some(seat) = seat() else {
        // The main thread's destructors, when all is over.
        loom::sync::atomic::fence(Ordering::SeqCst);
        return;
    };
    if with_seats(|seats| seats[seat].ended || !seats[seat].posted.is_empty()) {
        serve(seat);
    }
}

/// Runs `f`, which may block, between two barriers.
pub(super) fn while_blocked<R>(f: impl FnOnce() -> R) -> R {
    let Some(seat) = seat() else { return f() };
    go_away(seat);
    let result = f();
    with_seats(|seats| seats[seat].away = seats[seat].ended);
    loom::sync::atomic::fence(Ordering::SeqCst);
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
    let mine = seat();
    let me =
        mine.and_then(|mine| with_seats(|seats| seats[mine].place.as_ref().map(|place| place.0.clone())));
    let Some(me) = me else { return };
    let asked: Vec<usize> = with_seats(|seats| {
        let others = seats
            .iter_mut()
            .enumerate()
            .filter(|(at, seat)| Some(*at) != mine && !seat.away);
        others
            .map(|(at, seat)| {
                seat.posted.push(me.clone());
                at
            })
            .collect()
    });
    let id = me.id();
    let waiting = || {
        with_seats(|seats| {
            asked
                .iter()
                .any(|at| seats[*at].posted.iter().any(|thread| thread.id() == id))
        })
    };
    while waiting() {
        while_blocked(loom::thread::park);
    }
    loom::sync::atomic::fence(Ordering::SeqCst);
}
