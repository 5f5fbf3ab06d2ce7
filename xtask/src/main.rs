//! hearth: xtask.
fn main() {}
