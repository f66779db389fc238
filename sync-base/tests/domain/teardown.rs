//! Thread-locals whose destructors use the domain, torn down in every order.

use super::{Drops, eventually, retire};
use std::cell::RefCell;
use sync_base::domain::Guard;
use sync_base::{Domain, Reader};

/// Pins, nests, retires and collects when its thread ends.
struct UsesAtEnd(RefCell<Option<(Domain, Drops)>>);

impl Drop for UsesAtEnd {
    fn drop(&mut self) {
        if let Some((domain, drops)) = self.0.take() {
            let guard = domain.pin();
            let nested = domain.pin();
            retire(&domain, &drops);
            drop(guard);
            drop(nested);
            retire(&domain, &drops);
            domain.collect();
        }
    }
}

/// Pins by a reader of its own when its thread ends, and retires inside the section.
struct ReadsAtEnd(RefCell<Option<(Reader, Drops)>>);

impl Drop for ReadsAtEnd {
    fn drop(&mut self) {
        if let Some((reader, drops)) = self.0.take() {
            let _guard = reader.pin();
            retire(reader.domain(), &drops);
        }
    }
}

std::thread_local! {
    static USES: UsesAtEnd = const { UsesAtEnd(RefCell::new(None)) };
    static READS: ReadsAtEnd = const { ReadsAtEnd(RefCell::new(None)) };
    static HELD: RefCell<Option<Guard<'static>>> = const { RefCell::new(None) };
}

/// What a thread does once each; the first that pins registers the thread, and with that its record's own destructor.
#[derive(Clone, Copy, Debug)]
enum Act {
    KeepUse,
    KeepReader,
    KeepGuard,
    Pin,
}

fn act(act: Act, domain: &'static Domain, drops: &Drops) {
    match act {
        Act::KeepUse => USES.with(|slot| *slot.0.borrow_mut() = Some((domain.clone(), drops.clone()))),
        Act::KeepReader => READS.with(|slot| *slot.0.borrow_mut() = Some((domain.reader(), drops.clone()))),
        Act::KeepGuard => HELD.with(|held| *held.borrow_mut() = Some(domain.pin())),
        Act::Pin => {
            let _guard = domain.pin();
            retire(domain, drops);
        }
    }
}

/// Every order of four things.
fn orders() -> Vec<[usize; 4]> {
    let all = (0..256usize).map(|n| [n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6]);
    all.filter(|order| (0..4).all(|i| order.contains(&i))).collect()
}

#[test]
fn thread_locals_may_pin_and_retire_in_any_order_of_teardown() {
    let orders = orders();
    assert_eq!(orders.len(), 24);
    for order in orders {
        let domain: &'static Domain = Box::leak(Box::new(Domain::new()));
        let drops = Drops::default();
        let theirs = drops.clone();
        let acts = order.map(|i| [Act::KeepUse, Act::KeepReader, Act::KeepGuard, Act::Pin][i]);
        std::thread::spawn(move || acts.iter().for_each(|a| act(*a, domain, &theirs)))
            .join()
            .unwrap();
        domain.collect();
        assert_eq!(drops.count(), 4, "{acts:?}: each value dropped once");
        let stats = domain.stats();
        assert_eq!(stats.oldest_reader, None, "{acts:?}");
        assert_eq!((stats.garbage, stats.records_live), (0, 0), "{acts:?}");
    }
}

#[test]
fn thread_locals_may_use_the_shared_domain_while_others_do() {
    let drops = Drops::default();
    let theirs = drops.clone();
    std::thread::spawn(move || act(Act::KeepUse, Domain::global(), &theirs))
        .join()
        .unwrap();
    // Others share the domain: what they hold back for a moment is freed a little later.
    assert!(eventually(|| {
        Domain::global().collect();
        drops.count() == 2
    }));
}

#[test]
fn a_guard_kept_in_a_thread_local_outlives_the_record_keeper() {
    let domain: &'static Domain = Box::leak(Box::new(Domain::new()));
    let drops = Drops::default();
    let count = drops.clone();
    std::thread::spawn(move || {
        HELD.with(|held| *held.borrow_mut() = Some(domain.pin()));
        retire(domain, &count);
    })
    .join()
    .unwrap();
    domain.collect();
    assert_eq!(drops.count(), 1);
    let stats = domain.stats();
    assert_eq!(stats.oldest_reader, None);
    assert_eq!(stats.records_live, 0, "the record of the exited thread came back");
}
