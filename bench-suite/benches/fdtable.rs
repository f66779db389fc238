//! Descriptor tables.

mod lanes;

fn main() {
    lanes::run(&["fdt."]);
}
