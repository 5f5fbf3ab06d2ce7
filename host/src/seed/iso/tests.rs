//! The image as others read it: a reader of the test's own, `blkid`, and where this kernel has ISO 9660 the kernel.

use super::*;
use std::{fs, path::Path, process::Command};

fn sector(image: &[u8], at: u32) -> &[u8] {
    &image[at as usize * SECTOR..][..SECTOR]
}

fn number(bytes: &[u8], at: usize) -> u32 {
    let little = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!(little, u32::from_be_bytes(bytes[at + 4..at + 8].try_into().unwrap()), "both orders say the same");
    little
}

/// Names and contents by the Rock Ridge entries, as Linux finds them.
fn read(image: &[u8]) -> Vec<(String, Vec<u8>)> {
    let volume = sector(image, DESCRIPTOR);
    assert_eq!(&volume[..7], b"\x01CD001\x01");
    assert_eq!(number(volume, 80) as usize * SECTOR, image.len(), "the volume's size");
    assert_eq!((volume[156], volume[881]), (34, 1), "the root's record and the version are at their places");
    let folder = sector(image, number(volume, 156 + 2));
    let (mut at, mut found) = (0, Vec::new());
    while folder[at] != 0 {
        let line = &folder[at..at + folder[at] as usize];
        assert!(line.len().is_multiple_of(2), "records are of even length");
        let (extent, size, named) = (number(line, 2) as usize * SECTOR, number(line, 10) as usize, line[32] as usize);
        let mut entries = &line[33 + named + usize::from(named.is_multiple_of(2))..];
        let mut name = String::new();
        while entries.len() > 3 {
            let (entry, rest) = entries.split_at(entries[2] as usize);
            if &entry[..2] == b"NM" {
                name = String::from_utf8(entry[5..].to_vec()).unwrap();
            }
            entries = rest;
        }
        if !name.is_empty() {
            found.push((name, image[extent..extent + size].to_vec()));
        }
        at += line.len();
    }
    found
}

fn example() -> (Vec<u8>, Vec<(String, Vec<u8>)>) {
    let large: Vec<u8> = (0..5000_u32).map(|byte| byte as u8).collect();
    let files =
        [("meta-data", b"{}".to_vec()), ("network-config", vec![b'x'; SECTOR]), ("nothing", vec![]), ("user-data", large)];
    let given = files.iter().map(|(name, bytes)| File { name, bytes }).collect::<Vec<_>>();
    (image("cidata", &given), files.map(|(name, bytes)| (name.to_owned(), bytes)).into())
}

#[test]
fn what_is_put_in_is_read_out() {
    let (image, files) = example();
    assert_eq!(read(&image), files);
    let few = [File { name: "user-data", bytes: b"#!/bin/sh\n" }];
    assert_eq!(super::image("cidata", &few).len(), (FIRST_FILE as usize + 1) * SECTOR);
}

fn written(image: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), image).unwrap();
    file
}

#[test]
fn blkid_reads_its_label() {
    let file = written(&example().0);
    let Ok(told) = Command::new("blkid").args(["-p", "-o", "export"]).arg(file.path()).output() else {
        eprintln!("SKIPPED: blkid is not installed");
        return;
    };
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("\nLABEL=cidata\n") && told.contains("\nTYPE=iso9660\n"), "{told}");
}

/// A kernel without it, as in many containers, is asked in a guest (`tests/qemu.rs`).
#[test]
fn a_kernel_mounts_it() {
    let knows = fs::read_to_string("/proc/filesystems").is_ok_and(|all| all.contains("\tiso9660\n"));
    if !knows || !nix::unistd::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
        eprintln!("SKIPPED: needs root, loop devices and a kernel with iso9660");
        return;
    }
    let ((image, files), at) = (example(), tempfile::tempdir().unwrap());
    let file = written(&image);
    let mounted = Command::new("mount").args(["-o", "ro,loop"]).arg(file.path()).arg(at.path()).output().unwrap();
    if !mounted.status.success() {
        eprintln!("SKIPPED: no loop mount here: {}", String::from_utf8_lossy(&mounted.stderr));
        return;
    }
    let read = files.iter().map(|(name, _)| (name.clone(), fs::read(at.path().join(name)).unwrap())).collect::<Vec<_>>();
    let unmounted = Command::new("umount").arg(at.path()).status().unwrap();
    assert_eq!((read, unmounted.success()), (files, true));
}
