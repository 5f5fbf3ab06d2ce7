//! Whether a file is what it is said to be, by its first bytes. Not a check of its health.

use super::ImageError;
use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

/// What an imported file is used as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Kernel,
    Rootfs,
    Initrd,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Kernel => "kernel",
            Kind::Rootfs => "root file system",
            Kind::Initrd => "initramfs",
        }
    }
}

/// Up to the end of ext4's superblock.
const HEAD: usize = 2048;
/// Of ext4 (Documentation/filesystems/ext4): the superblock is at 1024; magic at 0x38, blocks at 0x4, log2 of the block size less 10 at 0x18.
const SUPERBLOCK: usize = 1024;
const EXT4_MAGIC: [u8; 2] = [0x53, 0xEF];
/// Of x86's boot protocol.
const BZIMAGE_MAGIC: (usize, &[u8]) = (0x202, b"HdrS");
/// What Linux unpacks: cpio in the new format, and its decompressors' magic numbers (lib/decompress.c).
const INITRAMFS: [&[u8]; 9] = [
    b"070701",
    b"070702",
    &[0x1f, 0x8b],
    &[0x28, 0xb5, 0x2f, 0xfd],
    &[0xfd, b'7', b'z', b'X', b'Z', 0],
    &[0x02, 0x21, 0x4c, 0x18],
    b"BZh",
    &[0x5d, 0, 0],
    &[0x89, b'L', b'Z', b'O'],
];

/// Refuses a file that cannot be used as that.
pub fn check(file: &File, path: &Path, kind: Kind) -> Result<(), ImageError> {
    let source = |source| ImageError::Source { path: path.into(), source };
    let len = file.metadata().map_err(source)?.len();
    let mut head = [0; HEAD];
    let read = read_head(file, &mut head).map_err(source)?;
    look(&head[..read], len, kind).map_err(|detail| ImageError::WrongKind { path: path.into(), kind: kind.name(), detail })
}

fn read_head(file: &File, head: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    loop {
        match file.read_at(&mut head[read..], read as u64)? {
            0 => return Ok(read),
            more => read += more,
        }
    }
}

fn look(head: &[u8], len: u64, kind: Kind) -> Result<(), String> {
    let has = |at: usize, magic: &[u8]| head.get(at..at + magic.len()) == Some(magic);
    match kind {
        Kind::Kernel if has(0, b"\x7fELF") || has(BZIMAGE_MAGIC.0, BZIMAGE_MAGIC.1) => Ok(()),
        Kind::Kernel => Err("neither an ELF file (vmlinux) nor a bzImage".into()),
        Kind::Initrd if INITRAMFS.iter().any(|magic| has(0, magic)) => Ok(()),
        Kind::Initrd => Err("neither a cpio archive in the new format nor a compressed one".into()),
        Kind::Rootfs if has(SUPERBLOCK + 0x38, &EXT4_MAGIC) => whole(head, len),
        Kind::Rootfs => Err("not an ext4 file system as a raw image; make one with mkfs.ext4 -d FOLDER FILE SIZE".into()),
    }
}

/// The first byte is the kind, the next seven the file's length, the rest its beginning.
#[cfg(any(test, fuzzing))]
pub fn fuzz(input: &[u8]) {
    let Some((which, rest)) = input.split_first() else { return };
    let Some((length, head)) = rest.split_first_chunk::<7>() else { return };
    let len = u64::from_le_bytes([length[0], length[1], length[2], length[3], length[4], length[5], length[6], 0]);
    let kind = [Kind::Kernel, Kind::Initrd, Kind::Rootfs][usize::from(which % 3)];
    let head = &head[..head.len().min(HEAD)];
    let verdict = look(head, len, kind);
    // What is missing at the end of a longer file can't make it right, and a file system is never taken that claims more than is there.
    if kind == Kind::Rootfs && verdict.is_ok() {
        let number = |at: usize| u128::from(u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]));
        assert!(number(1028) * (1024 << number(1048)) <= u128::from(len));
        assert!(look(&head[..1081], len, kind).is_err());
    }
    assert!(verdict.is_ok() || verdict.is_err_and(|detail| !detail.is_empty() && detail.len() < 200));
}

/// A copy that was cut short would boot and then lose files.
fn whole(head: &[u8], len: u64) -> Result<(), String> {
    let number = |at: usize| head.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes);
    let (blocks, block_log) = (u64::from(number(SUPERBLOCK + 4)), number(SUPERBLOCK + 0x18));
    // 64 KiB is the largest block there is.
    if block_log > 6 {
        return Err("its superblock is damaged".into());
    }
    let needed = blocks * (1024 << block_log);
    if len < needed { Err(format!("cut short: the file system has {needed} bytes, the file {len}")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ext4(blocks: u32) -> Vec<u8> {
        let mut head = vec![0; HEAD];
        head[1028..1032].copy_from_slice(&blocks.to_le_bytes());
        head[1080..1082].copy_from_slice(&EXT4_MAGIC);
        head
    }

    #[test]
    fn each_kind_is_told_from_the_others() {
        let mut bzimage = vec![0; HEAD];
        bzimage[0x202..0x206].copy_from_slice(b"HdrS");
        let samples: [(&[u8], Kind); 5] = [
            (b"\x7fELF and more", Kind::Kernel),
            (&bzimage, Kind::Kernel),
            (&ext4(2), Kind::Rootfs),
            (b"0707010000", Kind::Initrd),
            (&[0x1f, 0x8b, 8], Kind::Initrd),
        ];
        for (head, right) in samples {
            for kind in [Kind::Kernel, Kind::Rootfs, Kind::Initrd] {
                assert_eq!(look(head, 1 << 20, kind).is_ok(), kind == right, "{right:?} as {kind:?}");
            }
        }
        for kind in [Kind::Kernel, Kind::Rootfs, Kind::Initrd] {
            assert!(look(&[], 0, kind).is_err());
        }
    }

    #[test]
    fn a_file_system_that_is_cut_short_is_refused() {
        assert!(look(&ext4(1024), 1 << 20, Kind::Rootfs).is_ok());
        assert!(look(&ext4(1025), 1 << 20, Kind::Rootfs).unwrap_err().contains("cut short"));
    }
}
