//! epoch-fdtable's slots: publish against get, get against remove, replace, close, double close, clone, dup, flags.
#![cfg(loom)]

#[path = "fdtable/payload.rs"]
mod payload;
#[path = "fdtable/small.rs"]
mod small;

use epoch_fdtable::{Flags, Handle};
use loom_tests::{Bounds, check};
use payload::Payload;
use small::{Table, table};
use sync_base::sync::Arc;
use sync_base::thread;

const TWO: Bounds = Bounds {
    threads: 3,
    quick: 2,
    deep: 3,
};

/// Runs two sides against each other on a table that the main thread prepared.
fn race<A: Send + 'static, B: Send + 'static>(
    table: &Arc<Table>,
    a: impl FnOnce(&Table) -> A + Send + 'static,
    b: impl FnOnce(&Table) -> B + Send + 'static,
) -> (A, B) {
    let (left, right) = (Arc::clone(table), Arc::clone(table));
    let a = thread::spawn(move || a(&left));
    let b = thread::spawn(move || b(&right));
    (a.join().unwrap(), b.join().unwrap())
}

#[test]
fn c6_get_sees_a_published_value_whole_while_the_table_grows() {
    check("fdtable.publish_and_growth_against_get", TWO, || {
        let table = table(1);
        let (handle, seen) = race(
            &table,
            |t| t.insert_at(3, Payload::new(7), Flags::NONE).unwrap(),
            |t| t.with(3, Payload::get),
        );
        assert!(matches!(seen, None | Some(7)));
        assert_eq!(table.with(handle, Payload::get), Some(7));
    });
}

#[test]
fn c6_get_sees_a_published_value_whole() {
    check("fdtable.publish_against_get", TWO, || {
        let table = table(64);
        // The page is there already, so that only the slot carries the value over.
        table.insert(Payload::new(5)).unwrap();
        let (_, seen) = race(
            &table,
            |t| t.insert(Payload::new(7)).map(|_| ()).unwrap(),
            |t| t.with(1, Payload::get),
        );
        assert!(matches!(seen, None | Some(7)));
    });
}

#[test]
fn c6_two_that_grow_one_page_share_it() {
    check("fdtable.growth_against_growth", TWO, || {
        let table = table(1);
        race(
            &table,
            |t| t.insert_at(2, Payload::new(5), Flags::NONE).map(|_| ()).unwrap(),
            |t| t.insert_at(3, Payload::new(6), Flags::NONE).map(|_| ()).unwrap(),
        );
        assert_eq!(
            (table.with(2, Payload::get), table.with(3, Payload::get)),
            (Some(5), Some(6))
        );
    });
}

#[test]
fn c6_a_removed_value_outlives_the_section_that_found_it() {
    check("fdtable.get_against_remove", TWO, || {
        let table = table(1);
        let fd = table.insert(Payload::new(7)).unwrap();
        let (seen, removed) = race(
            &table,
            move |t| t.with(fd, Payload::get),
            move |t| t.remove(fd).is_some(),
        );
        assert!(removed && matches!(seen, None | Some(7)));
    });
}

#[test]
fn c6_a_close_spares_whoever_is_reading() {
    check("fdtable.close_against_get", TWO, || {
        let table = table(1);
        let fd = table.insert(Payload::new(7)).unwrap();
        let (seen, closed) = race(
            &table,
            move |t| t.with(fd, Payload::get),
            move |t| t.close(fd).is_ok(),
        );
        assert!(closed && matches!(seen, None | Some(7)));
    });
}

#[test]
fn c6_the_value_comes_back_only_when_no_reader_holds_it() {
    check("fdtable.take_against_get", TWO, || {
        let table = table(1);
        let fd = table.insert(Payload::new(7)).unwrap();
        let (seen, taken) = race(
            &table,
            move |t| t.with(fd, Payload::get),
            // A value that came back is ours: dropping it writes.
            move |t| t.remove(fd).unwrap().try_into_inner().map(drop).is_ok(),
        );
        assert!(matches!((seen, taken), (None | Some(7), _)));
    });
}

#[test]
fn c6_a_double_close_is_decided_by_the_slot() {
    check(
        "fdtable.double_close",
        Bounds {
            threads: 4,
            quick: 1,
            deep: 2,
        },
        || {
            let table = table(1);
            let fd = table.insert(Payload::new(7)).unwrap();
            let third = {
                let table = Arc::clone(&table);
                thread::spawn(move || table.insert(Payload::new(8)).unwrap())
            };
            let (a, b) = race(&table, move |t| t.close(fd).is_ok(), move |t| t.close(fd).is_ok());
            assert!(a ^ b, "one of the two closed it");
            let opened: Handle = third.join().unwrap();
            // Given back once: two inserts get two numbers.
            let next = table.insert(Payload::new(9)).unwrap();
            assert_ne!(next.number(), opened.number());
            assert_eq!((table.len(), table.with(opened, Payload::get)), (2, Some(8)));
        },
    );
}

#[test]
fn c6_a_replaced_descriptor_is_never_absent() {
    check("fdtable.replace_against_get", TWO, || {
        let table = table(1);
        table.insert(Payload::new(7)).unwrap();
        let (_, seen) = race(
            &table,
            |t| drop(t.replace(0, Payload::new(8)).unwrap()),
            |t| (t.with(0, Payload::get).unwrap(), t.with(0, Payload::get).unwrap()),
        );
        assert!(matches!(seen, (7, 7) | (7, 8) | (8, 8)));
    });
}

#[test]
fn c6_of_two_replacements_both_hand_out_what_they_replaced() {
    check("fdtable.replace_against_replace", TWO, || {
        let table = table(1);
        table.insert(Payload::new(7)).unwrap();
        let swap = |value: u64| {
            move |t: &Table| {
                let (handle, old) = t.replace(0, Payload::new(value)).unwrap();
                (handle, old.get())
            }
        };
        let ((h8, old8), (h9, old9)) = race(&table, swap(8), swap(9));
        assert!(matches!((old8, old9), (7, 8) | (9, 7)));
        // The generations tell the two apart, and the last one is what is open.
        assert_ne!(h8, h9);
        let (last, value) = if old8 == 7 { (h9, 9) } else { (h8, 8) };
        assert_eq!(table.with(last, Payload::get), Some(value));
    });
}

#[test]
fn c6_a_reused_number_never_answers_to_the_old_handle() {
    check("fdtable.reuse_against_handle", TWO, || {
        let table = table(1);
        let old = table.insert(Payload::new(7)).unwrap();
        let (seen, new) = race(
            &table,
            move |t| t.with(old, Payload::get),
            move |t| {
                drop(t.remove(old));
                t.insert(Payload::new(8)).unwrap()
            },
        );
        assert!(
            matches!(seen, None | Some(7)),
            "the handle means its own value or none"
        );
        assert!(new.number() == old.number() && new != old);
        assert_eq!(table.with(old, Payload::get), None);
    });
}

#[test]
fn c6_a_handle_closes_its_own_descriptor_or_none() {
    check("fdtable.reuse_against_close", TWO, || {
        let table = table(1);
        let old = table.insert(Payload::new(7)).unwrap();
        let (closed, new) = race(
            &table,
            move |t| t.take_value(old),
            move |t| {
                drop(t.remove(old));
                t.insert(Payload::new(8)).unwrap()
            },
        );
        assert!(matches!(closed, None | Some(7)));
        assert_eq!(table.with(new, Payload::get), Some(8));
    });
}

/// What a close by handle closed.
trait TakeValue {
    fn take_value(&self, handle: Handle) -> Option<u64>;
}

impl TakeValue for Table {
    fn take_value(&self, handle: Handle) -> Option<u64> {
        self.remove(handle).map(|removed| removed.get())
    }
}

#[test]
fn c6_a_clone_keeps_the_value_or_finds_none() {
    check("fdtable.clone_against_remove", TWO, || {
        let table = table(1);
        let fd = table.insert(Payload::new(7)).unwrap();
        let (held, _) = race(&table, move |t| t.get_cloned(fd), move |t| drop(t.remove(fd)));
        assert!(held.is_none_or(|held| held.get() == 7));
    });
}

#[test]
fn c6_a_clone_dropped_beside_a_take_leaves_one_owner() {
    check("fdtable.clone_drop_against_take", TWO, || {
        let table = table(1);
        let fd = table.insert(Payload::new(7)).unwrap();
        let held = table.get_cloned(fd).unwrap();
        race(
            &table,
            move |_| {
                assert_eq!(held.get(), 7);
                drop(held);
            },
            move |t| drop(t.remove(fd).unwrap().try_into_inner()),
        );
    });
}

#[test]
fn c6_a_duplicate_read_beside_its_own_close_is_whole() {
    check("fdtable.duplicate_get_against_remove", TWO, || {
        let table = table(1);
        let fd = table.insert(Payload::new(7)).unwrap();
        let copy = table.dup(fd).unwrap();
        drop(table.remove(fd));
        let (seen, _) = race(
            &table,
            move |t| t.with(copy, Payload::get),
            move |t| drop(t.remove(copy)),
        );
        assert!(matches!(seen, None | Some(7)));
    });
}

#[test]
fn c6_two_descriptors_of_one_value_closed_at_once_drop_it_once() {
    const ONE: Bounds = Bounds {
        quick: 1,
        deep: 2,
        ..TWO
    };
    check("fdtable.duplicate_close_against_close", ONE, || {
        let table = table(64);
        let fd = table.insert(Payload::new(7)).unwrap();
        let copy = table.dup(fd).unwrap();
        race(
            &table,
            move |t| drop(t.remove(fd)),
            move |t| t.close(copy).map(|_| ()).unwrap(),
        );
        assert!(table.is_empty());
    });
}

#[test]
fn c6_dup_beside_remove_gets_the_value_or_finds_none() {
    check("fdtable.dup_against_remove", TWO, || {
        let table = table(1);
        let fd = table.insert(Payload::new(7)).unwrap();
        let (copy, _) = race(&table, move |t| t.dup(fd), move |t| drop(t.remove(fd)));
        if let Ok(copy) = copy {
            assert_eq!(table.with(copy, Payload::get), Some(7));
        }
    });
}

#[test]
fn c6_a_flag_set_beside_a_replacement_lands_on_what_is_open() {
    check("fdtable.flags_against_replace", TWO, || {
        let table = table(1);
        table.insert(Payload::new(7)).unwrap();
        race(
            &table,
            |t| {
                t.update_flags(0, |f| f | Flags::CLOSE_ON_EXEC)
                    .map(|_| ())
                    .unwrap()
            },
            |t| drop(t.replace(0, Payload::new(8)).unwrap()),
        );
        assert_eq!(
            table.flags(0),
            Some(Flags::CLOSE_ON_EXEC),
            "replace keeps the flags"
        );
        assert_eq!(table.with(0, Payload::get), Some(8));
    });
}

#[test]
fn c6_a_flag_never_lands_on_the_next_descriptor_of_the_number() {
    check("fdtable.flags_against_reuse", TWO, || {
        let table = table(1);
        let old = table.insert(Payload::new(7)).unwrap();
        race(
            &table,
            move |t| t.set_flags(old, Flags::CLOSE_ON_EXEC).is_ok(),
            move |t| {
                drop(t.remove(old));
                t.insert(Payload::new(8)).map(|_| ()).unwrap();
            },
        );
        assert_eq!(table.flags(0), Some(Flags::NONE));
    });
}

#[test]
fn c6_put_beside_remove_leaves_its_own_value_open() {
    check("fdtable.put_against_remove", TWO, || {
        let table = table(1);
        table.insert(Payload::new(7)).unwrap();
        let (put, removed) = race(
            &table,
            |t| t.put(0, Payload::new(8), Flags::NONE).map(|placed| placed.handle),
            |t| t.remove(0).map(|removed| removed.get()),
        );
        match (put, removed) {
            (Ok(handle), Some(7)) => assert_eq!(table.with(handle, Payload::get), Some(8)),
            (Ok(_), Some(8)) => assert!(table.is_empty()),
            (Err(refused), Some(7)) => assert!(refused.error.is_retryable() && table.is_empty()),
            other => panic!("{other:?}"),
        }
    });
}
