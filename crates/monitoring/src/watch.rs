//! Everything that is watched of a router's traffic, pair by pair and slice by slice. The server feeds it as decisions
//! and reports come in, `training monitor` from a log.

mod stream;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use types::WinProbability;

use crate::{Bucket, MonitoringError};
use stream::Stream;

/// Streams at most: labels of callers name slices, and memory has an end.
const MOST_STREAMS: usize = 64;

/// An alarm that lasts is told again after this time of the decisions' own, microseconds.
const REPEATED_US: i64 = 3_600_000_000;

/// Name of the slice of all queries of high stakes.
const HIGH_STAKES: &str = "high_stakes";

/// What counts as a change, and how rarely a false alarm may come; infinitely rarely turns a kind of monitor off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WatchOptions {
    /// Decisions that later ones are compared with, at least 10.
    pub reference: usize,
    /// Decisions of a window, at least 1.
    pub window: usize,
    /// Windows between two false alarms about a distribution, on average, over all its tests together; above 1.
    #[serde(with = "crate::kept")]
    pub windows_per_false_alarm: f64,
    /// Labels between two false alarms of either monitor of calibration, on average at least; above 1.
    #[serde(with = "crate::kept")]
    pub labels_per_false_alarm: f64,
    /// Decisions between two false alarms of a rate, on average at least; above 1.
    #[serde(with = "crate::kept")]
    pub decisions_per_false_alarm: f64,
    /// Log odds that probabilities and rates may be off by: no calibrator is exact.
    pub tolerance: f64,
    /// Share of decisions that may be made by another way than the rule's, in (0, 1).
    pub fallback_rate: f64,
    /// Slices that are watched apart from those of high stakes.
    pub slices: Vec<String>,
    /// Of the simulation behind the limit of the CUSUM.
    pub seed: u64,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            reference: 2_000,
            window: 500,
            windows_per_false_alarm: 2_000.0,
            labels_per_false_alarm: 10_000.0,
            decisions_per_false_alarm: 1_000_000.0,
            tolerance: 0.2,
            fallback_rate: 0.01,
            slices: Vec::new(),
            seed: 1,
        }
    }
}

/// A decision as monitors see it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecisionSeen<'a> {
    /// Microseconds since 1970.
    pub time_us: i64,
    /// `strong/weak`.
    pub pair: &'a str,
    /// Slices of the query.
    pub slices: &'a [String],
    /// A slice of high stakes decided.
    pub high_stakes: bool,
    /// What decided.
    pub win_probability: WinProbability,
    /// The policy chose strong.
    pub strong: bool,
    /// The strong-call rate its operating point was selected for, where it was.
    pub target: Option<f64>,
    /// Another way than the rule's decided, such as the fast tier because the encoder's queue was full.
    pub fallback: bool,
    /// Tokens of the query; what is not finite counts as none.
    pub tokens: f64,
    /// Script of the query.
    pub script: &'a str,
    /// Time of the decision, microseconds.
    pub decision_time_us: f64,
}

/// What happened where a probability had been given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LabelSeen<'a> {
    /// When the decision was made, microseconds since 1970.
    pub time_us: i64,
    /// `strong/weak`.
    pub pair: &'a str,
    /// Slices of the query.
    pub slices: &'a [String],
    /// A slice of high stakes decided.
    pub high_stakes: bool,
    /// What was said.
    pub win_probability: WinProbability,
    /// Strong's answer was strictly better.
    pub strong_better: bool,
}

/// What raised an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Monitor {
    /// Population stability index of the win probabilities.
    ProbabilityPsi,
    /// Kolmogorov and Smirnov's distance of the win probabilities.
    ProbabilityKs,
    /// Population stability index of the queries' lengths.
    LengthPsi,
    /// Population stability index of the scripts they are written in.
    ScriptPsi,
    /// Shiryaev-Roberts statistic of the calibration.
    Calibration,
    /// Risk-adjusted CUSUM of the calibration.
    CalibrationCusum,
    /// Share of strong calls against the operating point.
    StrongCallRate,
    /// Share of decisions made by another way than the rule's.
    FallbackRate,
}

impl Monitor {
    /// Every monitor.
    pub const ALL: [Self; 8] = [
        Self::ProbabilityPsi,
        Self::ProbabilityKs,
        Self::LengthPsi,
        Self::ScriptPsi,
        Self::Calibration,
        Self::CalibrationCusum,
        Self::StrongCallRate,
        Self::FallbackRate,
    ];

    /// A stable snake-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProbabilityPsi => "probability_psi",
            Self::ProbabilityKs => "probability_ks",
            Self::LengthPsi => "length_psi",
            Self::ScriptPsi => "script_psi",
            Self::Calibration => "calibration",
            Self::CalibrationCusum => "calibration_cusum",
            Self::StrongCallRate => "strong_call_rate",
            Self::FallbackRate => "fallback_rate",
        }
    }
}

/// An alarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Raised {
    /// What raised it.
    pub monitor: Monitor,
    /// `strong/weak`.
    pub pair: String,
    /// The slice; empty for all traffic.
    pub slice: String,
    /// Time of the decision that raised it.
    pub time_us: i64,
    /// Since when, as far as can be told.
    pub since_us: i64,
    /// The statistic.
    pub statistic: f64,
    /// What it had to exceed; a p-value had to fall below it.
    pub limit: f64,
    /// What was seen.
    pub evidence: String,
    /// What to do.
    pub action: String,
}

/// Where one monitor stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stands {
    /// Which.
    pub monitor: Monitor,
    /// Its statistic.
    pub statistic: f64,
    /// What the statistic has to exceed; none where a p-value is looked at instead.
    pub limit: Option<f64>,
}

/// Where the monitors of a pair and slice stand.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// `strong/weak`.
    pub pair: String,
    /// The slice; empty for all traffic.
    pub slice: String,
    /// Decisions seen.
    pub decisions: u64,
    /// Labels seen.
    pub labels: u64,
    /// Share the policy sent to strong.
    pub strong_call_rate: f64,
    /// The share last aimed at; every decision is held to its own.
    pub target: Option<f64>,
    /// Share decided by another way than the rule's.
    pub fallback_rate: f64,
    /// Of the win probability: 0.01, 0.1, 0.5, 0.9, 0.99; empty without decisions.
    pub win_probability_quantiles: Vec<f64>,
    /// Of the time of a decision, microseconds.
    pub decision_time_us_quantiles: Vec<f64>,
    /// Strong's wins by bucket.
    pub buckets: Vec<Bucket>,
    /// Shiryaev-Roberts statistic of the calibration.
    pub calibration_statistic: f64,
    /// Its limit.
    pub calibration_limit: f64,
    /// Log of the e-value against exact calibration.
    pub log_e_value: f64,
    /// Where each monitor stands that has begun to count; those of distributions since the last window.
    pub statistics: Vec<Stands>,
    /// Windows compared with the reference.
    pub windows: u64,
    /// The reference is complete.
    pub reference_complete: bool,
}

/// All monitors.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Watch {
    options: WatchOptions,
    /// By pair, then by slice.
    streams: BTreeMap<String, BTreeMap<String, Stream>>,
    alarms: u64,
    /// Decisions of pairs and slices for which there was no room.
    unwatched: u64,
    /// When each monitor of a pair and slice was told last.
    told: Vec<(Monitor, String, String, i64)>,
}

impl Watch {
    /// Monitors that have seen nothing.
    pub fn new(options: WatchOptions) -> Self {
        Self { options, streams: BTreeMap::new(), alarms: 0, unwatched: 0, told: Vec::new() }
    }

    /// What it was told to watch for.
    pub fn options(&self) -> &WatchOptions {
        &self.options
    }

    /// Takes a decision.
    ///
    /// # Errors
    /// When a window cannot be compared, as with a reference of fewer than ten decisions.
    pub fn decision(&mut self, seen: &DecisionSeen<'_>) -> Result<Vec<Raised>, MonitoringError> {
        let mut raised = Vec::new();
        for slice in slices(&self.options, seen.slices, seen.high_stakes) {
            let found = match stream(&mut self.streams, &self.options, seen.pair, slice) {
                Some(stream) => stream.decision(seen, &self.options)?,
                None => {
                    self.unwatched += 1;
                    continue;
                }
            };
            raised.extend(found.into_iter().map(|found| Raised { slice: slice.to_owned(), ..found }));
        }
        Ok(self.new_of(raised))
    }

    /// Takes a label.
    pub fn label(&mut self, seen: &LabelSeen<'_>) -> Vec<Raised> {
        let mut raised = Vec::new();
        for slice in slices(&self.options, seen.slices, seen.high_stakes) {
            let Some(stream) = stream(&mut self.streams, &self.options, seen.pair, slice) else {
                self.unwatched += 1;
                continue;
            };
            let found = stream.label(seen).into_iter();
            raised.extend(found.map(|found| Raised { slice: slice.to_owned(), ..found }));
        }
        self.new_of(raised)
    }

    /// What has not been told within the hour: what lasts is told again, and not with every run of it.
    fn new_of(&mut self, mut raised: Vec<Raised>) -> Vec<Raised> {
        raised.retain(|alarm| {
            let of = |(monitor, pair, slice, _): &&mut (Monitor, String, String, i64)| {
                *monitor == alarm.monitor && *pair == alarm.pair && *slice == alarm.slice
            };
            match self.told.iter_mut().find(of) {
                Some((.., at)) if (0..REPEATED_US).contains(&(alarm.time_us - *at)) => false,
                Some((.., at)) => {
                    *at = alarm.time_us;
                    true
                }
                None => {
                    self.told.push((alarm.monitor, alarm.pair.clone(), alarm.slice.clone(), alarm.time_us));
                    true
                }
            }
        });
        self.alarms += raised.len() as u64;
        raised
    }

    /// Where every stream stands.
    pub fn status(&self) -> Vec<Status> {
        let of = |(pair, slices): (&String, &BTreeMap<String, Stream>)| {
            slices.iter().map(|(slice, stream)| stream.status(pair, slice)).collect::<Vec<_>>()
        };
        self.streams.iter().flat_map(of).collect()
    }

    /// Alarms raised so far.
    pub fn alarms(&self) -> u64 {
        self.alarms
    }

    /// Decisions and labels of pairs and slices for which there was no room.
    pub fn unwatched(&self) -> u64 {
        self.unwatched
    }
}

/// The streams an event belongs to, each once: all traffic, high stakes, and slices that are watched.
fn slices<'a>(options: &WatchOptions, of: &'a [String], high_stakes: bool) -> Vec<&'a str> {
    let high_stakes = high_stakes || of.iter().any(|slice| slice == HIGH_STAKES);
    let mut slices = vec![""];
    slices.extend(high_stakes.then_some(HIGH_STAKES));
    for slice in of.iter().filter(|slice| options.slices.contains(slice)) {
        if !slices.contains(&slice.as_str()) {
            slices.push(slice);
        }
    }
    slices
}

/// The stream of a pair and slice, made where there is none and room for it.
fn stream<'a>(
    streams: &'a mut BTreeMap<String, BTreeMap<String, Stream>>,
    options: &WatchOptions,
    pair: &str,
    slice: &str,
) -> Option<&'a mut Stream> {
    if !streams.get(pair).is_some_and(|slices| slices.contains_key(slice)) {
        if streams.values().map(BTreeMap::len).sum::<usize>() >= MOST_STREAMS {
            return None;
        }
        streams.entry(pair.to_owned()).or_default().insert(slice.to_owned(), Stream::new(options));
    }
    streams.get_mut(pair)?.get_mut(slice)
}
