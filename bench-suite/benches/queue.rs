//! Queues.

mod lanes;

fn main() {
    lanes::run(&["queue."]);
}
