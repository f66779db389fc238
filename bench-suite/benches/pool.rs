//! Buffer pools.

mod lanes;

fn main() {
    lanes::run(&["pool."]);
}
