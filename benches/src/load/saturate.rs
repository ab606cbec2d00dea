//! The highest rate that a server keeps up with: callers as fast as they can say where to look, then rates by the clock
//! are halved in.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::bodies::Shape;
use super::drive::{Load, Plan};
use super::pace::Arrivals;
use super::say::say;
use super::tally::Report;
use super::wire::Endpoint;

/// A run that took longer than planned by this share was behind.
const BEHIND: f64 = 1.02;
/// Below this share of what waiting callers get no rate is tried.
const LOWEST: f64 = 0.02;

/// How it is searched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Search {
    /// The p99 that a rate must keep.
    pub(crate) bound: Duration,
    /// How often the interval is halved.
    pub(crate) steps: u32,
    /// How requests arrive.
    pub(crate) arrivals: Arrivals,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// Decisions a second.
    pub(crate) per_second: f64,
    /// The run at that rate.
    pub(crate) report: Report,
}

/// Callers that wait for their answers and keep a server busy.
pub(crate) fn busy(shape: Shape) -> Load {
    Load::Closed {
        callers: match shape {
            Shape::Unary => 64,
            Shape::Batch(_) => 8,
            Shape::Stream => 512,
        },
    }
}

/// Whether a server kept up.
fn kept_up(report: &Report, plan: &Plan, bound: Duration) -> bool {
    report.flawless()
        && report.seconds <= plan.duration.as_secs_f64() * BEHIND
        && report.latency.p99_ms <= bound.as_secs_f64() * 1e3
}

impl Search {
    /// The highest rate, found with runs as long as `plan` says.
    ///
    /// # Errors
    /// When the server cannot be reached, or keeps up with nothing at all.
    pub(crate) fn highest(&self, endpoint: &Endpoint, plan: &Plan) -> Result<Found> {
        let closed = Plan { load: busy(plan.shape), ..plan.clone() }.run(endpoint)?;
        let fastest = closed.decisions_per_s;
        say(format!("callers that wait: {fastest:.0} decisions/s, {}", closed.latency));
        ensure!(fastest > 0.0, "no decision at all: {}", closed.text());
        let (mut low, mut high, mut found) = (fastest * LOWEST, fastest * 1.2, None);
        for step in 0..self.steps {
            // Rates near the top are the likely ones.
            let per_second = if step == 0 { fastest * 0.8 } else { (low + high) / 2.0 };
            let load = Load::Open { per_second, arrivals: self.arrivals };
            let report = Plan { load, ..plan.clone() }.run(endpoint)?;
            let kept = kept_up(&report, plan, self.bound);
            say(format!(
                "{per_second:.0} asked: {} {:.0} decisions/s, {}{}",
                if kept { "kept," } else { "not kept," },
                report.decisions_per_s,
                report.latency,
                if report.flawless() { String::new() } else { format!(", {:?}", report.codes) },
            ));
            if kept {
                (low, found) = (per_second, Some(Found { per_second, report }));
            } else {
                high = per_second;
            }
        }
        found.ok_or_else(|| anyhow::anyhow!("no rate from {low:.0} to {high:.0} was kept with this p99"))
    }
}
