//! The figures, and the order of things on folders that look like a hierarchy. The kernel itself is asked in `host/tests/limits.rs`.

use super::*;

fn needs(vcpus: u32, mem_mib: u32) -> Needs {
    Needs { vcpus, mem_mib, overhead_mib: 64, io: None }
}

fn value(limits: &[Limit], file: &str) -> String {
    limits.iter().find(|(name, _)| *name == file).map(|(_, value)| value.clone()).unwrap()
}

#[test]
fn limits_follow_the_size_of_the_vm() {
    let small = limits(&needs(1, 128));
    assert_eq!(value(&small, "cpu.max"), "150000 100000");
    // 128 + 64 MiB, and 32 bytes for each of 32,768 pages: 1 MiB.
    assert_eq!(value(&small, "memory.max"), (193 * MIB).to_string());
    assert_eq!(value(&small, "pids.max"), "129");
    assert_eq!(small.len(), 3, "no limit that nobody asked for: {small:?}");
    let largest = limits(&needs(u32::MAX, u32::MAX));
    assert_eq!(value(&largest, "cpu.max"), format!("{} 100000", u64::from(u32::MAX) * 100_000 + 50_000));
    assert_eq!(value(&largest, "pids.max"), u32::MAX.to_string());
}

#[test]
fn a_limit_of_memory_is_raised_and_never_lowered() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("memory.max");
    raise_memory(folder.path(), &needs(1, 128)).unwrap();
    assert!(!file.exists(), "no controller, no limit");
    for (has, after) in
        [("max\n", "max\n".to_owned()), ("5\n", (193 * MIB).to_string()), ("999999999999\n", "999999999999\n".into())]
    {
        fs::write(&file, has).unwrap();
        raise_memory(folder.path(), &needs(1, 128)).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), after);
    }
}

#[test]
fn a_bound_on_a_disk_is_one_line() {
    let io = Io {
        device: (259, 0),
        read_bytes_per_s: Some(1 << 20),
        write_bytes_per_s: None,
        reads_per_s: Some(0),
        writes_per_s: Some(7),
    };
    let limits = limits(&Needs { io: Some(io), ..needs(1, 128) });
    assert_eq!(value(&limits, "io.max"), "259:0 rbps=1048576 wbps=max riops=1 wiops=7");
}

/// A hierarchy of plain files: root, owner's group, VM's group.
struct Fake(tempfile::TempDir);

impl Fake {
    fn new(controllers: &str) -> Self {
        let fake = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(fake.group()).unwrap();
        for folder in [fake.root(), fake.root().join("hearth-x"), fake.group()] {
            fs::write(folder.join("cgroup.controllers"), controllers).unwrap();
            fs::write(folder.join("cgroup.subtree_control"), "").unwrap();
        }
        fake
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("mount")
    }

    fn group(&self) -> PathBuf {
        self.root().join("hearth-x/vm_1")
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.root().join(file)).unwrap()
    }
}

#[test]
fn a_controller_is_passed_down_to_the_group_and_no_further() {
    let fake = Fake::new("cpuset cpu io memory pids\n");
    fs::write(fake.root().join("cgroup.subtree_control"), "memory pids\n").unwrap();
    let told = apply(&fake.group(), &[("cpu.max", "150000 100000".into())]);
    assert_eq!(told, Vec::<String>::new());
    assert_eq!(fake.read("cgroup.subtree_control"), "+cpu");
    assert_eq!(fake.read("hearth-x/cgroup.subtree_control"), "+cpu");
    assert_eq!(fake.read("hearth-x/vm_1/cgroup.subtree_control"), "");
    assert_eq!(fake.read("hearth-x/vm_1/cpu.max"), "150000 100000");
}

#[test]
fn what_is_passed_down_already_is_left_alone() {
    let fake = Fake::new("memory\n");
    for folder in ["", "hearth-x"] {
        fs::write(fake.root().join(folder).join("cgroup.subtree_control"), "memory\n").unwrap();
    }
    assert_eq!(apply(&fake.group(), &[("memory.max", "1".into())]), Vec::<String>::new());
    assert_eq!(fake.read("cgroup.subtree_control"), "memory\n");
    assert_eq!(fake.read("hearth-x/cgroup.subtree_control"), "memory\n");
}

#[test]
fn a_missing_controller_is_told_in_a_sentence_and_the_others_are_set() {
    let fake = Fake::new("pids\n");
    let told = apply(&fake.group(), &limits(&needs(2, 256)));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("VMs run without a limit of processor time: the cgroup controller cpu is missing"), "{told:?}");
    assert!(told[1].contains("limit of memory: the cgroup controller memory is missing"), "{told:?}");
    assert_eq!(fake.read("hearth-x/vm_1/pids.max"), "130");
    assert!(!fake.group().join("cpu.max").exists());
}

#[test]
fn a_group_in_no_hierarchy_has_no_limits() {
    let folder = tempfile::tempdir().unwrap();
    let told = apply(&folder.path().join("group"), &limits(&needs(1, 128)));
    assert!(told.len() == 3 && told.iter().all(|sentence| sentence.contains("in no cgroup version 2 hierarchy")), "{told:?}");
}

#[test]
fn what_cannot_be_written_says_why() {
    let fake = Fake::new("pids\n");
    fs::create_dir(fake.group().join("pids.max")).unwrap();
    let told = apply(&fake.group(), &[("pids.max", "9".into())]);
    assert!(matches!(&told[..], [only] if only.contains("pids.max can't be set to 9")), "{told:?}");
}
