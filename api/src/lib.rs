//! hearth: api.
pub mod guest;
