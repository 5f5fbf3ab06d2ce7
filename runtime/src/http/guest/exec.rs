//! `POST /v1/vms/ID/exec`: a program from its start to its end, in one answer.

use crate::http::{
    accepted::answered,
    command::unprocessable,
    edge::{Edge, Serving},
    idempotency,
    input::{Reference, Submission},
    layer::Caller,
    problem::{Answer, Refusal},
    vms::find,
};
use actors::idempotency::Outcome;
use api::{guest, v1};
use axum::http::StatusCode;
use host::guest::{ExecEvent, ExecOutput, GuestFault};
use std::time::{Duration, Instant};
use utoipa_axum::{router::OpenApiRouter, routes};

const TIMEOUT_DEFAULT_S: u32 = 60;
const TIMEOUT_MAX_S: u32 = 300;
/// Of each output; the answer is held in memory whole.
const OUTPUT_MAX: usize = 1024 * 1024;
/// The agent takes a request in one frame of 64 KiB.
const ARGUMENTS_MAX: usize = 1024;

pub fn routes() -> OpenApiRouter<Edge> {
    OpenApiRouter::new().routes(routes!(exec, super::terminal::exec_stream))
}

/// Runs a program in the guest and answers when it has ended. It is ended when the time is up or the client goes away.
#[utoipa::path(post, path = "/v1/vms/{id}/exec", tag = "guest",
    params(("id" = String, Path, description = "id or name"), ("Idempotency-Key" = Option<String>, Header, description = "repeats are answered the same for 24 hours"),
        ("If-Match" = Option<String>, Header, description = "only if one of these is the VM's ETag")),
    request_body = v1::ExecRequest, responses((status = 200, body = v1::ExecResult)))]
async fn exec(serving: Serving, caller: Caller, Reference(id): Reference, submission: Submission) -> Answer {
    let work = async {
        let mut wanted: v1::ExecRequest = submission.json()?;
        if wanted.tty.is_some() {
            return Err(unprocessable("invalid-request", "tty", "is for the WebSocket only"));
        }
        let timeout_s = wanted.timeout_s.take().unwrap_or(TIMEOUT_DEFAULT_S);
        if timeout_s == 0 || timeout_s > TIMEOUT_MAX_S {
            return Err(unprocessable("invalid-timeout", "timeout_s", &format!("must be 1 to {TIMEOUT_MAX_S}, not {timeout_s}")));
        }
        let stdin = wanted.stdin.take();
        let origin = if stdin.is_some() { guest::Stdin::Stream } else { guest::Stdin::Null };
        let request = request(wanted, origin)?;
        let record = find(&serving, &id)?.record;
        submission.who(caller).check(record.generation)?;
        let vm = record.id;
        let session = serving.node.guest(vm).await?;
        let result = tokio::time::timeout(Duration::from_secs(u64::from(timeout_s)), run(&*session, request, stdin)).await;
        let result = result.map_err(|_elapsed| {
            Refusal::new(
                StatusCode::GATEWAY_TIMEOUT,
                "exec-timeout",
                format!("the program did not end within {timeout_s} s and was ended"),
            )
            .hint("give it a longer timeout_s, or stream it over the WebSocket")
        })??;
        let body = serde_json::to_string(&result).map_err(|_| Refusal::internal("the result is no JSON"))?;
        Ok(Outcome::Answered { status: StatusCode::OK.as_u16(), body })
    };
    match idempotency::once(&serving, &submission, work).await? {
        Outcome::Answered { status, body } => Ok(answered(status, body)),
        Outcome::Accepted { .. } | Outcome::Refused { .. } => Err(Refusal::internal("an exec was recorded as something else")),
    }
}

/// The request in the agent's words.
pub fn request(wanted: v1::ExecRequest, stdin: guest::Stdin) -> Answer<guest::ExecRequest> {
    if wanted.command.first().is_none_or(String::is_empty) {
        return Err(unprocessable("invalid-command", "command", "must name a program"));
    }
    if wanted.command.len() > ARGUMENTS_MAX {
        return Err(unprocessable("invalid-command", "command", &format!("has more than {ARGUMENTS_MAX} arguments")));
    }
    let texts = wanted.command.iter().chain(wanted.env.keys()).chain(wanted.env.values()).chain(&wanted.cwd);
    if texts.into_iter().any(|text| text.contains('\0')) {
        return Err(unprocessable("invalid-command", "command", "no text may hold a zero byte"));
    }
    if wanted.env.keys().any(|key| key.is_empty() || key.contains('=')) {
        return Err(unprocessable("invalid-env", "env", "a name must not be empty and has no '='"));
    }
    if wanted.cwd.as_ref().is_some_and(|cwd| !cwd.starts_with('/')) {
        return Err(unprocessable("invalid-path", "cwd", "must be an absolute path in the guest"));
    }
    Ok(guest::ExecRequest {
        argv: wanted.command,
        env: wanted.env.into_iter().collect(),
        cwd: wanted.cwd,
        user: None,
        tty: wanted.tty.map(|size| guest::TtySize { cols: size.cols, rows: size.rows }),
        stdin,
    })
}

/// Cancel: the program is ended.
async fn run(
    session: &dyn host::guest::GuestSession,
    request: guest::ExecRequest,
    stdin: Option<String>,
) -> Result<v1::ExecResult, GuestFault> {
    let started = Instant::now();
    let program = session.exec(request).await?;
    let mut input = program.stdin;
    let feed = async {
        if let Some(text) = stdin {
            // A program that does not want its input is not at fault.
            let _ = input.write_all(text.as_bytes()).await;
            let _ = input.close().await;
        }
    };
    let ((), collected) = futures_util::future::join(feed, collect(program.output)).await;
    let (status, stdout, stderr, truncated) = collected?;
    Ok(v1::ExecResult {
        exit: exit(status),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
        truncated,
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

async fn collect(mut output: ExecOutput) -> Result<(guest::ExitStatus, Vec<u8>, Vec<u8>, bool), GuestFault> {
    let (mut stdout, mut stderr, mut truncated) = (Vec::new(), Vec::new(), false);
    loop {
        let (kept, bytes) = match output.next().await? {
            ExecEvent::Stdout(bytes) => (&mut stdout, bytes),
            ExecEvent::Stderr(bytes) => (&mut stderr, bytes),
            ExecEvent::Exit(status) => return Ok((status, stdout, stderr, truncated)),
        };
        let room = OUTPUT_MAX.saturating_sub(kept.len()).min(bytes.len());
        kept.extend_from_slice(&bytes[..room]);
        truncated |= room < bytes.len();
    }
}

pub fn exit(status: guest::ExitStatus) -> v1::Exit {
    match status {
        guest::ExitStatus::Code(code) => v1::Exit { code: Some(code), signal: None },
        guest::ExitStatus::Signal(signal) => v1::Exit { code: None, signal: Some(signal) },
    }
}
