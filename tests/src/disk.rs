//! A file system of a test's own, to be filled, to fail and to be mended; unmounted at the end.

use anyhow::{Context, Result, ensure};
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

pub struct Disk {
    at: PathBuf,
    /// Where no other place was named.
    folder: Option<tempfile::TempDir>,
    /// Of a file system that lies in a file.
    image: Option<PathBuf>,
}

impl Disk {
    pub fn in_memory(mib: u32) -> Result<Disk> {
        let (at, folder) = folder()?;
        let mut disk = Disk::in_memory_at(&at, mib)?;
        disk.folder = Some(folder);
        Ok(disk)
    }

    pub fn in_memory_at(at: &Path, mib: u32) -> Result<Disk> {
        std::fs::create_dir_all(at)?;
        done(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "hearth-e2e"]).arg(at))?;
        Ok(Disk { at: at.to_owned(), folder: None, image: None })
    }

    /// ext4 in a file; needs loop devices, which not every machine has.
    pub fn in_file(mib: u64) -> Result<Disk> {
        let (at, folder) = folder()?;
        let image = at.with_extension("img");
        std::fs::File::create(&image)?.set_len(mib << 20)?;
        let disk = Disk { at, folder: Some(folder), image: Some(image.clone()) };
        done(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&self) -> Result<()> {
        let Some(image) = &self.image else { return Ok(()) };
        done(Command::new("mount").args(["-o", "loop"]).arg(image).arg(self.path())).map(drop)
    }

    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Where a server's data directory is to be made.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Not a byte is left.
    pub fn fill(&self) -> Result<()> {
        use std::io::Write;
        let mut file = std::fs::File::create(self.path().join("filler"))?;
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
        Ok(())
    }

    pub fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.path().join("filler"))?)
    }

    /// As after an error of the disk: the kernel takes no more writes, also from those who have files open.
    pub fn fail(&self) -> Result<()> {
        done(Command::new("mount").args(["-o", "remount,abort"]).arg(self.path())).map(drop)
    }

    /// What an administrator does: check, and mount again. Nobody may use it.
    pub fn repair(&self) -> Result<()> {
        done(Command::new("umount").arg(self.path()))?;
        if let Some(image) = &self.image {
            let checked = Command::new("e2fsck").args(["-f", "-y"]).arg(image).output()?;
            // 1: errors were corrected.
            ensure!(matches!(checked.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&checked.stdout));
        }
        self.mount()
    }

    /// Takes no more writes, or takes them again. Nobody may have a file open for writing.
    pub fn writable(&self, yes: bool) -> Result<()> {
        let how = if yes { "remount,rw" } else { "remount,ro" };
        done(Command::new("mount").args(["-o", how]).arg(self.path())).map(drop)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).output();
        // Not while it is mounted.
        drop(self.folder.take());
        if let Some(image) = &self.image {
            let _ = std::fs::remove_file(image);
        }
    }
}

fn folder() -> Result<(PathBuf, tempfile::TempDir)> {
    let folder = tempfile::Builder::new().prefix("hearth-disk-").tempdir()?;
    Ok((folder.path().to_owned(), folder))
}

fn done(command: &mut Command) -> Result<Output> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output)
}
