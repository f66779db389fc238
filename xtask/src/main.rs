//! CI and tools of the workspace.
fn main() {}
