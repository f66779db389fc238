//! What the probe says, beside what rings can do.

use super::drive::*;
use std::time::Duration;
use uring_core::op::{Nop, RecvLeased, Send};
use uring_core::{Options, probe};

fn has(name: &str) -> bool {
    let report = probe();
    report
        .registers
        .iter()
        .find(|c| c.name == name)
        .unwrap()
        .available
}

#[test]
fn e14_what_the_probe_says_can_be_registered_is_what_can_be() {
    let ring = clean(&Options::new().direct_files(1));
    assert_eq!(has("BUF_RING"), ring.provide_buffers(2, 64).is_ok());
    assert_eq!(has("BUF_RING_INC"), ring.provide_buffers_in_pieces(2, 64).is_ok());
    assert_eq!(has("FILE_SLOTS"), ring.direct_slots().is_ok());
    let slab = || pooled_vec::Slab::new(1, 4096, pooled_vec::AlignedOptions::new()).unwrap();
    let (one, two) = (ring.register_slab(slab()), ring.register_slab(slab()));
    assert_eq!((one.is_ok(), two.is_ok()), (true, has("BUFFERS")));
    let report = probe();
    assert!(
        report.registers.iter().all(|c| c.available != c.errno.is_some()),
        "{:?}",
        report.registers
    );
}

/// A ring that may not poll the network's queues works without, and says so.
#[test]
fn e5_busy_polling_is_an_option_that_is_reported_when_it_is_refused() {
    let ring = clean(&Options::new().busy_poll(Duration::from_micros(50)));
    let refused = ring
        .info()
        .refusals
        .iter()
        .any(|refusal| refusal.asked.contains("busy polling"));
    assert_eq!(refused, !has("BUSY_POLL"), "{}", ring.info());
    done(&ring, Nop::new()).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    let group = ring.provide_buffers(2, 64).unwrap();
    let receive = ring.submit(RecvLeased::new(far, &group)).unwrap();
    done(&ring, Send::new(near, b"polled".to_vec())).0.unwrap();
    let lease = ring.finish(receive, LONG).unwrap().unwrap().unwrap();
    assert_eq!(&lease[..], b"polled");
}
