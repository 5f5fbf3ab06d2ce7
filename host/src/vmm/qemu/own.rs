//! A user and a root of its own for each QEMU process. Owns who the VM's user is, the empty folder that becomes the root, how QEMU is told,
//! and what must be true of the process then.
//!
//! ```text
//!  vms/<vm>/uid          the VM's uid, which is its gid too
//!  vms/<vm>/root-<n>     "/" of the process of launch n: empty, and nobody's to write to; tells that this launch was confined
//! ```
//! QEMU changes both itself: after it has opened its devices, disks, logs, sockets and TAP as root, and before its main loop, without which
//! no monitor answers and, with `-S`, no guest runs. So the images stay root's alone, and nothing need be handed over.
//!
//! A QEMU that was taken over can write into its own disk's header, and the next launch opens, as root still, the files that stand there: so
//! the header is looked at before ([`super::header`]).

use super::super::{
    VmmError,
    confinement::{Confinement, Wanted},
    shared::{
        confined,
        layout::storage_error,
        uid::{self, Uids},
    },
};
use domain::{Attempt, VmId, vm::Machine};
use nix::unistd::geteuid;
use std::{
    fs, io,
    ops::{Range, RangeInclusive},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

const ROOT: &str = "root-";
/// By capabilities(7). To end it, to change its user and groups and root, and to look at it afterwards.
const NEEDED: [(u32, &str); 5] = [(5, "KILL"), (6, "SETGID"), (7, "SETUID"), (18, "SYS_CHROOT"), (19, "SYS_PTRACE")];

/// Whose QEMU's processes are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum UserChoice {
    /// Each VM has one of these as its uid and its gid, and a root of its own. Where hearth is not root, as [`UserChoice::Hearths`].
    Own(Range<u32>),
    /// hearth's, with the host's root.
    #[default]
    Hearths,
}

/// Gives users and roots to the processes of one hearth.
#[derive(Debug)]
pub struct Users {
    uids: Uids,
    manner: Manner,
}

/// Which options this QEMU has: the newer `-run-with`, or the older ones that it replaces one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    root_by_run_with: bool,
    user_by_run_with: bool,
}

/// The user and root of one launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    uid: u32,
    root: String,
    manner: Manner,
}

/// Whether hearth can give its processes to these users: it is root, and no container's that lacks the rights or the users. Else what to tell
/// of it.
pub fn possible(uids: &Range<u32>) -> Result<(), Option<String>> {
    if !geteuid().is_root() {
        // A workstation's user: all is theirs anyway.
        return Err(None);
    }
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    match lacking(&status).as_slice() {
        [] => uid::absent(&inclusive(uids)).map_or(Ok(()), |path| {
            let (first, last) = inclusive(uids).into_inner();
            Err(Some(format!(
                "QEMU runs as root: this container has not all of the uids {first}-{last} ({path}); name some that it has with --jailer-uids"
            )))
        }),
        names => Err(Some(format!(
            "QEMU runs as root: hearth lacks the capabilities {} to give it a user of its own",
            names.join(", ")
        ))),
    }
}

/// What to tell where no user was asked for.
pub fn given_up() -> Option<String> {
    geteuid().is_root().then(|| "QEMU runs as root (--no-jailer)".to_owned())
}

/// Both ends are in it.
pub fn inclusive(uids: &Range<u32>) -> RangeInclusive<u32> {
    uids.start..=uids.end.saturating_sub(1)
}

fn lacking(status: &str) -> Vec<&'static str> {
    let field = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let held = field.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    NEEDED.iter().filter(|(bit, _)| held & (1 << bit) == 0).map(|&(_, name)| name).collect()
}

impl Manner {
    /// By QEMU's own help. Absent: it can do without one of both, or neither.
    pub fn of(help: &str) -> Option<Self> {
        let option = |name: &str| help.lines().any(|line| line.split_whitespace().next() == Some(name));
        // An option's further lines are indented.
        let from = help.lines().skip_while(|line| line.split_whitespace().next() != Some("-run-with"));
        let run_with: String =
            from.enumerate().take_while(|(at, line)| *at == 0 || !line.starts_with('-')).map(|(_, line)| line).collect();
        let either = |newer: &str, older: &str| match run_with.contains(newer) {
            true => Some(true),
            false => option(older).then_some(false),
        };
        Some(Self { root_by_run_with: either("chroot=", "-chroot")?, user_by_run_with: either("user=", "-runas")? })
    }
}

impl Users {
    /// `help`: what this QEMU says of its options. Errors: somebody is in the range; this QEMU changes neither user nor root.
    pub fn open(vms: PathBuf, uids: RangeInclusive<u32>, help: &str) -> Result<Self, VmmError> {
        let unable = "this QEMU can't be given a user and a root of its own: install one with -run-with, or -runas and -chroot";
        let manner = Manner::of(help).ok_or_else(|| VmmError::Spawn { detail: unable.into() })?;
        Ok(Self { uids: Uids::open(vms, uids)?, manner })
    }

    /// Makes the root of that launch. Blocks. Errors: no uid is left; the file system refuses.
    pub fn prepare(&self, vm: VmId, folder: &Path, launch: Attempt) -> Result<Own, VmmError> {
        let uid = self.uids.of(vm)?;
        let root = name(launch);
        let path = folder.join(&root);
        let made = fs::create_dir(&path).and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o555)));
        made.map_err(|source| storage_error(&path, source))?;
        Ok(Own { uid, root, manner: self.manner })
    }
}

impl Own {
    /// The gid, too.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// QEMU's words for it. The folder is named without a path: the process works in the VM's folder.
    pub fn words(&self) -> [String; 4] {
        let (uid, root) = (self.uid, &self.root);
        let [chroot, to] = match self.manner.root_by_run_with {
            true => ["-run-with".into(), format!("chroot={root}")],
            false => ["-chroot".into(), root.clone()],
        };
        let [run_as, user] = match self.manner.user_by_run_with {
            true => ["-run-with".into(), format!("user={uid}:{uid}")],
            false => ["-runas".into(), format!("{uid}:{uid}")],
        };
        [chroot, to, run_as, user]
    }
}

fn name(launch: Attempt) -> String {
    format!("{ROOT}{}", launch.0)
}

/// Removes the roots of all launches; none is no error. The processes must be gone. Blocks.
pub fn remove(folder: &Path) -> Result<(), VmmError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|source| storage_error(folder, source))?,
    };
    for entry in entries {
        let entry = entry.map_err(|source| storage_error(folder, source))?;
        if entry.file_name().as_encoded_bytes().starts_with(ROOT.as_bytes()) {
            fs::remove_dir(entry.path()).map_err(|source| storage_error(&entry.path(), source))?;
        }
    }
    Ok(())
}

/// The root of the process of that record, if it was started with one. One that an older hearth started as root has none, nor has one of a
/// hearth that was told not to, or that could not.
pub fn root(folder: &Path, machine: &Machine) -> Option<PathBuf> {
    Some(folder.join(name(machine.launch))).filter(|root| root.exists())
}

/// One sentence for each thing that is not as it was when the process was started with that root.
pub fn problems(folder: &Path, root: &Path, look: &Confinement) -> Vec<String> {
    confined::problems(uid::allotted(folder), look, |uid| Wanted::own_user(uid, root))
}

#[cfg(test)]
mod tests;
