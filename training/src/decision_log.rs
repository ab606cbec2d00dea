//! The server's log of decisions (`log_format = "json"`), and what it says of the traffic: how much there is, how much of
//! it went strong, and what the calibrated probabilities expect of the rest.

use std::collections::HashMap;
use std::fmt::Debug;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
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

/// A decision as the server logs it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Decided {
    /// UUIDv7.
    #[serde(default)]
    pub decision_id: String,
    /// The model served.
    pub model: String,
    /// P(strong's answer is strictly better), in [0, 1].
    pub win_probability: f64,
    /// `request`, or `operating_point:NAME`.
    #[serde(default)]
    pub threshold_source: String,
    /// The tier whose probability that is: `fast` or `deep`.
    #[serde(default)]
    pub scored_by: String,
    /// What else a counterfactual needs; older servers logged none of it.
    #[serde(flatten)]
    pub served: Option<HowServed>,
}

/// How a decision came to be served.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct HowServed {
    /// How probable the model served was, in [0, 1].
    pub propensity: f64,
    /// Why, as in the server's answer.
    pub reason: String,
    /// Models of the ladder.
    pub rungs: usize,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A decision.
    Decision(Timestamp, Decided),
    /// Anything else: other events, what a crash prints.
    Other,
}

/// The lines of a log, blank ones left out.
///
/// # Errors
/// When it cannot be opened; each line on its own when it cannot be read or says it is a decision and is none.
pub fn entries(file: &Path) -> Result<impl Iterator<Item = Result<Entry, LogError>>, LogError> {
    let name = file.to_owned();
    let opened = File::open(file).map_err(|source| LogError::Io { file: name.clone(), source })?;
    let lines = BufReader::new(opened).lines().enumerate();
    Ok(lines.filter(|(_, line)| line.as_ref().map_or(true, |line| !line.trim().is_empty())).map(
        move |(i, line)| {
            let line = line.map_err(|source| LogError::Io { file: name.clone(), source })?;
            entry(&line).map_err(|reason| LogError::Malformed { file: name.clone(), line: i + 1, reason })
        },
    ))
}

fn entry(line: &str) -> Result<Entry, String> {
    let Some(Line { timestamp, fields }) =
        serde_json::from_str(line).ok().filter(|l: &Line| l.fields["message"] == "decided")
    else {
        return Ok(Entry::Other);
    };
    let decided: Decided = serde_json::from_value(fields).map_err(|e| e.to_string())?;
    let propensity = decided.served.as_ref().map_or(1.0, |served| served.propensity);
    for (field, value) in [("win_probability", decided.win_probability), ("propensity", propensity)] {
        WinProbability::new(value).map_err(|e| format!("{field}: {e}"))?;
    }
    Ok(Entry::Decision(timestamp, decided))
}

/// What was reported of decisions afterwards, a JSON object a line, by decision. The same report twice is one.
///
/// # Errors
/// When the file cannot be read, a line is no report or `checked` refuses it, or two reports of a decision differ.
pub fn reports<R: DeserializeOwned, V: PartialEq + Debug>(
    file: &Path,
    checked: impl Fn(R) -> Result<(String, V), String>,
) -> Result<HashMap<String, V>, LogError> {
    let io = |source| LogError::Io { file: file.to_owned(), source };
    let mut found = HashMap::new();
    for (i, line) in BufReader::new(File::open(file).map_err(io)?).lines().enumerate() {
        let line = line.map_err(io)?;
        if line.trim().is_empty() {
            continue;
        }
        let bad = |reason| LogError::Malformed { file: file.to_owned(), line: i + 1, reason };
        let report = serde_json::from_str(&line).map_err(|e| bad(e.to_string()))?;
        let (id, value) = checked(report).map_err(bad)?;
        if let Some(before) = found.get(&id).filter(|before| **before != value) {
            return Err(bad(format!("{value:?} for decision {id}, but {before:?} before")));
        }
        found.insert(id, value);
    }
    Ok(found)
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
        let (mut calls, mut kept, mut wins, mut wrong) = (0, 0, 0.0, 0.0);
        let (mut decisions, mut other_lines, mut other_models) = (0, 0, 0);
        let mut span: Option<(Timestamp, Timestamp)> = None;
        for entry in entries(file)? {
            let Entry::Decision(timestamp, decided) = entry? else {
                other_lines += 1;
                continue;
            };
            let p = decided.win_probability;
            decisions += 1;
            if decided.model == strong {
                (calls, wins) = (calls + 1, wins + p);
            } else if decided.model == weak {
                (kept, wins, wrong) = (kept + 1, wins + p, wrong + p);
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
