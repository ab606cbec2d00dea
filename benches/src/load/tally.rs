//! What came of the requests: latencies in histograms by window, answers by code; and the report of it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::Serialize;
use tonic::Code;

use super::wire::Failure;

/// Microseconds that a latency can be told for: two minutes.
const LONGEST_US: u64 = 120_000_000;

/// Latencies and counts of the requests that were due in one stretch of time.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    latency_us: Histogram<u32>,
    decisions: u64,
    failed: u64,
}

impl Window {
    fn new() -> Result<Self> {
        Ok(Self { latency_us: Histogram::new_with_bounds(1, LONGEST_US, 3)?, decisions: 0, failed: 0 })
    }

    fn add(&mut self, other: &Self) -> Result<()> {
        self.latency_us.add(&other.latency_us)?;
        self.decisions += other.decisions;
        self.failed += other.failed;
        Ok(())
    }

    fn report(&self, from: Duration) -> WindowReport {
        WindowReport {
            from_s: from.as_secs_f64(),
            decisions: self.decisions,
            failed: self.failed,
            latency: Latency::of(&self.latency_us),
        }
    }
}

/// Counts as they come in, of one thread.
#[derive(Debug)]
pub(crate) struct Tally {
    window: Duration,
    windows: Vec<Window>,
    codes: BTreeMap<String, u64>,
    /// The first message of each code.
    said: BTreeMap<String, String>,
    pub(crate) calls: u64,
    pub(crate) retried: u64,
    pub(crate) checked: u64,
    pub(crate) unsent: u64,
    /// When the last answer came, after the start of what is measured.
    pub(crate) last: Duration,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
}

impl Tally {
    pub(crate) fn new(window: Duration) -> Self {
        Self {
            window,
            windows: Vec::new(),
            codes: BTreeMap::new(),
            said: BTreeMap::new(),
            calls: 0,
            retried: 0,
            checked: 0,
            unsent: 0,
            last: Duration::ZERO,
            sent_bytes: 0,
            received_bytes: 0,
        }
    }

    /// The window of a request that was due then.
    fn window(&mut self, due: Duration) -> Result<&mut Window> {
        let at = (due.as_nanos() / self.window.as_nanos().max(1)) as usize;
        while self.windows.len() <= at {
            self.windows.push(Window::new()?);
        }
        Ok(&mut self.windows[at])
    }

    /// Decisions that came `latency` after they were due.
    pub(crate) fn answered(&mut self, due: Duration, latency: Duration, decisions: u32) -> Result<()> {
        self.last = self.last.max(due + latency);
        *self.codes.entry(name(Code::Ok)).or_default() += u64::from(decisions);
        let window = self.window(due)?;
        window.decisions += u64::from(decisions);
        window.latency_us.saturating_record(latency.as_micros() as u64);
        Ok(())
    }

    /// Queries that were not decided.
    pub(crate) fn failed(&mut self, due: Duration, failure: &Failure, queries: u32) -> Result<()> {
        let code = name(failure.code);
        *self.codes.entry(code.clone()).or_default() += u64::from(queries);
        self.said.entry(code).or_insert_with(|| failure.message.clone());
        self.window(due)?.failed += u64::from(queries);
        Ok(())
    }

    /// Takes in what another thread counted.
    pub(crate) fn merge(&mut self, other: Self) -> Result<()> {
        for (at, window) in other.windows.iter().enumerate() {
            self.window(self.window * u32::try_from(at)?)?.add(window)?;
        }
        for (code, n) in other.codes {
            *self.codes.entry(code).or_default() += n;
        }
        for (code, message) in other.said {
            self.said.entry(code).or_insert(message);
        }
        self.calls += other.calls;
        self.retried += other.retried;
        self.checked += other.checked;
        self.unsent += other.unsent;
        self.last = self.last.max(other.last);
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
        Ok(())
    }

    /// The report; `asked` is the rate that was to be sent, `planned` for how long.
    pub(crate) fn report(&self, asked: Option<f64>, planned: Duration) -> Result<Report> {
        let mut all = Window::new()?;
        for window in &self.windows {
            all.add(window)?;
        }
        // Answers that came after the end were late: the rate is over the time until the last of them.
        let seconds = planned.max(self.last).as_secs_f64();
        let per = |bytes: u64| bytes as f64 / all.decisions.max(1) as f64;
        Ok(Report {
            asked_per_s: asked,
            seconds,
            calls: self.calls,
            decisions: all.decisions,
            decisions_per_s: all.decisions as f64 / seconds,
            failed: all.failed,
            unsent: self.unsent,
            retried: self.retried,
            checked: self.checked,
            latency: Latency::of(&all.latency_us),
            codes: self.codes.clone(),
            said: self.said.clone(),
            sent_bytes_per_decision: per(self.sent_bytes),
            received_bytes_per_decision: per(self.received_bytes),
            windows: (0u32..).zip(&self.windows).map(|(i, w)| w.report(self.window * i)).collect(),
        })
    }
}

/// The name of a code as gRPC writes it.
fn name(code: Code) -> String {
    let mut name = String::new();
    for (i, letter) in format!("{code:?}").char_indices() {
        if i > 0 && letter.is_ascii_uppercase() && code != Code::Ok {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// Quantiles in milliseconds, counted from when requests were due.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Latency {
    /// Half of the calls were faster.
    pub(crate) p50_ms: f64,
    /// Nine of ten.
    pub(crate) p90_ms: f64,
    /// 99 of 100.
    pub(crate) p99_ms: f64,
    /// 999 of 1,000.
    pub(crate) p999_ms: f64,
    /// The slowest.
    pub(crate) max_ms: f64,
}

impl Latency {
    fn of(us: &Histogram<u32>) -> Self {
        let at = |q| us.value_at_quantile(q) as f64 / 1e3;
        Self {
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: us.max() as f64 / 1e3,
        }
    }
}

impl std::fmt::Display for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "p50 {:.2} ms, p90 {:.2}, p99 {:.2}, p99.9 {:.2}, max {:.2}",
            self.p50_ms, self.p90_ms, self.p99_ms, self.p999_ms, self.max_ms
        )
    }
}

/// One stretch of time.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct WindowReport {
    /// Its beginning, seconds after the start.
    pub(crate) from_s: f64,
    /// Decisions that were due in it and came.
    pub(crate) decisions: u64,
    /// Queries that were due in it and were not decided.
    pub(crate) failed: u64,
    /// Of the calls that were due in it.
    pub(crate) latency: Latency,
}

/// What a run gave.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    /// The rate that was to be sent; nothing where callers waited for answers.
    pub(crate) asked_per_s: Option<f64>,
    /// Until the end, or the last answer where it came later.
    pub(crate) seconds: f64,
    /// Calls, or messages of streams.
    pub(crate) calls: u64,
    /// Decisions that came.
    pub(crate) decisions: u64,
    /// Of these, for each second.
    pub(crate) decisions_per_s: f64,
    /// Queries that were not decided.
    pub(crate) failed: u64,
    /// Queries that were due and not sent, since too many were in flight.
    pub(crate) unsent: u64,
    /// Calls that were made again.
    pub(crate) retried: u64,
    /// Answers that were decoded and found right.
    pub(crate) checked: u64,
    /// Of all calls that were answered.
    pub(crate) latency: Latency,
    /// Queries by what came of them.
    pub(crate) codes: BTreeMap<String, u64>,
    /// The first message of each code.
    pub(crate) said: BTreeMap<String, String>,
    /// Bytes on the wire towards the server, below TLS and above TCP.
    pub(crate) sent_bytes_per_decision: f64,
    /// Bytes back.
    pub(crate) received_bytes_per_decision: f64,
    /// Minute by minute, or as it was asked for.
    pub(crate) windows: Vec<WindowReport>,
}

impl Report {
    /// Whether everything that was due was sent and answered.
    pub(crate) fn flawless(&self) -> bool {
        self.failed == 0 && self.unsent == 0
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let asked = self.asked_per_s.map(|rate| format!(" of {rate:.0} asked")).unwrap_or_default();
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:.0} decisions/s{asked}, {} in {:.1} s, {} calls, {} answers checked",
            self.decisions_per_s, self.decisions, self.seconds, self.calls, self.checked
        );
        let _ = writeln!(text, "latency from when it was due: {}", self.latency);
        let _ = writeln!(
            text,
            "wire: {:.0} bytes there and {:.0} back for each decision",
            self.sent_bytes_per_decision, self.received_bytes_per_decision
        );
        for (code, n) in &self.codes {
            let said = self.said.get(code).map(|said| format!(" ({said})")).unwrap_or_default();
            let _ = writeln!(text, "{code}: {n}{said}");
        }
        if self.unsent + self.retried > 0 {
            let _ = writeln!(text, "not sent: {}, made again: {}", self.unsent, self.retried);
        }
        if self.windows.len() > 1 {
            let _ = writeln!(text, "\n| from | decisions | failed | p50 ms | p99 ms | max ms |");
            let _ = writeln!(text, "|---|---|---|---|---|---|");
            for w in &self.windows {
                let l = &w.latency;
                let _ = writeln!(
                    text,
                    "| {:.1} s | {} | {} | {:.2} | {:.2} | {:.2} |",
                    w.from_s, w.decisions, w.failed, l.p50_ms, l.p99_ms, l.max_ms
                );
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn codes_are_named_as_grpc_does() {
        assert_eq!(name(Code::Ok), "OK");
        assert_eq!(name(Code::ResourceExhausted), "RESOURCE_EXHAUSTED");
    }

    #[test]
    fn threads_add_up_and_windows_go_by_when_requests_were_due() {
        let mut first = Tally::new(1_000 * MS);
        first.answered(999 * MS, 500 * MS, 32).unwrap();
        let mut second = Tally::new(1_000 * MS);
        second.answered(1_001 * MS, 2 * MS, 1).unwrap();
        second.failed(2_500 * MS, &Failure::new(Code::Unavailable, "gone"), 3).unwrap();
        first.merge(second).unwrap();
        let report = first.report(Some(10.0), 3_000 * MS).unwrap();
        let windows: Vec<_> = report.windows.iter().map(|w| (w.decisions, w.failed)).collect();
        assert_eq!(windows, [(32, 0), (1, 0), (0, 3)]);
        assert_eq!((report.decisions, report.failed, report.flawless()), (33, 3, false));
        assert_eq!((report.codes["OK"], report.codes["UNAVAILABLE"]), (33, 3));
        assert!((report.latency.max_ms - 500.0).abs() < 1.0 && (report.seconds - 3.0).abs() < 1e-9);
        assert!(report.text().contains("UNAVAILABLE: 3 (gone)"));
    }

    #[test]
    fn what_comes_late_lowers_the_rate() {
        let mut tally = Tally::new(60_000 * MS);
        tally.answered(900 * MS, 1_100 * MS, 10).unwrap();
        let report = tally.report(None, 1_000 * MS).unwrap();
        assert!((report.decisions_per_s - 5.0).abs() < 1e-9);
    }
}
