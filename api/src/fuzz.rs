//! What must hold for any bytes between host and guest agent. Each function takes a fuzzer's input and panics when a property does not hold;
//! the targets under `fuzz/` call them, and the tests here replay the corpus.

use crate::guest::{AgentMessage, Decoder, Frame, FrameKind, HostMessage, InterfaceAddress, MAX_PAYLOAD};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

/// The frame decoder. The first byte is the length of the pieces that the rest comes in.
pub fn frames(input: &[u8]) {
    let Some((piece, wire)) = input.split_first() else { return };
    let (whole, dropped) = decode(wire, usize::MAX);
    for size in [1, 1 + usize::from(*piece)] {
        assert_eq!(decode(wire, size), (whole.clone(), dropped), "in pieces of {size} bytes other frames are found");
    }
    for found in &whole {
        let mut again = Vec::new();
        found.encode(&mut again).expect("what was in a frame fits into one");
        assert_eq!(decode(&again, usize::MAX), (vec![found.clone()], 0));
        assert_eq!(found.credit_amount().is_some(), found.payload.len() == 4);
    }
    // Any payload goes through.
    let any = Frame { kind: FrameKind::Stdout, stream: u32::from(*piece), payload: wire[..wire.len().min(MAX_PAYLOAD)].to_vec() };
    let mut through = Vec::new();
    any.encode(&mut through).expect("it is no longer than may be");
    assert_eq!(decode(&through, 1 + usize::from(*piece)), (vec![any], 0), "a payload is lost or changed");
    // Whatever came before, the next frame is found.
    let mut after = wire.to_vec();
    let next = Frame::credit(7, 70_000);
    next.encode(&mut after).expect("four bytes fit");
    assert_eq!(decode(&after, usize::MAX).0.last(), Some(&next), "a frame was swallowed");
}

fn decode(wire: &[u8], piece: usize) -> (Vec<Frame>, u64) {
    let (mut decoder, mut frames) = (Decoder::new(), Vec::new());
    for mut bytes in wire.chunks(piece.clamp(1, wire.len().max(1))) {
        while !bytes.is_empty() {
            let (taken, frame) = decoder.push(bytes);
            assert!(taken > 0 && taken <= bytes.len(), "{taken} of {} bytes were taken", bytes.len());
            frames.extend(frame);
            bytes = &bytes[taken..];
        }
    }
    (frames, decoder.dropped())
}

/// The messages in control frames, both ways, and the addresses in them.
pub fn messages(input: &[u8]) {
    if let Some(message) = again::<HostMessage>(input) {
        assert!(!message.name().is_empty() && message.born() > 0);
    }
    again::<AgentMessage>(input);
    if let Some(address) = std::str::from_utf8(input).ok().and_then(InterfaceAddress::parse) {
        let text = format!("{}/{}", address.address, address.prefix);
        assert_eq!(InterfaceAddress::parse(&text), Some(address), "{text}");
    }
}

/// What was read is written, and read as the same.
fn again<T: Serialize + DeserializeOwned + PartialEq + Debug>(json: &[u8]) -> Option<T> {
    let message: T = serde_json::from_slice(json).ok()?;
    let written = serde_json::to_vec(&message).expect("what was read can be written");
    let read: T = serde_json::from_slice(&written).expect("what was written can be read");
    let rewritten = serde_json::to_vec(&read).expect("and written again");
    assert_eq!(steady(&written), steady(&rewritten), "{message:?} and {read:?}");
    assert!(message == read || has_load(&written), "{message:?} and {read:?}");
    Some(message)
}

fn has_load(json: &[u8]) -> bool {
    json.windows(6).any(|window| window == b"\"load\"")
}

/// Load averages are floats, which JSON's reader may take one unit in the last place apart; everything else is the same to the bit.
fn steady(json: &[u8]) -> serde_json::Value {
    let mut value: serde_json::Value = serde_json::from_slice(json).expect("it was just written");
    if let Some(object) = value.as_object_mut() {
        object.remove("load");
    }
    value
}

#[cfg(test)]
mod tests;
