//! Who gets the next place: a queue in which nobody overtakes and nothing is lost.
//!
//! # States of a ticket
//! ```text
//!   draw ──► Waiting ──grant──► Granted ──take──► (a place is held)
//!               └──────── leave ────┴── leave: the place goes to the next
//! ```
//!
//! # Invariants
//! - **G1** `held + granted <= allowed` whenever a place is given; a window that shrinks takes none back.
//! - **G2** first come, first served: a place goes to the oldest ticket that waits, and whoever asks without a ticket is
//!   refused while somebody waits.
//! - **G3** no place stands idle: after each call, either nobody waits or `held + granted >= allowed`.
//! - **G4** a granted ticket whose owner leaves passes its place on.
//!
//! No clock and no I/O: times come in as arguments. Wakers go out to be woken when nothing is borrowed.

use std::task::Waker;

const NONE: u32 = u32::MAX;

/// A caller's position in the queue. Taken or left exactly once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ticket(u32);

#[derive(Debug)]
enum State {
    /// Of nobody; the next free one.
    Free(u32),
    Waiting(Waker),
    Granted,
}

#[derive(Debug)]
struct Entry {
    state: State,
    since_ns: u64,
    before: u32,
    behind: u32,
}

/// Places and those who wait for one.
#[derive(Debug)]
pub(super) struct Gate {
    allowed: u32,
    held: u32,
    granted: u32,
    entries: Vec<Entry>,
    free: u32,
    head: u32,
    tail: u32,
    waiting: u32,
}

impl Gate {
    pub(super) const fn new(allowed: u32) -> Self {
        Self {
            allowed,
            held: 0,
            granted: 0,
            entries: Vec::new(),
            free: NONE,
            head: NONE,
            tail: NONE,
            waiting: 0,
        }
    }

    /// Places that operations hold.
    pub(super) fn held(&self) -> u32 {
        self.held
    }

    /// Callers that wait for a place.
    pub(super) fn waiting(&self) -> u32 {
        self.waiting
    }

    /// Takes a place at once, or says that there is none.
    #[must_use]
    pub(super) fn try_take(&mut self) -> bool {
        let there = self.waiting == 0 && self.held + self.granted < self.allowed;
        self.held += u32::from(there);
        there
    }

    /// Queues a caller that asked at `since_ns`. Allocates for more at once than ever before.
    pub(super) fn draw(&mut self, waker: Waker, since_ns: u64, woken: &mut Vec<Waker>) -> Ticket {
        let entry = Entry {
            state: State::Waiting(waker),
            since_ns,
            before: self.tail,
            behind: NONE,
        };
        let at = match self.free {
            NONE => {
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
            at => {
                let old = std::mem::replace(&mut self.entries[at as usize], entry);
                let State::Free(next) = old.state else {
                    unreachable!("only free entries are in the list of those")
                };
                self.free = next;
                at
            }
        };
        match self.tail {
            NONE => self.head = at,
            tail => self.entries[tail as usize].behind = at,
        }
        self.tail = at;
        self.waiting += 1;
        self.grant(woken);
        Ticket(at)
    }

    /// Turns a granted ticket into a held place and says since when its owner waited; else the ticket comes back.
    pub(super) fn take(&mut self, ticket: Ticket) -> Result<u64, Ticket> {
        let entry = &self.entries[ticket.0 as usize];
        if !matches!(entry.state, State::Granted) {
            return Err(ticket);
        }
        let since_ns = entry.since_ns;
        self.granted -= 1;
        self.held += 1;
        self.release_entry(ticket.0);
        Ok(since_ns)
    }

    /// Whether a ticket that waits would be woken by this waker.
    pub(super) fn knows(&self, ticket: &Ticket, waker: &Waker) -> bool {
        matches!(&self.entries[ticket.0 as usize].state, State::Waiting(known) if known.will_wake(waker))
    }

    /// Has a ticket woken by another waker and gives the old one back, or this one where the ticket was granted meanwhile:
    /// then it is to be woken.
    pub(super) fn rewake(&mut self, ticket: &Ticket, waker: Waker) -> Result<Waker, Waker> {
        match &mut self.entries[ticket.0 as usize].state {
            State::Waiting(known) => Ok(std::mem::replace(known, waker)),
            _ => Err(waker),
        }
    }

    /// Gives a ticket up; whom to wake, and what to drop, when nothing is borrowed.
    #[must_use]
    pub(super) fn leave(&mut self, ticket: Ticket, woken: &mut Vec<Waker>) -> Option<Waker> {
        let state = std::mem::replace(&mut self.entries[ticket.0 as usize].state, State::Granted);
        let mine = match state {
            State::Waiting(waker) => {
                self.unlink(ticket.0);
                Some(waker)
            }
            State::Granted => {
                self.granted -= 1;
                None
            }
            State::Free(_) => unreachable!("a ticket is left once"),
        };
        self.release_entry(ticket.0);
        self.grant(woken);
        mine
    }

    /// More operations hold a place than were asked for, or fewer.
    pub(super) fn settle(&mut self, asked: u32, held: u32, woken: &mut Vec<Waker>) {
        self.held = self.held + held - asked;
        self.grant(woken);
    }

    /// Gives places back.
    pub(super) fn release(&mut self, places: u32, woken: &mut Vec<Waker>) {
        debug_assert!(places <= self.held, "a place is given back once");
        self.held -= places;
        self.grant(woken);
    }

    /// Changes how many may be held.
    pub(super) fn allow(&mut self, allowed: u32, woken: &mut Vec<Waker>) {
        self.allowed = allowed;
        self.grant(woken);
    }

    /// Hands free places to those who wait, oldest first.
    fn grant(&mut self, woken: &mut Vec<Waker>) {
        while self.head != NONE && self.held + self.granted < self.allowed {
            let at = self.head;
            self.unlink(at);
            let state = std::mem::replace(&mut self.entries[at as usize].state, State::Granted);
            if let State::Waiting(waker) = state {
                woken.push(waker);
            }
            self.granted += 1;
        }
    }

    fn unlink(&mut self, at: u32) {
        let Entry { before, behind, .. } = self.entries[at as usize];
        match before {
            NONE => self.head = behind,
            before => self.entries[before as usize].behind = behind,
        }
        match behind {
            NONE => self.tail = before,
            behind => self.entries[behind as usize].before = before,
        }
        self.waiting -= 1;
    }

    fn release_entry(&mut self, at: u32) {
        self.entries[at as usize].state = State::Free(self.free);
        self.free = at;
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    /// Counts its wake-ups.
    #[derive(Default)]
    struct Bell(AtomicU32);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            // Relaxed: one thread.
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Bell {
        fn rung(&self) -> u32 {
            // Relaxed: one thread.
            self.0.load(Ordering::Relaxed)
        }
    }

    #[derive(Clone, Debug)]
    enum Act {
        Try,
        Draw,
        /// The oldest granted caller takes its place.
        Take,
        /// A caller leaves, waiting or granted, by position.
        Leave(usize),
        Release,
        Allow(u32),
        /// A place was asked for, and so many operations were admitted.
        Settle(u32),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            2 => Just(Act::Try),
            4 => Just(Act::Draw),
            3 => Just(Act::Take),
            2 => (0usize..16).prop_map(Act::Leave),
            4 => Just(Act::Release),
            1 => (1u32..6).prop_map(Act::Allow),
            1 => (0u32..3).prop_map(Act::Settle),
        ]
    }

    /// A caller of the oracle: its number, its ticket, its bell.
    type Caller = (u32, Ticket, Arc<Bell>);

    /// The same gate, said naively: a queue of those who wait, a list of those who were granted.
    #[derive(Default)]
    struct Oracle {
        allowed: u32,
        held: u32,
        waiting: VecDeque<Caller>,
        granted: Vec<Caller>,
    }

    impl Oracle {
        fn grant(&mut self) {
            while self.held + (self.granted.len() as u32) < self.allowed
                && let Some(next) = self.waiting.pop_front()
            {
                self.granted.push(next);
            }
        }
    }

    fn check(gate: &Gate, oracle: &Oracle) -> Result<(), TestCaseError> {
        prop_assert_eq!(gate.held(), oracle.held);
        prop_assert_eq!(gate.waiting() as usize, oracle.waiting.len());
        prop_assert_eq!(gate.granted as usize, oracle.granted.len());
        prop_assert!(
            oracle.waiting.is_empty() || oracle.held + oracle.granted.len() as u32 >= oracle.allowed,
            "G3: a place stands idle"
        );
        for (n, _, bell) in &oracle.granted {
            prop_assert_eq!(bell.rung(), 1, "G3: {} has a place and was not woken once", n);
        }
        for (n, _, bell) in &oracle.waiting {
            prop_assert_eq!(bell.rung(), 0, "G2: {} was woken before its turn", n);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn e7_gate_serves_in_order_and_loses_no_place_whoever_leaves(
            acts in prop::collection::vec(act(), 1..200),
        ) {
            let mut gate = Gate::new(2);
            let mut oracle = Oracle { allowed: 2, ..Oracle::default() };
            let mut next = 0;
            for act in acts {
                let mut woken = Vec::new();
                match act {
                    Act::Try => {
                        let free = oracle.waiting.is_empty()
                            && oracle.held + (oracle.granted.len() as u32) < oracle.allowed;
                        prop_assert_eq!(gate.try_take(), free, "G2");
                        oracle.held += u32::from(free);
                    }
                    Act::Draw => {
                        let bell = Arc::new(Bell::default());
                        let waker = Waker::from(Arc::clone(&bell));
                        let ticket = gate.draw(waker, u64::from(next), &mut woken);
                        oracle.waiting.push_back((next, ticket, bell));
                        next += 1;
                    }
                    Act::Take => {
                        if !oracle.granted.is_empty() {
                            let (n, ticket, _) = oracle.granted.remove(0);
                            let since = gate.take(ticket).expect("granted");
                            prop_assert_eq!(since, u64::from(n));
                            oracle.held += 1;
                        }
                    }
                    Act::Leave(at) => {
                        let caller = if at < oracle.granted.len() {
                            Some(oracle.granted.remove(at))
                        } else {
                            oracle.waiting.remove(at - oracle.granted.len())
                        };
                        if let Some((_, ticket, _)) = caller {
                            drop(gate.leave(ticket, &mut woken));
                        }
                    }
                    Act::Release if oracle.held > 0 => {
                        gate.release(1, &mut woken);
                        oracle.held -= 1;
                    }
                    Act::Release => {}
                    Act::Allow(allowed) => {
                        gate.allow(allowed, &mut woken);
                        oracle.allowed = allowed;
                    }
                    Act::Settle(admitted) => {
                        if gate.try_take() {
                            gate.settle(1, admitted, &mut woken);
                            oracle.held += admitted;
                        }
                    }
                }
                oracle.grant();
                woken.into_iter().for_each(Waker::wake);
                check(&gate, &oracle)?;
            }
        }
    }

    #[test]
    fn a_caller_polled_with_another_waker_is_woken_by_the_new_one() {
        let [first, second] = [(); 2].map(|()| Arc::new(Bell::default()));
        let [old, new] = [&first, &second].map(|bell| Waker::from(Arc::clone(bell)));
        let (mut gate, mut woken) = (Gate::new(1), Vec::new());
        assert!(gate.try_take());
        let ticket = gate.draw(old.clone(), 7, &mut woken);
        let ticket = gate.take(ticket).unwrap_err();
        assert!(gate.knows(&ticket, &old) && !gate.knows(&ticket, &new));
        assert!(gate.rewake(&ticket, new.clone()).is_ok());
        gate.release(1, &mut woken);
        woken.into_iter().for_each(Waker::wake);
        assert_eq!((first.rung(), second.rung()), (0, 1));
        assert!(
            gate.rewake(&ticket, old).is_err(),
            "granted: whoever asks is to be polled"
        );
        assert_eq!(gate.take(ticket), Ok(7));
    }

    #[test]
    fn entries_are_used_again() {
        let (mut gate, mut woken) = (Gate::new(0), Vec::new());
        for _ in 0..1_000 {
            let ticket = gate.draw(Waker::noop().clone(), 0, &mut woken);
            drop(gate.leave(ticket, &mut woken));
        }
        assert_eq!((gate.entries.len(), woken.len()), (1, 0));
    }
}
