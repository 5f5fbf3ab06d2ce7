//! A driver for tests, on a data directory of its own, with a script in Firecracker's place that tells its release and is nothing else.

use super::{Firecracker, FirecrackerOptions, JailChoice};
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
