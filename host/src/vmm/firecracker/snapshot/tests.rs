//! Taking out of a room whose process may have left anything there.

use super::super::{
    super::{MachinePlan, sample},
    stage::configured,
};
use super::*;
use std::os::unix::fs::symlink;

fn noted(seed: Option<&str>) -> Note {
    note(sample::plan().vm, "1.16.1".into(), &configured(&sample::plan(), seed), true)
}

#[test]
fn the_interfaces_are_noted_as_the_guest_has_them() {
    let plan = MachinePlan { nics: sample::nics(2), ..sample::plan() };
    let mut config = configured(&plan, None);
    let ports = plan.nics.iter().map(|nic| Port { bridge: None, mac: nic.mac, address: Some(nic.address) });
    config.place(ports.collect());
    let noted = note(plan.vm, "1.16.1".into(), &config, true).nics;
    let told: Vec<_> = noted.iter().map(|nic| (nic.tap.as_str(), nic.mac.as_str(), nic.address)).collect();
    let address = |last| Some([10, 77, 0, last].into());
    assert_eq!(told, [("hth0", "52:54:00:01:02:ff", address(5)), ("hth1", "52:54:00:01:03:01", address(6))]);
}

/// A VM's folder, a room in which its process has written a snapshot, and a place for snapshots.
struct Scene(tempfile::TempDir);

impl Scene {
    fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        for name in ["vm", "room", "snapshots"] {
            fs::create_dir(top.path().join(name)).unwrap();
        }
        for (name, content) in
            [("vm/disk.raw", "disk"), ("vm/seed.iso", "seed"), ("room/taken-1.state", "s"), ("room/taken-1.memory", "m")]
        {
            fs::write(top.path().join(name), content).unwrap();
        }
        Self(top)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn room(&self) -> OwnedFd {
        open_folder(&self.path("room")).unwrap()
    }

    fn taken(&self, note: Note, awaited: &Awaited) -> Result<(), VmmError> {
        let making = Making::begin(&self.path("snapshots/a")).unwrap();
        let (state, memory) = ("taken-1.state".into(), "taken-1.memory".into());
        Taking { room: self.room(), state, memory, note, making }.finish(Ok(()), &self.path("vm"), awaited)
    }

    fn kept(&self) -> Vec<String> {
        fs::read_dir(self.path("snapshots")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

#[test]
fn all_of_one_moment_is_in_it_with_a_note() {
    let scene = Scene::new();
    scene.taken(noted(Some("seed.iso")), &Awaited::default()).unwrap();
    assert_eq!(scene.kept(), ["a"]);
    for (name, content) in [(STATE, "s"), (MEMORY, "m"), (DISK, "disk"), (SEED, "seed")] {
        assert_eq!(fs::read_to_string(scene.path("snapshots/a").join(name)).unwrap(), content);
    }
    let told = Note::read(&scene.path("snapshots/a")).unwrap();
    assert_eq!(told, noted(Some("seed.iso")));
    assert!(told.has_seed && !told.has_nic && !told.has_metadata && (told.vcpus, told.mem_mib) == (1, 256));
}

#[test]
fn whatever_fails_leaves_nothing_and_is_told_first() {
    let given_up = Awaited::default();
    drop(given_up.waits());
    let scene = Scene::new();
    assert!(
        matches!(scene.taken(noted(None), &given_up), Err(VmmError::Refused { detail, .. }) if detail.contains("waits no more"))
    );
    assert_eq!(scene.kept(), Vec::<String>::new());
    for (name, told) in [("room/taken-1.memory", MEMORY), ("vm/disk.raw", DISK), ("vm/seed.iso", SEED)] {
        let scene = Scene::new();
        fs::remove_file(scene.path(name)).unwrap();
        // What can't be removed of the room's is not told in its place.
        fs::create_dir(scene.path("room/taken-folder")).unwrap();
        let error = scene.taken(noted(Some("seed.iso")), &Awaited::default()).unwrap_err();
        assert!(matches!(&error, VmmError::Folder { path, .. } if path.ends_with(told)), "{error:?}");
        assert_eq!(scene.kept(), Vec::<String>::new());
    }
}

#[test]
fn what_is_not_taken_out_does_not_stay_in_the_room() {
    let scene = Scene::new();
    fs::remove_file(scene.path("room/taken-1.state")).unwrap();
    scene.taken(noted(None), &Awaited::default()).unwrap_err();
    assert_eq!(fs::read_dir(scene.path("room")).unwrap().count(), 0, "its memory is of no use");
}

#[test]
fn only_plain_files_with_one_name_are_taken_out() {
    for name in ["room/taken-1.state", "room/taken-1.memory"] {
        let scene = Scene::new();
        fs::hard_link(scene.path(name), scene.path("room/kept")).unwrap();
        let told = scene.taken(noted(None), &Awaited::default()).unwrap_err().to_string();
        assert!(told.contains("no plain file"), "{told}");
        fs::remove_file(scene.path("room/kept")).unwrap();
        let scene = Scene::new();
        fs::remove_file(scene.path(name)).unwrap();
        symlink("/etc/passwd", scene.path(name)).unwrap();
        scene.taken(noted(None), &Awaited::default()).unwrap_err();
        assert_eq!(scene.kept(), Vec::<String>::new());
    }
}

#[test]
fn what_was_cut_off_is_removed_from_the_room_and_nothing_else() {
    let scene = Scene::new();
    symlink("/etc/passwd", scene.path("room/taken-link")).unwrap();
    fs::write(scene.path("room/disk.raw"), "disk").unwrap();
    remove_taken(&scene.room()).unwrap();
    let left: Vec<_> = fs::read_dir(scene.path("room")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["disk.raw"]);
    // Not by its name alone: a folder is left, and told.
    fs::create_dir(scene.path("room/taken-folder")).unwrap();
    remove_taken(&scene.room()).unwrap_err();
}

#[test]
fn a_full_disk_is_told_apart() {
    let told =
        |detail: &str| create_error(VmmError::Refused { call: "PUT /snapshot/create", detail: detail.into() }, Path::new("/s"));
    let full = "Create snapshot error: Cannot write memory file: No space left on device (os error 28)";
    assert!(matches!(told(full), VmmError::DiskFull { path } if path == Path::new("/s")));
    assert!(matches!(told("Cannot write memory file: Quota exceeded (os error 122)"), VmmError::DiskFull { .. }));
    assert!(matches!(told("Cannot write memory file: Input/output error (os error 5)"), VmmError::Refused { .. }));
}
