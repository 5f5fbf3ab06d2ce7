//! Headers as hearth and QEMU's own tools write them pass; each that was changed by hand is refused, and its disk left as it is.

use super::super::disk;
use super::*;
use domain::{VmId, vm::Drives};
use std::{
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
    process::Command,
};

struct Made {
    _folder: tempfile::TempDir,
    plan: DiskPlan,
    disk: PathBuf,
}

impl Made {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let base = root.join("base.ext4");
        File::create(&base).unwrap().set_len(1 << 20).unwrap();
        fs::create_dir(root.join("vm")).unwrap();
        fs::set_permissions(root.join("vm"), fs::Permissions::from_mode(0o700)).unwrap();
        let (plan, disk) =
            (DiskPlan { vm: VmId::from_bits(1), base, size_bytes: None, drives: Drives::default() }, root.join("vm/disk.qcow2"));
        disk::prepare(&plan, &disk).unwrap();
        Self { _folder: folder, plan, disk }
    }

    /// Why it is refused with these bytes as its first, which must be left as they are.
    fn refused(&self, head: &[u8]) -> String {
        fs::write(&self.disk, head).unwrap();
        let told = self.altered();
        assert_eq!(fs::read(&self.disk).unwrap(), head, "a disk that is refused is left as it is");
        told
    }

    fn altered(&self) -> String {
        match open(&self.plan, &self.disk, Some(7)) {
            Err(error @ VmmError::DiskAltered { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

fn put(head: &mut [u8], at: usize, bytes: &[u8]) {
    head[at..at + bytes.len()].copy_from_slice(bytes);
}

#[test]
fn each_field_that_was_changed_is_refused_and_named() {
    let made = Made::new();
    let good = fs::read(&made.disk).unwrap();
    open(&made.plan, &made.disk, Some(7)).unwrap();
    let name_at = 128_u64;
    let changes: [(usize, &[u8], &str); 26] = [
        (0, b"RFI", "no qcow2 file"),
        (4, &2_u32.to_be_bytes(), "no qcow2 file of version 3"),
        (4, &4_u32.to_be_bytes(), "no qcow2 file of version 3"),
        (8, &0_u64.to_be_bytes(), "not in its header"),
        (8, &96_u64.to_be_bytes(), "not in its header"),
        (8, &(name_at + 1).to_be_bytes(), "as its image"),
        (8, &CLUSTER.to_be_bytes(), "does not fit"),
        (8, &u64::MAX.to_be_bytes(), "not in its header"),
        (16, &0_u32.to_be_bytes(), "names \"\" as its image"),
        (16, &5_u32.to_be_bytes(), "as its image"),
        (16, &1024_u32.to_be_bytes(), "does not fit"),
        (16, &u32::MAX.to_be_bytes(), "does not fit"),
        (20, &9_u32.to_be_bytes(), "clusters of 64 KiB"),
        (32, &1_u32.to_be_bytes(), "encrypted"),
        (32, &2_u32.to_be_bytes(), "encrypted"),
        (72, &1_u64.to_be_bytes(), "features"),
        (72, &2_u64.to_be_bytes(), "qemu-img check"),
        (72, &4_u64.to_be_bytes(), "in another file"),
        (72, &6_u64.to_be_bytes(), "in another file"),
        (72, &(1_u64 << 63).to_be_bytes(), "features"),
        (100, &72_u32.to_be_bytes(), "has 72 bytes"),
        (100, &108_u32.to_be_bytes(), "has 108 bytes"),
        (100, &u32::MAX.to_be_bytes(), "has 4294967295 bytes"),
        (104, &0x4441_5441_u32.to_be_bytes(), "extension that hearth does not write (0x44415441)"),
        (108, &4096_u32.to_be_bytes(), "longer than its header"),
        (112, b"qcow2", "raw one"),
    ];
    for (at, bytes, word) in changes {
        let mut head = good.clone();
        if (at, bytes) == (112, b"qcow2") {
            put(&mut head, 108, &5_u32.to_be_bytes());
        }
        put(&mut head, at, bytes);
        let told = made.refused(&head);
        assert!(told.contains(word) && told.contains("delete the VM"), "{at}: {word:?} is not in {told}");
    }
    for length in [0, 4, 71, 103, 127, 130] {
        assert!(made.refused(&good[..length]).contains("it"), "{length} bytes");
    }
    fs::write(&made.disk, &good).unwrap();
    open(&made.plan, &made.disk, Some(7)).unwrap();
}

/// What makes QEMU open something: as a name, as a protocol, as options, and from a place that the header does not show.
#[test]
fn another_image_is_refused_wherever_it_is_named() {
    let made = Made::new();
    let good = fs::read(&made.disk).unwrap();
    let base = made.plan.base.to_str().unwrap();
    let names = [
        "/etc/shadow".to_owned(),
        format!("{base}\0"),
        format!("{base}x"),
        format!("{base}/../base.ext4"),
        format!("file:{base}"),
        "nbd:127.0.0.1:10809".into(),
        r#"json:{"driver":"raw","file":{"driver":"host_device","filename":"/dev/sda"}}"#.into(),
    ];
    for name in &names {
        let mut head = good.clone();
        put(&mut head, 8, &4096_u64.to_be_bytes());
        put(&mut head, 16, &(name.len() as u32).to_be_bytes());
        put(&mut head, 4096, name.as_bytes());
        // The extensions may be longer now; they end where they did.
        let told = made.refused(&head);
        assert!(told.contains("as its image"), "{name}: {told}");
        assert!(!told.contains('\0'), "{told:?}");
    }
}

#[test]
fn what_is_added_to_a_header_is_refused_unless_it_is_a_table_of_names() {
    let extension = |kind: u32, content: &[u8]| {
        let mut all = [kind.to_be_bytes(), (content.len() as u32).to_be_bytes()].concat();
        all.extend(content);
        all.resize(all.len().next_multiple_of(8), 0);
        all
    };
    let (raw, end) = (extension(BACKING_FORMAT, b"raw"), extension(END, b""));
    let names = extension(FEATURE_NAMES, &[7; 96]);
    let told = |parts: &[&[u8]]| format(&parts.concat()).map(|found| found.map(<[u8]>::to_vec));
    assert_eq!(told(&[&names, &raw, &end]), Ok(Some(b"raw".to_vec())));
    assert_eq!(told(&[&raw, &names, &end, b"rest"]), Ok(Some(b"raw".to_vec())));
    assert_eq!(told(&[&end, &raw]), Ok(None), "QEMU would try what the image is");
    assert!(told(&[&raw, &raw, &end]).unwrap_err().contains("twice"));
    assert!(told(&[&raw]).unwrap_err().contains("no end"));
    assert!(told(&[]).unwrap_err().contains("no end"));
    // A data file's name, a key's place, bitmaps, and one that nobody knows.
    for kind in [0x4441_5441, 0x0537_BE77, 0x2385_2875, 7] {
        assert!(told(&[&raw, &extension(kind, b"/etc/shadow"), &end]).unwrap_err().contains("does not write"));
    }
    for length in [0xFFFF_FFFF_u32, 0xFFFF_FFF8, 9] {
        let mut long = raw.clone();
        put(&mut long, 4, &length.to_be_bytes());
        assert!(told(&[&long]).is_err(), "{length:#x}");
    }
}

/// A data directory that was moved is mended so, and by nothing else of ours.
#[test]
fn what_qemu_img_writes_is_borne() {
    let made = Made::new();
    let tool = |words: &[&str]| Command::new("qemu-img").args(words).arg(&made.disk).output();
    let base = made.plan.base.to_str().unwrap();
    let Ok(rebased) = tool(&["rebase", "-u", "-F", "raw", "-b", base]) else {
        eprintln!("SKIPPED: qemu-img is not installed");
        return;
    };
    assert!(rebased.status.success(), "{rebased:?}");
    let file = open(&made.plan, &made.disk, Some(7)).unwrap();
    let mut length = [0; 4];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut length, 100).unwrap();
    assert_eq!(u32::from_be_bytes(length), LONGEST_HEADER, "it was written anew");
    let told = |words: &[&str]| {
        let output = tool(words).unwrap();
        assert!(output.status.success(), "{output:?}");
        made.altered()
    };
    assert!(told(&["rebase", "-u", "-F", "qcow2", "-b", base]).contains("raw one"));
    assert!(told(&["rebase", "-u", "-F", "raw", "-b", "/etc/shadow"]).contains("names \"/etc/shadow\" as its image"));
    assert!(told(&["rebase", "-u", "-b", ""]).contains("image"));
}

#[test]
fn only_a_file_that_nobody_else_could_have_put_there_is_opened() {
    let made = Made::new();
    let folder = made.disk.parent().unwrap();
    let aside = folder.join("aside");
    fs::hard_link(&made.disk, &aside).unwrap();
    assert!(made.altered().contains("one name"));
    fs::remove_file(&made.disk).unwrap();
    symlink(&aside, &made.disk).unwrap();
    assert!(made.altered().contains("symbolic link"));
    fs::remove_file(&made.disk).unwrap();
    nix::unistd::mkfifo(&made.disk, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(made.altered().contains("one name"), "and it is not waited for");
    fs::remove_file(&made.disk).unwrap();
    assert!(matches!(open(&made.plan, &made.disk, None), Err(VmmError::Folder { .. })));
    fs::rename(&aside, &made.disk).unwrap();
    open(&made.plan, &made.disk, Some(7)).unwrap();
    for mode in [0o770, 0o702] {
        fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
        assert!(made.altered().contains("chmod 700"), "{mode:o}");
    }
    assert!(changeable(true, 7, 0o40700, Some(7)).unwrap().contains("own user's"));
    assert_eq!(changeable(true, 7, 0o40755, Some(8)), None);
    assert_eq!(changeable(true, 7, 0o40700, None), None);
    assert!(changeable(false, 7, 0o100_700, None).is_some());
    let gone = DiskPlan { base: folder.join("gone"), ..made.plan.clone() };
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(matches!(open(&gone, &made.disk, None), Err(VmmError::Base { .. })));
}
