//! The examples, used as an application would.
#![cfg(not(any(loom, shuttle)))]

#[path = "../examples/copy.rs"]
mod copy;
#[path = "../examples/echo.rs"]
mod echo;
#[path = "../examples/engine_echo.rs"]
mod engine_echo;
#[path = "../examples/shared.rs"]
mod shared;

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

/// Runs a test of this file again in a child process, as the case that it names.
fn child(test: &str) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CASE, test)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    command
}

const CASE: &str = "URING_EXAMPLES_CASE";

/// Ends this process as the example would, if it is the child that is to.
fn if_child(test: &str, args: &[&str]) {
    if std::env::var(CASE).is_ok_and(|name| name == test) {
        let (status, told) = echo::run(&words(args));
        eprintln!("{told}");
        std::process::exit(status.into());
    }
}

/// Reads until the server says where it listens.
fn address_of(server: &mut std::process::Child) -> String {
    use std::io::{BufRead, BufReader};
    let lines = BufReader::new(server.stdout.as_mut().unwrap()).lines();
    let mut places = lines.map_while(Result::ok).filter_map(|line| {
        let (_, place) = line.split_once("listening on ")?;
        Some(place.to_string())
    });
    places.next().expect("the server says where it listens")
}

/// The number that the next descriptor of this process will have.
fn next_descriptor() -> u64 {
    use std::os::fd::AsRawFd;
    std::fs::File::open("/dev/null").unwrap().as_raw_fd() as u64
}

/// The listener of this process, found among its descriptors.
fn own_listener() -> i32 {
    loop {
        let (mut listens, mut len) = (0i32, 4);
        let at = (&raw mut listens).cast();
        let found = (3..64).find(|&fd| {
            // SAFETY: room for one number, whose size is told.
            let told = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN, at, &mut len) };
            // SAFETY: as above: read through the pointer that it was written through.
            told == 0 && unsafe { at.cast::<i32>().read() } == 1
        });
        match found {
            Some(fd) => return fd,
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// An accept fails and no connection is open: nothing would ever come, so the server says why and ends.
#[test]
fn b9_echo_whose_accept_fails_ends_with_status_2_and_the_reason() {
    const TEST: &str = "b9_echo_whose_accept_fails_ends_with_status_2_and_the_reason";
    if std::env::var_os(CASE).is_some() {
        std::thread::spawn(|| {
            // Told to by whoever has served itself.
            let _ = std::io::stdin().read(&mut [0]);
            // SAFETY: no memory; the descriptor is the listener's.
            unsafe { libc::shutdown(own_listener(), libc::SHUT_RDWR) };
        });
    }
    if_child(TEST, &["tcp", "127.0.0.1:0"]);
    let mut server = child(TEST).spawn().unwrap();
    let mut client = TcpStream::connect(address_of(&mut server)).unwrap();
    client.write_all(b"first").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    server.stdin.take().unwrap().write_all(b"!").unwrap();
    // While this connection is open the server goes on with it.
    client.write_all(b"still").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    drop(client);
    let ended = server.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{told}");
    assert!(told.contains("echo: tcp 127.0.0.1:0: Invalid argument"), "{told}");
}

/// Serves with room for so many connections, in a child whose limit cannot be raised again; what it says at its end.
fn with_room_for(test: &str, room: u64, connections: usize, clients: fn(std::net::SocketAddr)) -> String {
    if std::env::var(CASE).is_ok_and(|name| name == test) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        println!("listening on {}", listener.local_addr().unwrap());
        let server = echo::Server::new(listener.into()).unwrap();
        let limit = libc::rlimit {
            rlim_cur: next_descriptor() + room,
            rlim_max: next_descriptor() + room,
        };
        // SAFETY: reads one limit.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
        let told = server
            .serve(connections)
            .map_or_else(|e| e.to_string(), |()| "served".into());
        eprintln!("{told}");
        std::process::exit(0);
    }
    let mut server = child(test).spawn().unwrap();
    clients(address_of(&mut server).parse().unwrap());
    String::from_utf8_lossy(&server.wait_with_output().unwrap().stderr).into_owned()
}

#[test]
fn b9_echo_out_of_descriptors_accepts_again_when_a_connection_ends() {
    const TEST: &str = "b9_echo_out_of_descriptors_accepts_again_when_a_connection_ends";
    let told = with_room_for(TEST, 1, 2, |address| {
        let mut first = TcpStream::connect(address).unwrap();
        first.write_all(b"first").unwrap();
        first.read_exact(&mut [0; 5]).unwrap();
        let mut second = TcpStream::connect(address).unwrap();
        second.write_all(b"again").unwrap();
        first.write_all(b"still").unwrap();
        first.read_exact(&mut [0; 5]).unwrap();
        drop(first);
        second.read_exact(&mut [0; 5]).unwrap();
    });
    assert!(told.contains("served"), "{told}");
}

#[test]
fn b9_echo_without_a_descriptor_for_anybody_names_the_limit() {
    const TEST: &str = "b9_echo_without_a_descriptor_for_anybody_names_the_limit";
    let told = with_room_for(TEST, 0, 1, |address| drop(TcpStream::connect(address)));
    assert!(told.contains("ulimit -n"), "{told}");
}

#[test]
fn b9_echo_without_a_place_ends_with_status_2_and_its_usage() {
    const TEST: &str = "b9_echo_without_a_place_ends_with_status_2_and_its_usage";
    if_child(TEST, &["tcp"]);
    let ended = child(TEST).output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{told}");
    assert!(told.contains("usage: echo tcp"), "{told}");
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

#[test]
fn threads_that_share_a_ring_add_up_every_byte_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bytes");
    for size in [0, 1, (64 << 10) - 1, 64 << 10, 3_000_001] {
        let content = noise(size);
        std::fs::write(&path, &content).unwrap();
        let expected: u64 = content.iter().map(|&byte| u64::from(byte)).sum();
        assert_eq!(shared::sum(&path).unwrap().0, expected, "{size} bytes");
    }
    assert!(shared::sum(&dir.path().join("missing")).is_err());
}

#[test]
fn engine_echo_serves_many_clients_on_all_cores() {
    let engine = uring_core::engine::Engine::builder()
        .core_count(2)
        .build()
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let cores = engine_echo::serve(&engine, listener);
    let clients: Vec<_> = (0..16)
        .map(|_| {
            std::thread::spawn(move || {
                let near = TcpStream::connect(address).unwrap();
                let (sender, end) = (near.try_clone().unwrap(), near.try_clone().unwrap());
                exchange(near, sender, move || end.shutdown(Shutdown::Write).unwrap());
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    assert!(engine.shut_down());
    for core in cores {
        assert!(core.wait().is_err(), "it accepts until the engine ends");
    }
}
