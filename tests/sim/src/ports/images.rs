//! The image store of a simulated machine: which images have files.

use crate::{machine::Machine, ports::as_fate_has_it};
use async_trait::async_trait;
use domain::{
    ImageId,
    image::{Files, Image, ImageSpec, State},
};
use host::image::{Copying, ImageError, ImageStore};
use std::{path::PathBuf, sync::Arc};
use storage::{envelope, schema};

pub struct Images(pub Machine);

fn failed() -> ImageError {
    ImageError::Store { path: "store".into(), source: std::io::Error::other("a simulated failure") }
}

impl Images {
    fn judge(&self, image: ImageId, wanted: fn(&State) -> bool, what: &str) {
        let record = self.0.disk.record(schema::IMAGES, &image.to_string());
        let record = record.and_then(|bytes| envelope::decode::<Image>(&bytes).ok());
        if !record.as_ref().is_some_and(|record| wanted(&record.state)) {
            let found = record.map_or("none", |record| record.state.name());
            self.0.state().broken.push(format!("{what} of {image} without a durable reason: its record is {found}"));
        }
    }
}

#[async_trait]
impl ImageStore for Images {
    async fn import(&self, image: ImageId, _: &ImageSpec, _: &Arc<Copying>) -> Result<Files, ImageError> {
        let deed = || {
            // One that has just been cancelled may be done all the same: what it left is removed after it.
            self.judge(image, |state| matches!(state, State::Importing | State::Cancelling), "the import");
            self.0.state().images.insert(image);
            self.0.tell(format_args!("import {image}"));
            Files { digest: format!("sha256:{:064x}", 1), size_bytes: 4096, initrd_digest: None, initrd_size_bytes: 0 }
        };
        as_fate_has_it(self.0.fate(), deed).await.ok_or_else(failed)
    }

    async fn remove(&self, image: ImageId) -> Result<(), ImageError> {
        let deed = || {
            self.judge(image, |state| matches!(state, State::Deleting | State::Cancelling), "the removal");
            self.0.state().images.remove(&image);
            self.0.tell(format_args!("remove the files of {image}"));
        };
        as_fate_has_it(self.0.fate(), deed).await.ok_or_else(failed)
    }

    fn path(&self, image: ImageId) -> PathBuf {
        PathBuf::from(image.to_string())
    }

    fn initrd_path(&self, image: ImageId) -> PathBuf {
        PathBuf::from(format!("{image}.initrd"))
    }

    async fn sweep(&self, known: &[ImageId]) -> Result<Vec<String>, ImageError> {
        let unknown: Vec<ImageId> = self.0.state().images.iter().filter(|image| !known.contains(image)).copied().collect();
        for image in &unknown {
            self.0.state().images.remove(image);
            self.0.tell(format_args!("sweep the files of {image}"));
        }
        Ok(unknown.iter().map(ToString::to_string).collect())
    }
}
