//! Threads that hold a lock and wait for another: a ring of them would wait for ever.
//!
//! It takes user code that runs under one map's lock and writes to another map. Such a thread, and no other, enters itself
//! here before it sleeps, with what it waits for, and follows the holders: from the lock it waits for to that lock's
//! holder, to what that one waits for, and so on. If it comes to a lock of its own, the ring is closed and it panics.
//!
//! # Invariants
//! - C1: what a thread holds it took before it entered. Of the threads of a ring the last to enter sees the others'
//!   entries, and so the words that they hold: it finds the ring.
//! - C2: nobody is accused wrongly. That the ring ends at a lock of the caller's means that whoever is entered as waiting
//!   for that lock does wait, for as long as the caller looks; so what that one holds stays held, and so on back.

use super::holder::Holder;
use super::{Lock, Locked};
use std::ptr::NonNull;
use sync_base::atomic::{AtomicU64, Ordering};

#[derive(Clone, Copy, Debug)]
struct Entry {
    waiter: Holder,
    /// The word of the lock that it waits for, which it borrows while it is entered.
    word: NonNull<AtomicU64>,
}

// SAFETY: the word is atomic, and is looked at only while the waiter, on its own thread, borrows it.
unsafe impl Send for Entry {}

sync_base::global! { static BOOK: Lock<Vec<Entry>> = Lock::new(Vec::new()); }

/// The book, without the entries of threads that a fork left behind: nothing keeps what they borrowed.
fn book() -> Locked<'static, Vec<Entry>> {
    let mut book = BOOK.lock_alone();
    book.retain(|entry| !entry.waiter.is_older());
    book
}

/// A thread that is entered, until this is dropped.
#[derive(Debug)]
pub(super) struct Entered<'a> {
    me: Holder,
    _word: &'a AtomicU64,
}

/// Enters the calling thread, which holds a lock, as one that waits for the lock with this word.
///
/// # Panics
/// When the holder of that lock waits, itself or through others, for one that this thread holds.
pub(super) fn enter(me: Holder, word: &AtomicU64) -> Entered<'_> {
    let mut book = book();
    if closes_ring(&book, me, word) {
        drop(book);
        crossed();
    }
    book.push(Entry {
        waiter: me,
        word: NonNull::from(word),
    });
    Entered { me, _word: word }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        book().retain(|entry| !entry.waiter.is(self.me));
    }
}

fn closes_ring(book: &[Entry], me: Holder, word: &AtomicU64) -> bool {
    let mut word = NonNull::from(word);
    // One step for each entry: a ring that does not pass through here has no end.
    for _ in 0..=book.len() {
        // SAFETY: the caller borrows the first; the others' waiters are entered, so they borrow theirs: they leave by the
        // book's lock, which is held.
        let word_now = unsafe { word.as_ref() };
        // Relaxed: C1: the holder took it before it entered, and the book's lock orders that before this. If it is not
        // entered, whatever is read leads nowhere.
        let holder = Holder(word_now.load(Ordering::Relaxed));
        if holder.is(me) {
            return true;
        }
        match book.iter().find(|entry| entry.waiter.is(holder)) {
            Some(entry) => word = entry.word,
            None => return false,
        }
    }
    false
}

#[cold]
#[inline(never)]
fn crossed() -> ! {
    panic!(
        "a write to a map from inside user code that runs under another map's write lock, while that map's writer, in user          code too, waits for this thread: they would wait for each other for ever. Do it after that call has returned"
    )
}
