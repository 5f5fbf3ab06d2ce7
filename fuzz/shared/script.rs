//! Turns a fuzzer's bytes into a stream between host and agent. Their frames carry a checksum, which no fuzzer gets right by chance: so most
//! of what it says is put into frames for it, in an order and with contents of its choice; the rest goes on the wire as it is.

use api::guest::{FrameKind, frame};

/// One record: what it is, its stream, how long it is, and so many bytes.
const RECORD: usize = 3;
/// Lengths are given by one byte; the last one stands for a payload that credit does not cover.
const LONG: u8 = 255;
const LONG_BYTES: usize = 32 * 1024;
/// More of those are left out: they go beyond every window by far, and three bytes of a script must not become gigabytes of our own.
const MOST_LONG: usize = 32;

pub fn wire(mut script: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut longs = 0;
    while let Some((head, rest)) = script.split_first_chunk::<RECORD>() {
        let [what, stream, length] = *head;
        let given = if length == LONG { 0 } else { usize::from(length).min(rest.len()) };
        let (payload, rest) = rest.split_at(given);
        script = rest;
        longs += usize::from(length == LONG);
        if length == LONG && longs > MOST_LONG {
            continue;
        }
        let long = if length == LONG { vec![what; LONG_BYTES] } else { Vec::new() };
        let payload = if length == LONG { &long } else { payload };
        let kind = match what % 8 {
            0..=2 => FrameKind::Control,
            3 => FrameKind::Stdin,
            4 => FrameKind::Stdout,
            5 => FrameKind::Stderr,
            6 => FrameKind::Credit,
            _ => {
                wire.extend_from_slice(payload);
                continue;
            }
        };
        // Longer than a frame takes is not sent: the sender would not have either.
        let _ = frame::encode(kind, u32::from(stream), payload, &mut wire);
    }
    wire
}

/// A script of these frames, for seeds.
#[cfg(test)]
pub fn script(records: &[(u8, u8, &[u8])]) -> Vec<u8> {
    let mut script = Vec::new();
    for (what, stream, payload) in records {
        let length = u8::try_from(payload.len()).unwrap();
        script.extend_from_slice(&[*what, *stream, length]);
        script.extend_from_slice(if length == LONG { &[][..] } else { payload });
    }
    script
}
