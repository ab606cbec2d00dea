//! A loaded artifact that answers queries. One decision is 10 to 200 µs of one core, so it runs
//! where it is asked for: handing it to another thread would cost more than the work.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use artifact::{Artifact, ArtifactError};
use calibration::Calibrated;
use classifier::{Backend, Scratch};
use thiserror::Error;
use types::{Decision, Ladder, ModelName, ModelPair, ProbabilityError, Query, RungEvidence, Threshold};

/// How to load an artifact.
#[derive(Debug, Clone, Copy, Default)]
pub struct RouterOptions {
    /// Where the network runs.
    pub backend: Backend,
}

/// Why a router could not be made.
#[derive(Debug, Error)]
pub enum RouterError {
    /// The artifact was refused.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// An operating point that is no threshold.
    #[error("operating point {name}: {source}")]
    OperatingPoint {
        /// Its name.
        name: String,
        /// What is wrong.
        source: ProbabilityError,
    },
}

/// Why a query could not be decided.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RouteError {
    /// A model the classifier was not fitted on.
    #[error("unknown model {model}: this artifact knows {}", list(known))]
    UnknownModel {
        /// The model asked for.
        model: ModelName,
        /// The models there are.
        known: Vec<ModelName>,
    },
    /// A pair without a calibrator: its score is no probability.
    #[error(
        "pair {strong}/{weak} has no calibrator, its score is no probability; calibrated pairs: {}",
        list(calibrated)
    )]
    UncalibratedPair {
        /// The dearer model asked for.
        strong: ModelName,
        /// The cheaper model asked for.
        weak: ModelName,
        /// The pairs there are.
        calibrated: Vec<ModelPair>,
    },
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What a caller may ask about the loaded artifact.
#[derive(Debug, Clone, PartialEq)]
pub struct ArtifactInfo {
    /// Name of the artifact.
    pub name: String,
    /// Hash prefix over weights and calibrator.
    pub version: String,
    /// Hash prefix of the calibrator.
    pub calibrator_version: String,
    /// The pair used when a request names none.
    pub default_pair: ModelPair,
    /// Pairs with a calibrator.
    pub pairs: Vec<ModelPair>,
    /// Models the classifier knows.
    pub models: Vec<ModelName>,
    /// Named thresholds.
    pub operating_points: BTreeMap<String, Threshold>,
    /// Whether the outcomes behind it are simulated.
    pub simulated: bool,
    /// When it was trained, RFC 3339.
    pub created: String,
}

/// A decision and what was read to make it.
#[derive(Debug, Clone, PartialEq)]
pub struct Routed {
    /// The decision.
    pub decision: Decision,
    /// Tokens of the query the classifier read.
    pub tokens_used: u32,
    /// Whether the query is longer than that.
    pub truncated: bool,
}

/// A loaded artifact with a stock of buffers.
#[derive(Debug)]
pub struct Router {
    artifact: Artifact,
    info: ArtifactInfo,
    /// Buffers not in use; as many as ever ran at once.
    idle: Mutex<Vec<Scratch>>,
}

impl Router {
    /// Loads and verifies an artifact.
    ///
    /// # Errors
    /// When the artifact is refused; the file is named.
    pub fn load(folder: &Path, options: &RouterOptions) -> Result<Self, RouterError> {
        let artifact = Artifact::load(folder, options.backend)?;
        let info = describe(&artifact)?;
        Ok(Self { artifact, info, idle: Mutex::default() })
    }

    /// What is loaded.
    pub fn info(&self) -> &ArtifactInfo {
        &self.info
    }

    /// Decides a query on a ladder. The same query gives the same bits, alone or in a batch.
    ///
    /// # Errors
    /// When a rung is unknown or a pair with the top has no calibrator.
    pub fn route(&self, query: &Query, ladder: &Ladder, threshold: Threshold) -> Result<Routed, RouteError> {
        let mut scratch = self.take_scratch();
        let routed = self.route_with(&mut scratch, query, ladder, threshold);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
        routed
    }

    fn take_scratch(&self) -> Scratch {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| self.artifact.classifier().scratch())
    }

    fn route_with(
        &self,
        scratch: &mut Scratch,
        query: &Query,
        ladder: &Ladder,
        threshold: Threshold,
    ) -> Result<Routed, RouteError> {
        for model in ladder.rungs() {
            if !self.info.models.contains(model) {
                let known = self.info.models.clone();
                return Err(RouteError::UnknownModel { model: model.clone(), known });
            }
        }
        self.artifact.classifier().read(query, scratch);
        let top = ladder.top();
        let of_rung = |model: &ModelName| -> Result<RungEvidence, RouteError> {
            let Calibrated { win_probability, interval } = self.calibrated(scratch, top, model)?;
            Ok(RungEvidence { model: model.clone(), win_probability, interval })
        };
        let cheapest = of_rung(ladder.cheapest())?;
        let dearer = ladder.between().iter().map(of_rung).collect::<Result<Vec<_>, _>>()?;
        let decision = policy::decide(top, cheapest, dearer, threshold);
        let features = scratch.features();
        Ok(Routed {
            decision,
            tokens_used: u32::try_from(features.tokens.len()).unwrap_or(u32::MAX),
            truncated: features.truncated,
        })
    }

    fn calibrated(
        &self,
        scratch: &Scratch,
        strong: &ModelName,
        weak: &ModelName,
    ) -> Result<Calibrated, RouteError> {
        let calibrators = self.artifact.calibrators();
        let known = calibrators.iter().find(|c| c.pair.strong() == strong && c.pair.weak() == weak);
        known.and_then(|c| self.artifact.calibrated(scratch, c, [])).ok_or_else(|| {
            RouteError::UncalibratedPair {
                strong: strong.clone(),
                weak: weak.clone(),
                calibrated: self.info.pairs.clone(),
            }
        })
    }
}

fn describe(artifact: &Artifact) -> Result<ArtifactInfo, RouterError> {
    let manifest = artifact.manifest();
    let mut operating_points = BTreeMap::new();
    for (name, point) in &manifest.operating_points {
        let threshold = Threshold::new(point.threshold)
            .map_err(|source| RouterError::OperatingPoint { name: name.clone(), source })?;
        operating_points.insert(name.clone(), threshold);
    }
    Ok(ArtifactInfo {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        calibrator_version: manifest.calibrator_version.clone(),
        default_pair: artifact.default_pair().clone(),
        pairs: artifact.calibrators().iter().map(|c| c.pair.clone()).collect(),
        models: artifact.classifier().models().to_vec(),
        operating_points,
        simulated: manifest.simulated,
        created: manifest.created.clone(),
    })
}
