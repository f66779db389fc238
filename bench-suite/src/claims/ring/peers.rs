//! The runtimes, each set up as its documentation recommends, on the thread that is measured.

use super::echo::{self, CONNECTIONS, MESSAGE};
use super::read::{BLOCK, block_of, is_block};
use super::{DEPTH, invalid, verdict};
use crate::{Contest, Invalid, Worker};
use std::cell::Cell;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::rc::Rc;

/// Entries of a runtime's ring.
const ENTRIES: u32 = 1024;

/// What as many tasks as are in flight share: the next block to read, and what went wrong.
struct Reads {
    next: Cell<u64>,
    all: u64,
    bad: Cell<u64>,
}

impl Reads {
    fn of(n: u64) -> Rc<Self> {
        Rc::new(Self {
            next: Cell::new(0),
            all: n,
            bad: Cell::new(0),
        })
    }

    fn take(&self) -> Option<u64> {
        let turn = self.next.get();
        self.next.set(turn + 1);
        (turn < self.all).then(|| block_of(turn))
    }

    fn check(&self, read: Option<usize>, buf: &[u8], number: u64) {
        let good = read == Some(BLOCK) && is_block(buf, number);
        self.bad.set(self.bad.get() + u64::from(!good));
    }
}

/// Tasks that read with buffers of their own until there is nothing left: the loop is the same for each runtime that
/// takes a buffer and gives it back.
macro_rules! read_all {
    ($n:expr, $file:expr, $spawn:path, $join:ident) => {{
        let reads = Reads::of($n);
        let tasks: Vec<_> = (0..DEPTH)
            .map(|_| {
                let (reads, file) = (Rc::clone(&reads), Rc::clone(&$file));
                $spawn(async move {
                    let mut buf = vec![0u8; BLOCK];
                    while let Some(number) = reads.take() {
                        let (read, back) = $join!(file.read_at(buf, number * BLOCK as u64));
                        reads.check(read.ok(), &back, number);
                        buf = back;
                    }
                })
            })
            .collect();
        for task in tasks {
            // Each runtime tells of a task that panicked in its own way; what counts is counted.
            let _ = task.await;
        }
        reads.bad.get()
    }};
}

macro_rules! pair {
    ($read:expr) => {
        $read.await
    };
}

macro_rules! buf_result {
    ($read:expr) => {{
        let compio::buf::BufResult(read, buf) = $read.await;
        (read, buf)
    }};
}

fn monoio_runtime() -> Result<monoio::Runtime<monoio::IoUringDriver>, Invalid> {
    let builder = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().with_entries(ENTRIES);
    Ok(builder.build()?)
}

fn glommio_executor() -> Result<glommio::LocalExecutor, Invalid> {
    let builder = glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound);
    builder.ring_depth(ENTRIES as usize).make().map_err(invalid)
}

fn tokio_uring_runtime() -> Result<tokio_uring::Runtime, Invalid> {
    Ok(tokio_uring::Runtime::new(
        tokio_uring::builder().entries(ENTRIES),
    )?)
}

pub(super) fn add_reads<'a>(contest: &mut Contest<'a>, file: &'a File) {
    contest.peer("monoio", 1, move |w| {
        let mut runtime = monoio_runtime()?;
        let file = file.try_clone()?;
        let bad = w.measure(|n| {
            runtime.block_on(async {
                let file = Rc::new(monoio::fs::File::from_std(file).map_err(invalid)?);
                Ok::<_, Invalid>(read_all!(n, file, monoio::spawn, pair))
            })
        });
        verdict(bad?)
    });
    contest.peer("compio", 1, move |w| {
        let runtime = compio::runtime::Runtime::new()?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let bad = w.measure(|n| {
            runtime.block_on(async {
                let file = compio::fs::File::open(path).await.map_err(invalid)?;
                let file = Rc::new(file);
                use compio::io::AsyncReadAt;
                Ok::<_, Invalid>(read_all!(n, file, compio::runtime::spawn, buf_result))
            })
        });
        verdict(bad?)
    });
    contest.peer("tokio-uring", 1, move |w| {
        let runtime = tokio_uring_runtime()?;
        let file = file.try_clone()?;
        let bad = w.measure(|n| {
            runtime.block_on(async {
                let file = Rc::new(tokio_uring::fs::File::from_std(file));
                read_all!(n, file, tokio_uring::spawn, pair)
            })
        });
        verdict(bad)
    });
    contest.peer("glommio", 1, move |w| glommio_reads(w, file));
}

/// glommio lends its own buffers.
fn glommio_reads(w: &mut Worker<'_>, file: &File) -> Result<(), Invalid> {
    let executor = glommio_executor()?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let bad = w.measure(|n| {
        executor.run(async move {
            let file = glommio::io::BufferedFile::open(path).await.map_err(invalid)?;
            let file = Rc::new(file);
            let reads = Reads::of(n);
            let tasks: Vec<_> = (0..DEPTH)
                .map(|_| {
                    let (reads, file) = (Rc::clone(&reads), Rc::clone(&file));
                    glommio::spawn_local(async move {
                        while let Some(number) = reads.take() {
                            match file.read_at(number * BLOCK as u64, BLOCK).await {
                                Ok(read) => reads.check(Some(read.len()), &read, number),
                                Err(_) => reads.check(None, &[], number),
                            }
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
            Ok::<_, Invalid>(reads.bad.get())
        })
    });
    verdict(bad?)
}

pub(super) fn add_echoes(contest: &mut Contest<'_>) {
    contest.peer("tokio", 1, |w| echo::lane(w, tokio_set_up, tokio_serve));
    contest.peer("monoio", 1, |w| {
        echo::lane(w, |listener| Ok((monoio_runtime()?, listener)), monoio_serve)
    });
    contest.peer("compio", 1, |w| {
        echo::lane(
            w,
            |listener| Ok((compio::runtime::Runtime::new()?, listener)),
            compio_serve,
        )
    });
    contest.peer("tokio-uring", 1, |w| {
        echo::lane(
            w,
            |listener| Ok((tokio_uring_runtime()?, listener)),
            tokio_uring_serve,
        )
    });
    contest.peer("glommio", 1, |w| {
        echo::lane(w, |listener| Ok((glommio_executor()?, listener)), glommio_serve)
    });
}

type Listener = std::net::TcpListener;

fn tokio_set_up(listener: Listener) -> Result<(tokio::runtime::Runtime, Listener), Invalid> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    Ok((runtime, listener))
}

/// Each runtime's own traits of one name.
macro_rules! wait_for {
    ($tasks:expr) => {
        for task in $tasks {
            let _ = task.await;
        }
    };
}

fn tokio_serve((runtime, listener): (tokio::runtime::Runtime, Listener)) -> Result<(), Invalid> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let mut tasks = Vec::new();
        for _ in 0..CONNECTIONS {
            let (mut socket, _) = listener.accept().await?;
            tasks.push(tokio::spawn(async move {
                let mut buf = vec![0; MESSAGE];
                while let Ok(count @ 1..) = socket.read(&mut buf).await {
                    if socket.write_all(&buf[..count]).await.is_err() {
                        return;
                    }
                }
            }));
        }
        wait_for!(tasks);
        Ok(())
    })
}

fn monoio_serve(
    (mut runtime, listener): (monoio::Runtime<monoio::IoUringDriver>, Listener),
) -> Result<(), Invalid> {
    use monoio::buf::IoBuf;
    use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
    runtime.block_on(async {
        let listener = monoio::net::TcpListener::from_std(listener)?;
        let mut tasks = Vec::new();
        for _ in 0..CONNECTIONS {
            let (mut socket, _) = listener.accept().await?;
            tasks.push(monoio::spawn(async move {
                let mut buf = vec![0; MESSAGE];
                while let (Ok(count @ 1..), back) = socket.read(buf).await {
                    let (sent, part) = socket.write_all(back.slice(..count)).await;
                    buf = part.into_inner();
                    if sent.is_err() {
                        return;
                    }
                }
            }));
        }
        wait_for!(tasks);
        Ok(())
    })
}

fn compio_serve((runtime, listener): (compio::runtime::Runtime, Listener)) -> Result<(), Invalid> {
    use compio::buf::{BufResult, IntoInner, IoBuf};
    use compio::io::{AsyncRead, AsyncWriteExt};
    runtime.block_on(async {
        let listener = compio::net::TcpListener::from_std(listener)?;
        let mut tasks = Vec::new();
        for _ in 0..CONNECTIONS {
            let (mut socket, _) = listener.accept().await?;
            tasks.push(compio::runtime::spawn(async move {
                let mut buf = vec![0; MESSAGE];
                while let BufResult(Ok(count @ 1..), back) = socket.read(buf).await {
                    let BufResult(sent, part) = socket.write_all(back.slice(..count)).await;
                    buf = part.into_inner();
                    if sent.is_err() {
                        return;
                    }
                }
            }));
        }
        wait_for!(tasks);
        Ok(())
    })
}

fn tokio_uring_serve((runtime, listener): (tokio_uring::Runtime, Listener)) -> Result<(), Invalid> {
    use tokio_uring::buf::BoundedBuf;
    runtime.block_on(async {
        let listener = tokio_uring::net::TcpListener::from_std(listener);
        let mut tasks = Vec::new();
        for _ in 0..CONNECTIONS {
            let (socket, _) = listener.accept().await?;
            tasks.push(tokio_uring::spawn(async move {
                let mut buf = vec![0; MESSAGE];
                while let (Ok(count @ 1..), back) = socket.read(buf).await {
                    let (sent, part) = socket.write_all(back.slice(..count)).await;
                    buf = part.into_inner();
                    if sent.is_err() {
                        return;
                    }
                }
            }));
        }
        wait_for!(tasks);
        Ok(())
    })
}

/// glommio makes its listener itself; this one takes over the descriptor that the load knows.
fn glommio_serve((executor, listener): (glommio::LocalExecutor, Listener)) -> Result<(), Invalid> {
    use futures_lite::{AsyncReadExt, AsyncWriteExt};
    use std::os::fd::{FromRawFd, IntoRawFd};
    executor.run(async {
        // SAFETY: the descriptor is given up by its owner here.
        let listener = unsafe { glommio::net::TcpListener::from_raw_fd(listener.into_raw_fd()) };
        let mut tasks = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut socket = listener.accept().await.map_err(invalid)?;
            tasks.push(glommio::spawn_local(async move {
                let mut buf = vec![0; MESSAGE];
                while let Ok(count @ 1..) = socket.read(&mut buf).await {
                    if socket.write_all(&buf[..count]).await.is_err() {
                        return;
                    }
                }
            }));
        }
        wait_for!(tasks);
        Ok(())
    })
}
