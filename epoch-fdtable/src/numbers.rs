//! Gives out descriptor numbers from a lock-free bitmap.
//!
//! # States
//! A number is *free* (bit clear) or *taken* (bit set). `lowest`, `any`, `at` move free -> taken; `release` moves
//! taken -> free. A bitmap word is *marked* (its bit in the group word is set: scans skip it) or *open*.
//!
//! # Invariants
//! - I1: a number has one owner from the read-modify-write that set its bit to the one that clears it.
//! - I2: a mark was set on a word seen full, and the release that ends that fullness removes it before it returns, as
//!   does every later release from the word that finds the mark. So a scan passes over a word only if it was full at
//!   some moment of the scan, or while a release that found it full is still running.
//! - I3: an open word promises nothing; whoever finds it full marks it.
//!
//! Why I2 holds: a marker reads the group word, then sees the bitmap word full, then compare-exchanges the group word
//! it read. A releaser that ends the fullness clears its bit, then moves the group's version. If the move comes before
//! the marker's read, the marker sees the clear; if it comes between, the compare-exchange fails; if it comes after, it
//! removes the mark. Without the version the move could be invisible (the mark not set yet) and a stale mark would
//! outlive the release.
//!
//! # Linearization points
//! Taking: the compare-exchange (`lowest`, `any`) or fetch-or (`at`) that sets the bit. Releasing: the fetch-sub.
//! Within one word that does not fill up, `lowest` is exactly the lowest free number at its linearization point. Across
//! words, no number below the one it returns was free during the whole call, except in a word from which a release that
//! found it full was running beside the call while a third thread was just marking it (I2).
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | bit set (compare-exchange, fetch-or) | Acquire | the Release that cleared it: the last owner's slot and generation |
//! | bit clear | AcqRel | that Acquire; the marker's Acquire of the group, through the version; and earlier clears: a mark they left is seen |
//! | version move | Release | the marker's Acquire: the clear that came before |
//! | group load of a marker | Acquire | that Release |
//! | marker's compare-exchange | Relaxed | publishes nothing; continues the release sequence of the move it read |

use crate::pages::{PAGE_WORDS, Pages};
use crate::word::{GROUP_WORDS, Group, Taken, WORD_BITS};
use std::cell::Cell;
use sync_base::atomic::{AtomicU32, AtomicU64, Ordering};
use sync_base::hint;

sync_base::global! {
    static NEXT_TABLE: AtomicU64 = AtomicU64::new(1);
    static NEXT_THREAD: AtomicU32 = AtomicU32::new(0);
}

/// What a thread remembers. Only ever a guess: each use is settled by a compare-exchange.
struct Memory {
    /// Table and index of the word that this thread last wrote, and what it left there.
    word: Cell<(u64, u32, Taken)>,
    /// The word from which `any` serves this thread.
    home: Cell<Home>,
    /// This thread's number plus one; zero before it has one.
    thread: Cell<u32>,
}

sync_base::thread_local! {
    static MEMORY: Memory = const {
        Memory { word: Cell::new((0, 0, Taken(0))), home: Cell::new(Home { table: 0, word: 0, strikes: 0 }), thread: Cell::new(0) }
    };
}

/// A thread's own word in a table, and how many times in a row it met another thread there.
#[derive(Clone, Copy)]
struct Home {
    table: u64,
    word: u32,
    strikes: u32,
}

/// Meetings in a row that a thread puts up with in its home word.
const STRIKES: u32 = 2;
/// Pauses of the processor, about half a microsecond, after another thread took a number first.
const PAUSES: u32 = 64;
/// Threads that settle in different words though they look at the same moment.
const APART: u32 = 8;

/// What came of looking for a free number in one word.
enum InWord {
    Taken { number: u32, raced: bool },
    Full,
    PastLimit,
}

/// The group words over the bitmap words that live in the pages.
#[derive(Debug)]
pub(crate) struct Numbers {
    id: u64,
    groups: Box<[AtomicU64]>,
}

impl Numbers {
    /// Covers the bitmap words of `pages`, all numbers free.
    pub(crate) fn new(pages: &Pages) -> Self {
        let groups = (0..pages.words().div_ceil(GROUP_WORDS)).map(|_| AtomicU64::new(0));
        Self {
            // Relaxed: only uniqueness matters.
            id: NEXT_TABLE.fetch_add(1, Ordering::Relaxed),
            groups: groups.collect(),
        }
    }

    /// Takes the lowest free number at or above `floor` and below `limit`. Lock-free.
    pub(crate) fn lowest(&self, pages: &Pages, floor: u32, limit: u32) -> Option<u32> {
        let first = floor / WORD_BITS;
        for group in first / GROUP_WORDS..self.groups.len() as u32 {
            let mut from = if group == first / GROUP_WORDS {
                first % GROUP_WORDS
            } else {
                0
            };
            // Relaxed: a mark sends the scan on and gives access to nothing; I2 holds for the value by coherence.
            while let Some(at) = Group(self.groups[group as usize].load(Ordering::Relaxed)).lowest_open(from)
            {
                let word = group * GROUP_WORDS + at;
                if word * WORD_BITS >= limit {
                    return None;
                }
                let floor = if word == first { floor % WORD_BITS } else { 0 };
                match self.take_in(pages, word, floor, limit) {
                    InWord::Taken { number, .. } => return Some(number),
                    InWord::Full => from = at + 1,
                    InWord::PastLimit => return None,
                }
                if from == GROUP_WORDS {
                    break;
                }
            }
        }
        None
    }

    /// Takes a free number below `limit`, from this thread's own word while that has one. Lock-free.
    ///
    /// `None` only if every word was seen without a free number below the limit.
    pub(crate) fn any(&self, pages: &Pages, limit: u32) -> Option<u32> {
        let words = limit.div_ceil(WORD_BITS);
        if words == 0 {
            return None;
        }
        let thread = thread_number();
        let home = MEMORY.with(|m| m.home.get());
        let home = if home.table == self.id && home.word < words {
            home
        } else {
            Home {
                table: self.id,
                word: thread % words,
                strikes: 0,
            }
        };
        if let InWord::Taken { number, raced } = self.take_in(pages, home.word, 0, limit) {
            // Somebody else works here too, time and again: settle elsewhere next time.
            let strikes = if raced { home.strikes + 1 } else { 0 };
            let next = if strikes > STRIKES {
                Home {
                    word: (home.word + 1 + thread % words) % words,
                    strikes: 0,
                    ..home
                }
            } else {
                Home { strikes, ..home }
            };
            MEMORY.with(|m| m.home.set(next));
            return Some(number);
        }
        self.settle(pages, (home.word + 1 + thread % words) % words, words, limit)
    }

    /// Looks for a new home from `start` on, and takes a number there.
    ///
    /// Each thread first passes over some open words, as many as its number says, so that threads that look at the same
    /// time part.
    #[cold]
    fn settle(&self, pages: &Pages, start: u32, words: u32, limit: u32) -> Option<u32> {
        let open = || {
            (start..words).chain(0..start).filter(|word| {
                // Relaxed: as in `lowest`.
                let group = Group(self.groups[(word / GROUP_WORDS) as usize].load(Ordering::Relaxed));
                !group.is_full(word % GROUP_WORDS)
            })
        };
        let apart = (thread_number() % APART) as usize;
        for word in open().skip(apart).chain(open()) {
            if let InWord::Taken { number, .. } = self.take_in(pages, word, 0, limit) {
                MEMORY.with(|m| {
                    m.home.set(Home {
                        table: self.id,
                        word,
                        strikes: 0,
                    })
                });
                return Some(number);
            }
        }
        None
    }

    /// Takes this very number; `false` if it is taken already. Wait-free but for the marking of a full word.
    pub(crate) fn at(&self, pages: &Pages, number: u32) -> bool {
        let (word, bit) = (number / WORD_BITS, number % WORD_BITS);
        let page = pages.page_or_grow(number);
        // Acquire: pairs with the Release in `release`; the last owner's slot and generation are seen.
        let before = Taken(page.word(word).fetch_or(Taken::mask(bit), Ordering::Acquire));
        if before.has(bit) {
            return false;
        }
        self.after_taking(pages, word, before.with(bit));
        true
    }

    /// Gives back a number that the caller owns. Wait-free but for the reopening of a full word.
    pub(crate) fn release(&self, pages: &Pages, number: u32) {
        let (word, bit) = (number / WORD_BITS, number % WORD_BITS);
        let page = pages.page_or_grow(number);
        // AcqRel: the Release pairs with the Acquire in `take_in` and `at`: the next owner sees the empty slot and its
        // generation. The Acquire pairs with the Release of earlier clears here: a mark set before them is seen below.
        // By I1 the bit is set, so taking its value away clears it: one instruction where a fetch-and is a loop.
        let before = Taken(page.word(word).fetch_sub(Taken::mask(bit), Ordering::AcqRel));
        debug_assert!(before.has(bit), "I1: released a number that nobody owns");
        MEMORY.with(|m| m.word.set((self.id, word, before.without(bit))));
        // Relaxed: the Acquire above orders it; I2 needs no more.
        let group = Group(self.groups[(word / GROUP_WORDS) as usize].load(Ordering::Relaxed));
        if before.is_full() || group.is_full(word % GROUP_WORDS) {
            self.reopen(word);
        }
    }

    /// Says how many numbers are taken: each word exact when it is read. Wait-free, reads one line for 64 numbers.
    pub(crate) fn count(&self, pages: &Pages) -> u32 {
        let words = pages.present().flat_map(|(first, page)| {
            let first = first / WORD_BITS;
            // Relaxed: a count gives access to nothing.
            (first..first + PAGE_WORDS).map(|word| Taken(page.word(word).load(Ordering::Relaxed)))
        });
        words.map(Taken::count).sum()
    }

    /// Takes the lowest free number of one word at or above `floor`, starting from a guess: a wrong one costs a failed
    /// compare-exchange on a line that is then ours, where reading first would fetch the line twice.
    fn take_in(&self, pages: &Pages, word: u32, floor: u32, limit: u32) -> InWord {
        let base = word * WORD_BITS;
        let atomic = pages.page_or_grow(base).word(word);
        let (table, remembered, value) = MEMORY.with(|m| m.word.get());
        let mut guessed = table == self.id && remembered == word;
        // Relaxed: a guess; the compare-exchange decides.
        let read = || Taken(atomic.load(Ordering::Relaxed));
        let mut seen = if guessed { value } else { read() };
        let mut lost = 0;
        loop {
            let Some(bit) = seen.lowest_free(floor).filter(|bit| base + bit < limit) else {
                if guessed {
                    (guessed, seen) = (false, read());
                    continue;
                }
                if seen.is_full() {
                    self.mark(pages, word);
                }
                // Past the limit from the floor up, or taken to the end.
                let past = seen.lowest_free(floor).is_some();
                return if past { InWord::PastLimit } else { InWord::Full };
            };
            let (now, then) = (seen.0, seen.with(bit).0);
            // Acquire: pairs with the Release in `release`; the last owner's slot and generation are seen. Relaxed on
            // failure: the value is the next guess.
            match atomic.compare_exchange(now, then, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => {
                    self.after_taking(pages, word, Taken(then));
                    return InWord::Taken {
                        number: base + bit,
                        raced: lost > 0,
                    };
                }
                Err(actual) => {
                    (guessed, seen, lost) = (false, Taken(actual), lost + 1);
                    if seen.has_more_than(Taken(now)) {
                        stand_back();
                        seen = read();
                    }
                }
            }
        }
    }

    fn after_taking(&self, pages: &Pages, word: u32, left: Taken) {
        MEMORY.with(|m| m.word.set((self.id, word, left)));
        if left.is_full() {
            self.mark(pages, word);
        }
    }

    /// Marks a word full, unless it no longer is.
    fn mark(&self, pages: &Pages, word: u32) {
        let group = &self.groups[(word / GROUP_WORDS) as usize];
        let atomic = pages.page_or_grow(word * WORD_BITS).word(word);
        loop {
            // Acquire: pairs with the Release in `reopen`; the clear before that move is seen just below.
            let seen = Group(group.load(Ordering::Acquire));
            // Relaxed: I2 needs this load to follow the Acquire above, which it does.
            let full = Taken(atomic.load(Ordering::Relaxed)).is_full();
            if !full || seen.is_full(word % GROUP_WORDS) {
                return;
            }
            let marked = seen.marked(word % GROUP_WORDS);
            // Relaxed: a mark publishes nothing, and a read-modify-write continues the release sequence of `reopen`.
            if group
                .compare_exchange(seen.0, marked.0, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
            {
                return;
            }
        }
    }

    /// Moves the version and removes the mark, after a full word lost a bit.
    fn reopen(&self, word: u32) {
        let group = &self.groups[(word / GROUP_WORDS) as usize];
        // Relaxed: only the starting guess of the loop.
        let mut seen = group.load(Ordering::Relaxed);
        loop {
            let reopened = Group(seen).reopened(word % GROUP_WORDS).0;
            // Release: pairs with the Acquire in `mark`; publishes the cleared bit. Relaxed on failure: the next guess.
            match group.compare_exchange_weak(seen, reopened, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }
}

/// Lets a thread that takes numbers here too go on alone for a few turns with the line in its cache: two that fight for the
/// line pay more for each turn than both do in turns (claim `fdt.churn.lowest.2t`).
#[cold]
fn stand_back() {
    if !cfg!(any(loom, shuttle)) {
        (0..PAUSES).for_each(|_| hint::spin_loop());
    }
}

/// This thread's number, counted from the first thread that asked.
fn thread_number() -> u32 {
    MEMORY.with(|m| {
        if m.thread.get() == 0 {
            // Relaxed: only uniqueness matters.
            m.thread
                .set(NEXT_THREAD.fetch_add(1, Ordering::Relaxed).wrapping_add(1));
        }
        m.thread.get().wrapping_sub(1)
    })
}
