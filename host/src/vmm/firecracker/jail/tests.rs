//! Jails on real folders, as root where the kernel wants that; the real jailer is run in `host/tests/jail.rs`.

use super::super::super::shared::mounted::mounted;
use super::*;
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
    sync::Barrier,
};

/// Jails without a jailer: the checks of the machine are `check`'s own tests.
fn jails(data: &Path, uids: RangeInclusive<u32>) -> Jails {
    let vms = data.join("vms");
    fs::create_dir_all(&vms).unwrap();
    let program = |name: &str| PathBuf::from(format!("/opt/{name}"));
    let uids = Uids::unchecked(vms.clone(), uids);
    Jails { vms, owner: "o1".into(), firecracker: program("firecracker"), jailer: program("jailer"), uids }
}

fn vm(jails: &Jails, bits: u128) -> VmId {
    let vm = VmId::from_bits(bits);
    fs::create_dir_all(jails.vms.join(vm.to_string())).unwrap();
    vm
}

fn no_root() -> bool {
    let no_root = !nix::unistd::geteuid().is_root();
    if no_root {
        eprintln!("SKIPPED: needs root");
    }
    no_root
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_vms_id_is_one_that_the_jailer_takes() {
    for bits in [0, 1, u128::MAX] {
        let id = dashed_mark("0a1b2c3d", VmId::from_bits(bits));
        assert!(id.len() <= 64 && id.chars().all(|one| one.is_ascii_alphanumeric() || one == '-'), "{id}");
    }
}

#[test]
fn the_arguments_are_the_jailers_and_then_firecrackers() {
    let data = tempfile::tempdir().unwrap();
    let jails = jails(data.path(), 1_900_000_100..=1_900_000_100);
    let vm = vm(&jails, 1);
    let jail = jails.jail(vm).unwrap();
    let base = format!("{}/vms/{vm}/jail", data.path().display());
    let id = format!("hearth-o1-{vm}").replace('_', "-");
    let expected = format!(
        "--id {id} --exec-file /opt/firecracker --uid 1900000100 --gid 1900000100 --chroot-base-dir {base} --resource-limit no-file=2048 -- \
         --api-sock api.sock"
    );
    assert_eq!(jail.arguments(["--api-sock", "api.sock"]).join(" "), expected);
    assert_eq!(jail.root(), PathBuf::from(format!("{base}/firecracker/{id}/root")));
}

/// Forty launches at once, of eight VMs.
#[test]
fn launches_at_once_never_share_a_uid() {
    let data = tempfile::tempdir().unwrap();
    let jails = jails(data.path(), 1_900_000_200..=1_900_000_207);
    let vms: Vec<VmId> = (1..=8).map(|bits| vm(&jails, bits)).collect();
    let start = Barrier::new(40);
    let allotted: BTreeSet<(VmId, u32)> = std::thread::scope(|scope| {
        let launch = |at: usize| {
            let (start, jails, vm) = (&start, &jails, vms[at % 8]);
            scope.spawn(move || {
                start.wait();
                (vm, jails.jail(vm).unwrap().uid())
            })
        };
        let launches: Vec<_> = (0..40).map(launch).collect();
        launches.into_iter().map(|launch| launch.join().unwrap()).collect()
    });
    assert_eq!(allotted.len(), 8, "one uid a VM: {allotted:?}");
    assert_eq!(allotted.iter().map(|(_, uid)| *uid).collect::<BTreeSet<_>>(), (1_900_000_200..=1_900_000_207).collect());
}

#[test]
fn a_jail_holds_what_it_was_given_and_goes_without_the_disk() {
    if no_root() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let jails = jails(data.path(), 1_900_000_300..=1_900_000_300);
    let vm = vm(&jails, 1);
    let folder = jails.vms.join(vm.to_string());
    let (kernel, link, disk) = (data.path().join("vmlinux"), data.path().join("kernel"), folder.join("disk.ext4"));
    for (file, mode) in [(&kernel, 0o600), (&disk, 0o600)] {
        fs::write(file, file.to_str().unwrap()).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    }
    symlink("vmlinux", &link).unwrap();
    let jail = jails.jail(vm).unwrap();
    let root = jail
        .prepare(&[
            File::Shared { source: link, name: "kernel".into() },
            File::Own { source: disk.clone(), name: "disk".into() },
            File::Empty { name: "metrics".into() },
            File::Fifo { name: "log".into() },
            File::Folder { name: "snapshots".into() },
        ])
        .unwrap();
    assert_eq!(root, jail.root());
    assert_eq!(names(&root), ["disk", "kernel", "log", "metrics", "snapshots"].map(str::to_owned).into());
    let of = |name: &str| fs::symlink_metadata(root.join(name)).unwrap();
    let (uid, kernel) = (jail.uid(), fs::metadata(&kernel).unwrap());
    assert_eq!((of("kernel").ino(), of("kernel").uid(), of("kernel").mode() & 0o777), (kernel.ino(), kernel.uid(), 0o644));
    assert_eq!(of("disk").ino(), fs::metadata(&disk).unwrap().ino());
    for name in ["disk", "metrics", "log", "snapshots"] {
        assert_eq!((of(name).uid(), of(name).gid(), of(name).mode() & 0o077), (uid, uid, 0), "{name}");
    }
    assert!(of("log").file_type().is_fifo() && of("snapshots").is_dir() && of("metrics").len() == 0);
    fs::write(root.join("disk"), "written by the guest").unwrap();
    jail.clean().unwrap();
    jail.clean().unwrap();
    assert_eq!(names(&folder), ["disk.ext4", "uid"].map(str::to_owned).into());
    assert_eq!(fs::read_to_string(&disk).unwrap(), "written by the guest");
}

#[test]
fn what_a_hostile_process_left_leads_nowhere() {
    let data = tempfile::tempdir().unwrap();
    let jails = jails(data.path(), 1_900_000_400..=1_900_000_400);
    let vm = vm(&jails, 1);
    let jail = jails.jail(vm).unwrap();
    let root = jail.prepare(&[]).unwrap();
    let victim = data.path().join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("precious"), "x").unwrap();
    symlink(&victim, root.join("folder")).unwrap();
    symlink(victim.join("precious"), root.join("kernel")).unwrap();
    symlink("/", root.join("run")).unwrap();
    fs::create_dir_all(root.join("a/b/c")).unwrap();
    fs::set_permissions(root.join("a"), fs::Permissions::from_mode(0o000)).unwrap();
    let image = data.path().join("image");
    fs::write(&image, "image").unwrap();
    jail.prepare(&[File::Shared { source: image, name: "kernel".into() }]).unwrap();
    assert_eq!(names(&root), ["kernel".to_owned()].into());
    assert_eq!(fs::read_to_string(victim.join("precious")).unwrap(), "x");
    assert_eq!(fs::metadata(victim.join("precious")).unwrap().nlink(), 1);
    // A jail that is a link itself.
    jail.clean().unwrap();
    symlink(&victim, jails.vms.join(vm.to_string()).join(FOLDER)).unwrap();
    jail.clean().unwrap();
    assert_eq!(names(&victim), ["precious".to_owned()].into());
}

#[test]
fn what_can_t_be_put_in_leaves_nothing() {
    let data = tempfile::tempdir().unwrap();
    let jails = jails(data.path(), 1_900_000_500..=1_900_000_500);
    let jail = jails.jail(vm(&jails, 1)).unwrap();
    let image = data.path().join("image");
    fs::write(&image, "image").unwrap();
    let pipe = data.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let shared = |source: &Path, name: &str| File::Shared { source: source.into(), name: name.into() };
    let wrong = [
        vec![shared(&image, "kernel"), shared(&data.path().join("none"), "initramfs")],
        vec![shared(&image, "kernel"), shared(&image, "../kernel")],
        vec![shared(&image, "kernel"), shared(&image, "kernel")],
        vec![shared(&image, "firecracker")],
        vec![shared(data.path(), "kernel")],
        vec![shared(Path::new("/dev/null"), "kernel")],
        vec![shared(&pipe, "kernel")],
        vec![File::Own { source: pipe.clone(), name: "disk".into() }],
    ];
    for files in wrong {
        let told = jail.prepare(&files).unwrap_err().to_string();
        assert!(!told.contains('\n'), "{told}");
        assert!(!jail.place.base.exists(), "{files:?}");
    }
    assert_eq!(fs::metadata(&image).unwrap().nlink(), 1);
}

/// An upgrade changes the program's name; a process that was started before goes on in its folder.
#[test]
fn the_root_of_an_older_program_is_found_and_cleaned() {
    let data = tempfile::tempdir().unwrap();
    let mut jails = jails(data.path(), 1_900_000_600..=1_900_000_600);
    let vm = vm(&jails, 1);
    let old = jails.jail(vm).unwrap().prepare(&[]).unwrap();
    jails.firecracker = "/opt/firecracker-v2".into();
    assert_eq!(jails.place(vm).root(), old);
    let new = jails.jail(vm).unwrap().prepare(&[]).unwrap();
    assert!(new.ends_with("root") && new.exists() && !old.exists());
    assert_eq!(jails.place(vm).root(), new);
    jails.place(vm).clean().unwrap();
}

#[test]
fn an_image_on_another_file_system_is_refused_with_the_remedy() {
    mounted("size=1m", |data| {
        let jails = jails(data, 1_900_000_700..=1_900_000_700);
        let jail = jails.jail(vm(&jails, 1)).unwrap();
        let image = data.join("other/image");
        fs::write(&image, "image").unwrap();
        for file in [
            File::Shared { source: image.clone(), name: "kernel".into() },
            File::Own { source: image.clone(), name: "disk".into() },
        ] {
            let told = jail.prepare(&[file]).unwrap_err().to_string();
            assert!(told.contains("on one file system") && told.contains("--no-jailer"), "{told}");
            assert!(!jail.place.base.exists());
        }
    });
}

#[test]
fn what_is_mounted_in_a_jail_is_not_emptied() {
    mounted("size=1m", |data| {
        fs::write(data.join("other/precious"), "x").unwrap();
        for folder in [data.to_owned(), data.join("other")] {
            let refused = clean::remove(&folder).unwrap_err().to_string();
            assert!(refused.contains("is mounted in it"), "{refused}");
        }
        assert_eq!(fs::read_to_string(data.join("other/precious")).unwrap(), "x");
    });
}

#[test]
fn a_uid_of_a_running_process_is_passed_over() {
    if no_root() {
        return;
    }
    use std::os::unix::process::CommandExt;
    let data = tempfile::tempdir().unwrap();
    let jails = jails(data.path(), 1_900_000_900..=1_900_000_901);
    let mut cat = std::process::Command::new("/bin/cat");
    let cat = cat.uid(1_900_000_900).stdin(std::process::Stdio::piped()).spawn();
    let mut cat = cat.unwrap();
    let uid = jails.jail(vm(&jails, 1)).unwrap().uid();
    drop(cat.stdin.take());
    cat.wait().unwrap();
    assert_eq!(uid, 1_900_000_901);
}
