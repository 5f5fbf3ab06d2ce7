//! What must hold for any bytes of an idempotency key's record. The function takes a fuzzer's input and panics when a property does not
//! hold; a target under `fuzz/` calls it, and the test here replays its corpus.

use crate::idempotency::Record;
use storage::envelope::{decode, encode};

/// What is read is written and read as the same; a byte more or less is no record.
pub fn outcome(input: &[u8]) {
    let Ok(record) = decode::<Record>(input) else { return };
    let written = encode(&record).expect("what was read can be written");
    assert_eq!(decode::<Record>(&written).expect("what was written can be read"), record);
    assert!(decode::<Record>(&[input, &[0]].concat()).is_err(), "a record with a byte too many is read");
    assert!(decode::<Record>(&input[..input.len() - 1]).is_err(), "a record with a byte too few is read");
}

#[cfg(test)]
mod tests;
