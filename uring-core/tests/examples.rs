//! The examples, used as an application would.
#![cfg(not(any(loom, shuttle)))]

#[path = "../examples/copy.rs"]
mod copy;
#[path = "../examples/echo.rs"]
mod echo;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

fn noise(bytes: usize) -> Vec<u8> {
    let mut word = 0x9E37_79B9_7F4A_7C15u64;
    std::iter::repeat_with(|| {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        word as u8
    })
    .take(bytes)
    .collect()
}

#[test]
fn b9_copy_is_exact_at_every_size() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let block = 256 << 10;
    for size in [
        0,
        1,
        4095,
        block - 1,
        block,
        block + 1,
        16 * block,
        20 * block + 12_345,
    ] {
        std::fs::write(&from, noise(size)).unwrap();
        std::fs::write(&to, b"what was there before").unwrap();
        assert_eq!(copy::copy(&from, &to).unwrap(), size as u64);
        assert!(copy::same(&from, &to).unwrap(), "{size} bytes");
        assert_eq!(std::fs::read(&to).unwrap(), std::fs::read(&from).unwrap());
    }
    std::fs::write(&to, b"something else").unwrap();
    assert!(!copy::same(&from, &to).unwrap(), "the check can fail");
    assert!(copy::copy(&dir.path().join("missing"), &to).is_err());
}

/// Sends everything from one thread while another reads it back.
fn exchange(
    mut near: impl Read + Write + Send + 'static,
    mut sender: impl Write + Send + 'static,
    end: impl FnOnce(),
) {
    let content = noise(300_000);
    let expected = content.clone();
    let sending = std::thread::spawn(move || sender.write_all(&content).unwrap());
    let mut back = vec![0; expected.len()];
    near.read_exact(&mut back).unwrap();
    assert_eq!(back, expected);
    sending.join().unwrap();
    end();
    let mut rest = Vec::new();
    near.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
}

fn tcp_client(address: std::net::SocketAddr) {
    let near = TcpStream::connect(address).unwrap();
    near.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (sender, end) = (near.try_clone().unwrap(), near.try_clone().unwrap());
    exchange(near, sender, move || end.shutdown(Shutdown::Write).unwrap());
}

#[test]
fn b9_echo_serves_tcp_clients_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || echo::Server::new(listener.into()).unwrap().serve(8).unwrap());
    let clients: Vec<_> = (0..8)
        .map(|_| std::thread::spawn(move || tcp_client(address)))
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    server.join().unwrap();
}

#[test]
fn b9_echo_survives_a_client_that_leaves_and_one_that_does_not_read() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || echo::Server::new(listener.into()).unwrap().serve(3).unwrap());
    let mut gone = TcpStream::connect(address).unwrap();
    gone.write_all(&[1; 1000]).unwrap();
    drop(gone);
    // It sends more than the sockets and the group of buffers hold, and reads nothing while another is served.
    let mut lazy = TcpStream::connect(address).unwrap();
    lazy.set_nonblocking(true).unwrap();
    let chunk = noise(1 << 16);
    let mut sent = 0;
    for _ in 0..2000 {
        sent += lazy.write(&chunk).unwrap_or(0);
        std::thread::sleep(Duration::from_micros(100));
    }
    assert!(sent > 1 << 20, "more than the whole group of buffers: {sent}");
    tcp_client(address);
    drop(lazy);
    server.join().unwrap();
}

#[test]
fn b9_echo_serves_unix_sockets() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("echo");
    let listener = UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || echo::Server::new(listener.into()).unwrap().serve(1).unwrap());
    let near = UnixStream::connect(&path).unwrap();
    near.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (sender, end) = (near.try_clone().unwrap(), near.try_clone().unwrap());
    exchange(near, sender, move || end.shutdown(Shutdown::Write).unwrap());
    server.join().unwrap();
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_string()).collect()
}

#[test]
fn b9_copy_says_what_is_wrong_with_its_input_and_spares_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    std::fs::write(place("from"), noise(5000)).unwrap();
    std::fs::write(place("other"), b"kept").unwrap();
    std::os::unix::fs::symlink(place("from"), place("link")).unwrap();
    let told = |args: &[&str], part: &str| {
        let (status, told) = copy::run(&words(args));
        assert_eq!(status, 2, "{args:?}: {told}");
        assert!(told.contains(part), "{told}");
    };
    told(&[], "usage: copy FROM TO");
    told(&["one"], "usage: copy FROM TO");
    told(&["a", "b", "c"], "usage: copy FROM TO");
    told(&[&place("missing"), &place("other")], "No such file");
    told(&[&place("from"), &place("no/such/place")], "No such file");
    told(
        &[dir.path().to_str().unwrap(), &place("other")],
        "only regular files",
    );
    told(&[&place("from"), dir.path().to_str().unwrap()], "no regular file");
    told(&[&place("from"), &place("from")], "the same file");
    told(&[&place("from"), &place("link")], "the same file");
    assert_eq!(std::fs::read(place("from")).unwrap(), noise(5000));
    assert_eq!(std::fs::read(place("other")).unwrap(), b"kept");
    let (status, told) = copy::run(&words(&[&place("from"), &place("to"), "--verify"]));
    assert_eq!((status, told.as_str()), (0, "5000 bytes"));
    assert_eq!(std::fs::read(place("to")).unwrap(), noise(5000));
}

#[test]
fn b9_echo_says_what_is_wrong_with_its_input() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("x".repeat(200));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (args, part) in [
        (vec![], "usage: echo tcp"),
        (vec!["tcp"], "usage: echo tcp"),
        (vec!["udp", "127.0.0.1:0"], "usage: echo tcp"),
        (vec!["tcp", "nowhere"], "echo: tcp nowhere"),
        (vec!["tcp", "127.0.0.1:99999"], "echo: tcp 127.0.0.1:99999"),
        (vec!["tcp", &address], "in use"),
        (vec!["unix", "/no/such/place"], "No such file"),
        (vec!["unix", long.to_str().unwrap()], "path must be shorter"),
    ] {
        let told = echo::listener(&words(&args)).unwrap_err();
        assert!(told.contains(part), "{args:?}: {told}");
    }
    drop(echo::listener(&words(&["tcp", "127.0.0.1:0"])).unwrap());
}

/// Many small messages of many sizes: what is received is cut anywhere, and nothing is lost between the pieces.
#[test]
fn b9_echo_keeps_every_byte_of_receives_that_come_short() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || echo::Server::new(listener.into()).unwrap().serve(1).unwrap());
    let mut near = TcpStream::connect(address).unwrap();
    near.set_nodelay(true).unwrap();
    near.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let content = noise(60_000);
    let (mut sent, mut back) = (0, Vec::new());
    for size in (1..).map(|n| n * 37 % 997 + 1) {
        let end = (sent + size).min(content.len());
        near.write_all(&content[sent..end]).unwrap();
        if sent % 3 == 0 {
            let mut part = vec![0; (end - back.len()) / 2 + 1];
            near.read_exact(&mut part).unwrap();
            back.extend(part);
        }
        sent = end;
        if sent == content.len() {
            break;
        }
    }
    near.shutdown(Shutdown::Write).unwrap();
    near.read_to_end(&mut back).unwrap();
    assert!(back == content);
    server.join().unwrap();
}
