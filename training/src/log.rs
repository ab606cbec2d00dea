//! Logs of decisions as the commands read them, and what one says of the traffic: how much there is, how much of it went
//! strong, and what the calibrated probabilities expect of the rest.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use decision_log::{Joined, Maturity, Rollout, Unjoined};
use jiff::Timestamp;
use thiserror::Error;

const SECONDS_PER_DAY: f64 = 86_400.0;

/// Decisions below which a log says little.
const FEW: usize = 100;

/// A log of less than an hour says nothing of a day.
const LEAST_DAYS: f64 = 1.0 / 24.0;

/// Which log.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// The log of decisions and outcomes: sqlite:PATH, postgres://HOST/DATABASE, or a folder of `training export`.
    #[arg(long, value_name = "LOG")]
    pub decision_log: String,
    /// Days after a decision in which what came of it counts.
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    pub horizon_days: u32,
}

impl LogArgs {
    /// Reads every decision that was answered; shadows are left out.
    ///
    /// # Errors
    /// When the log is not there, or holds what this build does not understand.
    pub fn read(&self, each: &mut dyn FnMut(Joined)) -> Result<Unjoined> {
        let horizon = Duration::from_secs(86_400 * u64::from(self.horizon_days));
        let answered = &mut |joined: Joined| {
            if joined.decision.rollout != Rollout::Shadow {
                each(joined);
            }
        };
        decision_log::read(&self.decision_log, horizon, answered)
            .with_context(|| format!("--decision-log {}", decision_log::redacted(&self.decision_log)))
    }
}

/// Whether a decision chose between these two models and no others.
pub fn is_between(joined: &Joined, strong: &str, weak: &str) -> bool {
    joined.decision.action_set.iter().map(String::as_str).eq([weak, strong])
}

/// How many decisions of an age have been reported on, in words.
pub fn maturity_in_words(maturity: &Maturity) -> Vec<String> {
    let line = |band: decision_log::MaturityBand| {
        format!(
            "decisions at least {} s old: {} of {} have been reported on",
            band.from_s, band.joined, band.decided
        )
    };
    maturity.bands().into_iter().map(line).collect()
}

/// Microseconds since 1970 now.
pub fn now_us() -> i64 {
    Timestamp::now().as_microsecond()
}

/// A moment in words.
pub fn moment(time_us: i64) -> String {
    Timestamp::from_microsecond(time_us).map_or_else(|_| format!("{time_us} µs"), |at| format!("{at:.0}"))
}

/// Why a log says nothing of the traffic.
#[derive(Debug, Error)]
pub enum TrafficError {
    /// Too short a time to tell the traffic of a day.
    #[error(
        "the log spans {:.1} minutes, at least an hour is needed to tell the traffic of a day; describe it with --workload",
        1440.0 * .0
    )]
    TooShort(f64),
    /// No decision at all.
    #[error("the log holds no decision for {0} or {1}")]
    Empty(String, String),
}

/// What a log says.
#[derive(Debug, Clone, PartialEq)]
pub struct Traffic {
    /// Decisions read.
    pub decisions: usize,
    /// Decisions for models other than the two: they count for the traffic and nothing else.
    pub other_models: usize,
    /// From the first decision to the last.
    pub days: f64,
    /// Share of the decisions for either model that were for the strong one.
    pub strong_call_rate: f64,
    /// Mean win probability over all decisions: how often strong's answer is expected to be better.
    pub win_rate: f64,
    /// Expected share of queries kept on weak although strong's answer would have been better: the sum of the
    /// calibrated probabilities of those kept, as right as the calibration.
    pub cheap_and_wrong_rate: f64,
}

impl Traffic {
    /// Reads a log for the decisions between two models.
    ///
    /// # Errors
    /// When it cannot be read, there is no such decision, or it is shorter than an hour.
    pub fn read(log: &LogArgs, strong: &str, weak: &str) -> Result<Self> {
        let (mut calls, mut kept, mut wins, mut wrong) = (0, 0, 0.0, 0.0);
        let (mut decisions, mut other_models) = (0, 0);
        let mut span: Option<(i64, i64)> = None;
        log.read(&mut |joined| {
            let (p, at) = (joined.decision.win_probability, joined.decision.time_us);
            decisions += 1;
            if joined.decision.action == strong {
                (calls, wins) = (calls + 1, wins + p);
            } else if joined.decision.action == weak {
                (kept, wins, wrong) = (kept + 1, wins + p, wrong + p);
            } else {
                other_models += 1;
            }
            span = Some(span.map_or((at, at), |(a, b)| (a.min(at), b.max(at))));
        })?;
        let Some((first, last)) = span.filter(|_| calls + kept > 0) else {
            return Err(TrafficError::Empty(strong.to_owned(), weak.to_owned()).into());
        };
        let days = (last - first) as f64 / 1e6 / SECONDS_PER_DAY;
        if days < LEAST_DAYS {
            return Err(TrafficError::TooShort(days).into());
        }
        let n = f64::from(calls + kept);
        Ok(Self {
            decisions,
            other_models,
            days,
            strong_call_rate: f64::from(calls) / n,
            win_rate: wins / n,
            cheap_and_wrong_rate: wrong / n,
        })
    }

    /// Decisions a day; a log of less than a day is scaled up.
    pub fn requests_per_day(&self) -> f64 {
        self.decisions as f64 / self.days
    }

    /// What makes the log a weak witness, in words.
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.days < 1.0 {
            doubts.push(format!(
                "the log spans {:.1} hours: traffic of a day is scaled up from it",
                24.0 * self.days
            ));
        }
        if self.other_models > 0 {
            doubts
                .push(format!("{} decisions for other models count for the traffic only", self.other_models));
        }
        if self.decisions < FEW {
            doubts.push(format!("{} decisions say little", self.decisions));
        }
        doubts
    }
}
