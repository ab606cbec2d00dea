//! The two-tier decision. The fast tier reads every query; the encoder runs only where the band around the fast
//! probability straddles the threshold, so that both together decide as if one number, `artifact::DeepPair::held`,
//! were compared with it.

use artifact::{DeepPair, DeepTier};
use classifier::Scratch;
use encoder::encoder_text;
use policy::{Stakes, goes_strong, straddles};
use tokio::time::Instant;
use types::{ModelName, RungEvidence, Score, ScoringTier, TierReason, TierWish};

use crate::TierCounts;
use crate::deep::{DeepWorkers, Ticket};
use crate::route::{Ask, Fast, RouteError, Routed, Router};

/// A query whose fast evidence is complete.
#[derive(Debug)]
pub enum Begun {
    /// Decided.
    Decided(Routed),
    /// The encoder is at work.
    Waiting(Waiting),
}

/// What a decision needs once its vector is there.
#[derive(Debug)]
pub struct Waiting {
    fast: Fast,
    rungs: Vec<Asked>,
    reason: TierReason,
    ticket: Ticket,
}

/// A rung the deep tier is asked about.
#[derive(Debug)]
struct Asked {
    /// Cheapest first.
    rung: usize,
    /// In the deep tier.
    pair: usize,
    fast: Score,
}

/// Where the deep tier knows a rung under `top`.
fn place(tier: &DeepTier, top: &ModelName, rung: &ModelName) -> Option<usize> {
    let of = |p: &DeepPair| p.calibrator.pair.strong() == top && p.calibrator.pair.weak() == rung;
    tier.pairs().iter().position(of)
}

impl Router {
    /// Decides a query with the fast tier, and with the deep one where the rule or the caller asks for it. Where
    /// the encoder does not answer before `deadline`, or before its own, the fast tier's decision stands, marked.
    ///
    /// # Errors
    /// When a rung is unknown, a pair with the top has no calibrator, or the operating point is unknown.
    pub async fn decide(&self, ask: &Ask<'_>, deadline: Option<Instant>) -> Result<Routed, RouteError> {
        match self.begin(ask, deadline)? {
            Begun::Decided(routed) => Ok(routed),
            Begun::Waiting(waiting) => Ok(self.finish(ask, waiting).await),
        }
    }

    /// The part of [`Router::decide`] that computes here: the decision, or the query queued for the encoder.
    ///
    /// # Errors
    /// See [`Router::decide`].
    pub fn begin(&self, ask: &Ask<'_>, deadline: Option<Instant>) -> Result<Begun, RouteError> {
        self.with_scratch(|scratch| {
            let fast = self.fast(scratch, ask)?;
            Ok(match self.queue(scratch, ask, &fast, deadline) {
                Err(reason) => Begun::Decided(self.conclude(fast, ask, reason, false)),
                Ok((reason, rungs, ticket)) => Begun::Waiting(Waiting { fast, rungs, reason, ticket }),
            })
        })
    }

    /// The part of [`Router::decide`] that waits for the encoder; `ask` is the one it began with.
    pub async fn finish(&self, ask: &Ask<'_>, waiting: Waiting) -> Routed {
        let Waiting { mut fast, rungs, reason, ticket } = waiting;
        let (reason, device_lost) = match ticket.wait().await {
            Ok(embedded) => {
                let read = self.replace(ask, &mut fast, &rungs, &embedded.vector);
                (read.map_or(TierReason::EncoderFailed, |()| reason), embedded.device_lost)
            }
            Err(reason) => (reason, reason == TierReason::DeviceLost),
        };
        self.conclude(fast, ask, reason, device_lost)
    }

    /// What the tiers did so far.
    pub fn tier_counts(&self) -> TierCounts {
        self.counters.snapshot()
    }

    /// Engine and size of the encoder in use, in a few words; `None` without a deep tier.
    pub fn deep_engine(&self) -> Option<String> {
        Some(self.deep()?.1.describe())
    }

    /// Queries worth beginning before the first is finished: as many as the encoder runs at the same time, at
    /// least 1.
    pub fn at_once(&self) -> usize {
        self.deep().map_or(1, |(_, workers)| workers.at_once())
    }

    fn deep(&self) -> Option<(&DeepTier, &DeepWorkers)> {
        self.artifact.deep().zip(self.workers.as_ref())
    }

    /// Queues a query that needs the encoder; otherwise, or when it cannot be had, why the fast tier decides.
    fn queue(
        &self,
        scratch: &Scratch,
        ask: &Ask<'_>,
        fast: &Fast,
        deadline: Option<Instant>,
    ) -> Result<(TierReason, Vec<Asked>, Ticket), TierReason> {
        let (tier, workers) = self.deep().ok_or(TierReason::NoDeepTier)?;
        let top = ask.ladder.top();
        let reason = choose(tier, top, ask.tier, fast);
        if reason.tier() == ScoringTier::Fast {
            return Err(reason);
        }
        let mut rungs = Vec::new();
        for (rung, evidence) in fast.rungs().enumerate() {
            let Some(place) = place(tier, top, &evidence.model) else { continue };
            let pair = &tier.pairs()[place];
            if reason == TierReason::Requested || parted(pair, evidence, fast) {
                let score = self.artifact.classifier().win_score(scratch, &pair.calibrator.pair);
                rungs.push(Asked { rung, pair: place, fast: score.ok_or(TierReason::EncoderFailed)? });
            }
        }
        let ticket = workers.submit(&encoder_text(ask.query), deadline.map(Instant::into_std))?;
        Ok((reason, rungs, ticket))
    }

    /// Puts the deep tier's evidence in place of the fast one's, for every rung asked about or for none.
    fn replace(&self, ask: &Ask<'_>, fast: &mut Fast, rungs: &[Asked], vector: &[f32]) -> Option<()> {
        let tier = self.artifact.deep()?;
        let slices = || ask.slices.iter().map(String::as_str);
        let mut scratch = self.deep_idle.take().unwrap_or_else(|| tier.classifier().scratch());
        tier.read(ask.query, vector, &mut scratch);
        let found: Option<Vec<_>> = rungs
            .iter()
            .map(|asked| tier.calibrated(&tier.pairs()[asked.pair], asked.fast, &scratch, slices()))
            .collect();
        self.deep_idle.put(scratch);
        for (asked, found) in rungs.iter().zip(found?) {
            if let Some(evidence) = fast.rung_mut(asked.rung) {
                evidence.score = found.score;
                evidence.win_probability = found.win_probability;
                evidence.interval = found.interval;
                evidence.scored_by = ScoringTier::Deep;
            }
        }
        Some(())
    }
}

fn parted(pair: &DeepPair, evidence: &RungEvidence, fast: &Fast) -> bool {
    straddles(pair.band.around(evidence.fast_win_probability), fast.threshold)
}

/// Why a query is decided by which tier.
fn choose(tier: &DeepTier, top: &ModelName, wish: TierWish, fast: &Fast) -> TierReason {
    if !fast.rungs().any(|rung| place(tier, top, &rung.model).is_some()) {
        return TierReason::NoDeepTier;
    }
    match wish {
        TierWish::FastOnly => return TierReason::NotWanted,
        TierWish::DeepAlways => return TierReason::Requested,
        TierWish::Auto if fast.stakes == Stakes::High => return TierReason::HighStakes,
        TierWish::Auto => {}
    }
    for rung in fast.rungs() {
        if place(tier, top, &rung.model).is_some_and(|at| parted(&tier.pairs()[at], rung, fast)) {
            return TierReason::Straddles;
        }
        // A rung that holds beyond doubt is chosen: what is dearer changes nothing.
        if !goes_strong(rung.win_probability, fast.threshold) {
            break;
        }
    }
    TierReason::BandClear
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use artifact::{CalibrationRecord, PairCalibrator};
    use calibration::{Band, Bounds, Calibrator, Knot, Map, PlattScaling, SliceOffsets, VennAbers};
    use proptest::prelude::*;
    use types::{ModelPair, Threshold, WinProbability};

    use super::*;

    fn deep_pair(lower: f64, upper: f64) -> DeepPair {
        let name = |name: &str| ModelName::new(name).unwrap();
        let bounds = Bounds { lower: 0.0, upper: 1.0 };
        let steps = VennAbers::new(bounds, vec![Knot { score: 0.0, at: bounds, above: bounds }]).unwrap();
        let calibrator = PairCalibrator {
            pair: ModelPair::new(name("strong"), name("weak")).unwrap(),
            calibrator: Calibrator::new(Map::Platt(PlattScaling::new(1.0, 0.0).unwrap()), steps),
            slices: SliceOffsets::default(),
            log_losses: BTreeMap::new(),
            rows: 0,
            positives: 0,
            cross_fit_folds: 0,
            origin: CalibrationRecord::default(),
        };
        DeepPair { stack: [0.0, 1.0], band: Band::new(lower, upper).unwrap(), calibrator }
    }

    proptest! {
        #[test]
        fn both_tiers_together_compare_the_held_probability(
            fast in 0.0..=1.0f64, deep in 0.0..=1.0f64, below in 0.0..3.0f64, above in 0.0..3.0f64,
            free in 0.0..=1.0f64, tie in 0usize..6,
        ) {
            let p = |value| WinProbability::new(value).unwrap();
            let pair = deep_pair(-below, above);
            let (fast, deep) = (p(fast), p(deep));
            let band = pair.band.around(fast);
            // Every tie there can be, and a threshold anywhere.
            let ties = [fast, deep, band.lower(), band.upper()].map(WinProbability::get);
            let threshold = Threshold::new(ties.get(tie).copied().unwrap_or(free)).unwrap();
            let scored = if straddles(band, threshold) { deep } else { fast };
            prop_assert_eq!(goes_strong(scored, threshold), goes_strong(pair.held(fast, deep), threshold));
        }
    }
}
