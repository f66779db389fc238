//! The ring: operations, echo, zero-copy sends.

mod lanes;

fn main() {
    lanes::run(&["ring.", "echo.", "send.", "file."]);
}
