//! Names, the shape of files, and files that have a slot of the ring and no descriptor.

use super::kit::{Kit, LONG, done};
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use uring_core::op::{
    Accept, Close, Direct, Fallocate, Ftruncate, Install, Link, Mkdir, Open, Read, ReadV, Rename, Send,
    Statx, Symlink, Unlink, Write, WriteV,
};
use uring_core::{Core, Error, ErrorKind};

fn errno<T: std::fmt::Debug>(result: Result<T, Error>) -> i32 {
    result.unwrap_err().errno()
}

fn open_exe(ring: &Core) -> uring_core::file::DirectFd {
    let open = Open::new("/proc/self/exe", libc::O_RDONLY).unwrap();
    done(ring, Direct::into(open, ring.reserve_slot().unwrap())).unwrap()
}

contract! {
    #[test]
    fn b9_names_are_made_moved_and_removed_everywhere(kit: &Kit) {
        let (ring, dir) = (kit.ring(4), tempfile::tempdir().unwrap());
        let at = |name: &str| dir.path().join(name);
        done(&ring, Mkdir::new(at("d")).unwrap()).unwrap();
        assert_eq!(errno(done(&ring, Mkdir::new(at("d")).unwrap())), libc::EEXIST);
        std::fs::write(at("d/f"), b"12345").unwrap();
        done(&ring, Link::new(at("d/f"), at("hard")).unwrap()).unwrap();
        done(&ring, Symlink::new("hard", at("soft")).unwrap()).unwrap();
        assert_eq!(done(&ring, Statx::new(at("soft")).unwrap()).unwrap().len(), 5);
        assert!(done(&ring, Statx::new(at("soft")).unwrap().no_follow()).unwrap().is_symlink());
        assert_eq!(errno(done(&ring, Rename::new(at("hard"), at("soft")).unwrap().no_replace())), libc::EEXIST);
        done(&ring, Rename::new(at("hard"), at("moved")).unwrap()).unwrap();
        assert_eq!(errno(done(&ring, Unlink::new(at("hard")).unwrap())), libc::ENOENT);
        assert_eq!(errno(done(&ring, Unlink::directory(at("d")).unwrap())), libc::ENOTEMPTY);
        for name in ["d/f", "soft", "moved"] {
            done(&ring, Unlink::new(at(name)).unwrap()).unwrap();
        }
        done(&ring, Unlink::directory(at("d")).unwrap()).unwrap();
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
    }

    #[test]
    fn b9_files_are_shaped_and_filled_beyond_4_gib_everywhere(kit: &Kit) {
        let ring = kit.ring(4);
        let file = kit.file(&ring, b"");
        let far = (1u64 << 32) + 7;
        done(&ring, Ftruncate::new(file.clone(), far + 10)).unwrap();
        done(&ring, Fallocate::new(file.clone(), far, 10)).unwrap();
        let (written, _) = done(&ring, WriteV::new(file.clone(), vec![b"ab".to_vec(), vec![], b"c".to_vec()]).at(far));
        assert_eq!(written, Ok(3));
        let (read, parts) = done(&ring, ReadV::new(file.clone(), vec![vec![0; 1], vec![0; 9]]).at(far + 1));
        assert_eq!((read, parts), (Ok(9), vec![b"b".to_vec(), b"c\0\0\0\0\0\0\0".to_vec()]));
        assert_eq!(done(&ring, Read::new(file.clone(), vec![9; 3]).at(7)), (Ok(3), vec![0; 3]));
        assert_eq!(errno(done(&ring, Fallocate::new(file, 0, 0))), libc::EINVAL);
    }

    #[test]
    fn e2_files_live_in_slots_that_are_used_again_everywhere(kit: &Kit) {
        let ring = kit.ring(4);
        let mut slots = std::collections::BTreeSet::new();
        for round in 0..20 {
            let file = open_exe(&ring);
            slots.insert(file.slot());
            let file = Arc::new(file);
            assert_eq!(done(&ring, Read::new(Arc::clone(&file), vec![0; 4]).at(0)), (Ok(4), b"\x7fELF".to_vec()));
            if round % 2 == 0 {
                done(&ring, Close::direct(Arc::into_inner(file).unwrap())).unwrap();
            }
            let missing = Open::new("/no/such/file", libc::O_RDONLY).unwrap();
            assert_eq!(errno(done(&ring, Direct::into(missing, ring.reserve_slot().unwrap()))), libc::ENOENT);
        }
        assert!(slots.len() <= 8, "{slots:?}");
        let held = Arc::new(open_exe(&ring));
        let fd: OwnedFd = done(&ring, Install::new(Arc::clone(&held))).unwrap();
        assert!(fd.as_raw_fd() >= 0);
        drop(held);
        assert_eq!(done(&ring, Read::new(fd, vec![0; 4]).at(0)).1, b"\x7fELF");
        let all: Vec<_> = (0..8).map(|_| open_exe(&ring)).collect();
        assert_eq!(ring.reserve_slot().unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(all);
        ring.poll().unwrap();
        assert!(ring.reserve_slot().is_ok());
    }

    #[test]
    fn e2_slots_that_the_carrier_picks_run_out_and_come_back_everywhere(kit: &Kit) {
        let ring = kit.with_direct_files(4, 2);
        let slots = ring.direct_slots().unwrap();
        let open = || Direct::anywhere(Open::new("/proc/self/exe", libc::O_RDONLY).unwrap(), &slots);
        for _ in 0..5 {
            let (a, b) = (done(&ring, open()).unwrap(), done(&ring, open()).unwrap());
            assert!(a.slot() != b.slot() && a.slot() >= 8 && b.slot() >= 8);
            assert_eq!(errno(done(&ring, open())), libc::ENFILE);
            assert_eq!(done(&ring, Read::new(a, vec![0; 4]).at(0)).0, Ok(4));
            drop(b);
            ring.poll().unwrap();
        }
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = done(&ring, Direct::anywhere(Accept::new(listener), &slots)).unwrap();
        assert_eq!(done(&ring, Send::new(accepted, b"slot".to_vec())).0, Ok(4));
        ring.poll().unwrap();
        client.set_read_timeout(Some(LONG)).unwrap();
        let mut got = Vec::new();
        // The slot was closed with its last holder, so that the stream ends.
        client.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"slot");
        assert_eq!(done(&ring, Write::new(kit.file(&ring, b""), vec![1]).at(0)).0, Ok(1));
    }
}
