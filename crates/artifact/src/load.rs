//! Reading an artifact: hashes first, then contents, then the probes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use calibration::numeric::sigmoid;
use calibration::{Band, Calibrated, SliceOffsets};
use classifier::{Backend, Classifier, GeneralAxis, Scratch};
use encoder::{EncoderFiles, EncoderOptions};
use serde::de::DeserializeOwned;
use types::{ModelName, ModelPair, Query};

use crate::deep::{EncoderPlace, read_encoder};
use crate::manifest::{DeepRecord, FORMAT_VERSION, Manifest};
use crate::probe::probe_queries;
use crate::record::{CalibratorRecord, PairCalibratorRecord, ProbeRecord};
use crate::store::{
    CALIBRATOR, DEEP_WEIGHTS, DeepDraft, Draft, ENCODER, GENERAL, MANIFEST, PROBES, PairCalibrator, WEIGHTS,
    binding, network_hash, self_hash, sha256,
};
use crate::{ArtifactError, DeepPair, DeepTier};

/// Stored probabilities are met within this.
const PROBE_TOLERANCE: f64 = 1e-6;

/// Those of the deep tier within this: an 8-bit activation that falls on the other side of a rounding on another
/// processor moves a probability by thousandths.
const DEEP_PROBE_TOLERANCE: f64 = 0.03;

/// A whole, verified artifact.
#[derive(Debug)]
pub struct Artifact {
    manifest: Manifest,
    classifier: Classifier,
    general: Option<GeneralAxis>,
    calibrators: Vec<PairCalibrator>,
    deep: Option<DeepTier>,
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
        Self::load_on(folder, backend, Some(backend.into()))
    }

    /// The same with the encoder in a place of its own; `None`: without a deep tier, whose files are verified but
    /// not read.
    ///
    /// # Errors
    /// See [`ArtifactError`]; the file is always named.
    pub fn load_on(
        folder: &Path,
        backend: Backend,
        encoder: Option<EncoderPlace>,
    ) -> Result<Self, ArtifactError> {
        let manifest = read_manifest(folder)?;
        verify_files(folder, &manifest.files)?;
        let (classifier, network) = read_classifier(folder, &manifest, backend)?;
        let (calibrators, record) = read_calibrators(folder, &manifest)?;
        let bind =
            |c: &PairCalibrator| binding(&network, &classifier, &c.pair, &record, &folder.join(CALIBRATOR));
        let bindings = calibrators.iter().map(bind).collect::<Result<_, _>>()?;
        let deep = match (&manifest.deep, encoder) {
            (Some(deep), Some(place)) => {
                Some(read_deep(folder, (&manifest, deep), &record, (backend, place))?)
            }
            _ => None,
        };
        let default_pair = manifest.default_pair.pair().map_err(|e| invalid(folder, "default_pair", &e))?;
        if !calibrators.iter().any(|c| c.pair == default_pair) {
            return Err(invalid(folder, "default_pair", &format!("{default_pair} has no calibrator")));
        }
        let general = read_general(folder, &manifest)?;
        let artifact = Self { manifest, classifier, general, calibrators, deep, bindings, default_pair };
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

    /// The general axis, where one was learned.
    pub fn general(&self) -> Option<&GeneralAxis> {
        self.general.as_ref()
    }

    /// The deep tier, where there is one and it was loaded.
    pub fn deep(&self) -> Option<&DeepTier> {
        self.deep.as_ref()
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

    /// Everything that is loaded as a draft, to be written again with changes. What was loaded without its deep
    /// tier is a draft without one.
    pub fn draft(&self) -> Draft<'_> {
        let manifest = &self.manifest;
        Draft {
            name: manifest.name.clone(),
            created: manifest.created.clone(),
            simulated: manifest.simulated,
            classifier: &self.classifier,
            general: self.general.as_ref(),
            deep: self.deep.as_ref().zip(manifest.deep.as_ref()).map(|(tier, record)| DeepDraft {
                tier,
                pairs: tier.pairs().to_vec(),
                encoder_source: record.encoder_source.clone(),
                coverage: record.coverage,
                choices: record.choices.clone(),
            }),
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

    /// The chance of an acceptable answer of a model as the classifier reads it off the query, in [0, 1]. Not calibrated: a
    /// signal for a verifier. `None` for an unknown model.
    pub fn predicted_success(&self, query: &Query, model: &ModelName, scratch: &mut Scratch) -> Option<f64> {
        self.classifier.read(query, scratch);
        self.classifier.success_score(scratch, model).map(|score| sigmoid(score.logit()))
    }

    /// The cosine of the encoder's vectors of a query and an answer; `None` without a deep tier, or where one of them
    /// has no vector.
    pub fn similarity(&self, query: &Query, answer: &str) -> Option<f64> {
        let deep = self.deep.as_ref()?;
        let (a, b) = (deep.vector(query).ok()?, deep.vector(&Query::text(answer)).ok()?);
        let dot =
            |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
        let length = (dot(&a, &a) * dot(&b, &b)).sqrt();
        (length > 0.0).then(|| (dot(&a, &b) / length).clamp(-1.0, 1.0))
    }

    fn replay_probes(&self, folder: &Path) -> Result<(), ArtifactError> {
        let file = folder.join(PROBES);
        let stored: ProbeRecord = parse(&file, &read(&file)?)?;
        let deep = self.deep.as_ref().map(|deep| (deep, deep.pairs()));
        let found = probe(&self.classifier, &self.calibrators, deep);
        let mut tiers = vec![(stored.win_probabilities, found.win_probabilities, PROBE_TOLERANCE)];
        if self.deep.is_some() || self.manifest.deep.is_none() {
            tiers.push((stored.deep, found.deep, DEEP_PROBE_TOLERANCE));
        }
        for (stored, found, tolerance) in tiers {
            let whole = stored.len() == found.len()
                && stored.iter().zip(&found).all(|(stored, found)| stored.len() == found.len());
            if !whole {
                let reason = format!("expected {} pairs of {} probes", found.len(), probe_queries().len());
                return Err(ArtifactError::Invalid { file, field: "win_probabilities", reason });
            }
            for (stored, found) in stored.iter().zip(&found) {
                for (index, (stored, found)) in stored.iter().copied().zip(found.iter().copied()).enumerate()
                {
                    // NaN is not close to anything.
                    let close = (found - stored).abs() <= tolerance;
                    if !close {
                        return Err(ArtifactError::ProbeMismatch { file, index, stored, found });
                    }
                }
            }
        }
        Ok(())
    }
}

/// What every calibrated pair says to every probe, tier by tier; NaN where it says nothing.
pub(crate) fn probe(
    classifier: &Classifier,
    calibrators: &[PairCalibrator],
    deep: Option<(&DeepTier, &[DeepPair])>,
) -> ProbeRecord {
    let mut scratch = classifier.scratch();
    let mut deep_scratch = deep.map(|(tier, _)| tier.classifier().scratch());
    let mut record = ProbeRecord {
        win_probabilities: vec![Vec::new(); calibrators.len()],
        deep: vec![Vec::new(); deep.map_or(0, |(_, pairs)| pairs.len())],
    };
    for query in probe_queries() {
        classifier.read(&query, &mut scratch);
        let of = |found: Option<Calibrated>| found.map_or(f64::NAN, |found| found.win_probability.get());
        for (calibrator, column) in calibrators.iter().zip(&mut record.win_probabilities) {
            column.push(of(calibrated(classifier, &scratch, calibrator, NO_SLICES)));
        }
        let (Some((deep, pairs)), Some(deep_scratch)) = (deep, &mut deep_scratch) else { continue };
        if let Ok(vector) = deep.vector(&query) {
            deep.read(&query, &vector, deep_scratch);
        }
        for (pair, column) in pairs.iter().zip(&mut record.deep) {
            let fast = classifier.win_score(&scratch, &pair.calibrator.pair);
            column.push(of(fast.and_then(|fast| deep.calibrated(pair, fast, deep_scratch, NO_SLICES))));
        }
    }
    record
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

pub(crate) fn read(file: &Path) -> Result<Vec<u8>, ArtifactError> {
    fs::read(file).map_err(|source| ArtifactError::Io { file: file.to_owned(), source })
}

pub(crate) fn parse<T: DeserializeOwned>(file: &Path, bytes: &[u8]) -> Result<T, ArtifactError> {
    serde_json::from_slice(bytes).map_err(|e| ArtifactError::Malformed {
        file: file.to_owned(),
        line: e.line(),
        reason: e.to_string(),
    })
}

pub(crate) fn invalid(folder: &Path, field: &'static str, reason: &impl ToString) -> ArtifactError {
    ArtifactError::Invalid { file: folder.join(MANIFEST), field, reason: reason.to_string() }
}

/// Every file is what the manifest says.
pub(crate) fn verify_files(folder: &Path, files: &BTreeMap<String, String>) -> Result<(), ArtifactError> {
    for (name, expected) in files {
        let file = inside(folder, name)?;
        let found = sha256(&read(&file)?);
        if found != *expected {
            return Err(ArtifactError::WrongHash { file, expected: expected.clone(), found });
        }
    }
    Ok(())
}

/// A file named by the manifest lies in the folder itself.
pub(crate) fn inside(folder: &Path, name: &str) -> Result<PathBuf, ArtifactError> {
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

/// The fast tier's calibrators, and everything the file holds.
fn read_calibrators(
    folder: &Path,
    manifest: &Manifest,
) -> Result<(Vec<PairCalibrator>, CalibratorRecord), ArtifactError> {
    let file = folder.join(CALIBRATOR);
    let record: CalibratorRecord = parse(&file, &read(&file)?)?;
    if record.calibrators.is_empty() {
        return Err(ArtifactError::NoCalibrator(file));
    }
    let calibrators = record.calibrators.iter().map(|stored| pair_calibrator(folder, manifest, stored));
    Ok((calibrators.collect::<Result<_, _>>()?, record))
}

fn pair_calibrator(
    folder: &Path,
    manifest: &Manifest,
    stored: &PairCalibratorRecord,
) -> Result<PairCalibrator, ArtifactError> {
    let file = folder.join(CALIBRATOR);
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
    let origin = manifest.calibrations.get(&pair.to_string()).cloned();
    let origin = origin.ok_or_else(|| invalid(folder, "calibrations", &format!("{pair} is not listed")))?;
    Ok(PairCalibrator {
        pair,
        calibrator,
        slices: SliceOffsets::new(stored.slices.clone()),
        log_losses: stored.log_losses.clone(),
        rows: stored.rows,
        positives: stored.positives,
        cross_fit_folds: stored.cross_fit_folds,
        origin,
    })
}

/// The general axis, where the manifest lists one.
fn read_general(folder: &Path, manifest: &Manifest) -> Result<Option<GeneralAxis>, ArtifactError> {
    if !manifest.files.contains_key(GENERAL) {
        return Ok(None);
    }
    let file = folder.join(GENERAL);
    let axis = GeneralAxis::from_bytes(&read(&file)?);
    Ok(Some(axis.map_err(|source| ArtifactError::Weights { file, source })?))
}

/// The deep tier that a manifest describes.
fn read_deep(
    folder: &Path,
    (manifest, deep): (&Manifest, &DeepRecord),
    record: &CalibratorRecord,
    (backend, place): (Backend, EncoderPlace),
) -> Result<DeepTier, ArtifactError> {
    let refused = |reason: String| ArtifactError::Encoder { folder: folder.to_owned(), reason };
    let [config, tokenizer, weights] = ENCODER.map(|name| read(&folder.join(name)));
    let files = EncoderFiles { config: config?, tokenizer: tokenizer?, weights: weights? };
    let encoder = read_encoder(&files, &EncoderOptions::default(), place);
    let encoder = encoder.map_err(|e| refused(e.to_string()))?;
    let config = deep.network.config().map_err(|e| invalid(folder, "deep.network", &e))?;
    if config.embedding != encoder.width() {
        let reason = format!("expected the encoder's {}, found {}", encoder.width(), config.embedding);
        return Err(invalid(folder, "deep.network.embedding", &reason));
    }
    let device = backend.device().map_err(|e| invalid(folder, "backend", &e))?;
    let file = folder.join(DEEP_WEIGHTS);
    let bytes = read(&file)?;
    let models: Result<Vec<_>, _> = deep.models.iter().map(|m| ModelName::new(m)).collect();
    let models = models.map_err(|e| invalid(folder, "deep.models", &e))?;
    let classifier = Classifier::from_bytes(&bytes, &config, models, &device)
        .map_err(|source| ArtifactError::Weights { file, source })?;
    let mut pairs = Vec::with_capacity(record.deep.len());
    for stored in &record.deep {
        let [lower, upper] = stored.band;
        let band = Band::new(lower, upper);
        let whole = stored.stack.iter().all(|weight| weight.is_finite());
        let (Some(band), true) = (band, whole) else {
            let file = folder.join(CALIBRATOR);
            let reason = "expected finite weights and a band with its lower end first".to_owned();
            return Err(ArtifactError::Invalid { file, field: "deep", reason });
        };
        let calibrator = pair_calibrator(folder, manifest, &stored.calibrator)?;
        pairs.push(DeepPair { stack: stored.stack, band, calibrator });
    }
    Ok(DeepTier::new(encoder, files, classifier, pairs))
}

/// The classifier and the hash of its network.
fn read_classifier(
    folder: &Path,
    manifest: &Manifest,
    backend: Backend,
) -> Result<(Classifier, String), ArtifactError> {
    let config = manifest.network.config().map_err(|e| invalid(folder, "network", &e))?;
    if config.embedding != 0 {
        let reason = format!("expected 0, for the fast tier reads no vector, found {}", config.embedding);
        return Err(invalid(folder, "network.embedding", &reason));
    }
    let models: Result<Vec<_>, _> = manifest.models.iter().map(|m| ModelName::new(m)).collect();
    let models = models.map_err(|e| invalid(folder, "models", &e))?;
    let device = backend.device().map_err(|e| invalid(folder, "backend", &e))?;
    let file = folder.join(WEIGHTS);
    let bytes = read(&file)?;
    let mut deep = Vec::new();
    if manifest.deep.is_some() {
        for name in std::iter::once(DEEP_WEIGHTS).chain(ENCODER) {
            deep.push(read(&folder.join(name))?);
        }
    }
    let network = network_hash(&bytes, deep.iter(), &file)?;
    match Classifier::from_bytes(&bytes, &config, models, &device) {
        Ok(classifier) => Ok((classifier, network)),
        Err(source) => Err(ArtifactError::Weights { file, source }),
    }
}
