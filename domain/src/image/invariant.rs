//! What is true of every image at any time.

use super::state::{Image, State};

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("an operation is in flight exactly while the image is being imported, given up or deleted")]
    Operation,
    #[error("a kernel's initramfs has a digest exactly when it was given")]
    Initrd,
}

pub fn check(image: &Image) -> Result<(), Broken> {
    let busy = matches!(image.state, State::Importing | State::Deleting | State::Cancelling);
    if busy != image.operation.is_some() {
        return Err(Broken::Operation);
    }
    if let State::Ready(files) = &image.state
        && files.initrd_digest.is_some() != image.spec.initrd.is_some()
    {
        return Err(Broken::Initrd);
    }
    Ok(())
}
