//! An independent look at a machine on which hearth runs: does everything that is there belong to something that hearth knows, is
//! everything there that hearth has promised? Reads `/proc`, the kernel's devices and rules (by `ip -j` and `nft -j`), the cgroups, the
//! disk and the REST API; uses no code of hearth's, changes nothing.
//!
//! What users were told is in a ledger ([`ledger`]), which whoever asks things of hearth writes.

mod disk;
mod finding;
mod groups;
pub mod ledger;
mod look;
mod mounts;
mod network;
mod processes;
mod seen;

pub use finding::{Finding, Kind};
pub use groups::hierarchy;
pub use look::{look, settle};
pub use seen::{Failures, Seen, SeenVm, Target};
