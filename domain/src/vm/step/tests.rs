//! Tests of the table: every state by every input, and the stories that users meet. Random interleavings are in `tests/vm_properties.rs`.

mod cancel;
mod crashes;
pub(in crate::vm) mod fixture;
mod interfaces;
mod policy;
mod stories;
mod table;
mod tune;
