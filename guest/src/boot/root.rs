//! Waits for the root device, mounts it and moves into it. The initramfs stays below as an empty rootfs, as with every switch_root.
use super::Cmdline;
use crate::{network::uevent::Uevents, root_size};
use nix::{
    mount::{MsFlags, mount},
    unistd::{chdir, chroot},
};
use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

/// A device that is not there by then won't come: virtio devices are there 0.1 s after their driver, emulated machines take ten times that.
const DEVICE_DEADLINE: Duration = Duration::from_secs(30);
const NEW_ROOT: &str = "/root";

/// After it `/` is the image's root, with `/dev`, `/proc` and `/sys` in it.
pub fn enter(device: &str, cmdline: &Cmdline<'_>) -> io::Result<()> {
    if !device.starts_with("/dev/") {
        return Err(io::Error::other("only a path below /dev is understood as root="));
    }
    wait_for(Path::new(device))?;
    let flags = if cmdline.read_only() { MsFlags::MS_RDONLY } else { MsFlags::empty() };
    fs::create_dir_all(NEW_ROOT)?;
    mount(Some(device), NEW_ROOT, Some(cmdline.filesystem()), flags, cmdline.root_flags())?;
    if cmdline.filesystem() == "ext4" && !cmdline.read_only() {
        // One that stays small is no reason not to boot.
        if let Err(error) = root_size::fill(Path::new(NEW_ROOT)) {
            crate::kmsg::log(&format!("the root file system is not made as large as its disk: {error}"));
        }
    }
    for place in ["dev", "proc", "sys"] {
        let target = format!("{NEW_ROOT}/{place}");
        // On a read-only image that lacks it the move fails, and says so.
        let _ = fs::create_dir_all(&target);
        mount(Some(format!("/{place}").as_str()), target.as_str(), None::<&str>, MsFlags::MS_MOVE, None::<&str>)?;
    }
    chdir(NEW_ROOT)?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)?;
    chroot(".")?;
    chdir("/")?;
    Ok(())
}

/// Sleeps until the kernel reports a device, and looks again.
fn wait_for(device: &Path) -> io::Result<()> {
    let deadline = Instant::now() + DEVICE_DEADLINE;
    // Open before the first look, so that nothing falls between.
    let uevents = Uevents::open()?;
    while !device.exists() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the device did not appear; are its driver and its disk there?"));
        }
        uevents.wait(left)?;
    }
    Ok(())
}
