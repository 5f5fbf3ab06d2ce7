//! Seeds of the target, from the bytes of published formats, and the replay of its corpus.

use super::*;

#[path = "../../../fuzz/shared/replay.rs"]
mod replay;

/// The first and the last record of a file of examples; each has its length before it.
fn golden(name: &str) -> Vec<Vec<u8>> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let bytes = std::fs::read(path).unwrap();
    let (mut rest, mut all) = (bytes.as_slice(), Vec::new());
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let (record, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
        all.push(record.to_vec());
        rest = tail;
    }
    let last = all.pop().unwrap();
    all.truncate(1);
    all.push(last);
    all
}

fn records() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (which, name) in ["vm-1.bin", "image-1.bin", "host-1.bin", "operation-1.bin", "event-1.bin"].iter().enumerate() {
        seeds.extend(golden(name).into_iter().map(|record| [&[which as u8], record.as_slice()].concat()));
    }
    let aside = SetAside::fuzzed("vms", "vm_x", vec![1, 0, 253, 255], "it does not decode");
    seeds.push([&[5], encode(&aside).unwrap().as_slice()].concat());
    seeds.push([&[6], [7u64.to_be_bytes(), 9u64.to_be_bytes(), 3u64.to_be_bytes()].concat().as_slice()].concat());
    seeds.push([&[6], b"x/s/vms\0vm_x\x01".as_slice()].concat());
    seeds.push([&[6], b"e/\0\0\0\0\0\0\0\x09".as_slice()].concat());
    seeds.push([&[8], "vms\0vm_x\0it says \u{1f980}\0bytes".as_bytes()].concat());
    // Of sled: a leaf of two entries with a prefix, links, and the page that names the root.
    let leaf = [0, 0, 0, 1, 2, b'e', b'a', 0, 0, 2, 1, b'b', 1, b'c', 1, 7, 2, 8, 9];
    let set = [0, 1, b'x', 2, 1, 2];
    let meta = [&[15], b"__sled__default".as_slice(), &[9]].concat();
    for body in [leaf.as_slice(), &set, &[2, 250, 1, 1, 1], &meta] {
        seeds.push([&[7, body.len() as u8], body, &set].concat());
    }
    // A length that asks for all memory.
    seeds.push([&[4, 1, 0, 0, 253], u64::MAX.to_le_bytes().as_slice()].concat());
    seeds
}

#[test]
fn stored_corpus() {
    replay::replay("stored", &records(), stored);
}
