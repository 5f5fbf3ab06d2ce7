//! `scripts/images/from-cloud-image.sh`: the root file system out of a distribution's disk image, and a guest that boots from it. The guest is
//! skipped where `make image-debian-cloud` has not made the image that the disk is made of.

use anyhow::{Context, Result, ensure};
use hearth_tests::{
    Guest, Machine, Need, Options, Server,
    command::{Ran, finish, finish_within, hearth, ok},
    guest::nothing_left,
    images, scenario, scenario_within,
};
use std::{
    ffi::OsStr,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::process::Command;

const IMAGE: &str = "debian-cloud";
/// As in the suite of the cloud image itself.
const CONFIGURED_WITHIN: Duration = Duration::from_secs(300);
const LONGEST: Duration = Duration::from_secs(900);
const MIB: u64 = 1 << 20;
/// Where Debian's cloud images have their root, behind the EFI partition.
const ROOT_AT: u64 = 128 * MIB;
/// The table of Debian's image for PCs; the root's size is left to be filled in.
const ROOT_TYPE: &str = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709";
const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
/// Debian's own, too.
const FSTAB: &str = "# made by the image's builder
PARTUUID=11111111-2222-4333-8444-555555555555 / ext4 rw,discard,errors=remount-ro,x-systemd.growfs 0 1
PARTUUID=66666666-7777-4888-9999-aaaaaaaaaaaa /boot/efi vfat defaults 0 0
";
const MENDED: &str = "# made by the image's builder
/dev/vda / ext4 rw,discard,errors=remount-ro,x-systemd.growfs 0 1
# not on this disk: PARTUUID=66666666-7777-4888-9999-aaaaaaaaaaaa /boot/efi vfat defaults 0 0
";

const TOOLS: [Need; 4] =
    [Need::Program("qemu-img"), Need::Program("sfdisk"), Need::Program("debugfs"), Need::Program("mkfs.ext4")];

async fn tool(program: &str, arguments: &[&OsStr], input: &str) -> Result<String> {
    let mut command = Command::new(hearth_tests::machine::program(program).context(program.to_owned())?);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let ran = finish(command, Some(input), program).await?;
    ensure!(ran.code == Some(0), "{program} {arguments:?}: {ran:?}");
    Ok(ran.stdout)
}

/// A disk with these partitions, of which one's content is the file's: a root as Debian's, of the type `kind`.
async fn disk(path: &Path, kind: &str, content: &Path) -> Result<()> {
    let size = std::fs::metadata(content)?.len();
    std::fs::File::create(path)?.set_len(ROOT_AT + size + MIB)?;
    let table = format!(
        "label: gpt\n1: start={}, size={}, type={kind}, uuid=11111111-2222-4333-8444-555555555555\n\
         14: start=2048, size=6144, type=21686148-6449-6E6F-744E-656564454649\n\
         15: start=8192, size=253952, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=66666666-7777-4888-9999-AAAAAAAAAAAA\n",
        ROOT_AT / 512,
        size / 512
    );
    tool("sfdisk", &["--quiet".as_ref(), path.as_ref()], &table).await?;
    let (source, dest) = (format!("if={}", content.display()), format!("of={}", path.display()));
    let seek = format!("seek={}", ROOT_AT / MIB);
    let words = [&source, &dest, &seek, "bs=1M", "conv=notrunc,sparse", "status=none"].map(OsStr::new);
    tool("dd", &words, "").await.map(drop)
}

/// A small root file system with this fstab.
async fn small_root(folder: &Path, fstab: &str) -> Result<PathBuf> {
    let tree = folder.join("tree");
    std::fs::create_dir_all(tree.join("etc"))?;
    std::fs::write(tree.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n")?;
    std::fs::write(tree.join("etc/fstab"), fstab)?;
    let file = folder.join("small.ext4");
    std::fs::File::create(&file)?.set_len(16 * MIB)?;
    let words: [&OsStr; 7] = ["-q", "-F", "-U", "99999999-8888-4777-8666-555555555555", "-d"]
        .map(OsStr::new)
        .into_iter()
        .chain([tree.as_ref(), file.as_ref()])
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| anyhow::anyhow!("seven words"))?;
    tool("mkfs.ext4", &words, "").await?;
    Ok(file)
}

/// The script as its users run it, its images in `images`; `server`: a hearth that runs, if any.
async fn extract(images: &Path, disk: &Path, name: &str, server: Option<&Server>) -> Result<Ran> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/images/from-cloud-image.sh");
    let mut command = Command::new(script);
    command.arg(disk).arg(name).env("HEARTH_IMAGES", images).env("HEARTH_URL", "http://127.0.0.1:9");
    if let Some(server) = server {
        command.env("HEARTH_URL", server.url()).env("HEARTH_TOKEN", server.token()?);
        command.env("HEARTH_BIN", &server.machine().hearth);
    }
    command.current_dir(images.parent().context("a folder")?);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    finish_within(CONFIGURED_WITHIN, command, None, "from-cloud-image.sh").await
}

async fn read(rootfs: &Path, file: &str) -> Result<String> {
    tool("debugfs", &["-R".as_ref(), format!("cat {file}").as_ref(), rootfs.as_ref()], "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_is_found_and_its_fstab_mended() -> Result<()> {
    scenario("the_root_is_found_and_its_fstab_mended", &TOOLS, async |_| {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        let images = at("images");
        let small = small_root(folder.path(), FSTAB).await?;
        disk(&at("gpt.raw"), ROOT_TYPE, &small).await?;
        tool("qemu-img", &["convert", "-O", "qcow2"].map(OsStr::new).into_iter().chain([at("gpt.raw").as_ref(), at("gpt.qcow2").as_ref()]).collect::<Vec<_>>(), "").await?;
        disk(&at("linux.raw"), LINUX, &small).await?;
        for (file, name) in [("gpt.qcow2", "one"), ("linux.raw", "two"), ("small.ext4", "three")] {
            let ran = extract(&images, &at(file), name, None).await?;
            ensure!(ran.code == Some(0), "{file}: {ran:?}");
            ensure!(ran.stdout.contains("now: /dev/vda / ext4"), "{file}: {ran:?}");
            let rootfs = images.join(name).join("rootfs.ext4");
            ensure!(read(&rootfs, "/etc/fstab").await? == MENDED, "{file}");
            ensure!(read(&rootfs, "/etc/passwd").await?.starts_with("root:"), "{file}");
            ensure!(std::fs::metadata(&rootfs)?.len() == 16 * MIB, "{file}");
        }
        let list = std::fs::read_to_string(images.join("images.json"))?;
        ensure!(list.contains("\"path\":\"one/rootfs.ext4\"") && list.contains("The root file system of gpt.qcow2"), "{list}");
        // A name is free text; to a shell that counts with it, a program.
        let mark = at("mark");
        std::fs::copy(at("linux.raw"), at("named.raw"))?;
        let named = at("named.raw");
        let name = ", start=a[$(echo>mark)], size=1";
        tool("sfdisk", &["--quiet", "--part-label"].map(OsStr::new).into_iter().chain([named.as_ref(), "1".as_ref(), name.as_ref()]).collect::<Vec<_>>(), "").await?;
        let table = tool("sfdisk", &["--dump".as_ref(), named.as_ref()], "").await?;
        ensure!(table.contains(", start=a["), "{table}");
        let ran = extract(&images, &named, "three", None).await?;
        ensure!(ran.code == Some(0) && ran.stdout.contains("at byte 134217728, 16 MiB") && !mark.exists(), "{ran:?}");
        // What stays as it is: names that go with the file system, files, what may fail.
        let fstab = "UUID=99999999-8888-4777-8666-555555555555 / ext4 rw 0 1\n/swapfile none swap sw 0 0\nLABEL=data /srv ext4 nofail 0 0\n";
        let ran = extract(&images, &small_root(folder.path(), fstab).await?, "three", None).await?;
        ensure!(ran.code == Some(0) && ran.stdout.contains("it can stay as it is"), "{ran:?}");
        ensure!(read(&images.join("three/rootfs.ext4"), "/etc/fstab").await? == fstab);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_such_root_is_refused_with_the_reason() -> Result<()> {
    scenario("what_has_no_such_root_is_refused_with_the_reason", &TOOLS, async |_| {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        let images = at("images");
        let small = small_root(folder.path(), FSTAB).await?;
        std::fs::write(at("text"), "no disk\n".repeat(1000))?;
        std::fs::write(at("packed"), [0x1f, 0x8b, 8, 0, 0, 0, 0, 0])?;
        let part = at("part");
        // What blkid knows each by. Sources: the kernel's btrfs_tree.h and xfs_format.h, lvm2's label.h, cryptsetup's LUKS1 header.
        for (name, marks) in [
            ("btrfs", &[(0x1_0040, &b"_BHRfS_M"[..])][..]),
            ("lvm", &[(512, &b"LABELONE\x01\0\0\0\0\0\0\0\x73\xac\xa8\x28\x20\0\0\0LVM2 001"[..])][..]),
            ("luks", &[(0, &b"LUKS\xba\xbe\0\x01"[..])][..]),
            ("empty", &[][..]),
        ] {
            let file = std::fs::File::create(&part)?;
            file.set_len(16 * MIB)?;
            for (offset, bytes) in marks {
                file.write_all_at(bytes, *offset)?;
            }
            disk(&at(name), LINUX, &part).await?;
        }
        let other = at("other");
        std::fs::File::create(&other)?.set_len(16 * MIB)?;
        tool("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), other.as_ref()], "").await?;
        disk(&at("data"), LINUX, &other).await?;
        // A list of other files, which the disk would be made of.
        let foreign = format!("# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\nRW 32768 FLAT \"{}\" 0\n", small.display());
        std::fs::write(at("list.vmdk"), foreign)?;
        let mut create: Vec<&OsStr> = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b"].map(OsStr::new).to_vec();
        let overlay = at("overlay");
        create.extend([small.as_os_str(), overlay.as_os_str()]);
        tool("qemu-img", &create, "").await?;
        for (file, reason) in [
            ("absent", "there is no file"),
            ("text", "has no partition table: it is no image of a disk"),
            ("packed", "is packed: gunzip it first"),
            ("btrfs", "is no ext4 (there is: btrfs), and hearth boots ext4 only"),
            ("lvm", "is on LVM"),
            ("luks", "is encrypted"),
            ("empty", "has a root file system (there is: nothing known)"),
            ("data", "has a root file system (there is: ext4)"),
            ("overlay", "is only a part of an image"),
            ("list.vmdk", "is of the format vmdk"),
        ] {
            let ran = extract(&images, &at(file), "refused", None).await?;
            ensure!(ran.code == Some(1) && ran.stderr.contains(reason), "{file}: {ran:?}");
            ensure!(ran.stderr.lines().filter(|line| line.starts_with("FAILED")).count() == 1, "{file}: {ran:?}");
        }
        std::fs::create_dir_all(images.join("busybox"))?;
        for (name, reason) in
            [("Upper", "lower-case letters"), ("../away", "lower-case letters"), ("busybox", "hearth makes itself")]
        {
            let ran = extract(&images, &small, name, None).await?;
            ensure!(ran.code == Some(1) && ran.stderr.contains(reason), "{name}: {ran:?}");
        }
        ensure!(!images.join("refused").exists() && !images.join("images.json").exists());
        Ok(())
    })
    .await
}

/// Debian's partitions and fstab around its root: given to a hearth that runs, and booted.
#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_cloud_image_boots() -> Result<()> {
    let needs: Vec<Need> = [Need::Guests, Need::Image(IMAGE)].into_iter().chain(TOOLS).collect();
    scenario_within("a_partitioned_cloud_image_boots", &needs, LONGEST, async |machine: Machine| {
        let server = Server::start(&machine, Options::offline()).await?;
        // Beside the images: /tmp may be too small.
        let folder = tempfile::Builder::new().prefix("e2e-disk-").tempdir_in(server.data_dir())?;
        let (raw, qcow2) = (folder.path().join("disk.raw"), folder.path().join("debian-12.qcow2"));
        disk(&raw, ROOT_TYPE, &machine.images.join(images::entry(&machine, IMAGE)?.path)).await?;
        std::fs::write(folder.path().join("fstab"), FSTAB)?;
        let place = format!("{}?offset={ROOT_AT}", raw.display());
        let write = format!("rm /etc/fstab\nwrite {} /etc/fstab\n", folder.path().join("fstab").display());
        tool("debugfs", &["-w", "-f", "-", &place].map(OsStr::new), &write).await?;
        tool("qemu-img", &["convert".as_ref(), "-O".as_ref(), "qcow2".as_ref(), raw.as_ref(), qcow2.as_ref()], "").await?;
        std::fs::remove_file(&raw)?;
        let ran = extract(&folder.path().join("images"), &qcow2, "stock", Some(&server)).await?;
        ensure!(ran.code == Some(0) && ran.stdout.contains("now: # not on this disk: PARTUUID=66666666"), "{ran:?}");

        // A stock system waits two minutes for a network that it will not have, and calls it a failure.
        let patience = ["--no-network", "--cmdline", "systemd.mask=systemd-networkd-wait-online.service"];
        let create = ["vm", "create", "stock", "--image", "stock", "--mem", "512M", "--password"];
        ok(&server, &[&create[..], &patience].concat()).await?;
        let guest = Guest::named(&server, "stock").await?;
        let wait = ["vm", "exec", "stock", "--timeout", "290", "--", "cloud-init", "status", "--wait"];
        let ran = finish_within(CONFIGURED_WITHIN, hearth(&server, &wait)?, None, "cloud-init").await?;
        ensure!(ran.code == Some(0) && ran.stdout.contains("status: done"), "{ran:?}");
        ensure!(guest.sh("cat /etc/fstab").await? == MENDED.trim());
        ensure!(guest.sh("systemctl is-active emergency.target || true").await? == "inactive");
        let failed = guest.sh("systemctl --failed --no-legend").await?;
        ensure!(failed.is_empty(), "{failed}");
        guest.delete(&server, true).await?;
        nothing_left(&server, None).await
    })
    .await
}
