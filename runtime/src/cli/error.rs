//! What a command can fail with, how it is told, and the exit code.

use super::args::Output;
use super::style::{Colour, harmless, paint, wants_colour};
use api::client::ClientError;
use std::fmt::Write as _;
use std::io::Write as _;

pub const FAILED: u8 = 1;
pub const USAGE: u8 = 2;
pub const INTERRUPTED: u8 = 130;

#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The server refused, failed, or is not there. `about` is the name where several were given.
    #[error("{source}")]
    Client { about: Option<String>, source: ClientError },
    /// The server wants a token and there is none.
    #[error("{detail}")]
    SignIn { detail: String, reason: String },
    /// What was typed cannot be done.
    #[error("{detail}")]
    Usage { detail: String, hint: &'static str },
    #[error("{what}: {source}")]
    Io { what: &'static str, source: std::io::Error },
    /// The program could not be run in the guest.
    #[error("{detail}")]
    NotRun { detail: String, code: u8 },
    /// What needs no server did not work: `hint` is what to do.
    #[error("{detail}")]
    Offline { detail: String, hint: String },
    /// Nobody reads the output any more.
    #[error("nobody reads the output")]
    Pipe,
    /// Each failure was told already; the process ends with this code.
    #[error("exit code {0}")]
    Told(u8),
}

impl From<ClientError> for CliError {
    fn from(source: ClientError) -> CliError {
        CliError::Client { about: None, source }
    }
}

impl CliError {
    pub fn exit_code(&self) -> u8 {
        match self {
            CliError::Client { .. } | CliError::SignIn { .. } | CliError::Io { .. } | CliError::Offline { .. } => FAILED,
            CliError::Usage { .. } => USAGE,
            CliError::NotRun { code, .. } | CliError::Told(code) => *code,
            // `hearth vm ls | head -1` did what was asked.
            CliError::Pipe => 0,
        }
    }

    /// Tells the error on stderr and answers the exit code.
    pub fn report(&self, output: Output) -> u8 {
        if !matches!(self, CliError::Pipe | CliError::Told(_)) {
            let stderr = std::io::stderr();
            let text = match output {
                Output::Table => self.text(wants_colour(&stderr)),
                Output::Json => format!("{}\n", self.json()),
            };
            // Without a stderr there is nobody to tell.
            let _ = stderr.lock().write_all(text.as_bytes());
        }
        self.exit_code()
    }

    /// `error: …`, `hint: …`, one line a wrong field, and the request's id.
    pub fn text(&self, colour: bool) -> String {
        let problem = self.problem();
        let about = match self {
            CliError::Client { about: Some(about), .. } => format!("{}: ", harmless(about)),
            _ => String::new(),
        };
        let mut text = format!("{} {about}{}\n", paint(colour, Colour::Red, "error:"), harmless(&problem.detail));
        // One wrong field is often told in the sentence already.
        for field in problem.fields.iter().filter(|field| !problem.detail.contains(&field.detail)) {
            let _ = writeln!(text, "  {}: {}", harmless(&field.field), harmless(&field.detail));
        }
        if !problem.hint.is_empty() {
            let _ = writeln!(text, "{} {}", paint(colour, Colour::Cyan, "hint:"), harmless(&problem.hint));
        }
        if !problem.request_id.is_empty() {
            let _ = writeln!(text, "{}", paint(colour, Colour::Dim, &format!("request: {}", harmless(&problem.request_id))));
        }
        text
    }

    fn json(&self) -> String {
        serde_json::to_string(&self.problem()).expect("a problem is plain data")
    }

    fn problem(&self) -> api::problem::Problem {
        let (code, hint) = match self {
            CliError::Client { source, .. } => return source.to_problem(),
            CliError::SignIn { reason, .. } => (
                "unauthorized",
                format!("{reason}; set HEARTH_TOKEN, give --token, or name the server's directory with --data-dir"),
            ),
            CliError::Usage { hint, .. } => ("usage", (*hint).to_owned()),
            CliError::Io { .. } => ("io", String::new()),
            CliError::NotRun { .. } => ("not-run", String::new()),
            CliError::Offline { hint, .. } => ("not-done", hint.clone()),
            CliError::Pipe | CliError::Told(_) => ("ended", String::new()),
        };
        api::problem::Problem {
            problem_type: "about:blank".to_owned(),
            title: code.replace('-', " "),
            code: code.to_owned(),
            detail: self.to_string(),
            hint,
            ..api::problem::Problem::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::problem::{FieldProblem, Problem};

    #[test]
    fn a_problem_is_told_in_full() {
        let problem = Problem {
            status: 422,
            title: "bad input".into(),
            code: "bad-input".into(),
            detail: "two fields are wrong".into(),
            hint: "mend them".into(),
            request_id: "req_1".into(),
            fields: vec![FieldProblem { field: "spec.vcpus".into(), detail: "must be 1 to 32".into() }],
            ..Problem::default()
        };
        let error = CliError::Client { about: Some("demo".into()), source: ClientError::Problem(Box::new(problem)) };
        assert_eq!(
            error.text(false),
            "error: demo: two fields are wrong\n  spec.vcpus: must be 1 to 32\nhint: mend them\nrequest: req_1\n"
        );
        assert_eq!(error.exit_code(), 1);
        let json: Problem = serde_json::from_str(&error.json()).unwrap();
        assert_eq!((json.code.as_str(), json.status), ("bad-input", 422));
    }

    #[test]
    fn what_a_server_says_cannot_drive_the_terminal() {
        let problem = Problem { detail: "a\x1b]0;x\x07".into(), ..Problem::default() };
        let error = CliError::from(ClientError::Problem(Box::new(problem)));
        assert_eq!(error.text(false), "error: a?]0;x?\n");
    }
}
