//! How a live process is confined, as the kernel tells: user, capabilities, seccomp and no-new-privileges of **every** thread (all of them
//! are a thread's own), namespaces, root folder, cgroup. Owns the reading and the judgement; changes nothing and knows no VMM.
//!
//! When Firecracker's threads have their filters, by its source (1.17-dev): `fc_api` before it serves its first request; each `fc_vcpu`
//! before its vCPU first runs; the main thread last, **after** `InstanceStart` (or the load of a snapshot) was answered and before it
//! handles any event of the guest. With the filter comes no-new-privileges. So a look before `InstanceStart` finds the main thread without
//! either, and one right after its answer may; whatever the API answers next (`GET /`) is answered by a main thread that has its filter.

#[cfg(test)]
mod tests;

use nix::libc;
use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// `SECCOMP_MODE_FILTER`.
const FILTERED: u8 = 2;

/// One thread, from its `status`. Numbers of users and groups: real, effective, saved, file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    pub tid: u32,
    pub name: String,
    pub uids: [u32; 4],
    pub gids: [u32; 4],
    /// Supplementary groups.
    pub groups: Vec<u32>,
    pub no_new_privs: bool,
    /// 0 none, 1 strict, 2 filter.
    pub seccomp: u8,
    /// Effective, permitted and ambient capabilities together, a bit each.
    pub capabilities: u64,
    /// What a program that it starts could gain at most. With no-new-privileges nothing of it can be gained.
    pub bounding: u64,
}

/// A process's confinement at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    /// At least one, in the order of the kernel; threads that ended meanwhile are not in it.
    pub threads: Vec<Thread>,
    /// Namespaces: whether they are others than the caller's own.
    pub own_pid_ns: bool,
    pub own_net_ns: bool,
    pub own_mount_ns: bool,
    /// Device and inode of what the process calls `/`.
    pub root: (u64, u64),
    /// Whether that is another folder than the caller's `/`.
    pub chroot: bool,
    /// The group in the version 2 hierarchy, such as `/hearth-x/vm_…`; absent: there is no such hierarchy.
    pub cgroup: Option<String>,
}

/// What must be true of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The uid and only gid; absent: whoever hearth is.
    pub uid: Option<u32>,
    /// A seccomp filter and no-new-privileges on every thread.
    pub filtered: bool,
    /// No thread has a capability.
    pub powerless: bool,
    pub own_pid_ns: bool,
    pub own_net_ns: bool,
    pub own_mount_ns: bool,
    /// The folder that the process must call `/`; absent: any.
    pub root: Option<PathBuf>,
    /// The last part of the cgroup's name; absent: any.
    pub cgroup: Option<String>,
}

impl Wanted {
    /// A jailed Firecracker whose guest runs. In its network namespace is nothing: its TAP device was opened there and is in hearth's again.
    pub fn jailed(uid: u32, root: &Path) -> Self {
        Self {
            uid: Some(uid),
            powerless: true,
            own_net_ns: true,
            own_mount_ns: true,
            root: Some(root.into()),
            ..Self::unjailed()
        }
    }

    /// A QEMU that hearth started as a user of its own, once its monitor answers. It keeps hearth's namespaces: its TAP device is there.
    pub fn own_user(uid: u32, root: &Path) -> Self {
        Self { own_pid_ns: false, own_net_ns: false, own_mount_ns: false, ..Self::jailed(uid, root) }
    }

    /// A Firecracker whose guest runs, started by hearth's gate without the jailer.
    pub fn unjailed() -> Self {
        Self {
            uid: None,
            filtered: true,
            powerless: false,
            own_pid_ns: true,
            own_net_ns: false,
            own_mount_ns: false,
            root: None,
            cgroup: None,
        }
    }
}

impl Confinement {
    /// The uid that all threads have in all four roles, if they do.
    pub fn uid(&self) -> Option<u32> {
        self.same(|thread| thread.uids)
    }

    /// As [`Confinement::uid`].
    pub fn gid(&self) -> Option<u32> {
        self.same(|thread| thread.gids)
    }

    /// Whether every thread has them.
    pub fn no_new_privs(&self) -> bool {
        self.threads.iter().all(|thread| thread.no_new_privs)
    }

    /// Whether every thread has a filter.
    pub fn seccomp(&self) -> bool {
        self.threads.iter().all(|thread| thread.seccomp == FILTERED)
    }

    /// Those of all threads together, a bit each.
    pub fn capabilities(&self) -> u64 {
        self.threads.iter().fold(0, |all, thread| all | thread.capabilities)
    }

    fn same(&self, numbers: impl Fn(&Thread) -> [u32; 4]) -> Option<u32> {
        let mut all = self.threads.iter().flat_map(numbers);
        let first = all.next()?;
        all.all(|number| number == first).then_some(first)
    }

    /// One sentence for each thing that is not as it should be; empty: all is. Reads only the wanted root's inode.
    pub fn problems(&self, wanted: &Wanted) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(uid) = wanted.uid {
            let is = |number: u32| move |numbers: [u32; 4]| numbers.iter().all(|&one| one == number);
            found.extend(self.those(&format!("do not run as user {uid}"), |thread| !is(uid)(thread.uids)));
            found.extend(self.those(&format!("do not run as group {uid}"), |thread| !is(uid)(thread.gids)));
            found.extend(self.those("are in further groups", |thread| thread.groups.iter().any(|&group| group != uid)));
        }
        if wanted.filtered {
            found.extend(self.those("have no seccomp filter", |thread| thread.seccomp != FILTERED));
            found.extend(self.those("may gain privileges", |thread| !thread.no_new_privs));
        }
        if wanted.powerless {
            let all = format!("have capabilities ({:#x})", self.capabilities());
            found.extend(self.those(&all, |thread| thread.capabilities != 0));
        }
        let spaces = [
            (wanted.own_pid_ns && !self.own_pid_ns, "it sees hearth's processes: it is in no pid namespace of its own"),
            (wanted.own_net_ns && !self.own_net_ns, "it sees hearth's network: it is in no network namespace of its own"),
            (wanted.own_mount_ns && !self.own_mount_ns, "it sees hearth's mounts: it is in no mount namespace of its own"),
        ];
        found.extend(spaces.into_iter().filter(|(wrong, _)| *wrong).map(|(_, sentence)| sentence.to_owned()));
        found.extend(wanted.root.as_deref().and_then(|root| self.elsewhere(root)));
        if let Some(group) = &wanted.cgroup
            && self.cgroup.as_deref().is_none_or(|path| path.rsplit('/').next() != Some(group))
        {
            found.push(format!("it is not in its cgroup {group} but in {}", self.cgroup.as_deref().unwrap_or("none")));
        }
        found
    }

    fn elsewhere(&self, root: &Path) -> Option<String> {
        match fs::metadata(root) {
            Ok(folder) if (folder.dev(), folder.ino()) == self.root => None,
            _ if !self.chroot => Some("it sees the whole file system: its root is hearth's".into()),
            Ok(_) => Some(format!("its root is another folder than {}", root.display())),
            Err(error) => Some(format!("the folder {} that should be its root can't be looked at: {error}", root.display())),
        }
    }

    fn those(&self, what: &str, wrong: impl Fn(&Thread) -> bool) -> Option<String> {
        let names: Vec<&str> = self.threads.iter().filter(|thread| wrong(thread)).map(|thread| thread.name.as_str()).collect();
        let count = self.threads.len();
        (!names.is_empty()).then(|| format!("{} of {count} threads {what}: {}", names.len(), names.join(", ")))
    }
}

/// Looks at a process, of which the caller makes sure (by a pidfd) that it is still the one it means. Needs to be root or its user. Blocks
/// for a few reads a thread.
///
/// Errors: the process is gone (`NotFound`), or may not be looked at.
pub fn look(pid: u32) -> io::Result<Confinement> {
    let of = PathBuf::from(format!("/proc/{pid}"));
    let mut threads = Vec::new();
    for entry in there(fs::read_dir(of.join("task")))?.into_iter().flatten() {
        let Some(entry) = there(entry)? else { continue };
        let Some(tid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Some(status) = there(fs::read_to_string(entry.path().join("status")))? else { continue };
        threads.extend(parse_status(tid, &status));
    }
    if threads.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the process is gone"));
    }
    let (its, ours) = (fs::metadata(of.join("root"))?, fs::metadata("/")?);
    let root = (its.dev(), its.ino());
    Ok(Confinement {
        threads,
        own_pid_ns: own_namespace(&of, "pid")?,
        own_net_ns: own_namespace(&of, "net")?,
        own_mount_ns: own_namespace(&of, "mnt")?,
        root,
        chroot: root != (ours.dev(), ours.ino()),
        cgroup: parse_cgroup(&fs::read_to_string(of.join("cgroup"))?),
    })
}

/// `None`: what was asked for ended meanwhile.
fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

fn own_namespace(process: &Path, kind: &str) -> io::Result<bool> {
    Ok(fs::read_link(process.join("ns").join(kind))? != fs::read_link(Path::new("/proc/thread-self/ns").join(kind))?)
}

/// Reads the text of `/proc/PID/task/TID/status`; a thread that has ended is none. A line that an old kernel has not counts as "no".
fn parse_status(tid: u32, text: &str) -> Option<Thread> {
    let field = |name: &str| text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()));
    let numbers = |name: &str| -> Option<Vec<u32>> { field(name)?.split_whitespace().map(|word| word.parse().ok()).collect() };
    let four = |name: &str| -> Option<[u32; 4]> { numbers(name)?.try_into().ok() };
    let bits = |name: &str| field(name).and_then(|hex| u64::from_str_radix(hex, 16).ok());
    if field("State").is_some_and(|state| state.starts_with(['Z', 'X'])) {
        return None;
    }
    Some(Thread {
        tid,
        name: field("Name")?.to_owned(),
        uids: four("Uid")?,
        gids: four("Gid")?,
        groups: numbers("Groups")?,
        no_new_privs: field("NoNewPrivs") == Some("1"),
        seccomp: field("Seccomp").and_then(|mode| mode.parse().ok()).unwrap_or(0),
        capabilities: bits("CapEff")? | bits("CapPrm")? | bits("CapAmb").unwrap_or(0),
        bounding: bits("CapBnd")?,
    })
}

/// Reads the text of `/proc/PID/cgroup`: the line of the version 2 hierarchy has number 0 and no controllers.
fn parse_cgroup(text: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}
