//! What the console knows and decides, without a browser: the store and its reducer, which requests an event asks for, how often to
//! reconnect, filters, chart series, and how values are written. No I/O, no clock, no randomness: they arrive as arguments.

pub mod action;
pub mod backoff;
pub mod encode;
pub mod filter;
pub mod form;
pub mod format;
pub mod happening;
pub mod log;
pub mod node;
pub mod order;
pub mod palette;
pub mod refetch;
pub mod resource;
pub mod series;
pub mod store;
