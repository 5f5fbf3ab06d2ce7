//! The image store: files under their digest, imported by copy, removed when no image names them.

mod busy;
mod copy;
mod copying;
mod kind;
mod store;

pub use copying::{Copied, Copying, GivenUp};
#[cfg(any(test, fuzzing))]
pub(crate) use kind::fuzz;
pub use store::FileStore;

use async_trait::async_trait;
use domain::{
    ImageId,
    image::{Files, ImageSpec},
};
use std::{path::PathBuf, sync::Arc};

#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("{path} can't be read")]
    Source {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is not a {kind}: {detail}")]
    WrongKind { path: PathBuf, kind: &'static str, detail: String },
    #[error("the image {image} is still being worked on")]
    Busy { image: ImageId },
    #[error("the import was given up")]
    GivenUp,
    #[error("no space left in the image store {path}")]
    DiskFull { path: PathBuf },
    #[error("the image store {path} can't be written")]
    Store {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl ImageError {
    /// The stable code in the API.
    pub fn code(&self) -> &'static str {
        match self {
            ImageError::Source { .. } => "source-unreadable",
            ImageError::WrongKind { .. } => "source-wrong-kind",
            ImageError::DiskFull { .. } => "disk-full",
            ImageError::Store { .. } => "store-failed",
            ImageError::Busy { .. } => "image-busy",
            ImageError::GivenUp => "cancelled",
        }
    }
}

#[async_trait]
pub trait ImageStore: Send + Sync + 'static {
    /// Copies the sources (reflink where the file system can, sparse else) and gives their digests. On an error nothing is left.
    ///
    /// Cancel: as if given up; what is left for a moment is removed before anybody else works on the image.
    async fn import(&self, image: ImageId, spec: &ImageSpec, copying: &Arc<Copying>) -> Result<Files, ImageError>;
    /// Waits a bounded time for an import that was given up.
    async fn remove(&self, image: ImageId) -> Result<(), ImageError>;
    /// Where the main file and the initramfs of an imported image are.
    fn path(&self, image: ImageId) -> PathBuf;
    fn initrd_path(&self, image: ImageId) -> PathBuf;
    async fn sweep(&self, known: &[ImageId]) -> Result<Vec<String>, ImageError>;
}
