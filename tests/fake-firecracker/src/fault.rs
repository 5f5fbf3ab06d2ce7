//! Bad days: what the process does instead of answering a certain request.

use std::str::FromStr;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    /// Method and path as requested: `PUT /machine-config`.
    pub request: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Never answers, and answers nobody else.
    Hang,
    /// Bytes that are no HTTP.
    Garbage,
    /// An answer of HTTP that is no JSON.
    NoJson,
    /// A body without an end.
    Endless,
    /// Ends the connection before the answer.
    Close,
    /// Ends the connection in the middle of the answer.
    Cut,
    /// Does it, and ends the connection before it says so.
    Swallow,
    /// Ends the process.
    Exit,
    /// 500 and a page of HTML.
    Internal,
    /// Refuses it in Firecracker's manner.
    Refuse,
    /// Refuses it as one whose disk is full.
    Full,
    /// Does it, and then prints 64 MiB, as a guest may on its serial port.
    Flood,
}

/// `KIND@REQUEST`.
impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, request) = text.split_once('@').ok_or("a fault is KIND@METHOD PATH")?;
        let kind = match kind {
            "hang" => Kind::Hang,
            "garbage" => Kind::Garbage,
            "no-json" => Kind::NoJson,
            "endless" => Kind::Endless,
            "close" => Kind::Close,
            "cut" => Kind::Cut,
            "swallow" => Kind::Swallow,
            "exit" => Kind::Exit,
            "internal" => Kind::Internal,
            "refuse" => Kind::Refuse,
            "full" => Kind::Full,
            "flood" => Kind::Flood,
            other => return Err(format!("no fault is called {other:?}")),
        };
        Ok(Self { kind, request: request.to_owned() })
    }
}
