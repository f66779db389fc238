//! A server that sends back what it receives, beside the barest one and beside runtimes.
//!
//! The load comes from a thread on another CPU: 64 connections, one message of 1 KiB under way on each, checked byte for
//! byte when it is back. A lane is charged the CPU time of the server's thread alone.

use super::{DEPTH, invalid};
use crate::machine::pin_to;
use crate::{Contest, Invalid, Row, Task, Worker, online_cpus};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::thread::JoinHandle;

#[path = "../../../../uring-core/examples/echo.rs"]
mod example;
mod raw;

pub(super) const CONNECTIONS: usize = 64;
pub(super) const MESSAGE: usize = 1024;
const PATIENCE_MS: i32 = 20_000;

/// One connection of the load.
struct Client {
    socket: TcpStream,
    /// The message under way, what came back of it, and how many more there will be.
    message: [u8; MESSAGE],
    back: [u8; MESSAGE],
    got: usize,
    left: u64,
}

impl Client {
    fn connect(address: SocketAddr, left: u64) -> Result<Self, Invalid> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let client = Self {
            socket,
            message: [0; MESSAGE],
            back: [0; MESSAGE],
            got: 0,
            left,
        };
        Ok(client)
    }

    /// Sends the next message; the socket has room for it, since the last one is back.
    fn say(&mut self) -> Result<(), Invalid> {
        for (at, word) in self.message.chunks_exact_mut(8).enumerate() {
            word.copy_from_slice(&(self.left * 1_000_003 + at as u64).to_ne_bytes());
        }
        self.got = 0;
        self.socket.write_all(&self.message)?;
        Ok(())
    }

    /// Takes what is there; says whether this was the end of the last message.
    fn hear(&mut self) -> Result<bool, Invalid> {
        match self.socket.read(&mut self.back[self.got..])? {
            0 => return Err(invalid("the server hung up")),
            count => self.got += count,
        }
        if self.got < MESSAGE {
            return Ok(false);
        }
        if self.back != self.message {
            return Err(invalid("an echo differs from what was said"));
        }
        self.left -= 1;
        if self.left > 0 {
            self.say()?;
        }
        Ok(self.left == 0)
    }
}

/// Connects, says `messages` messages in all, and hangs up.
pub(super) fn load(address: SocketAddr, messages: u64) -> JoinHandle<Result<(), Invalid>> {
    std::thread::spawn(move || {
        let cpus = online_cpus();
        pin_to(cpus[1 % cpus.len()]);
        let each = messages / CONNECTIONS as u64;
        let more = (messages % CONNECTIONS as u64) as usize;
        let mut clients = (0..CONNECTIONS)
            .map(|at| Client::connect(address, each + u64::from(at < more)))
            .collect::<Result<Vec<_>, _>>()?;
        converse(&mut clients)
    })
}

fn converse(clients: &mut [Client]) -> Result<(), Invalid> {
    // SAFETY: makes a descriptor or fails.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if epoll < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: just made, owned by nobody else.
    let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
    let mut talking = 0;
    for (at, client) in clients
        .iter_mut()
        .enumerate()
        .filter(|(_, client)| client.left > 0)
    {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: at as u64,
        };
        let fd = client.socket.as_raw_fd();
        // SAFETY: both descriptors are open; the event is read in the call.
        if unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) } < 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        client.say()?;
        talking += 1;
    }
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; CONNECTIONS];
    while talking > 0 {
        // SAFETY: room for as many events.
        let ready = unsafe {
            libc::epoll_wait(
                epoll.as_raw_fd(),
                events.as_mut_ptr(),
                CONNECTIONS as i32,
                PATIENCE_MS,
            )
        };
        if ready <= 0 {
            return Err(invalid("an echo never came"));
        }
        for event in &events[..ready as usize] {
            talking -= usize::from(clients[event.u64 as usize].hear()?);
        }
    }
    Ok(())
}

/// A listener, and the load that comes to it once `serve` runs on the clock.
pub(super) fn lane<S>(
    w: &mut Worker<'_>,
    set_up: impl FnOnce(TcpListener) -> Result<S, Invalid>,
    serve: impl FnOnce(S) -> Result<(), Invalid>,
) -> Result<(), Invalid> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let messages = w.ops();
    let server = set_up(listener)?;
    let load = load(address, messages);
    let served = w.measure(|_| serve(server));
    let heard = load.join().map_err(|_| invalid("the load panicked"))?;
    served.and(heard)
}

fn ours(w: &mut Worker<'_>) -> Result<(), Invalid> {
    lane(
        w,
        |listener| Ok(example::Server::new(listener.into())?),
        |server| Ok(server.serve(CONNECTIONS)?),
    )
}

pub(super) fn cpu(task: &Task<'_>) -> Result<Row, Invalid> {
    let mut contest = Contest::new(task);
    contest.ours("callbacks: multishot, leases", 1, ours);
    contest.floor("raw io-uring", 1, |w| {
        lane(
            w,
            |listener| raw::Server::new(&listener, DEPTH * 8),
            raw::Server::serve,
        )
    });
    contest.at_most(1.05, "raw io-uring");
    #[cfg(feature = "peers")]
    super::peers::add_echoes(&mut contest);
    for peer in super::RUNTIMES.into_iter().chain(["tokio"]) {
        contest.faster_than(1.0, peer);
    }
    contest.note("the server's thread alone is charged; tokio-uring and glommio are unmaintained");
    contest.run()
}
