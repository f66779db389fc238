//! Aligned memory: where it lies, what it is made of, how it is refused.
#![cfg(not(any(loom, shuttle)))]

use pooled_vec::{ALIGN_MAX, AlignedBuf, AlignedOptions, BufferError, Pages};

#[test]
fn d4_any_power_of_two_is_honoured_and_freed_with_its_own_layout() {
    let mut align = 1;
    while align <= 8 << 20 {
        for bytes in [0, 1, 511, 4096, 4097] {
            let mut buffer = AlignedBuf::with_align(bytes, align).unwrap();
            assert_eq!(buffer.as_ptr() as usize % align, 0);
            assert_eq!((buffer.len(), buffer.align()), (bytes, align));
            assert!(buffer.iter().all(|&b| b == 0));
            buffer.fill(0xa5);
            let mapped = AlignedOptions::new()
                .align(align)
                .huge_pages(true)
                .allocate(bytes)
                .unwrap();
            assert_eq!(mapped.as_ptr() as usize % align, 0);
            assert!(mapped.footprint_bytes() >= bytes && mapped.pages() != Pages::Heap);
        }
        align *= 2;
    }
}

#[test]
fn d4_a_wrong_alignment_is_an_error_with_the_value() {
    for align in [0, 3, 4095, ALIGN_MAX * 2, usize::MAX] {
        let error = AlignedBuf::with_align(64, align).unwrap_err();
        assert_eq!(error, BufferError::InvalidAlignment { align });
        assert!(error.to_string().contains(&align.to_string()));
    }
}

#[test]
fn d4_too_large_a_size_is_an_error_with_the_value() {
    for bytes in [usize::MAX, isize::MAX as usize] {
        for huge in [false, true] {
            let error = AlignedOptions::new()
                .huge_pages(huge)
                .allocate(bytes)
                .unwrap_err();
            assert!(
                matches!(error, BufferError::SizeTooLarge { bytes: b, .. } if b == bytes),
                "{error}"
            );
        }
    }
}

#[test]
fn d4_a_node_that_cannot_be_had_is_an_error_with_the_value() {
    let error = AlignedOptions::new()
        .numa_node(Some(900))
        .allocate(1)
        .unwrap_err();
    assert!(
        matches!(error, BufferError::NumaFailed { node: 900, .. }),
        "{error:?}"
    );
    let io = std::io::Error::from(error);
    assert!(io.to_string().contains("node 900"), "{io}");
}

#[test]
fn d4_a_refused_allocation_is_an_error_with_the_value() {
    let bytes = 1 << 60;
    for huge in [false, true] {
        let error = AlignedOptions::new()
            .huge_pages(huge)
            .allocate(bytes)
            .unwrap_err();
        assert!(
            matches!(error, BufferError::AllocationFailed { bytes: b, .. } if b == bytes),
            "{error}"
        );
        assert!(error.is_retryable());
    }
}

#[test]
fn b17_huge_pages_fall_back_and_sizes_need_not_be_whole_pages() {
    for bytes in [1, 4096, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, 5_000_000] {
        let mut buffer = AlignedOptions::new().huge_pages(true).allocate(bytes).unwrap();
        buffer.fill(7);
        assert_eq!(buffer.len(), bytes);
        match buffer.pages() {
            Pages::Huge => assert!(buffer.footprint_bytes().is_multiple_of(2 << 20)),
            Pages::Base => assert!(buffer.huge_refused().is_some(), "the fall-back says why"),
            Pages::Heap => panic!("huge pages are never the allocator's"),
        }
    }
}

#[test]
fn a11_node_zero_works_where_the_kernel_allows_mbind() {
    for huge in [false, true] {
        match AlignedOptions::new()
            .numa_node(Some(0))
            .huge_pages(huge)
            .allocate(10_000)
        {
            Ok(mut buffer) => {
                buffer.fill(1);
                assert_eq!(node_of(buffer.as_ptr()), Some(0));
            }
            Err(error) => {
                assert!(
                    matches!(error.errno(), Some(libc::EPERM | libc::ENOSYS)),
                    "{error}"
                );
                println!("NOTICE: mbind is refused here: {error}");
            }
        }
    }
}

/// The node that the kernel put a page on.
fn node_of(at: *const u8) -> Option<i32> {
    let mut node = -1i32;
    const F_NODE_AT_ADDRESS: u64 = 1 | 2;
    // SAFETY: writes one int, and looks at an address that the caller owns.
    let done = unsafe {
        libc::syscall(
            libc::SYS_get_mempolicy,
            &mut node,
            0usize,
            0usize,
            at,
            F_NODE_AT_ADDRESS,
        )
    };
    (done == 0).then_some(node)
}

#[test]
fn a11_a_node_out_of_range_is_a_clear_error() {
    for node in [63, 1023, 1024, u32::MAX] {
        let error = AlignedOptions::new()
            .numa_node(Some(node))
            .allocate(4096)
            .unwrap_err();
        assert!(
            matches!(error, BufferError::NumaFailed { node: n, .. } if n == node),
            "{error:?}"
        );
        let text = error.to_string();
        assert!(
            text.contains(&format!("node {node}")) && text.contains("node"),
            "{text}"
        );
    }
}

#[test]
fn b16_a_refused_lock_surfaces_with_the_limit() {
    match AlignedOptions::new().locked(true).allocate(10_000) {
        Ok(buffer) => {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let locked = status.lines().find(|line| line.starts_with("VmLck")).unwrap();
            assert!(!locked.contains(" 0 kB"), "{locked}");
            drop(buffer);
        }
        Err(error) => assert!(matches!(error, BufferError::LockFailed { .. }), "{error}"),
    }
}

#[test]
fn aligned_buffers_cross_threads() {
    fn sound<T: Send + Sync + 'static>() {}
    sound::<AlignedBuf>();
    let buffer = AlignedBuf::new(100).unwrap();
    std::thread::spawn(move || drop(buffer)).join().unwrap();
}

#[test]
fn d4_a_footprint_counts_what_the_alignment_costs() {
    let buffer = AlignedBuf::with_align(100, 1 << 20).unwrap();
    assert_eq!(buffer.footprint_bytes(), 100 + (1 << 20));
    assert_eq!(AlignedBuf::with_align(100, 8).unwrap().footprint_bytes(), 100);
}
