//! What a decision takes: processor time of the server by length and shape, bytes on the wire, bytes of a record in each
//! store, records that one writer stores.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use decision_log::parquet::Export;
use serde::{Deserialize, Serialize};

use crate::load::bodies::{Queries, Shape, Tier};
use crate::load::drive::{Load, Plan};
use crate::load::pace::Arrivals;
use crate::load::process::{Feature, LogCounts, LogPlace, Server, Setup};
use crate::load::saturate::busy;
use crate::load::say::say;
use crate::load::scrape::Scraper;

/// Lengths of queries for the fast tier.
const FAST: [usize; 4] = [16, 64, 256, 1_024];
/// And for the deep tier, whose encoder reads 126 tokens at most.
const DEEP: [usize; 3] = [16, 64, 110];
/// Queries of a batch.
pub(super) const BATCH: u32 = 32;
/// Decisions a second of the measurements: far from the limit, so that time is not spent on waiting.
const UNARY_PER_S: f64 = 2_000.0;
const BATCHED_PER_S: f64 = 6_000.0;
const DEEP_PER_S: f64 = 60.0;

/// How often each length is measured, upwards and downwards in turn: what the machine's other guests take then falls on
/// every length, and the middle of the rounds counts.
const ROUNDS: usize = 3;

/// Different texts of the records whose bytes are counted.
const DISTINCT: usize = 50_000;

/// How long and how fast it is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    pub(super) seconds: f64,
    pub(super) rates: f64,
}

/// One length.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Point {
    pub(super) tokens: usize,
    /// Of the server, for each decision.
    pub(super) cpu_us: f64,
    /// Bytes there and back for each decision, below TLS.
    pub(super) sent_bytes: f64,
    pub(super) received_bytes: f64,
}

/// What a store makes of records.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// What one writer stored while it had more than it could take.
    pub(super) records_per_s: Option<f64>,
}

impl Stored {
    pub(super) fn bytes_per_record(&self) -> f64 {
        self.bytes as f64 / self.records.max(1) as f64
    }
}

/// Everything that was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Measured {
    pub(super) machine: String,
    /// Of the working tree it ran in, where that is one.
    pub(super) commit: Option<String>,
    pub(super) switched_on: Vec<String>,
    pub(super) unary: Vec<Point>,
    pub(super) batched: Vec<Point>,
    pub(super) deep: Vec<Point>,
    pub(super) sqlite: Option<Stored>,
    pub(super) parquet: Option<Stored>,
    pub(super) postgres: Option<Stored>,
    /// The most memory a server had meanwhile, MB.
    pub(super) peak_mb: f64,
}

/// Measures all of it.
pub(super) fn all(setup: &Setup, postgres: Option<&str>, effort: Effort) -> Result<Measured> {
    let duration = Duration::try_from_secs_f64(effort.seconds)?;
    // A database that cannot be asked is told of before minutes of measurements.
    postgres.map(size).transpose()?;
    let mut peak_mb: f64 = 0.0;
    let mut points = |shape, tier, lengths: &[usize], per_second: f64, setup: &Setup| -> Result<Vec<Point>> {
        let server = Server::start(setup.clone())?;
        let scraper = server.metrics().map(Scraper::start).transpose()?;
        let mut rounds: Vec<Vec<Point>> = vec![Vec::new(); lengths.len()];
        for round in 0..ROUNDS {
            for step in 0..lengths.len() {
                let at = if round % 2 == 0 { step } else { lengths.len() - 1 - step };
                let tokens = lengths[at];
                let queries = Queries { tier, ..Queries::of(tokens) };
                let load = Load::Open { per_second: per_second * effort.rates, arrivals: Arrivals::Poisson };
                let plan = Plan { warmup: Duration::ZERO, ..Plan::new(shape, queries, load, duration) };
                let point = point(&server, &plan, tokens)?;
                say(format!("{shape}, {tier:?} tier, {tokens} tokens: {:.1} µs a decision", point.cpu_us));
                rounds[at].push(point);
            }
        }
        drop(scraper);
        peak_mb = peak_mb.max(server.usage()?.peak_mb);
        server.stop()?;
        Ok(rounds.into_iter().map(middle).collect())
    };
    let unary = points(Shape::Unary, Tier::Fast, &FAST, UNARY_PER_S, setup)?;
    let batched = points(Shape::Batch(BATCH), Tier::Fast, &FAST, BATCHED_PER_S, setup)?;
    // Nothing of the deep tier is to be given up for the time it takes.
    let patient = setup.clone().flag("--deep-deadline-ms", "5000").flag("--deep-queue", "1024");
    let deep = points(Shape::Unary, Tier::Deep, &DEEP, DEEP_PER_S, &patient)?;
    let (mut sqlite, mut parquet, mut in_postgres) = (None, None, None);
    if setup.has(Feature::Log) {
        let (stored, of_parquet) = in_sqlite(setup, duration)?;
        (sqlite, parquet) = (Some(stored), Some(of_parquet));
        in_postgres = postgres.map(|url| in_postgresql(setup, url, duration)).transpose()?;
    }
    let switched_on = setup.features.iter().map(|feature| feature.name().to_owned()).collect();
    let (machine, commit) = (machine(), commit());
    Ok(Measured {
        machine,
        commit,
        switched_on,
        unary,
        batched,
        deep,
        sqlite,
        parquet,
        postgres: in_postgres,
        peak_mb,
    })
}

/// The round whose processor time is the middle one.
fn middle(mut rounds: Vec<Point>) -> Point {
    rounds.sort_by(|a, b| a.cpu_us.total_cmp(&b.cpu_us));
    rounds.swap_remove(rounds.len() / 2)
}

fn point(server: &Server, plan: &Plan, tokens: usize) -> Result<Point> {
    let endpoint = server.endpoint()?;
    let warming = Plan { duration: plan.duration.min(Duration::from_secs(1)), ..plan.clone() };
    warming.run(&endpoint)?;
    let before = server.usage()?.cpu_s;
    let report = plan.run(&endpoint)?;
    let cpu_s = server.usage()?.cpu_s - before;
    ensure!(report.flawless(), "{tokens} tokens: {}", report.text());
    Ok(Point {
        tokens,
        cpu_us: 1e6 * cpu_s / report.decisions.max(1) as f64,
        sent_bytes: report.sent_bytes_per_decision,
        received_bytes: report.received_bytes_per_decision,
    })
}

/// Batches as fast as they are answered: the writer has more than it can take, or shows that it takes all.
fn flood(setup: &Setup, log: LogPlace, duration: Duration) -> Result<(LogCounts, tempfile::TempDir)> {
    let server = Server::start(Setup { log, ..setup.clone() })?;
    let shape = Shape::Batch(BATCH);
    // Texts that came again and again would make columns compress as those of no real traffic do.
    let queries = Queries { distinct: DISTINCT, ..Queries::of(64) };
    let plan = Plan { warmup: Duration::ZERO, ..Plan::new(shape, queries, busy(shape), duration) };
    let report = plan.run(&server.endpoint()?)?;
    ensure!(report.flawless(), "{}", report.text());
    server.stop()
}

fn in_sqlite(setup: &Setup, duration: Duration) -> Result<(Stored, Stored)> {
    let (log, folder) = flood(setup, LogPlace::Beside, duration)?;
    // The write-ahead log is part of the file once the server has closed it.
    let bytes =
        ["log.db", "log.db-wal"].map(|name| fs::metadata(folder.path().join(name)).map_or(0, |m| m.len()));
    let stored = stored(log, bytes.iter().sum(), duration);
    let files = folder.path().join("parquet");
    let (mut export, mut records, mut failed) = (Export::to(&files), 0, None);
    let url = LogPlace::Beside.url(folder.path());
    decision_log::read(&url, Duration::from_secs(60), &mut |joined| {
        records += 1;
        failed = failed.take().or(export.decision(joined.decision).err());
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    let mut bytes = 0;
    for file in export.finish()? {
        bytes += fs::metadata(&file).with_context(|| file.display().to_string())?.len();
    }
    Ok((stored, Stored { records, bytes, records_per_s: None }))
}

fn in_postgresql(setup: &Setup, url: &str, duration: Duration) -> Result<Stored> {
    let before = size(url)?;
    let (log, _) = flood(setup, LogPlace::Url(url.to_owned()), duration)?;
    Ok(stored(log, size(url)?.saturating_sub(before), duration))
}

fn stored(log: LogCounts, bytes: u64, duration: Duration) -> Stored {
    let limited = log.dropped > 0;
    let per_s = log.stored as f64 / duration.as_secs_f64();
    say(format!("log: {} stored, {} given up, {bytes} bytes", log.stored, log.dropped));
    Stored { records: log.stored, bytes, records_per_s: limited.then_some(per_s) }
}

/// Bytes of a database.
fn size(url: &str) -> Result<u64> {
    let asked = ["-A", "-t", "-c", "CHECKPOINT", "-c", "SELECT pg_database_size(current_database())"];
    let answer =
        Command::new("psql").arg(url).args(asked).output().context("psql, which asks for the size")?;
    ensure!(answer.status.success(), "psql: {}", String::from_utf8_lossy(&answer.stderr));
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    last.trim().parse().with_context(|| format!("psql: {text:?}"))
}

fn commit() -> Option<String> {
    let asked = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output().ok()?;
    asked.status.success().then(|| String::from_utf8_lossy(&asked.stdout).trim().to_owned())
}

fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let model = fs::read_to_string(Path::new("/proc/cpuinfo")).unwrap_or_default();
    let model = model.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    format!("{}, {cpus} processors", model.trim_start_matches(['\t', ':', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_round_that_was_disturbed_does_not_count() {
        let round = |cpu_us| Point { tokens: 16, cpu_us, sent_bytes: 1.0, received_bytes: 1.0 };
        assert!((middle(vec![round(182.7), round(91.0), round(93.0)]).cpu_us - 93.0).abs() < 1e-9);
    }
}
