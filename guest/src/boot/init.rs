//! Which program of the image is its init, and becoming it.
use nix::{
    sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask},
    unistd::execve,
};
use std::{ffi::CString, os::unix::fs::PermissionsExt};

/// Where images have it, in the order that we look; the kernel's own `/etc/init` and `/bin/sh` are left out: the agent is the better init.
const PLACES: [&str; 3] = ["/sbin/init", "/init", "/bin/init"];

/// `None` when the image has none. What was asked for by name is taken as it is: if it is not there, the boot fails and says so.
pub fn find(asked: Option<&str>) -> Option<String> {
    if let Some(asked) = asked {
        return Some(asked.to_owned());
    }
    let runs = |place: &&str| std::fs::metadata(place).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    PLACES.iter().find(|place| runs(place)).map(|place| (*place).to_owned())
}

/// Returns only on an error.
pub fn become_it(program: &str) -> nix::Error {
    // Rust's runtime ignores SIGPIPE, and exec keeps that.
    #[allow(unsafe_code)]
    // SAFETY: the default action is no function of ours.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
    let Ok(path) = CString::new(program) else { return nix::Error::EINVAL };
    let environment = [c"HOME=/", c"TERM=linux", c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];
    match execve(&path, &[&path], &environment) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}
