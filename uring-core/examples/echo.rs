//! Sends back what it receives: `echo tcp ADDRESS:PORT` or `echo unix PATH`. Says where it listens (port 0 is any that is
//! free), and ends with status 2 and the reason when it cannot go on.
//!
//! One multishot accept for the listener, one multishot receive a connection, all of them picking their buffers from one
//! group: an idle connection holds no memory. A client that does not read is received from no more once some pieces wait
//! to be sent to it; what still comes is copied out of the group, so that it never holds the buffers of the others. When
//! the group runs out, receives pause until sends give buffers back.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use uring_core::buffer::{BufGroup, IoBuf, Lease, Slice};
use uring_core::op::{Accept, RecvLeased, Send};
use uring_core::{Error, LocalRing, OpId, Options};

const BUFFERS: u16 = 256;
const BUFFER_BYTES: u32 = 4096;
/// Pieces that may wait to be sent to one client before it is received from no more, and when that starts again.
const QUEUE_MAX: usize = 16;
const QUEUE_LOW: usize = 4;

pub(crate) struct Server {
    ring: LocalRing,
    group: BufGroup,
    listener: Arc<OwnedFd>,
    accepting: Cell<bool>,
    /// Why the last accept failed.
    refused: Cell<Option<Error>>,
    accepted: Cell<usize>,
    open: Cell<usize>,
    /// Connections whose receive or send found no buffer or no room, to be tried again.
    paused: RefCell<Vec<Rc<Connection>>>,
}

/// Data to be sent back: in the buffer that it came in, or copied out of it.
enum Piece {
    Leased(Slice<Lease>),
    Copied(Slice<Vec<u8>>),
}

struct Connection {
    socket: Arc<OwnedFd>,
    /// What is to be sent, in order; the first of it is being sent if `sending`.
    queue: RefCell<VecDeque<Piece>>,
    sending: Cell<bool>,
    /// The receive in flight.
    receiving: Cell<Option<OpId>>,
    /// The client has sent all it will, or is gone.
    ended: Cell<bool>,
    closed: Cell<bool>,
}

impl Server {
    /// Makes a ring and its buffers for a listener.
    pub(crate) fn new(listener: OwnedFd) -> io::Result<Rc<Self>> {
        let ring = LocalRing::with(&Options::new().depth(1024)).map_err(io::Error::from)?;
        let group = ring
            .provide_buffers(BUFFERS, BUFFER_BYTES)
            .map_err(io::Error::from)?;
        Ok(Rc::new(Self {
            ring,
            group,
            listener: Arc::new(listener),
            accepting: Cell::new(false),
            refused: Cell::new(None),
            accepted: Cell::new(0),
            open: Cell::new(0),
            paused: RefCell::default(),
        }))
    }

    /// Serves until `limit` connections have come and gone.
    pub(crate) fn serve(self: &Rc<Self>, limit: usize) -> io::Result<()> {
        while self.accepted.get() < limit || self.open.get() > 0 {
            if !self.accepting.get() && self.accepted.get() < limit {
                // Out of descriptors, say: while connections are open, one that ends gives its own back.
                match self.refused.take() {
                    Some(error) if self.open.get() == 0 => return Err(io::Error::other(error)),
                    Some(error) => self.refused.set(Some(error)),
                    None => accept(self)?,
                }
            }
            self.ring.wait(1, Duration::from_secs(1))?;
            if self.group.leased() < usize::from(BUFFERS) {
                for connection in self.paused.take() {
                    send_next(self, &connection);
                    receive(self, &connection);
                }
            }
        }
        self.ring.cancel_all()?;
        while self.ring.held() > 0 {
            self.ring.wait(1, Duration::from_secs(1))?;
        }
        Ok(())
    }
}

fn accept(server: &Rc<Server>) -> Result<(), Error> {
    let to = Rc::clone(server);
    let accept = Accept::new(Arc::clone(&server.listener)).multishot();
    let submitted = server.ring.submit_each(accept, move |connection, more| {
        to.accepting.set(more);
        let socket = match connection {
            Ok(socket) => socket,
            // A client that left before it was accepted, or the cancellation at the end.
            Err(error)
                if error.is_retryable() || error.is_cancelled() || error.errno() == libc::ECONNABORTED =>
            {
                return;
            }
            Err(error) => return to.refused.set(Some(error)),
        };
        to.accepted.set(to.accepted.get() + 1);
        to.open.set(to.open.get() + 1);
        let connection = Rc::new(Connection {
            socket: Arc::new(socket),
            queue: RefCell::default(),
            sending: Cell::new(false),
            receiving: Cell::new(None),
            ended: Cell::new(false),
            closed: Cell::new(false),
        });
        receive(&to, &connection);
    });
    server.accepting.set(true);
    submitted.map(drop).map_err(|rejected| rejected.error)
}

fn receive(server: &Rc<Server>, connection: &Rc<Connection>) {
    if connection.ended.get() {
        return finish(server, connection);
    }
    if connection.receiving.get().is_some() || connection.queue.borrow().len() > QUEUE_LOW {
        return;
    }
    let (to, with) = (Rc::clone(server), Rc::clone(connection));
    let receive = RecvLeased::new(Arc::clone(&connection.socket), &server.group).multishot();
    let submitted = server.ring.submit_each(receive, move |piece, more| {
        if !more {
            with.receiving.set(None);
        }
        match piece {
            Ok(Some(lease)) => {
                let crowded = with.queue.borrow().len() >= QUEUE_MAX;
                let piece = match crowded {
                    true => Piece::Copied(Slice::new(lease.to_vec(), ..)),
                    false => Piece::Leased(Slice::new(lease, ..)),
                };
                with.queue.borrow_mut().push_back(piece);
                send_next(&to, &with);
            }
            // No buffer left, or cancelled below: not the end.
            Err(error) if error.is_retryable() || error.is_cancelled() => {}
            Ok(None) | Err(_) => with.ended.set(true),
        }
        match with.receiving.get() {
            // What was received until the cancellation takes effect still comes.
            Some(id) if with.queue.borrow().len() >= QUEUE_MAX => drop(to.ring.cancel(id)),
            Some(_) => {}
            None => to.paused.borrow_mut().push(Rc::clone(&with)),
        }
    });
    match submitted {
        Ok(id) => connection.receiving.set(Some(id)),
        Err(_) => server.paused.borrow_mut().push(Rc::clone(connection)),
    }
}

/// Sends the first piece of the queue, unless one is on its way: pieces of one connection go in order.
fn send_next(server: &Rc<Server>, connection: &Rc<Connection>) {
    if connection.sending.get() {
        return;
    }
    let piece = connection.queue.borrow_mut().pop_front();
    match piece {
        Some(Piece::Leased(piece)) => send(server, connection, piece, Piece::Leased),
        Some(Piece::Copied(piece)) => send(server, connection, piece, Piece::Copied),
        None => finish(server, connection),
    }
}

fn send<B: IoBuf>(
    server: &Rc<Server>,
    connection: &Rc<Connection>,
    piece: Slice<B>,
    wrap: fn(Slice<B>) -> Piece,
) {
    let (to, with) = (Rc::clone(server), Rc::clone(connection));
    connection.sending.set(true);
    let send = Send::new(Arc::clone(&connection.socket), piece);
    let submitted = server.ring.submit_with(send, move |(sent, piece)| {
        with.sending.set(false);
        match sent {
            Ok(count) if count < piece.bytes_init() => {
                let rest = piece.range().start + count..piece.range().end;
                let rest = wrap(Slice::new(piece.into_inner(), rest));
                with.queue.borrow_mut().push_front(rest);
            }
            Ok(_) => {}
            Err(_) => {
                with.ended.set(true);
                with.queue.borrow_mut().clear();
            }
        }
        send_next(&to, &with);
        receive(&to, &with);
    });
    if let Err(rejected) = submitted {
        // No room: the piece goes back to the front and is tried again after the next wait.
        connection.sending.set(false);
        let (send, _closure) = rejected.op;
        connection
            .queue
            .borrow_mut()
            .push_front(wrap(send.into_parts().0));
        server.paused.borrow_mut().push(Rc::clone(connection));
    }
}

/// Counts a connection as gone once: when the client has ended and everything is sent back.
fn finish(server: &Server, connection: &Connection) {
    let idle = !connection.sending.get() && connection.queue.borrow().is_empty();
    if connection.ended.get() && idle && !connection.closed.replace(true) {
        server.open.set(server.open.get() - 1);
        server.refused.set(None);
    }
}

/// Makes the listener that the arguments name, or says what is wrong with them.
#[allow(dead_code)] // the claims make a listener of their own
pub(crate) fn listener(args: &[String]) -> Result<OwnedFd, String> {
    let listener: io::Result<OwnedFd> = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tcp", address] => TcpListener::bind(address).map(Into::into),
        ["unix", path] => UnixListener::bind(path).map(Into::into),
        _ => return Err("usage: echo tcp ADDRESS:PORT | echo unix PATH".into()),
    };
    listener.map_err(|error| format!("echo: {}: {error}", args.join(" ")))
}

/// Does what the arguments say; what to end with, and the last words.
#[allow(dead_code)] // the claims make a `Server`
pub(crate) fn run(args: &[String]) -> (u8, String) {
    let served = listener(args).and_then(|listener| {
        let place = place_of(&listener);
        let served = Server::new(listener).and_then(|server| {
            println!("echo: listening on {place}");
            server.serve(usize::MAX)
        });
        served.map_err(|error| format!("echo: {}: {error}", args.join(" ")))
    });
    served.map_or_else(|told| (2, told), |()| (0, String::new()))
}

/// Where a listener can be reached.
fn place_of(listener: &OwnedFd) -> String {
    let copy = listener.try_clone().map(TcpListener::from);
    match copy.and_then(|tcp| tcp.local_addr()) {
        Ok(address) => address.to_string(),
        Err(_) => "the path".into(),
    }
}

#[allow(dead_code)] // the tests and claims have a `main` of their own
fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (status, told) = run(&args);
    if status != 0 {
        eprintln!("{told}");
    }
    ExitCode::from(status)
}
