//! A small ISO 9660 image: files in one folder, with Rock Ridge names, since plain ones know no lower case and no hyphen. Pure. Holds what a
//! cloud-init seed needs and no more: no folders, no boot, nothing larger than memory.
//!
//! Sectors of 2 KiB: 16 of zeros, the volume's descriptor, its end, the path table twice (little and big endian), the folder, the files.
//! Source: ECMA-119 sections 8, 9 and 6.9; SUSP 1.12; RRIP 1.12; what of it Linux reads: fs/isofs/{inode,rock}.c of 6.1.

const SECTOR: usize = 2048;
const DESCRIPTOR: u32 = 16;
const LITTLE_TABLE: u32 = DESCRIPTOR + 2;
const BIG_TABLE: u32 = LITTLE_TABLE + 1;
const FOLDER: u32 = BIG_TABLE + 1;
const FIRST_FILE: u32 = FOLDER + 1;
/// One root and nothing below it.
const TABLE_BYTES: u32 = 10;
/// 2000-01-01: the same content is the same image.
const DATE: [u8; 7] = [100, 1, 1, 0, 0, 0, 0];
const IS_FOLDER: u8 = 2;
/// Of plain names without extension.
const PLAIN_MAX: usize = 8;

/// One file. `name` is what Linux shows, of ASCII.
pub struct File<'a> {
    pub name: &'a str,
    pub bytes: &'a [u8],
}

/// The image; `files` in the order of their names, few enough for one sector (ten are). `label`: at most 32 bytes.
///
/// Only the guest's root may read the files.
pub fn image(label: &str, files: &[File<'_>]) -> Vec<u8> {
    let mut folder = record(&[0], FOLDER, SECTOR as u32, IS_FOLDER, &[sharing(), mode(0o040_500, 2), rock_ridge()].concat());
    folder.extend(record(&[1], FOLDER, SECTOR as u32, IS_FOLDER, &mode(0o040_500, 2)));
    let (mut contents, mut at) = (Vec::new(), FIRST_FILE);
    for file in files {
        let of_name = [mode(0o100_400, 1), name(file.name)].concat();
        folder.extend(record(plain(file.name).as_bytes(), at, file.bytes.len() as u32, 0, &of_name));
        contents.extend_from_slice(file.bytes);
        pad(&mut contents, SECTOR);
        at += file.bytes.len().div_ceil(SECTOR) as u32;
    }
    debug_assert!(folder.len() <= SECTOR, "the folder has one sector");
    let end = [&[255_u8][..], b"CD001\x01"].concat();
    let parts = [descriptor(label, at), end, path_table(FOLDER.to_le_bytes(), 1_u16.to_le_bytes())];
    let parts = parts.into_iter().chain([path_table(FOLDER.to_be_bytes(), 1_u16.to_be_bytes()), folder]);
    let mut image = vec![0; DESCRIPTOR as usize * SECTOR];
    for part in parts {
        image.extend(part);
        pad(&mut image, SECTOR);
    }
    image.extend(contents);
    image
}

fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn both_16(number: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (number.to_le_bytes(), number.to_be_bytes());
    [a, b, c, d]
}

fn both_32(number: u32) -> Vec<u8> {
    [number.to_le_bytes(), number.to_be_bytes()].concat()
}

fn text(text: &str, width: usize) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(width, b' ');
    bytes
}

fn descriptor(label: &str, sectors: u32) -> Vec<u8> {
    let mut all = b"\x01CD001\x01\0".to_vec();
    all.extend([text("", 32), text(label, 32), vec![0; 8], both_32(sectors), vec![0; 32]].concat());
    // The only volume of its set.
    all.extend([both_16(1), both_16(1), both_16(SECTOR as u16)].concat());
    all.extend(both_32(TABLE_BYTES));
    all.extend([LITTLE_TABLE.to_le_bytes(), [0; 4], BIG_TABLE.to_be_bytes(), [0; 4]].concat());
    all.extend(record(&[0], FOLDER, SECTOR as u32, IS_FOLDER, &[]));
    // Names of the set, of people and programs, of files about it: none.
    all.extend(text("", 4 * 128 + 3 * 37));
    // Made, changed, void from, good from: not said.
    all.extend([&b"0000000000000000\0"[..]; 4].concat());
    all.push(1);
    all
}

fn path_table(folder: [u8; 4], parent: [u8; 2]) -> Vec<u8> {
    [&[1, 0][..], &folder, &parent, &[0, 0]].concat()
}

/// A line of the folder. An even number of bytes, and what follows the identifier begins at an even one.
fn record(identifier: &[u8], extent: u32, size: u32, flags: u8, system_use: &[u8]) -> Vec<u8> {
    let mut rest = vec![0];
    rest.extend(both_32(extent));
    rest.extend(both_32(size));
    rest.extend(DATE);
    rest.extend([flags, 0, 0]);
    rest.extend(both_16(1));
    rest.push(identifier.len() as u8);
    rest.extend(identifier);
    if identifier.len().is_multiple_of(2) {
        rest.push(0);
    }
    rest.extend(system_use);
    if rest.len().is_multiple_of(2) {
        rest.push(0);
    }
    rest.insert(0, rest.len() as u8 + 1);
    rest
}

/// As a reader without Rock Ridge sees it.
fn plain(name: &str) -> String {
    let kept = name.chars().filter(char::is_ascii_alphanumeric).take(PLAIN_MAX);
    format!("{}.;1", kept.collect::<String>().to_ascii_uppercase())
}

fn entry(signature: &[u8], data: &[u8]) -> Vec<u8> {
    [signature, &[data.len() as u8 + 4, 1], data].concat()
}

/// That such entries are used at all: in the folder's first line.
fn sharing() -> Vec<u8> {
    entry(b"SP", &[0xbe, 0xef, 0])
}

/// That they are Rock Ridge's. The texts for people, which mostly follow, are left out.
fn rock_ridge() -> Vec<u8> {
    let identifier = b"RRIP_1991A";
    entry(b"ER", &[&[identifier.len() as u8, 0, 0, 1][..], identifier].concat())
}

/// Mode and links; root's.
fn mode(mode: u32, links: u32) -> Vec<u8> {
    entry(b"PX", &[both_32(mode), both_32(links), both_32(0), both_32(0)].concat())
}

fn name(name: &str) -> Vec<u8> {
    entry(b"NM", &[&[0], name.as_bytes()].concat())
}

#[cfg(test)]
mod tests;
