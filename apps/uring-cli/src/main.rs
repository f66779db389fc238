//! The `uring` command.

use std::io::Write;
use std::process::ExitCode;
use uring_cli::args::{Command, parse};
use uring_cli::{Failure, FailureKind, Stop, bench, probe};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = match parse(std::env::args_os()) {
        Ok(Some(command)) => command,
        Ok(None) => return ExitCode::SUCCESS,
        Err(failure) => return told(&failure),
    };
    let done = Stop::on_signals().and_then(|stop| match command {
        Command::Bench(args) => bench::main(&args, &stop),
        Command::Probe(args) => probe::main(&args),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => told(&failure),
    }
}

/// One line on standard error, and the status that goes with it.
fn told(failure: &Failure) -> ExitCode {
    // Were standard error closed, the status would still tell.
    let _ = writeln!(std::io::stderr(), "uring: {}", failure.message());
    ExitCode::from(match failure.kind() {
        FailureKind::Interrupted => 130,
        FailureKind::Wrong => 1,
        _ => 2,
    })
}
