//! What happens without the heap: `cargo test -p inline-error --no-default-features`.
#![cfg(not(any(loom, shuttle)))]
#![cfg(not(feature = "alloc"))]

use inline_error::{Errno, InlineString, SyscallError, SyscallKind};

const _: () = assert!(size_of::<SyscallError>() == 64 && align_of::<SyscallError>() == 64);
const _: () = assert!(size_of::<Result<(), SyscallError>>() == 64);

#[test]
fn c9_without_alloc_a_long_message_says_what_is_missing() {
    for pad in 0..4 {
        let long = "x".repeat(pad) + &"€".repeat(30);
        let error = SyscallError::new(SyscallKind::Io, format_args!("{long}"));
        assert!(error.is_cut());
        let (head, tail) = error.message().split_once("...[+").unwrap();
        let missing: usize = tail.strip_suffix(" bytes]").unwrap().parse().unwrap();
        assert!(long.starts_with(head));
        assert_eq!(head.len() + missing, long.len());
        // Context around a cut message keeps the record, and is itself never cut silently.
        assert!(error.clone().context("a").is_cut());
        assert!(error.context("b".repeat(60)).message().ends_with(" bytes]"));
    }
}

#[test]
fn c9_without_alloc_a_short_message_is_whole() {
    let error = SyscallError::new(SyscallKind::Io, format_args!("{}", "x".repeat(56))).with_errno(Errno::EIO);
    assert!(!error.is_cut() && error.is_inline());
    assert_eq!(error.message().len(), 56);
    assert_eq!(Errno::in_chain(&error), Some(Errno::EIO));
    assert_eq!(InlineString::<3>::copy_of("abc").unwrap(), "abc");
}
