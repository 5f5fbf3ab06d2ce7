//! The options that every command has, and where address and token come from.

use super::error::CliError;
use super::units;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

pub const DEFAULT_URL: &str = "http://127.0.0.1:18080";
pub const DEFAULT_DATA_DIR: &str = "./data";
/// Longer than the slowest operation of a healthy machine: a guest that boots by emulation.
const DEFAULT_TIMEOUT: &str = "5m";

#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Columns for people, or what the API answers (problems too, on stderr)
    #[arg(short, long, value_enum, default_value_t = Output::Table, global = true, help_heading = "Global options")]
    pub output: Output,
    /// Address of the server
    #[arg(long, env = "HEARTH_URL", hide_env_values = true, default_value = DEFAULT_URL, global = true, help_heading = "Global options")]
    pub url: String,
    /// Token to sign in with; other users see it here, not in the environment
    #[arg(long, env = "HEARTH_TOKEN", hide_env_values = true, global = true, help_heading = "Global options")]
    pub token: Option<String>,
    /// Without a token DIR/admin.token is read [default: ./data, for a server on this machine]
    #[arg(
        long,
        env = "HEARTH_DATA_DIR",
        hide_env_values = true,
        value_name = "DIR",
        global = true,
        help_heading = "Global options"
    )]
    pub data_dir: Option<PathBuf>,
    /// Do not wait for the end of the operation
    #[arg(long, global = true, help_heading = "Global options")]
    pub no_wait: bool,
    /// How long to wait for the end of the operation: 90, 90s, 5m, 1h
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration, default_value = DEFAULT_TIMEOUT, global = true, help_heading = "Global options")]
    pub timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    // No help of their own: with it clap turns every help text into its long form.
    Table,
    Json,
}

/// A token, or why there is none: the reason is told if the server then asks for one.
#[derive(Debug, PartialEq, Eq)]
pub enum Token {
    Known(String),
    Absent { reason: String },
}

impl Global {
    pub fn token(&self) -> Result<Token, CliError> {
        if let Some(token) = self.token.as_deref().map(str::trim).filter(|token| !token.is_empty()) {
            return Ok(Token::Known(token.to_owned()));
        }
        let dir = match &self.data_dir {
            Some(dir) => dir.clone(),
            // The admin token of this machine is not for another one that an address happens to name.
            None if !is_local(&self.url) => return Ok(Token::Absent { reason: "there is no token".to_owned() }),
            None => PathBuf::from(DEFAULT_DATA_DIR),
        };
        let path = dir.join("admin.token");
        match std::fs::read_to_string(&path) {
            Ok(token) => Ok(Token::Known(token.trim().to_owned())),
            Err(error) => {
                let reason = match error.kind() {
                    std::io::ErrorKind::NotFound => format!("{} does not exist", path.display()),
                    std::io::ErrorKind::PermissionDenied => format!("{} may not be read by this user", path.display()),
                    _ => format!("{} cannot be read: {error}", path.display()),
                };
                Ok(Token::Absent { reason })
            }
        }
    }
}

fn is_local(url: &str) -> bool {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // `user@host` would make the part before the sign look like the host.
    if authority.contains('@') {
        return false;
    }
    if let Some(six) = authority.strip_prefix('[') {
        return six.split(']').next().is_some_and(|address| address == "::1");
    }
    let host = authority.split(':').next().unwrap_or_default();
    host == "localhost" || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn only_this_machine_is_local() {
        for yes in ["http://127.0.0.1:18080", "http://localhost", "http://[::1]:80/x", "http://127.9.9.9/"] {
            assert!(is_local(yes), "{yes}");
        }
        for no in ["http://127.0.0.1@evil.test", "http://10.0.0.1:80", "http://localhost.evil.test", "http://127.0.0.1.evil.test"]
        {
            assert!(!is_local(no), "{no}");
        }
    }
}
