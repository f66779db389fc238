//! A table of real descriptors: lowest free numbers, duplicates, close-on-exec, and a close that no reader delays.
//!
//! Run: `cargo run -p epoch-fdtable --example descriptors`

use epoch_fdtable::{Closed, FdTable, Flags};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

fn main() -> io::Result<()> {
    let table: FdTable<OwnedFd> = FdTable::new();
    let (near, mut far) = UnixStream::pair()?;
    let socket = table.insert(near.into())?;
    let copy = table.dup_from(socket, 10, Flags::CLOSE_ON_EXEC)?;
    println!("opened {} and its duplicate {}", socket.number(), copy.number());

    let mut stream: UnixStream = table
        .with(copy, |fd| fd.try_clone())
        .ok_or(io::ErrorKind::NotFound)??
        .into();
    stream.write_all(b"hello")?;
    drop(stream);

    println!("closing the first: {:?}", table.close(socket)?);
    let pinned = table.pin();
    let borrowed = pinned.get(copy).ok_or(io::ErrorKind::NotFound)?;
    let closed = table.close(copy)?;
    println!("closing the last while {borrowed:?} is borrowed: {closed:?}");
    assert_eq!(closed, Closed::Severed);
    drop(pinned);

    let mut received = String::new();
    far.read_to_string(&mut received)?;
    println!("the peer read {received:?} and then the end");
    println!(
        "{} is closed for good: {:?}",
        socket.number(),
        table.close(socket).map_err(io::Error::from)
    );
    Ok(())
}
