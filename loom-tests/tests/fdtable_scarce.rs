//! epoch-fdtable and its domain: what a reader holds back goes with the next call after the reader, and is counted until
//! then; no two openings in a process have one generation.
#![cfg(loom)]

#[path = "fdtable/payload.rs"]
mod payload;

use epoch_fdtable::{FdTable, Handle, Sever};
use loom_tests::{Bounds, check};
use payload::{Payload, backend};
use sync_base::Tally;
use sync_base::sync::Arc;
use sync_base::thread;

const TWO: Bounds = Bounds {
    threads: 3,
    quick: 2,
    deep: 3,
};

/// A value whose drop is told, to a count that the model does not see.
struct Told(Payload, std::sync::Arc<Tally>);

impl Sever for Told {}

impl Drop for Told {
    fn drop(&mut self) {
        self.1.add(1);
    }
}

type Table = FdTable<Told>;

/// A table with two open descriptors, whose domain frees nothing unless it is asked to.
fn table() -> (Arc<Table>, [Handle; 2], std::sync::Arc<Tally>) {
    let table = FdTable::with_reclaim(4, 4, backend(100));
    let told = std::sync::Arc::new(Tally::new(0));
    let handles = [7, 8].map(|value| {
        let value = Told(Payload::new(value), std::sync::Arc::clone(&told));
        table.insert(value).unwrap_or_else(|_| unreachable!())
    });
    (Arc::new(table), handles, told)
}

fn spawn<R: 'static>(table: &Arc<Table>, body: impl FnOnce(&Table) -> R + 'static) -> thread::JoinHandle<R> {
    let table = Arc::clone(table);
    thread::spawn(move || body(&table))
}

/// Says that the next call frees what waits, and that nothing is counted from then on.
fn next_call_frees_all(table: &Table, told: &Tally, closed: usize) {
    assert!(table.close(3).is_err());
    assert_eq!(told.get(), closed, "a closed value still waits");
    let barriers = table.reclaim().domain().stats().heavy_barriers;
    assert!(table.close(3).is_err());
    assert_eq!(
        table.reclaim().domain().stats().heavy_barriers,
        barriers,
        "a call looks for what is gone"
    );
}

#[test]
fn c6_what_a_reader_held_back_goes_with_the_next_call() {
    check("fdtable.scarce_against_get", TWO, || {
        let (table, [fd, _], told) = table();
        let reader = spawn(&table, move |t| t.with(fd, |value| value.0.get()));
        let closer = spawn(&table, move |t| t.close(fd).is_ok());
        assert!(matches!(reader.join().unwrap(), None | Some(7)) && closer.join().unwrap());
        next_call_frees_all(&table, &told, 1);
    });
}

#[test]
fn c6_what_is_closed_inside_a_section_goes_with_its_end_or_the_next_call() {
    check("fdtable.scarce_under_own_guard", TWO, || {
        let (table, handles, told) = table();
        let threads = handles.map(|fd| {
            spawn(&table, move |t| {
                let _section = t.pin();
                assert!(t.close(fd).is_ok());
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        next_call_frees_all(&table, &told, 2);
    });
}

#[test]
fn c6_a_call_that_looks_while_another_closes_frees_no_value_twice() {
    check("fdtable.scarce_against_look", TWO, || {
        let (table, [one, other], told) = table();
        let closers = [one, other].map(|fd| {
            spawn(&table, move |t| {
                // Held back by its own section, looked for by the other thread's call.
                let section = t.pin();
                assert!(t.close(fd).is_ok());
                drop(section);
                assert!(t.close(3).is_err());
            })
        });
        closers.into_iter().for_each(|thread| thread.join().unwrap());
        next_call_frees_all(&table, &told, 2);
    });
}

/// Opens and closes twice; returns the generations.
fn reopen(table: &FdTable<Payload>, value: u64) -> [u64; 2] {
    [0, 1].map(|turn| {
        let handle = table.insert(Payload::new(value + turn)).unwrap_or_else(|_| unreachable!());
        assert_eq!(table.remove(handle).map(|removed| removed.get()), Some(value + turn));
        handle.generation()
    })
}

fn all_differ(generations: [[u64; 2]; 2]) {
    let mut all = generations.concat();
    all.sort_unstable();
    assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "{generations:?}");
}

#[test]
fn c6_no_two_openings_in_two_tables_have_one_generation() {
    check("fdtable.generations_of_two_tables", TWO, || {
        let threads = [10, 20].map(|value| {
            thread::spawn(move || {
                let table = FdTable::with_reclaim(4, 4, backend(100));
                reopen(&table, value)
            })
        });
        all_differ(threads.map(|thread| thread.join().unwrap()));
    });
}

#[test]
fn c6_no_two_openings_of_one_table_have_one_generation() {
    check("fdtable.generations_of_one_number", TWO, || {
        let table = Arc::new(FdTable::with_reclaim(4, 4, backend(100)));
        let threads = [10, 20].map(|value| {
            let table = Arc::clone(&table);
            thread::spawn(move || reopen(&table, value))
        });
        all_differ(threads.map(|thread| thread.join().unwrap()));
    });
}
