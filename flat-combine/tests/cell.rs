//! `AdaptiveCell`: the right representation for each type, one only, and real updates on both.
#![cfg(not(any(loom, shuttle)))]

use flat_combine::{AdaptiveCell, Locked, Refused, Word, adaptive};
use proptest::prelude::*;
use std::num::NonZeroU16;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread;

#[derive(Clone, Copy, Debug, PartialEq, bytemuck::NoUninit)]
#[repr(C)]
struct Point {
    x: i32,
    y: i32,
}

/// Three bytes between the fields belong to nobody.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
struct Padded {
    tag: u8,
    value: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, bytemuck::NoUninit)]
#[repr(u8)]
enum Phase {
    Idle = 3,
    Busy = 200,
}

#[derive(Clone, Copy, Debug, PartialEq, bytemuck::NoUninit)]
#[repr(C)]
struct NineBytes([u8; 9]);

adaptive!(Point, Padded, Phase, NineBytes);

#[test]
fn c7_a_type_with_padding_is_never_an_atomic() {
    assert_eq!(size_of::<Padded>(), 8);
    const { assert!(!AdaptiveCell::<Padded>::LOCK_FREE) };
    // Equal values whose padding differs: a comparison of bits would miss, one by `==` may not.
    let with_padding = |byte: u8| {
        let mut raw = std::mem::MaybeUninit::<Padded>::uninit();
        // SAFETY: the bytes of the place, all of them; then its two fields.
        unsafe {
            raw.as_mut_ptr()
                .cast::<u8>()
                .write_bytes(byte, size_of::<Padded>());
            (*raw.as_mut_ptr()).tag = 1;
            (*raw.as_mut_ptr()).value = 2;
            raw.assume_init()
        }
    };
    let cell = AdaptiveCell::new(with_padding(0x00));
    for round in 0..100 {
        let new = with_padding(round);
        assert!(cell.compare_exchange(&with_padding(0xFF), new).is_ok());
    }
}

#[test]
fn c7_never_both_representations() {
    // A word cell is the word and nothing else; a locked one is a lock with a version, and no word beside it.
    assert_eq!(size_of::<AdaptiveCell<u8>>(), 8);
    assert_eq!(size_of::<AdaptiveCell<u64>>(), 8);
    assert_eq!(size_of::<AdaptiveCell<Point>>(), 8);
    assert_eq!(
        size_of::<AdaptiveCell<Padded>>(),
        size_of::<Mutex<(u64, Padded)>>()
    );
    assert_eq!(
        size_of::<AdaptiveCell<String>>(),
        size_of::<Mutex<(u64, String)>>()
    );
    const {
        assert!(
            AdaptiveCell::<Phase>::LOCK_FREE
                && AdaptiveCell::<f64>::LOCK_FREE
                && AdaptiveCell::<()>::LOCK_FREE
        );
        assert!(AdaptiveCell::<Option<NonZeroU16>>::LOCK_FREE && AdaptiveCell::<[u8; 7]>::LOCK_FREE);
        assert!(!AdaptiveCell::<NineBytes>::LOCK_FREE && !AdaptiveCell::<u128>::LOCK_FREE);
        assert!(!AdaptiveCell::<Vec<u8>>::LOCK_FREE && !AdaptiveCell::<(u8, u32)>::LOCK_FREE);
    }
}

#[test]
fn c7_load_and_store_lose_updates_and_fetch_update_does_not() {
    const EACH: u32 = 20_000;
    let word = AdaptiveCell::new(0u32);
    let locked = AdaptiveCell::new(Padded { tag: 0, value: 0 });
    let torn = AdaptiveCell::new(0u32);
    // One thread stores between another's load and store: that store is gone, by the meaning of the words.
    let seen = torn.load();
    thread::scope(|scope| scope.spawn(|| torn.store(100)).join().unwrap());
    torn.store(seen + 1);
    assert_eq!(torn.load(), 1, "the store of 100 is lost");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..EACH {
                    word.fetch_update(|n| Some(n + 1)).unwrap();
                    locked
                        .fetch_update(|p| {
                            Some(Padded {
                                value: p.value + 1,
                                ..*p
                            })
                        })
                        .unwrap();
                }
            });
        }
    });
    assert_eq!((word.load(), locked.load().value), (4 * EACH, 4 * EACH));
}

#[test]
fn compare_exchange_lets_one_of_many_through_and_hands_back_the_rest() {
    let cell = AdaptiveCell::new(String::from("free"));
    let winners: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|me| {
                scope.spawn({
                    let cell = &cell;
                    move || match cell.compare_exchange(&"free".into(), format!("taken by {me}")) {
                        Ok(before) => {
                            assert_eq!(before, "free");
                            1
                        }
                        Err(Refused { found, new, .. }) => {
                            assert!(found.starts_with("taken by") && new == format!("taken by {me}"));
                            0
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(winners, 1);
}

#[test]
fn values_are_compared_by_equality_on_both_representations() {
    let float = AdaptiveCell::new(0.0f64);
    assert_eq!(
        float.compare_exchange(&-0.0, 1.0),
        Ok(0.0),
        "zeros are equal whatever their sign"
    );
    float.store(f64::NAN);
    assert!(
        float.compare_exchange(&f64::NAN, 1.0).is_err(),
        "a NaN is equal to nothing"
    );
}

#[test]
fn a_closure_may_use_the_cell_and_may_panic() {
    fn check<T: flat_combine::Adaptive + std::fmt::Debug>(one: T, two: T) {
        let cell = AdaptiveCell::new(one.clone());
        let panic = catch_unwind(AssertUnwindSafe(|| {
            cell.fetch_update(|_| -> Option<T> { panic!("in the closure") })
        }));
        assert!(panic.is_err());
        assert_eq!(cell.load(), one);
        let mut runs = 0;
        let updated = cell.fetch_update(|found| {
            runs += 1;
            if runs == 1 {
                cell.store(two.clone()); // the first result is out of date and must be thrown away
            }
            Some(found.clone())
        });
        assert_eq!((updated, runs), (Ok(two), 2));
        assert_eq!(cell.fetch_update(|_| None).unwrap_err(), cell.into_inner());
    }
    check(1u8, 2);
    check(String::from("1"), String::from("2"));
}

#[test]
fn every_bit_of_a_word_comes_back() {
    let cell = AdaptiveCell::new(Phase::Idle);
    assert_eq!(cell.swap(Phase::Busy), Phase::Idle);
    assert_eq!(cell.load(), Phase::Busy);
    let cell = AdaptiveCell::new(Point { x: i32::MIN, y: -1 });
    assert_eq!(
        cell.swap(Point { x: 1, y: i32::MAX }),
        Point { x: i32::MIN, y: -1 }
    );
    assert_eq!(cell.into_inner(), Point { x: 1, y: i32::MAX });
    let cell = AdaptiveCell::new([1u8, 2, 3]);
    cell.store([255, 0, 255]);
    assert_eq!(cell.load(), [255, 0, 255]);
    let cell: AdaptiveCell<Option<NonZeroU16>> = AdaptiveCell::default();
    assert_eq!(cell.swap(NonZeroU16::new(9)), None);
    assert_eq!(cell.load(), NonZeroU16::new(9));
}

#[test]
fn a_value_is_dropped_once_and_outside_the_lock() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Weak};
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    /// On its drop it looks into the cell that it came from.
    #[derive(Clone)]
    struct Nosy(Arc<(u32, Weak<AdaptiveCell<NosyRef>>)>);
    #[derive(Clone)]
    struct NosyRef(Arc<Nosy>);
    impl PartialEq for NosyRef {
        fn eq(&self, other: &Self) -> bool {
            self.0.0.0 == other.0.0.0
        }
    }
    impl Drop for Nosy {
        fn drop(&mut self) {
            DROPS.fetch_add(1, Ordering::Relaxed);
            if let Some(cell) = self.0.1.upgrade() {
                drop(cell.load());
            }
        }
    }
    adaptive!(NosyRef);
    let cell =
        Arc::new_cyclic(|weak| AdaptiveCell::new(NosyRef(Arc::new(Nosy(Arc::new((0, Weak::clone(weak))))))));
    for n in 1..=10 {
        cell.store(NosyRef(Arc::new(Nosy(Arc::new((n, Arc::downgrade(&cell)))))));
    }
    assert_eq!(DROPS.load(Ordering::Relaxed), 10);
    drop(cell);
    assert_eq!(DROPS.load(Ordering::Relaxed), 11);
}

proptest! {
    #[test]
    fn any_history_reads_as_a_plain_variable(start in any::<u8>(), ops in prop::collection::vec((0..4u8, any::<u8>(), any::<u8>()), 1..60)) {
        let word = AdaptiveCell::new(start);
        let text = AdaptiveCell::new(start.to_string());
        let mut oracle = start;
        for (op, a, b) in ops {
            match op {
                0 => {
                    word.store(a);
                    text.store(a.to_string());
                    oracle = a;
                }
                1 => {
                    prop_assert_eq!(word.swap(a), oracle);
                    prop_assert_eq!(text.swap(a.to_string()), oracle.to_string());
                    oracle = a;
                }
                2 => {
                    let a = if b % 2 == 0 { oracle } else { a };
                    let expected = if a == oracle { Ok(a) } else { Err(Refused { found: oracle, new: b }) };
                    prop_assert_eq!(word.compare_exchange(&a, b), expected);
                    prop_assert_eq!(text.compare_exchange(&a.to_string(), b.to_string()).is_ok(), a == oracle);
                    if a == oracle {
                        oracle = b;
                    }
                }
                _ => {
                    let expected = oracle.checked_add(a);
                    prop_assert_eq!(word.fetch_update(|n| n.checked_add(a)), expected.map(|_| oracle).ok_or(oracle));
                    let sum = |n: &String| n.parse::<u8>().ok()?.checked_add(a).map(|n| n.to_string());
                    prop_assert_eq!(text.fetch_update(sum).is_ok(), expected.is_some());
                    oracle = expected.unwrap_or(oracle);
                }
            }
            prop_assert_eq!(word.load(), oracle);
            prop_assert_eq!(text.load(), oracle.to_string());
        }
    }
}

#[test]
fn c7_an_option_is_a_word_where_it_has_no_padding_and_a_lock_elsewhere() {
    const { assert!(AdaptiveCell::<Option<NonZeroU16>>::LOCK_FREE) };
    const { assert!(!AdaptiveCell::<Option<u32>>::LOCK_FREE) };
    let owner = AdaptiveCell::new(None::<u32>);
    assert_eq!(owner.compare_exchange(&None, Some(7)), Ok(None));
    assert_eq!(owner.swap(None), Some(7));
    let config = AdaptiveCell::new(None::<Arc<[u8]>>);
    config.store(Some(Arc::from([1, 2])));
    assert_eq!(config.load().as_deref(), Some(&[1, 2][..]));
    assert_eq!(AdaptiveCell::new((1u8, 2u16, 3u32)).load(), (1, 2, 3));
}

#[test]
fn c7_both_representations_stand_in_a_static() {
    static PHASE: AdaptiveCell<Phase> = AdaptiveCell::of(Word::new(Phase::Busy));
    static POINT: AdaptiveCell<Point> = AdaptiveCell::of(Word::new(Point { x: -1, y: 2 }));
    static EMPTY: AdaptiveCell<()> = AdaptiveCell::of(Word::new(()));
    static PADDED: AdaptiveCell<Padded> = AdaptiveCell::of(Locked::new(Padded { tag: 1, value: 2 }));
    assert_eq!(PHASE.swap(Phase::Idle), Phase::Busy);
    assert_eq!((POINT.load(), EMPTY.load()), (Point { x: -1, y: 2 }, ()));
    let raised = PADDED.fetch_update(|p| {
        Some(Padded {
            value: p.value + 1,
            ..*p
        })
    });
    assert_eq!((raised.map(|p| p.value), PADDED.load().value), (Ok(2), 3));
}
