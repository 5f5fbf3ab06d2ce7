//! The envelope of every stored record: `[u16 schema, little-endian][bincode payload]`.
//!
//! Owns the refusal of what cannot be read safely: a newer schema, bytes that are left over, bytes that are missing.
//! bincode alone notices none but the last: older code reads a newer record as `Ok` and drops its tail (measured).
//! It does not own the types; each says its schema and how it reads the older ones through [`Stored`].
//!
//! Stored types are not wire types: `skip_serializing_if`, `#[serde(default)]` and internally tagged enums break or do
//! nothing in bincode.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::{Serialize, de::DeserializeOwned};

/// A decoder may not claim more than this, so that a damaged length cannot ask for all memory.
/// Sixteen times the largest value that a batch accepts.
const MAX_DECODED_BYTES: usize = 1 << 20;
const HEADER_BYTES: usize = size_of::<u16>();

type Format = Configuration<LittleEndian, Varint, Limit<MAX_DECODED_BYTES>>;
const FORMAT: Format = bincode::config::standard().with_limit::<MAX_DECODED_BYTES>();

/// A type that lies in the journal.
///
/// When its shape changes, `SCHEMA` grows by one and `upgrade` learns the shape that was; published shapes stay readable.
pub trait Stored: Serialize + DeserializeOwned {
    /// The schema that `encode` writes. From 1 upwards.
    const SCHEMA: u16;
    /// What people call it in errors, for example `vm`.
    const NAME: &'static str;

    /// Reads a payload written by an older schema. Use [`exact`] on the old shape and convert.
    ///
    /// # Errors
    /// The default knows no older shape and refuses them all.
    fn upgrade(schema: u16, payload: &[u8]) -> Result<Self, DecodeError> {
        let _ = payload;
        Err(DecodeError::NoUpgrade { name: Self::NAME, found: schema, known: Self::SCHEMA })
    }
}

/// Why a record could not be put into its envelope.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("cannot encode a {name} of schema {schema}")]
    Payload {
        name: &'static str,
        schema: u16,
        #[source]
        source: bincode::error::EncodeError,
    },
}

/// Why bytes were refused. The record is kept as it is; `Journal::set_aside` moves it out of the way.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("a {name} of {bytes} bytes is too short to carry its schema")]
    Short { name: &'static str, bytes: usize },
    #[error(
        "this {name} was written by a newer hearth (schema {found}, this one knows up to {known}), start that version or a later one"
    )]
    Newer { name: &'static str, found: u16, known: u16 },
    #[error("a {name} of schema {found} is older than this hearth can read (it knows {known})")]
    NoUpgrade { name: &'static str, found: u16, known: u16 },
    #[error("the payload of a {name} of schema {schema} does not decode")]
    Payload {
        name: &'static str,
        schema: u16,
        #[source]
        source: bincode::error::DecodeError,
    },
    #[error("a {name} of schema {schema} is followed by {extra} bytes that do not belong to it")]
    Trailing { name: &'static str, schema: u16, extra: usize },
}

/// # Errors
/// The type has a shape that bincode refuses.
pub fn encode<T: Stored>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let payload = bincode::serde::encode_to_vec(value, FORMAT).map_err(|source| EncodeError::Payload {
        name: T::NAME,
        schema: T::SCHEMA,
        source,
    })?;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    bytes.extend_from_slice(&T::SCHEMA.to_le_bytes());
    bytes.extend_from_slice(&payload);
    Ok(bytes)
}

/// # Errors
/// See [`DecodeError`]; nothing is read half.
pub fn decode<T: Stored>(bytes: &[u8]) -> Result<T, DecodeError> {
    let Some((header, payload)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(DecodeError::Short { name: T::NAME, bytes: bytes.len() });
    };
    let schema = u16::from_le_bytes(*header);
    if schema > T::SCHEMA {
        return Err(DecodeError::Newer { name: T::NAME, found: schema, known: T::SCHEMA });
    }
    if schema < T::SCHEMA {
        return T::upgrade(schema, payload);
    }
    exact(T::NAME, schema, payload)
}

/// Decodes a payload that must be used up entirely. For `upgrade`.
///
/// # Errors
/// `Payload` when bytes are missing or wrong, `Trailing` when some are left.
pub fn exact<T: DeserializeOwned>(name: &'static str, schema: u16, payload: &[u8]) -> Result<T, DecodeError> {
    let (value, used) =
        bincode::serde::decode_from_slice(payload, FORMAT).map_err(|source| DecodeError::Payload { name, schema, source })?;
    match payload.len() - used {
        0 => Ok(value),
        extra => Err(DecodeError::Trailing { name, schema, extra }),
    }
}

#[cfg(test)]
mod tests;
