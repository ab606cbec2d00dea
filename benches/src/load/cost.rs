//! What each thing that can be switched on costs: servers with each in turn, all of them in every round, so that what
//! changes on the machine meanwhile falls on all alike.

use std::time::Duration;

use anyhow::{Context, Result};

use super::bodies::Shape;
use super::drive::{Load, Plan};
use super::pace::Arrivals;
use super::process::{Feature, LogCounts, Server, Setup, Usage};
use super::saturate::busy;
use super::say::{Table, median, say};
use super::scrape::Scraper;

/// How it is measured.
#[derive(Debug, Clone)]
pub(crate) struct Cost {
    /// The server with everything that is compared switched on.
    pub(crate) setup: Setup,
    /// How it is asked; its rate is that of the steady runs.
    pub(crate) plan: Plan,
    /// Decisions a second of the steady runs.
    pub(crate) per_second: f64,
    /// Rounds; medians are shown.
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
    log: LogCounts,
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
        let mut measured: Vec<Vec<Measured>> = vec![Vec::new(); combinations.len()];
        for round in 1..=self.rounds {
            for (of, features) in measured.iter_mut().zip(&combinations) {
                let one = self.measure(features).with_context(|| name(features))?;
                say(format!(
                    "round {round}, {}: {:.1} µs of the server and {:.1} µs of the client a decision, {:.0}/s at most",
                    name(features),
                    one.cpu_us,
                    one.client_us,
                    one.fastest
                ));
                of.push(one);
            }
        }
        say(self.table(&combinations, &measured));
        Ok(())
    }

    fn measure(&self, features: &[Feature]) -> Result<Measured> {
        let server = Server::start(Setup { features: features.to_vec(), ..self.setup.clone() })?;
        let scraper = server.metrics().map(Scraper::start).transpose()?;
        let endpoint = server.endpoint()?;
        let load = Load::Open { per_second: self.per_second, arrivals: Arrivals::Poisson };
        // The warm-up is a run of its own: processor time is told for whole runs.
        let warming = self.plan.duration.min(Duration::from_secs(1));
        let steady = Plan { load, warmup: Duration::ZERO, ..self.plan.clone() };
        Plan { duration: warming, ..steady.clone() }.run(&endpoint)?;
        let before = (server.usage()?.cpu_s, Usage::of_self()?.cpu_s);
        let report = steady.run(&endpoint)?;
        let after = (server.usage()?.cpu_s, Usage::of_self()?.cpu_s);
        anyhow::ensure!(report.flawless(), "at {:.0}/s: {}", self.per_second, report.text());
        let closed = Plan { load: busy(self.plan.shape), ..self.plan.clone() }.run(&endpoint)?;
        anyhow::ensure!(closed.flawless(), "as fast as it can: {}", closed.text());
        let us = |seconds: f64| 1e6 * seconds / report.decisions.max(1) as f64;
        drop(scraper);
        let (log, _) = server.stop()?;
        Ok(Measured {
            cpu_us: us(after.0 - before.0),
            client_us: us(after.1 - before.1),
            p50_ms: report.latency.p50_ms,
            p99_ms: report.latency.p99_ms,
            fastest: closed.decisions_per_s,
            log,
        })
    }

    fn table(&self, combinations: &[Vec<Feature>], measured: &[Vec<Measured>]) -> String {
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
        let bare = measured.first().map_or(&[][..], Vec::as_slice);
        let (cpu, fastest) = (of(bare, |m| m.cpu_us), of(bare, |m| m.fastest));
        for (features, runs) in combinations.iter().zip(measured) {
            let sum = |what: fn(&LogCounts) -> u64| runs.iter().map(|m| what(&m.log)).sum::<u64>();
            let log = features.contains(&Feature::Log);
            table.row(&[
                name(features),
                format!("{:.1}", of(runs, |m| m.cpu_us)),
                format!("{:+.1}", of(runs, |m| m.cpu_us) - cpu),
                format!("{:.2}", of(runs, |m| m.p50_ms)),
                format!("{:.2}", of(runs, |m| m.p99_ms)),
                format!("{:.0}", of(runs, |m| m.fastest)),
                format!("{:.2}", of(runs, |m| m.fastest) / fastest),
                if log { format!("{}, {}", sum(|l| l.stored), sum(|l| l.dropped)) } else { "–".into() },
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

/// What is switched on, in words.
fn name(features: &[Feature]) -> String {
    match features {
        [] => "nothing".into(),
        _ if features.len() == Feature::ALL.len() => "everything".into(),
        _ => features.iter().map(|f| f.name()).collect::<Vec<_>>().join(", "),
    }
}
