//! Errors.

mod lanes;

fn main() {
    lanes::run(&["err."]);
}
