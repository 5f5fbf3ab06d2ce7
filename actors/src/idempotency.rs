//! What was answered to a POST with an `Idempotency-Key`: kept in the journal, written in the same batch as the effect that it stands for,
//! with its entry in the index by time, so that sweeping reads what is due and nothing else.

mod sweep;

pub use sweep::{SweepError, Swept, sweep};

use domain::{Timestamp, idempotency};
use serde::{Deserialize, Serialize};
use storage::envelope::Stored;

pub const TABLE: &str = "idempotency";
/// The index by time: `domain::idempotency::entry`, without a value.
pub const BY_TIME: &str = "idempotency-by-time";

/// The key of a request, and what it asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    pub key: String,
    /// Of method, path and body: the same key with another one is refused.
    pub fingerprint: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub fingerprint: [u8; 32],
    pub at_ms: u64,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The command was accepted.
    Accepted { kind: domain::event::Kind, id: String, operation: Option<domain::OperationId> },
    /// It was refused with this status and problem document (JSON).
    Refused { status: u16, problem: String },
    /// It was answered with this status and JSON body.
    Answered { status: u16, body: String },
}

impl Record {
    pub fn at(&self) -> Timestamp {
        Timestamp(self.at_ms)
    }

    /// What is put with it: the table, the key and the bytes of its entry in the index.
    pub fn entry(&self, key: &str) -> (&'static str, String, Vec<u8>) {
        (BY_TIME, idempotency::entry(self.at(), key), Vec::new())
    }
}

impl Stored for Record {
    const SCHEMA: u16 = 1;
    const NAME: &'static str = "idempotency";
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{OperationId, event::Kind};
    use storage::envelope::{decode, encode};

    /// The bytes of schema 1 lie with those of the other records; see `storage/tests/golden_formats.rs` for when they may change.
    #[test]
    fn idempotency_1() {
        let record = |outcome| Record { fingerprint: [7; 32], at_ms: 1_767_225_600_000, outcome };
        let examples = [
            record(Outcome::Accepted { kind: Kind::Vm, id: "vm_x".into(), operation: Some(OperationId::from_bits(9)) }),
            record(Outcome::Refused { status: 409, problem: "{}".into() }),
            record(Outcome::Answered { status: 200, body: "{}".into() }),
        ];
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../storage/tests/golden/idempotency-1.bin");
        let mut written = Vec::new();
        for example in &examples {
            let bytes = encode(example).unwrap();
            assert_eq!(&decode::<Record>(&bytes).unwrap(), example);
            written.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
            written.extend_from_slice(&bytes);
        }
        if std::env::var_os("HEARTH_WRITE_GOLDEN").is_some() {
            std::fs::write(file, &written).unwrap();
        }
        assert!(std::fs::read(file).unwrap() == written, "what lies in journals would be read as something else");
    }
}
