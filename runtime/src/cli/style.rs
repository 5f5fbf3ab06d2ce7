//! Colours: only on a terminal, never against NO_COLOR. And the terminal's width.

use rustix::termios::{isatty, tcgetwinsize};
use std::os::fd::AsFd;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    Red,
    Green,
    Yellow,
    Cyan,
    Dim,
    Bold,
}

impl Colour {
    pub fn code(self) -> &'static str {
        match self {
            Colour::Red => "31",
            Colour::Green => "32",
            Colour::Yellow => "33",
            Colour::Cyan => "36",
            Colour::Dim => "2",
            Colour::Bold => "1",
        }
    }
}

pub fn wants_colour(fd: impl AsFd) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    isatty(fd) && !refused && !dumb
}

pub fn paint(on: bool, colour: Colour, text: &str) -> String {
    if on { format!("\x1b[{}m{text}\x1b[0m", colour.code()) } else { text.to_owned() }
}

/// Columns of the terminal; `None` when it is none: then nothing is cut.
pub fn width(fd: impl AsFd) -> Option<usize> {
    if !isatty(&fd) {
        return None;
    }
    let size = tcgetwinsize(fd).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// How a state looks: good, on its way, bad, at rest.
pub fn of_state(state: &str) -> Option<Colour> {
    match state {
        "running" | "ready" | "healthy" | "succeeded" => Some(Colour::Green),
        "failed" | "offline" | "stalled" | "quarantined" => Some(Colour::Red),
        "stopped" | "created" | "cancelled" => Some(Colour::Dim),
        "paused" | "degraded" | "overdue" => Some(Colour::Yellow),
        "unknown" => None,
        _ => Some(Colour::Cyan),
    }
}

/// Text of guests and of others may hold control characters that would drive the terminal.
pub fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
