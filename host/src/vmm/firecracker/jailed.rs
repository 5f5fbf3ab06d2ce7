//! Whether the jail of a process holds: looked at after each start, and again by a hearth that adopts the process. Owns what must be true of a
//! VM's process and what follows when it is not; how it is looked at is `confinement`'s.
//!
//! What must be true follows from what the process's own start left (the jail in the VM's folder, the VM's uid in its file), never from how
//! this hearth was told to start others: one that was started again with `--no-jailer` still has jailed guests. A demand that a later version
//! adds must be read from such a record too, or the upgrade would end guests that were started before it.
//!
//! A guest in a jail that does not hold is one fault of Firecracker away from the host, while its users are told that it is jailed: it is ended.

use super::super::{
    VmmError,
    confinement::{Confinement, Wanted},
    shared::confined,
};
use super::{Firecracker, jail::Place};
use domain::{
    VmId,
    vm::{Inspection, Machine},
};

impl Firecracker {
    /// After the start: a jail that does not hold is no jail, and the process is ended.
    pub(super) async fn check_start(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        let place = self.inner.place(vm);
        if !place.exists() {
            return Ok(());
        }
        // Once this is answered, the thread that answers has its filter too (see `confinement`).
        let _answered = self.at(vm).await?;
        confined::check_start(&self.runs, vm, machine, |look| problems(&place, look)).await
    }

    /// A guest that was found as that, its API having answered: told so, unless it is jailed and its jail does not hold.
    pub(super) async fn check_found(&self, vm: VmId, machine: &Machine, found: Inspection) -> Result<Inspection, VmmError> {
        let place = self.inner.place(vm);
        if !place.exists() {
            return Ok(found);
        }
        confined::check_found(&self.runs, vm, machine, found, |look| problems(&place, look)).await
    }
}

/// One sentence for each thing that is not as it was when the process was started. Reads the VM's uid and the jail's inode.
fn problems(place: &Place, look: &Confinement) -> Vec<String> {
    confined::problems(place.uid(), look, |uid| Wanted::jailed(uid, &place.root()))
}

#[cfg(test)]
mod tests {
    use super::super::super::confinement::Thread;
    use super::*;
    use std::{fs, os::unix::fs::MetadataExt, path::Path};

    const UID: u32 = 1_900_071_000;

    fn thread(uid: u32) -> Thread {
        Thread {
            tid: 7,
            name: "firecracker".into(),
            uids: [uid; 4],
            gids: [uid; 4],
            groups: vec![],
            no_new_privs: true,
            seccomp: 2,
            capabilities: 0,
            bounding: 0,
        }
    }

    /// The jail of a VM, and how a process looks that is in it.
    fn jailed(vms: &Path, uid: u32) -> (Place, Confinement) {
        let place = Place::of(vms, Path::new("/opt/firecracker"), "o1", VmId::from_bits(5));
        fs::create_dir_all(place.root()).unwrap();
        let root = fs::metadata(place.root()).unwrap();
        let look = Confinement {
            threads: vec![thread(uid), thread(uid)],
            own_pid_ns: true,
            own_net_ns: true,
            own_mount_ns: true,
            root: (root.dev(), root.ino()),
            chroot: true,
            cgroup: None,
        };
        (place, look)
    }

    fn note(vms: &Path, text: &str) {
        fs::write(vms.join(VmId::from_bits(5).to_string()).join("uid"), text).unwrap();
    }

    #[test]
    fn the_records_of_the_vm_say_what_must_hold() {
        let vms = tempfile::tempdir().unwrap();
        let (place, look) = jailed(vms.path(), UID);
        note(vms.path(), &format!("{UID}\n"));
        assert!(place.exists());
        assert_eq!(problems(&place, &look), Vec::<String>::new());
        note(vms.path(), &format!("{}\n", UID + 1));
        let told = problems(&place, &look).join("; ");
        assert!(told.contains("2 of 2 threads do not run as user 1900071001"), "{told}");
        note(vms.path(), &format!("{UID}\n"));
        let loose = Confinement { chroot: false, root: (0, 0), ..look };
        assert_eq!(problems(&place, &loose), ["it sees the whole file system: its root is hearth's"]);
    }

    #[test]
    fn a_lost_record_ends_nobody_who_is_one_user_and_not_root() {
        let vms = tempfile::tempdir().unwrap();
        let (place, mut look) = jailed(vms.path(), UID);
        assert_eq!(problems(&place, &look), Vec::<String>::new());
        look.threads[1].gids[0] = 0;
        assert!(problems(&place, &look).join("; ").contains("do not run as group 1900071000"));
        look.threads[1] = thread(0);
        assert!(problems(&place, &look).join("; ").contains("as several users"));
        look.threads[0] = thread(0);
        assert!(problems(&place, &look).join("; ").contains("run as root"));
    }
}
