//! What of a hearth is on the machine: processes, TAP devices, cgroups, tables. Used to see that nothing is left, and to clear up after a
//! test that failed. Looks from outside, never through the server.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What is there now, in words; empty when nothing is. `vm`: only of that one.
pub fn of(owner: &str, data_dir: &Path, vm: Option<&str>) -> Vec<String> {
    let mut found: Vec<String> = of_vm(owner, vm).into_iter().map(|pid| format!("process {pid}")).collect();
    found.extend(taps(owner, vm).into_iter().map(|tap| format!("network device {tap}")));
    found.extend(groups(owner, vm).into_iter().map(|group| format!("cgroup {}", group.display())));
    let folders = fs::read_dir(data_dir.join("vms")).into_iter().flatten().flatten().map(|entry| entry.path());
    let folders = folders.filter(|folder| vm.is_none_or(|vm| folder.file_name().is_some_and(|name| name == vm)));
    found.extend(folders.map(|folder| format!("folder {}", folder.display())));
    found
}

/// Pids of the VM's processes, or of all VMs'. Firecracker takes no underscore in a name, so there it is a hyphen.
pub fn of_vm(owner: &str, vm: Option<&str>) -> Vec<u32> {
    let Some(vm) = vm else { return processes(&format!("hearth-{owner}-")) };
    let mut found = processes(&format!("hearth-{owner}-{vm}"));
    found.extend(processes(&format!("hearth-{owner}-{}", vm.replace('_', "-"))));
    found
}

/// Pids whose arguments carry the mark. A zombie has none.
pub fn processes(mark: &str) -> Vec<u32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    let marked = |pid: &u32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).any(|argument| argument.starts_with(mark.as_bytes()))
    };
    pids.filter(marked).collect()
}

/// Devices whose alias says that they are this owner's VMs'.
pub fn taps(owner: &str, vm: Option<&str>) -> Vec<String> {
    let prefix = format!("hearth:{owner}:{}", vm.unwrap_or("vm_"));
    let Ok(listed) = Command::new("ip").args(["-j", "link"]).output() else { return Vec::new() };
    let links: Vec<serde_json::Value> = serde_json::from_slice(&listed.stdout).unwrap_or_default();
    let ours = links.iter().filter(|link| link["ifalias"].as_str().is_some_and(|alias| alias.starts_with(&prefix)));
    ours.filter_map(|link| link["ifname"].as_str().map(str::to_owned)).collect()
}

fn groups(owner: &str, vm: Option<&str>) -> Vec<PathBuf> {
    let Some(root) = group(owner) else { return Vec::new() };
    let found = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    found.filter(|path| vm.is_none_or(|vm| path.file_name().is_some_and(|name| name == vm))).collect()
}

/// The owner's cgroup, in the version 2 hierarchy, wherever that is mounted.
pub fn group(owner: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (after.split(' ').next() == Some("cgroup2")).then(|| before.split(' ').nth(4))?
    })?;
    Some(Path::new(mount).join(format!("hearth-{owner}"))).filter(|path| path.is_dir())
}

/// Whether nftables has the table of this bridge.
pub fn table(bridge: &str) -> bool {
    let listed = Command::new("nft").args(["list", "tables", "inet"]).output();
    let name = format!("table inet hearth_{bridge}");
    listed.is_ok_and(|listed| String::from_utf8_lossy(&listed.stdout).lines().any(|line| line.trim() == name))
}

/// Ends and removes what is there, after a test. Failures are of no interest: a machine without `nft` has no table either.
pub fn clear(owner: &str, bridge: Option<&str>) {
    for pid in processes(&format!("hearth-{owner}-")) {
        if let Ok(pid) = i32::try_from(pid) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
    let quietly = |program: &str, arguments: &[&str]| {
        let _ = Command::new(program).args(arguments).output();
    };
    for tap in taps(owner, None) {
        quietly("ip", &["link", "del", &tap]);
    }
    if let Some(bridge) = bridge {
        quietly("ip", &["link", "del", bridge]);
        quietly("nft", &["delete", "table", "inet", &format!("hearth_{bridge}")]);
    }
    if let Some(root) = group(owner) {
        for group in groups(owner, None) {
            // The last member may take a moment to be reaped by process 1.
            let _ =
                crate::wait::until_now("an empty cgroup", std::time::Duration::from_secs(2), || fs::remove_dir(&group).is_ok());
        }
        let _ = fs::remove_dir(root);
    }
}
