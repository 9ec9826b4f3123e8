//! The rushes program.
fn main() {}
