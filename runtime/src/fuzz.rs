//! What must hold for any bytes of an HTTP request's body, query and headers, of a WebSocket's text frames, and of what is typed on the
//! command line. Each function takes a fuzzer's input and panics when a property does not hold; the targets under `fuzz/` call them, and the
//! tests here replay the corpus.

pub use crate::cli::fuzz::typed;
pub use crate::http::input::fuzz::{body, query};

#[cfg(test)]
mod tests;
