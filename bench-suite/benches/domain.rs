//! Read sections and retiring.

mod lanes;

fn main() {
    lanes::run(&["dom."]);
}
