//! What all targets have in common: the bound on memory. The properties themselves are in each crate's module `fuzz`, beside the code that
//! they are about; one program under `fuzz_targets/` for each.

mod memory;

pub use memory::bounded;
