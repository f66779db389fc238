//! Tables of processes.

use super::{Backend, Census, Counted};
use epoch_fdtable::{FdError, Flags, ProcessTables};
use std::sync::atomic::{AtomicBool, Ordering};

fn processes(count: u32) -> ProcessTables<Counted, Backend> {
    ProcessTables::with_reclaim(count, 64, 256, Backend::default())
}

#[test]
fn c11_each_process_has_numbers_of_its_own() {
    let census = Census::default();
    let processes = processes(100);
    for pid in 1..50 {
        processes.create(pid).unwrap();
        let fd = processes
            .with(pid, |t| t.insert(census.value(pid.into())))
            .unwrap()
            .unwrap();
        assert_eq!(fd.number(), 0);
    }
    let pinned = processes.pin();
    for pid in 1..50u32 {
        assert_eq!(pinned.get(pid, 0).unwrap().payload, u64::from(pid));
        assert!(pinned.get(pid, 1).is_none());
    }
    assert!(pinned.get(0, 0).is_none() && pinned.get(50, 0).is_none() && pinned.get(u32::MAX, 0).is_none());
    assert_eq!((processes.len(), pinned.iter().count()), (49, 49));
}

#[test]
fn c11_creating_twice_or_out_of_range_is_refused() {
    let processes = processes(4);
    processes.create(3).unwrap();
    assert_eq!(processes.create(3), Err(FdError::ProcessTaken { process: 3 }));
    assert_eq!(
        processes.create(4),
        Err(FdError::ProcessPastLimit { process: 4, limit: 4 })
    );
    assert_eq!(processes.fork(2, 1), Err(FdError::NoProcess { process: 2 }));
    assert_eq!(processes.fork(3, 3), Err(FdError::ProcessTaken { process: 3 }));
    assert_eq!(processes.exit(2), Err(FdError::NoProcess { process: 2 }));
    assert_eq!(processes.exec(2), Err(FdError::NoProcess { process: 2 }));
    assert_eq!(processes.close(2, 0), Err(FdError::NoProcess { process: 2 }));
    assert_eq!(processes.close(3, 7), Err(FdError::NotOpen { number: 7 }));
}

#[test]
fn c11_a_child_inherits_numbers_flags_and_values_and_exec_drops_the_marked_ones() {
    let census = Census::default();
    let processes = processes(4);
    processes.create(1).unwrap();
    processes.with(1, |t| {
        t.insert_at(0, census.value(10), Flags::NONE).unwrap();
        t.insert_at(5, census.value(15), Flags::CLOSE_ON_EXEC).unwrap();
        t.insert_at(7, census.value(17), Flags::CLOSE_ON_FORK).unwrap();
        t.insert_at(63, census.value(73), Flags::NONE).unwrap();
        t.set_limit(32).unwrap();
    });
    processes.fork(1, 2).unwrap();
    let numbers = |pid| {
        let read = |t: &epoch_fdtable::FdTable<Counted, Backend>| {
            t.pin()
                .iter()
                .map(|o| (o.handle.number(), o.value.payload))
                .collect::<Vec<_>>()
        };
        processes.with(pid, read).unwrap()
    };
    assert_eq!(
        numbers(2),
        [(0, 10), (5, 15), (63, 73)],
        "shared values, the limit does not cut inheritance"
    );
    assert_eq!(
        processes.with(2, |t| (t.limit(), t.flags(5))),
        Some((32, Some(Flags::CLOSE_ON_EXEC)))
    );
    assert_eq!(census.living(), 4, "nothing was copied");
    let swept = processes.exec(2).unwrap();
    assert_eq!((swept.total(), swept.still_shared), (1, 1));
    assert_eq!(numbers(2), [(0, 10), (63, 73)]);
    assert_eq!(numbers(1).len(), 4, "the parent's table is its own");
    assert_eq!(processes.exit(1).unwrap().total(), 4);
    assert_eq!(numbers(2), [(0, 10), (63, 73)], "the child outlives its parent");
    processes.exit(2).unwrap();
    census.settles_at(0, || processes.collect());
}

#[test]
fn c11_exit_refuses_inserts_of_whoever_still_has_the_table() {
    let census = Census::default();
    let processes = processes(4);
    let handle = processes.create(1).unwrap();
    let pinned = processes.pin();
    let table = pinned.table(1).unwrap();
    table.insert(census.value(1)).unwrap();
    let seen = table.pin();
    let borrowed = seen.get(0).unwrap();
    assert_eq!(processes.exit(1).unwrap().total(), 1);
    assert_eq!(
        borrowed.payload, 1,
        "borrowed before, good to the end of the section"
    );
    let refused = table.insert(census.value(2)).unwrap_err();
    assert_eq!((refused.value.payload, refused.error), (2, FdError::Shut));
    assert_eq!(
        table.put(0, census.value(2), Flags::NONE).unwrap_err().error,
        FdError::Shut
    );
    assert_eq!(processes.exit(1), Err(FdError::NoProcess { process: 1 }), "once");
    processes.create(1).unwrap();
    assert!(
        pinned.table(handle).is_none(),
        "the next process with that id is another"
    );
    drop(refused);
    drop(seen);
    drop(pinned);
    census.settles_at(0, || processes.collect());
}

#[test]
fn c11_a_real_descriptor_is_closed_promptly_at_exit_though_a_lookup_is_under_way() {
    use std::io::Read;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    let processes: ProcessTables<OwnedFd, Backend> = ProcessTables::with_reclaim(4, 8, 8, Backend::default());
    processes.create(1).unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    processes.with(1, |t| t.insert(near.into())).unwrap().unwrap();
    let pinned = processes.pin();
    assert!(pinned.get(1, 0).is_some());
    assert_eq!(processes.exit(1).unwrap().severed, 1);
    assert_eq!(far.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn c11_closing_one_descriptor_of_a_process_is_prompt() {
    let census = Census::default();
    let processes = processes(4);
    processes.create(1).unwrap();
    let fd = processes.with(1, |t| t.insert(census.value(1))).unwrap().unwrap();
    assert!(super::ended(processes.close(1, fd).unwrap()));
    assert!(processes.close(1, fd).is_err() && processes.close(2, 0).is_err());
    census.settles_at(0, || processes.collect());
}

#[test]
fn c11_a_process_exits_while_it_is_looked_up() {
    const CHILD: u32 = 7; // Has the values of whichever process it was forked from.
    let census = Census::default();
    let processes = processes(8);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let pinned = processes.pin();
                    for pid in 0..8u32 {
                        if let Some(value) = pinned.get(pid, 0) {
                            let own = value.payload == u64::from(pid);
                            assert!(own || pid == CHILD, "another process's value");
                        }
                        if let Some(table) = pinned.table(pid) {
                            drop(table.insert(census.value(pid.into())));
                        }
                    }
                }
            });
        }
        for round in 0..400u32 {
            let pid = round % 4;
            processes.create(pid).unwrap();
            processes.with(pid, |t| {
                t.insert_at(0, census.value(pid.into()), Flags::NONE).is_ok()
            });
            if round % 3 == 0 {
                processes.fork(pid, CHILD).unwrap();
                processes.exec(CHILD).unwrap();
                processes.exit(CHILD).unwrap();
            }
            processes.exit(pid).unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(processes.is_empty());
    // Every table was emptied for good: what lives is what waits for a reader, and soon nothing does.
    census.settles_at(0, || processes.collect());
}

#[test]
fn c11_a_process_of_any_type_can_exec_and_exit() {
    fn whole_life<T: Send + Sync + epoch_fdtable::Sever + 'static>(value: impl Fn() -> T) {
        let processes = ProcessTables::<T, Backend>::with_reclaim(4, 8, 8, Backend::default());
        processes.create(1).unwrap();
        for flags in [Flags::NONE, Flags::NONE, Flags::CLOSE_ON_EXEC] {
            let opened = processes.with(1, |table| table.insert_from(0, value(), flags));
            assert!(opened.unwrap().is_ok());
        }
        assert_eq!(processes.exec(1).unwrap().total(), 1);
        assert!(processes.close(1, 0).is_ok());
        assert_eq!(processes.exit(1).unwrap().total(), 1);
    }
    whole_life(|| String::from("a"));
    whole_life(|| std::sync::Arc::new(7));
    whole_life(|| Some(vec![1.5]));
    whole_life(|| epoch_fdtable::Plain(std::sync::Mutex::new(7)));
}

#[test]
fn c11_a_handle_finds_nothing_in_a_later_process_of_the_same_id_nor_in_another_table() {
    let processes = ProcessTables::<u32, Backend>::with_reclaim(4, 8, 8, Backend::default());
    let mut handles = Vec::new();
    for round in 0..5 {
        for process in [1, 2] {
            processes.create(process).unwrap();
            let open = |table: &epoch_fdtable::FdTable<u32, Backend>| {
                let fd = table.insert(round).unwrap();
                let (replaced, old) = table.replace(fd, round).unwrap();
                drop(old);
                [fd, replaced]
            };
            let [fd, replaced] = processes.with(process, open).unwrap();
            assert!(fd.number() == 0 && fd.generation() < replaced.generation());
            let pinned = processes.pin();
            for old in handles.iter().chain([&fd]) {
                assert_eq!(pinned.get(process, *old), None, "{old:?} beside {replaced:?}");
            }
            assert_eq!(pinned.get(process, replaced), Some(&round));
            handles.extend([fd, replaced]);
        }
        processes.exit(1).unwrap();
        processes.exit(2).unwrap();
    }
}
