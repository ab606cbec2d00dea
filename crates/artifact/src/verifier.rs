//! The artifact of an answer verifier, with the cascades tuned on it: what its folder holds, how it is written. Its
//! discipline is that of a router's artifact: whole or absent, every byte hashed, probes replayed, thresholds bound.

mod load;

use std::collections::BTreeMap;
use std::path::Path;

use calibration::Calibrator;
use classifier::Verifier;
use features::FeatureConfig;
use serde::{Deserialize, Serialize};
use types::ModelName;

use crate::ArtifactError;
use crate::manifest::{CertificateRecord, Interval};
use crate::record::{MapRecord, StepsRecord};
use crate::store::{CALIBRATOR, MANIFEST, PROBES, json, replace, sha256, short};
use load::probe;
pub use load::{Judged, VerifierArtifact};

/// The newest format of a verifier's folder that this build reads and the one it writes.
pub const VERIFIER_FORMAT_VERSION: u32 = 1;

pub(crate) const WEIGHTS: &str = "verifier.safetensors";

/// The manifest of a verifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifierManifest {
    /// See [`VERIFIER_FORMAT_VERSION`].
    pub verifier_format_version: u32,
    /// Name of the artifact, by convention that of its folder.
    pub name: String,
    /// First twelve hex digits of the hash over weights and calibrators.
    pub version: String,
    /// When it was trained, RFC 3339, UTC.
    pub created: String,
    /// How text is read.
    pub(crate) features: FeatureRecord,
    /// The models whose answers it was fitted on, in the order of its weights.
    pub models: Vec<String>,
    /// Slices that name a task of its own usual length.
    pub tasks: Vec<String>,
    /// Signals beside the text that its training answers carried; of others it has learned nothing.
    pub signals: Vec<String>,
    /// The version of the router's artifact whose reading of query and answer were signals, where it gave any.
    pub router: Option<String>,
    /// Hyper-parameters of the fit, as the trainer writes them.
    pub training: serde_json::Value,
    /// The evidence.
    pub data: VerifierData,
    /// What was measured on answers that took no part in the fit.
    pub metrics: VerifierMetrics,
    /// Tuned cascades by name.
    pub cascades: BTreeMap<String, CascadeRecord>,
    /// sha256 of every other file of the folder, hex, by name.
    pub files: BTreeMap<String, String>,
    /// sha256 of this manifest written with this field empty.
    pub sha256: String,
}

/// Where the evidence came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifierData {
    /// sha256 over queries, answers and outcomes.
    pub fingerprint: String,
    /// What was read, in words the user would recognise; no machine paths.
    pub sources: Vec<String>,
    /// Queries.
    pub queries: usize,
    /// Answers.
    pub answers: usize,
    /// Folds of the cross-fit, by group of near-duplicate queries.
    pub folds: usize,
}

/// Figures of held-out answers by scorer: `verifier`, `query_only`, `answer_length`, `base_rate`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifierMetrics {
    /// Answers measured on.
    pub answers: usize,
    /// Share of them that is acceptable.
    pub base_rate: f64,
    /// `auroc`, `brier`, `log_loss`, `ece` by scorer.
    pub scorers: BTreeMap<String, BTreeMap<String, Interval>>,
    /// AUROC of the verifier less that of another scorer, on the same resamples, by scorer.
    pub auroc_gain: BTreeMap<String, Interval>,
    /// The same figures of the answers of one model, by model.
    pub models: BTreeMap<String, ModelMetrics>,
}

/// Figures of the answers of one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelMetrics {
    /// Answers.
    pub answers: usize,
    /// Share of them that is acceptable.
    pub base_rate: f64,
    /// AUROC by scorer.
    pub auroc: BTreeMap<String, Interval>,
    /// Calibration error of the verifier, equal-mass bins.
    pub ece: Interval,
}

/// A tuned chain of models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CascadeRecord {
    /// Its stages, first to be called first.
    pub stages: Vec<StageRecord>,
    /// What it was tuned for, such as `error + 20 cost_usd + 0.3 abstained`.
    pub objective: String,
    /// Fingerprint of the data it was tuned on.
    pub data: String,
    /// Queries it was tuned on.
    pub rows: usize,
    /// When, RFC 3339, UTC.
    pub created: String,
    /// The command that tuned it.
    pub command: String,
    /// What was measured on queries held out from the tuning: `error`, `error_among_accepted`, `abstention_rate`,
    /// `cost_usd`, `strong_only_error`, `strong_only_cost_usd`.
    pub measured: BTreeMap<String, Interval>,
    /// What was proved of the error among accepted answers, on rows that took no part in the tuning.
    pub certificate: Option<CertificateRecord>,
    /// The version of the verifier it was tuned with.
    pub bound_to: String,
}

/// One stage of a chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRecord {
    /// The model.
    pub model: String,
    /// Below this success probability the cascade abstains.
    pub abstain_below: f64,
    /// From this success probability on an answer is accepted.
    pub accept_above: f64,
    /// Below this predicted success probability the stage is not called.
    pub skip_below: f64,
    /// Mean cost of a call, with that of judging its answer.
    pub cost_usd: f64,
    /// Mean time of a call, where it is known.
    pub latency_s: Option<f64>,
    /// Share of the queries that reach it.
    pub reach: f64,
    /// Share of the answers that reach it and are sent on.
    pub escalation_rate: f64,
}

/// Tokens of a head or a tail at most, as in a router's artifact.
const MOST_TOKENS: usize = 1 << 16;

/// How text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeatureRecord {
    head_tokens: usize,
    tail_tokens: usize,
}

impl From<&FeatureConfig> for FeatureRecord {
    fn from(config: &FeatureConfig) -> Self {
        Self { head_tokens: config.head_tokens, tail_tokens: config.tail_tokens }
    }
}

impl FeatureRecord {
    /// The configuration; `None` for one that no verifier can have.
    pub(crate) fn config(self) -> Option<FeatureConfig> {
        let Self { head_tokens, tail_tokens } = self;
        let can_be = (1..=MOST_TOKENS).contains(&head_tokens) && tail_tokens <= MOST_TOKENS;
        can_be.then(|| FeatureConfig { head_tokens, tail_tokens, ..FeatureConfig::default() })
    }
}

/// The calibrator of one model's answers, or of all, and the rows behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerCalibrator {
    /// Score → success probability and interval.
    pub calibrator: Calibrator,
    /// Cross-validated log loss by method name, of the methods that were tried.
    pub log_losses: BTreeMap<String, f64>,
    /// Answers it was fitted on, each scored by a verifier that did not see its query.
    pub rows: usize,
    /// Acceptable ones among them.
    pub positives: usize,
}

/// `calibrator.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerCalibratorsRecord {
    pub(crate) pooled: AnswerCalibratorRecord,
    pub(crate) models: BTreeMap<String, AnswerCalibratorRecord>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerCalibratorRecord {
    pub(crate) map: MapRecord,
    pub(crate) venn_abers: StepsRecord,
    pub(crate) log_losses: BTreeMap<String, f64>,
    pub(crate) rows: usize,
    pub(crate) positives: usize,
}

impl From<&AnswerCalibrator> for AnswerCalibratorRecord {
    fn from(of: &AnswerCalibrator) -> Self {
        Self {
            map: of.calibrator.map().into(),
            venn_abers: of.calibrator.venn_abers().into(),
            log_losses: of.log_losses.clone(),
            rows: of.rows,
            positives: of.positives,
        }
    }
}

/// Everything that goes into a verifier's folder before it has a version.
#[derive(Debug, Clone)]
pub struct VerifierDraft<'a> {
    /// Name of the artifact.
    pub name: String,
    /// RFC 3339, UTC.
    pub created: String,
    /// The verifier.
    pub verifier: &'a Verifier,
    /// Of the answers of any model.
    pub pooled: AnswerCalibrator,
    /// Of the answers of one model.
    pub by_model: BTreeMap<ModelName, AnswerCalibrator>,
    /// See [`VerifierManifest::signals`].
    pub signals: Vec<String>,
    /// See [`VerifierManifest::router`].
    pub router: Option<String>,
    /// Hyper-parameters of the fit.
    pub training: serde_json::Value,
    /// The evidence.
    pub data: VerifierData,
    /// What was measured.
    pub metrics: VerifierMetrics,
    /// Tuned cascades; an empty `bound_to` is filled in here.
    pub cascades: BTreeMap<String, CascadeRecord>,
}

impl VerifierDraft<'_> {
    /// Writes the folder, replacing what was there only when everything is on disk.
    ///
    /// `extra` renders further files (the model card and its figures) from the finished manifest,
    /// whose `files` and `sha256` are still empty.
    ///
    /// # Errors
    /// When a file cannot be written; the old folder is then untouched.
    pub fn write(
        self,
        folder: &Path,
        extra: impl FnOnce(&VerifierManifest) -> Vec<(String, Vec<u8>)>,
    ) -> Result<VerifierManifest, ArtifactError> {
        let refused = |source| ArtifactError::Weights { file: folder.join(WEIGHTS), source };
        let weights = self.verifier.to_bytes().map_err(refused)?;
        let models = self.by_model.iter().map(|(model, of)| (model.as_str().to_owned(), of.into()));
        let record = AnswerCalibratorsRecord { pooled: (&self.pooled).into(), models: models.collect() };
        let calibrator = json(&record, &folder.join(CALIBRATOR))?;
        let probes = json(&probe(self.verifier, &self.pooled), &folder.join(PROBES))?;
        let version = short(&sha256(&[weights.as_slice(), &calibrator].concat()));
        let mut manifest = self.manifest(version);
        let mut files = vec![
            (WEIGHTS.to_owned(), weights),
            (CALIBRATOR.to_owned(), calibrator),
            (PROBES.to_owned(), probes),
        ];
        files.extend(extra(&manifest));
        manifest.files = files.iter().map(|(name, bytes)| (name.clone(), sha256(bytes))).collect();
        manifest.sha256 = own_hash(&manifest, &folder.join(MANIFEST))?;
        files.push((MANIFEST.to_owned(), json(&manifest, &folder.join(MANIFEST))?));
        replace(folder, &files)?;
        Ok(manifest)
    }

    fn manifest(self, version: String) -> VerifierManifest {
        let mut cascades = self.cascades;
        for cascade in cascades.values_mut().filter(|cascade| cascade.bound_to.is_empty()) {
            cascade.bound_to.clone_from(&version);
        }
        VerifierManifest {
            verifier_format_version: VERIFIER_FORMAT_VERSION,
            name: self.name,
            version,
            created: self.created,
            features: (&self.verifier.features).into(),
            models: self.verifier.models.iter().map(|model| model.as_str().to_owned()).collect(),
            tasks: self.verifier.lengths.tasks.clone(),
            signals: self.signals,
            router: self.router,
            training: self.training,
            data: self.data,
            metrics: self.metrics,
            cascades,
            files: BTreeMap::new(),
            sha256: String::new(),
        }
    }
}

/// The hash of a manifest written with its own hash left empty.
pub(crate) fn own_hash(manifest: &VerifierManifest, file: &Path) -> Result<String, ArtifactError> {
    let bare = VerifierManifest { sha256: String::new(), ..manifest.clone() };
    Ok(sha256(&json(&bare, file)?))
}
