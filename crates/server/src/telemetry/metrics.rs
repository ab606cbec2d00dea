//! What is counted where it happens. Every handle is resolved beforehand: what a decision records costs a few atomic
//! additions and a short lock for each histogram, no allocation and no look at a caller's text.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use decision_log::Rollout;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, BoundHistogram, Counter};
use router::{ArtifactInfo, Routed};
use tokio::time::Instant;
use types::{ModelName, ScoringTier, TierReason};

use super::TelemetryError;
use super::catalogue as of;
use super::export::MetricPush;
use super::instruments::{Instruments, open_metrics};
use super::names::{ByName, Decisions, Point};
use super::requests::Requests;
use crate::config::TelemetryConfig;
use crate::health::Window;

/// Upper ends of the buckets of times, seconds: a decision takes tens of microseconds, an encoder milliseconds.
pub(super) const SECONDS: [f64; 20] = [
    10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 350e-6, 500e-6, 750e-6, 1e-3, 1.5e-3, 2e-3, 3e-3, 5e-3, 10e-3,
    25e-3, 50e-3, 0.1, 0.25, 1.0, 5.0,
];

/// Upper ends of the buckets of win probabilities.
const PROBABILITIES: [f64; 19] =
    [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95];

/// Upper ends of the buckets of widths.
const WIDTHS: [f64; 10] = [0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8];

/// When a decision came to where.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// It was read off the wire; none for one of a batch, which is admitted as a whole.
    pub arrived: Option<Instant>,
    /// It had a slot.
    pub admitted: Instant,
    /// It was understood.
    pub converted: Instant,
    /// The fast tier had read it.
    pub read: Instant,
    /// It was decided.
    pub decided: Instant,
    /// It was handed to the log.
    pub recorded: Instant,
    /// The encoder was asked.
    pub waited: bool,
}

/// A stage of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Wait for a slot.
    Admission,
    /// From the wire to a query.
    Convert,
    /// The fast tier, with the policy's way to it.
    Fast,
    /// The encoder: its queue, its computing, and the wait for both.
    Encoder,
    /// The record, and the log's queue.
    Record,
    /// All of it.
    Whole,
}

impl Stage {
    const ALL: [Self; 6] =
        [Self::Admission, Self::Convert, Self::Fast, Self::Encoder, Self::Record, Self::Whole];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Admission => "admission",
            Self::Convert => "convert",
            Self::Fast => "fast",
            Self::Encoder => "encoder",
            Self::Record => "record",
            Self::Whole => "whole",
        }
    }
}

impl Times {
    /// Every stage there was, with its beginning and its end.
    pub(crate) fn stages(&self) -> impl Iterator<Item = (Stage, Instant, Instant)> + use<> {
        let begun = self.arrived.unwrap_or(self.admitted);
        [
            self.arrived.map(|arrived| (Stage::Admission, arrived, self.admitted)),
            Some((Stage::Convert, self.admitted, self.converted)),
            Some((Stage::Fast, self.converted, self.read)),
            self.waited.then_some((Stage::Encoder, self.read, self.decided)),
            Some((Stage::Record, self.decided, self.recorded)),
            Some((Stage::Whole, begun, self.recorded)),
        ]
        .into_iter()
        .flatten()
    }
}

/// A decision as it is counted.
#[derive(Debug, Clone, Copy)]
pub struct Decided<'a> {
    /// What was decided.
    pub routed: &'a Routed,
    /// The dearest model it was taken from.
    pub top: &'a ModelName,
    /// What decided.
    pub info: &'a ArtifactInfo,
    /// Where its threshold came from.
    pub point: Point<'a>,
    /// Its slices, as the caller names them.
    pub slices: &'a [String],
    /// Who answered.
    pub rollout: Rollout,
    /// A strategy of the policy failed on the way.
    pub fell_back: bool,
    /// What a call of each model is expected to cost, US dollars, where there are prices.
    pub costs_usd: &'a BTreeMap<ModelName, f64>,
    /// When it came to where.
    pub times: Times,
}

/// Whose probability it is, for the two histograms.
#[derive(Debug)]
struct Odds {
    probability: BoundHistogram<f64>,
    width: BoundHistogram<f64>,
}

/// Everything that is counted; made once, passed to whoever counts.
#[derive(Debug)]
pub struct Metrics {
    pub(super) instruments: Instruments,
    pub(super) requests: Arc<Requests>,
    /// The last decisions, for readiness.
    pub(crate) window: Arc<Window>,
    decisions: Decisions,
    scored: [BoundCounter<u64>; TierReason::ALL.len()],
    rollouts: [BoundCounter<u64>; 2],
    fallback: [Option<BoundCounter<u64>>; TierReason::ALL.len()],
    fallback_of_policy: BoundCounter<u64>,
    on_spare: BoundCounter<u64>,
    odds: [Odds; 2],
    stages: [BoundHistogram<f64>; Stage::ALL.len()],
    strategies: ByName,
    over_limit: ByName,
    cost_served: BoundCounter<f64>,
    cost_strong: BoundCounter<f64>,
    unpriced: BoundCounter<u64>,
    refused: Counter<u64>,
    plans: ByName,
    verdicts: Counter<u64>,
    outcomes: Counter<u64>,
    reloads: Counter<u64>,
}

impl Metrics {
    /// Instruments for what is configured; `models`: what is served beside what the artifact knows.
    ///
    /// # Errors
    /// When the registry refuses.
    pub fn new(
        config: &TelemetryConfig,
        models: impl IntoIterator<Item = String>,
    ) -> Result<Self, TelemetryError> {
        Self::pushing(config, models, None)
    }

    pub(super) fn pushing(
        config: &TelemetryConfig,
        models: impl IntoIterator<Item = String>,
        push: Option<MetricPush>,
    ) -> Result<Self, TelemetryError> {
        let make = Instruments::new(push)?;
        let (scored, fallback) = (make.counter(of::DECISIONS_SCORED), make.counter(of::FALLBACK));
        let by_reason = |reason: TierReason| {
            scored.bind(&[
                KeyValue::new("scored_by", reason.tier().as_str()),
                KeyValue::new("scored_by_reason", reason.as_str()),
            ])
        };
        let caused = |cause| fallback.bind(&[KeyValue::new("cause", cause)]);
        let of_encoder = |reason: TierReason| reason.is_fallback().then(|| caused(reason.as_str()));
        let (probability, width) = (
            make.histogram(of::WIN_PROBABILITY, &PROBABILITIES),
            make.histogram(of::INTERVAL_WIDTH, &WIDTHS),
        );
        let odds = |tier: ScoringTier| {
            let of = [KeyValue::new("scored_by", tier.as_str())];
            Odds { probability: probability.bind(&of), width: width.bind(&of) }
        };
        let stage = make.histogram(of::STAGE_DURATION, &SECONDS);
        let rollout = make.counter(of::DECISIONS_BY_ROLLOUT);
        let by_rollout = |of: &'static str| rollout.bind(&[KeyValue::new("rollout", of)]);
        let decisions = (make.counter(of::DECISIONS), make.counter(of::DECISIONS_BY_SLICE));
        let metrics = Self {
            requests: Arc::new(Requests::new(&make)),
            window: Arc::new(Window::new(config.fallback_window)),
            decisions: Decisions::new(decisions, models, config.slices.clone()),
            scored: TierReason::ALL.map(by_reason),
            rollouts: [by_rollout("incumbent"), by_rollout("canary")],
            fallback: TierReason::ALL.map(of_encoder),
            fallback_of_policy: caused("policy"),
            on_spare: make.counter(of::DEGRADED).bind(&[KeyValue::new("cause", "encoder_on_cpu")]),
            odds: [odds(ScoringTier::Fast), odds(ScoringTier::Deep)],
            stages: Stage::ALL.map(|of| stage.bind(&[KeyValue::new("stage", of.as_str())])),
            strategies: ByName::new(make.counter(of::POLICY_DECISIONS), "strategy"),
            over_limit: ByName::new(make.counter(of::POLICY_DIVERTED), "limit"),
            cost_served: make.amount(of::COST_SERVED).bind(&[]),
            cost_strong: make.amount(of::COST_STRONG).bind(&[]),
            unpriced: make.counter(of::UNPRICED).bind(&[]),
            refused: make.counter(of::REFUSED),
            plans: ByName::new(make.counter(of::CASCADE_PLANS), "cascade"),
            verdicts: make.counter(of::CASCADE_VERDICTS),
            outcomes: make.counter(of::OUTCOMES),
            reloads: make.counter(of::RELOADS),
            instruments: make,
        };
        metrics.appear();
        Ok(metrics)
    }

    /// What is rare is there from the start: what appears out of nothing has no rate, and no alert sees it.
    fn appear(&self) {
        let rare =
            self.fallback.iter().flatten().chain([&self.fallback_of_policy, &self.on_spare, &self.unpriced]);
        rare.for_each(|counter| counter.add(0));
    }

    /// A decision is about to be answered.
    pub fn decided(&self, decided: &Decided<'_>) {
        let Routed { decision, tier_reason, device_lost, .. } = decided.routed;
        let (model, cause) = (decision.model.as_str(), (decision.reason, decision.tier));
        self.decisions.count(decided.info, (model, decided.point), cause, decided.slices);
        self.scored[*tier_reason as usize].add(1);
        self.rollouts[usize::from(decided.rollout == Rollout::Canary)].add(1);
        if let Some(fallback) = &self.fallback[*tier_reason as usize] {
            fallback.add(1);
        }
        if decided.fell_back {
            self.fallback_of_policy.add(1);
        }
        // Where even the spare is lost it is a fallback, and counted as one.
        let on_spare = *device_lost && !tier_reason.is_fallback();
        if on_spare {
            self.on_spare.add(1);
        }
        self.window.saw(tier_reason.is_fallback() || decided.fell_back || on_spare);
        if !decision.evidence.is_empty() {
            let odds = &self.odds[usize::from(tier_reason.tier() == ScoringTier::Deep)];
            odds.probability.record(decision.win_probability.get());
            odds.width.record(decision.interval.upper().get() - decision.interval.lower().get());
        }
        self.cost(decided);
        for (stage, begun, ended) in decided.times.stages() {
            self.stages[stage as usize].record(ended.duration_since(begun).as_secs_f64());
        }
    }

    fn cost(&self, decided: &Decided<'_>) {
        if decided.costs_usd.is_empty() {
            return;
        }
        let cost = |model| decided.costs_usd.get(model);
        match (cost(&decided.routed.decision.model), cost(decided.top)) {
            (Some(served), Some(strong)) => {
                self.cost_served.add(*served);
                self.cost_strong.add(*strong);
            }
            _ => self.unpriced.add(1),
        }
    }

    /// A batch had a slot after so long.
    pub(crate) fn waited(&self, time: Duration) {
        self.stages[Stage::Admission as usize].record(time.as_secs_f64());
    }

    /// A policy has led to a decision by a strategy, and a strong call would have exceeded a limit where one is named.
    pub(crate) fn by_policy(&self, strategy: Option<&str>, limit: Option<&str>) {
        self.strategies.count(strategy.unwrap_or("override"));
        if let Some(limit) = limit {
            self.over_limit.count(limit);
        }
    }

    /// A request, or an item of a batch, gets no decision.
    pub fn refused(&self, reason: &'static str) {
        self.refused.add(1, &[KeyValue::new("reason", reason)]);
    }

    /// A cascade was planned.
    pub(crate) fn planned(&self, cascade: &str) {
        self.plans.count(cascade);
    }

    /// An answer was assessed. The cascade and the stage are the verifier's own, so there are few.
    pub(crate) fn assessed(&self, cascade: &str, stage: usize, verdict: &'static str) {
        self.verdicts.add(
            1,
            &[
                KeyValue::new("cascade", cascade.to_owned()),
                KeyValue::new("stage", i64::try_from(stage).unwrap_or(i64::MAX)),
                KeyValue::new("verdict", verdict),
            ],
        );
    }

    /// A report of an outcome was answered.
    pub(crate) fn outcome(&self, status: &'static str) {
        self.outcomes.add(1, &[KeyValue::new("status", status)]);
    }

    /// Something was read again and is in force, or was refused.
    pub(crate) fn reloaded(&self, thing: &str, ok: bool) {
        let result = if ok { "taken" } else { "refused" };
        self.reloads.add(1, &[KeyValue::new("thing", thing.to_owned()), KeyValue::new("result", result)]);
    }

    /// Everything as Prometheus reads it.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub fn text(&self) -> Result<String, TelemetryError> {
        self.instruments.text()
    }

    /// The same as OpenMetrics.
    pub(super) fn open_metrics(&self) -> Result<String, TelemetryError> {
        Ok(open_metrics(&self.text()?))
    }
}
