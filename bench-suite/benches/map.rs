//! Maps, snapshots, cells.

mod lanes;

fn main() {
    lanes::run(&["map.", "snap.", "cell."]);
}
