//! Finding programs, and asking them their version. Nothing else is started here.

use std::{
    env,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};
use tokio::{process::Command, time::timeout};

/// QEMU needs 50 ms to print its version; a busy machine ten times that, a cold disk more.
const PROGRAM_DEADLINE: Duration = Duration::from_secs(10);

/// Where administrators' programs are on every Linux; missing in the PATH of a `su` without a dash on Debian.
const ADMIN_FOLDERS: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// The first executable of this name in PATH or in the administrators' folders.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).filter(|folder| folder.is_absolute()).chain(ADMIN_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| is_executable(file))
}

pub(crate) fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// What a program says of itself: the first line that is not empty, of either channel.
pub(crate) async fn version(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = ask(program, arguments).await?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let first = text.lines().map(str::trim).find(|line| !line.is_empty());
    first.map(str::to_owned).ok_or_else(|| "it says nothing".to_owned())
}

/// Runs a program to its end, with nothing to read and a deadline.
pub(super) async fn ask(program: &Path, arguments: &[&str]) -> Result<Output, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    match timeout(PROGRAM_DEADLINE, command.output()).await {
        Err(_) => Err(format!("no answer within {} s", PROGRAM_DEADLINE.as_secs())),
        Ok(Err(error)) => Err(format!("it can't be run: {error}")),
        Ok(Ok(output)) if output.status.success() => Ok(output),
        Ok(Ok(output)) => Err(format!("it ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())),
    }
}
