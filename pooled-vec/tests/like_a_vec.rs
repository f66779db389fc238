//! What a `Vec<u8>` does, a `PooledVec` does by itself too, not only behind its `Deref`.
#![cfg(not(any(loom, shuttle)))]

use pooled_vec::{Pool, PoolConfig, PooledVec};
use std::io::{IoSlice, Write};

#[test]
fn e3_a_buffer_is_walked_extended_and_compared_like_a_vec() {
    let mut buffer = PooledVec::from(b"abc");
    let mut seen = Vec::new();
    for byte in &buffer {
        seen.push(*byte);
    }
    for byte in &mut buffer {
        *byte += 1;
    }
    buffer.extend(&[1u8, 2]);
    assert_eq!(seen, PooledVec::from("abc"));
    assert_eq!(buffer, vec![b'b', b'c', b'd', 1, 2]);
    assert_eq!(buffer, b"bcd\x01\x02");
    assert_eq!(buffer, [b'b', b'c', b'd', 1, 2]);
    assert_eq!(buffer, &b"bcd\x01\x02"[..]);
    assert_ne!(buffer, b"");
    let mut walk = buffer.into_iter();
    assert_eq!(
        (walk.len(), walk.next(), walk.next_back()),
        (5, Some(b'b'), Some(2))
    );
    assert_eq!(walk.collect::<Vec<_>>(), b"cd\x01");
}

#[test]
fn e3_a_buffer_walked_by_value_goes_home() {
    let pool = Pool::new(PoolConfig::new());
    let mut buffer = pool.get();
    buffer.extend_from_slice(b"walked");
    let address = buffer.as_ptr();
    assert_eq!(
        buffer.into_iter().rev().map(char::from).collect::<String>(),
        "deklaw"
    );
    assert_eq!(pool.get().as_ptr(), address);
}

#[test]
fn e3_a_vectored_write_takes_every_slice() {
    let mut buffer = PooledVec::from("0");
    let slices = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"c")];
    assert_eq!(buffer.write_vectored(&slices).unwrap(), 3);
    assert_eq!(buffer, b"0abc");
}

#[test]
fn e3_debug_shows_bytes_and_the_classes_there_are() {
    let pool = Pool::new(PoolConfig::new().classes(&[512, 4096]));
    assert_eq!(format!("{:?}", PooledVec::from([1, 2].as_slice())), "[1, 2]");
    let shown = format!("{pool:?}");
    assert!(
        shown.contains("[512, 4096]") && !shown.contains(&usize::MAX.to_string()),
        "{shown}"
    );
}

#[test]
#[cfg(feature = "bytes")]
fn e3_advancing_past_the_end_says_what_is_left() {
    let mut buffer = PooledVec::from("abc");
    let past_the_end = std::panic::AssertUnwindSafe(|| bytes::Buf::advance(&mut buffer, 4));
    let panic = std::panic::catch_unwind(past_the_end).unwrap_err();
    let message = panic.downcast::<String>().unwrap();
    assert_eq!(*message, "cannot advance by 4: 3 bytes are left");
    assert_eq!(bytes::Bytes::from(buffer), "abc");
}
