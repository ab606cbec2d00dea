//! `manifest.json`: what the artifact is, how it was made, what was measured. Records only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use types::BackendIdentity;

use crate::record::{NetworkRecord, PairRecord};

/// The newest format this build reads and the one it writes.
pub const FORMAT_VERSION: u32 = 5;

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
    /// The deep tier, where there is one.
    pub deep: Option<DeepRecord>,
    /// Models known to the classifier, in the order of its ability vectors.
    pub models: Vec<String>,
    /// The pair used when a request names none.
    pub(crate) default_pair: PairRecord,
    /// Named thresholds, each with the data behind it; by name, then by pair (`strong/weak`).
    pub operating_points: BTreeMap<String, BTreeMap<String, OperatingPoint>>,
    /// Slices that go strong at every threshold that has no certificate for them.
    pub high_stakes: Vec<String>,
    /// What each calibrator was fitted on and what it belongs to, by pair (`strong/weak`).
    pub calibrations: BTreeMap<String, CalibrationRecord>,
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

/// The deep tier and how often it is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeepRecord {
    /// What it scores with.
    pub(crate) network: NetworkRecord,
    /// Models known to it, in the order of its ability vectors.
    pub models: Vec<String>,
    /// Where the encoder came from: sha256 of the checkpoint's weights.
    pub encoder_source: String,
    /// The share of queries whose deep probability the band around the fast one holds.
    pub coverage: f64,
    /// The choices of coverage there were, by pair (`strong/weak`): the curve the one above was chosen on.
    pub choices: BTreeMap<String, Vec<TierChoice>>,
}

/// What a coverage of the band costs and gives at the default operating point, on calibrate rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierChoice {
    /// The coverage; 0: the fast tier alone, 1: every query is encoded.
    pub coverage: f64,
    /// Share of queries that are encoded.
    pub deep_share: f64,
    /// Mean quality at the strong-call rate of the default point.
    pub quality: f64,
    /// Average performance gap recovered; `None` without a gap.
    pub apgr: Option<f64>,
}

/// A threshold and how it was derived.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatingPoint {
    /// Used with `probability_of_low`; in [0, 1] or the next number above 1 (never), full precision.
    pub low: f64,
    /// Used otherwise; the same as `low` where nothing is randomised.
    pub high: f64,
    /// In [0, 1].
    pub probability_of_low: f64,
    /// What it was chosen for, such as `strong-call-rate 0.5`.
    pub objective: String,
    /// Fingerprint of the data it was chosen on.
    pub data: String,
    /// The split of them it was chosen on.
    pub split: String,
    /// Rows it was chosen on.
    pub rows: usize,
    /// When, RFC 3339, UTC.
    pub created: String,
    /// What was measured there: `strong_call_rate`, `cheap_and_wrong_rate`, `quality`,
    /// `quality_retained` (of strong's quality), `cost_fraction` (of strong-only cost).
    pub measured: BTreeMap<String, Interval>,
    /// What was proved.
    pub certificate: Option<CertificateRecord>,
    /// Without a certificate that was asked for: about as many more labelled rows are needed for one; 0 when
    /// there are enough and the risk is too high.
    pub labels_needed: Option<usize>,
    /// What was proved of each slice of high stakes; the others go strong.
    pub certified_slices: BTreeMap<String, CertificateRecord>,
    /// For an error budget: the accuracy curve it was read off, lowest probabilities first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accuracy_curve: Vec<AccuracyBucket>,
    /// Hash prefix of the classifier's weights and the pair's calibrator it was selected with.
    pub bound_to: String,
}

/// A bucket of rows of like probability, and the quality of all rows when everything up to it stays on weak.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccuracyBucket {
    /// Lowest and highest probability of the bucket.
    pub probability: (f64, f64),
    /// Its rows.
    pub rows: usize,
    /// Mean score of weak in it, with its Wilson interval.
    pub weak: Interval,
    /// Mean score of strong in it.
    pub strong: f64,
    /// Mean score over all rows when those up to this bucket stay on weak and the rest goes strong, with its
    /// bootstrap interval.
    pub routed: Interval,
}

/// A finite-sample guarantee: with confidence 1 - delta the risk is at most alpha.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateRecord {
    /// `cheap-and-wrong`, `wrong-given-cheap` or `graded-loss`.
    pub risk: String,
    /// The bound.
    pub alpha: f64,
    /// The chance that it does not hold.
    pub delta: f64,
    /// Rows the test counts.
    pub tested: usize,
    /// Sum of their losses.
    pub loss: f64,
    /// Of "the risk is above alpha".
    pub p_value: f64,
    /// Upper confidence bound of the risk, at most alpha.
    pub upper_bound: f64,
}

/// What a calibrator was fitted on and what it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationRecord {
    /// Fingerprint of the data.
    pub data: String,
    /// Which part of them.
    pub split: String,
    /// When, RFC 3339, UTC.
    pub created: String,
    /// What answered under the models' names, where it was told.
    pub backends: BTreeMap<String, BackendRecord>,
}

/// What answers under a model's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendRecord {
    /// Engine or vendor.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Precision of the weights.
    pub precision: String,
}

impl From<&BackendIdentity> for BackendRecord {
    fn from(identity: &BackendIdentity) -> Self {
        let BackendIdentity { name, version, precision } = identity.clone();
        Self { name, version, precision }
    }
}

impl BackendRecord {
    /// The identity.
    pub fn identity(&self) -> BackendIdentity {
        let Self { name, version, precision } = self.clone();
        BackendIdentity { name, version, precision }
    }
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
