//! A Firecracker that hangs, talks nonsense, or goes away: each is told apart, in time, and the next exchange begins clean.

use super::process::Process;
use host::vmm::firecracker::api::{ApiError, Found, Microvm, Socket, model::Logger};
use std::time::{Duration, Instant};

const REQUEST: &str = "PUT /entropy";

async fn asked(process: &Process) -> ApiError {
    process.fresh().configure().set_entropy(None).await.unwrap_err()
}

#[tokio::test]
async fn an_answer_that_is_none_is_told_apart() {
    type Expected = fn(&ApiError) -> bool;
    let closed: Expected = |error| matches!(error, ApiError::Closed { call: REQUEST });
    let garbled: Expected = |error| matches!(error, ApiError::Garbled { call: REQUEST, .. });
    for (fault, expected) in [
        ("garbage", garbled),
        ("endless", garbled),
        ("internal", garbled),
        ("close", closed),
        ("cut", closed),
        ("swallow", closed),
    ] {
        let Some(process) = Process::start("an_answer_that_is_none_is_told_apart", Some(&format!("{fault}@{REQUEST}"))) else {
            return;
        };
        let error = asked(&process).await;
        assert!(expected(&error), "{fault}: {error:?}");
        // One exchange was lost, not the process.
        assert!(matches!(Found::at(process.socket()).await, Ok(Found::NotStarted(_))), "{fault}");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_told() {
    let Some(process) = Process::start("an_answer_that_is_no_json_is_told", Some("no-json@GET /version")) else { return };
    let error = process.fresh().version().await.unwrap_err();
    assert!(matches!(error, ApiError::Garbled { call: "GET /version", .. }), "{error:?}");
}

#[tokio::test]
async fn a_process_that_hangs_is_waited_for_until_the_deadline() {
    let Some(process) = Process::start("a_process_that_hangs_is_waited_for_until_the_deadline", Some(&format!("hang@{REQUEST}")))
    else {
        return;
    };
    let began = Instant::now();
    let error = asked(&process).await;
    assert!(matches!(error, ApiError::Timeout { call: REQUEST, after_ms: 5_000 }), "{error:?}");
    assert!(began.elapsed() >= Duration::from_secs(5));
}

#[tokio::test]
async fn a_process_that_ends_is_told_from_one_that_refuses() {
    let Some(mut process) = Process::start("a_process_that_ends_is_told_from_one_that_refuses", Some(&format!("exit@{REQUEST}")))
    else {
        return;
    };
    let error = asked(&process).await;
    assert!(matches!(error, ApiError::Closed { call: REQUEST }), "{error:?}");
    assert!(process.ended());
    let gone = Found::at(process.socket()).await.unwrap_err();
    assert!(matches!(gone, ApiError::Unreachable(_)), "{gone:?}");
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let vm = Microvm::fresh(Socket::new(folder.path().join("no")));
    let error = vm.logger(&Logger::default()).await.unwrap_err();
    assert!(matches!(error, ApiError::Unreachable(_)), "{error:?}");
}
