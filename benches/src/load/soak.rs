//! Minutes at a share of what a server can: does memory stay where it is, does latency, does anything fail.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;

use super::drive::{Load, Plan};
use super::pace::Arrivals;
use super::process::{LogCounts, Server, Setup, Usage};
use super::saturate::Search;
use super::say::{Table, median, say};
use super::scrape::Scraper;
use super::stalls::Stalls;
use super::tally::Report;
use super::wire::Endpoint;

/// Memory that a server may take at most, MB.
const MOST_MB: f64 = 250.0;
/// What the last minute's memory and p99 may be of the first's.
const MOST_GROWTH: f64 = 1.1;
const MOST_P99_RATIO: f64 = 1.2;
/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_millis(500);

/// How long and how hard.
#[derive(Debug, Clone)]
pub(crate) struct Soak {
    /// The server.
    pub(crate) setup: Setup,
    /// How it is asked; the duration is that of the soak.
    pub(crate) plan: Plan,
    /// Share of the highest rate, in (0, 1].
    pub(crate) share: f64,
    /// The highest rate, where it is known; it is looked for otherwise.
    pub(crate) capacity: Option<f64>,
    /// How the highest rate is looked for, and how long each of its runs takes.
    pub(crate) search: (Search, Duration),
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    /// The highest rate.
    pub(crate) capacity_per_s: f64,
    /// All requests.
    pub(crate) report: Report,
    /// The most memory the server ever had, MB.
    pub(crate) peak_mb: f64,
    /// Memory in the first and in the last window, MB, medians.
    pub(crate) memory_mb: [f64; 2],
    /// The p99 of the last window over that of the first.
    pub(crate) p99_ratio: f64,
    /// Processor time of server and client for each decision, µs.
    pub(crate) cpu_us: [f64; 2],
    /// Moments in which the machine ran nobody.
    pub(crate) stalls: Stalls,
    /// Records that the log has stored and given up.
    pub(crate) log: [u64; 2],
    /// What was missed; nothing where all is well.
    pub(crate) missed: Vec<String>,
}

impl Soak {
    /// Runs it.
    ///
    /// # Errors
    /// When the server does not start or end as it should, or cannot be reached.
    pub(crate) fn run(&self) -> Result<Outcome> {
        let server = Server::start(self.setup.clone())?;
        let scraper = server.metrics().map(Scraper::start).transpose()?;
        let endpoint = server.endpoint()?;
        let capacity_per_s = match self.capacity {
            Some(known) => known,
            None => {
                let plan = Plan { duration: self.search.1, ..self.plan.clone() };
                self.search.0.highest(&endpoint, &plan)?.per_second
            }
        };
        // The first and the last window are told apart even where it is short.
        let window = self.plan.window.min(self.plan.duration / 2);
        let per_second = capacity_per_s * self.share;
        let load = Load::Open { per_second, arrivals: Arrivals::Poisson };
        let plan = Plan { load, window, ..self.plan.clone() };
        say(format!("soaking at {per_second:.0} decisions/s for {:?}", plan.duration));
        let cpu = || anyhow::Ok((server.usage()?.cpu_s, Usage::of_self()?.cpu_s));
        let before = cpu()?;
        let (report, memory, stalls) = sampled(&server, &endpoint, &plan)?;
        let after = cpu()?;
        let peak_mb = server.usage()?.peak_mb;
        drop(scraper);
        let (log, _) = server.stop()?;
        let memory_mb = ends(&memory, &plan);
        // The warm-up is in the processor's time and not in the report.
        let decisions = report.decisions as f64 * (1.0 + plan.warmup.as_secs_f64() / report.seconds);
        let us = |seconds: f64| 1e6 * seconds / decisions.max(1.0);
        let cpu_us = [us(after.0 - before.0), us(after.1 - before.1)];
        let p99_ratio = p99_ratio(&report)?;
        let missed = missed(&report, peak_mb, memory_mb, p99_ratio, log);
        let log = [log.stored, log.dropped];
        Ok(Outcome { capacity_per_s, report, peak_mb, memory_mb, p99_ratio, cpu_us, stalls, log, missed })
    }
}

/// What memory a server had, MB, by time since the first request.
type Memory = Vec<(Duration, f64)>;

/// A run, the server's memory meanwhile, and the machine's stalls.
fn sampled(server: &Server, endpoint: &Endpoint, plan: &Plan) -> Result<(Report, Memory, Stalls)> {
    let begin = Instant::now() + Duration::from_millis(200);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| Stalls::watch(&over));
        let run = scope.spawn(|| plan.run_from(endpoint, begin));
        let mut memory = Vec::new();
        while !run.is_finished() {
            memory.push((begin.elapsed(), server.usage().map(|usage| usage.resident_mb)));
            std::thread::sleep(SAMPLE.min(plan.window));
        }
        over.store(true, Ordering::Relaxed);
        let panicked = |_| anyhow::anyhow!("the client panicked");
        let (report, stalls) = (run.join().map_err(panicked)??, watch.join().map_err(panicked)?);
        let memory: Result<Memory> = memory.into_iter().map(|(at, mb)| Ok((at, mb?))).collect();
        Ok((report, memory?, stalls))
    })
}

/// The median of memory in the first window after the warm-up, and in the last.
fn ends(memory: &[(Duration, f64)], plan: &Plan) -> [f64; 2] {
    let end = plan.warmup + plan.duration;
    let within = |from: Duration, to: Duration| {
        median(memory.iter().filter(|(at, _)| *at >= from && *at < to).map(|(_, mb)| *mb).collect())
    };
    [within(plan.warmup, plan.warmup + plan.window), within(end.saturating_sub(plan.window), end)]
}

/// Of whole windows: what is left over at the end is too short to be compared.
fn p99_ratio(report: &Report) -> Result<f64> {
    let most = report.windows.iter().map(|w| w.decisions).max().unwrap_or_default();
    let whole: Vec<_> = report.windows.iter().filter(|w| w.decisions * 2 > most).collect();
    ensure!(!whole.is_empty(), "nothing was answered: {}", report.text());
    Ok(whole[whole.len() - 1].latency.p99_ms / whole[0].latency.p99_ms)
}

fn missed(report: &Report, peak_mb: f64, memory: [f64; 2], p99_ratio: f64, log: LogCounts) -> Vec<String> {
    let growth = memory[1] / memory[0];
    let all = [
        (peak_mb < MOST_MB, format!("memory: {peak_mb:.0} MB at most, {MOST_MB:.0} asked")),
        (growth <= MOST_GROWTH, format!("memory grew by {growth:.2}, {MOST_GROWTH} asked")),
        (report.flawless(), format!("{} queries failed, {} were not sent", report.failed, report.unsent)),
        (p99_ratio < MOST_P99_RATIO, format!("p99 grew by {p99_ratio:.2}, {MOST_P99_RATIO} asked")),
        (log.dropped == 0, format!("the log gave up {} records", log.dropped)),
    ];
    all.into_iter().filter_map(|(held, what)| (!held).then_some(what)).collect()
}

impl Outcome {
    /// For people: every window, then what counts.
    pub(crate) fn text(&self) -> String {
        let mut table = Table::new(&["figure", "measured", "asked"]);
        let mut row = |name: &str, measured: String, asked: &str| table.row(&[name, &measured, asked]);
        row("highest rate", format!("{:.0} decisions/s", self.capacity_per_s), "");
        row("rate of the soak", format!("{:.0} decisions/s", self.report.decisions_per_s), "");
        row("decisions", self.report.decisions.to_string(), "");
        row("failed or not sent", (self.report.failed + self.report.unsent).to_string(), "0");
        row("peak memory", format!("{:.0} MB", self.peak_mb), "under 250 MB");
        let [first, last] = self.memory_mb;
        row("memory in the first and the last window", format!("{first:.0} and {last:.0} MB"), "flat");
        row("p99 of the last window over the first's", format!("{:.2}", self.p99_ratio), "under 1.2");
        row("moments without a processor for over 20 ms", self.stalls.text(), "");
        row("log: stored, given up", format!("{}, {}", self.log[0], self.log[1]), "none given up");
        let [server, client] = self.cpu_us;
        row("processor, server and client", format!("{server:.1} and {client:.1} µs a decision"), "");
        let verdict = match self.missed.as_slice() {
            [] => "all held".to_owned(),
            missed => format!("missed: {}", missed.join("; ")),
        };
        format!("{}\n{table}\n\n{verdict}", self.report.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missed_is_said() {
        let mut tally = super::super::tally::Tally::new(Duration::from_secs(1));
        tally.answered(Duration::ZERO, Duration::from_millis(1), 1).unwrap();
        let report = tally.report(None, Duration::from_secs(1)).unwrap();
        assert!(missed(&report, 100.0, [90.0, 91.0], 1.0, LogCounts::default()).is_empty());
        let dropped = LogCounts { dropped: 2, ..LogCounts::default() };
        let all = missed(&report, 251.0, [90.0, 120.0], 1.3, dropped);
        assert_eq!(all.len(), 4, "{all:?}");
        assert!((p99_ratio(&report).unwrap() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn memory_is_compared_at_both_ends() {
        let plan = Plan {
            warmup: Duration::from_secs(1),
            duration: Duration::from_secs(8),
            window: Duration::from_secs(2),
            ..Plan::new(
                super::super::bodies::Shape::Unary,
                super::super::bodies::Queries::of(8),
                Load::Closed { callers: 1 },
                Duration::ZERO,
            )
        };
        let memory: Vec<_> = (0..10).map(|s| (Duration::from_secs(s), s as f64)).collect();
        assert_eq!(ends(&memory, &plan).map(|mb| mb as u32), [2, 8]);
    }
}
