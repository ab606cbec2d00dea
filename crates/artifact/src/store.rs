//! Writing an artifact: everything into a temporary folder beside the target, synced, then renamed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use calibration::{Adjustment, Calibrator, SliceOffsets};
use classifier::{Classifier, GeneralAxis, for_each_network_tensor};
use serde::Serialize;
use sha2::{Digest, Sha256};
use types::ModelPair;

use crate::load::probe;
use crate::manifest::{
    CalibrationRecord, DataSummary, DeepRecord, FORMAT_VERSION, Manifest, Metrics, OperatingPoint, TierChoice,
};
use crate::record::{
    CalibratorRecord, DeepPairRecord, NetworkRecord, PairCalibratorRecord, PairRecord, ProbeRecord,
};
use crate::{ArtifactError, DeepPair, DeepTier};

pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const WEIGHTS: &str = "weights.safetensors";
pub(crate) const CALIBRATOR: &str = "calibrator.json";
pub(crate) const PROBES: &str = "probes.json";
/// The general axis; there only where one was learned.
pub(crate) const GENERAL: &str = "general.safetensors";
pub(crate) const DEEP_WEIGHTS: &str = "deep.safetensors";
/// Configuration, tokenizer and weights of the encoder.
pub(crate) const ENCODER: [&str; 3] = ["encoder.json", "tokenizer.json", "encoder.safetensors"];

/// The calibrator of one pair and the rows behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct PairCalibrator {
    /// The pair.
    pub pair: ModelPair,
    /// Score → probability and interval.
    pub calibrator: Calibrator,
    /// Corrections of slices on which the pooled calibrator is off.
    pub slices: SliceOffsets,
    /// Cross-validated log loss by method name, of the methods that were tried.
    pub log_losses: BTreeMap<String, f64>,
    /// Rows it was fitted on.
    pub rows: usize,
    /// Rows among them where strong was strictly better.
    pub positives: usize,
    /// Folds of the cross-fit whose held-out scores were used; 0: a held-out split.
    pub cross_fit_folds: usize,
    /// The data behind it and the backends it belongs to.
    pub origin: CalibrationRecord,
}

/// Everything that goes into an artifact before it has a version.
#[derive(Debug)]
pub struct Draft<'a> {
    /// Name of the artifact.
    pub name: String,
    /// RFC 3339, UTC.
    pub created: String,
    /// Whether the outcomes are simulated.
    pub simulated: bool,
    /// The classifier.
    pub classifier: &'a Classifier,
    /// The general axis, where one was learned; no decision depends on it.
    pub general: Option<&'a GeneralAxis>,
    /// The deep tier, where there is one.
    pub deep: Option<DeepDraft<'a>>,
    /// Its calibrators; at least one.
    pub calibrators: Vec<PairCalibrator>,
    /// The pair used when a request names none; one of the calibrated ones.
    pub default_pair: ModelPair,
    /// Thresholds by name and pair; an empty `bound_to` is filled in here.
    pub operating_points: BTreeMap<String, BTreeMap<String, OperatingPoint>>,
    /// Slices that go strong at every threshold that has no certificate for them.
    pub high_stakes: Vec<String>,
    /// Hyper-parameters of the fit.
    pub training: serde_json::Value,
    /// The evidence.
    pub data: DataSummary,
    /// What was measured.
    pub metrics: Metrics,
}

/// The deep tier and what the manifest says of it.
#[derive(Debug)]
pub struct DeepDraft<'a> {
    /// The encoder and the classifier.
    pub tier: &'a DeepTier,
    /// How each pair is read: as the tier does, or anew.
    pub pairs: Vec<DeepPair>,
    /// sha256 of the checkpoint the encoder came from.
    pub encoder_source: String,
    /// See [`DeepRecord::coverage`].
    pub coverage: f64,
    /// See [`DeepRecord::choices`].
    pub choices: BTreeMap<String, Vec<TierChoice>>,
}

/// What is written of an adjustment: nothing where there is none.
fn adjustment(of: Adjustment) -> Option<[f64; 2]> {
    (of != Adjustment::NONE).then(|| [of.slope(), of.intercept()])
}

impl Draft<'_> {
    /// Writes the artifact to `folder`, replacing what was there only when everything is on disk.
    ///
    /// `extra` renders further files (the model card and its figures) from the finished manifest,
    /// whose `files` and `sha256` are still empty.
    ///
    /// # Errors
    /// When there is no calibrator, or a file cannot be written; the old artifact is then untouched.
    pub fn write(
        mut self,
        folder: &Path,
        extra: impl FnOnce(&Manifest) -> Vec<(String, Vec<u8>)>,
    ) -> Result<Manifest, ArtifactError> {
        if self.calibrators.is_empty() {
            return Err(ArtifactError::NoCalibrator(folder.join(CALIBRATOR)));
        }
        let weights = self
            .classifier
            .to_bytes()
            .map_err(|source| ArtifactError::Weights { file: folder.join(WEIGHTS), source })?;
        let record = self.calibrator_record();
        let calibrator = json(&record, &folder.join(CALIBRATOR))?;
        let deep = self.deep_files(folder)?;
        let network = network_hash(&weights, deep.iter().map(|(_, bytes)| bytes), &folder.join(WEIGHTS))?;
        self.bind(&network, &record, &folder.join(CALIBRATOR))?;
        let probes = json(&self.probe_record(), &folder.join(PROBES))?;
        let mut versioned = vec![weights.as_slice(), &calibrator];
        versioned.extend(deep.iter().map(|(_, bytes)| bytes.as_slice()));
        let mut manifest = self.manifest(&versioned.concat(), &calibrator);
        let mut files = vec![
            (WEIGHTS.to_owned(), weights),
            (CALIBRATOR.to_owned(), calibrator),
            (PROBES.to_owned(), probes),
        ];
        files.extend(deep);
        if let Some(axis) = self.general {
            let file = folder.join(GENERAL);
            let bytes = axis.to_bytes().map_err(|source| ArtifactError::Weights { file, source })?;
            files.push((GENERAL.to_owned(), bytes));
        }
        files.extend(extra(&manifest));
        manifest.files = files.iter().map(|(name, bytes)| (name.clone(), sha256(bytes))).collect();
        manifest.sha256 = self_hash(&manifest, &folder.join(MANIFEST))?;
        files.push((MANIFEST.to_owned(), json(&manifest, &folder.join(MANIFEST))?));
        replace(folder, &files)?;
        Ok(manifest)
    }

    /// Binds thresholds that are new to the classifier and calibrator they were selected with; others keep
    /// the binding they have, so that a change behind their back is seen.
    fn bind(&mut self, network: &str, record: &CalibratorRecord, file: &Path) -> Result<(), ArtifactError> {
        for PairCalibrator { pair, .. } in &self.calibrators {
            let binding = binding(network, self.classifier, pair, record, file)?;
            let pair = pair.to_string();
            for by_pair in self.operating_points.values_mut() {
                if let Some(point) = by_pair.get_mut(&pair).filter(|point| point.bound_to.is_empty()) {
                    point.bound_to.clone_from(&binding);
                }
            }
        }
        Ok(())
    }

    fn calibrator_record(&self) -> CalibratorRecord {
        let record = |c: &PairCalibrator| PairCalibratorRecord {
            pair: (&c.pair).into(),
            map: c.calibrator.map().into(),
            venn_abers: c.calibrator.venn_abers().into(),
            adjustment: adjustment(c.calibrator.adjustment()),
            slices: c.slices.iter().map(|(slice, offset)| (slice.to_owned(), offset)).collect(),
            log_losses: c.log_losses.clone(),
            rows: c.rows,
            positives: c.positives,
            cross_fit_folds: c.cross_fit_folds,
        };
        let deep = |pair: &DeepPair| {
            let (lower, upper) = pair.band.offsets();
            DeepPairRecord { stack: pair.stack, band: [lower, upper], calibrator: record(&pair.calibrator) }
        };
        CalibratorRecord {
            calibrators: self.calibrators.iter().map(record).collect(),
            deep: self.deep.iter().flat_map(|d| &d.pairs).map(deep).collect(),
        }
    }

    fn probe_record(&self) -> ProbeRecord {
        probe(self.classifier, &self.calibrators, self.deep.as_ref().map(|d| (d.tier, d.pairs.as_slice())))
    }

    /// The files of the deep tier, by name; none where there is none.
    fn deep_files(&self, folder: &Path) -> Result<Vec<(String, Vec<u8>)>, ArtifactError> {
        let Some(DeepDraft { tier, .. }) = &self.deep else { return Ok(Vec::new()) };
        let weights = tier.classifier().to_bytes();
        let weights =
            weights.map_err(|source| ArtifactError::Weights { file: folder.join(DEEP_WEIGHTS), source })?;
        let encoder = tier.files();
        let contents = [&encoder.config, &encoder.tokenizer, &encoder.weights];
        let encoder = ENCODER.iter().zip(contents).map(|(name, bytes)| ((*name).to_owned(), bytes.clone()));
        Ok(std::iter::once((DEEP_WEIGHTS.to_owned(), weights)).chain(encoder).collect())
    }

    /// `versioned`: everything a decision depends on.
    fn manifest(&mut self, versioned: &[u8], calibrator: &[u8]) -> Manifest {
        let version = short(&sha256(versioned));
        Manifest {
            format_version: FORMAT_VERSION,
            name: std::mem::take(&mut self.name),
            version,
            calibrator_version: short(&sha256(calibrator)),
            created: std::mem::take(&mut self.created),
            simulated: self.simulated,
            network: NetworkRecord::from(self.classifier.config()),
            deep: self.deep.as_ref().map(|deep| DeepRecord {
                network: NetworkRecord::from(deep.tier.classifier().config()),
                models: names(deep.tier.classifier()),
                encoder_source: deep.encoder_source.clone(),
                coverage: deep.coverage,
                choices: deep.choices.clone(),
            }),
            models: names(self.classifier),
            default_pair: (&self.default_pair).into(),
            operating_points: std::mem::take(&mut self.operating_points),
            high_stakes: std::mem::take(&mut self.high_stakes),
            calibrations: self.calibrators.iter().map(|c| (c.pair.to_string(), c.origin.clone())).collect(),
            training: self.training.take(),
            data: self.data.clone(),
            metrics: self.metrics.clone(),
            files: BTreeMap::new(),
            sha256: String::new(),
        }
    }
}

fn names(classifier: &Classifier) -> Vec<String> {
    classifier.models().iter().map(|m| m.as_str().to_owned()).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) fn short(hash: &str) -> String {
    hash.chars().take(12).collect()
}

/// The hash of everything that turns a query into its latent vector: the network, and all of the deep tier.
pub(crate) fn network_hash<'a>(
    weights: &[u8],
    deep: impl Iterator<Item = &'a Vec<u8>>,
    file: &Path,
) -> Result<String, ArtifactError> {
    let mut hasher = Sha256::new();
    for_each_network_tensor(weights, |name, bytes| {
        hasher.update(name);
        hasher.update(bytes);
    })
    .map_err(|source| ArtifactError::Weights { file: file.to_owned(), source })?;
    deep.for_each(|bytes| hasher.update(bytes));
    Ok(hex(&hasher.finalize()))
}

/// What a threshold is bound to: the network, the abilities of its pair and the calibrators of its pair. A
/// further model leaves the bindings of the others alone.
pub(crate) fn binding(
    network: &str,
    classifier: &Classifier,
    pair: &ModelPair,
    record: &CalibratorRecord,
    file: &Path,
) -> Result<String, ArtifactError> {
    let mut hasher = Sha256::new();
    hasher.update(network);
    for ability in [pair.strong(), pair.weak()].into_iter().filter_map(|model| classifier.ability(model)) {
        for value in ability.preference.iter().chain([&ability.preference_bias]) {
            hasher.update(value.to_le_bytes());
        }
    }
    hasher.update(classifier.tie().to_le_bytes());
    let of_pair = PairRecord::from(pair);
    for calibrator in record.calibrators.iter().filter(|c| c.pair == of_pair) {
        hasher.update(json(calibrator, file)?);
    }
    for deep in record.deep.iter().filter(|d| d.calibrator.pair == of_pair) {
        hasher.update(json(deep, file)?);
    }
    Ok(short(&hex(&hasher.finalize())))
}

/// The hash of a manifest written with its own hash left empty.
pub(crate) fn self_hash(manifest: &Manifest, file: &Path) -> Result<String, ArtifactError> {
    let bare = Manifest { sha256: String::new(), ..manifest.clone() };
    Ok(sha256(&json(&bare, file)?))
}

pub(crate) fn json(value: &impl Serialize, file: &Path) -> Result<Vec<u8>, ArtifactError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| ArtifactError::Malformed {
        file: file.to_owned(),
        line: e.line(),
        reason: e.to_string(),
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Puts `files` in place of `folder` by two renames; a crash in between leaves `NAME.old` whole.
pub(crate) fn replace(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<(), ArtifactError> {
    let at = |file: &Path| {
        let file = file.to_owned();
        move |source| ArtifactError::Io { file, source }
    };
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(at(parent))?;
    let staging = tempfile::Builder::new().prefix(".artifact-").tempdir_in(parent).map_err(at(parent))?;
    for (name, bytes) in files {
        let path = staging.path().join(name);
        let mut file = File::create(&path).map_err(at(&path))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(at(&path))?;
    }
    sync_folder(staging.path()).map_err(at(staging.path()))?;
    let old = folder.with_extension("old");
    if old.exists() {
        fs::remove_dir_all(&old).map_err(at(&old))?;
    }
    if folder.exists() {
        fs::rename(folder, &old).map_err(at(folder))?;
    }
    let staged = staging.keep();
    fs::rename(&staged, folder).map_err(at(folder))?;
    set_readable(folder).map_err(at(folder))?;
    sync_folder(parent).map_err(at(parent))?;
    if old.exists() {
        fs::remove_dir_all(&old).map_err(at(&old))?;
    }
    Ok(())
}

fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Temporary folders are private; an artifact is for every account that serves it.
#[cfg(unix)]
fn set_readable(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn set_readable(_: &Path) -> std::io::Result<()> {
    Ok(())
}
