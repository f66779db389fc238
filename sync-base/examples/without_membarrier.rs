//! Runs a command in which the kernel refuses `membarrier`, so that every domain fences on both sides.
//!
//! ```text
//! cargo build -p sync-base --example without_membarrier
//! target/debug/examples/without_membarrier cargo test -p rcu-map -p epoch-fdtable
//! ```

#[path = "../tests/support/seccomp.rs"]
mod seccomp;

use std::os::unix::process::CommandExt;

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let Some(command) = arguments.next() else {
        eprintln!("usage: without_membarrier COMMAND [ARGUMENT...]");
        std::process::exit(2);
    };
    if let Err(error) = seccomp::refuse_membarrier() {
        eprintln!("without_membarrier: the kernel takes no filter: {error}");
        std::process::exit(1);
    }
    let error = std::process::Command::new(&command).args(arguments).exec();
    eprintln!("without_membarrier: {}: {error}", command.display());
    std::process::exit(1);
}
