//! Seeds of the target, and the replay of its corpus.

use super::*;
use crate::idempotency::Outcome;

#[path = "../../../fuzz/shared/replay.rs"]
mod replay;

fn records() -> Vec<Vec<u8>> {
    let outcomes = [
        Outcome::Accepted {
            kind: domain::event::Kind::Vm,
            id: "vm_x".into(),
            operation: Some(domain::OperationId::from_bits(9)),
        },
        Outcome::Refused { status: 409, problem: "{\"code\":\"name-taken\"}".into() },
        Outcome::Answered { status: 200, body: "{}".into() },
    ];
    outcomes.map(|outcome| encode(&Record { fingerprint: [7; 32], at_ms: 1 << 40, outcome }).unwrap()).into()
}

#[test]
fn outcome_corpus() {
    replay::replay("outcome", &records(), outcome);
}
