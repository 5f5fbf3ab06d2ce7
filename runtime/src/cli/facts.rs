//! One thing in full: a fact a line, names aligned.

use super::error::CliError;
use super::output;
use super::style::{Colour, harmless, of_state, paint, wants_colour};
use api::v1::{Labels, Reason};

pub struct Facts {
    facts: Vec<(&'static str, String, Option<Colour>)>,
}

impl Facts {
    pub fn new() -> Facts {
        Facts { facts: Vec::new() }
    }

    pub fn add(&mut self, name: &'static str, value: &str) {
        self.facts.push((name, harmless(value), None));
    }

    pub fn maybe(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    pub fn state(&mut self, state: &str, reason: Option<&Reason>) {
        self.facts.push(("state", harmless(state), of_state(state)));
        self.maybe("reason", reason.map(|reason| reason.detail.as_str()));
    }

    pub fn labels(&mut self, labels: &Labels) {
        if !labels.is_empty() {
            let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            self.add("labels", &pairs.join(" "));
        }
    }

    /// `apart`: an empty line before, between several things.
    pub fn print(&self, apart: bool) -> Result<(), CliError> {
        let colour = wants_colour(std::io::stdout());
        let mut text = if apart { "\n".to_owned() } else { String::new() };
        text.push_str(&self.render(colour));
        output::text(&text)
    }

    fn render(&self, colour: bool) -> String {
        let widest = self.facts.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for (name, value, look) in &self.facts {
            let value = look.map_or_else(|| value.clone(), |look| paint(colour, look, value));
            text.push_str(&paint(colour, Colour::Dim, &format!("{name:widest$}")));
            text.push_str(&format!("  {value}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_aligned() {
        let mut facts = Facts::new();
        facts.add("name", "demo");
        facts.maybe("absent", None);
        facts.state("failed", Some(&Reason { code: "x".into(), detail: "it fell".into() }));
        facts.labels(&Labels::from([("a".into(), "b".into()), ("c".into(), "d".into())]));
        assert_eq!(facts.render(false), "name    demo\nstate   failed\nreason  it fell\nlabels  a=b c=d\n");
    }
}
