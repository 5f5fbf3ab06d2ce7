//! The words that hearth's parts speak to one another: REST requests, responses and events by version, and the frames between host and
//! guest. Data only; behind the feature `client` the one typed client.

#[cfg(all(feature = "client", not(target_arch = "wasm32")))]
pub mod client;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod guest;
#[cfg(feature = "rest")]
pub mod problem;
#[cfg(feature = "rest")]
pub mod time;
#[cfg(feature = "rest")]
pub mod v1;

/// The newest version of the REST types.
#[cfg(feature = "rest")]
pub use v1 as latest;
