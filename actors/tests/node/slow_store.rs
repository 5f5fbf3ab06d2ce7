//! An image store whose imports stop half-way until they are let through.

use async_trait::async_trait;
use domain::{
    ImageId,
    image::{Files, ImageSpec},
};
use host::image::{Copying, FileStore, ImageError, ImageStore};
use std::{path::PathBuf, sync::Arc};
use tokio::sync::watch;

pub struct SlowStore {
    inner: FileStore,
    open: watch::Sender<bool>,
    pub waiting: watch::Sender<u32>,
}

impl SlowStore {
    pub fn shut(inner: FileStore) -> Arc<SlowStore> {
        Arc::new(SlowStore { inner, open: watch::Sender::new(false), waiting: watch::Sender::new(0) })
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

#[async_trait]
impl ImageStore for SlowStore {
    async fn import(&self, image: ImageId, spec: &ImageSpec, copying: &Arc<Copying>) -> Result<Files, ImageError> {
        copying.will_copy(1000);
        copying.copied(500).map_err(|_| ImageError::GivenUp)?;
        self.waiting.send_modify(|waiting| *waiting += 1);
        let _ = self.open.subscribe().wait_for(|open| *open).await;
        self.inner.import(image, spec, &Arc::default()).await
    }
    async fn remove(&self, image: ImageId) -> Result<(), ImageError> {
        self.inner.remove(image).await
    }
    fn path(&self, image: ImageId) -> PathBuf {
        self.inner.path(image)
    }
    fn initrd_path(&self, image: ImageId) -> PathBuf {
        self.inner.initrd_path(image)
    }
    async fn sweep(&self, known: &[ImageId]) -> Result<Vec<String>, ImageError> {
        self.inner.sweep(known).await
    }
}
