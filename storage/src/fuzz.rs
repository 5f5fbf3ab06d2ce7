//! What must hold for any bytes that lie in a journal. The function takes a fuzzer's input and panics when a property does not hold; the
//! target under `fuzz/` calls it, and the tests here replay the corpus.

use crate::{
    envelope::{Stored, decode, encode},
    journal::SetAside,
};
use domain::{
    event::Event,
    host::Host,
    image::Image,
    operation::Operation,
    vm::Vm,
    webhook::{DeadLetter, Webhook},
};
use std::fmt::Debug;

/// The first byte says what the rest is said to be.
pub fn stored(input: &[u8]) {
    let Some((which, bytes)) = input.split_first() else { return };
    match which % 12 {
        0 => again::<Vm>(bytes),
        1 => again::<Image>(bytes),
        2 => again::<Host>(bytes),
        3 => again::<Operation>(bytes),
        4 => again::<Event>(bytes),
        5 => again::<SetAside>(bytes),
        6 => crate::journal::fuzz(bytes),
        7 => crate::raw::fuzz(bytes),
        8 => set_aside(bytes),
        9 => again::<Webhook>(bytes),
        10 => again::<DeadLetter>(bytes),
        _ => crate::backup::fuzz(bytes),
    }
}

/// What is read is written and read as the same; a byte more or less is no record.
pub fn again<T: Stored + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(record) = decode::<T>(bytes) else { return };
    let written = encode(&record).expect("what was read can be written");
    let read = decode::<T>(&written).expect("what was written can be read");
    assert_eq!(record, read, "a {} changes as it is written", T::NAME);
    assert!(decode::<T>(&[bytes, &[0]].concat()).is_err(), "a {} with a byte too many is read", T::NAME);
    assert!(decode::<T>(&bytes[..bytes.len() - 1]).is_err(), "a {} with a byte too few is read", T::NAME);
    // Of a newer hearth: refused, whatever follows.
    let newer = (T::SCHEMA + 1).to_le_bytes();
    assert!(decode::<T>(&[newer.as_slice(), &written[2..]].concat()).is_err());
}

/// `table NUL key NUL why NUL bytes`: what is set aside keeps its bytes, and its reason is cut where a character ends.
fn set_aside(input: &[u8]) {
    let mut parts = input.splitn(4, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (table, key, why, bytes) = (part(), part(), part(), part());
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let why = text(why).repeat(8);
    let record = SetAside::fuzzed(&text(table), &text(key), bytes.to_vec(), &why);
    assert!(why.starts_with(&record.why) && (record.why.len() > 1000 || record.why == why));
    let written = encode(&record).expect("it can be written");
    assert_eq!(decode::<SetAside>(&written).expect("and read"), record);
}

#[cfg(test)]
mod tests;
