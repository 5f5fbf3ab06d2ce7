//! The store as a folder: `<image id>` and `<image id>.initrd`, read-only. Images with the same bytes are hard links of one file, found
//! by `by-digest/<sha256>`. Owns these files; who may remove an image is not decided here.

use super::kind::{Kind, check};
use super::{Copying, ImageError, ImageStore, busy::Busy, copy};
use async_trait::async_trait;
use domain::{
    ImageId,
    image::{Files, ImageKind, ImageSpec},
};
use nix::libc;
use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

const BY_DIGEST: &str = "by-digest";
const PARTIAL: &str = "partial";
const INITRD: &str = "initrd";

#[derive(Debug, Clone)]
pub struct FileStore {
    folder: PathBuf,
    /// Held while links are counted or changed: one import's new link must not be another removal's last.
    links: Arc<Mutex<()>>,
    busy: Arc<Busy>,
}

/// An import that was given up ends with its chunk of 1 MiB; a disk that needs longer than this for one does not answer.
const TURN_WITHIN: Duration = Duration::from_secs(30);

impl FileStore {
    /// The folder is made at the first import.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), links: Arc::default(), busy: Arc::default() }
    }

    fn import_now(&self, image: ImageId, spec: &ImageSpec, copying: &Copying) -> Result<Files, ImageError> {
        let _turn = self.busy.enter(image, TURN_WITHIN).ok_or(ImageError::Busy { image })?;
        let sources = std::iter::once(&spec.path).chain(&spec.initrd);
        // What can't be looked at is told when it is opened.
        copying.will_copy(sources.filter_map(|path| fs::metadata(path).ok()).map(|file| file.len()).sum());
        for folder in [self.folder.clone(), self.folder.join(BY_DIGEST)] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|source| store_error(&folder, source))?;
        }
        let kind = match spec.kind {
            ImageKind::Kernel => Kind::Kernel,
            ImageKind::Rootfs => Kind::Rootfs,
        };
        let main = self.take(Path::new(&spec.path), kind, &self.path(image), copying)?;
        let initrd =
            spec.initrd.as_deref().map(|path| self.take(Path::new(path), Kind::Initrd, &self.initrd_path(image), copying));
        match initrd.transpose() {
            Ok(initrd) => Ok(Files {
                digest: main.0,
                size_bytes: main.1,
                initrd_size_bytes: initrd.as_ref().map_or(0, |file| file.1),
                initrd_digest: initrd.map(|file| file.0),
            }),
            Err(error) => {
                // The error of the import is the one to report; a sweep takes what could not be removed.
                let _removed = self.remove_now(image);
                Err(error)
            }
        }
    }

    /// Copies one file to its place. Replaces what is there; on an error nothing of it is left.
    fn take(&self, path: &Path, kind: Kind, place: &Path, copying: &Copying) -> Result<(String, u64), ImageError> {
        let source = open_source(path)?;
        check(&source, path, kind)?;
        let partial = place.with_extension(format!("{}{PARTIAL}", if kind == Kind::Initrd { INITRD } else { "" }));
        let taken = self.fill(&source, &partial, place, copying);
        taken.map_err(|error| {
            // What can't be removed now is left to the sweep.
            if let Ok(Some(inode)) = shared_by(&partial) {
                let _removed = fs::remove_file(&partial).and_then(|()| self.forget_unshared(inode));
            }
            if copying.is_given_up() { ImageError::GivenUp } else { store_error(place, error) }
        })
    }

    fn fill(&self, source: &File, partial: &Path, place: &Path, copying: &Copying) -> io::Result<(String, u64)> {
        let file = File::options().read(true).write(true).create(true).truncate(true).mode(0o600).open(partial)?;
        let (digest, len) = copy::copy(source, &file, copying)?;
        // Read-only for us too: other images may be links of it.
        file.set_permissions(Permissions::from_mode(0o400))?;
        file.sync_all()?;
        let _alone = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = self.shared(&digest);
        match fs::hard_link(partial, &shared) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(partial)?;
                fs::hard_link(&shared, partial)?;
            }
            result => result?,
        }
        if let Some(older) = shared_by(place)? {
            fs::remove_file(place)?;
            self.forget_unshared(older)?;
        }
        fs::rename(partial, place)?;
        File::open(&self.folder)?.sync_all()?;
        File::open(self.folder.join(BY_DIGEST))?.sync_all()?;
        Ok((digest, len))
    }

    fn shared(&self, digest: &str) -> PathBuf {
        self.folder.join(BY_DIGEST).join(digest.trim_start_matches("sha256:"))
    }

    /// Removes the entry by digest of that inode if no image is left that has it.
    fn forget_unshared(&self, inode: u64) -> io::Result<()> {
        for entry in fs::read_dir(self.folder.join(BY_DIGEST))? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.ino() == inode && metadata.nlink() == 1 {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn remove_now(&self, image: ImageId) -> io::Result<()> {
        let _alone = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        for place in [self.path(image), self.initrd_path(image)] {
            if let Some(inode) = shared_by(&place)? {
                fs::remove_file(&place)?;
                self.forget_unshared(inode)?;
            }
        }
        Ok(())
    }

    fn sweep_now(&self, known: &[ImageId]) -> io::Result<Vec<String>> {
        let _alone = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let mut removed = Vec::new();
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(removed),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let image = name.split('.').next().and_then(|id| id.parse::<ImageId>().ok());
            // What is not named like ours is not ours.
            let Some(image) = image else { continue };
            if !known.contains(&image) || name.ends_with(PARTIAL) {
                fs::remove_file(entry.path())?;
                removed.push(format!("file {name}"));
            }
        }
        for entry in fs::read_dir(self.folder.join(BY_DIGEST)).into_iter().flatten() {
            self.forget_unshared(entry?.metadata()?.ino())?;
        }
        Ok(removed)
    }
}

/// The inode at that place; `None` when nothing is there.
fn shared_by(place: &Path) -> io::Result<Option<u64>> {
    match fs::symlink_metadata(place) {
        Ok(metadata) => Ok(Some(metadata.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn open_source(path: &Path) -> Result<File, ImageError> {
    let refused = |source| ImageError::Source { path: path.into(), source };
    if !path.is_absolute() {
        return Err(refused(io::Error::new(io::ErrorKind::InvalidInput, "the path must be absolute")));
    }
    // Non-blocking: opening a pipe that nobody writes to would wait for ever.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path).map_err(refused)?;
    if file.metadata().map_err(refused)?.is_file() {
        return Ok(file);
    }
    Err(refused(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")))
}

fn store_error(path: &Path, source: io::Error) -> ImageError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ImageError::DiskFull { path: path.into() },
        _ => ImageError::Store { path: path.into(), source },
    }
}

async fn blocking<T: Send + 'static>(
    store: &FileStore,
    work: impl FnOnce(&FileStore) -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    let (owned, folder) = (store.clone(), store.folder.clone());
    match tokio::task::spawn_blocking(move || work(&owned)).await {
        Ok(result) => result,
        Err(error) => Err(ImageError::Store { path: folder, source: io::Error::other(error) }),
    }
}

struct GiveUpOnDrop(Arc<Copying>);

impl Drop for GiveUpOnDrop {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

#[async_trait]
impl ImageStore for FileStore {
    async fn import(&self, image: ImageId, spec: &ImageSpec, copying: &Arc<Copying>) -> Result<Files, ImageError> {
        // A thread can't be ended from outside: when nobody waits any more, it is told.
        let _given_up = GiveUpOnDrop(Arc::clone(copying));
        let (spec, copying) = (spec.clone(), Arc::clone(copying));
        blocking(self, move |store| store.import_now(image, &spec, &copying)).await
    }

    async fn remove(&self, image: ImageId) -> Result<(), ImageError> {
        blocking(self, move |store| {
            let _turn = store.busy.enter(image, TURN_WITHIN).ok_or(ImageError::Busy { image })?;
            store.remove_now(image).map_err(|source| store_error(&store.folder, source))
        })
        .await
    }

    fn path(&self, image: ImageId) -> PathBuf {
        self.folder.join(image.to_string())
    }

    fn initrd_path(&self, image: ImageId) -> PathBuf {
        self.folder.join(format!("{image}.{INITRD}"))
    }

    async fn sweep(&self, known: &[ImageId]) -> Result<Vec<String>, ImageError> {
        let known = known.to_vec();
        blocking(self, move |store| store.sweep_now(&known).map_err(|source| store_error(&store.folder, source))).await
    }
}

#[cfg(test)]
mod tests;
