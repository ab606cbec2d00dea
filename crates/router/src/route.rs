//! A loaded artifact that answers queries. A decision of the fast tier is 10 to 200 µs of one core, so it runs
//! where it is asked for: handing it to another thread would cost more than the work. What the deep tier adds is in
//! `tiers`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use artifact::{Artifact, ArtifactError};
use calibration::Calibrated;
use classifier::{Backend, Scratch};
use features::Script;
use policy::{Exploration, Stakes};
use thiserror::Error;
use types::{
    BackendIdentity, Decision, Ladder, ModelName, ModelPair, ProbabilityError, Query, RungEvidence,
    ScoringTier, Threshold, TierReason, TierWish,
};

use crate::ArtifactInfo;
use crate::counters::Counters;
use crate::deep::{DeepOptions, DeepWorkers};

/// How to load an artifact.
#[derive(Debug, Clone, Default)]
pub struct RouterOptions {
    /// Where the classifiers run: on a CPU whatever is said, for they take microseconds ([`Backend::on_cpu`]).
    pub backend: Backend,
    /// What answers under the models' names, where the operator says so.
    pub backends: BTreeMap<ModelName, BackendIdentity>,
    /// Serve, with a warning on every answer, although a calibrator was fitted for another backend.
    pub allow_foreign_backends: bool,
    /// How the deep tier is served, where the artifact has one.
    pub deep: DeepOptions,
    /// How often another rung than the policy's is served, at operating points: a threshold that the caller brings is
    /// obeyed.
    pub exploration: Exploration,
}

/// Why a router could not be made.
#[derive(Debug, Error)]
pub enum RouterError {
    /// The artifact was refused.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The system gave no thread.
    #[error("starting a thread for the encoder: {0}")]
    EncoderThread(std::io::Error),
    /// The encoder did not get through its first texts.
    #[error("warming up the encoder of the deep tier: {}", .0.as_str())]
    EncoderWarmUp(TierReason),
    /// An operating point that is no threshold.
    #[error("operating point {name}: {source}")]
    OperatingPoint {
        /// Its name.
        name: String,
        /// What is wrong.
        source: ProbabilityError,
    },
    /// An operating point of a pair that has no calibrator.
    #[error("operating point {name}: pair {pair} has no calibrator")]
    PointWithoutPair {
        /// Its name.
        name: String,
        /// The pair.
        pair: String,
    },
    /// A threshold that was selected with another classifier or calibrator.
    #[error(
        "operating point {name} of {pair} is bound to classifier and calibrator {bound_to}, loaded is {found}: \
         select it again with `training threshold`"
    )]
    StaleOperatingPoint {
        /// Its name.
        name: String,
        /// The pair.
        pair: String,
        /// What it was selected with.
        bound_to: String,
        /// What is loaded.
        found: String,
    },
    /// A model is served by another backend than the one its outcomes came from.
    #[error(
        "{model} is served by {serving}, the calibrator of {pair} was fitted for {recorded}: changing a model's \
         engine, version or precision is a recalibration (`training calibrate`), never a free swap"
    )]
    ForeignBackend {
        /// The pair of the calibrator.
        pair: ModelPair,
        /// The model.
        model: ModelName,
        /// The backend of the calibrator.
        recorded: String,
        /// The backend that is configured.
        serving: String,
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
    /// A name that no threshold of the pair has.
    #[error("no operating point {name:?} for {strong}/{weak}: there are {}", list(known))]
    UnknownOperatingPoint {
        /// The name asked for.
        name: String,
        /// The dearest model asked for.
        strong: ModelName,
        /// The cheapest model asked for.
        weak: ModelName,
        /// Names and pairs there are.
        known: Vec<String>,
    },
}

impl RouteError {
    /// Whether the operating point is what is wrong, rather than the models.
    pub fn is_about_operating_point(&self) -> bool {
        matches!(self, Self::UnknownOperatingPoint { .. })
    }
}

/// The same of what was read last.
fn surface(scratch: &Scratch) -> (u32, bool, Script) {
    let features = scratch.features();
    let tokens = u32::try_from(features.tokens.len()).unwrap_or(u32::MAX);
    (tokens, features.truncated, features.script())
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What is compared with the win probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum At<'a> {
    /// A threshold of the caller's own.
    Threshold(Threshold),
    /// A named threshold of the artifact, selected for the ladder's top over its cheapest rung.
    OperatingPoint(&'a str),
}

/// A query to decide.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The query.
    pub query: &'a Query,
    /// The models to choose from.
    pub ladder: &'a Ladder,
    /// The threshold.
    pub at: At<'a>,
    /// Slices the query belongs to, such as `category:law`.
    pub slices: &'a [String],
    /// What a retry has in common with the first try, for randomised thresholds; empty: the query's text.
    pub key: &'a str,
    /// Which tier is wished for.
    pub tier: TierWish,
}

impl<'a> Ask<'a> {
    /// A query of no slice, keyed by its text.
    pub fn new(query: &'a Query, ladder: &'a Ladder, at: At<'a>) -> Self {
        Self { query, ladder, at, slices: &[], key: "", tier: TierWish::Auto }
    }

    /// A number in [0, 1) that belongs to the request for good; every `purpose` has one of its own.
    fn draw<'b>(&'b self, purpose: &[&'b str]) -> f64 {
        let purpose = purpose.iter().map(|part| part.as_bytes());
        if self.key.is_empty() {
            policy::request_draw(purpose.chain(self.query.parts().map(|(_, text)| text.as_bytes())))
        } else {
            policy::request_draw(purpose.chain([self.key.as_bytes()]))
        }
    }
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
    /// The script most of its letters are of.
    pub script: Script,
    /// Why the tier that scored did.
    pub tier_reason: TierReason,
    /// The encoder's device was lost: the deep tier is served by its spare on the CPU, or not at all.
    pub device_lost: bool,
}

impl Routed {
    /// The tier that scored: deep where the evidence of any rung is.
    pub fn scored_by(&self) -> ScoringTier {
        self.tier_reason.tier()
    }
}

/// What the fast tier found, before a rung is picked.
#[derive(Debug)]
pub(crate) struct Fast {
    pub(crate) cheapest: RungEvidence,
    dearer: Vec<RungEvidence>,
    pub(crate) threshold: Threshold,
    pub(crate) stakes: Stakes,
    pub(crate) tokens_used: u32,
    pub(crate) truncated: bool,
    pub(crate) script: Script,
}

impl Fast {
    /// The rungs below the top, cheapest first.
    pub(crate) fn rungs(&self) -> impl Iterator<Item = &RungEvidence> {
        std::iter::once(&self.cheapest).chain(&self.dearer)
    }

    pub(crate) fn rung_mut(&mut self, rung: usize) -> Option<&mut RungEvidence> {
        if rung == 0 { Some(&mut self.cheapest) } else { self.dearer.get_mut(rung - 1) }
    }
}

/// Buffers not in use; as many as ever ran at once.
#[derive(Debug, Default)]
pub(crate) struct Stock(Mutex<Vec<Scratch>>);

impl Stock {
    pub(crate) fn take(&self) -> Option<Scratch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    pub(crate) fn put(&self, scratch: Scratch) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
    }
}

/// A loaded artifact with a stock of buffers.
#[derive(Debug)]
pub struct Router {
    pub(crate) artifact: Artifact,
    info: ArtifactInfo,
    idle: Stock,
    pub(crate) deep_idle: Stock,
    /// Where a deep tier is served.
    pub(crate) workers: Option<DeepWorkers>,
    pub(crate) counters: Arc<Counters>,
}

impl Router {
    /// Loads and verifies an artifact; its deep tier is warm when this returns.
    ///
    /// # Errors
    /// When the artifact is refused, the file is named; when the encoder does not get through its first texts.
    pub fn load(folder: &Path, options: &RouterOptions) -> Result<Self, RouterError> {
        let artifact = Artifact::load_on(folder, options.backend.on_cpu(), options.deep.place())?;
        let info = ArtifactInfo::new(&artifact, options)?;
        let counters = Arc::<Counters>::default();
        let workers =
            artifact.deep().map(|tier| DeepWorkers::of(tier, &options.deep, counters.clone())).transpose()?;
        let (idle, deep_idle) = (Stock::default(), Stock::default());
        Ok(Self { artifact, info, idle, deep_idle, workers, counters })
    }

    /// What is loaded.
    pub fn info(&self) -> &ArtifactInfo {
        &self.info
    }

    /// Decides a query on a ladder with the fast tier alone; [`Router::decide`] asks both. The same query gives the
    /// same bits, alone or in a batch.
    ///
    /// # Errors
    /// When a rung is unknown, a pair with the top has no calibrator, or the operating point is unknown.
    pub fn route(&self, ask: &Ask<'_>) -> Result<Routed, RouteError> {
        let alone = self.fast_alone();
        let fast = self.with_scratch(|scratch| self.fast(scratch, ask))?;
        Ok(self.conclude(fast, ask, alone, false))
    }

    /// Why the fast tier scores where nobody asked the deep one.
    pub(crate) fn fast_alone(&self) -> TierReason {
        if self.workers.is_some() { TierReason::NotWanted } else { TierReason::NoDeepTier }
    }

    pub(crate) fn with_scratch<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        let mut scratch = self.idle.take().unwrap_or_else(|| self.artifact.classifier().scratch());
        let done = work(&mut scratch);
        self.idle.put(scratch);
        done
    }

    pub(crate) fn fast(&self, scratch: &mut Scratch, ask: &Ask<'_>) -> Result<Fast, RouteError> {
        let ladder = ask.ladder;
        for model in ladder.rungs() {
            if !self.info.models.contains(model) {
                let known = self.info.models.clone();
                return Err(RouteError::UnknownModel { model: model.clone(), known });
            }
        }
        self.artifact.classifier().read(ask.query, scratch);
        let top = ladder.top();
        let of_rung = |model: &ModelName| -> Result<RungEvidence, RouteError> {
            let Calibrated { score, win_probability, interval } =
                self.calibrated(scratch, top, model, ask.slices)?;
            Ok(RungEvidence {
                model: model.clone(),
                score,
                win_probability,
                interval,
                scored_by: ScoringTier::Fast,
                fast_win_probability: win_probability,
            })
        };
        let cheapest = of_rung(ladder.cheapest())?;
        let dearer = ladder.between().iter().map(of_rung).collect::<Result<Vec<_>, _>>()?;
        let (threshold, certified_slices) = self.threshold(ask)?;
        let uncertified = |slice| self.info.high_stakes.contains(slice) && !certified_slices.contains(slice);
        let stakes = if ask.slices.iter().any(uncertified) { Stakes::High } else { Stakes::Ordinary };
        let (tokens_used, truncated, script) = surface(scratch);
        Ok(Fast { cheapest, dearer, threshold, stakes, tokens_used, truncated, script })
    }

    /// Tokens that are read of a query, whether it has more, and its script.
    pub(crate) fn read(&self, query: &Query) -> (u32, bool, Script) {
        self.with_scratch(|scratch| {
            self.artifact.classifier().read(query, scratch);
            surface(scratch)
        })
    }

    /// Picks a rung and counts why which tier scored.
    pub(crate) fn conclude(
        &self,
        fast: Fast,
        ask: &Ask<'_>,
        tier_reason: TierReason,
        device_lost: bool,
    ) -> Routed {
        self.counters.decided(tier_reason);
        let Fast { cheapest, dearer, threshold, stakes, tokens_used, truncated, script } = fast;
        let top = ask.ladder.top();
        let decision = policy::decide(top, cheapest, dearer, threshold, stakes);
        let decision = match ask.at {
            At::OperatingPoint(_) if self.info.exploration != Exploration::NONE => {
                let draw = ask.draw(&["explore", &self.info.version]);
                policy::explore(decision, top, self.info.exploration, draw)
            }
            _ => decision,
        };
        Routed { decision, tokens_used, truncated, script, tier_reason, device_lost }
    }

    /// The threshold of this request and the slices of high stakes that it may decide.
    fn threshold(&self, ask: &Ask<'_>) -> Result<(Threshold, &[String]), RouteError> {
        let name = match ask.at {
            At::Threshold(threshold) => return Ok((threshold, &[])),
            At::OperatingPoint(name) => name,
        };
        let (strong, weak) = (ask.ladder.top(), ask.ladder.cheapest());
        let Some(point) = self.info.point(name, strong, weak) else {
            let known = self.info.operating_points.iter().map(|p| format!("{} of {}", p.name, p.pair));
            return Err(RouteError::UnknownOperatingPoint {
                name: name.to_owned(),
                strong: strong.clone(),
                weak: weak.clone(),
                known: known.collect(),
            });
        };
        let fixed = point.threshold.low() == point.threshold.high();
        let draw = if fixed { 0.0 } else { ask.draw(&[]) };
        Ok((point.threshold.at(draw), &point.certified_slices))
    }

    fn calibrated(
        &self,
        scratch: &Scratch,
        strong: &ModelName,
        weak: &ModelName,
        slices: &[String],
    ) -> Result<Calibrated, RouteError> {
        let calibrators = self.artifact.calibrators();
        let known = calibrators.iter().find(|c| c.pair.strong() == strong && c.pair.weak() == weak);
        known
            .and_then(|c| self.artifact.calibrated(scratch, c, slices.iter().map(String::as_str)))
            .ok_or_else(|| RouteError::UncalibratedPair {
                strong: strong.clone(),
                weak: weak.clone(),
                calibrated: self.info.pairs.clone(),
            })
    }
}
