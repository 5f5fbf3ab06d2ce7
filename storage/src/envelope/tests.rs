//! What an envelope accepts and refuses: every older, newer, longer and shorter form of a record.

use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct V1 {
    name: String,
}
impl Stored for V1 {
    const SCHEMA: u16 = 1;
    const NAME: &'static str = "thing";
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct V2 {
    name: String,
    size: u64,
}
impl Stored for V2 {
    const SCHEMA: u16 = 2;
    const NAME: &'static str = "thing";
    fn upgrade(schema: u16, payload: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => exact::<V1>(Self::NAME, schema, payload).map(|old| V2 { name: old.name, size: 7 }),
            _ => Err(DecodeError::NoUpgrade { name: Self::NAME, found: schema, known: Self::SCHEMA }),
        }
    }
}

fn old() -> Vec<u8> {
    encode(&V1 { name: "a".into() }).unwrap()
}
fn new() -> Vec<u8> {
    encode(&V2 { name: "a".into(), size: 900 }).unwrap()
}

#[test]
fn a_record_comes_back_as_it_was() {
    assert_eq!(decode::<V2>(&new()).unwrap(), V2 { name: "a".into(), size: 900 });
    assert_eq!(&new()[..2], &[2, 0], "the schema leads, little-endian");
}

#[test]
fn an_older_record_is_upgraded() {
    assert_eq!(decode::<V2>(&old()).unwrap(), V2 { name: "a".into(), size: 7 });
}

#[test]
fn an_older_record_without_an_upgrade_is_refused() {
    let mut bytes = old();
    bytes[0] = 0;
    assert!(matches!(decode::<V1>(&bytes), Err(DecodeError::NoUpgrade { found: 0, known: 1, .. })));
}

#[test]
fn a_newer_record_is_refused_by_name() {
    let error = decode::<V1>(&new()).unwrap_err();
    assert!(matches!(error, DecodeError::Newer { name: "thing", found: 2, known: 1 }));
    assert!(error.to_string().contains("newer hearth"));
}

#[test]
fn trailing_bytes_are_refused_in_both_schemas() {
    let mut bytes = new();
    bytes.push(0);
    assert!(matches!(decode::<V2>(&bytes), Err(DecodeError::Trailing { extra: 1, .. })));
    // The trap that was measured: a newer payload under an older number decodes, and only its tail tells.
    let mut disguised = new();
    disguised[0] = 1;
    assert!(matches!(decode::<V1>(&disguised), Err(DecodeError::Trailing { schema: 1, .. })));
    assert!(matches!(decode::<V2>(&disguised), Err(DecodeError::Trailing { schema: 1, .. })));
}

#[test]
fn every_truncation_is_refused() {
    let bytes = new();
    for length in 0..bytes.len() {
        assert!(decode::<V2>(&bytes[..length]).is_err(), "{length} of {} bytes were accepted", bytes.len());
    }
}

#[test]
fn a_damaged_length_asks_for_no_memory() {
    // 253 announces a u64 length in this format.
    let mut bytes = vec![1, 0, 253];
    bytes.extend_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(decode::<V1>(&bytes), Err(DecodeError::Payload { .. })));
}
