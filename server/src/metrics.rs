//! Figures for Prometheus: counters and histograms that cost an atomic add, and the text that shows them.
//!
//! `prometheus-client` writes OpenMetrics (other names for counters, `# EOF`), not the text format
//! 0.0.4 that every scraper reads, and its families take a lock a label set. Here all label sets of the
//! hot path are known when the daemon starts, so two hundred lines are enough and nothing locks.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bursar_shared::{error::ErrorCode, operations};

/// What [`Metrics::render`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Only ever grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// So many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// One more, until the returned guard is dropped.
    #[must_use]
    pub fn enter(&self) -> Entered<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Entered(self)
    }

    /// So much now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts in a gauge until it is dropped.
#[derive(Debug)]
pub struct Entered<'a>(&'a Gauge);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How often a value fell below each bound. Values are whole: microseconds, or a count.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One more than bounds: the last takes what is above all of them.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// Bounds for times, in microseconds: half a millisecond to ten seconds.
pub const TIMES: &[u64] = &[
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// Bounds for the size of a batch.
pub const SIZES: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256];

impl Histogram {
    /// Nothing seen yet; `bounds` must rise.
    pub fn new(bounds: &'static [u64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, buckets, sum: AtomicU64::new(0) }
    }

    /// One more value.
    pub fn observe(&self, value: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        self.buckets[place].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// One more time, in microseconds.
    pub fn observe_time(&self, time: Duration) {
        self.observe(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Values seen.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    fn render(&self, out: &mut String, name: &str, labels: &str, scale: f64) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut below = 0;
        for (place, bucket) in self.buckets.iter().enumerate() {
            below += bucket.load(Ordering::Relaxed);
            match self.bounds.get(place) {
                Some(bound) => line(
                    out,
                    format_args!("{name}_bucket{{{labels}{comma}le=\"{}\"}} {below}", *bound as f64 / scale),
                ),
                None => line(out, format_args!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {below}")),
            }
        }
        let braces =
            |name: &str| if labels.is_empty() { name.to_owned() } else { format!("{name}{{{labels}}}") };
        let sum = self.sum.load(Ordering::Relaxed) as f64 / scale;
        line(out, format_args!("{} {sum}", braces(&format!("{name}_sum"))));
        // from the same reading as the buckets, so that the two agree
        line(out, format_args!("{} {below}", braces(&format!("{name}_count"))));
    }
}

/// What happened to one operation.
#[derive(Debug)]
pub struct OperationMetrics {
    name: &'static str,
    statuses: Box<[(u16, Counter)]>,
    seconds: Histogram,
}

impl OperationMetrics {
    fn new(name: &'static str) -> Self {
        let mut statuses: Vec<u16> = vec![200, 201, 304];
        statuses.extend(ErrorCode::ALL.iter().map(|code| code.status()));
        statuses.sort_unstable();
        statuses.dedup();
        // the last takes statuses that no code has
        statuses.push(0);
        let statuses = statuses.into_iter().map(|status| (status, Counter::default())).collect();
        Self { name, statuses, seconds: Histogram::new(TIMES) }
    }

    /// One more answer: its status, and the time from the head of the request to the answer.
    pub fn answered(&self, status: u16, took: Duration) {
        let last = self.statuses.len() - 1;
        let place = self.statuses[..last].binary_search_by_key(&status, |(known, _)| *known).unwrap_or(last);
        self.statuses[place].1.increment();
        self.seconds.observe_time(took);
    }
}

/// Whether a figure read from elsewhere only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It does.
    Counter,
    /// It goes up and down.
    Gauge,
}

type Read = Box<dyn Fn() -> f64 + Send + Sync>;

struct Source {
    help: &'static str,
    kind: Kind,
    series: Vec<(String, Read)>,
}

/// All figures of the daemon.
pub struct Metrics {
    operations: BTreeMap<&'static str, OperationMetrics>,
    /// What fits no operation: unknown paths, and what lies outside of `/v1`.
    other: OperationMetrics,
    /// Requests being answered.
    pub in_flight: Gauge,
    /// Statements sent to the database.
    pub queries: Counter,
    /// Writes a commit.
    pub batch: Histogram,
    /// Microseconds a commit took.
    pub commit: Histogram,
    /// What the ledger is off by, by currency.
    imbalances: Mutex<Vec<(String, i64)>>,
    /// Figures that somebody else keeps, by name.
    sources: Mutex<BTreeMap<&'static str, Source>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let operations =
            operations::ALL.iter().map(|row| (row.name, OperationMetrics::new(row.name))).collect();
        Self {
            operations,
            other: OperationMetrics::new("other"),
            in_flight: Gauge::default(),
            queries: Counter::default(),
            batch: Histogram::new(SIZES),
            commit: Histogram::new(TIMES),
            imbalances: Mutex::default(),
            sources: Mutex::default(),
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("in_flight", &self.in_flight).finish_non_exhaustive()
    }
}

impl Metrics {
    /// The figures of an operation, by its name in the table; those of `other` if it is not there.
    pub fn operation(&self, name: &str) -> &OperationMetrics {
        self.operations.get(name).unwrap_or(&self.other)
    }

    /// Shows a figure that somebody else keeps: caches, connections, queues, the head of the log.
    /// It is read when the text is rendered, so `read` must not wait. The same name with other labels
    /// adds a series; the first one's help counts. `name` is `bursar_...`, a counter's ends in `_total`.
    pub fn source(
        &self,
        name: &'static str,
        help: &'static str,
        kind: Kind,
        labels: &[(&str, &str)],
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| label(name, value)).collect();
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let source = sources.entry(name).or_insert_with(|| Source { help, kind, series: Vec::new() });
        source.series.push((labels.join(","), Box::new(read)));
    }

    /// Sets what the ledger is off by, by currency: always nothing.
    pub fn set_imbalances(&self, by_currency: Vec<(String, i64)>) {
        *self.imbalances.lock().unwrap_or_else(PoisonError::into_inner) = by_currency;
    }

    /// All figures in the text format 0.0.4.
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(16 << 10);
        let each = || self.operations.values().chain([&self.other]);
        head(&mut out, "bursar_requests_total", "counter", "Requests answered, by operation and status.");
        for operation in each() {
            for (status, count) in operation.statuses.iter().filter(|(_, count)| count.get() > 0) {
                let status = if *status == 0 { "other".to_owned() } else { status.to_string() };
                let labels = format!("{},{}", label("operation", operation.name), label("status", &status));
                line(&mut out, format_args!("bursar_requests_total{{{labels}}} {}", count.get()));
            }
        }
        head(&mut out, "bursar_request_seconds", "histogram", "Time from a request's head to its answer.");
        for operation in each().filter(|operation| operation.seconds.count() > 0) {
            operation.seconds.render(
                &mut out,
                "bursar_request_seconds",
                &label("operation", operation.name),
                1e6,
            );
        }
        let gauge = |out: &mut String, name, help, gauge: &Gauge| {
            head(out, name, "gauge", help);
            line(out, format_args!("{name} {}", gauge.get()));
        };
        let counter = |out: &mut String, name, help, counter: &Counter| {
            head(out, name, "counter", help);
            line(out, format_args!("{name} {}", counter.get()));
        };
        gauge(&mut out, "bursar_requests_in_flight", "Requests being answered.", &self.in_flight);
        counter(&mut out, "bursar_db_queries_total", "Statements sent to the database.", &self.queries);
        head(&mut out, "bursar_commit_batch", "histogram", "Writes a commit.");
        self.batch.render(&mut out, "bursar_commit_batch", "", 1.0);
        head(&mut out, "bursar_commit_seconds", "histogram", "Time a commit took, sync included.");
        self.commit.render(&mut out, "bursar_commit_seconds", "", 1e6);
        let name = "bursar_ledger_imbalance";
        head(&mut out, name, "gauge", "Credits minus debits, in minor units; anything but 0 is an alarm.");
        for (currency, off) in self.imbalances.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            line(&mut out, format_args!("{name}{{{}}} {off}", label("currency", currency)));
        }
        for (name, source) in self.sources.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            head(&mut out, name, if source.kind == Kind::Counter { "counter" } else { "gauge" }, source.help);
            for (labels, read) in &source.series {
                match labels.as_str() {
                    "" => line(&mut out, format_args!("{name} {}", read())),
                    labels => line(&mut out, format_args!("{name}{{{labels}}} {}", read())),
                }
            }
        }
        out
    }
}

fn line(out: &mut String, text: fmt::Arguments<'_>) {
    // writing to a string cannot fail
    let _ = out.write_fmt(text);
    out.push('\n');
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    line(out, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
}

fn label(name: &str, value: &str) -> String {
    format!("{name}=\"{}\"", value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_requests_by_operation_and_status() {
        let metrics = Metrics::default();
        metrics.operation("GetUser").answered(200, Duration::from_micros(700));
        metrics.operation("GetUser").answered(200, Duration::from_secs(60));
        metrics.operation("GetUser").answered(404, Duration::from_micros(500));
        metrics.operation("GetUser").answered(418, Duration::ZERO);
        metrics.operation("nonsense").answered(404, Duration::ZERO);
        let text = metrics.render();
        for line in [
            "# HELP bursar_requests_total Requests answered, by operation and status.",
            "# TYPE bursar_requests_total counter",
            r#"bursar_requests_total{operation="GetUser",status="200"} 2"#,
            r#"bursar_requests_total{operation="GetUser",status="404"} 1"#,
            r#"bursar_requests_total{operation="GetUser",status="other"} 1"#,
            r#"bursar_requests_total{operation="other",status="404"} 1"#,
            r#"bursar_request_seconds_bucket{operation="GetUser",le="0.0005"} 2"#,
            r#"bursar_request_seconds_bucket{operation="GetUser",le="0.001"} 3"#,
            r#"bursar_request_seconds_bucket{operation="GetUser",le="10"} 3"#,
            r#"bursar_request_seconds_bucket{operation="GetUser",le="+Inf"} 4"#,
            r#"bursar_request_seconds_sum{operation="GetUser"} 60.0012"#,
            r#"bursar_request_seconds_count{operation="GetUser"} 4"#,
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
        assert!(!text.contains("ListUsers"));
    }

    #[test]
    fn shows_what_others_keep() {
        let metrics = Metrics::default();
        let help = "Answers from a cache.";
        metrics.source("bursar_cache_hits_total", help, Kind::Counter, &[("cache", "users")], || 3.0);
        metrics.source("bursar_cache_hits_total", help, Kind::Counter, &[("cache", "a\"b\\\n")], || 4.5);
        metrics.source("bursar_log_head", "The last row of the log.", Kind::Gauge, &[], || 7.0);
        let text = metrics.render();
        let at = text.find("# HELP bursar_cache_hits_total").unwrap();
        assert_eq!(
            &text[at..],
            "# HELP bursar_cache_hits_total Answers from a cache.\n# TYPE bursar_cache_hits_total counter\n\
             bursar_cache_hits_total{cache=\"users\"} 3\nbursar_cache_hits_total{cache=\"a\\\"b\\\\\\n\"} 4.5\n\
             # HELP bursar_log_head The last row of the log.\n# TYPE bursar_log_head gauge\nbursar_log_head 7\n"
        );
    }

    #[test]
    fn gauges_go_down_again_and_batches_are_counted_whole() {
        let metrics = Metrics::default();
        {
            let _one = metrics.in_flight.enter();
            let _two = metrics.in_flight.enter();
            assert_eq!(metrics.in_flight.get(), 2);
        }
        assert_eq!(metrics.in_flight.get(), 0);
        for size in [1, 2, 3, 300] {
            metrics.batch.observe(size);
        }
        let text = metrics.render();
        for line in [
            r#"bursar_commit_batch_bucket{le="1"} 1"#,
            r#"bursar_commit_batch_bucket{le="2"} 2"#,
            r#"bursar_commit_batch_bucket{le="4"} 3"#,
            r#"bursar_commit_batch_bucket{le="256"} 3"#,
            r#"bursar_commit_batch_bucket{le="+Inf"} 4"#,
            "bursar_commit_batch_sum 306",
            "bursar_commit_batch_count 4",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
    }

    #[test]
    fn every_series_has_its_help_and_type_once() {
        let metrics = Metrics::default();
        metrics.operation("Login").answered(201, Duration::from_millis(3));
        let text = metrics.render();
        let mut typed = std::collections::BTreeSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                assert!(typed.insert(rest.split(' ').next().unwrap()), "{line}");
            } else if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().unwrap();
                let family = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|end| name.strip_suffix(end))
                    .unwrap_or(name);
                assert!(typed.contains(family) || typed.contains(name), "{line}");
            }
        }
    }
}
