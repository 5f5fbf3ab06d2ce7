//! Samples and rows of the table.

use std::time::Duration;

/// Measurements of one thing, in one unit.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    pub fn add_ms(&mut self, took: Duration) {
        self.add(took.as_secs_f64() * 1e3);
    }

    pub fn extend(&mut self, more: impl IntoIterator<Item = f64>) {
        self.0.extend(more);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The nearest rank; 0 of nothing.
    pub fn percentile(&self, percent: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
    }

    pub fn median(&self) -> f64 {
        self.percentile(50.0)
    }
}

pub struct Row {
    what: String,
    unit: &'static str,
    n: usize,
    figures: [f64; 3],
    /// Beside what, and the ratio of the medians.
    beside: Option<(String, f64)>,
    /// What it is to be, and whether it is.
    target: Option<(&'static str, bool)>,
}

impl Row {
    pub const HEAD: &'static str = "| What | n | median | p95 | p99 | unit | beside | target | met |\n\
         |---|---:|---:|---:|---:|---|---|---|---|";

    pub fn of(what: impl Into<String>, unit: &'static str, samples: &Samples) -> Row {
        let figures = [50.0, 95.0, 99.0].map(|percent| samples.percentile(percent));
        Row { what: what.into(), unit, n: samples.len(), figures, beside: None, target: None }
    }

    /// A single figure.
    pub fn one(what: impl Into<String>, unit: &'static str, value: f64) -> Row {
        Row { what: what.into(), unit, n: 1, figures: [value; 3], beside: None, target: None }
    }

    pub fn beside(mut self, reference: impl Into<String>, ratio: f64) -> Row {
        self.beside = Some((reference.into(), ratio));
        self
    }

    pub fn target(mut self, target: &'static str, met: bool) -> Row {
        self.target = Some((target, met));
        self
    }

    pub fn line(&self) -> String {
        let number = |value: f64| match value {
            big if big >= 100.0 => format!("{big:.0}"),
            middle if middle >= 10.0 => format!("{middle:.1}"),
            small => format!("{small:.2}"),
        };
        let [median, p95, p99] = self.figures.map(number);
        let beside = self.beside.as_ref().map_or(String::new(), |(reference, ratio)| format!("{ratio:.2} x {reference}"));
        let (target, met) = self.target.map_or(("", ""), |(target, met)| (target, if met { "yes" } else { "no" }));
        let spread = if self.n > 1 { format!("{p95} | {p99}") } else { " | ".to_owned() };
        format!("| {} | {} | {median} | {spread} | {} | {beside} | {target} | {met} |", self.what, self.n, self.unit)
    }
}
