//! What this machine has of what a test needs. A test that cannot run prints SKIPPED and why, and appends the same to the file
//! `HEARTH_SKIP_LOG`, from which the summary counts: libtest itself would count it as passed.

use crate::images;
use std::{
    io::Write,
    path::{Path, PathBuf},
};

/// What a test cannot do without, besides the binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Images and QEMU.
    Guests,
    /// Images, Firecracker and its jailer, named by HEARTH_FIRECRACKER and HEARTH_JAILER; root. Whether guests boot on the KVM was seen by who named them.
    Firecracker,
    /// Root in a network namespace of our own or a machine of our own: bridges, TAP devices, nftables.
    Network,
    /// Loop or memory file systems.
    Mounts,
    Browser,
    /// An image that set-up does not make, by its name in the list; `make image-NAME` does.
    Image(&'static str),
    /// The program `nft`, to look at rules from outside.
    Program(&'static str),
}

/// Where things are.
#[derive(Debug, Clone)]
pub struct Machine {
    pub hearth: PathBuf,
    /// The folder with `images.json`.
    pub images: PathBuf,
}

impl Machine {
    /// `None`: SKIPPED was said; the test returns.
    pub fn with(test: &str, needs: &[Need]) -> Option<Machine> {
        let machine =
            Machine { hearth: from("HEARTH_BIN", "target/release/hearth"), images: from("HEARTH_IMAGES", "build/images") };
        let lacking = machine.binary().or_else(|| needs.iter().find_map(|need| machine.lacks(*need)));
        if let Some(why) = lacking {
            skipped(test, &why);
            return None;
        }
        Some(machine)
    }

    fn binary(&self) -> Option<String> {
        (!self.hearth.is_file()).then(|| format!("there is no {} (make build, or HEARTH_BIN)", self.hearth.display()))
    }

    fn lacks(&self, need: Need) -> Option<String> {
        match need {
            Need::Guests => self.imageless().or_else(|| missing("qemu-system-x86_64")),
            Need::Firecracker => {
                // By the variable alone: one that is only installed may find no KVM on which a guest boots.
                let named = std::env::var_os("HEARTH_FIRECRACKER").is_some();
                let unnamed = (!named).then(|| "needs HEARTH_FIRECRACKER (make test-firecracker)".to_owned());
                unnamed.or_else(|| self.imageless()).or_else(root)
            }
            Need::Network => {
                root().or_else(|| (!Path::new("/dev/net/tun").exists()).then(|| "there is no /dev/net/tun".to_owned()))
            }
            Need::Mounts => root(),
            Need::Browser => missing("chromedriver").or_else(|| missing("chromium")),
            Need::Image(name) => {
                let listed = images::list(self).is_ok_and(|list| list.iter().any(|entry| entry.name == name));
                (!listed).then(|| format!("there is no image {name} (make image-{name})"))
            }
            Need::Program(program) => missing(program),
        }
    }

    fn imageless(&self) -> Option<String> {
        let manifest = self.manifest();
        (!manifest.is_file()).then(|| format!("there is no {} (make setup, or HEARTH_IMAGES)", manifest.display()))
    }

    pub fn manifest(&self) -> PathBuf {
        self.images.join("images.json")
    }
}

/// Says it and counts it.
pub fn skipped(test: &str, why: &str) {
    eprintln!("SKIPPED {test}: {why}");
    let Some(log) = std::env::var_os("HEARTH_SKIP_LOG") else { return };
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(&log);
    if let Err(error) = opened.and_then(|mut file| file.write_all(format!("{test}: {why}\n").as_bytes())) {
        eprintln!("{} can't be written: {error}", Path::new(&log).display());
    }
}

/// Relative paths are meant from the repository's root, where scripts run; cargo runs tests in the crate's folder.
fn from(variable: &str, usual: &str) -> PathBuf {
    let path = std::env::var_os(variable).map_or_else(|| PathBuf::from(usual), PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    root.join(path)
}

fn root() -> Option<String> {
    (!nix::unistd::geteuid().is_root()).then(|| "needs root".to_owned())
}

/// Where a program is, in PATH or where root's programs are.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn missing(name: &str) -> Option<String> {
    program(name).is_none().then(|| format!("{name} is not installed"))
}
