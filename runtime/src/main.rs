//! hearth: runtime.
fn main() {}
