//! The kernel's file systems, mounted where programs expect them.
use nix::mount::{MsFlags, mount};
use std::fs;

const SAFE: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// What the boot itself needs. Errors name the place.
pub fn kernel_filesystems() -> Result<(), String> {
    at("proc", "/proc", SAFE, None)?;
    at("sysfs", "/sys", SAFE, None)?;
    at("devtmpfs", "/dev", MsFlags::MS_NOSUID, Some("mode=0755"))
}

/// What terminals and shared memory need, whatever the image's init mounts later. systemd takes them as they are.
pub fn for_programs() {
    said(at("devpts", "/dev/pts", MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC), Some("mode=0620,gid=5,ptmxmode=0666")));
    said(at("tmpfs", "/dev/shm", MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV), Some("mode=1777")));
}

/// What an init would mount besides.
pub fn for_ourselves_as_init() {
    if !std::path::Path::new("/dev/pts/ptmx").exists() {
        for_programs();
    }
    said(at("tmpfs", "/run", MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV), Some("mode=0755")));
    said(at("cgroup2", "/sys/fs/cgroup", SAFE, None));
}

fn said(done: Result<(), String>) {
    if let Err(error) = done {
        crate::kmsg::log(&format!("can't mount {error}"));
    }
}

fn at(kind: &str, place: &str, flags: MsFlags, options: Option<&str>) -> Result<(), String> {
    // It may be there already, or not be makeable: the mount tells.
    let _ = fs::create_dir_all(place);
    mount(Some(kind), place, Some(kind), flags, options).map_err(|error| format!("{kind} on {place}: {error}"))
}
