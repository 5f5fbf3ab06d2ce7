//! One cgroup per VM, `hearth-<owner>/<vm>`, in the version 2 hierarchy: to find and end all of a VM's processes at once. A machine without
//! one (or where it may not be written) runs VMs all the same; [`Cgroups::problem`] says so. Their
//! limits are those of [`super::super::limits`].

use domain::VmId;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// A group can be removed only when its last process has been reaped by whoever its parent is.
const EMPTY_DEADLINE: Duration = Duration::from_secs(2);
const EMPTY_RETRY: Duration = Duration::from_millis(10);

#[derive(Debug, Clone)]
pub struct Cgroups {
    root: Result<PathBuf, String>,
    /// Which limits VMs go without, in a group all the same.
    lost: Option<String>,
}

/// Where the version 2 hierarchy is mounted, from the text of `/proc/self/mountinfo`; on a mixed machine that is not `/sys/fs/cgroup`.
pub fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (after.split(' ').next() == Some("cgroup2")).then(|| before.split(' ').nth(4).map(PathBuf::from))?
    })
}

/// What the hierarchy mounted there can't limit; nothing when it has all controllers.
fn lost(mount: &Path) -> Option<String> {
    let listed = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
    crate::doctor::lost(&listed).map(|lost| format!("the cgroups at {} are {lost}", mount.display()))
}

impl Cgroups {
    /// Makes the owner's group.
    pub fn detect(owner: &str) -> Self {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mount = mount_point(&mountinfo);
        let lost = mount.as_deref().and_then(lost);
        let root = mount
            .ok_or_else(|| "no cgroup version 2 hierarchy is mounted: VMs run without a cgroup of their own".to_owned())
            .and_then(|mount| {
                let root = mount.join(format!("hearth-{owner}"));
                let problem = |error| format!("the cgroup {} can't be made ({error}): VMs run without one", root.display());
                fs::create_dir_all(&root).map(|()| root.clone()).map_err(problem)
            });
        Self { root, lost }
    }

    pub fn problem(&self) -> Option<String> {
        self.root.as_ref().err().or(self.lost.as_ref()).cloned()
    }

    /// Where the VM's group is, or would be; absent on a machine without the hierarchy.
    pub fn group(&self, vm: VmId) -> Option<PathBuf> {
        self.root.as_ref().ok().map(|root| root.join(vm.to_string()))
    }

    /// Puts the process into the VM's group. A failure is told but not fatal: the group is a help, not what the VM stands on.
    pub fn join(&self, vm: VmId, pid: u32) -> io::Result<()> {
        let Some(group) = self.group(vm) else { return Ok(()) };
        fs::create_dir_all(&group)?;
        fs::write(group.join("cgroup.procs"), pid.to_string())
    }

    /// Ends every process in the VM's group, without waiting.
    pub fn kill(&self, vm: VmId) {
        let Some(group) = self.group(vm) else { return };
        // cgroup.kill came with Linux 5.14; without it the members are ended by the pidfd that is held of them.
        let _absent_or_old = fs::write(group.join("cgroup.kill"), "1");
    }

    /// Ends what is in the group and removes it; absent is no error.
    pub async fn remove(&self, vm: VmId) -> io::Result<()> {
        let Some(group) = self.group(vm) else { return Ok(()) };
        self.kill(vm);
        let deadline = tokio::time::Instant::now() + EMPTY_DEADLINE;
        loop {
            match fs::remove_dir(&group) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                // There is no event for "the last zombie was reaped".
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy && tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(EMPTY_RETRY).await;
                }
                result => return result,
            }
        }
    }

    /// The VMs that have a group.
    pub fn present(&self) -> Vec<VmId> {
        let Ok(root) = &self.root else { return Vec::new() };
        fs::read_dir(root).map(names).unwrap_or_default()
    }

    /// Removes the owner's own group, in which no VM's may be left; the next [`Cgroups::join`] makes it again.
    pub fn remove_root(&self) -> io::Result<()> {
        let Ok(root) = &self.root else { return Ok(()) };
        match fs::remove_dir(root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Whether the kernel ended a process of the group because the group's memory was used up.
pub fn ran_out_of_memory(group: Option<&std::path::Path>) -> bool {
    group.and_then(oom_kills).is_some_and(|count| count > 0)
}

/// How many processes of the group the kernel ended because the group's memory was used up; absent where nobody counts.
pub fn oom_kills(group: &Path) -> Option<u64> {
    counted_ends(&fs::read_to_string(group.join("memory.events")).ok()?)
}

/// From the text of `memory.events`.
fn counted_ends(events: &str) -> Option<u64> {
    events.lines().filter_map(|line| line.strip_prefix("oom_kill ")).find_map(|count| count.trim().parse().ok())
}

fn names(entries: fs::ReadDir) -> Vec<VmId> {
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_for_want_of_memory_is_told_by_the_kernels_count() {
        assert_eq!(counted_ends("low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 0\n"), Some(1));
        assert_eq!(counted_ends("low 0\nhigh 0\nmax 12\noom 1\noom_kill 0\noom_group_kill 3\n"), Some(0));
        assert_eq!(counted_ends(""), None);
    }

    #[test]
    fn what_can_t_be_limited_is_a_problem() {
        let mount = tempfile::tempdir().unwrap();
        let listed = |text| fs::write(mount.path().join("cgroup.controllers"), text).unwrap();
        let problem = || Cgroups { root: Ok(mount.path().into()), lost: lost(mount.path()) }.problem();
        listed("cpuset cpu io memory pids");
        assert_eq!(problem(), None);
        listed("cpuset cpu io pids");
        let told = problem().unwrap_or_default();
        assert!(told.contains("without memory: no limits of memory"), "{told}");
        fs::remove_file(mount.path().join("cgroup.controllers")).unwrap();
        assert!(problem().is_some_and(|told| told.contains("cpu, io, memory, pids")));
    }

    #[test]
    fn the_hierarchy_is_found_wherever_it_is_mounted() {
        let mixed = "30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                     31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu\n\
                     42 30 0:37 / /sys/fs/cgroup/unified rw,relatime - cgroup2 none rw\n";
        assert_eq!(mount_point(mixed), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mount_point("garbage\n1 2 - \n - cgroup2"), None);
    }
}
