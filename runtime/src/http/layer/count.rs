//! How many requests were answered, how, and how fast. Read by `/metrics`.

use axum::http::Method;
use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Upper bounds in seconds: from a read out of memory to the longest wait.
const BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0];

#[derive(Default)]
struct Series {
    count: u64,
    sum_s: f64,
    within: [u64; BUCKETS.len()],
}

/// Keyed by method, route and status: bounded, because routes are patterns and odd methods are one.
#[derive(Default)]
pub struct Counters(Mutex<BTreeMap<(&'static str, String, u16), Series>>);

impl Counters {
    pub fn answered(&self, method: &Method, route: &str, status: u16, took: Duration) {
        let method = match method.as_str() {
            "GET" => "GET",
            "POST" => "POST",
            "PATCH" => "PATCH",
            "DELETE" => "DELETE",
            "HEAD" => "HEAD",
            _ => "OTHER",
        };
        let seconds = took.as_secs_f64();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let series = all.entry((method, route.to_owned(), status)).or_default();
        series.count += 1;
        series.sum_s += seconds;
        for (bound, within) in BUCKETS.iter().zip(&mut series.within) {
            if seconds <= *bound {
                *within += 1;
            }
        }
    }

    /// In the text format of Prometheus.
    pub fn write(&self, out: &mut String) {
        let name = "hearth_http_request_duration_seconds";
        let _ = writeln!(out, "# HELP {name} Time to the head of the answer.\n# TYPE {name} histogram");
        for ((method, route, status), series) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
            for (bound, within) in BUCKETS.iter().zip(series.within) {
                let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {within}");
            }
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", series.count);
            let _ = writeln!(out, "{name}_sum{{{labels}}} {}\n{name}_count{{{labels}}} {}", series.sum_s, series.count);
        }
    }
}
