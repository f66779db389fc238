//! A ring under executors that know nothing of it: driven by its poll descriptor alone.
#![cfg(all(feature = "tokio", feature = "futures-io", not(any(loom, shuttle))))]

use std::cell::Cell;
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, Interest, ReadBuf};
use uring_core::adapt::AsyncStream;
use uring_core::buffer::BufGroup;
use uring_core::op::{Accept, Nop, Read, RecvLeased, Timeout};
use uring_core::{Core, Driver, LocalRing, Options, Ring, RingRef, Rung};

const LONG: Duration = Duration::from_secs(10);
const ROUNDS: usize = 50;

fn local(depth: u32) -> Rc<LocalRing> {
    Rc::new(LocalRing::with(&Options::new().depth(depth)).unwrap())
}

/// How tokio waits for a ring's descriptor.
fn by_tokio(ring: &Core) -> impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>> + Send + use<> {
    let fd = ring.poll_fd().unwrap().try_clone_to_owned().unwrap();
    // SAFETY: an `OwnedFd` stays the same open descriptor.
    let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.unwrap();
    move |cx| {
        ready!(fd.poll_read_ready(cx))?.clear_ready();
        Poll::Ready(Ok(()))
    }
}

/// How async-io waits for it, on the thread of its reactor.
fn by_async_io(ring: &Core) -> impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>> + Send + use<> {
    let fd = ring.poll_fd().unwrap().try_clone_to_owned().unwrap();
    let fd = async_io::Async::new_nonblocking(fd).unwrap();
    move |cx| fd.poll_readable(cx)
}

/// Says what it hears, through a ring, until the other side has said all it wanted; then says how much that was.
async fn answer<R: RingRef>(ring: R, socket: UnixStream) -> usize {
    let mut stream = AsyncStream::socket(ring, Arc::new(socket));
    let (mut total, mut buf) = (0, [0; 300]);
    loop {
        let count = stream.read(&mut buf).await.unwrap();
        if count == 0 {
            stream.shutdown().await.unwrap();
            return total;
        }
        stream.write_all(&buf[..count]).await.unwrap();
        stream.flush().await.unwrap();
        total += count;
    }
}

/// The other side, on a thread that blocks: one message at a time, so that each needs a wake-up.
fn ask(mut socket: UnixStream) -> std::thread::JoinHandle<()> {
    socket.set_read_timeout(Some(LONG)).unwrap();
    std::thread::spawn(move || {
        use std::io::Read as _;
        for round in 0..ROUNDS {
            let message = [round as u8; 100];
            socket.write_all(&message).unwrap();
            let mut back = [0; 100];
            socket.read_exact(&mut back).unwrap();
            assert_eq!(back, message);
        }
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(socket.read(&mut [0; 1]).unwrap(), 0);
    })
}

/// Runs some work beside the driver; the driver never ends.
async fn beside<F: Future>(driver: impl Future<Output = uring_core::Error>, work: F) -> F::Output {
    let driven = async {
        let error = driver.await;
        panic!("the ring failed: {error}")
    };
    futures_lite::future::or(work, driven).await
}

#[test]
fn d7_polling_on_any_executor_works_futures_executor() {
    let ring = local(8);
    let (near, far) = UnixStream::pair().unwrap();
    let asking = ask(far);
    let driver = Driver::new(Rc::clone(&ring), by_async_io(&ring));
    let total = futures_executor::block_on(beside(driver, answer(Rc::clone(&ring), near)));
    assert_eq!(total, ROUNDS * 100);
    asking.join().unwrap();
}

#[test]
fn d7_polling_on_any_executor_works_local_pool_of_tasks() {
    use futures_executor::LocalPool;
    use futures_lite::future::FutureExt as _;
    let ring = local(64);
    let mut pool = LocalPool::new();
    let tasks = futures_executor::LocalPool::spawner(&pool);
    let driver = Driver::new(Rc::clone(&ring), by_async_io(&ring));
    spawn(
        &tasks,
        async move { panic!("the ring failed: {}", driver.await) }.boxed_local(),
    );
    let (done, mut asking) = (Rc::new(Cell::new(0)), Vec::new());
    for _ in 0..10 {
        let (near, far) = UnixStream::pair().unwrap();
        asking.push(ask(far));
        let (ring, done) = (Rc::clone(&ring), Rc::clone(&done));
        spawn(
            &tasks,
            async move {
                let total = answer(ring, near).await;
                done.set(done.get() + total)
            }
            .boxed_local(),
        );
    }
    // The pool ends when this does; it is woken by nothing but the tasks' own progress.
    let waiting = Rc::clone(&ring);
    pool.run_until(async move {
        while done.get() < 10 * ROUNDS * 100 {
            waiting
                .run(Timeout::after(Duration::from_millis(1)))
                .await
                .unwrap();
        }
    });
    asking.into_iter().for_each(|thread| thread.join().unwrap());
}

fn spawn(spawner: &futures_executor::LocalSpawner, task: Pin<Box<dyn Future<Output = ()>>>) {
    use futures_task::LocalSpawn;
    spawner.spawn_local_obj(task.into()).unwrap();
}

#[test]
fn d7_polling_on_any_executor_works_async_io() {
    let ring = local(8);
    let (near, far) = UnixStream::pair().unwrap();
    let asking = ask(far);
    let driver = Driver::new(Rc::clone(&ring), by_async_io(&ring));
    let total = async_io::block_on(beside(driver, answer(Rc::clone(&ring), near)));
    assert_eq!(total, ROUNDS * 100);
    asking.join().unwrap();
}

/// On every rung: each tells of completions by other flags.
#[test]
fn d7_polling_on_any_executor_works_tokio_current_thread() {
    for rung in Rung::ALL {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let ring = Rc::new(LocalRing::with(&Options::new().depth(64).highest_rung(rung)).unwrap());
            let driver = tokio::task::spawn_local(Driver::new(Rc::clone(&ring), by_tokio(&ring)));
            let mut tasks = Vec::new();
            for _ in 0..10 {
                let (near, far) = UnixStream::pair().unwrap();
                let asking = ask(far);
                tasks.push((tokio::task::spawn_local(answer(Rc::clone(&ring), near)), asking));
            }
            for (task, asking) in tasks {
                assert_eq!(task.await.unwrap(), ROUNDS * 100);
                asking.join().unwrap();
            }
            driver.abort();
        });
    }
}

#[test]
fn d7_polling_on_any_executor_works_tokio_multi_thread() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_io()
        .build()
        .unwrap();
    // A ring that stays: on the thread that blocks on the runtime, beside its workers.
    runtime.block_on(async {
        let ring = local(8);
        let (near, far) = UnixStream::pair().unwrap();
        let asking = ask(far);
        let driver = Driver::new(&*ring, by_tokio(&ring));
        assert_eq!(beside(driver, answer(&*ring, near)).await, ROUNDS * 100);
        asking.join().unwrap();
    });
    // A ring that moves: owned by the stream that a task owns, wherever the runtime runs it.
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let (near, far) = UnixStream::pair().unwrap();
            let asking = ask(far);
            (runtime.spawn(answer_anywhere(near)), asking)
        })
        .collect();
    for (task, asking) in tasks {
        let (total, threads) = runtime.block_on(task).unwrap();
        assert_eq!(total, ROUNDS * 100);
        assert!(threads >= 1);
        asking.join().unwrap();
    }
}

/// As `answer`, by a task that owns its ring and turns it itself. Gives the number of threads it was polled on, too.
async fn answer_anywhere(socket: UnixStream) -> (usize, usize) {
    let ring = Ring::with(&Options::new().depth(4)).unwrap();
    let mut readable = by_tokio(&ring);
    let mut stream = AsyncStream::socket(ring, Arc::new(socket));
    let mut threads = std::collections::HashSet::new();
    let (mut total, mut buf) = (0, [0; 300]);
    loop {
        let count = std::future::poll_fn(|cx| {
            threads.insert(std::thread::current().id());
            let mut space = ReadBuf::new(&mut buf);
            loop {
                if Pin::new(&mut stream).poll_read(cx, &mut space)?.is_ready() {
                    return Poll::Ready(io::Result::Ok(space.filled().len()));
                }
                let held = stream.ring().ready() + stream.ring().held();
                if let Poll::Ready(error) = stream.ring().poll_turns(cx, &mut readable) {
                    return Poll::Ready(Err(error.into()));
                }
                if stream.ring().ready() + stream.ring().held() == held {
                    return Poll::Pending;
                }
            }
        })
        .await
        .unwrap();
        if count == 0 {
            return (total, threads.len());
        }
        // Accepted at once; the next read sees to it.
        assert_eq!(stream.write(&buf[..count]).await.unwrap(), count);
        total += count;
        tokio::task::yield_now().await;
    }
}

/// No executor at all: epoll, and callbacks.
#[test]
fn d7_polling_on_any_executor_works_plain_epoll() {
    let ring = local(8);
    // SAFETY: makes a descriptor or fails.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    assert!(epoll >= 0);
    // SAFETY: just made, owned by nobody else.
    let epoll: OwnedFd = unsafe { std::os::fd::FromRawFd::from_raw_fd(epoll) };
    let mut event = libc::epoll_event {
        events: libc::EPOLLIN as u32,
        u64: 7,
    };
    let fd = ring.poll_fd().unwrap().as_raw_fd();
    // SAFETY: both descriptors are open, the event is read in the call.
    let added = unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) };
    assert_eq!(added, 0);
    let (near, far) = UnixStream::pair().unwrap();
    let near = Arc::new(near);
    let heard = Rc::new(Cell::new(0));
    let talking = std::thread::spawn(move || {
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(1));
            (&far).write_all(b"x").unwrap();
        }
    });
    let listen = |heard: &Rc<Cell<usize>>| {
        let heard = Rc::clone(heard);
        let read = Read::new(Arc::clone(&near), vec![0; 1]);
        ring.submit_with(read, move |(read, _)| heard.set(heard.get() + read.unwrap()))
            .unwrap();
        ring.flush().unwrap();
    };
    for want in 1..=20 {
        listen(&heard);
        while heard.get() < want {
            // SAFETY: room for one event.
            let ready =
                unsafe { libc::epoll_wait(epoll.as_raw_fd(), &raw mut event, 1, LONG.as_millis() as i32) };
            assert_eq!((ready, event.u64), (1, 7), "the ring said nothing");
            ring.poll().unwrap();
        }
        assert_eq!(heard.get(), want);
    }
    talking.join().unwrap();
}

/// Each connection that a multishot accept brings is served by a multishot receive, both as streams.
async fn serve(ring: &LocalRing, group: &BufGroup, listener: TcpListener, clients: usize) -> Vec<u8> {
    use futures_lite::StreamExt;
    let mut connections = ring.stream(Accept::new(Arc::new(listener)).multishot());
    let mut heard = Vec::new();
    for _ in 0..clients {
        let socket = StreamExt::next(&mut connections).await.unwrap().unwrap();
        let mut pieces = ring.stream(RecvLeased::new(Arc::new(socket), group).multishot());
        while let Some(Some(piece)) = StreamExt::next(&mut pieces).await.transpose().unwrap() {
            heard.extend_from_slice(&piece);
        }
    }
    heard
}

#[test]
fn e13_multishot_streams_work_under_a_foreign_executor() {
    for foreign in [false, true] {
        let ring = local(16);
        let group = ring.provide_buffers(8, 64).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let talking = std::thread::spawn(move || {
            for client in 0..3u8 {
                let mut socket = std::net::TcpStream::connect(address).unwrap();
                for _ in 0..10 {
                    socket.write_all(&[client; 30]).unwrap();
                    std::thread::sleep(Duration::from_micros(300));
                }
            }
        });
        let expected: Vec<u8> = (0..3u8).flat_map(|client| [client; 300]).collect();
        let heard = if foreign {
            let driver = Driver::new(&*ring, by_async_io(&ring));
            futures_executor::block_on(beside(driver, serve(&ring, &group, listener, 3)))
        } else {
            ring.block_on(serve(&ring, &group, listener, 3)).unwrap()
        };
        assert_eq!(heard, expected);
        talking.join().unwrap();
        ring.poll().unwrap();
        assert_eq!(group.leased(), 0);
    }
}

#[test]
fn e13_a_driver_submits_what_many_tasks_queued_in_one_call() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let ring = local(128);
        let driver = tokio::task::spawn_local(Driver::new(Rc::clone(&ring), by_tokio(&ring)));
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let ring = Rc::clone(&ring);
                tokio::task::spawn_local(async move {
                    for _ in 0..10 {
                        ring.run(Nop::new()).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        driver.abort();
        let counts = ring.stats().counts();
        assert_eq!(counts.completed, 1000);
        assert!(
            counts.enters < 200,
            "{} system calls for 1000 operations",
            counts.enters
        );
    });
}

/// A future that is dropped under a foreign executor is cancelled, though nobody waits for it.
#[test]
fn d7_a_future_dropped_under_a_foreign_executor_is_cancelled() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let ring = local(4);
        let driver = tokio::task::spawn_local(Driver::new(Rc::clone(&ring), by_tokio(&ring)));
        let (near, _far) = UnixStream::pair().unwrap();
        let near = Arc::new(near);
        let reading = ring.run(Read::new(Arc::clone(&near), vec![0; 8]));
        tokio::time::timeout(Duration::from_millis(5), reading)
            .await
            .unwrap_err();
        let mut turns = 0;
        while ring.held() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            turns += 1;
            assert!(turns < 5000, "the cancellation was never submitted");
        }
        assert_eq!(Arc::strong_count(&near), 1);
        driver.abort();
    });
}

/// A future that always wakes itself does not keep the ring from bringing what it waits for.
#[test]
fn e10_a_future_that_yields_does_not_starve_the_ring() {
    let ring = local(4);
    let brought = Rc::new(Cell::new(false));
    let flag = Rc::clone(&brought);
    ring.submit_with(Nop::new(), move |_| flag.set(true)).unwrap();
    let mut polls = 0;
    ring.block_on(std::future::poll_fn(|cx| {
        polls += 1;
        assert!(polls < 1_000_000, "the ring was never turned");
        if brought.get() {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }))
    .unwrap();
}

#[test]
fn e13_a_driver_whose_descriptor_fails_says_so() {
    let ring = local(2);
    let driver = Driver::new(&*ring, |_: &mut Context<'_>| {
        Poll::Ready(Err(io::Error::from_raw_os_error(libc::EBADF)))
    });
    let mut driver = pin!(driver);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let Poll::Ready(error) = driver.as_mut().poll(&mut cx) else {
        panic!("an error is an end")
    };
    assert_eq!(error.errno(), libc::EBADF);
    assert!(ring.poll_fd().unwrap().as_fd().as_raw_fd() >= 0);
}
