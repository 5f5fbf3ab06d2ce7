//! Opening a VM's disk before a launch: whether its qcow2 header still is as hearth writes it. A QEMU that was taken over can write into its own
//! disk whatever it likes, and the next one opens, as root still, the files that the header names; so it is looked at before anything else opens
//! the disk. Owns what a header may say; what the disk holds beyond it is the guest's.
//!
//! Read as QEMU 7.2 reads it (`block/qcow2.c`, docs/interop/qcow2.txt), and refused where two readers could differ. What `qemu-img` writes into
//! a header of ours is borne: eight bytes more, a table of the features' names, the name of the image elsewhere in the first cluster.

use super::super::{
    DiskPlan, VmmError,
    shared::layout::{open_disk, storage_error},
};
use std::{
    fs::{self, File},
    io::Read,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

pub const MAGIC: &[u8; 4] = b"QFI\xfb";
pub const CLUSTER: u64 = 65_536;
pub const HEADER_V3: u32 = 104;
/// Fixed by the format.
pub const MOST_BACKING_NAME: usize = 1023;
/// With the type of compression, which newer programs add.
const LONGEST_HEADER: u32 = 112;

/// The kinds of an extension.
pub const BACKING_FORMAT: u32 = 0xE279_2ACA;
const FEATURE_NAMES: u32 = 0x6803_F857;
const END: u32 = 0;

/// Of the incompatible features.
const CORRUPT: u64 = 1 << 1;
const DATA_FILE: u64 = 1 << 2;

/// Opens the disk for reading and writing if its header is as it was made. `uid`: whose process is to have it; absent: hearth's user's. Blocks.
///
/// Errors: `DiskAltered`; `Base` if the image is gone; `Folder`.
pub fn open(plan: &DiskPlan, disk: &Path, uid: Option<u32>) -> Result<File, VmmError> {
    let base = plan.base.canonicalize().map_err(|source| VmmError::Base { path: plan.base.clone(), source })?;
    let failed = |source| storage_error(disk, source);
    let altered = |detail| VmmError::DiskAltered { path: disk.into(), detail };
    let folder = disk.parent().unwrap_or(Path::new("."));
    let found = fs::symlink_metadata(folder).map_err(failed)?;
    if let Some(detail) = changeable(found.is_dir(), found.uid(), found.mode(), uid) {
        return Err(altered(detail.to_owned()));
    }
    let file = open_disk(disk)?;
    let mut head = Vec::new();
    (&file).take(CLUSTER).read_to_end(&mut head).map_err(failed)?;
    check(&head, base.as_os_str().as_bytes()).map_err(altered)?;
    Ok(file)
}

/// Why a process of that user could put another file into the place of the disk.
fn changeable(is_dir: bool, owner: u32, mode: u32, uid: Option<u32>) -> Option<&'static str> {
    match () {
        () if !is_dir => Some("its folder is none"),
        () if uid == Some(owner) => Some("its folder is the VM's own user's and not hearth's"),
        () if mode & 0o022 != 0 => Some("others may write to its folder (chmod 700)"),
        () => None,
    }
}

/// What is wrong with a header, by the file's first cluster, of a disk over the raw image `base`. Pure.
pub fn check(head: &[u8], base: &[u8]) -> Result<(), String> {
    let cut = || "its header is cut short".to_owned();
    let word = |at: usize| bytes::<4>(head, at).map(u32::from_be_bytes).ok_or_else(cut);
    let long = |at: usize| bytes::<8>(head, at).map(u64::from_be_bytes).ok_or_else(cut);
    if !head.starts_with(MAGIC) || word(4)? != 3 || word(20)? != CLUSTER.trailing_zeros() {
        return Err("it is no qcow2 file of version 3 with clusters of 64 KiB".into());
    }
    if word(32)? != 0 {
        return Err("it is encrypted".into());
    }
    let features = long(72)?;
    match features {
        0 => {}
        _ if features & DATA_FILE != 0 => return Err("it says that its data are in another file".into()),
        CORRUPT => return Err("QEMU marked it as corrupt (look at it with qemu-img check)".into()),
        _ => return Err(format!("it has features that no disk of hearth's has ({features:#x})")),
    }
    let length = word(100)?;
    if !(HEADER_V3..=LONGEST_HEADER).contains(&length) || !length.is_multiple_of(8) {
        return Err(format!("its header has {length} bytes"));
    }
    let (name_at, name_len) = (long(8)?, word(16)? as usize);
    let extensions_end = usize::try_from(name_at).ok().filter(|&at| at >= length as usize && at <= head.len());
    let extensions_end = extensions_end.ok_or("the name of its image is not in its header")?;
    let name = extensions_end.checked_add(name_len).and_then(|end| head.get(extensions_end..end));
    let name = name.filter(|name| name.len() <= MOST_BACKING_NAME).ok_or("the name of its image does not fit into its header")?;
    let extensions = head.get(length as usize..extensions_end).ok_or_else(cut)?;
    if format(extensions)? != Some(&b"raw"[..]) {
        return Err("it does not say that its image is a raw one".into());
    }
    if name != base {
        // Quoted, so that nothing in it reaches a terminal.
        let named = String::from_utf8_lossy(name);
        let base = String::from_utf8_lossy(base);
        return Err(format!("it names {named:?} as its image, which is {base:?}"));
    }
    Ok(())
}

/// The image's format, by the header's extensions. Any that could name a file, or that another reader may understand otherwise, is an error.
fn format(extensions: &[u8]) -> Result<Option<&[u8]>, String> {
    let (mut at, mut found) = (0_usize, None);
    loop {
        let kind = bytes::<4>(extensions, at).map(u32::from_be_bytes);
        let length = bytes::<4>(extensions, at + 4).map(u32::from_be_bytes);
        let (Some(kind), Some(length)) = (kind, length) else { return Err("the extensions of its header have no end".into()) };
        let content = (at + 8).checked_add(length as usize).and_then(|end| extensions.get(at + 8..end));
        let content = content.ok_or_else(|| "an extension of its header is longer than its header".to_owned())?;
        match kind {
            END => return Ok(found),
            BACKING_FORMAT if found.is_none() => found = Some(content),
            BACKING_FORMAT => return Err("it tells its image's format twice".into()),
            FEATURE_NAMES => {}
            _ => return Err(format!("its header has an extension that hearth does not write ({kind:#010x})")),
        }
        at += 8 + content.len().next_multiple_of(8);
    }
}

fn bytes<const N: usize>(all: &[u8], at: usize) -> Option<[u8; N]> {
    all.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests;
