//! What a guest boots with: the kernel, and the initramfs, the kernel image's modules followed by the agent. Made once per pair and kept under
//! `<data>/boot`, since all VMs of a kernel share it. QEMU reads it at start only, so an old one may go at any time.

use super::super::{MachinePlan, VmmError};
use super::layout::{make_folder, storage_error};
use crate::guest::initramfs::agent_archive;
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

/// Each archive in an initramfs begins at such an offset.
const ARCHIVE_ALIGN: usize = 4;

/// The kernel, by its real path: a link in the store must not lead a process elsewhere.
pub fn kernel(plan: &MachinePlan) -> Result<PathBuf, VmmError> {
    plan.kernel.canonicalize().map_err(|source| VmmError::Base { path: plan.kernel.clone(), source })
}

#[derive(Debug)]
pub struct BootFiles {
    folder: PathBuf,
    agent: Vec<u8>,
    agent_digest: String,
}

fn short(digest: impl AsRef<[u8]>) -> String {
    digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl BootFiles {
    pub fn new(folder: PathBuf, agent: &[u8]) -> Self {
        Self { folder, agent: agent_archive(agent), agent_digest: short(Sha256::digest(agent)) }
    }

    /// The file for a kernel with these modules, made if it is not there.
    pub fn initrd(&self, modules: Option<&Path>) -> Result<PathBuf, VmmError> {
        let mut key = Sha256::new();
        if let Some(path) = modules {
            // The image store never changes a file, so its name, size and time stand for its content.
            let found = fs::metadata(path).map_err(|source| VmmError::Base { path: path.into(), source })?;
            key.update(path.as_os_str().as_bytes());
            key.update(
                [found.len(), found.ino(), found.mtime() as u64, found.mtime_nsec() as u64].map(u64::to_le_bytes).concat(),
            );
        }
        let file = self.folder.join(format!("{}-{}.cpio", self.agent_digest, short(key.finalize())));
        if file.exists() {
            return Ok(file);
        }
        make_folder(&self.folder)?;
        self.write(modules, &file).map_err(|source| storage_error(&file, source))?;
        Ok(file)
    }

    fn write(&self, modules: Option<&Path>, file: &Path) -> io::Result<()> {
        // Two launches may make the same file at once: each its own, and the last rename wins with the same content.
        let mut partial = tempfile_in(&self.folder)?;
        let mut modules = modules.map(fs::read).transpose()?.unwrap_or_default();
        modules.resize(modules.len().next_multiple_of(ARCHIVE_ALIGN), 0);
        let written = partial.1.write_all(&modules).and_then(|()| partial.1.write_all(&self.agent));
        written.and_then(|()| partial.1.sync_all()).and_then(|()| fs::rename(&partial.0, file)).inspect_err(|_| {
            let _removed = fs::remove_file(&partial.0);
        })
    }

    /// Removes files with another agent, and what a crash left.
    pub fn sweep(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if !name.to_string_lossy().starts_with(&self.agent_digest) {
                let _another_time = fs::remove_file(entry.path());
            }
        }
    }
}

fn tempfile_in(folder: &Path) -> io::Result<(PathBuf, File)> {
    let path = folder.join(format!("partial-{:016x}", rand::random::<u64>()));
    let file = File::options().write(true).create_new(true).open(&path)?;
    Ok((path, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_per_kernel_and_agent() {
        let data = tempfile::tempdir().unwrap();
        let modules = data.path().join("modules.cpio");
        fs::write(&modules, b"12345").unwrap();
        let boot = BootFiles::new(data.path().join("boot"), b"agent one");
        let file = boot.initrd(Some(&modules)).unwrap();
        assert_eq!(boot.initrd(Some(&modules)).unwrap(), file);
        assert_ne!(boot.initrd(None).unwrap(), file);
        let content = fs::read(&file).unwrap();
        assert!(content.starts_with(&[b"12345\0\0\0".as_slice(), b"070701"].concat()));
        let newer = BootFiles::new(data.path().join("boot"), b"agent two");
        newer.initrd(None).unwrap();
        newer.sweep();
        assert_eq!(fs::read_dir(data.path().join("boot")).unwrap().count(), 1);
    }
}
