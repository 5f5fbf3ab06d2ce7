//! A check and a report of checks, and how they look as text.

use serde::Serialize;
use std::fmt::Write;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    /// It works, but not as well as it could.
    Warn,
    /// This machine has it not; hearth does without, as the detail says.
    Missing,
    /// It should work and does not.
    Failed,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Missing => "missing",
            Status::Failed => "failed",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Stable, kebab-case, unique in a report.
    pub id: &'static str,
    pub title: &'static str,
    pub status: Status,
    /// One line.
    pub detail: String,
    /// What to do; absent where nothing needs to be done or can be.
    pub remedy: Option<String>,
}

impl Check {
    pub(super) fn new(id: &'static str, title: &'static str, status: Status, detail: impl Into<String>) -> Check {
        Check { id, title, status, detail: one_line(&detail.into()), remedy: None }
    }

    pub(super) fn ok(id: &'static str, title: &'static str, detail: impl Into<String>) -> Check {
        Check::new(id, title, Status::Ok, detail)
    }

    pub(super) fn remedy(self, remedy: impl Into<String>) -> Check {
        Check { remedy: Some(one_line(&remedy.into())), ..self }
    }
}

/// Programs print what they like; a line of a report has no control characters and an end.
fn one_line(text: &str) -> String {
    const LINE_MAX: usize = 400;
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LINE_MAX).collect::<String>();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub hearth_version: String,
    pub checks: Vec<Check>,
}

impl Report {
    pub fn find(&self, id: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.id == id)
    }

    /// What should work and does not, one sentence each: the problems among a host's facts.
    pub fn problems(&self) -> Vec<String> {
        let failed = self.checks.iter().filter(|check| check.status == Status::Failed);
        failed.map(|check| format!("{}: {}", check.title, check.detail)).collect()
    }

    /// One line a check: state, title, detail, and after an arrow the remedy.
    pub fn render_text(&self) -> String {
        let width = self.checks.iter().map(|check| check.title.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for check in &self.checks {
            let arrow = check.remedy.as_ref().map(|remedy| format!(" -> {remedy}")).unwrap_or_default();
            // Writing to a String can't fail.
            let _ = writeln!(text, "{:<7}  {:<width$}  {}{arrow}", check.status.name(), check.title, check.detail);
        }
        text
    }
}
