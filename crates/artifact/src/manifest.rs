//! `manifest.json`: what the artifact is, how it was made, what was measured. Records only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::record::{NetworkRecord, PairRecord};

/// The newest format this build reads and the one it writes.
pub const FORMAT_VERSION: u32 = 2;

/// The manifest of an artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// See [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Name of the artifact, by convention that of its folder.
    pub name: String,
    /// First twelve hex digits of the hash over weights and calibrator.
    pub version: String,
    /// First twelve hex digits of the calibrator's hash.
    pub calibrator_version: String,
    /// When it was trained, RFC 3339, UTC.
    pub created: String,
    /// Whether it was trained on simulated outcomes: for trying the pipeline, not for production.
    pub simulated: bool,
    /// What the artifact scores: the fast tier's network.
    pub(crate) network: NetworkRecord,
    /// Models known to the classifier, in the order of its ability vectors.
    pub models: Vec<String>,
    /// The pair used when a request names none.
    pub(crate) default_pair: PairRecord,
    /// Named thresholds, each with the data behind it.
    pub operating_points: BTreeMap<String, OperatingPoint>,
    /// Hyper-parameters of the fit, as the trainer writes them.
    pub training: serde_json::Value,
    /// The evidence.
    pub data: DataSummary,
    /// What was measured on the test split.
    pub metrics: Metrics,
    /// sha256 of every other file of the folder, hex, by name.
    pub files: BTreeMap<String, String>,
    /// sha256 of this manifest written with this field empty.
    pub sha256: String,
}

/// A named threshold and how it was derived.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatingPoint {
    /// In [0, 1], full precision.
    pub threshold: f64,
    /// What it was chosen for, such as `strong-call-rate 0.5`.
    pub objective: String,
    /// The split it was chosen on.
    pub split: String,
    /// Rows it was chosen on.
    pub rows: usize,
    /// Share of those rows that go strong at it, in [0, 1].
    pub strong_call_rate: f64,
    /// Version of the artifact it is bound to.
    pub bound_to: String,
}

/// Where the evidence came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSummary {
    /// sha256 over the rows, independent of their order and file format.
    pub fingerprint: String,
    /// What was read, in words the user would recognise; no machine paths.
    pub sources: Vec<String>,
    /// Rows kept.
    pub rows: usize,
    /// Rows by split.
    pub splits: Splits,
}

/// Rows by split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Splits {
    /// Fitted on.
    pub fit: usize,
    /// Stopped on.
    pub dev: usize,
    /// Calibrated on.
    pub calibrate: usize,
    /// Measured on.
    pub test: usize,
}

/// A figure with its 95 % bootstrap interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// The figure.
    pub value: f64,
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

/// What was measured on the test split, pair by pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// One entry per calibrated pair.
    pub pairs: Vec<PairMetrics>,
    /// Ranking of other models' outcomes, on data nothing was fitted on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zero_shot: Vec<ZeroShotMetrics>,
}

/// How well the default pair's probability ranks another pair's outcomes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZeroShotMetrics {
    /// Name of the data, with the slice.
    pub data: String,
    /// Only the rank figures `auroc` and `apgr`: the probabilities speak of another pair.
    pub metrics: PairMetrics,
}

/// Figures of one pair; the outer key is the scorer: `classifier`, `base_rate` or `prompt_length`,
/// the inner one the metric: `brier`, `log_loss`, `ece`, `auroc`, `apgr`, `truth_mae`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairMetrics {
    /// `strong/weak`.
    pub pair: String,
    /// Test rows with outcomes of both models.
    pub rows: usize,
    /// Share of them where strong is strictly better.
    pub base_rate: f64,
    /// The figures.
    pub scorers: BTreeMap<String, BTreeMap<String, Interval>>,
}
