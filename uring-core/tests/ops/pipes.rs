//! Data moved and copied through pipes without a buffer of ours.

use super::drive::*;
use std::sync::Arc;
use uring_core::op::{Read, Splice, Tee, Write};
use uring_core::{ErrorKind, LocalRing, Options};

fn read(ring: &LocalRing, from: impl uring_core::op::IoFd, room: usize) -> Vec<u8> {
    let (count, buf) = done(ring, Read::new(from, Vec::with_capacity(room)));
    assert_eq!(count, Ok(buf.len()));
    buf
}

#[test]
fn b9_splice_moves_and_tee_copies() {
    let ring = clean(&Options::new());
    let (a_read, a_write) = pipe();
    let (b_read, b_write) = pipe();
    done(&ring, Write::new(a_write, b"abcdef".to_vec())).0.unwrap();
    assert_eq!(
        done(&ring, Tee::new(Arc::clone(&a_read), Arc::clone(&b_write), 4)),
        Ok(4)
    );
    assert_eq!(read(&ring, Arc::clone(&b_read), 64), b"abcd");
    assert_eq!(
        done(&ring, Splice::new(Arc::clone(&a_read), b_write, 64)),
        Ok(6),
        "nothing was taken by the copy"
    );
    assert_eq!(read(&ring, b_read, 64), b"abcdef");
    assert_eq!(
        done(&ring, Splice::new(a_read, pipe().1, 64)),
        Ok(0),
        "no writer is left: the end"
    );
}

#[test]
fn b9_splice_takes_offsets_and_registered_files_on_both_sides() {
    let (ring, file) = (clean(&Options::new()), scratch());
    let far = (1u64 << 32) + 3;
    done(&ring, Write::new(Arc::clone(&file), b"beyond".to_vec()).at(far))
        .0
        .unwrap();
    let (out, into) = pipe();
    let (file_slot, into_slot) = (ring.adopt_file(&*file).unwrap(), ring.adopt_file(&*into).unwrap());
    assert_eq!(
        done(&ring, Splice::new(file_slot, into_slot, 6).from_offset(far)),
        Ok(6)
    );
    let copy = scratch();
    let moved = Splice::new(Arc::clone(&out), Arc::clone(&copy), 6).to_offset(far);
    assert_eq!(done(&ring, moved), Ok(6));
    let (count, buf) = done(&ring, Read::new(copy, vec![0; 6]).at(far));
    assert_eq!((count, &buf[..]), (Ok(6), &b"beyond"[..]));
    let refused = done(&ring, Splice::new(out, Arc::clone(&file), 1).from_offset(0)).unwrap_err();
    assert_eq!(refused.errno(), libc::ESPIPE, "a pipe has no offset");
    let refused = done(&ring, Splice::new(Arc::clone(&file), file, 1)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput, "neither is a pipe");
}
