//! Real descriptors are few: none may be left to a collection that nobody asks for.
#![cfg(not(any(loom, shuttle)))]

use epoch_fdtable::{Asymmetric, Closed, FdTable, Flags, RegisteredFiles};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, mpsc};
use sync_base::Domain;

/// One test at a time: they count the descriptors of the process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A table whose readers are this test's alone.
fn table(limit: u32) -> FdTable<OwnedFd> {
    FdTable::with_reclaim(limit, limit, Asymmetric::new(Domain::new()))
}

fn pair() -> (OwnedFd, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    far.set_nonblocking(true).unwrap();
    (near.into(), far)
}

/// Whether the other end is closed.
fn sees_the_end(far: &mut UnixStream) -> bool {
    matches!(far.read(&mut [0; 1]), Ok(0))
}

/// Descriptors that the process holds and that were severed: they name the root directory.
fn severed_numbers() -> usize {
    let held = std::fs::read_dir("/proc/self/fd").unwrap();
    let names = held.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    names.filter(|name| name.as_os_str() == "/").count()
}

#[test]
fn c6_severed_numbers_do_not_pile_up_beside_a_reader() {
    let _alone = alone();
    let table = table(64);
    std::thread::scope(|scope| {
        let (turn, turns) = mpsc::channel::<mpsc::Sender<()>>();
        let readers = &table;
        scope.spawn(move || {
            // A section for each round, which ends only after the close.
            let mut pinned = readers.pin();
            for done in turns {
                drop(pinned);
                pinned = readers.pin();
                done.send(()).unwrap();
            }
        });
        for _ in 0..200 {
            let (near, mut far) = pair();
            let fd = table.insert(near).unwrap();
            let (done, is_done) = mpsc::channel();
            turn.send(done).unwrap();
            is_done.recv().unwrap();
            assert_eq!(table.close(fd).unwrap(), Closed::Severed);
            assert!(sees_the_end(&mut far));
            // One that this round's reader holds, one of the round before, and the dead descriptor itself.
            assert!(severed_numbers() <= 3, "{} numbers wait", severed_numbers());
        }
        drop(turn);
    });
}

#[test]
fn c6_the_end_of_the_threads_own_section_frees_what_it_held_back() {
    let _alone = alone();
    let table = table(64);
    for _ in 0..200 {
        let (near, mut far) = pair();
        let fd = table.insert(near).unwrap();
        let pinned = table.pin();
        assert_eq!(table.close(fd).unwrap(), Closed::Severed);
        drop(pinned);
        assert!(sees_the_end(&mut far));
        assert!(severed_numbers() <= 1, "{} numbers wait", severed_numbers());
    }
}

#[test]
fn c6_the_last_handle_closes_a_real_file_when_it_is_dropped() {
    let _alone = alone();
    let table = table(4);
    let (near, mut far) = pair();
    let fd = table.insert(near).unwrap();
    let held = table.get_cloned(fd).unwrap();
    assert_eq!(table.close(fd).unwrap(), Closed::StillShared);
    assert!(!sees_the_end(&mut far));
    drop(held);
    assert!(sees_the_end(&mut far));

    let files = RegisteredFiles::with_reclaim(4, Asymmetric::new(Domain::new()));
    let (near, mut far) = pair();
    let fd = files.adopt(near).unwrap();
    let held = files.get_cloned(fd).unwrap();
    assert_eq!(files.close(fd).unwrap().1, Closed::StillShared);
    drop(held);
    assert!(sees_the_end(&mut far));
}

#[test]
fn c6_what_dup2_put_and_replace_displace_is_closed_when_it_is_dropped() {
    let _alone = alone();
    let table = table(8);
    let (near, _far) = pair();
    let source = table.insert(near).unwrap();
    let ways: [fn(&FdTable<OwnedFd>, u32); 4] = [
        |table, number| drop(table.dup2(0, number).unwrap()),
        |table, number| drop(table.put(number, pair().0, Flags::NONE).unwrap()),
        |table, number| drop(table.replace(number, pair().0).unwrap()),
        |table, number| drop(table.remove(number).unwrap()),
    ];
    for displace in ways {
        for reading in [false, true] {
            let (near, mut far) = pair();
            drop(table.put(5, near, Flags::NONE).unwrap());
            let section = reading.then(|| table.pin());
            displace(&table, 5);
            assert!(sees_the_end(&mut far));
            drop(section);
        }
    }
    assert!(table.pin().get(source).is_some());
    assert!(severed_numbers() <= 1);
}

#[test]
fn c6_a_dropped_table_severs_what_a_reader_may_be_looking_at() {
    let _alone = alone();
    let domain = Domain::new();
    let table = FdTable::with_reclaim(4, 4, Asymmetric::new(domain.clone()));
    let (near, mut far) = pair();
    table.insert(near).unwrap();
    let guard = domain.pin();
    drop(table);
    assert!(sees_the_end(&mut far));
    drop(guard);
}
