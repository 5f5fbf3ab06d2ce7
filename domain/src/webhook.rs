//! A webhook: a receiver outside that is sent the events that it wants, in order, each at least once.
//!
//! ```text
//!  following --Found--> sending --Delivered--> following            (or the next dead letter that was asked for again)
//!                        |   ^
//!                 Failed |   | Elapsed
//!                        v   |
//!                       waiting --budget spent--> dead letter, following
//!  any --disabled by a person, by the receiver's 410, for want of its secret--> disabled --enabled--> following
//! ```
//! What is being sent is recorded before it is sent, with a number: after a crash the same delivery goes out again under the same number.
//! Progress makes no events: what webhooks do by themselves must not give them more to do ([`Filter::wants`]).

pub mod effect;
pub mod filter;
pub mod input;
pub mod invariant;
pub mod spec;
pub mod state;
pub mod step;

pub use effect::{Effect, LetterChange, Step};
pub use filter::Filter;
pub use input::{Change, Command, Finished, Input};
pub use spec::{WebhookSpec, check};
pub use state::{BecauseOf, DeadLetter, DeadRef, Delivery, Failure, State, Success, Webhook, What};
pub use step::{Draft, Refused, create, step};
