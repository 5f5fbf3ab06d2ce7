//! Read back by the ordinary `cpio`, which also reads what follows a first archive only when that one ends rightly.
use super::*;
use std::{
    io::Write,
    process::{Command, Stdio},
};

fn cpio(arguments: &[&str], folder: &std::path::Path, archive: &[u8]) -> String {
    let mut child = Command::new("cpio")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cpio is installed");
    child.stdin.take().unwrap().write_all(archive).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn cpio_lists_and_unpacks_it() {
    let folder = tempfile::tempdir().unwrap();
    let agent = [7u8; 1001];
    let archive = agent_archive(&agent);
    assert_eq!(archive.len() % 4, 0);
    assert_eq!(cpio(&["-t", "--quiet"], folder.path(), &archive), "dev\nproc\nsys\nroot\ndev/console\ninit\n");
    cpio(&["-i", "--quiet", "init"], folder.path(), &archive);
    assert_eq!(std::fs::read(folder.path().join("init")).unwrap(), agent);
}

#[test]
fn folders_and_files_of_any_length() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Cpio::default();
    writer.folder("modules");
    for len in 0..9 {
        writer.file(&format!("modules/{}", "n".repeat(len + 1)), 0o644, &vec![b'x'; len]);
    }
    cpio(&["-id", "--quiet"], folder.path(), &writer.finish());
    for len in 0..9 {
        let path = folder.path().join("modules").join("n".repeat(len + 1));
        assert_eq!(std::fs::read(path).unwrap().len(), len);
    }
}
