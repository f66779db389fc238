//! The garbage limit of the domain, met through the table.
#![cfg(not(any(loom, shuttle)))]

use epoch_fdtable::{Asymmetric, FdError, FdTable};
use std::sync::mpsc;
use std::time::Duration;
use sync_base::Domain;

fn domain() -> Domain {
    Domain::builder()
        .garbage_limit(4096)
        .batch(8)
        .stall_wait(Duration::from_millis(1))
        .build()
}

#[test]
fn c6_a_reader_asleep_in_a_section_is_named_and_the_value_comes_back() {
    let domain = domain();
    let table = FdTable::with_reclaim(64, 64, Asymmetric::new(domain.clone()));
    table.insert([0u64; 16]).unwrap();
    std::thread::scope(|scope| {
        let (asleep, is_asleep) = mpsc::channel();
        let (wake, woken) = mpsc::channel::<()>();
        let table = &table;
        scope.spawn(move || {
            let pinned = table.pin();
            // SAFETY: a plain system call.
            asleep.send(unsafe { libc::gettid() }.unsigned_abs()).unwrap();
            woken.recv().unwrap();
            drop(pinned);
        });
        let reader = is_asleep.recv().unwrap();
        let refused = (1..1000u64).find_map(|n| match table.try_replace(0, [n; 16]) {
            Ok(_) => None,
            Err(refused) => Some((n, refused)),
        });
        let (n, refused) = refused.expect("the limit is reached");
        assert_eq!(
            (refused.value[0], refused.error),
            (n, FdError::Stalled { thread: reader })
        );
        assert!(refused.error.is_retryable() && refused.to_string().contains(&reader.to_string()));
        assert_eq!(
            table.try_remove(0).unwrap_err(),
            FdError::Stalled { thread: reader }
        );
        let stalled = FdError::Stalled { thread: reader };
        let flags = epoch_fdtable::Flags::NONE;
        let refused = table.try_put(0, [n; 16], flags).unwrap_err();
        assert_eq!((refused.value[0], refused.error), (n, stalled));
        let other = table.insert([0; 16]).unwrap();
        assert_eq!(table.try_dup3(other, 0, flags).unwrap_err(), stalled);
        assert_eq!(table.try_clear(|_, _| panic!("cleared")), Err(stalled));
        assert_eq!(table.with(0, |v| v[0]), Some(n - 1), "refused, so still open");
        // What makes no garbage is not refused.
        assert_eq!(table.try_remove(9).unwrap_err(), FdError::NotOpen { number: 9 });
        assert!(
            table
                .try_replace(9, [0; 16])
                .is_err_and(|refused| refused.error == FdError::NotOpen { number: 9 })
        );
        assert!(
            table
                .try_put(9, [9; 16], flags)
                .is_ok_and(|placed| placed.replaced.is_none())
        );
        assert!(
            table
                .try_dup3(other, 10, flags)
                .is_ok_and(|placed| placed.replaced.is_none())
        );
        // Who cannot be refused waits the stated time, then goes past the limit, counted.
        drop(table.replace(0, [7; 16]).unwrap());
        assert!(domain.stats().limit_exceeded >= 1);
        // Bounded: nothing that was refused was retired.
        assert!(domain.stats().garbage <= 2 * 4096);
        wake.send(()).unwrap();
    });
    table.collect();
    drop(table.try_remove(0).unwrap());
    assert_eq!(table.try_clear(|_, removed| drop(removed)), Ok(3));
    assert_eq!(table.try_clear(|_, removed| drop(removed)), Ok(0));
}

#[test]
fn c6_the_limit_makes_nobody_wait_who_makes_no_garbage_nor_a_clear_twice() {
    let domain = domain();
    let table = FdTable::with_reclaim(512, 512, Asymmetric::new(domain.clone()));
    for n in 0..200u64 {
        table.insert([n; 16]).unwrap();
    }
    // This thread's own section: whoever would wait for it gives up at once, counted.
    let pinned = table.pin();
    let mut number = 0;
    while domain.has_room(size_of::<[u64; 16]>() + 64) {
        drop(table.remove(number).unwrap());
        domain.flush();
        number += 1;
    }
    let waits = || domain.stats().limit_exceeded;
    let before = waits();
    for absent in [300, 511, 512, u32::MAX] {
        assert!(table.remove(absent).is_none());
        assert!(table.replace(absent, [0; 16]).is_err());
    }
    drop(table.put(300, [0; 16], epoch_fdtable::Flags::NONE).unwrap());
    assert_eq!(waits(), before);
    let open = table.len();
    assert!(open > 50);
    assert_eq!(table.clear(|_, removed| drop(removed)), open);
    assert!(waits() <= before + 1);
    drop(pinned);
}
