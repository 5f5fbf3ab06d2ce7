//! What the driver's tests begin with: what a machine of a plan is to be; and a driver on a data directory of its own, with a script in Firecracker's
//! place that tells its release and is nothing else.

use super::{
    super::MachinePlan,
    Firecracker, FirecrackerOptions, JailChoice,
    config::{self, Config, Paths},
    version::Version,
};
use std::{fs, path::Path, process::Command};

/// Another program writes it: one that this process had open to write could not be run while another thread starts one.
pub fn install(from: &Path, to: &Path) {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).unwrap();
    }
    assert!(Command::new("install").args(["-m", "755"]).args([from, to]).status().unwrap().success());
}

/// Without jails; all its files are below `top`, its own in `data`.
pub async fn driver(top: &Path, release: &str) -> Firecracker {
    let (script, binary) = (top.join("script"), top.join("installed/firecracker"));
    fs::write(&script, format!("#!/bin/sh\necho 'Firecracker v{release}'\n")).unwrap();
    install(&script, &binary);
    let options = FirecrackerOptions {
        data: top.join("data"),
        owner: format!("t{:08x}", rand::random::<u32>()),
        agent: b"agent".to_vec(),
        binary: Some(binary),
        jail: JailChoice::None,
    };
    Firecracker::detect(options).await.unwrap()
}

/// On 1.16.1, with that file for its seed.
pub fn configured(plan: &MachinePlan, seed: Option<&str>) -> Config {
    let seed = seed.map(Into::into);
    let paths = Paths { kernel: "k".into(), initrd: "i".into(), disk: "d".into(), seed, drives: "".into(), vsock: "v".into() };
    config::config(plan, paths, &Version::parse("1.16.1")).unwrap()
}
