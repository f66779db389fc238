//! Tokens, callbacks and futures give each completion to whom it belongs, once.

use super::kit::{Kit, LONG, done, finished, pattern, settle};
use std::cell::Cell;
use std::rc::Rc;
use uring_core::ErrorKind;
use uring_core::op::{Nop, Read, Write};

contract! {
    #[test]
    fn e13_ring_says_what_carries_it(kit: &Kit) {
        let info = kit.ring(8).info();
        assert!(info.depth >= 1 && info.sq_entries >= 8 && info.cq_entries >= 2 * info.depth, "{info}");
        assert!(!info.backend.is_empty());
    }

    #[test]
    fn d7_nops_in_every_style_complete_once_each(kit: &Kit) {
        let ring = kit.ring(8);
        let ran = Rc::new(Cell::new(0));
        let token = ring.submit(Nop::new()).unwrap();
        let count = Rc::clone(&ran);
        ring.submit_with(Nop::new(), move |ended| {
            ended.unwrap();
            count.set(count.get() + 1);
        })
        .unwrap();
        ring.finish(token, LONG).unwrap().unwrap();
        finished(&ring, ring.run(Nop::new())).unwrap();
        while ran.get() == 0 {
            ring.wait(1, LONG).unwrap();
        }
        settle(&ring);
        let counts = ring.stats().counts();
        assert_eq!((ran.get(), counts.stale, counts.failed), (1, 0, 0));
        assert_eq!((counts.submitted, counts.completed), (3, 3));
    }

    #[test]
    fn d7_reads_and_writes_of_a_file_move_the_bytes_asked_for(kit: &Kit) {
        let ring = kit.ring(8);
        let content = pattern(10_000);
        let file = kit.file(&ring, &content);
        let (read, buf) = done(&ring, Read::new(file.clone(), vec![0; 4096]).at(100));
        assert_eq!((read, &buf[..]), (Ok(4096), &content[100..4196]));
        let (read, buf) = done(&ring, Read::new(file.clone(), vec![0; 4096]).at(9_990));
        assert_eq!((read, &buf[..]), (Ok(10), &content[9_990..]), "as much as there is");
        assert_eq!(done(&ring, Read::new(file.clone(), vec![0; 64]).at(20_000)).0, Ok(0), "behind the end");
        let (written, buf) = done(&ring, Write::new(file.clone(), b"written".to_vec()).at(5_000));
        assert_eq!((written, &buf[..]), (Ok(7), &b"written"[..]));
        let (read, buf) = done(&ring, Read::new(file.clone(), Vec::with_capacity(9)).at(4_999));
        assert_eq!((read, &buf[1..8], buf[0]), (Ok(9), &b"written"[..], content[4_999]));
        assert_eq!(file.owners(), 1, "each operation gave its descriptor back");
    }

    #[test]
    fn d7_reaping_hands_each_of_many_completions_over_once(kit: &Kit) {
        let ring = kit.ring(64);
        let content = pattern(64 * 512);
        let file = kit.file(&ring, &content);
        let mut expected = std::collections::HashMap::new();
        for i in 0..64u64 {
            let read = Read::new(file.clone(), vec![0; 512]).at(i * 512);
            expected.insert(ring.submit(read).unwrap().id(), i as usize);
        }
        while !expected.is_empty() {
            assert!(ring.wait(1, LONG).unwrap() > 0 || ring.ready() > 0);
            ring.reap(|done| {
                let at = expected.remove(&done.id()).expect("each completes once") * 512;
                let (read, buf) = done.take::<Read<Vec<u8>, super::kit::Fd>>().unwrap();
                assert_eq!((read, &buf[..]), (Ok(512), &content[at..at + 512]));
            });
        }
        assert_eq!(ring.held(), 0);
    }

    #[test]
    fn d7_stream_carries_bytes_both_ways(kit: &Kit) {
        let ring = kit.ring(4);
        let (near, mut far) = kit.stream(&ring);
        let token = ring.submit(Read::new(near.clone(), vec![0; 16])).unwrap();
        ring.flush().unwrap();
        far.write(b"hello");
        let (read, buf) = ring.finish(token, LONG).unwrap();
        assert_eq!((read, &buf[..]), (Ok(5), &b"hello"[..]));
        assert_eq!(done(&ring, Write::new(near.clone(), b"answer".to_vec())).0, Ok(6));
        assert_eq!(far.read(6), b"answer");
        drop(far);
        assert_eq!(done(&ring, Read::new(near, vec![0; 16])).0, Ok(0), "the end of the stream");
    }

    #[test]
    fn d5_ring_moves_to_another_thread_with_operations_in_flight(kit: &Kit) {
        let ring = kit.movable(8);
        let (near, mut far) = kit.stream(&ring);
        let file = kit.file(&ring, &pattern(4096));
        let on_file = ring.submit(Read::new(file, vec![0; 4096]).at(0)).unwrap();
        let on_stream = ring.submit(Read::new(near, vec![0; 16])).unwrap();
        ring.flush().unwrap();
        let (ring, on_stream) = std::thread::spawn(move || {
            assert_eq!(ring.finish(on_file, LONG).unwrap(), (Ok(4096), pattern(4096)));
            (ring, on_stream)
        })
        .join()
        .unwrap();
        far.write(b"moved");
        let (read, buf) = std::thread::spawn(move || ring.finish(on_stream, LONG).unwrap()).join().unwrap();
        assert_eq!((read, &buf[..]), (Ok(5), &b"moved"[..]));
    }

    #[test]
    fn e11_stale_handle_is_an_error_and_never_touches_the_next_operation(kit: &Kit) {
        let ring = kit.ring(1);
        let first = ring.submit(Nop::new()).unwrap();
        let id = first.id();
        ring.finish(first, LONG).unwrap().unwrap();
        let (near, mut far) = kit.stream(&ring);
        let second = ring.submit(Read::new(near, vec![0; 8])).unwrap();
        assert_eq!(second.id().slot(), id.slot(), "the slot is reused");
        assert_eq!(ring.cancel(id).unwrap_err().kind(), ErrorKind::Stale);
        assert_eq!(ring.abandon(id).unwrap_err().kind(), ErrorKind::Stale);
        ring.poll().unwrap();
        far.write(b"mine");
        assert_eq!(ring.finish(second, LONG).unwrap().0, Ok(4));
    }
}
