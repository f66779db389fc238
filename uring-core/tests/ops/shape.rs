//! Files shaped, told about and advised on, beside the system calls that do the same.

use super::drive::*;
use pooled_vec::AlignedBuf;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use uring_core::op::{
    Fadvise, Fallocate, Ftruncate, GetXattr, GetXattrAt, Madvise, MemoryUse, Read, ReadV, SetXattr,
    SetXattrAt, Statx, SyncFileRange, Write, WriteV,
};
use uring_core::{ErrorKind, Options};

const GIB_4: u64 = 1 << 32;

/// Which error number the system call gives.
fn errno_of(result: impl Into<i64>) -> i32 {
    assert!(result.into() < 0, "the system call succeeded");
    std::io::Error::last_os_error().raw_os_error().unwrap()
}

#[test]
fn b9_vectored_transfers_fill_buffers_in_order_and_say_how_far() {
    let (ring, file) = (clean(&Options::new()), scratch());
    let parts = vec![b"ab".to_vec(), Vec::new(), b"cdef".to_vec()];
    let (written, parts) = done(&ring, WriteV::new(Arc::clone(&file), parts).at(0));
    assert_eq!((written, parts.len(), &parts[2][..]), (Ok(6), 3, &b"cdef"[..]));
    let rooms = || {
        vec![
            Vec::with_capacity(4),
            Vec::with_capacity(4),
            Vec::with_capacity(4),
        ]
    };
    let (read, got) = done(&ring, ReadV::new(Arc::clone(&file), rooms()).at(0));
    assert_eq!(
        (read, got),
        (Ok(6), vec![b"abcd".to_vec(), b"ef".to_vec(), vec![]])
    );
    // At the end of the file, with what a buffer held before.
    let (read, got) = done(&ring, ReadV::new(Arc::clone(&file), vec![b"old".to_vec()]).at(6));
    assert_eq!((read, got), (Ok(0), vec![vec![]]));
    let (read, got) = done(&ring, ReadV::new(Arc::clone(&file), Vec::<Vec<u8>>::new()).at(0));
    assert_eq!((read, got.len()), (Ok(0), 0));
    let too_many: Vec<Vec<u8>> = (0..1025).map(|_| vec![1]).collect();
    let (written, back) = done(&ring, WriteV::new(file, too_many).at(0));
    assert_eq!((written.unwrap_err().errno(), back.len()), (libc::EINVAL, 1025));
}

#[test]
fn b9_vectored_reads_from_a_pipe_are_as_short_as_what_is_there() {
    let ring = clean(&Options::new());
    let (read, write) = pipe();
    assert_eq!(done(&ring, Write::new(write, b"abc".to_vec())).0, Ok(3));
    let rooms = vec![
        Vec::with_capacity(2),
        Vec::with_capacity(2),
        Vec::with_capacity(2),
    ];
    let (count, got) = done(&ring, ReadV::new(read, rooms));
    assert_eq!((count, got), (Ok(3), vec![b"ab".to_vec(), b"c".to_vec(), vec![]]));
}

#[test]
fn b9_offsets_beyond_4_gib_reach_the_byte_they_name() {
    let (ring, file) = (clean(&Options::new()), scratch());
    let far = GIB_4 + 5;
    done(&ring, Ftruncate::new(Arc::clone(&file), far + 100)).unwrap();
    assert_eq!(file.metadata().unwrap().len(), far + 100);
    assert_eq!(
        done(&ring, Write::new(Arc::clone(&file), b"far".to_vec()).at(far)).0,
        Ok(3)
    );
    let parts = vec![b"v".to_vec(), b"w".to_vec()];
    assert_eq!(
        done(&ring, WriteV::new(Arc::clone(&file), parts).at(far + 3)).0,
        Ok(2)
    );
    let (read, buf) = done(&ring, Read::new(Arc::clone(&file), vec![0; 5]).at(far));
    assert_eq!((read, &buf[..]), (Ok(5), &b"farvw"[..]));
    let (read, buf) = done(&ring, Read::new(Arc::clone(&file), vec![9; 5]).at(5));
    assert_eq!(
        (read, &buf[..]),
        (Ok(5), &[0; 5][..]),
        "nothing was written 4 GiB lower"
    );
    done(
        &ring,
        SyncFileRange::new(Arc::clone(&file), far, 5, libc::SYNC_FILE_RANGE_WRITE),
    )
    .unwrap();
    let advice = libc::POSIX_FADV_SEQUENTIAL;
    done(&ring, Fadvise::new(Arc::clone(&file), GIB_4, GIB_4 + 1, advice)).unwrap();
    let hole = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    done(&ring, Fallocate::new(Arc::clone(&file), GIB_4, 4096).mode(hole)).unwrap();
    let (read, buf) = done(&ring, Read::new(file, vec![9; 5]).at(far));
    assert_eq!(
        (read, &buf[..]),
        (Ok(5), &[0; 5][..]),
        "the hole is where it was asked for"
    );
}

#[test]
fn b9_offset_of_minus_one_is_the_files_own_position_and_no_other_negative_is() {
    let (ring, file) = (clean(&Options::new()), scratch());
    assert_eq!(
        done(&ring, Write::new(Arc::clone(&file), b"abcdef".to_vec())).0,
        Ok(6)
    );
    let position = || {
        // SAFETY: asks for a position.
        unsafe { libc::lseek(file.as_raw_fd(), 0, libc::SEEK_CUR) }
    };
    assert_eq!(position(), 6, "a transfer without an offset moves it");
    let (read, buf) = done(&ring, Read::new(Arc::clone(&file), vec![0; 2]).at(1));
    assert_eq!(
        (read, &buf[..], position()),
        (Ok(2), &b"bc"[..], 6),
        "one with an offset does not"
    );
    assert_eq!(
        done(&ring, Write::new(Arc::clone(&file), b"g".to_vec()).at(u64::MAX)).0,
        Ok(1)
    );
    assert_eq!((position(), file.metadata().unwrap().len()), (7, 7));
    for offset in [u64::MAX - 1, 1 << 63] {
        let (read, buf) = done(&ring, Read::new(Arc::clone(&file), vec![7; 2]).at(offset));
        // SAFETY: reads into two bytes.
        let theirs = unsafe { libc::pread(file.as_raw_fd(), [0u8; 2].as_mut_ptr().cast(), 2, offset as i64) };
        assert_eq!(
            (read.unwrap_err().errno(), &buf[..]),
            (errno_of(theirs as i64), &[7, 7][..])
        );
    }
}

#[test]
fn b9_transfers_of_no_bytes_are_no_error() {
    let (ring, file) = (clean(&Options::new()), scratch());
    assert_eq!(
        done(&ring, Write::new(Arc::clone(&file), Vec::new()).at(0)).0,
        Ok(0)
    );
    assert_eq!(
        done(&ring, Read::new(Arc::clone(&file), Vec::new()).at(0)).0,
        Ok(0)
    );
    assert_eq!(
        done(&ring, Write::new(Arc::clone(&file), b"x".to_vec()).at(0)).0,
        Ok(1)
    );
    let (read, buf) = done(&ring, Read::new(file, vec![5u8; 8]).at(1));
    assert_eq!((read, buf.len()), (Ok(0), 0), "the end of the file");
}

#[test]
fn b9_space_is_reserved_released_and_cut_as_by_the_system_calls() {
    let (ring, file) = (clean(&Options::new()), scratch());
    done(&ring, Fallocate::new(Arc::clone(&file), 0, 8192)).unwrap();
    let meta = file.metadata().unwrap();
    assert_eq!(meta.len(), 8192);
    assert!(meta.blocks() >= 16, "the space is there: {}", meta.blocks());
    done(
        &ring,
        Fallocate::new(Arc::clone(&file), 8192, 8192).mode(libc::FALLOC_FL_KEEP_SIZE),
    )
    .unwrap();
    assert_eq!(file.metadata().unwrap().len(), 8192);
    done(&ring, Ftruncate::new(Arc::clone(&file), 10)).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 10);
    let refused = done(&ring, Fallocate::new(Arc::clone(&file), 0, 0)).unwrap_err();
    // SAFETY: no memory.
    let expected = errno_of(unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, 0) });
    assert_eq!(refused.errno(), expected);
    assert_eq!(
        refused.missing_operation(),
        None,
        "the kernel has it, and refused the length"
    );
    let (read, _write) = pipe();
    let refused = done(&ring, Fallocate::new(Arc::clone(&read), 0, 1)).unwrap_err();
    // SAFETY: no memory.
    let expected = errno_of(unsafe { libc::fallocate(read.as_raw_fd(), 0, 0, 1) });
    assert_eq!(refused.errno(), expected);
    let read_only = Arc::new(File::open("/proc/self/exe").unwrap());
    let refused = done(&ring, Ftruncate::new(Arc::clone(&read_only), 0)).unwrap_err();
    // SAFETY: no memory.
    let theirs = errno_of(unsafe { libc::ftruncate(read_only.as_raw_fd(), 0) });
    assert_eq!(refused.errno(), theirs);
}

#[test]
fn b9_statx_tells_what_stat_tells() {
    let (ring, dir) = (clean(&Options::new()), tempfile::tempdir().unwrap());
    let path = dir.path().join("f");
    std::fs::write(&path, b"12345").unwrap();
    std::os::unix::fs::symlink(&path, dir.path().join("l")).unwrap();
    let meta = std::fs::metadata(&path).unwrap();
    let stat = done(&ring, Statx::new(&path).unwrap()).unwrap();
    assert_eq!(
        (stat.len(), stat.stx_ino, stat.mode()),
        (5, meta.ino(), meta.mode() & 0o7777)
    );
    assert!(stat.is_file() && !stat.is_empty());
    assert!(done(&ring, Statx::new(dir.path()).unwrap()).unwrap().is_dir());
    let link = dir.path().join("l");
    assert!(done(&ring, Statx::new(&link).unwrap()).unwrap().is_file());
    assert!(
        done(&ring, Statx::new(&link).unwrap().no_follow())
            .unwrap()
            .is_symlink()
    );
    let open: Arc<OwnedFd> = Arc::new(File::open(&path).unwrap().into());
    assert_eq!(done(&ring, Statx::of(open)).unwrap().stx_ino, meta.ino());
    let base: Arc<OwnedFd> = Arc::new(File::open(dir.path()).unwrap().into());
    let sized = Statx::new("f").unwrap().within(base).mask(libc::STATX_SIZE);
    assert_eq!(done(&ring, sized).unwrap().len(), 5);
    let missing = done(&ring, Statx::new(dir.path().join("no")).unwrap()).unwrap_err();
    assert_eq!(missing.errno(), libc::ENOENT);
    assert_eq!(Statx::new("a\0b").unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn b9_attributes_are_set_got_and_refused_by_file_and_by_path() {
    let (ring, dir) = (clean(&Options::new()), tempfile::tempdir_in(".").unwrap());
    let path = dir.path().join("f");
    let file = Arc::new(File::create(&path).unwrap());
    let set = SetXattr::new(Arc::clone(&file), "user.one", b"value".to_vec()).unwrap();
    let (set, value) = done(&ring, set);
    if set.is_err_and(|error| error.kind() == ErrorKind::Unsupported) {
        eprintln!("skipped: this filesystem has no attributes");
        return;
    }
    assert_eq!((set, &value[..]), (Ok(()), &b"value"[..]));
    let get = |room| GetXattrAt::new(&path, "user.one", Vec::with_capacity(room)).unwrap();
    assert_eq!(done(&ring, get(64)), (Ok(5), b"value".to_vec()));
    assert_eq!(done(&ring, get(0)).0, Ok(5), "with no room the length is told");
    let (small, back) = done(&ring, get(2));
    assert_eq!((small.unwrap_err().errno(), back.capacity()), (libc::ERANGE, 2));
    let again = SetXattrAt::new(&path, "user.one", b"x".to_vec()).unwrap();
    let (again, _) = done(&ring, again.flags(libc::XATTR_CREATE));
    assert_eq!(again.unwrap_err().errno(), libc::EEXIST);
    let replaced = SetXattrAt::new(&path, "user.one", b"new".to_vec()).unwrap();
    assert_eq!(done(&ring, replaced).0, Ok(()));
    // By slot.
    let held = ring.adopt_file(&*file).unwrap();
    let get = GetXattr::new(held, "user.one", Vec::with_capacity(8)).unwrap();
    assert_eq!(done(&ring, get), (Ok(3), b"new".to_vec()));
    let none = GetXattr::new(file, "user.none", Vec::with_capacity(8)).unwrap();
    assert_eq!(done(&ring, none).0.unwrap_err().errno(), libc::ENODATA);
    let (error, value) = GetXattrAt::new("a\0", "user.x", vec![1u8]).unwrap_err();
    assert_eq!((error.kind(), value), (ErrorKind::InvalidInput, vec![1]));
    let (error, value) = SetXattrAt::new("a", "user\0x", vec![1u8]).unwrap_err();
    assert_eq!((error.kind(), value), (ErrorKind::InvalidInput, vec![1]));
}

#[test]
fn b9_advice_changes_nothing_and_is_refused_where_it_means_nothing() {
    let (ring, file) = (clean(&Options::new()), scratch());
    done(&ring, Fadvise::new(file, 0, 0, libc::POSIX_FADV_WILLNEED)).unwrap();
    let (read, _write) = pipe();
    let advice = libc::POSIX_FADV_RANDOM;
    let refused = done(&ring, Fadvise::new(Arc::clone(&read), 0, 0, advice)).unwrap_err();
    // SAFETY: no memory.
    let theirs = unsafe { libc::posix_fadvise(read.as_raw_fd(), 0, 0, advice) };
    assert_eq!(refused.errno(), theirs);
    let mut memory = AlignedBuf::new(64 << 10).unwrap();
    memory.fill(7);
    for usage in [
        MemoryUse::Normal,
        MemoryUse::Random,
        MemoryUse::Sequential,
        MemoryUse::WillNeed,
        MemoryUse::SmallPages,
        MemoryUse::Cold,
        MemoryUse::PageOut,
        MemoryUse::PopulateRead,
        MemoryUse::PopulateWrite,
    ] {
        let (advised, back) = done(&ring, Madvise::new(memory, usage));
        // A kernel built without huge pages knows no advice about them.
        assert!(
            advised.is_ok() || usage == MemoryUse::SmallPages,
            "{usage:?}: {advised:?}"
        );
        memory = back;
        assert!(memory.iter().all(|&byte| byte == 7), "{usage:?}");
    }
    let part = uring_core::buffer::Slice::part(memory, 8, 16).unwrap();
    assert_eq!(
        done(&ring, Madvise::new(part, MemoryUse::Normal))
            .0
            .unwrap_err()
            .errno(),
        libc::EINVAL
    );
}
