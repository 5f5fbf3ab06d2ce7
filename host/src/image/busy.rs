//! Which images somebody works on: an import whose asker went away may copy for a while yet, and nobody else may touch its files meanwhile.

use domain::ImageId;
use std::{
    collections::HashSet,
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

#[derive(Debug, Default)]
pub struct Busy {
    images: Mutex<HashSet<ImageId>>,
    left: Condvar,
}

/// Ends the turn when it is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    busy: &'a Busy,
    image: ImageId,
}

impl Busy {
    /// Blocks until nobody works on the image; `None` when that takes longer than `within`.
    pub fn enter(&self, image: ImageId, within: Duration) -> Option<Turn<'_>> {
        let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.left.wait_timeout_while(images, within, |images| images.contains(&image));
        let (mut images, _) = waited.unwrap_or_else(PoisonError::into_inner);
        images.insert(image).then_some(Turn { busy: self, image })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.busy.images.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.image);
        self.busy.left.notify_all();
    }
}
