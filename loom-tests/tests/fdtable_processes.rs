//! epoch-fdtable's process tables: exit against look-up, insert, fork and itself; and the slot of a registered file.
#![cfg(loom)]

#[path = "fdtable/payload.rs"]
mod payload;

use epoch_fdtable::{FdError, Flags, ProcessTables};
use loom_tests::{Bounds, check};
use payload::{Payload, backend};
use sync_base::interrupt::{Model, under};
use sync_base::sync::Arc;
use sync_base::thread;

const TWO: Bounds = Bounds {
    threads: 3,
    quick: 2,
    deep: 3,
};

/// Fences are steps too, so fewer preemptions.
const FENCED: Bounds = Bounds {
    quick: 1,
    deep: 2,
    ..TWO
};

type Processes = ProcessTables<Payload>;

/// Process 0, with one descriptor.
fn processes() -> Arc<Processes> {
    let processes = Processes::with_reclaim(2, 2, 2, backend(64));
    processes.create(0).unwrap();
    let fd = processes.with(0, |t| t.insert(Payload::new(7))).unwrap().unwrap();
    assert_eq!(fd.number(), 0);
    Arc::new(processes)
}

fn spawn<A: Send + 'static>(
    processes: &Arc<Processes>,
    run: impl FnOnce(&Processes) -> A + Send + 'static,
) -> thread::JoinHandle<A> {
    let processes = Arc::clone(processes);
    thread::spawn(move || run(&processes))
}

#[test]
fn c11_a_lookup_beside_an_exit_sees_the_value_whole_or_none() {
    check("fdtable.exit_against_lookup", TWO, || {
        let processes = processes();
        let looker = spawn(&processes, |p| p.pin().get(0, 0).map(Payload::get));
        let exiter = spawn(&processes, |p| p.exit(0).unwrap().total());
        assert!(matches!(looker.join().unwrap(), None | Some(7)));
        assert_eq!(exiter.join().unwrap(), 1);
        assert!(processes.pin().table(0).is_none());
    });
}

#[test]
fn c11_nothing_is_opened_in_a_process_that_has_exited() {
    check("fdtable.exit_against_insert", TWO, exit_against_insert);
}

#[test]
fn c11_nothing_is_opened_in_a_process_that_has_exited_fenced() {
    // The form without membarrier, in which the publisher's light barrier is a fence.
    under(Model::Fence, || {
        check("fdtable.exit_against_insert.fenced", FENCED, exit_against_insert)
    });
}

fn exit_against_insert() {
    let processes = processes();
    // Had before the exit, looked at after it.
    let section = processes.pin();
    let table = section.table(0).unwrap();
    let inserter = spawn(&processes, |p| {
        let section = p.pin();
        let table = section.table(0)?;
        Some(
            table
                .insert(Payload::new(8))
                .map(|_| ())
                .map_err(|refused| refused.error),
        )
    });
    let exiter = spawn(&processes, |p| p.exit(0).unwrap().total());
    let inserted = inserter.join().unwrap();
    let swept = exiter.join().unwrap();
    match inserted {
        None | Some(Err(FdError::Shut)) => assert_eq!(swept, 1),
        // Opened just before, and closed by the sweep or by the insert itself.
        Some(Ok(())) => assert!(swept == 1 || swept == 2),
        Some(Err(other)) => panic!("{other}"),
    }
    assert!(table.is_empty(), "a descriptor survived its process");
}

#[test]
fn c11_of_two_exits_one_does_it() {
    check("fdtable.exit_against_exit", TWO, || {
        let processes = processes();
        let a = spawn(&processes, |p| p.exit(0).is_ok());
        let b = spawn(&processes, |p| p.exit(0).is_ok());
        assert!(a.join().unwrap() ^ b.join().unwrap());
    });
}

#[test]
fn c11_a_fork_beside_an_exit_copies_whole_descriptors() {
    check("fdtable.exit_against_fork", TWO, || {
        let processes = processes();
        let forker = spawn(&processes, |p| p.fork(0, 1).is_ok());
        let exiter = spawn(&processes, |p| p.exit(0).unwrap().total());
        let forked = forker.join().unwrap();
        assert_eq!(exiter.join().unwrap(), 1);
        let seen = processes.pin().get(1, 0).map(Payload::get);
        assert!(matches!((forked, seen), (false, None) | (true, None | Some(7))));
    });
}

#[test]
fn c11_an_exec_beside_a_flag_change_closes_by_one_or_the_other() {
    check("fdtable.exec_against_flags", TWO, || {
        let processes = processes();
        let marker = spawn(&processes, |p| {
            p.with(0, |t| t.set_flags(0, Flags::CLOSE_ON_EXEC).is_ok())
                .unwrap()
        });
        let exec = spawn(&processes, |p| p.exec(0).unwrap().total());
        assert!(marker.join().unwrap(), "not marked, so not closed before");
        let closed = exec.join().unwrap();
        assert_eq!(closed == 0, processes.pin().get(0, 0).is_some());
    });
}
