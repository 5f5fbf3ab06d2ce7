//! For tests that change what belongs to their whole process: they run in one of their own.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::process::Command;

const INSIDE: &str = "HEARTH_TEST_ALONE";

/// Whether this is the process of its own. If not, it was made, and the test of that name has passed in it.
pub fn alone(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", test]).env(INSIDE, "1").output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
    false
}

/// At most so many descriptors from now on; gives how many there might be before.
pub fn descriptors(most: u64) -> u64 {
    let (before, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, hard).unwrap();
    before
}
