//! Reading an artifact: hashes first, then contents, then the probes.

use std::fs;
use std::path::{Path, PathBuf};

use calibration::{Calibrated, SliceOffsets};
use classifier::{Backend, Classifier, Scratch};
use serde::de::DeserializeOwned;
use types::{ModelName, ModelPair};

use crate::ArtifactError;
use crate::manifest::{FORMAT_VERSION, Manifest};
use crate::probe::probe_queries;
use crate::record::{CalibratorRecord, ProbeRecord};
use crate::store::{
    CALIBRATOR, Draft, MANIFEST, PROBES, PairCalibrator, WEIGHTS, binding, network_hash, self_hash, sha256,
};

/// Stored probabilities are met within this.
const PROBE_TOLERANCE: f64 = 1e-6;

/// A whole, verified artifact.
#[derive(Debug)]
pub struct Artifact {
    manifest: Manifest,
    classifier: Classifier,
    calibrators: Vec<PairCalibrator>,
    /// What thresholds of each pair must be bound to, in the order of `calibrators`.
    bindings: Vec<String>,
    default_pair: ModelPair,
}

impl Artifact {
    /// Loads and verifies a folder.
    ///
    /// # Errors
    /// See [`ArtifactError`]; the file is always named.
    pub fn load(folder: &Path, backend: Backend) -> Result<Self, ArtifactError> {
        let manifest = read_manifest(folder)?;
        for (name, expected) in &manifest.files {
            let file = inside(folder, name)?;
            let found = sha256(&read(&file)?);
            if found != *expected {
                return Err(ArtifactError::WrongHash { file, expected: expected.clone(), found });
            }
        }
        let (classifier, network) = read_classifier(folder, &manifest, backend)?;
        let (calibrators, bindings) = read_calibrators(folder, &manifest, &classifier, &network)?;
        let default_pair = manifest.default_pair.pair().map_err(|e| invalid(folder, "default_pair", &e))?;
        if !calibrators.iter().any(|c| c.pair == default_pair) {
            return Err(invalid(folder, "default_pair", &format!("{default_pair} has no calibrator")));
        }
        let artifact = Self { manifest, classifier, calibrators, bindings, default_pair };
        artifact.replay_probes(folder)?;
        Ok(artifact)
    }

    /// What the artifact is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Query → scores.
    pub fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// The calibrated pairs.
    pub fn calibrators(&self) -> &[PairCalibrator] {
        &self.calibrators
    }

    /// What a threshold of the pair must be bound to: the hash of the weights and of its calibrator.
    pub fn binding(&self, pair: &ModelPair) -> Option<&str> {
        let at = self.calibrators.iter().position(|c| c.pair == *pair)?;
        self.bindings.get(at).map(String::as_str)
    }

    /// Everything that is loaded as a draft, to be written again with changes.
    pub fn draft(&self) -> Draft<'_> {
        let manifest = &self.manifest;
        Draft {
            name: manifest.name.clone(),
            created: manifest.created.clone(),
            simulated: manifest.simulated,
            classifier: &self.classifier,
            calibrators: self.calibrators.clone(),
            default_pair: self.default_pair.clone(),
            operating_points: manifest.operating_points.clone(),
            high_stakes: manifest.high_stakes.clone(),
            training: manifest.training.clone(),
            data: manifest.data.clone(),
            metrics: manifest.metrics.clone(),
        }
    }

    /// The pair used when a request names none.
    pub fn default_pair(&self) -> &ModelPair {
        &self.default_pair
    }

    /// The calibrated win probability of a pair, with its interval, for the query read last into
    /// `scratch` and tagged with `slices`; `None` when the scratch holds no finite score, which a loaded
    /// artifact never gives.
    pub fn calibrated<'a>(
        &self,
        scratch: &Scratch,
        calibrator: &PairCalibrator,
        slices: impl IntoIterator<Item = &'a str>,
    ) -> Option<Calibrated> {
        calibrated(&self.classifier, scratch, calibrator, slices)
    }

    fn replay_probes(&self, folder: &Path) -> Result<(), ArtifactError> {
        let file = folder.join(PROBES);
        let stored: ProbeRecord = parse(&file, &read(&file)?)?;
        let queries = probe_queries();
        let whole = stored.win_probabilities.len() == self.calibrators.len()
            && stored.win_probabilities.iter().all(|p| p.len() == queries.len());
        if !whole {
            let reason = format!("expected {} pairs of {} probes", self.calibrators.len(), queries.len());
            return Err(ArtifactError::Invalid { file, field: "win_probabilities", reason });
        }
        let mut scratch = self.classifier.scratch();
        for (index, query) in queries.iter().enumerate() {
            self.classifier.read(query, &mut scratch);
            for (calibrator, stored) in self.calibrators.iter().zip(&stored.win_probabilities) {
                let found = self.calibrated(&scratch, calibrator, NO_SLICES);
                let found = found.map_or(f64::NAN, |found| found.win_probability.get());
                // NaN is not close to anything.
                let close = (found - stored[index]).abs() <= PROBE_TOLERANCE;
                if !close {
                    return Err(ArtifactError::ProbeMismatch { file, index, stored: stored[index], found });
                }
            }
        }
        Ok(())
    }
}

/// A query without tags.
pub(crate) const NO_SLICES: [&str; 0] = [];

pub(crate) fn calibrated<'a>(
    classifier: &Classifier,
    scratch: &Scratch,
    calibrator: &PairCalibrator,
    slices: impl IntoIterator<Item = &'a str>,
) -> Option<Calibrated> {
    let score = classifier.win_score(scratch, &calibrator.pair)?;
    Some(calibrator.calibrator.apply(score, calibrator.slices.of(slices)))
}

fn read(file: &Path) -> Result<Vec<u8>, ArtifactError> {
    fs::read(file).map_err(|source| ArtifactError::Io { file: file.to_owned(), source })
}

fn parse<T: DeserializeOwned>(file: &Path, bytes: &[u8]) -> Result<T, ArtifactError> {
    serde_json::from_slice(bytes).map_err(|e| ArtifactError::Malformed {
        file: file.to_owned(),
        line: e.line(),
        reason: e.to_string(),
    })
}

fn invalid(folder: &Path, field: &'static str, reason: &impl ToString) -> ArtifactError {
    ArtifactError::Invalid { file: folder.join(MANIFEST), field, reason: reason.to_string() }
}

/// A file named by the manifest lies in the folder itself.
fn inside(folder: &Path, name: &str) -> Result<PathBuf, ArtifactError> {
    let plain = Path::new(name).file_name().is_some_and(|f| f == name);
    if plain {
        Ok(folder.join(name))
    } else {
        Err(invalid(folder, "files", &format!("{name:?} is no file name")))
    }
}

fn read_manifest(folder: &Path) -> Result<Manifest, ArtifactError> {
    let file = folder.join(MANIFEST);
    if !file.exists() {
        return Err(ArtifactError::NotAnArtifact(folder.to_owned()));
    }
    let bytes = read(&file)?;
    let bare: serde_json::Value = parse(&file, &bytes)?;
    // Another format holds other fields: name the version before a field is unknown or missing.
    let version = bare["format_version"].as_u64().map(|v| u32::try_from(v).unwrap_or(u32::MAX));
    let known = FORMAT_VERSION;
    match version {
        Some(found) if found > known => return Err(ArtifactError::NewerFormat { file, found, known }),
        Some(found) if found < known => return Err(ArtifactError::OlderFormat { file, found, known }),
        _ => {}
    }
    let manifest: Manifest = parse(&file, &bytes)?;
    let found = self_hash(&manifest, &file)?;
    if found != manifest.sha256 {
        return Err(ArtifactError::WrongHash { file, expected: manifest.sha256, found });
    }
    for name in [WEIGHTS, CALIBRATOR, PROBES] {
        if !manifest.files.contains_key(name) {
            if name == CALIBRATOR {
                return Err(ArtifactError::NoCalibrator(folder.join(CALIBRATOR)));
            }
            return Err(invalid(folder, "files", &format!("{name} is not listed")));
        }
    }
    Ok(manifest)
}

/// The calibrators and what a threshold of each is bound to.
fn read_calibrators(
    folder: &Path,
    manifest: &Manifest,
    classifier: &Classifier,
    network: &str,
) -> Result<(Vec<PairCalibrator>, Vec<String>), ArtifactError> {
    let file = folder.join(CALIBRATOR);
    let record: CalibratorRecord = parse(&file, &read(&file)?)?;
    if record.calibrators.is_empty() {
        return Err(ArtifactError::NoCalibrator(file));
    }
    let mut calibrators = Vec::with_capacity(record.calibrators.len());
    let mut bindings = Vec::with_capacity(record.calibrators.len());
    for stored in record.calibrators {
        let bad = |reason: String| ArtifactError::Invalid { file: file.clone(), field: "pair", reason };
        let pair = stored.pair.pair().map_err(|e| bad(e.to_string()))?;
        for model in [pair.strong(), pair.weak()] {
            if !manifest.models.iter().any(|m| m == model.as_str()) {
                return Err(bad(format!("{model} is no model of this artifact")));
            }
        }
        let calibrator = stored.calibrator().map_err(|source| ArtifactError::Calibrator {
            file: file.clone(),
            pair: pair.to_string(),
            source,
        })?;
        bindings.push(binding(network, classifier, &pair, &stored, &file)?);
        let origin = manifest.calibrations.get(&pair.to_string()).cloned();
        let origin =
            origin.ok_or_else(|| invalid(folder, "calibrations", &format!("{pair} is not listed")))?;
        let (rows, positives, cross_fit_folds) = (stored.rows, stored.positives, stored.cross_fit_folds);
        let (slices, log_losses) = (SliceOffsets::new(stored.slices), stored.log_losses);
        calibrators.push(PairCalibrator {
            pair,
            calibrator,
            slices,
            log_losses,
            rows,
            positives,
            cross_fit_folds,
            origin,
        });
    }
    Ok((calibrators, bindings))
}

/// The classifier and the hash of its network.
fn read_classifier(
    folder: &Path,
    manifest: &Manifest,
    backend: Backend,
) -> Result<(Classifier, String), ArtifactError> {
    let config = manifest.network.config().map_err(|e| invalid(folder, "network", &e))?;
    let models: Result<Vec<_>, _> = manifest.models.iter().map(|m| ModelName::new(m)).collect();
    let models = models.map_err(|e| invalid(folder, "models", &e))?;
    let device = backend.device().map_err(|e| invalid(folder, "backend", &e))?;
    let file = folder.join(WEIGHTS);
    let bytes = read(&file)?;
    let network = network_hash(&bytes, &file)?;
    match Classifier::from_bytes(&bytes, &config, models, &device) {
        Ok(classifier) => Ok((classifier, network)),
        Err(source) => Err(ArtifactError::Weights { file, source }),
    }
}
