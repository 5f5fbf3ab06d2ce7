//! The actor of one VM, and the supervisor of all.
//!
//! **Duty**: owns one VM: admits commands, commits decisions, carries out effects, follows the machine and its guest.
//! **Parent**: [`supervisor::Vms`]. **Children**: none; effects run as tasks that end with the actor. **Restart**: loaded from the journal,
//! then `Recovered`. **Mailbox**: bounded by what the edge lets in (one permit a request) plus one message an effect.
//!
//! ```text
//! message -> Input -> domain::vm::step -> commit -> view -> answer -> effects, one at a time -> Finished -> …
//! ```

mod actor;
pub mod address;
mod admission;
mod guest;
mod hold;
pub(crate) mod messages;
mod perform;
mod plan;
pub(crate) mod supervisor;
mod timers;

pub(crate) use messages::{VmMsg, VmRef, VmsMsg};
pub(crate) use supervisor::Vms;
