//! Reading a verifier: hashes first, then contents, then the probes.

use std::collections::BTreeMap;
use std::path::Path;

use calibration::{CalibrationError, Calibrator};
use classifier::{AnswerGiven, Verifier, VerifierScratch};
use features::answer::Signals;
use serde::{Deserialize, Serialize};
use types::{ModelName, ProbabilityInterval, Query, Score, SuccessProbability};

use super::{
    AnswerCalibrator, AnswerCalibratorRecord, AnswerCalibratorsRecord, VERIFIER_FORMAT_VERSION,
    VerifierDraft, VerifierManifest, WEIGHTS, own_hash,
};
use crate::ArtifactError;
use crate::load::{inside, invalid, parse, read, verify_files};
use crate::store::{CALIBRATOR, MANIFEST, PROBES};

/// Stored probabilities are met within this.
const PROBE_TOLERANCE: f64 = 1e-6;

/// A whole, verified verifier.
#[derive(Debug, Clone)]
pub struct VerifierArtifact {
    manifest: VerifierManifest,
    verifier: Verifier,
    pooled: AnswerCalibrator,
    by_model: BTreeMap<ModelName, AnswerCalibrator>,
}

/// What a verifier says of an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// The raw score that was calibrated.
    pub score: Score,
    /// Calibrated P(the answer is acceptable | query, answer).
    pub probability: SuccessProbability,
    /// How far that probability is known: the Venn-Abers interval around it, of success.
    pub interval: ProbabilityInterval,
    /// Whether it was calibrated on answers of this very model, rather than of all.
    pub of_its_model: bool,
}

impl VerifierArtifact {
    /// Loads and verifies a folder.
    ///
    /// # Errors
    /// See [`ArtifactError`]; the file is always named.
    pub fn load(folder: &Path) -> Result<Self, ArtifactError> {
        let manifest = read_manifest(folder)?;
        verify_files(folder, &manifest.files)?;
        let names = manifest.models.iter().map(|model| ModelName::new(model));
        let models = names.collect::<Result<Vec<_>, _>>().map_err(|e| invalid(folder, "models", &e))?;
        if !manifest.tasks.is_sorted_by(|a, b| a < b) {
            return Err(invalid(folder, "tasks", &"expected ascending slices, each once"));
        }
        let file = folder.join(WEIGHTS);
        let tasks = manifest.tasks.clone();
        let features = manifest.features.config();
        let features = features.ok_or_else(|| {
            invalid(
                folder,
                "features",
                &"expected head_tokens of 1 to 65536 and tail_tokens of at most 65536",
            )
        })?;
        let verifier = Verifier::from_bytes(&read(&file)?, features, models, tasks)
            .map_err(|source| ArtifactError::Weights { file, source })?;
        let (pooled, by_model) = read_calibrators(folder)?;
        check_cascades(folder, &manifest)?;
        let artifact = Self { manifest, verifier, pooled, by_model };
        artifact.replay_probes(folder)?;
        Ok(artifact)
    }

    /// What the artifact is.
    pub fn manifest(&self) -> &VerifierManifest {
        &self.manifest
    }

    /// Answer → score.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The calibrator of a model's answers: its own, or of all where it has none.
    pub fn calibrator(&self, model: &ModelName) -> (&AnswerCalibrator, bool) {
        self.by_model.get(model).map_or((&self.pooled, false), |own| (own, true))
    }

    /// Judges an answer; `None` where its score is no number.
    pub fn judge(&self, answer: &AnswerGiven<'_>, scratch: &mut VerifierScratch) -> Option<Judged> {
        let score = self.verifier.score(answer, scratch)?;
        let (calibrator, of_its_model) = self.calibrator(answer.model);
        Some(judged(score, &calibrator.calibrator, of_its_model))
    }

    /// Everything that is loaded as a draft, to be written again with changes.
    pub fn draft(&self) -> VerifierDraft<'_> {
        let manifest = &self.manifest;
        VerifierDraft {
            name: manifest.name.clone(),
            created: manifest.created.clone(),
            verifier: &self.verifier,
            pooled: self.pooled.clone(),
            by_model: self.by_model.clone(),
            signals: manifest.signals.clone(),
            router: manifest.router.clone(),
            training: manifest.training.clone(),
            data: manifest.data.clone(),
            metrics: manifest.metrics.clone(),
            cascades: manifest.cascades.clone(),
        }
    }

    fn replay_probes(&self, folder: &Path) -> Result<(), ArtifactError> {
        let file = folder.join(PROBES);
        let stored: AnswerProbes = parse(&file, &read(&file)?)?;
        let found = probe(&self.verifier, &self.pooled);
        if stored.probabilities.len() != found.probabilities.len() {
            let reason = format!("expected {} probes", found.probabilities.len());
            return Err(ArtifactError::Invalid { file, field: "probabilities", reason });
        }
        let pairs = stored.probabilities.iter().zip(&found.probabilities);
        for (index, (stored, found)) in pairs.map(|(s, f)| (*s, *f)).enumerate() {
            // NaN is not close to anything.
            let close = (found - stored).abs() <= PROBE_TOLERANCE;
            if !close {
                return Err(ArtifactError::ProbeMismatch { file, index, stored, found });
            }
        }
        Ok(())
    }
}

/// Calibrates a score.
fn judged(score: Score, calibrator: &Calibrator, of_its_model: bool) -> Judged {
    let found = calibrator.apply(score, 0.0);
    let probability = SuccessProbability::saturating(found.win_probability.get());
    Judged { score, probability, interval: found.interval, of_its_model }
}

/// `probes.json`: what fixed answers to fixed queries got.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerProbes {
    probabilities: Vec<f64>,
}

/// Fixed queries and answers of every kind. Changing one is a new format version.
const PROBE_ANSWERS: [(&str, &str); 8] = [
    ("", ""),
    ("What are your opening hours on Sunday?", "We are open from 9 am to 5 pm on Sundays."),
    ("What is 17 * 23?", "17 * 23 = 17 * 20 + 17 * 3 = 340 + 51 = 391. The answer is 391."),
    (
        "Which is a prime? (A) 21 (B) 23 (C) 25",
        "Let's check each. 21 = 3 * 7, 25 = 5 * 5. The answer is (B).",
    ),
    ("Give the user's name as JSON.", "{\"name\": \"Ada\"}"),
    ("Prove Goldbach's conjecture.", "I'm sorry, but I cannot prove it: as of today it is an open problem."),
    ("Write a function that adds two numbers.", "```python\ndef add(a, b):\n    return a + b"),
    ("Übersetze: good morning", "Guten Morgen"),
];

/// What the probes get: from each of its models, then from a stranger.
pub(crate) fn probe(verifier: &Verifier, pooled: &AnswerCalibrator) -> AnswerProbes {
    let (signals, mut scratch) = (Signals::default(), verifier.scratch());
    let stranger = ModelName::new("a model that no verifier was fitted on").ok();
    let mut probabilities = Vec::new();
    for model in verifier.models.iter().chain(&stranger) {
        for (query, text) in PROBE_ANSWERS {
            let query = Query::text(query);
            let given = AnswerGiven { query: &query, model, text, signals: &signals, slices: &[] };
            let score = verifier.score(&given, &mut scratch);
            let found = score.map(|score| judged(score, &pooled.calibrator, false).probability.get());
            probabilities.push(found.unwrap_or(f64::NAN));
        }
    }
    AnswerProbes { probabilities }
}

fn read_manifest(folder: &Path) -> Result<VerifierManifest, ArtifactError> {
    let file = folder.join(MANIFEST);
    if !file.exists() {
        return Err(ArtifactError::NotAVerifier(folder.to_owned()));
    }
    let bytes = read(&file)?;
    let bare: serde_json::Value = parse(&file, &bytes)?;
    let known = VERIFIER_FORMAT_VERSION;
    match bare["verifier_format_version"].as_u64().map(|v| u32::try_from(v).unwrap_or(u32::MAX)) {
        None => return Err(ArtifactError::NotAVerifier(folder.to_owned())),
        Some(found) if found > known => return Err(ArtifactError::NewerFormat { file, found, known }),
        Some(found) if found < known => return Err(ArtifactError::OlderFormat { file, found, known }),
        Some(_) => {}
    }
    let manifest: VerifierManifest = parse(&file, &bytes)?;
    let found = own_hash(&manifest, &file)?;
    if found != manifest.sha256 {
        return Err(ArtifactError::WrongHash { file, expected: manifest.sha256, found });
    }
    for name in [WEIGHTS, CALIBRATOR, PROBES] {
        if !manifest.files.contains_key(name) {
            return Err(invalid(folder, "files", &format!("{name} is not listed")));
        }
        inside(folder, name)?;
    }
    Ok(manifest)
}

type Calibrators = (AnswerCalibrator, BTreeMap<ModelName, AnswerCalibrator>);

fn read_calibrators(folder: &Path) -> Result<Calibrators, ArtifactError> {
    let file = folder.join(CALIBRATOR);
    let record: AnswerCalibratorsRecord = parse(&file, &read(&file)?)?;
    let refused =
        |of: &str, source| ArtifactError::Calibrator { file: file.clone(), pair: of.to_owned(), source };
    let pooled = record.pooled.calibrator().map_err(|e| refused("pooled", e))?;
    let mut by_model = BTreeMap::new();
    for (model, stored) in record.models {
        let name = ModelName::new(&model).map_err(|e| invalid(folder, "models", &e))?;
        by_model.insert(name, stored.calibrator().map_err(|e| refused(&model, e))?);
    }
    Ok((pooled, by_model))
}

impl AnswerCalibratorRecord {
    fn calibrator(self) -> Result<AnswerCalibrator, CalibrationError> {
        let calibrator = Calibrator::new(self.map.map()?, self.venn_abers.steps()?);
        let Self { log_losses, rows, positives, .. } = self;
        Ok(AnswerCalibrator { calibrator, log_losses, rows, positives })
    }
}

/// A cascade tuned on another verifier's probabilities has thresholds of nothing.
fn check_cascades(folder: &Path, manifest: &VerifierManifest) -> Result<(), ArtifactError> {
    for (name, cascade) in &manifest.cascades {
        if cascade.bound_to != manifest.version {
            let reason = format!(
                "{name} is bound to verifier {}, this is {}: tune it again with `training cascade tune`",
                cascade.bound_to, manifest.version
            );
            return Err(invalid(folder, "cascades", &reason));
        }
        if cascade.stages.is_empty() {
            return Err(invalid(folder, "cascades", &format!("{name} has no stage")));
        }
    }
    Ok(())
}
