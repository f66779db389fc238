//! Many threads, real time, every value counted.

use super::{Census, table};
use epoch_fdtable::Flags;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// A small generator, different on each thread.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[test]
fn c6_every_value_is_dropped_exactly_once_whatever_threads_do_to_it() {
    let census = Census::default();
    let table = table(130);
    std::thread::scope(|scope| {
        for thread in 1..=4u64 {
            let (table, census) = (&table, &census);
            scope.spawn(move || {
                let mut dice = Dice(thread.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                for payload in 0..4_000u64 {
                    let number = dice.roll(140) as u32;
                    match dice.roll(12) {
                        0..=2 => drop(table.insert(census.value(payload))),
                        3 => drop(table.insert_any(census.value(payload))),
                        4 => drop(table.put(number, census.value(payload), Flags::NONE)),
                        5 => drop(table.replace(number, census.value(payload))),
                        6 | 7 => drop(table.remove(number)),
                        8 => drop(table.dup2(number, dice.roll(140) as u32)),
                        9 => assert!(table.get_cloned(number).is_none_or(|shared| !shared.gone)),
                        10 => assert!(
                            table.update_flags(number, |f| f | Flags::CLOSE_ON_EXEC)
                                != Ok(Flags::CLOSE_ON_FORK)
                        ),
                        _ if payload % 64 == 0 => {
                            assert!(table.close_range(number..number + 20).total() <= 20)
                        }
                        _ => assert!(table.with(number, |value| !value.gone) != Some(false)),
                    }
                }
            });
        }
    });
    assert_eq!(table.len(), table.pin().iter().count());
    drop(table);
    let any = super::table::<u8>(1);
    census.settles_at(0, || any.collect());
}

#[test]
fn c6_of_many_threads_that_remove_one_descriptor_one_gets_it() {
    let table = table(8);
    let wins = AtomicU32::new(0);
    for round in 0..300u64 {
        let fd = table.insert(round).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| wins.fetch_add(u32::from(table.remove(fd).is_some()), Ordering::Relaxed));
            }
        });
        assert_eq!(table.len(), 0);
    }
    assert_eq!(wins.into_inner(), 300);
}

#[test]
fn c6_no_number_is_given_out_twice_and_every_one_below_the_limit_is() {
    let table = table(200);
    let claims: Vec<AtomicU32> = (0..200).map(|_| AtomicU32::new(0)).collect();
    let refused = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (table, claims, refused) = (&table, &claims, &refused);
            scope.spawn(move || {
                for n in 0..100 {
                    let opened = if (n + thread) % 2 == 0 {
                        table.insert(n)
                    } else {
                        table.insert_any(n)
                    };
                    match opened {
                        Ok(fd) => claims[fd.number() as usize].fetch_add(1, Ordering::Relaxed),
                        Err(_) => refused.fetch_add(1, Ordering::Relaxed),
                    };
                }
            });
        }
    });
    assert!(claims.iter().all(|c| c.load(Ordering::Relaxed) == 1));
    assert_eq!(refused.into_inner(), 200);
}

#[test]
fn c6_lowest_is_never_above_a_number_that_was_free_throughout() {
    // 0..192, three whole runs of 64, stay open but for one number that this thread alone opens and closes; the others churn above.
    let table = table(1000);
    for n in 0..192 {
        table.insert(n).unwrap();
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let held: Vec<_> = (0..70)
                        .map(|n| table.insert_from(192, n, Flags::NONE).unwrap())
                        .collect();
                    held.into_iter().for_each(|fd| drop(table.remove(fd)));
                }
            });
        }
        for round in 0..4_000u32 {
            let number = round * 31 % 192;
            drop(table.remove(number).unwrap());
            assert_eq!(
                table.insert(round).unwrap().number(),
                number,
                "free since before the insert began"
            );
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn c6_the_length_is_right_beside_a_clear() {
    let census = Census::default();
    let table = table(300);
    let over = AtomicBool::new(false);
    for n in 0..50 {
        table.insert_at(n, census.value(0), Flags::NONE).unwrap();
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // 50 descriptors stay, at most 200 come and go: a count that wrapped or was taken twice falls outside.
                let len = table.len();
                assert!((50..=250).contains(&len), "{len}");
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..100 {
                    for _ in 0..100 {
                        drop(table.insert_from(50, census.value(1), Flags::NONE));
                    }
                    let _ = table.close_range(50..);
                }
                over.store(true, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(table.clear(|_, removed| drop(removed)), table.len() + 50);
    assert_eq!((table.len(), table.is_empty()), (0, true));
    census.settles_at(0, || table.collect());
}

#[test]
fn c6_a_replaced_descriptor_is_never_absent_to_a_reader() {
    let table = table(4);
    table.insert(0u64).unwrap();
    table.insert(u64::MAX).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                assert!(
                    table.pin().get(0).is_some() && table.get_cloned(0).is_some() && table.flags(0).is_some()
                );
            }
        });
        for n in 0..20_000u64 {
            match n % 3 {
                0 => drop(table.replace(0, n)),
                1 => drop(table.dup2(1, 0)),
                _ => drop(table.put(0, n, Flags::CLOSE_ON_EXEC)),
            }
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn c6_flags_survive_concurrent_changes_of_other_flags() {
    let table = table(4);
    let fd = table.insert(()).unwrap();
    std::thread::scope(|scope| {
        for flag in [Flags::CLOSE_ON_EXEC, Flags::CLOSE_ON_FORK] {
            let table = &table;
            scope.spawn(move || {
                for _ in 0..5_000 {
                    assert!(!table.update_flags(fd, |f| f | flag).unwrap().contains(flag));
                    assert!(
                        table
                            .update_flags(fd, |f| f.without(flag))
                            .unwrap()
                            .contains(flag)
                    );
                }
            });
        }
    });
    assert_eq!(table.flags(fd), Some(Flags::NONE));
}
