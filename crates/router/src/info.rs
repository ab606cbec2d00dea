//! What a caller may ask about the loaded artifact.

use std::collections::{BTreeMap, BTreeSet};

use artifact::{Artifact, DeepTier, OperatingPoint};
use policy::{Exploration, RandomisedThreshold};
use types::{BackendIdentity, ModelName, ModelPair, ProbabilityError, Threshold, WinProbability};

use crate::{RouterError, RouterOptions};

/// The loaded artifact.
#[derive(Debug, Clone, PartialEq)]
pub struct ArtifactInfo {
    /// Name of the artifact.
    pub name: String,
    /// Hash prefix over weights and calibrator.
    pub version: String,
    /// Hash of its manifest, and by that of everything: operating points too, which `version` leaves out.
    pub manifest_sha256: String,
    /// Hash prefix of the calibrator.
    pub calibrator_version: String,
    /// The pair used when a request names none.
    pub default_pair: ModelPair,
    /// Pairs with a calibrator.
    pub pairs: Vec<ModelPair>,
    /// Models the classifier knows.
    pub models: Vec<ModelName>,
    /// Named thresholds.
    pub operating_points: Vec<PointInfo>,
    /// Slices that go strong at every threshold that has no certificate for them.
    pub high_stakes: Vec<String>,
    /// Slices whose probabilities are corrected, of any pair, ascending.
    pub slices: Vec<String>,
    /// What should be known of every answer, such as a backend the calibrator was not fitted for.
    pub warnings: Vec<String>,
    /// Whether the outcomes behind it are simulated.
    pub simulated: bool,
    /// When it was trained, RFC 3339.
    pub created: String,
    /// Pairs the deep tier knows; none without one.
    pub deep_pairs: Vec<ModelPair>,
    /// How often another rung than the policy's is served.
    pub exploration: Exploration,
}

/// A named threshold of one pair.
#[derive(Debug, Clone, PartialEq)]
pub struct PointInfo {
    /// Its name.
    pub name: String,
    /// The pair it was selected for.
    pub pair: ModelPair,
    /// The threshold.
    pub threshold: RandomisedThreshold,
    /// What it was selected for.
    pub objective: String,
    /// The strong-call rate that was measured there.
    pub strong_call_rate: Option<f64>,
    /// Whether a finite-sample certificate stands behind it.
    pub certified: bool,
    /// Slices of high stakes with a certificate of their own.
    pub certified_slices: Vec<String>,
}

impl ArtifactInfo {
    pub(crate) fn new(artifact: &Artifact, options: &RouterOptions) -> Result<Self, RouterError> {
        let manifest = artifact.manifest();
        let pairs: Vec<ModelPair> = artifact.calibrators().iter().map(|c| c.pair.clone()).collect();
        let mut operating_points = Vec::new();
        for (name, by_pair) in &manifest.operating_points {
            for (pair, point) in by_pair {
                let Some(of) = pairs.iter().find(|p| p.to_string() == *pair) else {
                    return Err(RouterError::PointWithoutPair { name: name.clone(), pair: pair.clone() });
                };
                let binding = artifact.binding(of).unwrap_or_default();
                if point.bound_to != binding {
                    return Err(RouterError::StaleOperatingPoint {
                        name: name.clone(),
                        pair: pair.clone(),
                        bound_to: point.bound_to.clone(),
                        found: binding.to_owned(),
                    });
                }
                let bad = |source| RouterError::OperatingPoint { name: name.clone(), source };
                operating_points.push(PointInfo::new(name, of, point).map_err(bad)?);
            }
        }
        let deep = artifact.deep().into_iter();
        Ok(Self {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            manifest_sha256: manifest.sha256.clone(),
            calibrator_version: manifest.calibrator_version.clone(),
            default_pair: artifact.default_pair().clone(),
            pairs,
            models: artifact.classifier().models().to_vec(),
            operating_points,
            high_stakes: manifest.high_stakes.clone(),
            slices: slices(artifact),
            warnings: warnings(artifact, options)?,
            simulated: manifest.simulated,
            created: manifest.created.clone(),
            deep_pairs: deep.flat_map(DeepTier::pairs).map(|p| p.calibrator.pair.clone()).collect(),
            exploration: options.exploration,
        })
    }

    /// The operating point of a name for a pair.
    pub(crate) fn point(&self, name: &str, strong: &ModelName, weak: &ModelName) -> Option<&PointInfo> {
        let of = |p: &&PointInfo| p.name == name && p.pair.strong() == strong && p.pair.weak() == weak;
        self.operating_points.iter().find(of)
    }
}

impl PointInfo {
    fn new(name: &str, pair: &ModelPair, point: &OperatingPoint) -> Result<Self, ProbabilityError> {
        let (low, high) = (Threshold::new(point.low)?, Threshold::new(point.high)?);
        let rate = point.measured.get("strong_call_rate").map(|rate| WinProbability::new(rate.value));
        Ok(Self {
            name: name.to_owned(),
            pair: pair.clone(),
            threshold: RandomisedThreshold::new(low, high, point.probability_of_low)?,
            objective: point.objective.clone(),
            strong_call_rate: rate.transpose()?.map(WinProbability::get),
            certified: point.certificate.is_some(),
            certified_slices: point.certified_slices.keys().cloned().collect(),
        })
    }
}

/// Slices with a correction of their own, in either tier.
fn slices(artifact: &Artifact) -> Vec<String> {
    let deep = artifact.deep().into_iter().flat_map(DeepTier::pairs).map(|pair| &pair.calibrator);
    let corrected = artifact.calibrators().iter().chain(deep).flat_map(|of| of.slices.iter());
    corrected.map(|(slice, _)| slice.to_owned()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// What should be known of every answer.
fn warnings(artifact: &Artifact, options: &RouterOptions) -> Result<Vec<String>, RouterError> {
    let mut warnings = foreign_backends(artifact, options)?;
    if artifact.manifest().deep.is_some() && !options.deep.enabled {
        warnings.push(
            "the deep tier is switched off: operating points were selected for both tiers together"
                .to_owned(),
        );
    }
    let certified = |point: &OperatingPoint| point.certificate.is_some();
    let cheaper = options.exploration.cheaper();
    if cheaper > 0.0
        && artifact.manifest().operating_points.values().flat_map(BTreeMap::values).any(certified)
    {
        warnings.push(format!(
            "a share of up to {cheaper} is served a cheaper model to explore: certificates speak of the policy without it"
        ));
    }
    Ok(warnings)
}

/// A warning for each model that the operator says is served by another backend than the one the
/// calibrator belongs to; an error unless that was allowed.
fn foreign_backends(artifact: &Artifact, options: &RouterOptions) -> Result<Vec<String>, RouterError> {
    let mut warnings = Vec::new();
    let concerned = artifact.calibrators().iter().flat_map(|calibrator| {
        let of_pair = options.backends.iter().filter(|(model, _)| calibrator.pair.contains(model));
        of_pair.map(move |(model, serving)| (calibrator, model, serving))
    });
    for (calibrator, model, serving) in concerned {
        let recorded = calibrator.origin.backends.get(model.as_str()).map(artifact::BackendRecord::identity);
        if recorded.as_ref() == Some(serving) {
            continue;
        }
        let error = RouterError::ForeignBackend {
            pair: calibrator.pair.clone(),
            model: model.clone(),
            recorded: recorded.as_ref().map_or("none recorded".to_owned(), BackendIdentity::to_string),
            serving: serving.to_string(),
        };
        if !options.allow_foreign_backends {
            return Err(error);
        }
        warnings.push(error.to_string());
    }
    Ok(warnings)
}
