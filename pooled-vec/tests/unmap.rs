//! Every page of a mapping is unmapped. Alone in its process: nothing else may map memory meanwhile.
#![cfg(all(target_os = "linux", not(any(loom, shuttle))))]

use pooled_vec::AlignedOptions;

const PAGE: usize = 4096;

fn mapped_pages(at: usize, len: usize) -> usize {
    (at..at + len)
        .step_by(PAGE)
        // SAFETY: asks the kernel about an address and touches nothing.
        .filter(|&page| unsafe { libc::msync(page as *mut libc::c_void, PAGE, libc::MS_ASYNC) == 0 })
        .count()
}

#[test]
fn b17_every_page_of_a_mapping_is_unmapped_whatever_its_length() {
    for (bytes, align) in [
        (1, 1),
        (4096, 4096),
        (4097, 64),
        ((2 << 20) - 1, 4096),
        ((2 << 20) + 1, 2 << 20),
        (5_000_000, 1 << 24),
    ] {
        let buffer = AlignedOptions::new()
            .align(align)
            .huge_pages(true)
            .allocate(bytes)
            .unwrap();
        let (at, len) = (buffer.as_ptr() as usize, buffer.footprint_bytes());
        assert!(len >= bytes);
        assert_eq!(mapped_pages(at, len), len.div_ceil(PAGE));
        drop(buffer);
        assert_eq!(mapped_pages(at, len), 0, "{bytes} bytes at {align}");
    }
}
