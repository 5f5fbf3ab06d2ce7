//! Deterministic simulation: nodes of hearth, all in one thread, all from one seed.
//!
//! The real `domain` and the real actors run on a journal in memory and on simulated machines. The seed decides everything else: what users
//! ask and when, how long each effect takes and how it ends, when a node dies and in the middle of what, what becomes of guests meanwhile.
//! The same seed gives the same run, to the last line of its trace; [`life::run`] is a run, `hearth-sim replay` shows it step by step.
//!
//! ```text
//!   life (one seed) ── nodes ── each: a runtime of its own, with a clock that stands unless told   [dropped at a crash]
//!        │                            its disk (journal) and its machine: VMMs, interfaces, images [kept]
//!        ├── users: requests with keys, repeated until answered
//!        ├── receivers of webhooks: what arrived, and what they answer
//!        ├── subscribers: events from where each has heard last
//!        └── watch: domain::invariant after every step, and once all is quiet
//! ```

pub mod chance;
pub mod falls;
pub mod life;
pub mod machine;
pub mod node;
pub mod ports;
pub mod receivers;
pub mod subscribers;
pub mod sweep;
pub mod trace;
pub mod users;
pub mod watch;
