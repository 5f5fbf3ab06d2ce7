//! A snapshot's folder in the making: under a name of its own beside the one that it is to have, until all in it is on the disk. Owns that nothing
//! half-made is ever taken for a snapshot, and that what a crash left goes away; does not know what lies in the folder.
//!
//! The maker holds a lock on the folder, which ends with its process: one that nobody has locked is nobody's any more.

use super::super::{
    VmmError,
    shared::layout::{make_folder, storage_error},
};
use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Behind the name of the snapshot and a number in sixteen hexadecimal digits.
const PARTIAL: &str = "partial";

/// A folder that was just made is not locked yet: nobody of this process looks for such ones in between.
static BEGINNING: Mutex<()> = Mutex::new(());

/// Whether whoever asked for a snapshot still waits for it.
#[derive(Debug, Clone, Default)]
pub struct Awaited(Arc<Mutex<bool>>);

/// Held by who waits; dropped, nothing is published any more.
#[derive(Debug)]
pub struct Waiting(Awaited);

impl Awaited {
    pub fn waits(&self) -> Waiting {
        Waiting(self.clone())
    }

    /// Errors: nobody waits any more.
    pub fn check(&self) -> Result<(), VmmError> {
        self.or_given_up(|| Ok(()))
    }

    /// Does it while somebody waits, who can't give up meanwhile.
    fn or_given_up(&self, act: impl FnOnce() -> Result<(), VmmError>) -> Result<(), VmmError> {
        let given_up = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *given_up {
            return Err(VmmError::Refused { call: "snapshot", detail: "whoever asked for it waits no more".into() });
        }
        act()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

/// Dropped before it is published, it is removed with all in it.
#[derive(Debug)]
pub struct Making {
    into: PathBuf,
    partial: PathBuf,
    /// Open for as long as the folder is in the making.
    lock: File,
}

impl Making {
    /// Makes it beside `into`, and removes what others that ended left there. Blocks.
    ///
    /// Errors: `into` is there already, or nothing can be made beside it.
    pub fn begin(into: &Path) -> Result<Self, VmmError> {
        let failed = |source| storage_error(into, source);
        if fs::symlink_metadata(into).is_ok() {
            return Err(failed(io::ErrorKind::AlreadyExists.into()));
        }
        let beside = into.parent().unwrap_or(into);
        make_folder(beside)?;
        let _nobody_else = BEGINNING.lock().unwrap_or_else(PoisonError::into_inner);
        // No reason not to make a new one.
        if let Err(error) = sweep_all(beside) {
            tracing::warn!(folder = %beside.display(), %error, "what snapshots left that were cut off can't be removed");
        }
        let partial = into.with_added_extension(format!("{:016x}.{PARTIAL}", rand::random::<u64>()));
        DirBuilder::new().mode(0o700).create(&partial).map_err(failed)?;
        let locked = File::open(&partial).and_then(|lock| lock.try_lock().map(|()| lock).map_err(io::Error::from));
        let lock = locked.inspect_err(|_| remove(&partial)).map_err(failed)?;
        Ok(Self { into: into.to_owned(), partial, lock })
    }

    /// Where its files go.
    pub fn folder(&self) -> &Path {
        &self.partial
    }

    /// Gives it its name, if somebody waits for it. All files in it are on the disk. Blocks.
    ///
    /// Errors: nobody waits, and nothing is left; the name is taken; it has its name, and nobody knows whether that is on the disk.
    pub fn publish(self, awaited: &Awaited) -> Result<(), VmmError> {
        let failed = |source| storage_error(&self.into, source);
        self.lock.sync_all().map_err(failed)?;
        awaited.or_given_up(|| fs::rename(&self.partial, &self.into).map_err(failed))?;
        self.into.parent().map_or(Ok(()), |beside| File::open(beside)?.sync_all()).map_err(failed)
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        // One that was published is not there any more by this name.
        remove(&self.partial);
    }
}

/// What can't be removed now is removed by a later sweep.
fn remove(partial: &Path) {
    let _left = fs::remove_dir_all(partial);
}

/// Removes what snapshots that were cut off by a crash left in the folder that snapshots are in; those in the making stay. Blocks.
///
/// Errors: the folder can't be read, or one can't be removed.
pub fn sweep(folder: &Path) -> Result<(), VmmError> {
    let _nobody_else = BEGINNING.lock().unwrap_or_else(PoisonError::into_inner);
    sweep_all(folder).map_err(|source| storage_error(folder, source))
}

fn sweep_all(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && is_partial(&entry.path()) {
            sweep_one(&entry.path())?;
        }
    }
    Ok(())
}

fn sweep_one(path: &Path) -> io::Result<()> {
    let removed = File::open(path).and_then(|folder| match folder.try_lock() {
        Ok(()) => fs::remove_dir_all(path),
        Err(TryLockError::WouldBlock) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
    });
    match removed {
        // Its maker has just published or removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn is_partial(path: &Path) -> bool {
    let number = path.file_stem().map(Path::new).and_then(Path::extension).and_then(|number| number.to_str());
    let is_number = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    path.extension().is_some_and(|extension| extension == PARTIAL) && number.is_some_and(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn it_is_there_whole_or_not_at_all() {
        let top = tempfile::tempdir().unwrap();
        let into = top.path().join("a.snapshot");
        let making = Making::begin(&into).unwrap();
        fs::write(making.folder().join("half"), b"x").unwrap();
        assert!(!into.exists() && is_partial(making.folder()), "{:?}", making.folder());
        drop(making);
        assert_eq!(names(top.path()), Vec::<String>::new());
        let making = Making::begin(&into).unwrap();
        fs::write(making.folder().join("whole"), b"x").unwrap();
        making.publish(&Awaited::default()).unwrap();
        assert_eq!((names(top.path()), names(&into)), (vec!["a.snapshot".to_owned()], vec!["whole".to_owned()]));
        assert!(
            matches!(Making::begin(&into), Err(VmmError::Folder { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists)
        );
    }

    #[test]
    fn nothing_is_published_for_who_has_given_up() {
        let top = tempfile::tempdir().unwrap();
        let (into, awaited) = (top.path().join("a"), Awaited::default());
        let waiting = awaited.waits();
        let making = Making::begin(&into).unwrap();
        awaited.check().unwrap();
        drop(waiting);
        awaited.check().unwrap_err();
        making.publish(&awaited).unwrap_err();
        assert_eq!(names(top.path()), Vec::<String>::new());
    }

    #[test]
    fn two_do_not_meet_and_one_of_them_has_the_name() {
        let top = tempfile::tempdir().unwrap();
        let into = top.path().join("a");
        let [first, second] = [(); 2].map(|()| Making::begin(&into).unwrap());
        for making in [&first, &second] {
            fs::write(making.folder().join("whose"), making.folder().to_str().unwrap()).unwrap();
        }
        let mine = first.folder().to_str().unwrap().to_owned();
        first.publish(&Awaited::default()).unwrap();
        second.publish(&Awaited::default()).unwrap_err();
        assert_eq!(fs::read_to_string(into.join("whose")).unwrap(), mine);
        assert_eq!(names(top.path()), ["a"]);
    }

    #[test]
    fn what_a_crash_left_is_removed_and_nothing_else() {
        let top = tempfile::tempdir().unwrap();
        let kept = ["b.0123456789abcde.partial", "b.partial", "c", "d.0123456789abcdef.partials"];
        for name in kept.into_iter().chain(["a.0123456789abcdef.partial"]) {
            fs::create_dir(top.path().join(name)).unwrap();
            fs::write(top.path().join(name).join("memory"), b"x").unwrap();
        }
        fs::write(top.path().join("f.0123456789abcdef.partial"), b"no folder").unwrap();
        let other = Making::begin(&top.path().join("other")).unwrap();
        assert!(!top.path().join("a.0123456789abcdef.partial").exists());
        sweep(top.path()).unwrap();
        assert!(other.folder().exists(), "it is in the making");
        drop(other);
        assert_eq!(names(top.path()), [&kept[..], &["f.0123456789abcdef.partial"]].concat());
        sweep(&top.path().join("absent")).unwrap_err();
    }
}
