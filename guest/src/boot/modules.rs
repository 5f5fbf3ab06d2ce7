//! Loads the modules that the kernel's initramfs brings, in the order that it names, and gives their memory back.
use crate::kmsg;
use std::{fs, os::fd::AsRawFd, path::Path};

const FOLDER: &str = "/modules";

/// Does nothing when the initramfs has none. A module that can't be loaded is said and passed over: what it was for shows later.
pub fn load_all() {
    let Ok(order) = fs::read_to_string(Path::new(FOLDER).join("order")) else { return };
    for name in order.lines().map(str::trim).filter(|name| !name.is_empty()) {
        if let Err(error) = load(&Path::new(FOLDER).join(name)) {
            kmsg::log(&format!("module {name} can't be loaded: {error}"));
        }
    }
    // The initramfs lives in memory.
    let _ = fs::remove_dir_all(FOLDER);
}

fn load(path: &Path) -> std::io::Result<()> {
    let file = fs::File::open(path)?;
    #[allow(unsafe_code)]
    // SAFETY: the descriptor is open and the parameters are a string that ends in zero; the kernel reads both and keeps neither.
    let done = unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), c"".as_ptr(), 0) };
    let error = std::io::Error::last_os_error();
    // Built in or loaded already.
    if done == 0 || error.raw_os_error() == Some(libc::EEXIST) { Ok(()) } else { Err(error) }
}
