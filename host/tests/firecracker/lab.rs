//! A hearth's data directory with a driver on it, and what a machine shows of it: processes, cgroups, mounts, files. Ends what a failed test left.

use crate::contract::{HELLO, Images, SOON, plan, start};
use crate::guests::{images, kill_9, skipped};
use crate::real::RealLab;
use domain::{VmId, vm::Machine};
use host::{
    guest::GuestSession,
    vmm::{
        MachinePlan, Vmm,
        firecracker::{Firecracker, FirecrackerOptions, JailChoice},
    },
};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, Weak},
    time::Duration,
};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Two at a time at most: in the lab each guest fills a core while it boots.
const MOST_LABS: u32 = 2;
static SLOTS: Semaphore = Semaphore::const_new(MOST_LABS as usize);
/// Enough for the largest test; nobody else's (the driver's own default lies above).
pub const UIDS: std::ops::Range<u32> = 1_900_070_000..1_900_070_064;

/// On one file system with the data directories, as hearth's image store is: a jail has second names of files, not copies.
static STORE: Mutex<Weak<(TempDir, Images)>> = Mutex::new(Weak::new());

pub struct Lab {
    pub data: TempDir,
    pub agent: Vec<u8>,
    pub owner: String,
    pub vm: VmId,
    binary: PathBuf,
    store: Arc<(TempDir, Images)>,
    _slots: SemaphorePermit<'static>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        for pid in self.processes() {
            kill_9(pid);
        }
    }
}

impl Lab {
    pub async fn open(test: &str) -> Option<Self> {
        Self::with(test, 1).await
    }

    /// While no other test has guests.
    pub async fn alone(test: &str) -> Option<Self> {
        Self::with(test, MOST_LABS).await
    }

    async fn with(test: &str, slots: u32) -> Option<Self> {
        let Some(binary) = std::env::var_os("HEARTH_FIRECRACKER").map(PathBuf::from) else {
            skipped(test, "needs HEARTH_FIRECRACKER (make test-firecracker)");
            return None;
        };
        let Some((found, agent)) = images() else {
            skipped(test, "needs HEARTH_IMAGES and HEARTH_AGENT");
            return None;
        };
        let slots = SLOTS.acquire_many(slots).await.unwrap();
        let (owner, vm) = (format!("t{:08x}", rand::random::<u32>()), VmId::from_bits(rand::random()));
        Some(Self { data: tempfile::tempdir().unwrap(), agent, owner, vm, binary, store: store(&found), _slots: slots })
    }

    pub fn images(&self) -> &Images {
        &self.store.1
    }

    pub fn plan(&self) -> MachinePlan {
        plan(self.vm, self.images())
    }

    /// Longer than a socket's path may be.
    fn directory(&self) -> PathBuf {
        self.data.path().join("a-data-directory-with-a-name-so-long-that-no-unix-socket-below-it-has-a-path-of-107-bytes")
    }

    /// The VM's.
    pub fn folder(&self) -> PathBuf {
        self.directory().join("vms").join(self.vm.to_string())
    }

    pub async fn driver(&self) -> Firecracker {
        let binary = std::env::var_os("HEARTH_JAILER").map(PathBuf::from);
        self.driver_with(JailChoice::Jailer { binary, uids: UIDS }).await
    }

    pub async fn driver_with(&self, jail: JailChoice) -> Firecracker {
        let options = FirecrackerOptions {
            data: self.directory(),
            owner: self.owner.clone(),
            agent: self.agent.clone(),
            binary: Some(self.binary.clone()),
            jail,
        };
        Firecracker::detect(options).await.unwrap()
    }

    pub async fn booted(&self, driver: &Firecracker) -> (Machine, Arc<dyn GuestSession>) {
        let machine = start(driver, &self.plan(), 1).await;
        let guest = driver.guest(self.vm, &machine, HELLO).await.expect("hello");
        (machine, guest)
    }

    /// Those that have to do with this lab by their arguments, program, cgroup, root or folder.
    pub fn processes(&self) -> Vec<u32> {
        let pids = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|&pid| pid != std::process::id() && self.has_to_do_with(pid)).collect()
    }

    fn has_to_do_with(&self, pid: u32) -> bool {
        let of = |name: &str| Path::new("/proc").join(pid.to_string()).join(name);
        let mut says: Vec<u8> =
            ["cmdline", "cgroup"].iter().flat_map(|name| std::fs::read(of(name)).unwrap_or_default()).collect();
        for link in ["exe", "root", "cwd"] {
            says.extend(std::fs::read_link(of(link)).unwrap_or_default().as_os_str().as_encoded_bytes());
        }
        let says = String::from_utf8_lossy(&says);
        let zombie = std::fs::read_to_string(of("stat")).is_ok_and(|stat| stat.contains(") Z "));
        !zombie && (says.contains(&self.owner) || says.contains(self.data.path().to_str().unwrap()))
    }

    /// What is still there of any VM of this lab. Empty after each was removed.
    pub fn traces(&self) -> Vec<String> {
        let mut found: Vec<String> = self.processes().into_iter().map(|pid| format!("process {pid}")).collect();
        let mine = format!("hearth-{}", self.owner);
        let groups = folders(Path::new("/sys/fs/cgroup"), 3)
            .into_iter()
            .filter(|path| path.parent().is_some_and(|above| above.ends_with(&mine)));
        found.extend(groups.map(|path| format!("cgroup {path:?}")));
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let data = self.data.path().to_str().unwrap();
        found.extend(mounts.lines().filter(|line| line.contains(data)).map(|line| format!("mount {line}")));
        let folders = folders(self.data.path(), 8).into_iter();
        let of_a_vm = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vm"));
        found.extend(folders.filter(|path| of_a_vm(path) && !path.ends_with("vms")).map(|path| format!("folder {path:?}")));
        found
    }

    pub async fn left_nothing(&self, driver: &dyn Vmm) {
        assert_eq!(self.traces(), Vec::<String>::new());
        assert_eq!(driver.sweep(&[]).await.unwrap(), Vec::<String>::new(), "nothing is left to sweep");
    }
}

impl RealLab for Lab {
    /// In the lab no time is a measure.
    const SEEN_WITHIN: Duration = SOON;
    const HELD_DESCRIPTORS: usize = 5;

    async fn vmm(&self) -> Box<dyn Vmm> {
        Box::new(self.driver().await)
    }

    fn vm(&self) -> VmId {
        self.vm
    }

    fn images(&self) -> &Images {
        Lab::images(self)
    }

    async fn left_nothing(&self, vmm: &dyn Vmm) {
        Lab::left_nothing(self, vmm).await;
    }
}

/// Those below `top`, no deeper than `depth`.
fn folders(top: &Path, depth: u32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(top).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.push(entry.path());
            if depth > 1 {
                found.extend(folders(&entry.path(), depth - 1));
            }
        }
    }
    found
}

/// One copy for all tests that run now; it goes with the last of them.
fn store(found: &Images) -> Arc<(TempDir, Images)> {
    let mut kept = STORE.lock().unwrap();
    if let Some(store) = kept.upgrade() {
        return store;
    }
    let folder = tempfile::tempdir().unwrap();
    let copied = |from: &Path| {
        let to = folder.path().join(from.file_name().unwrap());
        std::fs::copy(from, &to).unwrap();
        to
    };
    let images =
        Images { kernel: copied(&found.kernel), initrd: found.initrd.as_deref().map(copied), rootfs: copied(&found.rootfs) };
    let store = Arc::new((folder, images));
    *kept = Arc::downgrade(&store);
    store
}
