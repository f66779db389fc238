//! Files, paths, slots and registered memory.

use super::*;

#[test]
fn d7_position_of_the_file_moves_only_without_an_offset() {
    agree(|rig| {
        let mut content = file(b"0123456789");
        content.rewind().unwrap();
        let fd = content.as_raw_fd();
        let (mut a, mut b, mut c) = ([0u8; 3], [0u8; 3], [0u8; 8]);
        let first = rig.all(&[read(fd, &mut a, u64::MAX, 1)], 1);
        let at = rig.all(&[read(fd, &mut b, 7, 1)], 1);
        let second = rig.all(&[read(fd, &mut c, u64::MAX, 1)], 1);
        let end = rig.all(&[read(fd, &mut [0; 4], u64::MAX, 1)], 1);
        let written = rig.all(&[write(fd, b"xy", u64::MAX, 1)], 1);
        let place = content.stream_position().unwrap();
        (first, at, second, end, written, place, a, b, c)
    });
}

#[test]
fn d7_several_buffers_are_read_and_written_in_one_go() {
    agree(|rig| {
        let content = file(b"");
        let (near, far) = UnixStream::pair().unwrap();
        let (x, y) = (b"hello ".to_vec(), b"world".to_vec());
        let vector = |bytes: &[u8]| libc::iovec {
            iov_base: bytes.as_ptr() as *mut _,
            iov_len: bytes.len(),
        };
        let out = [vector(&x), vector(&y)];
        let (a, b) = ([0u8; 4], [0u8; 16]);
        let into = [vector(&a), vector(&b)];
        let several = |opcode, fd, vectors: &[libc::iovec], user_data| Sqe {
            addr: vectors.as_ptr() as u64,
            len: vectors.len() as u32,
            ..entry(opcode, fd, user_data)
        };
        let (fd, end) = (content.as_raw_fd(), near.as_raw_fd());
        let to_file = rig.all(&[several(code::WRITEV, fd, &out, 1)], 1);
        let from_file = rig.all(&[several(code::READV, fd, &into, 2)], 1);
        let read_back = (a, b);
        let to_socket = rig.all(&[several(code::WRITEV, end, &out, 3)], 1);
        let from_socket = rig.all(&[several(code::READV, far.as_raw_fd(), &into, 4)], 1);
        // Written behind the compiler's back.
        (
            to_file,
            from_file,
            std::hint::black_box(read_back),
            to_socket,
            from_socket,
        )
    });
}

#[test]
fn b9_paths_are_made_told_about_renamed_linked_and_removed() {
    agree(|rig| {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| CString::new(dir.path().join(name).to_str().unwrap()).unwrap();
        let (a, b, c, d) = (path("a"), path("b"), path("c"), path("d"));
        let at = |name: &CString| name.as_ptr() as u64;
        let cwd = |opcode, user_data| entry(opcode, libc::AT_FDCWD, user_data);
        // SAFETY: plain numbers.
        let mut about: libc::statx = unsafe { std::mem::zeroed() };
        let steps = [
            Sqe {
                addr: at(&a),
                len: 0o700,
                ..cwd(opcode::MkDirAt::CODE, 1)
            },
            Sqe {
                addr: at(&a),
                len: 0o700,
                ..cwd(opcode::MkDirAt::CODE, 2)
            },
            Sqe {
                addr: at(&a),
                off: at(&b),
                len: libc::AT_FDCWD as u32,
                ..cwd(opcode::RenameAt::CODE, 3)
            },
            Sqe {
                addr: at(&b),
                off: at(&c),
                ..cwd(opcode::SymlinkAt::CODE, 4)
            },
            Sqe {
                addr: at(&c),
                off: at(&d),
                len: libc::AT_FDCWD as u32,
                ..cwd(opcode::LinkAt::CODE, 5)
            },
            Sqe {
                addr: at(&b),
                off: (&raw mut about) as u64,
                len: libc::STATX_BASIC_STATS,
                ..cwd(opcode::Statx::CODE, 6)
            },
            Sqe {
                addr: at(&c),
                ..cwd(opcode::UnlinkAt::CODE, 7)
            },
            Sqe {
                addr: at(&c),
                ..cwd(opcode::UnlinkAt::CODE, 8)
            },
            Sqe {
                addr: at(&b),
                op_flags: libc::AT_REMOVEDIR as u32,
                ..cwd(opcode::UnlinkAt::CODE, 9)
            },
        ];
        let told: Vec<_> = steps.iter().map(|step| rig.all(&[*step], 1)).collect();
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        (told, left, about.stx_mode & 0o170_000)
    });
}

#[test]
fn b9_space_length_and_advice_of_a_file() {
    agree(|rig| {
        let content = file(b"12345");
        let fd = content.as_raw_fd();
        let page = vec![0u8; 8192];
        let aligned = (page.as_ptr() as u64).next_multiple_of(4096);
        let told: Vec<_> = [
            Sqe {
                off: 0,
                addr: 4096,
                ..entry(opcode::Fallocate::CODE, fd, 1)
            },
            Sqe {
                off: 3,
                ..entry(opcode::Ftruncate::CODE, fd, 2)
            },
            Sqe {
                len: 3,
                op_flags: libc::POSIX_FADV_WILLNEED as u32,
                ..entry(opcode::Fadvise::CODE, fd, 3)
            },
            Sqe {
                addr: aligned,
                len: 4096,
                op_flags: libc::MADV_NORMAL as u32,
                ..entry(opcode::Madvise::CODE, -1, 4)
            },
            Sqe {
                len: 3,
                ..entry(opcode::SyncFileRange::CODE, fd, 5)
            },
            Sqe {
                op_flags: 1,
                ..entry(code::FSYNC, fd, 6)
            },
            entry(code::FSYNC, fd, 7),
        ]
        .iter()
        .map(|step| rig.all(&[*step], 1))
        .collect();
        (told, content.metadata().unwrap().len())
    });
}

#[test]
fn b9_data_moves_through_pipes() {
    agree(|rig| {
        let content = file(b"through the pipe");
        let (from, to) = pipe();
        let (from_two, to_two) = pipe();
        let splice = Sqe {
            file_index: content.as_raw_fd() as u32,
            addr: 8,
            off: u64::MAX,
            len: 8,
            ..entry(code::SPLICE, to.as_raw_fd(), 1)
        };
        let spliced = rig.all(&[splice], 1);
        let tee = Sqe {
            file_index: from.as_raw_fd() as u32,
            len: 3,
            ..entry(code::TEE, to_two.as_raw_fd(), 2)
        };
        let teed = rig.all(&[tee], 1);
        let (mut whole, mut part) = ([0u8; 16], [0u8; 16]);
        let read_whole = rig.all(&[read(from.as_raw_fd(), &mut whole, 0, 3)], 1);
        let read_part = rig.all(&[read(from_two.as_raw_fd(), &mut part, u64::MAX, 4)], 1);
        rig.send(&[read(from.as_raw_fd(), &mut [0; 4], 0, 5)]);
        rig.nothing();
        drop(to);
        let end = rig.collect(1);
        (spliced, teed, read_whole, read_part, whole, part, end)
    });
}

#[test]
fn e2_files_come_into_slots_and_leave_them() {
    agree(|rig| {
        let content = file(b"registered");
        rig.carrier.set_file(0, content.as_raw_fd()).unwrap();
        let fixed = |mut sqe: Sqe| {
            sqe.flags |= abi::SQE_FIXED_FILE;
            sqe
        };
        drop(content);
        let mut buf = [0u8; 10];
        let kept = rig.all(&[fixed(read(0, &mut buf, 0, 1))], 1);
        let path = CString::new("/proc/self/exe").unwrap();
        let open = |slot: u32, user_data| Sqe {
            addr: path.as_ptr() as u64,
            file_index: slot + 1,
            ..entry(code::OPENAT, libc::AT_FDCWD, user_data)
        };
        let opened = rig.all(&[open(3, 2)], 1);
        let magic = rig.all(&[fixed(read(3, &mut buf[..4], 0, 3))], 1);
        let outside = rig.all(&[open(500, 4)], 1);
        let close = |slot: u32| Sqe {
            file_index: slot + 1,
            ..entry(code::CLOSE, 0, 5)
        };
        let closed = rig.all(&[close(3)], 1);
        let closed_twice = rig.all(&[close(3)], 1);
        let gone = rig.all(&[fixed(read(3, &mut buf[..4], 0, 6))], 1);
        let installed = rig.all(&[fixed(entry(code::FIXED_FD_INSTALL, 0, 7))], 1);
        // SAFETY: the operation just brought it.
        drop(unsafe { OwnedFd::from_raw_fd(installed[0].1) });
        let has_one = rig.all(&[entry(code::FIXED_FD_INSTALL, 0, 8)], 1);
        (
            kept,
            opened,
            magic,
            outside,
            closed,
            has_one,
            closed_twice,
            gone,
            buf,
        )
    });
}

#[test]
fn e1_registered_buffer_is_kept_to_its_bounds() {
    agree(|rig| {
        let content = file(b"registered buffer");
        let fd = content.as_raw_fd();
        let mut memory = vec![0u8; 8192];
        let range = libc::iovec {
            iov_base: memory.as_mut_ptr().cast(),
            iov_len: 4096,
        };
        // SAFETY: the memory outlives the rig.
        unsafe { rig.carrier.set_buffer(0, Some(range)) }.unwrap();
        let start = memory.as_ptr() as u64;
        let read = |addr, len, index, user_data| Sqe {
            addr,
            len,
            buf_index: index,
            ..entry(code::READ_FIXED, fd, user_data)
        };
        let inside = rig.all(&[read(start + 8, 17, 0, 1)], 1);
        let last = rig.all(&[read(start + 4080, 16, 0, 2)], 1);
        let beyond = rig.all(&[read(start + 4080, 17, 0, 3)], 1);
        let before = rig.all(&[read(start - 1, 4, 0, 4)], 1);
        let no_such = rig.all(&[read(start, 4, 1, 5)], 1);
        (inside, last, beyond, before, no_such, memory[8..25].to_vec())
    });
}

#[test]
fn e2_any_slot_is_handed_out_until_none_is_left() {
    agree(|rig| {
        if let Err(refused) = rig.carrier.direct_slots() {
            eprintln!("not compared: {refused}");
            return vec![];
        }
        let path = CString::new("/proc/self/exe").unwrap();
        let open = Sqe {
            addr: path.as_ptr() as u64,
            file_index: abi::FILE_INDEX_ALLOC,
            ..entry(code::OPENAT, libc::AT_FDCWD, 1)
        };
        let mut told = Vec::new();
        for _ in 0..3 {
            told.extend(rig.all(&[open], 1));
        }
        let slot = told[0].1 as u32;
        let close = Sqe {
            file_index: slot + 1,
            ..entry(code::CLOSE, 0, 2)
        };
        told.extend(rig.all(&[close], 1));
        told.extend(rig.all(&[open], 1));
        let mut magic = [0u8; 4];
        told.extend(rig.all(
            &[linked(read(slot as i32, &mut magic, 0, 3), abi::SQE_FIXED_FILE)],
            1,
        ));
        assert_eq!(&magic, b"\x7fELF");
        told
    });
}
