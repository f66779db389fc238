//! What outlives its ring on the real kernel: given back when it is over, and not before.
#![cfg(not(any(loom, shuttle)))]

use std::time::Duration;
use uring_core::op::Open;
use uring_core::{Core, LocalRing, Options, Ring, totals};

const COUNT: usize = 400;

fn options() -> Options {
    Options::new().depth(COUNT as u32).drain_limit(Duration::ZERO)
}

fn descriptors_below(path: &std::path::Path) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    links
        .filter_map(|link| std::fs::read_link(link.unwrap().path()).ok())
        .filter(|target| target.starts_with(path))
        .count()
}

/// Waits until everything that rings left behind is freed.
fn until_freed() {
    for _ in 0..2000 {
        if totals().abandoned.sum() == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the reaper does not free what is over");
}

/// Drops rings with opens in flight until some outlived their ring; nothing may stay open.
fn opens_of(make: impl Fn() -> Box<dyn std::ops::Deref<Target = Core>>) {
    let mut outlived = 0;
    for round in 0..1000 {
        let dir = tempfile::tempdir().unwrap();
        let ring = make();
        for i in 0..COUNT {
            // A file that may have to be made is opened by a worker of the kernel.
            let open = Open::new(dir.path().join(i.to_string()), libc::O_CREAT | libc::O_RDWR).unwrap();
            let _ = ring.submit(open).unwrap();
        }
        ring.flush().unwrap();
        drop(ring);
        outlived += totals().abandoned.sum();
        until_freed();
        assert_eq!(
            descriptors_below(dir.path()),
            0,
            "round {round}: descriptors that came late stay open"
        );
        if round >= 20 && outlived > 10 {
            return;
        }
    }
    panic!("only {outlived} opens outlived their rings");
}

#[test]
fn d7_descriptor_that_arrives_when_its_local_ring_is_gone_is_closed() {
    opens_of(|| Box::new(LocalRing::with(&options()).unwrap()));
}

#[test]
fn d7_descriptor_that_arrives_when_its_movable_ring_is_gone_is_closed() {
    opens_of(|| Box::new(Ring::with(&options()).unwrap()));
}
