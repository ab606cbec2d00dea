//! What each thing that can be switched on costs: a server with each of them, all asked in turn in every round, and the
//! differences within a round; what changes on the machine between rounds is then in none of them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::bodies::Shape;
use super::drive::{Load, Plan};
use super::pace::Arrivals;
use super::process::{Feature, LogCounts, Server, Setup, Usage};
use super::saturate::busy;
use super::say::{Table, median, say};
use super::scrape::Scraper;

/// A server is at rest once it has used no more than a tick of its processor time in so long; the log and the monitors
/// behind it go on for a second after the last request, and that is what they cost too.
const REST: Duration = Duration::from_millis(300);
const REST_S: f64 = 0.01;
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How it is measured.
#[derive(Debug, Clone)]
pub(crate) struct Cost {
    /// The server with everything that is compared switched on.
    pub(crate) setup: Setup,
    /// How it is asked; its rate is that of the steady runs.
    pub(crate) plan: Plan,
    /// Decisions a second of the steady runs.
    pub(crate) per_second: f64,
    /// Rounds; medians of their differences are shown.
    pub(crate) rounds: usize,
}

/// One server in one round.
#[derive(Debug, Clone, Copy)]
struct Measured {
    /// Of the server, for each decision at a steady rate.
    cpu_us: f64,
    /// Of the client.
    client_us: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Decisions a second of callers that wait.
    fastest: f64,
}

/// A server with some things switched on, and what was measured of it, by round.
#[derive(Debug)]
struct Compared {
    features: Vec<Feature>,
    server: Server,
    rounds: Vec<Measured>,
}

impl Cost {
    /// Measures and prints.
    ///
    /// # Errors
    /// When a server does not start, or a query fails.
    pub(crate) fn run(&self) -> Result<()> {
        let mut combinations: Vec<Vec<Feature>> = vec![vec![]];
        combinations.extend(self.setup.features.iter().map(|feature| vec![*feature]));
        if self.setup.features.len() > 1 {
            combinations.push(self.setup.features.clone());
        }
        let mut compared = Vec::new();
        for features in combinations {
            let server = Server::start(Setup { features: features.clone(), ..self.setup.clone() })?;
            compared.push(Compared { features, server, rounds: Vec::new() });
        }
        for round in 1..=self.rounds {
            for Compared { features, server, rounds } in &mut compared {
                let one = self.measure(server).with_context(|| name(features))?;
                say(format!(
                    "round {round}, {}: {:.1} µs of the server and {:.1} µs of the client a decision, {:.0}/s at most",
                    name(features),
                    one.cpu_us,
                    one.client_us,
                    one.fastest
                ));
                rounds.push(one);
            }
        }
        let mut rows = Vec::new();
        for Compared { features, server, rounds } in compared {
            let (log, _) = server.stop()?;
            rows.push((features, rounds, log));
        }
        say(self.table(&rows));
        Ok(())
    }

    fn measure(&self, server: &Server) -> Result<Measured> {
        let scraper = server.metrics().map(Scraper::start).transpose()?;
        let endpoint = server.endpoint()?;
        let load = Load::Open { per_second: self.per_second, arrivals: Arrivals::Poisson };
        // The warm-up is a run of its own: processor time is told for whole runs.
        let warming = self.plan.duration.min(Duration::from_secs(1));
        let steady = Plan { load, warmup: Duration::ZERO, ..self.plan.clone() };
        Plan { duration: warming, ..steady.clone() }.run(&endpoint)?;
        let before = (at_rest(server)?, Usage::of_self()?.cpu_s);
        let report = steady.run(&endpoint)?;
        let client_s = Usage::of_self()?.cpu_s - before.1;
        let server_s = at_rest(server)? - before.0;
        ensure!(report.flawless(), "at {:.0}/s: {}", self.per_second, report.text());
        let closed = Plan { load: busy(self.plan.shape), ..self.plan.clone() }.run(&endpoint)?;
        ensure!(closed.flawless(), "as fast as it can: {}", closed.text());
        drop(scraper);
        at_rest(server)?;
        let us = |seconds: f64| 1e6 * seconds / report.decisions.max(1) as f64;
        Ok(Measured {
            cpu_us: us(server_s),
            client_us: us(client_s),
            p50_ms: report.latency.p50_ms,
            p99_ms: report.latency.p99_ms,
            fastest: closed.decisions_per_s,
        })
    }

    fn table(&self, rows: &[(Vec<Feature>, Vec<Measured>, LogCounts)]) -> String {
        let mut table = Table::new(&[
            "switched on",
            "server, µs a decision",
            "more than nothing",
            "p50 ms",
            "p99 ms",
            "decisions/s of waiting callers",
            "of nothing",
            "log: stored, dropped",
        ]);
        let of = |runs: &[Measured], what: fn(&Measured) -> f64| median(runs.iter().map(what).collect());
        let bare = rows.first().map_or(&[][..], |row| row.1.as_slice());
        for (features, runs, log) in rows {
            let beside = |what: fn(&Measured, &Measured) -> f64| {
                median(runs.iter().zip(bare).map(|(one, bare)| what(one, bare)).collect())
            };
            let logs = features.contains(&Feature::Log);
            table.row(&[
                name(features),
                format!("{:.1}", of(runs, |m| m.cpu_us)),
                format!("{:+.1}", beside(|one, bare| one.cpu_us - bare.cpu_us)),
                format!("{:.2}", of(runs, |m| m.p50_ms)),
                format!("{:.2}", of(runs, |m| m.p99_ms)),
                format!("{:.0}", of(runs, |m| m.fastest)),
                format!("{:.2}", beside(|one, bare| one.fastest / bare.fastest)),
                if logs { format!("{}, {}", log.stored, log.dropped) } else { "–".into() },
            ]);
        }
        let queries = &self.plan.queries;
        let batch =
            if self.plan.shape == Shape::Unary { String::new() } else { format!(" ({})", self.plan.shape) };
        format!(
            "\n{} tokens, {:.0} decisions/s{batch}, median of {} rounds; the client takes {:.1} µs a decision beside it\n\n{table}",
            queries.lengths.iter().map(usize::to_string).collect::<Vec<_>>().join("/"),
            self.per_second,
            self.rounds,
            of(bare, |m| m.client_us),
        )
    }
}

/// What a server has used once it is at rest, seconds of processor time.
fn at_rest(server: &Server) -> Result<f64> {
    let (begun, mut used) = (Instant::now(), server.usage()?.cpu_s);
    loop {
        std::thread::sleep(REST);
        let now = server.usage()?.cpu_s;
        if now - used <= REST_S {
            return Ok(now);
        }
        ensure!(begun.elapsed() < PATIENCE, "the server does not come to rest within {PATIENCE:?}");
        used = now;
    }
}

/// What is switched on, in words.
fn name(features: &[Feature]) -> String {
    match features {
        [] => "nothing".into(),
        _ if features.len() == Feature::ALL.len() => "everything".into(),
        _ => features.iter().map(|f| f.name()).collect::<Vec<_>>().join(", "),
    }
}
