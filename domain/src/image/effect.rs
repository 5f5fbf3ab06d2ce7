//! What an image's step wants done.

use super::state::{Image, ImageSpec};
use crate::{event::Draft as EventDraft, operation::Change as OperationChange};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Absent: the image is no more.
    pub next: Option<Image>,
    pub events: Vec<EventDraft>,
    pub operations: Vec<OperationChange>,
    pub effects: Vec<Effect>,
}

/// Each is idempotent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Copy the source into the store under its digest. `Progressed` as it goes, then `Imported` or `ImportFailed`.
    Import(ImageSpec),
    /// Give up an import under way, then remove the image's files. `Removed` or `RemoveFailed`.
    Remove,
}
