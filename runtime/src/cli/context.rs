//! What a command has in hand: the client, how to print, how to wait.

use super::args::{Global, Output, Token};
use super::error::CliError;
use api::client::{Client, ClientError};
use std::time::Duration;

pub struct Context {
    pub client: Client,
    pub output: Output,
    pub wait: bool,
    pub timeout: Duration,
    /// Why there is no token, if there is none.
    no_token: Option<String>,
}

impl Context {
    pub fn new(global: Global) -> Result<Context, CliError> {
        let (token, no_token) = match global.token()? {
            Token::Known(token) => (Some(token), None),
            Token::Absent { reason } => (None, Some(reason)),
        };
        let client = Client::new(&global.url, token.as_deref())?;
        Ok(Context { client, output: global.output, wait: !global.no_wait, timeout: global.timeout, no_token })
    }

    pub fn json(&self) -> bool {
        self.output == Output::Json
    }

    /// An error of the client, with what only the command line knows.
    pub fn explain(&self, error: ClientError, about: Option<&str>) -> CliError {
        match (&self.no_token, error.status()) {
            (Some(reason), Some(401)) => CliError::SignIn { detail: error.to_string(), reason: reason.clone() },
            _ => CliError::Client { about: about.map(str::to_owned), source: error },
        }
    }
}
