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
    for (which, name) in [(9, "webhook-1.bin"), (9, "webhook-2.bin"), (3, "operation-2.bin"), (10, "webhook-dead-letter-1.bin")] {
        let records = golden(name).into_iter().filter(|record| !record.is_empty());
        seeds.extend(records.map(|record| [&[which], record.as_slice()].concat()));
    }
    // The frames of a backup without its sum: a head, a record, a secret, an event; and one whose numbers have no end.
    let head = |numbers: [u64; 5]| [numbers.map(u64::to_le_bytes).as_flattened(), b"0.1.0"].concat();
    let frame = |kind: u8, content: &[u8]| [&[kind], (content.len() as u32).to_le_bytes().as_slice(), content].concat();
    let parts = [
        frame(b'H', &head([3, 1, 1, 1, 5])),
        frame(b'R', b"\x03\0vms\x04\0vm_xvalue"),
        frame(b'S', b"\x04\0wh_xsesame"),
        frame(b'E', &[1u64.to_le_bytes().as_slice(), b"event"].concat()),
    ];
    seeds.push([&[11], parts.concat().as_slice()].concat());
    seeds.push([&[11], frame(b'H', &head([3, 0, u64::MAX, 1, 5])).as_slice()].concat());
    seeds.extend(golden("vm-3.bin").into_iter().map(|record| [&[0], record.as_slice()].concat()));
    seeds
}

#[test]
fn stored_corpus() {
    replay::replay("stored", &records(), stored);
}
