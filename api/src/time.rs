//! Moments in the API's words: RFC 3339 in UTC, such as `2026-01-31T12:00:00.123Z`.
//!
//! Where a browser is, it reads and writes them itself: what jiff can say of a text that is no time is a tenth of the console's download.

#[cfg(target_arch = "wasm32")]
mod browser;

#[cfg(target_arch = "wasm32")]
pub use browser::Timestamp;
#[cfg(not(target_arch = "wasm32"))]
pub use jiff::Timestamp;
