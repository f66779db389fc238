//! epoch-fdtable and its domain: what a reader holds back goes with the next call after the reader, and is counted until
//! then; no two openings in a process have one generation.
#![cfg(loom)]

#[path = "fdtable/payload.rs"]
mod payload;

use epoch_fdtable::{FdTable, Handle, Sever};
use loom_tests::{Bounds, check};
use payload::{Payload, backend};
use sync_base::Tally;
use sync_base::interrupt::{Model, under};
use sync_base::sync::{Arc, Condvar, Mutex};
use sync_base::thread;

const TWO: Bounds = Bounds {
    threads: 3,
    quick: 1,
    deep: 2,
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

/// Where threads stay once they have acted: loom's `join` does not wait for what a thread does at its very end, such as
/// handing over what it has retired.
#[derive(Default)]
struct Meeting {
    arrived: Mutex<usize>,
    all: Condvar,
}

const LEAVE: usize = 100;

impl Meeting {
    fn stay(&self) {
        *self.arrived.lock().unwrap() += 1;
        self.all.notify_all();
        self.wait_for(LEAVE);
    }

    fn wait_for(&self, count: usize) {
        let mut arrived = self.arrived.lock().unwrap();
        while *arrived < count {
            arrived = self.all.wait(arrived).unwrap();
        }
    }

    fn leave(&self) {
        *self.arrived.lock().unwrap() = LEAVE;
        self.all.notify_all();
    }
}

/// Runs two bodies against each other; then says that the next call frees what they have closed, and that nothing is
/// counted from then on.
fn next_call_frees_all(
    table: &Arc<Table>,
    told: &Tally,
    closed: usize,
    bodies: [Box<dyn FnOnce(&Table)>; 2],
) {
    let meeting = Arc::new(Meeting::default());
    let threads = bodies.map(|body| {
        let (table, meeting) = (Arc::clone(table), Arc::clone(&meeting));
        thread::spawn(move || {
            body(&table);
            meeting.stay();
        })
    });
    meeting.wait_for(2);
    assert!(table.close(3).is_err());
    assert_eq!(told.get(), closed, "a closed value still waits");
    let barriers = table.reclaim().domain().stats().heavy_barriers;
    assert!(table.close(3).is_err());
    assert_eq!(
        table.reclaim().domain().stats().heavy_barriers,
        barriers,
        "a call looks for what is gone"
    );
    meeting.leave();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn c6_what_a_reader_held_back_goes_with_the_next_call() {
    check("fdtable.scarce_against_get", TWO, || {
        let (table, [fd, _], told) = table();
        let reader = move |t: &Table| {
            let seen = t.with(fd, |value| value.0.get());
            assert!(matches!(seen, None | Some(7)));
        };
        let closer = move |t: &Table| assert!(t.close(fd).is_ok());
        next_call_frees_all(&table, &told, 1, [Box::new(reader), Box::new(closer)]);
    });
}

#[test]
fn c6_what_is_closed_inside_a_section_goes_with_its_end_or_the_next_call() {
    check("fdtable.scarce_under_own_guard", TWO, || {
        let (table, handles, told) = table();
        let closers = handles.map(|fd| -> Box<dyn FnOnce(&Table)> {
            Box::new(move |t| {
                let _section = t.pin();
                assert!(t.close(fd).is_ok());
            })
        });
        next_call_frees_all(&table, &told, 2, closers);
    });
}

#[test]
fn c6_what_waits_is_counted_before_anybody_can_free_it() {
    let bounds = Bounds {
        quick: 2,
        deep: 3,
        ..TWO
    };
    // Where both sides fence nobody waits for an interrupt to be served, which would take one switch more.
    under(Model::Fence, || {
        check("fdtable.scarce_against_collect.fenced", bounds, || {
            let (table, [fd, _], told) = table();
            let (one, other) = (Arc::clone(&table), Arc::clone(&table));
            let closer = thread::spawn(move || assert!(one.close(fd).is_ok()));
            let collector = thread::spawn(move || {
                drop(other.pin());
                // Takes back the count of what it frees: the domain asserts that there was one.
                other.collect();
            });
            closer.join().unwrap();
            collector.join().unwrap();
            drop(table);
            assert!(told.get() <= 2, "dropped twice");
        });
    });
}

/// Opens and closes twice; returns the generations.
fn reopen(table: &FdTable<Payload>, value: u64) -> [u64; 2] {
    [0, 1].map(|turn| {
        let handle = table
            .insert(Payload::new(value + turn))
            .unwrap_or_else(|_| unreachable!());
        assert_eq!(
            table.remove(handle).map(|removed| removed.get()),
            Some(value + turn)
        );
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
