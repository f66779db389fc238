//! Editions that change while they are asked.

use super::ring::{Tree, all_of, rings, says};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use uring_core::permit::{Mounts, Pattern, Policy, Root, Rules};

/// The rules and mounts of an edition of this number: the one name of its parity is allowed, and there alone.
fn of_parity(odd: bool, roots: &[Root; 2]) -> (Rules, Mounts<Root>) {
    let name = if odd { "/m/odd" } else { "/m/even" };
    let rules = Rules::builder().allow(Pattern::exact(name)).build().unwrap();
    let mounts = Mounts::builder().mount("/m", roots[usize::from(odd)].clone());
    (rules, mounts.build().unwrap())
}

#[test]
fn c8_rules_and_mounts_change_together_and_each_decision_sees_one_edition() {
    let tree = Tree::new();
    let roots = ["even", "odd"].map(|name| {
        std::fs::create_dir(tree.at(name)).unwrap();
        std::fs::write(tree.at(name).join(name), name).unwrap();
        Root::open(tree.at(name)).unwrap()
    });
    let publish = |policy: &Policy, odd| {
        let (rules, mounts) = of_parity(odd, &roots);
        policy.publish(rules, mounts).unwrap()
    };
    let (rules, mounts) = of_parity(true, &roots);
    let policy = Policy::new(rules, mounts).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = [true, false]
            .map(|odd| {
                let (policy, over) = (policy.clone(), &over);
                scope.spawn(move || {
                    let ring = &rings()[0];
                    let name = if odd { "odd" } else { "even" };
                    let (mut granted, mut denied, mut last) = (0, 0, 0);
                    while !over.load(Ordering::Relaxed) || granted == 0 || denied == 0 {
                        match policy.grant(format!("/m/{name}")) {
                            Ok(grant) => {
                                assert_eq!(grant.edition() % 2 == 1, odd);
                                assert!(grant.edition() >= last, "an edition came back");
                                last = grant.edition();
                                // The mounts of another edition have no such file.
                                let open = grant.open(libc::O_RDONLY);
                                assert_eq!(says(ring.block_on(ring.run(open)).unwrap().unwrap()), name);
                                granted += 1;
                            }
                            Err(told) => {
                                assert!(told.kind().is_denied(), "{told}");
                                denied += 1;
                            }
                        }
                    }
                })
            })
            .into_iter()
            .collect();
        // Both readers must meet both parities, so publishing goes on until they have.
        let mut edition = 1;
        while edition < 2_000 || !readers.iter().all(|reader| reader.is_finished()) {
            let next = publish(&policy, edition % 2 == 0);
            assert_eq!(next, edition + 1);
            edition = next;
            over.store(edition >= 2_000, Ordering::Relaxed);
            std::thread::yield_now();
        }
    });
}

#[test]
fn c8_editions_published_at_once_have_a_number_each() {
    let tree = Tree::new();
    let policy = all_of(tree.root());
    let numbers: BTreeSet<u64> = std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let publish = || {
                        let mounts = Mounts::builder().mount("/m", tree.root()).build().unwrap();
                        policy.publish(Rules::builder().build().unwrap(), mounts).unwrap()
                    };
                    (0..100).map(|_| publish()).collect::<Vec<_>>()
                })
            })
            .collect();
        publishers
            .into_iter()
            .flat_map(|publisher| publisher.join().unwrap())
            .collect()
    });
    assert_eq!(numbers, (2..=401).collect());
    assert_eq!(policy.edition().number(), 401);
}

/// A decision stands: what was granted is opened, what is asked from then on is judged anew.
#[test]
fn c8_what_was_granted_before_is_carried_out_after() {
    let tree = Tree::new();
    let policy = all_of(tree.root());
    let granted = policy.open("/m/d/f", libc::O_RDONLY).unwrap();
    let clone = policy.clone();
    let none = Rules::builder().build().unwrap();
    assert_eq!(clone.publish(none, Mounts::builder().build().unwrap()), Ok(2));
    assert!(
        policy
            .open("/m/d/f", libc::O_RDONLY)
            .unwrap_err()
            .kind()
            .is_denied()
    );
    let [ring, _] = rings();
    assert_eq!(says(ring.block_on(ring.run(granted)).unwrap().unwrap()), "inside");
}
