//! More completions than the queue holds.

use super::kit::{Kit, finished, settle};
use std::cell::RefCell;
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;
use uring_core::op::{Accept, RecvLeased};
use uring_core::{Items, LocalRing, Multishot};

/// Has a stream submit its operation before anybody waits for an item.
fn begin<O: Multishot>(ring: &LocalRing, items: &mut Items<'_, O>) {
    assert!(
        items
            .poll_item(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    ring.flush().unwrap();
}

semantics! {
    /// io-uring#302, firewood#1522: a series of more items than the completion queue holds. Nothing is lost, whether the
    /// ring waits or only looks; where the series ends there, the rest comes with the next.
    #[test]
    fn e13_series_that_overflows_the_queue_loses_nothing(kit: &Kit) {
        for waits in [true, false] {
            let options = kit.options(2).sq_entries(4);
            let ring = uring_core::LocalRing::with(&options).unwrap();
            let (near, mut far) = kit.stream(&ring);
            let group = ring.provide_buffers(512, 1).unwrap();
            let content: Vec<u8> = (0..300u32).map(|i| i as u8).collect();
            let seen = Rc::new(RefCell::new(Vec::new()));
            let mut rounds = 0;
            while seen.borrow().len() < content.len() {
                rounds += 1;
                assert!(rounds < 3000, "{} of {}", seen.borrow().len(), content.len());
                if ring.held() == 0 {
                    let sink = Rc::clone(&seen);
                    let series = RecvLeased::new(near.clone(), &group).multishot();
                    ring.submit_each(series, move |item, _| {
                        if let Ok(Some(lease)) = item {
                            sink.borrow_mut().extend_from_slice(&lease);
                        }
                    })
                    .unwrap();
                    ring.flush().unwrap();
                }
                if rounds == 1 {
                    far.write(&content);
                }
                if waits {
                    ring.wait(1, Duration::from_millis(20)).unwrap();
                } else {
                    ring.poll().unwrap();
                    std::thread::yield_now();
                }
            }
            assert_eq!(*seen.borrow(), content, "in order, each once");
            ring.cancel_all().unwrap();
            settle(&ring);
            assert_eq!((group.leased(), ring.stats().counts().stale), (0, 0));
        }
    }

    /// A listener's stream does not end where the queue is full: the rest of a burst comes, and what comes after it.
    #[test]
    fn e13_burst_of_connections_beyond_the_queue_does_not_end_their_stream(kit: &Kit) {
        let ring = LocalRing::with(&kit.options(2).sq_entries(4)).unwrap();
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.local_addr().unwrap();
        let mut connections = ring.stream(Accept::new(Arc::clone(&listener)).multishot());
        begin(&ring, &mut connections);
        let _clients: Vec<_> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
        for taken in 0..100 {
            let came = finished(&ring, connections.next());
            came.unwrap_or_else(|| panic!("the stream ended after {taken}")).unwrap();
        }
        let _late = TcpStream::connect(address).unwrap();
        finished(&ring, connections.next()).expect("it goes on").unwrap();
        drop(connections);
        settle(&ring);
        assert_eq!((Arc::strong_count(&listener), ring.stats().counts().stale), (1, 0));
    }

    #[test]
    fn e13_stream_of_pieces_that_overflows_the_queue_goes_on_to_the_end_of_the_data(kit: &Kit) {
        let ring = LocalRing::with(&kit.options(2).sq_entries(4)).unwrap();
        let (near, mut far) = kit.stream(&ring);
        let group = ring.provide_buffers(512, 1).unwrap();
        let content: Vec<u8> = (0..300u32).map(|i| i as u8).collect();
        let mut pieces = ring.stream(RecvLeased::new(near, &group).multishot());
        begin(&ring, &mut pieces);
        far.write(&content);
        drop(far);
        let mut got = vec![];
        while let Some(lease) = finished(&ring, pieces.next()).expect("an end is told before the stream ends").unwrap() {
            got.extend_from_slice(&lease);
        }
        assert_eq!(got, content, "in order, each once");
        assert!(finished(&ring, pieces.next()).is_none());
        drop(pieces);
        settle(&ring);
        assert_eq!(group.leased(), 0);
    }

    /// Whoever takes nothing for a while finds everything there: the stream stops taking, which nobody is told as a
    /// cancellation, and goes on.
    #[test]
    fn d7_slow_consumer_of_a_connection_gets_every_piece_and_no_cancellation(kit: &Kit) {
        let ring = LocalRing::with(&kit.options(8).sq_entries(1024)).unwrap();
        let (near, mut far) = kit.stream(&ring);
        let group = ring.provide_buffers(4096, 1).unwrap();
        let mut pieces = ring.receive(near, &group);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pieces.poll_piece(&mut cx).is_pending());
        let content: Vec<u8> = (0..3000u32).map(|i| (i % 251) as u8).collect();
        for part in content.chunks(100) {
            far.write(part);
            ring.wait(1, Duration::from_millis(1)).unwrap();
            ring.poll().unwrap();
        }
        settle_cancels(&ring);
        let mut got = vec![];
        while got.len() < content.len() {
            let piece = finished(&ring, pieces.next()).expect("the data is not over");
            got.extend_from_slice(&piece.unwrap());
        }
        assert_eq!(got, content, "in order, each once");
        far.write(b"z");
        assert_eq!(&finished(&ring, pieces.next()).unwrap().unwrap()[..], b"z");
        drop(far);
        assert!(finished(&ring, pieces.next()).is_none(), "the end of the data");
        drop(pieces);
        settle(&ring);
        assert_eq!(group.leased(), 0);
    }

    /// The stream's own pause does not hide a cancellation that the caller asks for.
    #[test]
    fn d7_cancellation_asked_for_while_a_stream_stops_by_itself_is_told(kit: &Kit) {
        let ring = LocalRing::with(&kit.options(8).sq_entries(1024)).unwrap();
        let (near, mut far) = kit.stream(&ring);
        let group = ring.provide_buffers(4096, 1).unwrap();
        let mut pieces = ring.stream(RecvLeased::new(near, &group).multishot());
        begin(&ring, &mut pieces);
        let mut rounds = 0;
        while ring.stats().counts().shots < 1024 {
            rounds += 1;
            assert!(rounds < 1000, "{} pieces", ring.stats().counts().shots);
            far.write(&[7; 32]);
            ring.poll().unwrap();
        }
        ring.cancel(pieces.id().unwrap()).expect("it is in flight: its own cancellation waits for the next turn");
        let mut count = 0;
        let error = loop {
            match finished(&ring, pieces.next()).expect("an end is told before the stream ends") {
                Ok(piece) => count += piece.expect("the peer is there").len(),
                Err(error) => break error,
            }
        };
        assert!(error.is_cancelled(), "{error}");
        assert!(count >= 1024, "what came is handed out first: {count}");
        assert!(finished(&ring, pieces.next()).is_none());
        drop(pieces);
        settle(&ring);
        assert_eq!(group.leased(), 0);
    }
}

/// Waits until the stream has stopped taking by itself.
fn settle_cancels(ring: &LocalRing) {
    let counts = || ring.stats().counts();
    for _ in 0..100 {
        if counts().cancels > 0 && counts().completed > 0 {
            return;
        }
        ring.wait(1, Duration::from_millis(20)).unwrap();
    }
    panic!("the stream never stopped: {:?}", counts());
}
