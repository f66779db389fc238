//! Pinned buffers and slabs: whose turn it is, and what a slot's next lessee finds.
#![cfg(not(any(loom, shuttle)))]

use pooled_vec::{AlignedBuf, AlignedOptions, InKernel, PinnedBuf, Slab, leaked_bytes};
use std::sync::Mutex;

/// Tests that look at the process-wide tally of leaks.
static LEAKS: Mutex<()> = Mutex::new(());

#[test]
fn d3_the_state_said_is_the_state_set() {
    let buffer = PinnedBuf::new(4096).unwrap();
    assert!(buffer.is_available() && !buffer.is_in_use());
    let lent = buffer.lend();
    assert!(!lent.is_available() && lent.is_in_use());
    // SAFETY: nothing was submitted.
    let buffer = unsafe { lent.reclaim() };
    assert!(buffer.is_available() && !buffer.is_in_use());
}

#[test]
fn d3_pinned_memory_is_page_aligned_and_never_moves() {
    let buffer = PinnedBuf::new(10_000).unwrap();
    let address = buffer.as_non_null();
    assert_eq!(address.as_ptr() as usize % 4096, 0);
    let boxed = Box::new(buffer.lend());
    assert_eq!(boxed.as_non_null(), address);
    // SAFETY: nothing was submitted.
    let buffer = unsafe { (*boxed).reclaim() };
    assert_eq!(buffer.as_ptr(), address.as_ptr());
}

#[test]
fn d3_each_turn_of_the_kernel_counts_one() {
    let mut buffer = PinnedBuf::new(64).unwrap();
    for turn in 1..=5 {
        let lent = buffer.lend();
        assert_eq!(lent.generation(), turn);
        // SAFETY: nothing was submitted.
        buffer = unsafe { lent.reclaim() };
        assert_eq!(buffer.generation(), turn);
    }
}

#[test]
fn d3_a_completion_of_an_earlier_turn_frees_nothing() {
    let lent = PinnedBuf::new(64).unwrap().lend();
    let stale = lent.generation();
    // SAFETY: nothing was submitted.
    let lent = unsafe { lent.reclaim() }.lend();
    // SAFETY: as above.
    let lent = unsafe { lent.reclaim_turn(stale) }.unwrap_err();
    let turn = lent.generation();
    // SAFETY: as above.
    assert!(unsafe { lent.reclaim_turn(turn) }.is_ok());
}

#[test]
fn d7_a_buffer_dropped_in_the_kernels_turn_is_never_freed() {
    let _alone = LEAKS.lock().unwrap();
    let before = leaked_bytes();
    let slab = Slab::new(2, 4096, AlignedOptions::new()).unwrap();
    let lent: PinnedBuf<InKernel> = PinnedBuf::from(slab.claim().unwrap()).lend();
    let address = lent.as_non_null();
    drop(lent);
    assert_eq!(leaked_bytes() - before, 4096);
    assert_eq!(slab.available(), 1, "its slot is not leased again");
    drop(slab);
    // SAFETY: the leak holds the region, so the kernel's late write lands in memory that is nobody else's.
    unsafe { address.as_ptr().write(1) };
}

#[test]
fn slots_are_disjoint_aligned_and_come_back() {
    for (slots, bytes, align) in [
        (1, 1, 1),
        (63, 100, 64),
        (64, 4096, 4096),
        (65, 5000, 4096),
        (200, 512, 512),
    ] {
        let slab = Slab::new(slots, bytes, AlignedOptions::new().align(align)).unwrap();
        let (base, len) = slab.region();
        let mut leases: Vec<_> = std::iter::from_fn(|| slab.claim()).collect();
        assert_eq!((leases.len(), slab.available()), (slots, 0));
        for (i, lease) in leases.iter_mut().enumerate() {
            assert_eq!(lease.as_ptr() as usize, base.as_ptr() as usize + lease.offset());
            assert!(lease.offset() % align == 0 && lease.offset() + bytes <= len);
            lease.fill(i as u8);
        }
        for (i, lease) in leases.iter().enumerate() {
            assert!(
                lease.iter().all(|&b| b == i as u8),
                "slot {i} is its lessee's alone"
            );
        }
        drop(leases);
        assert_eq!(slab.available(), slots);
    }
}

#[test]
fn a_slab_of_no_slots_or_of_absurd_size_is_no_panic() {
    assert!(
        Slab::new(0, 4096, AlignedOptions::new())
            .unwrap()
            .claim()
            .is_none()
    );
    assert!(
        Slab::new(3, 0, AlignedOptions::new())
            .unwrap()
            .claim()
            .unwrap()
            .is_empty()
    );
    assert!(Slab::new(usize::MAX, 4096, AlignedOptions::new()).is_err());
    assert!(Slab::new(1, usize::MAX, AlignedOptions::new()).is_err());
    assert!(Slab::new(1, 64, AlignedOptions::new().align(0)).is_err());
}

#[test]
fn a_slots_turns_go_on_over_its_leases() {
    let slab = Slab::new(1, 64, AlignedOptions::new()).unwrap();
    for turn in 1..10 {
        let lent = PinnedBuf::from(slab.claim().unwrap()).lend();
        assert_eq!(
            lent.generation(),
            turn,
            "a late completion of an earlier lessee's is told apart"
        );
        assert_eq!(lent.slot(), Some((0, 0)));
        // SAFETY: nothing was submitted.
        drop(unsafe { lent.reclaim() });
    }
}

#[test]
fn a_lease_keeps_the_region_after_its_slab() {
    let slab = Slab::new(4, 4096, AlignedOptions::new()).unwrap();
    let mut lease = slab.claim().unwrap();
    drop(slab);
    lease.fill(3);
    std::thread::spawn(move || assert!(lease.iter().all(|&b| b == 3)))
        .join()
        .unwrap();
}

#[test]
fn threads_never_share_a_slot() {
    let slab = Slab::new(70, 64, AlignedOptions::new()).unwrap();
    std::thread::scope(|s| {
        for thread in 0..4u8 {
            let slab = slab.clone();
            s.spawn(move || {
                for _ in 0..5_000 {
                    let mut lease = slab.claim().expect("70 slots for 4 threads");
                    lease.fill(thread);
                    assert!(lease.iter().all(|&b| b == thread));
                }
            });
        }
    });
    assert_eq!(slab.available(), 70);
}

#[test]
fn pinned_buffers_cross_threads() {
    fn sound<T: Send + Sync + 'static>() {}
    sound::<PinnedBuf>();
    sound::<PinnedBuf<InKernel>>();
    sound::<Slab>();
    let _ = PinnedBuf::from(AlignedBuf::new(1).unwrap());
}
