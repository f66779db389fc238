//! A thread swaps what stands on a path while it is opened: nothing outside the root is ever opened. The same race against an
//! open without bounds does escape, so each test here could fail.

use super::ring::{Tree, all_of, read, rings, says};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use uring_core::permit::{PermitKind, Policy};

/// Exchanges two names, at one moment.
fn exchange(one: &Path, other: &Path) {
    let [one, other] = [one, other].map(|path| CString::new(path.as_os_str().as_bytes()).unwrap());
    let at = libc::AT_FDCWD;
    // SAFETY: two strings that outlive the call.
    let done = unsafe { libc::renameat2(at, one.as_ptr(), at, other.as_ptr(), libc::RENAME_EXCHANGE) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// Swaps two names without a pause while `f` runs.
fn while_swapping<R>(one: &Path, other: &Path, f: impl FnOnce() -> R) -> R {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                exchange(one, other);
            }
        });
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _over = Over(&over);
        f()
    })
}

/// More tries than any machine needs to meet both sides of a race.
const TRIES: usize = 2_000_000;

/// What came of opening until both ends were met `enough` times.
fn raced(policy: &Policy, path: &str, ring: &uring_core::LocalRing, refusals: &[PermitKind]) {
    let (mut inside, mut refused) = (0, 0);
    for _ in 0..TRIES {
        match read(ring, policy, path) {
            Ok(text) => {
                assert_eq!(text, "inside", "{path} led out of the root");
                inside += 1;
            }
            // Something moved while the kernel looked at `..`.
            Err(told) if told.errno().is_some_and(|errno| errno.number() == libc::EAGAIN) => {}
            Err(told) => {
                assert!(refusals.contains(&told.kind()), "{told}");
                refused += 1;
            }
        }
        if inside >= 300 && refused >= 300 {
            return;
        }
    }
    panic!("{path}: one side of the race was never met: {inside} opened, {refused} refused");
}

/// The cases: what is swapped for what, and the path that is opened.
const SWAPS: [(&str, &str, &str); 3] = [
    // A directory on the way, for a link out.
    ("root/d", "root/up", "d/f"),
    // The file itself, for a link to one outside.
    ("root/d/deep/f", "root/d/deep/g", "d/deep/f"),
    // A directory in the middle, for a link that goes out and would come back by `..`.
    ("root/d/deep", "root/d/around", "d/deep/f"),
];

fn swapped() -> Tree {
    let tree = Tree::new();
    tree.link("../outside", "root/up");
    tree.link("../../../outside/f", "root/d/deep/g");
    tree.link("../../outside", "root/d/around");
    tree
}

#[test]
fn c8_no_swap_of_a_link_leads_out_of_the_root() {
    for (one, other, path) in SWAPS {
        let tree = swapped();
        let policy = all_of(tree.root());
        for ring in rings() {
            while_swapping(&tree.at(one), &tree.at(other), || {
                raced(&policy, &format!("/m/{path}"), &ring, &[PermitKind::Linked]);
            });
        }
    }
}

#[test]
fn c8_no_swap_of_a_link_leads_out_of_a_root_that_follows_links() {
    for (one, other, path) in SWAPS {
        let tree = swapped();
        let policy = all_of(tree.root().follow_links());
        for ring in rings() {
            while_swapping(&tree.at(one), &tree.at(other), || {
                raced(&policy, &format!("/m/{path}"), &ring, &[PermitKind::Escapes]);
            });
        }
    }
}

/// The same races without bounds: each leads out, so the two tests above can fail.
#[test]
fn c8_without_bounds_the_same_race_leads_out() {
    for (one, other, path) in SWAPS {
        let tree = swapped();
        let path = tree.at("root").join(path);
        let [ring, _] = rings();
        let escaped = while_swapping(&tree.at(one), &tree.at(other), || {
            (0..TRIES).any(|_| {
                let open = uring_core::op::Open::new(&path, libc::O_RDONLY).unwrap();
                says(ring.block_on(ring.run(open)).unwrap().unwrap()) == "outside"
            })
        });
        assert!(escaped, "{}", path.display());
    }
}

/// The race without luck: the swap falls exactly between the decision and the open. A check of where the path leads says yes and
/// the open leads out; a grant says yes and the open is refused.
#[test]
fn c8_a_swap_between_the_decision_and_the_open_is_refused() {
    let tree = swapped();
    let (decided, turn) = sync_channel::<()>(0);
    let (swapped_now, opened) = sync_channel::<()>(0);
    let policy = all_of(tree.root());
    std::thread::scope(|scope| {
        let (one, other) = (tree.at("root/d"), tree.at("root/up"));
        scope.spawn(move || {
            while turn.recv().is_ok() {
                exchange(&one, &other);
                swapped_now.send(()).unwrap();
            }
        });
        let swap = || {
            decided.send(()).unwrap();
            opened.recv().unwrap();
        };
        let root = tree.at("root").canonicalize().unwrap();
        let path = root.join("d/f");
        assert!(path.canonicalize().unwrap().starts_with(&root), "checked: inside");
        swap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "outside",
            "and then outside"
        );
        swap();
        for ring in rings() {
            let grant = policy.grant("/m/d/f").unwrap();
            swap();
            let refused = ring.block_on(ring.run(grant.open(libc::O_RDONLY))).unwrap();
            assert_eq!(refused.unwrap_err().errno(), libc::ELOOP);
            // For what takes no bounds: the directory is refused before anything in it is touched.
            let unlinked = ring.block_on(policy.unlink(&ring, "/m/d/f")).unwrap();
            assert_eq!(unlinked.unwrap_err().kind(), PermitKind::Linked);
            assert!(tree.at("outside/f").exists());
            swap();
            let opened = ring.block_on(ring.run(grant.open(libc::O_RDONLY))).unwrap();
            assert_eq!(says(opened.unwrap()), "inside");
        }
        drop(decided);
    });
}
