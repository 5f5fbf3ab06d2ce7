//! Repeating a POST is safe: the same key and body get the same outcome for a day. Owns what is in flight and what was refused; what was
//! accepted is written by the actors, in the same batch as its effect.
//!
//! ```text
//!  key --> in flight, other body? 409 --> wait for its turn --> on record? same outcome, or 409 for another body --> carry out, record
//! ```

use super::{
    edge::Serving,
    input::Submission,
    problem::{Answer, Refusal},
};
use actors::{
    CommandError,
    ambient::now,
    idempotency::{Idempotency, Outcome, Record, Swept, TABLE, sweep},
};
use axum::http::StatusCode;
use domain::idempotency::counts;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use storage::{Batch, CommitError, Journal, ReadError, envelope};

/// A twin waits for the one before it; a client that gave up sends the next after its own timeout of 30 s or more.
const TURN: Duration = Duration::from_secs(30);
/// The journal takes values of 64 KiB; the envelope needs a little.
const BODY_KEPT: usize = 60 * 1024;
const PURGE_EVERY: Duration = Duration::from_secs(60 * 60);

/// Keys whose request is being carried out.
#[derive(Default)]
pub struct InFlight(Mutex<HashMap<String, Arc<Pending>>>);

struct Pending {
    fingerprint: [u8; 32],
    turn: tokio::sync::Mutex<()>,
}

/// Takes the key out when nobody else waits for it.
struct Entry<'a> {
    table: &'a InFlight,
    key: String,
    pending: Arc<Pending>,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let mut table = self.table.lock();
        // The table's own and this one.
        if Arc::strong_count(&self.pending) <= 2 {
            table.remove(&self.key);
        }
    }
}

impl InFlight {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Pending>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, idempotency: &Idempotency) -> Answer<Entry<'_>> {
        let mut table = self.lock();
        let new = || Arc::new(Pending { fingerprint: idempotency.fingerprint, turn: tokio::sync::Mutex::new(()) });
        let pending = Arc::clone(table.entry(idempotency.key.clone()).or_insert_with(new));
        let entry = Entry { table: self, key: idempotency.key.clone(), pending };
        drop(table);
        if entry.pending.fingerprint == idempotency.fingerprint { Ok(entry) } else { Err(reused()) }
    }
}

/// Carries `work` out, unless the key says that it was before. An accepted outcome is recorded by whoever carries out the command; one that
/// `work` gives as `Answered`, and lasting refusals, are recorded here.
pub async fn once<F>(serving: &Serving, submission: &Submission, work: F) -> Answer<Outcome>
where
    F: Future<Output = Answer<Outcome>>,
{
    let Some(idempotency) = &submission.idempotency else { return work.await };
    let entry = serving.in_flight.enter(idempotency)?;
    let Ok(_turn) = tokio::time::timeout(TURN, entry.pending.turn.lock()).await else {
        return Err(Refusal::new(
            StatusCode::CONFLICT,
            "request-in-progress",
            "a request with this key is still being carried out",
        )
        .hint("try again later with the same key")
        .retry_after(TURN.as_secs() as u32));
    };
    let journal = serving.node.journal();
    if let Some(record) = recorded(journal, &idempotency.key).await? {
        if record.fingerprint != idempotency.fingerprint {
            return Err(reused());
        }
        return match record.outcome {
            Outcome::Refused { problem, .. } => Err(serde_json::from_str(&problem)
                .map_or_else(|_| Refusal::internal("the refusal that was recorded for this key can't be read"), Refusal::again)),
            outcome @ (Outcome::Accepted { .. } | Outcome::Answered { .. }) => Ok(outcome),
        };
    }
    let result = work.await;
    let outcome = match &result {
        Ok(Outcome::Answered { status, body }) => Some(kept(*status, body)),
        Err(refusal) if lasting(refusal.status()) => Some(Outcome::Refused {
            status: refusal.status().as_u16(),
            problem: serde_json::to_string(refusal.problem()).unwrap_or_default(),
        }),
        Ok(_) | Err(_) => None,
    };
    if let Some(outcome) = outcome {
        record(journal, idempotency, outcome).await;
    }
    result
}

fn reused() -> Refusal {
    Refusal::new(StatusCode::CONFLICT, "idempotency-key-reused", "this Idempotency-Key was used for another request")
        .hint("make a new key for each request; repeat a request with the key and the body that it had")
}

/// Outcomes that a repetition must get again. Malformed input and a stale ETag refuse themselves each time (with the ETag of then); what is
/// transient may go well next time.
fn lasting(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::INSUFFICIENT_STORAGE
    )
}

/// An answer that is too large for the journal is not kept, but that it was given is: the program must not run twice.
fn kept(status: u16, body: &str) -> Outcome {
    if body.len() <= BODY_KEPT {
        return Outcome::Answered { status, body: body.to_owned() };
    }
    let refusal =
        Refusal::new(StatusCode::CONFLICT, "answer-not-kept", "this was carried out, and its answer was too large to be kept")
            .hint("use a new Idempotency-Key to have it carried out again");
    Outcome::Refused { status: refusal.status().as_u16(), problem: serde_json::to_string(refusal.problem()).unwrap_or_default() }
}

async fn recorded(journal: &Journal, key: &str) -> Answer<Option<Record>> {
    let (journal, key) = (journal.clone(), key.to_owned());
    let read = tokio::task::spawn_blocking(move || journal.get(TABLE, &key)).await;
    let bytes = match read {
        Ok(Ok(bytes)) => bytes,
        // As without a key: a full disk is told as that.
        Ok(Err(ReadError::Poisoned { source })) => return Err(CommandError::from(CommitError::Poisoned { source }).into()),
        Ok(Err(error)) => {
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "journal-failed", error.to_string())
                .hint("look at the disk and the server's log, then restart hearth"));
        }
        Err(_panicked) => return Err(Refusal::internal("reading the journal failed")),
    };
    let Some(bytes) = bytes else { return Ok(None) };
    match envelope::decode::<Record>(&bytes) {
        Ok(record) => Ok(Some(record).filter(|record| counts(record.at(), now()))),
        Err(error) => {
            tracing::error!(%error, "the record of an idempotency key can't be read");
            Err(Refusal::internal("what was recorded for this key can't be read"))
        }
    }
}

async fn record(journal: &Journal, idempotency: &Idempotency, outcome: Outcome) {
    let record = Record { fingerprint: idempotency.fingerprint, at_ms: now_ms(), outcome };
    let (by_time, entry, nothing) = record.entry(&idempotency.key);
    let written = match envelope::encode(&record) {
        Ok(bytes) => journal
            .commit(Batch::default().put(TABLE, idempotency.key.clone(), bytes).put(by_time, entry, nothing))
            .await
            .map(|_| ())
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    // The outcome is what it is; only a repetition will be judged anew.
    if let Err(error) = written {
        tracing::warn!(error, "the outcome of an idempotency key was not recorded");
    }
}

/// Forgets what is older than a day, now and then, until `ending`.
pub async fn purge(journal: Journal, ending: tokio_util::sync::CancellationToken) {
    let mut ticks = tokio::time::interval(PURGE_EVERY);
    loop {
        tokio::select! {
            () = ending.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match sweep(&journal, now()).await {
            Ok(Swept { due: 0, indexed: 0, .. }) => {}
            Ok(Swept { due, forgotten, indexed }) => tracing::info!(due, forgotten, indexed, "old idempotency keys were removed"),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "old idempotency keys were not all removed"),
        }
    }
}

pub fn now_ms() -> u64 {
    now().0
}
