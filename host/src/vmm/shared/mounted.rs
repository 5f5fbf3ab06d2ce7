//! For tests: a small file system of their own.

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use std::{fs, path::Path};

/// In a mount namespace of the work's own thread, where the folder `other` is a tmpfs with these options. Says so where none can be mounted.
pub fn mounted(options: &'static str, work: impl FnOnce(&Path) + Send + 'static) {
    let none: Option<&str> = None;
    let thread = move || {
        let data = tempfile::tempdir().unwrap();
        let other = data.path().join("other");
        fs::create_dir(&other).unwrap();
        let made = unshare(CloneFlags::CLONE_NEWNS)
            .and_then(|()| mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none))
            .and_then(|()| mount(Some("other"), &other, Some("tmpfs"), MsFlags::empty(), Some(options)));
        match made {
            Ok(()) => work(data.path()),
            Err(error) => eprintln!("SKIPPED: another file system can't be mounted: {error}"),
        }
    };
    std::thread::spawn(thread).join().unwrap();
}
