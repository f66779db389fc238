//! Counters and combining.

mod lanes;

fn main() {
    lanes::run(&["ctr.", "comb."]);
}
