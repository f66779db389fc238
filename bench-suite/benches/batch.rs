//! Batches.

mod lanes;

fn main() {
    lanes::run(&["batch."]);
}
