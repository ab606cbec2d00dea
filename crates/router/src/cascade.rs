//! Cascades that can be served: a loaded verifier and the chains tuned on it. What a chain is expected to cost is in
//! `plan`, what becomes of an answer in `assess`; the rule itself is the policy crate's. No clock and no wire: the time
//! that is left comes as an argument, and who remembers what a query has cost so far is the server's business.

mod assess;
mod plan;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use artifact::{ArtifactError, CascadeRecord, StageRecord, VerifierArtifact, VerifierManifest};
use classifier::VerifierScratch;
use economics::EconomicsError;
use policy::SelectError;
use policy::cascade::{CascadeRule, Forecast, StageRule, StageThresholds};
use thiserror::Error;
use types::{ModelError, ModelName, SuccessProbability};

pub use assess::{AnswerAt, Assessed};
pub use plan::{Plan, PlannedStage};

/// Success probabilities by model that are known before an answer is.
///
/// No artifact gives them: a router's `success_m` is a raw score, and its win probability says that another answer is
/// better, not that one is acceptable. Whoever has calibrated ones passes them in; without, no stage is hopeless.
pub type Predicted = BTreeMap<ModelName, SuccessProbability>;

/// Why the cascades of a verifier cannot be served.
#[derive(Debug, Error)]
pub enum CascadesError {
    /// The verifier was refused.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A stage without a model.
    #[error("cascade {cascade}: {source}")]
    Model {
        /// The cascade.
        cascade: String,
        /// What is wrong.
        source: ModelError,
    },
    /// Thresholds that are none, or too many stages.
    #[error("cascade {cascade}: {source}")]
    Rule {
        /// The cascade.
        cascade: String,
        /// What is wrong.
        source: SelectError,
    },
    /// A cost, latency or rate that is none.
    #[error("cascade {cascade}: {source}")]
    Economics {
        /// The cascade.
        cascade: String,
        /// What is wrong.
        source: EconomicsError,
    },
}

/// Why a question about a cascade has no answer.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum CascadeError {
    /// A name that no cascade has.
    #[error("no cascade {name:?}: there are {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") })]
    Unknown {
        /// The name asked for.
        name: String,
        /// The cascades there are.
        known: Vec<String>,
    },
    /// A model that is no stage.
    #[error("{model} is no stage of {cascade}: its stages are {}", stages.join(", "))]
    NoSuchModel {
        /// The model asked for.
        model: String,
        /// The cascade.
        cascade: String,
        /// Its models, first stage first.
        stages: Vec<String>,
    },
    /// A stage beyond the last.
    #[error("{cascade} has no stage {stage}: expected 0 to {last}")]
    NoSuchStage {
        /// The stage asked for, from 0.
        stage: usize,
        /// The cascade.
        cascade: String,
        /// Its last stage, from 0.
        last: usize,
    },
    /// The verifier's score of an answer is no number.
    #[error("the verifier gives no score for this answer")]
    NoScore,
    /// The rule refused what it was given.
    #[error(transparent)]
    Rule(#[from] SelectError),
}

/// One model of a chain.
#[derive(Debug, Clone, PartialEq)]
pub struct CascadeStage {
    /// The model.
    pub model: ModelName,
    /// What becomes of its answers, and when it is passed over.
    pub rule: StageRule,
    /// Mean cost of a call, with that of judging its answer.
    pub cost_usd: f64,
    /// Mean time of a call, where it is known.
    pub latency_s: Option<f64>,
    /// Share of the answers reaching it that are sent on, in [0, 1], as measured when it was tuned.
    pub escalation_rate: f64,
    /// The share of escalated answers below which the stage saves money, against what follows it at its measured rates
    /// (methods section 4): negative when it never does, `None` for the last stage and where what follows is free.
    pub break_even_escalation: Option<f64>,
    /// Whether the verifier has a calibrator of this model's own answers.
    pub calibrated: bool,
}

/// A tuned chain, ready to be served.
#[derive(Debug, Clone)]
pub struct Cascade {
    name: String,
    stages: Vec<CascadeStage>,
    rule: CascadeRule,
    record: CascadeRecord,
}

impl Cascade {
    /// A cascade of a manifest; `calibrated` says which models have a calibrator of their own.
    ///
    /// # Errors
    /// When a stage has no model, thresholds that are none, or a cost that is none.
    pub fn new(
        name: &str,
        record: &CascadeRecord,
        calibrated: impl Fn(&ModelName) -> bool,
    ) -> Result<Self, CascadesError> {
        let cascade = || name.to_owned();
        let break_even = plan::break_even(&record.stages)
            .map_err(|source| CascadesError::Economics { cascade: cascade(), source })?;
        let stage = |(stage, break_even): (&StageRecord, Option<f64>)| {
            let model = ModelName::new(&stage.model)
                .map_err(|source| CascadesError::Model { cascade: cascade(), source })?;
            let rule = StageThresholds::new(stage.abstain_below, stage.accept_above)
                .and_then(|thresholds| StageRule::new(thresholds, stage.skip_below))
                .map_err(|source| CascadesError::Rule { cascade: cascade(), source })?;
            Ok(CascadeStage {
                calibrated: calibrated(&model),
                model,
                rule,
                cost_usd: stage.cost_usd,
                latency_s: stage.latency_s,
                escalation_rate: stage.escalation_rate,
                break_even_escalation: break_even,
            })
        };
        let stages: Result<Vec<_>, CascadesError> = record.stages.iter().zip(break_even).map(stage).collect();
        let stages = stages?;
        let rule = CascadeRule::new(stages.iter().map(|stage| stage.rule).collect())
            .map_err(|source| CascadesError::Rule { cascade: cascade(), source })?;
        Ok(Self { name: cascade(), stages, rule, record: record.clone() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its stages, first stage first; at least one.
    pub fn stages(&self) -> &[CascadeStage] {
        &self.stages
    }

    /// What the manifest says of it.
    pub fn record(&self) -> &CascadeRecord {
        &self.record
    }

    /// A stage by its position.
    ///
    /// # Errors
    /// When there is none.
    pub fn stage(&self, stage: usize) -> Result<&CascadeStage, CascadeError> {
        self.stages.get(stage).ok_or_else(|| CascadeError::NoSuchStage {
            stage,
            cascade: self.name.clone(),
            last: self.stages.len().saturating_sub(1),
        })
    }

    /// The position of a model: the first one, were it called twice.
    ///
    /// # Errors
    /// When it is no stage.
    pub fn position(&self, model: &str) -> Result<usize, CascadeError> {
        let found = self.stages.iter().position(|stage| stage.model.as_str() == model);
        found.ok_or_else(|| CascadeError::NoSuchModel {
            model: model.to_owned(),
            cascade: self.name.clone(),
            stages: self.stages.iter().map(|stage| stage.model.to_string()).collect(),
        })
    }

    /// What is known of each stage before it is called. A latency that nobody measured counts as none: such a stage is
    /// called as long as any time is left.
    fn forecasts(&self, predicted: &Predicted) -> Vec<Forecast> {
        let forecast = |stage: &CascadeStage| Forecast {
            latency_s: stage.latency_s.unwrap_or(0.0),
            success: predicted.get(&stage.model).copied(),
        };
        self.stages.iter().map(forecast).collect()
    }
}

/// A loaded verifier, its cascades, and a stock of buffers.
#[derive(Debug)]
pub struct Cascades {
    artifact: VerifierArtifact,
    cascades: BTreeMap<String, Cascade>,
    idle: Mutex<Vec<VerifierScratch>>,
}

impl Cascades {
    /// Loads and verifies a verifier's folder.
    ///
    /// # Errors
    /// When it is refused, the file is named; when a cascade in it cannot be served.
    pub fn load(folder: &Path) -> Result<Self, CascadesError> {
        Self::new(VerifierArtifact::load(folder)?)
    }

    /// The cascades of a verifier that is loaded already.
    ///
    /// # Errors
    /// When one of them cannot be served.
    pub fn new(artifact: VerifierArtifact) -> Result<Self, CascadesError> {
        let calibrated = |model: &ModelName| artifact.calibrator(model).1;
        let cascade = |(name, record): (&String, &CascadeRecord)| {
            Ok((name.clone(), Cascade::new(name, record, calibrated)?))
        };
        let cascades: Result<_, CascadesError> = artifact.manifest().cascades.iter().map(cascade).collect();
        let cascades = cascades?;
        Ok(Self { artifact, cascades, idle: Mutex::default() })
    }

    /// What the verifier is.
    pub fn manifest(&self) -> &VerifierManifest {
        self.artifact.manifest()
    }

    /// Every cascade, by name.
    pub fn all(&self) -> impl Iterator<Item = &Cascade> {
        self.cascades.values()
    }

    /// The cascade of a name.
    ///
    /// # Errors
    /// When there is none; those there are, are named.
    pub fn cascade(&self, name: &str) -> Result<&Cascade, CascadeError> {
        self.cascades.get(name).ok_or_else(|| CascadeError::Unknown {
            name: name.to_owned(),
            known: self.cascades.keys().cloned().collect(),
        })
    }

    /// How a query would go through a cascade; see [`Cascade::plan`].
    ///
    /// # Errors
    /// When there is no such cascade.
    pub fn plan(&self, name: &str, remaining_s: f64, predicted: &Predicted) -> Result<Plan, CascadeError> {
        self.cascade(name)?.plan(remaining_s, predicted)
    }

    /// Does some work with buffers of the stock; as many are made as are ever in use at once.
    fn with_scratch<T>(&self, work: impl FnOnce(&mut VerifierScratch) -> T) -> T {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut scratch = taken.unwrap_or_else(|| self.artifact.verifier().scratch());
        let done = work(&mut scratch);
        idle().push(scratch);
        done
    }
}
