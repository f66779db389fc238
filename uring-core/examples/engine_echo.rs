//! Sends back what it receives, on every core: `engine_echo ADDRESS:PORT`.
//!
//! Each core accepts from the same listener and keeps what it accepted: a connection never leaves its ring.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use uring_core::Error;
use uring_core::buffer::Slice;
use uring_core::engine::{Engine, JoinHandle, run, spawn_local};
use uring_core::op::{Accept, Recv, Send};

/// Serves a listener on all cores. Each task ends with the error with which its accepts end.
pub(crate) fn serve(engine: &Engine, listener: TcpListener) -> Vec<JoinHandle<Error>> {
    let listener = Arc::new(listener);
    let on_core = |core| {
        let listener = Arc::clone(&listener);
        let accepting = engine.send_on(core, move || async move {
            loop {
                match run(Accept::new(Arc::clone(&listener))).await {
                    Ok(socket) => drop(spawn_local(echo(Arc::new(socket)))),
                    Err(error) => return error,
                }
            }
        });
        accepting.wait().expect("the core is there")
    };
    (0..engine.core_count()).map(on_core).collect()
}

async fn echo(socket: Arc<OwnedFd>) -> Result<(), Error> {
    let mut buf = vec![0; 16 << 10];
    loop {
        let (received, full) = run(Recv::new(Arc::clone(&socket), buf)).await;
        let end = received?;
        let mut sent = 0;
        let mut back = full;
        while sent < end {
            let (count, piece) = run(Send::new(Arc::clone(&socket), Slice::new(back, sent..end))).await;
            sent += count?;
            back = piece.into_inner();
        }
        if end == 0 {
            return Ok(());
        }
        buf = back;
    }
}

#[allow(dead_code)] // A test includes this file as a module.
fn main() -> ExitCode {
    let Some(address) = std::env::args().nth(1) else {
        eprintln!("usage: engine_echo ADDRESS:PORT");
        return ExitCode::FAILURE;
    };
    let served = TcpListener::bind(&address)
        .map_err(|error| format!("{address}: {error}"))
        .and_then(|listener| {
            let engine = Engine::new().map_err(|error| error.to_string())?;
            eprintln!("{}", engine.info());
            for core in serve(&engine, listener) {
                let ended = core
                    .wait()
                    .map_or_else(|gone| gone.to_string(), |error| error.to_string());
                eprintln!("a core accepts no more: {ended}");
            }
            Ok(())
        });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
