//! The server's log of decisions (`log_format = "json"`), read for what it says of the traffic: how much there is, how
//! much of it went strong, and what the calibrated probabilities expect of the rest.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use thiserror::Error;
use types::WinProbability;

const SECONDS_PER_DAY: f64 = 86_400.0;

/// Decisions below which a log says little.
const FEW: usize = 100;

/// A log of less than an hour says nothing of a day.
const LEAST_DAYS: f64 = 1.0 / 24.0;

/// Why a log was refused.
#[derive(Debug, Error)]
pub enum LogError {
    /// The file could not be read.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line that is no decision although it says so, or no JSON.
    #[error("{}: line {line}: {reason}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// 1-based line.
        line: usize,
        /// What was expected.
        reason: String,
    },
    /// Too short a time to tell the traffic of a day.
    #[error(
        "{}: spans {:.1} minutes, at least an hour is needed to tell the traffic of a day; describe it with --workload",
        file.display(),
        1440.0 * days
    )]
    TooShort {
        /// The file.
        file: PathBuf,
        /// From the first decision to the last.
        days: f64,
    },
    /// No decision at all.
    #[error("{}: holds no decision for either model (lines with the message \"decided\"): serve with log_format = \"json\"", .0.display())]
    Empty(PathBuf),
}

/// Any line of the log.
#[derive(Deserialize)]
struct Line {
    timestamp: Timestamp,
    fields: serde_json::Value,
}

/// The fields of a decision that count here.
#[derive(Deserialize)]
struct Decided {
    model: String,
    win_probability: f64,
}

/// What a log says.
#[derive(Debug, Clone, PartialEq)]
pub struct Traffic {
    /// Decisions read.
    pub decisions: usize,
    /// Other lines of the log, and text that is not of the log, such as what a crash prints.
    pub other_lines: usize,
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
    /// When it cannot be read, a decision is malformed, there is none, or the log is shorter than an hour.
    pub fn read(file: &Path, strong: &str, weak: &str) -> Result<Self, LogError> {
        let io = |source| LogError::Io { file: file.to_owned(), source };
        let (mut calls, mut kept, mut wins, mut wrong) = (0, 0, 0.0, 0.0);
        let (mut decisions, mut other_lines, mut other_models) = (0, 0, 0);
        let mut span: Option<(Timestamp, Timestamp)> = None;
        for (i, line) in BufReader::new(File::open(file).map_err(io)?).lines().enumerate() {
            let line = line.map_err(io)?;
            if line.trim().is_empty() {
                continue;
            }
            let bad = |reason: String| LogError::Malformed { file: file.to_owned(), line: i + 1, reason };
            let parsed = serde_json::from_str(&line).ok();
            let Some(Line { timestamp, fields }) = parsed.filter(|l: &Line| l.fields["message"] == "decided")
            else {
                other_lines += 1;
                continue;
            };
            let decided: Decided = serde_json::from_value(fields).map_err(|e| bad(e.to_string()))?;
            let p = WinProbability::new(decided.win_probability)
                .map_err(|e| bad(format!("win_probability: {e}")))?;
            decisions += 1;
            if decided.model == strong {
                (calls, wins) = (calls + 1, wins + p.get());
            } else if decided.model == weak {
                (kept, wins, wrong) = (kept + 1, wins + p.get(), wrong + p.get());
            } else {
                other_models += 1;
            }
            span = Some(span.map_or((timestamp, timestamp), |(a, b)| (a.min(timestamp), b.max(timestamp))));
        }
        let Some((first, last)) = span.filter(|_| calls + kept > 0) else {
            return Err(LogError::Empty(file.to_owned()));
        };
        let days = last.duration_since(first).as_secs_f64() / SECONDS_PER_DAY;
        if days < LEAST_DAYS {
            return Err(LogError::TooShort { file: file.to_owned(), days });
        }
        let n = f64::from(calls + kept);
        Ok(Self {
            decisions,
            other_lines,
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
