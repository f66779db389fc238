//! One lock, one sleeper: how threads share what none of them owns.
//!
//! # Two roles
//! *Combiner*: whoever holds the lock ([`flat_combine::Combiner`]) runs what the others published, and at the end of each lot
//! turns the port once: **one** call submits all that the lot queued, and what completed is landed. Nothing waits for a lot to
//! grow: a lot is what was published while the one before it was being worked on, one operation where nobody else is there.
//!
//! *Leader*: whoever waits for an operation that is not over. One thread at a time sleeps where completions are announced; the
//! others park behind it, in line. The leader sleeps **without** the lock, so others submit, turn and land meanwhile. The
//! kernel could not be waited for under the lock: whoever submits would stand still until something completed.
//!
//! # States of a waiting thread
//! ```text
//!   (not there) ──enter──► leads ◄──handed over── in line
//!        ▲                   │                       │
//!        └────────leave──────┴─────────leave─────────┘
//! ```
//! All of it changes under the lock alone.
//!
//! # Invariants
//! - **H1** at most one thread leads; `led` says whether one does. Who enters while nobody leads, leads.
//! - **H2** where the line is not empty somebody leads: who leaves hands over to the first in line in the same step, and it
//!   leaves however its wait ends (over, out of time, unwinding), since a guard does it ([`Post`]). So the lead is never lost.
//! - **H3** a thread in line is woken by the landing of its own operation or by being handed the lead, each kept by the token of
//!   `unpark` if it comes before the park. Whoever is handed the lead while it leaves passes it on, under the same lock.
//! - **H4** a leader is woken by a completion that is not yet collected, which the announcement tells for as long as it is so,
//!   or by the strike of its own operation's landing: it has its seat watched *before* it sleeps ([`Claim::watch`] tells it
//!   if that is too late), and a strike stays until a sleep consumes it. So whoever collects what a leader waits for, be it
//!   while the leader is on its way to bed, wakes it.
//! - **H5** a thread sleeps in the role in which it had its seat watched, though it be handed the lead in between: an `unpark` ends
//!   no sleep of a leader, nor a strike a park.
//! - **H6** whatever is queued under the lock is submitted before the lock is let go of, by the same thread or by the one that
//!   leads the lot: nothing waits for anybody to come back.
//!
//! # Orderings
//! What is under the lock is published by the combiner's own. `leads` is stored under it and read by its owner outside, as a
//! hint that only chooses between two ways to sleep.
//!
//! # Linearization
//! Submission: where the closure of [`Hub::act`] runs. End: see [`seat`](super::seat).

use super::late;
use super::seat::{Claim, Strike, Wake};
use flat_combine::{Combiner, Combining, Tally};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use sync_base::atomic::{AtomicBool, Ordering};
use sync_base::sync::Arc;
use sync_base::thread::{self, Thread};

/// A sleep ends after so long at the latest, whatever became of its wake-up.
const ROUND: Duration = Duration::from_secs(1);

/// What lies under the lock.
pub trait Port: Send {
    /// Submits what is queued, all of it at once, and lands what completed. Does not wait.
    fn turn(&mut self);

    /// Waits while holding the lock, where time passes only for whoever holds it (a simulated kernel).
    fn wait(&mut self, _limit: Duration) {}
}

/// Where the leader sleeps.
pub trait Sleep: Send + Sync {
    /// Sleeps until there is something to collect, a strike came, or the time is up. Without the lock.
    fn sleep(&self, limit: Duration);

    /// What ends the sleep.
    fn strike(&self) -> std::sync::Arc<dyn Strike>;

    /// Whether to wait in [`Port::wait`] instead.
    fn is_under_lock(&self) -> bool {
        false
    }
}

/// A port that any number of threads use.
pub struct Hub<P, S> {
    lock: Combiner<Held<P>>,
    sleeper: S,
}

struct Held<P> {
    port: P,
    led: bool,
    line: VecDeque<Arc<Candidate>>,
}

/// A thread in line.
struct Candidate {
    leads: AtomicBool,
    thread: Thread,
}

impl<P, S> std::fmt::Debug for Hub<P, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

impl<P: Port, S: Sleep> Hub<P, S> {
    /// Makes one that nobody uses yet.
    pub fn new(port: P, sleeper: S) -> Self {
        let held = Held {
            port,
            led: false,
            line: VecDeque::new(),
        };
        Self {
            // Published at once, not after trying for the lock: what it costs a thread alone is lost in the system call, and
            // whoever waits is served in the order of lots, which keeps the slowest of them short (`comb.ring.p99`).
            lock: Combiner::new(held)
                .on_lot_end(|held, _| held.port.turn())
                .combining(Combining::Always),
            sleeper,
        }
    }

    /// Runs `f` on the port, alone, here or on the thread that combines; then the port has been turned.
    #[inline]
    pub fn act<R: Send>(&self, f: impl FnOnce(&mut P) -> R + Send) -> R {
        let _run_down = late::Run::default();
        self.lock.with(|held| f(&mut held.port))
    }

    /// Where the leader sleeps.
    pub fn sleeper(&self) -> &S {
        &self.sleeper
    }

    /// How often submissions were combined.
    pub fn tally(&self) -> Tally {
        self.lock.tally()
    }

    /// Waits until the claimed operation is over, at most until the deadline; says whether it is.
    pub fn wait<T, N>(&self, claim: &Claim<T, N>, deadline: Option<Instant>) -> bool {
        if claim.is_landed() {
            return true;
        }
        let post = Post::enter(self);
        while !claim.is_landed() {
            let left = deadline.map_or(ROUND, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            let role = post.role();
            let wake = match role {
                Role::Leader => Wake::Leader(self.sleeper.strike()),
                Role::InLine => Wake::Thread(thread::current()),
            };
            if claim.watch(wake) {
                post.sleep(role, left.min(ROUND));
            }
        }
        claim.is_landed()
    }

    /// Leads, or stands in line, until `over` says that it is enough: for a thread that waits for nothing of its own. Its
    /// sleeps last up to `round`.
    pub fn keep(&self, round: Duration, over: impl Fn() -> bool) {
        let post = Post::enter(self);
        while !over() {
            post.sleep(post.role(), round);
        }
    }
}

/// How a thread sleeps, and is woken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Leader,
    InLine,
}

/// A thread's place among those that wait; left when dropped (H2).
struct Post<'h, P: Port, S: Sleep> {
    hub: &'h Hub<P, S>,
    me: Arc<Candidate>,
}

impl<'h, P: Port, S: Sleep> Post<'h, P, S> {
    fn enter(hub: &'h Hub<P, S>) -> Self {
        let me = Arc::new(Candidate {
            leads: AtomicBool::new(false),
            thread: thread::current(),
        });
        let mine = Arc::clone(&me);
        // Before it enters, so that it leaves whatever unwinds from here on.
        let post = Self { hub, me };
        let run_down = late::Run::default();
        hub.lock.with(move |held| held.enter(mine));
        drop(run_down);
        post
    }

    fn role(&self) -> Role {
        if self.me.leads() {
            Role::Leader
        } else {
            Role::InLine
        }
    }

    /// Sleeps as leader, and turns the port afterwards, or parks in line. In the role in which it is to be woken (H5): one that
    /// has the lead handed to it meanwhile is unparked, and looks again.
    fn sleep(&self, role: Role, limit: Duration) {
        let _run_down = late::Run::default();
        if role == Role::InLine {
            return park(limit);
        }
        if self.hub.sleeper.is_under_lock() {
            return self.hub.lock.with(|held| held.port.wait(limit));
        }
        self.hub.sleeper.sleep(limit);
        self.hub.lock.with(|_| ());
    }
}

impl<P: Port, S: Sleep> Drop for Post<'_, P, S> {
    fn drop(&mut self) {
        let _run_down = late::Run::default();
        let me = &self.me;
        self.hub.lock.with(|held| held.leave(me));
    }
}

impl Candidate {
    fn leads(&self) -> bool {
        // Relaxed: only its owner draws a conclusion from it, and what it guards is under the lock.
        self.leads.load(Ordering::Relaxed)
    }
}

impl<P> Held<P> {
    fn enter(&mut self, me: Arc<Candidate>) {
        if self.led {
            self.line.push_back(me);
            return;
        }
        self.led = true;
        // Relaxed: the lock publishes it to whoever needs to know.
        me.leads.store(true, Ordering::Relaxed);
    }

    fn leave(&mut self, me: &Arc<Candidate>) {
        if !me.leads() {
            self.line.retain(|other| !Arc::ptr_eq(other, me));
            return;
        }
        let Some(next) = self.line.pop_front() else {
            self.led = false;
            return;
        };
        // Relaxed: the unpark below orders it before the return from the park.
        next.leads.store(true, Ordering::Relaxed);
        next.thread.unpark();
    }
}

/// Parks. A model has no clock, and a park without end there is a lost wake-up told.
fn park(limit: Duration) {
    #[cfg(not(any(loom, shuttle)))]
    std::thread::park_timeout(limit);
    #[cfg(any(loom, shuttle))]
    {
        let _ = limit;
        thread::park();
    }
}
