//! The `uring` command.
fn main() {}
