//! The five minutes that the charts show: samples to points, counters to rates, and axes with round numbers.

use api::v1::{HostMetrics, VmMetrics};
use std::collections::VecDeque;

/// What a chart shows.
pub const WINDOW_MS: u64 = 300_000;
/// One sample a second, and some slack for a server that sends faster.
pub const SAMPLES_AT_MOST: usize = 600;
/// Two samples further apart than this are not joined by a line: nobody looked, or the connection was lost.
pub const GAP_MS: u64 = 5_000;

pub trait Sample: Clone {
    fn time_ms(&self) -> u64;
}

impl Sample for VmMetrics {
    fn time_ms(&self) -> u64 {
        self.time_ms
    }
}

impl Sample for HostMetrics {
    fn time_ms(&self) -> u64 {
        self.time_ms
    }
}

/// Samples of the last five minutes, oldest first, times rising.
#[derive(Debug, Clone, PartialEq)]
pub struct Window<S> {
    samples: VecDeque<S>,
}

impl<S> Default for Window<S> {
    fn default() -> Self {
        Window { samples: VecDeque::new() }
    }
}

impl<S: Sample> Window<S> {
    pub fn push(&mut self, sample: S) {
        let now = sample.time_ms();
        // A clock that was set back: what is there cannot be ordered with what comes.
        if self.samples.back().is_some_and(|last| last.time_ms() > now) {
            self.samples.clear();
        }
        if self.samples.back().is_some_and(|last| last.time_ms() == now) {
            self.samples.pop_back();
        }
        self.samples.push_back(sample);
        while self.samples.len() > SAMPLES_AT_MOST || self.samples.front().is_some_and(|s| s.time_ms() + WINDOW_MS < now) {
            self.samples.pop_front();
        }
    }

    pub fn last(&self) -> Option<&S> {
        self.samples.back()
    }

    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    pub fn gauge(&self, value: impl Fn(&S) -> f64) -> Vec<Point> {
        self.samples.iter().map(|s| Point { time_ms: s.time_ms(), value: value(s) }).collect()
    }

    /// Per second, of a counter. A counter that fell was reset by a reboot: no rate then.
    pub fn rate(&self, counter: impl Fn(&S) -> u64) -> Vec<Point> {
        let pairs = self.samples.iter().zip(self.samples.iter().skip(1));
        pairs
            .filter_map(|(a, b)| {
                let seconds = b.time_ms().checked_sub(a.time_ms()).filter(|&ms| ms > 0)? as f64 / 1_000.0;
                let risen = counter(b).checked_sub(counter(a))?;
                Some(Point { time_ms: b.time_ms(), value: risen as f64 / seconds })
            })
            .collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub time_ms: u64,
    pub value: f64,
}

/// The smallest round number at or above the largest value: 1, 2 or 5 times a power of `base` (10, or 1024 for bytes with 1, 2, 4 … 512).
pub fn nice_top(largest: f64, bytes: bool) -> f64 {
    if !largest.is_finite() || largest <= 0.0 {
        return if bytes { 1024.0 } else { 1.0 };
    }
    if bytes {
        return 2f64.powi(largest.log2().ceil() as i32).max(1024.0);
    }
    let power = 10f64.powi(largest.log10().floor() as i32);
    [1.0, 2.0, 5.0, 10.0].iter().map(|step| step * power).find(|&top| top >= largest).unwrap_or(10.0 * power)
}

/// An SVG path in a box of `width` by `height`, newest sample at the right edge at `end_ms`; a gap lifts the pen.
pub fn path(points: &[Point], end_ms: u64, top: f64, width: f64, height: f64) -> String {
    let mut out = String::new();
    let mut previous: Option<u64> = None;
    for point in points {
        let (x, y) = place(point, end_ms, top, width, height);
        let joined = previous.is_some_and(|time| point.time_ms.saturating_sub(time) <= GAP_MS);
        out.push_str(&format!("{}{x:.1} {y:.1}", if joined { "L" } else { "M" }));
        previous = Some(point.time_ms);
    }
    out
}

pub fn place(point: &Point, end_ms: u64, top: f64, width: f64, height: f64) -> (f64, f64) {
    let age = end_ms.saturating_sub(point.time_ms) as f64 / WINDOW_MS as f64;
    (width * (1.0 - age), height * (1.0 - (point.value / top).clamp(0.0, 1.0)))
}

/// The point nearest to a place along the time axis, 0 to 1.
pub fn nearest(points: &[Point], end_ms: u64, along: f64) -> Option<Point> {
    let time = end_ms as f64 - WINDOW_MS as f64 * (1.0 - along.clamp(0.0, 1.0));
    let distance = |point: &Point| (point.time_ms as f64 - time).abs();
    points.iter().copied().min_by(|a, b| distance(a).total_cmp(&distance(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(time_ms: u64, sent: u64) -> VmMetrics {
        VmMetrics { time_ms, net_sent_bytes_total: sent, ..VmMetrics::default() }
    }

    #[test]
    fn keeps_five_minutes_and_a_bound() {
        let mut window = Window::default();
        for second in 0..1_000 {
            window.push(sample(second * 1_000, 0));
        }
        assert_eq!(window.samples.len(), 301);
        let mut fast = Window::default();
        for tick in 0..5_000 {
            fast.push(sample(tick * 10, 0));
        }
        assert_eq!(fast.samples.len(), SAMPLES_AT_MOST);
    }

    #[test]
    fn a_clock_set_back_starts_again() {
        let mut window = Window::default();
        window.push(sample(10_000, 0));
        window.push(sample(5_000, 0));
        assert_eq!(window.gauge(|_| 0.0).len(), 1);
    }

    #[test]
    fn rates_survive_a_reboot() {
        let mut window = Window::default();
        for (time, sent) in [(1_000, 1_000), (3_000, 5_000), (4_000, 10), (5_000, 20)] {
            window.push(sample(time, sent));
        }
        let rates: Vec<f64> = window.rate(|s| s.net_sent_bytes_total).iter().map(|p| p.value).collect();
        assert_eq!(rates, [2_000.0, 10.0]);
    }

    #[test]
    fn axes_are_round() {
        for (largest, top) in [(0.0, 1.0), (0.3, 0.5), (1.0, 1.0), (1.1, 2.0), (42.0, 50.0), (99.0, 100.0), (f64::NAN, 1.0)] {
            assert!((nice_top(largest, false) - top).abs() < 1e-9, "{largest}");
        }
        assert_eq!(nice_top(3_000.0, true), 4_096.0);
        assert_eq!(nice_top(0.0, true), 1_024.0);
    }

    #[test]
    fn a_gap_lifts_the_pen() {
        let points: Vec<Point> = [0, 1_000, 20_000].map(|time_ms| Point { time_ms, value: 0.5 }).into();
        let path = path(&points, 20_000, 1.0, 300.0, 100.0);
        assert_eq!(path.matches('M').count(), 2);
        assert_eq!(path.matches('L').count(), 1);
        assert!(path.ends_with("300.0 50.0"));
    }

    #[test]
    fn nearest_to_the_pointer() {
        let points: Vec<Point> = [0, 100_000, 300_000].map(|time_ms| Point { time_ms, value: 0.0 }).into();
        assert_eq!(nearest(&points, 300_000, 0.4).map(|p| p.time_ms), Some(100_000));
        assert_eq!(nearest(&points, 300_000, 7.0).map(|p| p.time_ms), Some(300_000));
        assert_eq!(nearest(&[], 0, 0.5), None);
    }
}
