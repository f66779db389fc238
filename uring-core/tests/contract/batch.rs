//! What a batch promises, on every carrier.

use super::kit::{Fd, Kit, LONG, Peer};
use crate::counted::settle;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::fs::File;
use std::future::Future;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;
use uring_core::abi::Sqe;
use uring_core::batch::{Batch, BatchError, Cause, Fate, NODES_MAX, Node, Results};
use uring_core::op::{Nop, Raw, Read, ReadV, Recv, Splice, Tee, Timeout, Within, Write, WriteV};
use uring_core::{Core, ErrorKind, Operation};

type Append = Write<Vec<u8>, Fd>;

/// A file that takes no write.
fn sealed() -> Fd {
    Fd::Real(Arc::new(File::open("/proc/self/exe").unwrap().into()))
}

fn size(file: &Fd) -> u64 {
    let file = file.as_fd().try_clone_to_owned().unwrap();
    File::from(file).metadata().unwrap().len()
}

fn run(ring: &Core, batch: Batch) -> Results {
    ring.block_on(ring.run_batch(batch).unwrap()).unwrap()
}

/// Writes one byte after another, each only if the one before it was written; the one at `broken` goes to a file that
/// takes none.
fn chain(kit: &Kit, ring: &Core, length: usize, broken: Option<usize>) -> (Batch, Vec<Node<Append>>, Fd) {
    let (good, bad) = (kit.file(ring, b""), sealed());
    let mut batch = Batch::with_capacity(length);
    let mut nodes: Vec<Node<Append>> = Vec::new();
    for at in 0..length {
        let to = if broken == Some(at) { &bad } else { &good };
        let write = Write::new(to.clone(), vec![at as u8]).at(at as u64);
        let node = batch.add(write).unwrap();
        if let Some(&before) = nodes.last() {
            batch.needs(node, before).unwrap();
        }
        nodes.push(node);
    }
    (batch, nodes, good)
}

type Hanging = (
    Batch,
    Peer,
    Node<Append>,
    Node<Read<Vec<u8>, Fd>>,
    Node<Append>,
    Fd,
);

/// A chain that hangs in its second operation: nothing comes from the socket.
fn hanging(kit: &Kit, ring: &Core) -> Hanging {
    let (near, far) = kit.stream(ring);
    let file = kit.file(ring, b"");
    let mut batch = Batch::new();
    let first = batch.add(Write::new(file.clone(), vec![1]).at(0)).unwrap();
    let read = batch.add(Read::new(near, Vec::with_capacity(8))).unwrap();
    let last = batch.add(Write::new(file.clone(), vec![2]).at(1)).unwrap();
    batch.needs(read, first).unwrap();
    batch.needs(last, read).unwrap();
    (batch, far, first, read, last, file)
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Writes,
    Fails,
    ReadsShort,
    Nothing,
}

/// What each operation of a batch does, and which waits for which, for its success or its end.
type Graph = (Vec<Kind>, Vec<(usize, usize, bool)>);

fn graphs() -> impl Strategy<Value = Graph> {
    let kind = prop_oneof![
        4 => Just(Kind::Writes),
        1 => Just(Kind::Fails),
        1 => Just(Kind::ReadsShort),
        2 => Just(Kind::Nothing),
    ];
    let edge = (0usize..20, 0usize..20, any::<bool>());
    (
        prop::collection::vec(kind, 1..20),
        prop::collection::vec(edge, 0..40),
    )
}

/// Real operations in a graph end as they would one after the other.
fn ends_as_one_after_the_other(kit: &Kit, depth: u32, (kinds, edges): Graph) -> Result<(), TestCaseError> {
    let ring = kit.ring(depth);
    let (good, bad) = (kit.file(&ring, b"x"), sealed());
    let mut batch = Batch::new();
    // Nodes of different types: by place, with a type erased in a closure that ties it to another.
    let mut order: Vec<(usize, usize, bool)> = Vec::new();
    let mut writes: Vec<Option<Node<Append>>> = Vec::new();
    let mut nops = Vec::new();
    let mut reads = Vec::new();
    for kind in &kinds {
        let (mut write, mut nop, mut read) = (None, None, None);
        match kind {
            Kind::Writes => write = Some(batch.add(Write::new(good.clone(), vec![1]).at(0)).unwrap()),
            Kind::Fails => write = Some(batch.add(Write::new(bad.clone(), vec![1]).at(0)).unwrap()),
            Kind::ReadsShort => {
                read = Some(batch.add(Read::new(good.clone(), vec![0; 64]).at(0)).unwrap());
            }
            Kind::Nothing => nop = Some(batch.add(Nop::new()).unwrap()),
        }
        writes.push(write);
        nops.push(nop);
        reads.push(read);
    }
    for (a, b, needs) in edges {
        let (from, to) = (a.min(b), a.max(b));
        if from == to || to >= kinds.len() {
            continue;
        }
        order.push((from, to, needs));
        macro_rules! tie {
            ($later:expr, $earlier:expr) => {
                if let (Some(later), Some(earlier)) = ($later, $earlier) {
                    let tied = if needs {
                        batch.needs(later, earlier)
                    } else {
                        batch.follows(later, earlier)
                    };
                    tied.unwrap();
                }
            };
        }
        tie!(writes[to], writes[from]);
        tie!(writes[to], nops[from]);
        tie!(writes[to], reads[from]);
        tie!(nops[to], writes[from]);
        tie!(nops[to], nops[from]);
        tie!(nops[to], reads[from]);
        tie!(reads[to], writes[from]);
        tie!(reads[to], nops[from]);
        tie!(reads[to], reads[from]);
    }
    let results = run(&ring, batch);
    let mut expected: Vec<bool> = Vec::new();
    for (at, kind) in kinds.iter().enumerate() {
        let broken = order
            .iter()
            .any(|&(from, to, needs)| to == at && needs && !expected[from]);
        let fate = results.fates()[at];
        if broken {
            prop_assert!(
                matches!(fate, Fate::Skipped(Cause::Dependency(_))),
                "{at}: {fate:?}"
            );
        } else {
            match kind {
                Kind::Writes => prop_assert_eq!(fate, Fate::Done(1)),
                Kind::Nothing => prop_assert_eq!(fate, Fate::Done(0)),
                Kind::Fails => prop_assert!(matches!(fate, Fate::Failed(_)), "{at}: {fate:?}"),
                Kind::ReadsShort => {
                    prop_assert_eq!(fate, Fate::Short { got: 1, wanted: 64 });
                }
            }
        }
        expected.push(fate.is_success());
    }
    Ok(())
}

contract! {
    #[test]
    fn d2_chains_of_every_length_break_where_one_fails_and_give_results_in_order(kit: &Kit) {
        let ring = kit.ring(64);
        for length in 1..=32 {
            for broken in (0..length).map(Some).chain([None]) {
                let (batch, nodes, good) = chain(kit, &ring, length, broken);
                let mut results = run(&ring, batch);
                let end = broken.unwrap_or(length);
                assert_eq!(size(&good), end as u64, "{length} {broken:?}");
                assert_eq!(results.is_success(), broken.is_none());
                for (at, &node) in nodes.iter().enumerate() {
                    assert_eq!(node.index(), at);
                    let fate = results.fates()[at];
                    let (written, buffer) = results.take(node).unwrap();
                    assert_eq!(buffer, [at as u8], "every buffer comes back");
                    match at.cmp(&end) {
                        std::cmp::Ordering::Less => assert_eq!((fate, written), (Fate::Done(1), Ok(1))),
                        std::cmp::Ordering::Equal => {
                            assert!(matches!(fate, Fate::Failed(error) if error.errno() == libc::EBADF));
                            assert_eq!(written.unwrap_err().errno(), libc::EBADF);
                        }
                        std::cmp::Ordering::Greater => {
                            assert_eq!(fate, Fate::Skipped(Cause::Dependency(at - 1)));
                            assert_eq!(written.unwrap_err().kind(), ErrorKind::Cancelled);
                        }
                    }
                }
                settle(&ring);
            }
        }
    }

    #[test]
    fn d2_the_largest_batch_works_and_one_more_is_an_error(kit: &Kit) {
        let ring = kit.ring(64);
        let mut batch = Batch::new();
        let nodes: Vec<_> = (0..NODES_MAX).map(|_| batch.add(Nop::new()).unwrap()).collect();
        let refused = batch.add(Timeout::after(LONG)).unwrap_err();
        assert_eq!(refused.error, BatchError::Full);
        assert!(refused.to_string().contains("1024"));
        // All behind the first, in a line, and across: more edges than nodes.
        for pair in nodes.windows(2) {
            batch.needs(pair[1], pair[0]).unwrap();
        }
        for node in &nodes[1..] {
            batch.follows(*node, nodes[0]).unwrap();
        }
        let mut results = run(&ring, batch);
        assert!(results.is_success() && results.fates().len() == NODES_MAX);
        assert!(nodes.iter().all(|&node| results.take(node) == Some(Ok(()))));
        assert!(results.take(nodes[0]).is_none(), "taken once");
    }

    #[test]
    fn d2_what_another_ring_knows_is_refused(kit: &Kit) {
        let (here, there) = (kit.ring(4), kit.ring(4));
        there.keeps_files(1);
        let fixed = there.register_file(&kit.file(&there, b"")).unwrap();
        let mut batch = Batch::new();
        batch.add(Nop::new()).unwrap();
        let write = batch.add(Write::new(fixed, vec![1])).unwrap();
        let refused = here.run_batch(batch).unwrap_err();
        assert_eq!(refused.error, BatchError::OtherRing(1));
        let mut results = run(&there, refused.value);
        assert_eq!(results.take(write).unwrap().0, Ok(1));
    }

    #[test]
    fn d2_a_short_read_breaks_the_chain_and_says_so(kit: &Kit) {
        let ring = kit.ring(8);
        let file = kit.file(&ring, b"short");
        let mut batch = Batch::new();
        let read = batch
            .add(Read::new(file.clone(), vec![0; 64]).at(0))
            .unwrap();
        let write = batch
            .add(Write::new(file.clone(), b"never".to_vec()).at(0))
            .unwrap();
        batch.needs(write, read).unwrap();
        let after = batch.add(Nop::new()).unwrap();
        batch.follows(after, write).unwrap();
        let mut results = run(&ring, batch);
        assert_eq!(results.fates()[0], Fate::Short { got: 5, wanted: 64 });
        assert_eq!(results.fates()[1], Fate::Skipped(Cause::Dependency(0)));
        assert_eq!(results.fates()[2], Fate::Done(0), "an order is no condition");
        let (read, buffer) = results.take(read).unwrap();
        assert_eq!((read, &buffer[..]), (Ok(5), &b"short"[..]));
    }

    #[test]
    fn d2_an_entry_that_the_kernel_refuses_costs_only_what_needs_it(kit: &Kit) {
        let ring = kit.ring(8);
        let file = kit.file(&ring, b"");
        let mut batch = Batch::new();
        let write = batch.add(Write::new(file.clone(), vec![7]).at(0)).unwrap();
        // SAFETY: names no memory, and no kernel has this operation.
        let unknown = unsafe { Raw::new(Sqe::new(255, -1), ()) };
        let unknown = batch.add(unknown).unwrap();
        let last = batch.add(Nop::new()).unwrap();
        batch.needs(unknown, write).unwrap();
        batch.needs(last, unknown).unwrap();
        let mut results = run(&ring, batch);
        assert_eq!(results.fates()[0], Fate::Done(1));
        assert!(matches!(results.fates()[1], Fate::Failed(_)));
        assert_eq!(results.fates()[2], Fate::Skipped(Cause::Dependency(1)));
        assert_eq!(results.take(write).unwrap().0, Ok(1));
        assert_eq!(size(&file), 1);
    }

    #[test]
    fn d1_completions_of_other_operations_are_never_swallowed(kit: &Kit) {
        let ring = kit.ring(64);
        let called = std::rc::Rc::new(std::cell::Cell::new(0));
        for round in 0..50u8 {
            let token = ring.submit(Nop::new()).unwrap();
            let count = std::rc::Rc::clone(&called);
            ring.submit_with(Nop::new(), move |_| count.set(count.get() + 1))
                .unwrap();
            let (batch, nodes, _) = chain(kit, &ring, 5, None);
            let other = ring.run(Nop::new());
            let (results, other) = ring
                .block_on(async {
                    let results = ring.run_batch(batch).unwrap().await;
                    (results, other.await)
                })
                .unwrap();
            assert!(
                results.is_success() && other.is_ok() && nodes.len() == 5,
                "{round}"
            );
            assert_eq!(ring.finish(token, LONG).unwrap(), Ok(()));
        }
        assert_eq!(called.get(), 50);
        settle(&ring);
    }

    #[test]
    fn d2_cancelled_half_way_gives_every_buffer_back(kit: &Kit) {
        let ring = kit.ring(8);
        let (batch, far, first, read, last, file) = hanging(kit, &ring);
        let mut future = ring.run_batch(batch).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut future).poll(&mut cx).is_pending());
        ring.wait(1, LONG).unwrap();
        future.cancel();
        let mut results = ring.block_on(future).unwrap();
        assert_eq!(results.fates()[0], Fate::Done(1));
        assert_eq!(results.fates()[1], Fate::Skipped(Cause::Cancelled));
        assert_eq!(results.fates()[2], Fate::Skipped(Cause::Cancelled));
        assert_eq!(results.take(first).unwrap().1, [1]);
        assert_eq!(results.take(read).unwrap().1.capacity(), 8);
        assert_eq!(results.take(last).unwrap().1, [2]);
        assert_eq!(size(&file), 1);
        settle(&ring);
        drop(far);
    }

    #[test]
    fn d2_dropped_half_way_cancels_and_frees_everything(kit: &Kit) {
        let ring = kit.ring(8);
        let (batch, mut far, .., file) = hanging(kit, &ring);
        let mut future = ring.run_batch(batch).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut future).poll(&mut cx).is_pending());
        ring.wait(1, LONG).unwrap();
        drop(future);
        settle(&ring);
        assert_eq!(file.owners(), 1, "no operation holds it");
        assert!(far.is_hung_up(), "the descriptor was closed");
    }

    #[test]
    fn d2_forgotten_half_way_is_safe(kit: &Kit) {
        let ring = kit.uncounted(8);
        let (batch, far, .., file) = hanging(kit, &ring);
        let mut future = ring.run_batch(batch).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut future).poll(&mut cx).is_pending());
        std::mem::forget(future);
        ring.wait(1, LONG).unwrap();
        drop(ring);
        drop((far, file));
    }

    #[test]
    fn d2_a_deadline_ends_what_hangs(kit: &Kit) {
        let ring = kit.ring(8);
        let (mut batch, far, first, read, ..) = hanging(kit, &ring);
        batch.deadline(Duration::from_millis(20));
        let mut results = run(&ring, batch);
        assert_eq!(results.fates()[1], Fate::Skipped(Cause::Deadline));
        assert_eq!(results.fates()[2], Fate::Skipped(Cause::Deadline));
        assert_eq!(results.take(first).unwrap().0, Ok(1));
        assert_eq!(results.take(read).unwrap().1.capacity(), 8);
        settle(&ring);
        drop(far);

        let (mut batch, _, _) = chain(kit, &ring, 3, None);
        batch.deadline(LONG);
        assert!(run(&ring, batch).is_success());
        // The clock that was not needed is cancelled, not waited for.
        settle(&ring);
    }

    #[test]
    fn d2_fail_fast_stops_what_does_not_depend_on_the_failure(kit: &Kit) {
        let ring = kit.ring(16);
        let (near, far) = kit.stream(&ring);
        let mut batch = Batch::new();
        batch.fail_fast();
        let hangs = batch.add(Read::new(near, vec![0; 8])).unwrap();
        let fails = batch.add(Write::new(sealed(), vec![1]).at(0)).unwrap();
        let late = batch.add(Nop::new()).unwrap();
        batch.follows(late, hangs).unwrap();
        let mut results = run(&ring, batch);
        assert_eq!(results.fates()[0], Fate::Skipped(Cause::FailFast(1)));
        assert_eq!(results.fates()[2], Fate::Skipped(Cause::FailFast(1)));
        assert_eq!(results.take(hangs).unwrap().1.len(), 8);
        assert_eq!(results.take(fails).unwrap().0.unwrap_err().errno(), libc::EBADF);
        drop(far);

        // Run to the end, only what needs the failure is skipped.
        let mut batch = Batch::new();
        let fails = batch.add(Write::new(sealed(), vec![1]).at(0)).unwrap();
        let skipped = batch.add(Nop::new()).unwrap();
        batch.needs(skipped, fails).unwrap();
        let runs = batch.add(Nop::new()).unwrap();
        let mut results = run(&ring, batch);
        assert_eq!(
            results.fates()[1..],
            [Fate::Skipped(Cause::Dependency(0)), Fate::Done(0)]
        );
        assert_eq!(results.take(runs), Some(Ok(())));
    }

    #[test]
    fn d2_a_small_ring_runs_a_large_batch(kit: &Kit) {
        for depth in [1, 2, 3, 7] {
            let ring = kit.ring(depth);
            let (mut batch, nodes, good) = chain(kit, &ring, 40, None);
            let across = batch.add(Nop::new()).unwrap();
            batch.follows(across, nodes[20]).unwrap();
            for _ in 0..20 {
                batch.add(Nop::new()).unwrap();
            }
            let results = run(&ring, batch);
            assert!(results.is_success(), "depth {depth}: {results:?}");
            assert_eq!(size(&good), 40);
        }
    }

    #[test]
    fn d2_a_full_ring_is_waited_for(kit: &Kit) {
        let ring = kit.ring(4);
        let (near, mut far) = kit.stream(&ring);
            let tokens: Vec<_> = (0..4)
            .map(|_| ring.submit(Read::new(near.clone(), vec![0; 1])).unwrap())
            .collect();
        let (batch, _, good) = chain(kit, &ring, 3, None);
        let mut future = ring.run_batch(batch).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut future).poll(&mut cx).is_pending());
        assert_eq!(size(&good), 0);
        far.write(b"four");
        let results = ring
            .block_on(async {
                let mut tokens = tokens;
                std::future::poll_fn(|cx| {
                    // Somebody else's operations end and are taken; then there is room.
                    for token in std::mem::take(&mut tokens) {
                        assert_eq!(ring.finish(token, LONG).unwrap().0, Ok(1));
                    }
                    Pin::new(&mut future).poll(cx)
                })
                .await
            })
            .unwrap();
        assert!(results.is_success());
        assert_eq!(size(&good), 3);
    }

    #[test]
    fn d2_operations_with_a_limit_of_their_own_and_waits_for_time_are_members_too(kit: &Kit) {
        let ring = kit.ring(8);
        let (near, far) = kit.stream(&ring);
        let mut batch = Batch::new();
        let pause = batch.add(Timeout::after(Duration::from_millis(1))).unwrap();
        let limited = batch
            .add(Within::new(Duration::from_millis(5), Read::new(near, vec![0; 8])))
            .unwrap();
        batch.needs(limited, pause).unwrap();
        let after = batch.add(Nop::new()).unwrap();
        batch.follows(after, limited).unwrap();
        let mut results = run(&ring, batch);
        assert_eq!(
            results.fates()[0],
            Fate::Done(0),
            "time that passes is no failure"
        );
        assert_eq!(results.take(pause), Some(Ok(())));
        assert_eq!(
            results.take(limited).unwrap().0.unwrap_err().kind(),
            ErrorKind::Cancelled
        );
        assert_eq!(results.fates()[2], Fate::Done(0));
        drop(far);
    }

    #[test]
    fn d2_the_callers_own_cancellation_of_a_member_is_not_undone(kit: &Kit) {
        let ring = kit.ring(8);
        let (near, far) = kit.stream(&ring);
            let mut batch = Batch::new();
        let read = batch.add(Read::new(near.clone(), vec![0; 8])).unwrap();
        let behind = batch.add(Nop::new()).unwrap();
        batch.needs(behind, read).unwrap();
        let mut future = ring.run_batch(batch).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut future).poll(&mut cx).is_pending());
        ring.flush().unwrap();
        assert_eq!(ring.cancel_fd(near.as_fd()), Ok(1));
        let results = ring.block_on(future).unwrap();
        assert!(matches!(results.fates()[0], Fate::Failed(error) if error.kind() == ErrorKind::Cancelled));
        assert_eq!(results.fates()[1], Fate::Skipped(Cause::Dependency(0)));
        drop(far);
    }

    #[test]
    fn d2_a_random_graph_ends_as_one_after_the_other_would(kit: &Kit) {
        let config = ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() };
        TestRunner::new(config)
            .run(&(1u32..16, graphs()), |(depth, graph)| ends_as_one_after_the_other(kit, depth, graph))
            .unwrap();
    }
}

/// By whatever way bytes are moved.
mod shortfalls {
    use super::*;

    /// Runs an operation that falls short, in a chain, and gives what became of it and of what needs it.
    fn short<O: Operation + std::fmt::Debug>(ring: &Core, op: O) -> [Fate; 2] {
        let mut batch = Batch::new();
        let first = batch.add(op).unwrap();
        let second = batch.add(Nop::new()).unwrap();
        batch.needs(second, first).unwrap();
        let results = run(ring, batch);
        [results.fates()[0], results.fates()[1]]
    }

    fn one<O: Operation + std::fmt::Debug>(op: O) -> Batch {
        let mut batch = Batch::new();
        batch.add(op).unwrap();
        batch
    }

    semantics! {
        /// Whatever it is by which an operation moves bytes: the kernel breaks the chain, and the batch says that it was short.
        #[test]
        fn d2_every_transfer_that_falls_short_breaks_the_chain_and_says_so(kit: &Kit) {
            let ring = kit.ring(8);
            let file = kit.file(&ring, b"short");
            let skipped = Fate::Skipped(Cause::Dependency(0));
            let fell = |got, wanted| [Fate::Short { got, wanted }, skipped];
            let rooms = || vec![vec![0; 3], vec![], vec![0; 7]];
            assert_eq!(short(&ring, ReadV::new(file.clone(), rooms()).at(0)), fell(5, 10));
            assert_eq!(short(&ring, Read::new(file.clone(), vec![0; 8]).at(1)), fell(4, 8));
            let pipe = || {
                let (read, write) = std::io::pipe().unwrap();
                (Fd::Real(Arc::new(read.into())), Fd::Real(Arc::new(write.into())))
            };
            let (read, write) = pipe();
            let (_keep, into) = pipe();
            assert_eq!(run(&ring, one(Write::new(write.clone(), b"abc".to_vec()))).fates(), [Fate::Done(3)]);
            assert_eq!(short(&ring, Tee::new(read.clone(), into.clone(), 64)), fell(3, 64));
            assert_eq!(short(&ring, Splice::new(read.clone(), into, 64)), fell(3, 64));
            // As much as was asked for is no shortfall.
            let whole = vec![b"a".to_vec(), b"bc".to_vec()];
            assert_eq!(short(&ring, WriteV::new(write, whole)), [Fate::Done(3), Fate::Done(0)]);
            assert_eq!(short(&ring, Splice::new(read, file, 3).to_offset(0)), [Fate::Done(3), Fate::Done(0)]);
            // A stream that ends before what was asked for in whole.
            let (near, mut far) = kit.stream(&ring);
            far.write(b"end");
            drop(far);
            assert_eq!(short(&ring, Recv::new(near, vec![0; 8]).whole()), fell(3, 8));
        }
    }
}
