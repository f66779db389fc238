//! Numbers, values, flags: what POSIX says, and what it leaves open.

use super::{Census, table};
use epoch_fdtable::{FdError, Flags};

#[test]
fn c6_every_index_out_of_range_reads_as_not_open() {
    let table = table::<u32>(100);
    table.insert(1).unwrap();
    let pinned = table.pin();
    for number in [1, 99, 100, 255, 256, 257, 1 << 20, u32::MAX] {
        assert_eq!(pinned.get(number), None, "{number}");
        assert!(pinned.get_cloned(number).is_none());
        assert!(table.remove(number).is_none());
        assert_eq!(table.flags(number), None);
        assert_eq!(
            table.set_flags(number, Flags::NONE),
            Err(FdError::NotOpen { number })
        );
        assert_eq!(table.dup(number), Err(FdError::NotOpen { number }));
        assert_eq!(table.replace(number, 2).unwrap_err().value, 2);
    }
    for number in [100, 256, u32::MAX] {
        let refused = table.insert_at(number, 7, Flags::NONE).unwrap_err();
        assert_eq!(
            (refused.value, refused.error),
            (7, FdError::PastLimit { number, limit: 100 })
        );
        let refused = table.put(number, 7, Flags::NONE).unwrap_err();
        assert_eq!(
            (refused.value, refused.error),
            (7, FdError::PastLimit { number, limit: 100 })
        );
        assert_eq!(
            table.dup2(0, number).unwrap_err(),
            FdError::PastLimit { number, limit: 100 }
        );
    }
    assert_eq!(table.len(), 1);
}

#[test]
fn c6_nothing_null_is_ever_retired() {
    let census = Census::default();
    let table = table(8);
    // First use of a number: there is no predecessor to retire, whichever way it is opened.
    table.insert(census.value(0)).unwrap();
    table.insert_at(3, census.value(3), Flags::NONE).unwrap();
    assert!(
        table
            .put(5, census.value(5), Flags::NONE)
            .unwrap()
            .replaced
            .is_none()
    );
    assert!(table.dup2(0, 6).unwrap().replaced.is_none());
    for number in 0..8 {
        table.remove(number);
        assert!(table.remove(number).is_none(), "removing nothing retires nothing");
    }
    table.close_range(..);
    census.settles_at(0, || table.collect());
    drop(table);
    assert_eq!(census.living(), 0);
}

#[test]
fn c6_insert_takes_the_lowest_free_number_across_words_and_pages() {
    let table = table(1000);
    for number in 0..1000 {
        assert_eq!(table.insert(number).unwrap().number(), number);
    }
    let refused = table.insert(1000).unwrap_err();
    assert_eq!(
        (refused.value, refused.error),
        (1000, FdError::Full { limit: 1000 })
    );
    for number in [999, 640, 641, 63, 64, 255, 256, 0] {
        drop(table.remove(number).unwrap());
        assert_eq!(table.insert(number).unwrap().number(), number);
    }
    for number in [700, 3, 512] {
        drop(table.remove(number).unwrap());
    }
    for number in [3, 512, 700] {
        assert_eq!(table.insert(0).unwrap().number(), number);
    }
    assert_eq!(
        table.insert_from(0, 0, Flags::NONE).unwrap_err().error,
        FdError::Full { limit: 1000 }
    );
}

#[test]
fn c6_insert_from_stays_at_or_above_its_floor() {
    let table = table(200);
    for floor in [0, 5, 63, 64, 127, 199] {
        assert_eq!(table.insert_from(floor, (), Flags::NONE).unwrap().number(), floor);
    }
    assert_eq!(table.insert_from(5, (), Flags::NONE).unwrap().number(), 6);
    assert_eq!(table.insert_from(63, (), Flags::NONE).unwrap().number(), 65);
    assert_eq!(
        table.insert_from(199, (), Flags::NONE).unwrap_err().error,
        FdError::Full { limit: 200 }
    );
    assert_eq!(
        table.insert_from(u32::MAX, (), Flags::NONE).unwrap_err().error,
        FdError::FloorPastLimit {
            floor: u32::MAX,
            limit: 200
        }
    );
}

#[test]
fn c6_insert_any_fills_the_whole_table_and_not_one_more() {
    for limit in [0, 1, 63, 64, 65, 300] {
        let table = table(limit);
        let mut numbers: Vec<u32> = (0..limit)
            .map(|v| table.insert_any(v).unwrap().number())
            .collect();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..limit));
        assert_eq!(table.insert_any(9).unwrap_err().error, FdError::Full { limit });
        assert_eq!(table.insert(9).unwrap_err().error, FdError::Full { limit });
    }
}

#[test]
fn c6_a_lowered_limit_leaves_open_descriptors_alone() {
    let table = epoch_fdtable::FdTable::with_reclaim(4, 8, super::Backend::default());
    for v in 0..4 {
        table.insert(v).unwrap();
    }
    assert_eq!(table.insert(4).unwrap_err().error, FdError::Full { limit: 4 });
    table.set_limit(8).unwrap();
    assert_eq!(table.insert(4).unwrap().number(), 4);
    table.set_limit(1).unwrap();
    assert_eq!(table.pin().get(4), Some(&4));
    drop(table.remove(3).unwrap());
    assert_eq!(table.insert(5).unwrap_err().error, FdError::Full { limit: 1 });
    assert_eq!(
        table.set_limit(9),
        Err(FdError::PastHardLimit {
            limit: 9,
            hard_limit: 8
        })
    );
    assert!(
        table.remove(4).is_some(),
        "above the limit, still open, can be closed"
    );
}

#[test]
fn c6_a_reused_number_is_told_from_its_predecessor() {
    let table = table(4);
    let mut handles = vec![table.insert(0u64).unwrap()];
    for round in 1..100u64 {
        let last = *handles.last().unwrap();
        // Every way in which a number can come to mean something else.
        let next = match round % 4 {
            0 => table.replace(last, round).unwrap().0,
            1 => {
                drop(table.remove(last).unwrap());
                table.insert(round).unwrap()
            }
            2 => table.put(0, round, Flags::NONE).unwrap().handle,
            _ => {
                let other = table.insert(round).unwrap();
                let handle = table.dup2(other, 0).unwrap().handle;
                drop(table.remove(other).unwrap());
                handle
            }
        };
        assert_eq!(next.number(), 0);
        handles.push(next);
        assert_eq!(table.pin().get(next), Some(&round));
        for old in &handles[..handles.len() - 1] {
            assert_eq!(table.pin().get(*old), None, "{old:?} beside {next:?}");
            assert!(table.remove(*old).is_none() && table.get_cloned(*old).is_none());
            assert!(table.set_flags(*old, Flags::CLOSE_ON_EXEC).is_err() && table.dup(*old).is_err());
            assert_eq!(table.replace(*old, 7).unwrap_err().value, 7);
        }
    }
}

#[test]
fn c6_a_duplicate_shares_the_value_and_neither_flags_nor_generation() {
    let census = Census::default();
    let table = table(16);
    let fd = table
        .insert_from(0, census.value(1), Flags::CLOSE_ON_EXEC)
        .unwrap();
    let copy = table.dup(fd).unwrap();
    assert_eq!(
        (copy.number(), table.flags(copy), table.flags(fd)),
        (1, Some(Flags::NONE), Some(Flags::CLOSE_ON_EXEC))
    );
    let high = table.dup_from(fd, 9, Flags::CLOSE_ON_FORK).unwrap();
    assert_eq!(
        (high.number(), table.flags(high)),
        (9, Some(Flags::CLOSE_ON_FORK))
    );
    assert!(
        table
            .get_cloned(fd)
            .unwrap()
            .ptr_eq(&table.get_cloned(high).unwrap())
    );
    drop(table.remove(fd).unwrap());
    // The original is gone, a duplicate of the duplicate takes its place: the old handle means neither.
    assert_eq!(table.dup2(high, 0).unwrap().handle.number(), 0);
    assert!(table.pin().get(fd).is_none());
    drop(table.remove(high).unwrap());
    drop(table.remove(0).unwrap());
    assert_eq!(table.pin().get(copy).unwrap().payload, 1);
    assert_eq!(census.living(), 1);
    drop(table.remove(copy).unwrap());
    census.settles_at(0, || table.collect());
}

#[test]
fn c6_dup2_onto_itself_changes_nothing_and_dup3_refuses() {
    let table = table(4);
    let fd = table.insert("v").unwrap();
    let same = table.dup2(fd, 0).unwrap();
    assert!(same.handle == fd && same.replaced.is_none());
    assert_eq!(table.dup2(1, 1).unwrap_err(), FdError::NotOpen { number: 1 });
    assert_eq!(
        table.dup3(fd, 0, Flags::NONE).unwrap_err(),
        FdError::SameNumber { number: 0 }
    );
}

#[test]
fn c6_dup3_sets_its_flags_and_hands_out_what_it_replaced() {
    let table = table(4);
    let (a, b) = (table.insert("a").unwrap(), table.insert("b").unwrap());
    let placed = table.dup3(a, b.number(), Flags::CLOSE_ON_EXEC).unwrap();
    assert_eq!(*placed.replaced.unwrap(), "b");
    assert_eq!(table.flags(1), Some(Flags::CLOSE_ON_EXEC));
    assert_eq!((table.pin().get(1), table.pin().get(b)), (Some(&"a"), None));
}

#[test]
fn c6_flags_change_without_disturbing_the_value() {
    let table = table(4);
    let fd = table.insert(5).unwrap();
    assert_eq!(table.set_flags(fd, Flags::CLOSE_ON_EXEC).unwrap(), Flags::NONE);
    let both = table.update_flags(fd, |f| f | Flags::CLOSE_ON_FORK).unwrap();
    assert_eq!(both, Flags::CLOSE_ON_EXEC);
    assert_eq!(table.flags(fd), Some(Flags::CLOSE_ON_EXEC | Flags::CLOSE_ON_FORK));
    assert_eq!(table.pin().get(fd), Some(&5));
    let (new, _) = table.replace(fd, 6).unwrap();
    assert_eq!(
        table.flags(new),
        Some(Flags::CLOSE_ON_EXEC | Flags::CLOSE_ON_FORK),
        "replace keeps the flags"
    );
}

#[test]
fn c6_close_range_closes_the_range_and_only_that() {
    for range in [0..0, 0..1, 3..70, 63..65, 255..257, 0..300, 299..300] {
        let census = Census::default();
        let table = table(300);
        for n in 0..300 {
            table.insert(census.value(n)).unwrap();
        }
        let swept = table.close_range(range.clone());
        assert_eq!(swept.total(), range.len());
        assert_eq!(table.len(), 300 - range.len());
        for number in 0..300 {
            assert_eq!(
                table.pin().get(number).is_none(),
                range.contains(&number),
                "{number} of {range:?}"
            );
        }
        census.settles_at(300 - range.len(), || table.collect());
    }
    assert_eq!(table::<super::Counted>(300).close_range(5..=u32::MAX).total(), 0);
}

#[test]
fn c6_a_range_can_be_marked_close_on_exec_and_swept_by_exec() {
    let census = Census::default();
    let table = table(300);
    for n in 0..300 {
        table.insert(census.value(n)).unwrap();
    }
    assert_eq!(
        table.update_flags_range(100..=199, |f| f | Flags::CLOSE_ON_EXEC),
        100
    );
    assert_eq!(table.close_on_exec().total(), 100);
    assert!(
        table
            .pin()
            .iter()
            .all(|open| !(100..200).contains(&open.handle.number()))
    );
    assert_eq!(table.len(), 200);
}

#[test]
fn c6_iteration_visits_each_open_descriptor_once_in_order() {
    let table = table(600);
    for n in (0..600).step_by(7) {
        table.insert_at(n, n, Flags::NONE).unwrap();
    }
    let pinned = table.pin();
    let seen: Vec<u32> = pinned.iter().map(|open| open.handle.number()).collect();
    assert!(seen.into_iter().eq((0..600).step_by(7)));
    assert!(
        pinned
            .iter()
            .all(|open| *open.value == open.handle.number() && pinned.get(open.handle).is_some())
    );
}

#[test]
fn c6_growth_moves_no_value() {
    let table = table(2000);
    table.insert(String::from("first")).unwrap();
    let pinned = table.pin();
    let first: *const String = pinned.get(0).unwrap();
    for n in 1..2000 {
        table.insert(n.to_string()).unwrap();
    }
    assert!(std::ptr::eq(first, pinned.get(0).unwrap()));
}

#[test]
fn c6_a_refused_insert_hands_the_value_back() {
    let census = Census::default();
    let table = table(1);
    table.insert(census.value(1)).unwrap();
    for refused in [
        table.insert(census.value(2)).unwrap_err(),
        table.insert_any(census.value(2)).unwrap_err(),
        table.insert_at(0, census.value(2), Flags::NONE).unwrap_err(),
        table.insert_at(1, census.value(2), Flags::NONE).unwrap_err(),
        table.replace(1, census.value(2)).map(|_| ()).unwrap_err(),
    ] {
        assert_eq!(refused.value.payload, 2);
        assert!(!refused.to_string().is_empty() && std::error::Error::source(&refused).is_some());
    }
    let shared = table.get_cloned(0).unwrap();
    assert_eq!(
        table
            .insert_shared(shared, Flags::NONE)
            .unwrap_err()
            .value
            .payload,
        1
    );
    assert_eq!(table.dup(0), Err(FdError::Full { limit: 1 }));
    assert_eq!(census.living(), 1);
}

#[test]
fn c6_errors_have_the_errno_of_posix() {
    let table = table::<u8>(1);
    let errno = |error: FdError| std::io::Error::from(error).raw_os_error().unwrap();
    assert_eq!(errno(table.dup(0).unwrap_err()), libc::EBADF);
    table.insert(0).unwrap();
    assert_eq!(errno(table.insert(1).unwrap_err().error), libc::EMFILE);
    assert_eq!(errno(table.dup2(0, 1).unwrap_err()), libc::EBADF);
    assert_eq!(errno(table.dup3(0, 0, Flags::NONE).unwrap_err()), libc::EINVAL);
    assert_eq!(
        errno(table.insert_at(0, 1, Flags::NONE).unwrap_err().error),
        libc::EEXIST
    );
}

#[test]
fn c6_values_of_odd_sizes_and_alignments_are_kept_whole() {
    #[repr(align(256))]
    #[derive(Debug, PartialEq)]
    struct Wide([u8; 3]);
    let wide = table(3);
    wide.insert(Wide([1, 2, 3])).unwrap();
    assert_eq!(wide.pin().get(0), Some(&Wide([1, 2, 3])));
    assert_eq!(std::ptr::from_ref(wide.pin().get(0).unwrap()).addr() % 256, 0);
    let nothing = table(3);
    nothing.insert(()).unwrap();
    nothing.dup(0).unwrap();
    assert_eq!(nothing.pin().get(1), Some(&()));
}

#[test]
fn c6_limits_that_make_no_sense_are_refused() {
    let made = |limit, hard| {
        std::panic::catch_unwind(|| {
            epoch_fdtable::FdTable::<u8, _>::with_reclaim(limit, hard, super::Backend::default())
        })
    };
    assert!(made(2, 1).is_err());
    assert!(made(0, (1 << 26) + 1).is_err());
    assert!(made(0, 0).unwrap().insert(1).is_err());
}

#[test]
fn c6_a_table_of_signal_handlers_is_a_second_use() {
    use std::sync::atomic::{AtomicU64, Ordering};
    type Handler = Box<dyn Fn(u32) -> u64 + Send + Sync>;
    let table = table::<Handler>(65);
    let caught = AtomicU64::new(0);
    let handler = |weight: u64| -> Handler { Box::new(move |signal| weight * u64::from(signal)) };
    drop(table.put(15, handler(1), Flags::CLOSE_ON_EXEC).unwrap());
    drop(table.put(2, handler(1), Flags::NONE).unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..5_000 {
                let value = table.with(15, |h| h(15)).expect("replaced, never absent");
                caught.fetch_add(value, Ordering::Relaxed);
            }
        });
        scope.spawn(|| (0..500).for_each(|_| drop(table.put(15, handler(1), Flags::CLOSE_ON_EXEC).unwrap())));
    });
    assert_eq!(caught.into_inner(), 15 * 5_000);
    // exec resets what is caught; what is not marked stays.
    let marked = |n: &u32| table.flags(*n) == Some(Flags::CLOSE_ON_EXEC);
    (0..65).filter(marked).for_each(|n| drop(table.remove(n)));
    assert!(table.with(15, |h| h(1)).is_none() && table.with(2, |h| h(1)) == Some(1));
}

#[test]
fn c6_a_refusal_names_its_cause_and_a_remedy_that_helps() {
    let table = epoch_fdtable::FdTable::<u8, _>::with_reclaim(4, 8, super::Backend::default());
    let says = |error: FdError, words: &[&str]| {
        let text = error.to_string();
        words
            .iter()
            .for_each(|word| assert!(text.contains(word), "{word} in: {text}"));
    };
    let floor = table.insert_from(20, 0, Flags::NONE).unwrap_err().error;
    says(floor, &["at or above 20", "limit of 4"]);
    assert_eq!(floor.raw_os_error(), libc::EINVAL);
    table.insert(1).unwrap();
    assert_eq!(
        table.dup_from(0, 4, Flags::NONE).unwrap_err().raw_os_error(),
        libc::EINVAL
    );
    says(
        table.set_limit(9).unwrap_err(),
        &["limit of 9", "hard limit of 8", "build the table"],
    );
    table.set_limit(0).unwrap();
    says(table.insert(1).unwrap_err().error, &["limit is 0", "set_limit"]);
    let processes = epoch_fdtable::ProcessTables::<u8, _>::with_reclaim(2, 4, 4, super::Backend::default());
    processes.create(1).unwrap();
    says(processes.create(1).unwrap_err(), &["process 1 exists"]);
    says(processes.create(2).unwrap_err(), &["process 2", "room"]);
    says(processes.exit(0).unwrap_err(), &["no process 0"]);
    says(processes.fork(0, 1).unwrap_err(), &["no process 0"]);
    says(processes.close(0, 0).unwrap_err(), &["no process 0"]);
    says(processes.close(1, 0).unwrap_err(), &["descriptor 0 is not open"]);
    // SAFETY: a system call without arguments.
    let thread = unsafe { libc::gettid() }.unsigned_abs();
    says(
        FdError::Stalled { thread },
        &["this very thread", "its own guard"],
    );
    says(FdError::Stalled { thread: 1 }, &["a reader on thread 1"]);
}
