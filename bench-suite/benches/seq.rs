//! Sequence locks and histograms.

mod lanes;

fn main() {
    lanes::run(&["seq.", "hist."]);
}
