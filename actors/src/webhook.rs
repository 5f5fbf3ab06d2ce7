//! The actors of webhooks: [`supervisor::Webhooks`] and one per webhook.
//!
//! **Duty** of a webhook's actor: owns one webhook and its dead letters; finds what is wanted in the event log, has it delivered, and keeps
//! how far it is. **Parent**: the supervisor, which owns names and the bound on how many there are. **Restart**: loaded from the journal,
//! then `Recovered`: what was on its way goes out again under its number. **Mailbox**: what the edge lets in, one message an effect.
//!
//! ```text
//! log --find--> Found --step, commit--> send --port--> receiver --Delivered, Failed--> step, commit --> …
//! ```
//! Who speaks HTTP is behind the port [`Deliver`].

mod actor;
mod letters;
mod perform;
mod port;
pub(crate) mod supervisor;

pub use letters::{Letter, read as read_letters};
pub use port::{Content, Deliver, Outcome, Post, WebhookPorts};
pub(crate) use supervisor::{Webhooks, WebhooksArgs, WebhooksMsg};
