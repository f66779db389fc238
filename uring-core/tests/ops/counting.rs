//! The count itself: each kind of thing that a test may leave behind is told.

use super::drive::*;
use std::any::Any;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use uring_core::Options;
use uring_core::op::{Nop, Read, RecvLeased};
use uring_core::sim::{Fault, Faults, Simulation};

/// Lives past the ring.
type Kept = Vec<Box<dyn Any>>;

/// Runs a test that leaves something behind, and gives what is said of it.
fn told(options: &Options, test: impl FnOnce(&CountedRing, &mut Kept)) -> String {
    let mut kept = Kept::new();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let ring = clean(options);
        ring.is_impatient();
        test(&ring, &mut kept);
    }));
    std::panic::set_hook(hook);
    let said = ended.expect_err("what is left behind is told");
    said.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn d7_whatever_a_test_leaves_behind_turns_it_red() {
    let options = &Options::new().depth(8);
    let says = |said: String, what: &str| assert!(said.contains(what), "{said}");
    let (near, mut far) = UnixStream::pair().unwrap();
    let near = Arc::new(near);

    let said = told(options, |ring, _| {
        let read = Read::new(Arc::clone(&near), vec![0; 8]);
        ring.submit_with(read, drop).unwrap();
    });
    says(said, "operations in flight: 1");

    let said = told(options, |ring, kept| {
        kept.push(Box::new(ring.submit(Nop::new()).unwrap()));
        ring.wait(1, LONG).unwrap();
    });
    says(said, "completions that nobody took: 1");

    let said = told(options, |ring, kept| {
        kept.push(Box::new(ring.adopt_file(&*near).unwrap()));
    });
    says(said, "slots of files: 1 are left, 0 meant to be");

    let said = told(options, |ring, _| ring.keeps_files(1));
    says(said, "slots of files: 0 are left, 1 meant to be");

    let slab = || pooled_vec::Slab::new(2, 4096, pooled_vec::AlignedOptions::new()).unwrap();
    let said = told(options, |ring, kept| {
        let registered = ring.register_slab(slab()).unwrap();
        kept.push(Box::new(registered.lease().unwrap()));
    });
    says(said, "registered slabs: 1");

    far.write_all(b"leased").unwrap();
    let said = told(options, |ring, kept| {
        let group = ring.provide_buffers(2, 64).unwrap();
        let lease = done(ring, RecvLeased::new(Arc::clone(&near), &group));
        kept.push(Box::new(lease.unwrap().unwrap()));
    });
    says(said, "groups of provided buffers: 1");

    let simulation = Simulation::new(1).faults(Faults::none().one_in(Fault::Duplicate, 1));
    let said = told(&options.clone().simulated(&simulation), |ring, _| {
        done(ring, Nop::new()).unwrap();
        done(ring, uring_core::op::Timeout::after(LONG)).unwrap();
    });
    says(said, "completions that were nobody's");
}
