//! How a value leaves: to the caller, to its end, or after its last reader.

use super::{Backend, Census, Table, ended, table};
use epoch_fdtable::{Closed, FdTable};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Long enough that only a defect reaches it.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn c6_remove_gives_the_value_back_as_soon_as_no_reader_holds_it() {
    let table = table(4);
    let fd = table.insert(String::from("value")).unwrap();
    let pinned = table.pin();
    let seen = pinned.get(fd).unwrap();
    let removed = table.remove(fd).unwrap();
    let removed = removed
        .try_into_inner()
        .expect_err("this very thread is reading it");
    assert_eq!((seen.as_str(), removed.as_str()), ("value", "value"));
    drop(pinned);
    assert_eq!(removed.into_inner_timeout(LONG).unwrap(), "value");
}

#[test]
fn c6_a_removed_value_stays_readable_to_whoever_had_found_it() {
    let census = Census::default();
    let table = table(4);
    let fd = table.insert(census.value(9)).unwrap();
    let pinned = table.pin();
    let seen = pinned.get(fd).unwrap();
    drop(table.remove(fd));
    table.collect();
    table.insert(census.value(10)).unwrap();
    assert_eq!(seen.payload, 9);
    assert_eq!(pinned.get(0).unwrap().payload, 10);
    assert!(pinned.get(fd).is_none());
    drop(pinned);
    census.settles_at(1, || table.collect());
}

#[test]
fn c6_remove_does_not_take_a_value_that_somebody_else_holds() {
    let table = table(4);
    let fd = table.insert(String::from("value")).unwrap();
    let copy = table.dup(fd).unwrap();
    let removed = table.remove(fd).unwrap();
    assert!(removed.is_shared());
    let removed = removed
        .into_inner_timeout(LONG)
        .expect_err("the duplicate holds it");
    drop(removed);
    let shared = table.get_cloned(copy).unwrap();
    let removed = table
        .remove(copy)
        .unwrap()
        .try_into_inner()
        .expect_err("the handle holds it");
    assert_eq!(*shared, "value");
    drop(shared);
    assert_eq!(removed.into_inner_timeout(LONG).unwrap(), "value");
}

#[test]
fn c6_a_removed_value_can_stay_as_a_handle_and_come_back() {
    let table = table(4);
    table.insert(7).unwrap();
    let shared = table.remove(0).unwrap().into_shared().unwrap();
    assert_eq!(table.len(), 0);
    let again = table
        .insert_shared(shared.clone(), epoch_fdtable::Flags::NONE)
        .unwrap();
    drop(shared);
    assert_eq!(table.pin().get(again), Some(&7));
}

#[test]
fn c6_closing_a_real_file_is_prompt_and_waits_for_no_collection() {
    let table: Table<OwnedFd> = table(16);
    for _ in 0..100 {
        let (near, mut far) = UnixStream::pair().unwrap();
        let fd = table.insert(near.into()).unwrap();
        assert_ne!(table.close(fd).unwrap(), Closed::Deferred);
        // The peer sees the end now: no collection has run and none is needed.
        far.set_nonblocking(true).unwrap();
        assert_eq!(far.read(&mut [0; 1]).unwrap(), 0);
    }
}

#[test]
fn c6_closing_a_real_file_under_a_reader_is_prompt_and_frees_no_number_it_may_use() {
    let table: Table<OwnedFd> = table(16);
    let (near, mut far) = UnixStream::pair().unwrap();
    let fd = table.insert(near.into()).unwrap();
    let pinned = table.pin();
    let borrowed = pinned.get(fd).unwrap().as_fd();
    assert_eq!(table.close(fd).unwrap(), Closed::Severed);
    assert_eq!(far.read(&mut [0; 1]).unwrap(), 0, "closed for the peer");
    // Whatever is opened now gets another number, and the reader's call reaches no stranger.
    let strangers: Vec<File> = (0..8).map(|_| File::open("/dev/null").unwrap()).collect();
    assert!(strangers.iter().all(|s| s.as_raw_fd() != borrowed.as_raw_fd()));
    let mut write = std::mem::ManuallyDrop::new(unsafe_free_file(borrowed.as_raw_fd()));
    assert_eq!(write.write(b"x").unwrap_err().raw_os_error(), Some(libc::EBADF));
}

/// A `File` over a number that the table owns; never dropped.
fn unsafe_free_file(number: i32) -> File {
    use std::os::fd::FromRawFd;
    // SAFETY: the caller keeps it in `ManuallyDrop`, and the number is open as long as its section.
    unsafe { File::from_raw_fd(number) }
}

#[test]
fn c6_a_close_is_not_stuck_behind_its_twin_in_a_bag() {
    let table: Table<OwnedFd> = table(16);
    let (near, mut far) = UnixStream::pair().unwrap();
    let fd = table.insert(near.into()).unwrap();
    let copy = table.dup(fd).unwrap();
    drop(table.remove(copy)); // Its alias waits for a collection; its reference does not.
    assert_ne!(table.close(fd).unwrap(), Closed::StillShared);
    assert_eq!(far.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn c6_the_last_handle_can_close_promptly_too() {
    let table: Table<OwnedFd> = table(16);
    let (near, mut far) = UnixStream::pair().unwrap();
    let fd = table.insert(near.into()).unwrap();
    let held = table.get_cloned(fd).unwrap();
    assert_eq!(table.close(fd).unwrap(), Closed::StillShared);
    assert_ne!(held.close(), Closed::Deferred);
    assert_eq!(far.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn c6_close_range_closes_real_files_promptly() {
    let table: Table<OwnedFd> = table(64);
    let mut peers = Vec::new();
    for _ in 0..20 {
        let (near, far) = UnixStream::pair().unwrap();
        table.insert(near.into()).unwrap();
        peers.push(far);
    }
    assert_eq!(table.close_range(..).deferred, 0);
    for mut far in peers {
        assert_eq!(far.read(&mut [0; 1]).unwrap(), 0);
    }
}

/// A value of the user's own that owns a descriptor.
#[derive(Debug)]
struct Session(UnixStream);
impl epoch_fdtable::Sever for Session {
    fn sever(&self) -> bool {
        epoch_fdtable::sever_descriptor(self.0.as_fd()).is_ok()
    }
}

#[test]
fn c6_a_wrapped_descriptor_ends_promptly_however_its_last_holder_is_dropped() {
    type Sessions = Table<Session>;
    let ends: [fn(Sessions); 8] = [
        drop,
        |table| drop(table.remove(0)),
        |table| drop(table.remove(0).unwrap().into_shared()),
        |table| {
            let held = table.get_cloned(0).unwrap();
            drop(table.remove(0));
            drop(held);
        },
        |table| drop(table.replace(0, Session(UnixStream::pair().unwrap().0))),
        |table| {
            drop(table.put(
                0,
                Session(UnixStream::pair().unwrap().0),
                epoch_fdtable::Flags::NONE,
            ))
        },
        |table| {
            table.insert(Session(UnixStream::pair().unwrap().0)).unwrap();
            drop(table.dup2(1, 0));
        },
        |table| assert_eq!(table.clear(|_, removed| drop(removed)), 1),
    ];
    for end in ends {
        let table: Sessions = table(8).ending_promptly();
        let (near, mut far) = UnixStream::pair().unwrap();
        table.insert(Session(near)).unwrap();
        end(table);
        far.set_nonblocking(true).unwrap();
        assert_eq!(far.read(&mut [0; 1]).unwrap(), 0, "the peer sees the end at once");
    }
    let processes =
        epoch_fdtable::ProcessTables::<Session, Backend>::with_reclaim(2, 8, 8, Backend::default())
            .ending_promptly();
    processes.create(0).unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    processes.with(0, |t| t.insert(Session(near)).unwrap()).unwrap();
    processes.fork(0, 1).unwrap();
    let _ = processes.with(0, |t| t.remove(0).map(drop));
    far.set_nonblocking(true).unwrap();
    assert!(far.read(&mut [0; 1]).is_err(), "the child holds it");
    let _ = processes.with(1, |t| t.remove(0).map(drop));
    assert_eq!(far.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn c6_dropping_the_table_frees_everything() {
    let census = Census::default();
    {
        let table = table(600);
        for n in 0..500 {
            let fd = table.insert(census.value(n)).unwrap();
            match n % 5 {
                0 => drop(table.remove(fd)),
                1 => drop(table.replace(fd, census.value(n))),
                2 => drop(table.dup(fd)),
                3 => drop(table.close(fd)),
                _ => {}
            }
        }
        assert!(census.living() >= 300);
    }
    // What was retired before is freed by the backend; the table itself left nothing behind.
    let other: Table<u8> = table(1);
    census.settles_at(0, || other.collect());
}

#[test]
fn c6_dropping_a_table_spares_what_a_handle_or_another_table_holds() {
    let census = Census::default();
    let other = table(4);
    let first = table(4);
    first.insert(census.value(1)).unwrap();
    first.insert(census.value(2)).unwrap();
    first.insert(census.value(3)).unwrap();
    let held = first.get_cloned(0).unwrap();
    other
        .insert_shared(first.get_cloned(1).unwrap(), epoch_fdtable::Flags::NONE)
        .unwrap();
    let pinned = other.pin();
    let seen = pinned.get(0).unwrap();
    drop(first);
    assert_eq!((held.payload, seen.payload), (1, 2));
    drop(pinned);
    drop(held);
    drop(other);
    let any: Table<u8> = table(1);
    census.settles_at(0, || any.collect());
}

#[test]
fn c6_a_panicking_drop_harms_only_its_own_value() {
    struct Loud(bool);
    impl Drop for Loud {
        fn drop(&mut self) {
            assert!(!self.0, "a destructor that panics");
        }
    }
    impl epoch_fdtable::Sever for Loud {}
    let table = table(4);
    table.insert(Loud(true)).unwrap();
    let removed = table.remove(0).unwrap();
    let taken = match removed.into_inner_timeout(LONG) {
        Ok(value) => value,
        Err(_) => unreachable!("nobody reads"),
    };
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(taken))).is_err());
    let fd = table.insert(Loud(false)).unwrap();
    assert!(table.pin().get(fd).is_some());
    assert_eq!(table.len(), 1);
}

#[test]
fn c6_a_panicking_drop_among_many_keeps_no_other_value_from_its_end() {
    #[derive(Debug)]
    struct Loud(Option<super::Counted>);
    impl Drop for Loud {
        fn drop(&mut self) {
            assert!(self.0.is_some(), "a destructor that panics");
        }
    }
    impl epoch_fdtable::Sever for Loud {}
    let ends: [fn(Table<Loud>); 4] = [
        drop,
        |table| {
            let _ = table.close_range(..);
        },
        |table| {
            table.update_flags_range(.., |_| epoch_fdtable::Flags::CLOSE_ON_EXEC);
            let _ = table.close_on_exec();
        },
        |table| {
            let processes = epoch_fdtable::ProcessTables::with_reclaim(2, 16, 16, Backend::default());
            processes.create(1).unwrap();
            processes.with(1, |inner| {
                for number in 0..10 {
                    let shared = table.remove(number).unwrap().into_shared().unwrap();
                    assert!(inner.insert_shared(shared, epoch_fdtable::Flags::NONE).is_ok());
                }
            });
            let _ = processes.exit(1);
        },
    ];
    for end in ends {
        let census = Census::default();
        let table = table(16);
        for n in 0..10 {
            let value = Loud((n != 3).then(|| census.value(n)));
            assert!(table.insert(value).is_ok());
        }
        // Without a reader the panic comes out of the call, else out of a collection: either way after the rest.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| end(table)));
        let other: Table<u8> = super::table(1);
        census.settles_at(0, || {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| other.collect()));
        });
    }
}

#[test]
fn c6_a_panic_inside_with_leaves_the_section() {
    let table = table(4);
    let fd = table.insert(1).unwrap();
    let run = || table.with(fd, |_| panic!("inside a section"));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
    assert_eq!(table.remove(fd).unwrap().into_inner_timeout(LONG).unwrap(), 1);
}

#[test]
fn c6_closing_what_is_not_open_says_so() {
    let census = Census::default();
    let table = table(4);
    assert!(table.close(0).is_err());
    let fd = table.insert(census.value(0)).unwrap();
    assert!(ended(table.close(fd).unwrap()));
    assert!(table.close(fd).is_err() && table.close(0).is_err());
}

#[test]
fn c6_handles_and_removed_values_cross_threads() {
    let table: std::sync::Arc<FdTable<String, Backend>> = std::sync::Arc::new(table(4));
    table.insert("a".into()).unwrap();
    let shared = table.get_cloned(0).unwrap();
    let removed = table.remove(0).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| drop(shared));
        scope.spawn(|| drop(removed));
    });
    assert!(table.is_empty());
}
