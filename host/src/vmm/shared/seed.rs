//! The drive that cloud-init in the guest configures itself by, as a file in the VM's folder: written anew with each launch, so that what was
//! changed since shows at the next start, and gone where none is asked for any more. What is in it: `crate::seed`.

use super::super::{MachinePlan, VmmError};
use super::{
    layout::{remove_file, storage_error},
    sparse,
};
use crate::seed;
use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// The file's name; the guest sees it as its second drive, read-only.
pub const SEED: &str = "seed.iso";
const PARTIAL: &str = "seed.partial";
/// It may hold secrets, and nobody writes to it.
const MODE: u32 = 0o400;

/// A file of its own each time: one that a jail had becomes nobody else's by it. On an error an older one may be left, to be replaced by the
/// next launch. Blocks.
pub fn write(plan: &MachinePlan, folder: &Path) -> Result<(), VmmError> {
    let failed = |source| storage_error(&folder.join(SEED), source);
    match seed::image(plan) {
        None => none(folder),
        Some(image) => place(folder, |partial| put(&image, partial).map_err(failed)),
    }
}

/// As [`write`], with a snapshot's own.
pub fn put_back(image: Option<&Path>, folder: &Path) -> Result<(), VmmError> {
    let Some(image) = image else { return none(folder) };
    place(folder, |partial| {
        sparse::copy(image, partial)?;
        fs::set_permissions(partial, fs::Permissions::from_mode(MODE)).map_err(|source| storage_error(partial, source))
    })
}

fn none(folder: &Path) -> Result<(), VmmError> {
    for name in [SEED, PARTIAL] {
        let path = folder.join(name);
        remove_file(&path).map_err(|source| storage_error(&path, source))?;
    }
    Ok(())
}

fn place(folder: &Path, make: impl FnOnce(&Path) -> Result<(), VmmError>) -> Result<(), VmmError> {
    let (path, partial) = (folder.join(SEED), folder.join(PARTIAL));
    let failed = |source| storage_error(&path, source);
    let placed = remove_file(&partial).map_err(failed).and_then(|()| make(&partial));
    placed.and_then(|()| fs::rename(&partial, &path).map_err(failed)).inspect_err(|_| {
        // The first error is the one to tell.
        let _removed = fs::remove_file(&partial);
    })
}

/// Not flushed: it need not outlive the machine, whose processes do not either.
fn put(image: &[u8], partial: &Path) -> io::Result<()> {
    File::options().write(true).create_new(true).mode(MODE).open(partial)?.write_all(image)
}

#[cfg(test)]
mod tests {
    use super::super::super::sample;
    use super::*;
    use domain::vm::CloudInit;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn each_launch_has_a_file_of_its_own_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let with = |data: &str| MachinePlan {
            cloud_init: Some(Box::new(CloudInit { user_data: Some(data.into()), ..CloudInit::default() })),
            ..sample::plan()
        };
        let path = folder.path().join(SEED);
        // Of a hearth that ended while it wrote.
        fs::write(folder.path().join(PARTIAL), b"half").unwrap();
        write(&with("first"), folder.path()).unwrap();
        let first = fs::metadata(&path).unwrap();
        assert_eq!(first.permissions().mode() & 0o777, 0o400);
        let _jails_own_name = fs::hard_link(&path, folder.path().join("in-a-jail"));
        write(&with("second"), folder.path()).unwrap();
        assert_ne!(fs::metadata(&path).unwrap().ino(), first.ino(), "what a jail had it keeps to itself");
        let told = fs::read(&path).unwrap();
        assert!(told.windows(6).any(|word| word == b"second") && !told.windows(5).any(|word| word == b"first"));
        let older = folder.path().join("older");
        fs::write(&older, b"a snapshot's").unwrap();
        put_back(Some(&older), folder.path()).unwrap();
        assert_eq!(
            (fs::read(&path).unwrap().as_slice(), fs::metadata(&path).unwrap().mode() & 0o777),
            (&b"a snapshot's"[..], 0o400)
        );
        fs::remove_file(&older).unwrap();
        assert!(put_back(Some(&older), folder.path()).is_err());
        put_back(None, folder.path()).unwrap();
        for _ in 0..2 {
            fs::write(folder.path().join(PARTIAL), b"half").unwrap();
            write(&MachinePlan { cloud_init: None, ..with("") }, folder.path()).unwrap();
        }
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["in-a-jail"]);
        assert!(matches!(write(&with(""), Path::new("/no/folder")), Err(VmmError::Folder { .. })));
    }
}
