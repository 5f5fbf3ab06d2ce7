//! The actors of images: [`supervisor::Images`] and one per image.
//!
//! **Duty** of an image's actor: owns one image: import, changes, removal. **Parent**: the supervisor, which owns names and counts users
//! before a deletion. **Restart**: loaded from the journal, then `Recovered`. **Mailbox**: what the edge lets in, one message an effect.

mod actor;
pub(crate) mod supervisor;

pub(crate) use supervisor::{Images, ImagesArgs, ImagesMsg};
