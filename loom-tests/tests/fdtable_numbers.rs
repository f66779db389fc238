//! epoch-fdtable's number bitmap: lowest-free against remove, full words marked and reopened, ownership handed over.
#![cfg(loom)]

#[path = "fdtable/payload.rs"]
mod payload;
#[path = "fdtable/small.rs"]
mod small;

use epoch_fdtable::{FdError, Flags};
use loom_tests::{Bounds, check};
use payload::Payload;
use small::{Table, table};
use sync_base::sync::Arc;
use sync_base::thread;

const TWO: Bounds = Bounds {
    threads: 3,
    quick: 3,
    deep: 4,
};

/// For those in which a word turns full or a value is retired: more steps, so fewer preemptions.
const LONG: Bounds = Bounds {
    quick: 2,
    deep: 3,
    ..TWO
};

fn spawn<A: Send + 'static>(
    table: &Arc<Table>,
    run: impl FnOnce(&Table) -> A + Send + 'static,
) -> thread::JoinHandle<A> {
    let table = Arc::clone(table);
    thread::spawn(move || run(&table))
}

fn insert(table: &Table, value: u64) -> u32 {
    table.insert(Payload::new(value)).unwrap().number()
}

#[test]
fn c6_two_inserts_get_the_two_lowest_numbers() {
    check("fdtable.insert_against_insert", TWO, || {
        let table = table(64);
        let a = spawn(&table, |t| insert(t, 5));
        let b = spawn(&table, |t| insert(t, 6));
        let (a, b) = (a.join().unwrap(), b.join().unwrap());
        assert!(matches!((a, b), (0, 1) | (1, 0)));
        assert_eq!(table.with(a, Payload::get), Some(5));
    });
}

#[test]
fn c6_the_next_owner_of_a_number_sees_what_the_last_one_left() {
    check("fdtable.release_against_claim", LONG, || {
        let table = table(64);
        for value in 1..=4 {
            insert(&table, value);
        }
        // Full but for what the other thread gives back: the slot must be seen empty and its generation advanced.
        let remover = spawn(&table, |t| drop(t.remove(2)));
        let taker = spawn(&table, |t| t.insert(Payload::new(9)));
        remover.join().unwrap();
        match taker.join().unwrap() {
            Ok(fd) => {
                // Runs of two: numbers 0, 1 and 2 drew those that begin with 2, 4 and 6.
                assert_eq!((fd.number(), fd.generation()), (2, 7));
                assert_eq!(table.with(fd, Payload::get), Some(9));
            }
            Err(refused) => assert_eq!(refused.error, FdError::Full { limit: 4 }),
        }
    });
}

#[test]
fn c6_the_next_owner_of_a_number_advances_its_generation() {
    check("fdtable.release_against_claim_unmarked", TWO, || {
        let table = table(64);
        insert(&table, 1);
        // The word is never full, so that the bit alone hands the number over.
        let remover = spawn(&table, |t| t.remove(0).unwrap().into_shared().ok());
        let taker = spawn(&table, |t| t.insert_at(0, Payload::new(9), Flags::NONE));
        let _value = remover.join().unwrap();
        if let Ok(fd) = taker.join().unwrap() {
            assert_eq!(fd.generation(), 3);
            assert_eq!(table.with(fd, Payload::get), Some(9));
        }
    });
}

#[test]
fn c6_the_lowest_number_is_taken_with_the_generation_of_its_last_owner() {
    check("fdtable.release_against_lowest", TWO, || {
        let table = table(64);
        insert(&table, 1);
        let remover = spawn(&table, |t| t.remove(0).unwrap().into_shared().ok());
        let taker = spawn(&table, |t| t.insert(Payload::new(9)).unwrap());
        let _value = remover.join().unwrap();
        let fd = taker.join().unwrap();
        assert!(
            // Runs of two, of which zero is not used: 2 and 3 for number 0, the next for number 1.
            matches!((fd.number(), fd.generation()), (0, 3) | (1, 4)),
            "{fd:?}"
        );
    });
}

#[test]
fn c6_a_number_freed_while_its_word_is_marked_full_is_found_again() {
    check("fdtable.mark_against_reopen", LONG, || {
        let table = table(64);
        insert(&table, 1);
        // Fills the word of 0 and 1 and marks it, while the other thread takes a bit out of it.
        let filler = spawn(&table, |t| insert(t, 2));
        let remover = spawn(&table, |t| drop(t.remove(0)));
        let filled = filler.join().unwrap();
        remover.join().unwrap();
        // Whichever came first, the lowest number that is free now is found.
        assert_eq!(insert(&table, 3), 1 - filled);
        assert_eq!(insert(&table, 4), 2);
    });
}

#[test]
fn c6_a_number_this_thread_gave_back_is_not_hidden_by_a_late_mark() {
    check("fdtable.late_mark", LONG, || {
        let table = table(64);
        insert(&table, 1);
        let filler = spawn(&table, |t| insert(t, 2));
        // The release has returned: an insert that begins now may not pass over the number, however late the mark.
        let reuser = spawn(&table, |t| {
            drop(t.remove(0));
            insert(t, 3)
        });
        let (filled, reused) = (filler.join().unwrap(), reuser.join().unwrap());
        assert!(matches!((filled, reused), (1, 0) | (0, 1)), "{filled} {reused}");
    });
}

#[test]
fn c6_a_mark_left_by_another_release_is_removed_before_this_one_returns() {
    check("fdtable.release_against_fill_and_release", LONG, || {
        let table = table(64);
        insert(&table, 1);
        // Fills the word, marks it and ends the fullness; the mark goes some steps later.
        let other = spawn(&table, |t| {
            let number = insert(t, 2);
            t.remove(number).unwrap().into_shared().ok()
        });
        // Never full from here on: nobody may pass over it.
        let reuser = spawn(&table, |t| {
            let value = t.remove(0).unwrap().into_shared().ok();
            (value, insert(t, 3))
        });
        let _value = other.join().unwrap();
        let (_value, reused) = reuser.join().unwrap();
        assert!(reused < 2, "{reused}");
    });
}

#[test]
fn c6_two_that_empty_one_full_word_leave_it_open() {
    check("fdtable.reopen_against_reopen", LONG, || {
        let table = table(64);
        for value in 1..=3 {
            insert(&table, value);
        }
        // The values leave with the threads' results: two that retire would explore the domain, not the bitmap.
        let a = spawn(&table, |t| t.remove(0).unwrap().into_shared().ok());
        let b = spawn(&table, |t| t.remove(1).unwrap().into_shared().ok());
        let _values = (a.join().unwrap(), b.join().unwrap());
        assert_eq!(
            (insert(&table, 4), insert(&table, 5), insert(&table, 6)),
            (0, 1, 3)
        );
    });
}

#[test]
fn c6_two_words_of_one_group_are_marked_without_loss() {
    check("fdtable.mark_against_mark", TWO, || {
        let table = table(64);
        insert(&table, 1);
        table.insert_at(2, Payload::new(2), Flags::NONE).unwrap();
        let a = spawn(&table, |t| {
            t.insert_at(1, Payload::new(3), Flags::NONE).map(|_| ()).unwrap()
        });
        let b = spawn(&table, |t| {
            t.insert_at(3, Payload::new(4), Flags::NONE).map(|_| ()).unwrap()
        });
        a.join().unwrap();
        b.join().unwrap();
        assert!(table.insert(Payload::new(5)).is_err());
        for number in [3, 1] {
            drop(table.remove(number));
            assert_eq!(insert(&table, 6), number);
        }
    });
}

#[test]
fn c6_insert_any_and_insert_never_share_a_number() {
    check("fdtable.any_against_lowest", TWO, || {
        let table = table(64);
        let a = spawn(&table, |t| t.insert_any(Payload::new(5)).unwrap());
        let b = spawn(&table, |t| t.insert(Payload::new(6)).unwrap());
        let (a, b) = (a.join().unwrap(), b.join().unwrap());
        assert_ne!(a.number(), b.number());
        assert_eq!(
            (table.with(a, Payload::get), table.with(b, Payload::get)),
            (Some(5), Some(6))
        );
        assert_eq!(table.len(), 2);
    });
}
