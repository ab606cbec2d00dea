//! Decisions that are made elsewhere: a policy or a cascade names the model, and what is known of the query is scored
//! and said all the same.

use features::answer::Signals;
use types::{
    Decision, Ladder, ModelName, ModelPair, ProbabilityInterval, Query, Reason, Threshold, Tier,
    WinProbability,
};

use crate::route::{Ask, At, Fast, Routed, Router};

/// A query whose model is given.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// The query.
    pub query: &'a Query,
    /// Slices the query belongs to, such as `category:law`.
    pub slices: &'a [String],
    /// The model to call; one that the artifact does not know has no evidence.
    pub model: &'a ModelName,
    /// Why this one.
    pub reason: Reason,
}

impl Router {
    /// Adds to what is known of an answer what this router reads off query and answer, as far as `learned` names it and
    /// nobody said it: the signals of a verifier that was fitted with this artifact.
    pub fn add_signals(
        &self,
        (query, answer): (&Query, &str),
        model: &ModelName,
        learned: &[String],
        signals: &mut Signals,
    ) {
        let wanted = |name: &str| learned.iter().any(|learned| learned == name);
        if signals.predicted_success.is_none() && wanted("predicted_success") {
            signals.predicted_success =
                self.with_scratch(|scratch| self.artifact.predicted_success(query, model, scratch));
        }
        if signals.similarity.is_none() && wanted("similarity") {
            signals.similarity = self.artifact.similarity(query, answer);
        }
    }

    /// The calibrated pair that has something to say of a model: the default one, or the first it belongs to.
    pub fn pair_of(&self, model: &ModelName) -> Option<&ModelPair> {
        let info = self.info();
        let calibrated = |pair: &&ModelPair| pair.contains(model) && info.pairs.contains(pair);
        std::iter::once(&info.default_pair).chain(&info.pairs).find(calibrated)
    }

    /// The decision for a given model, with the fast tier's evidence of the pair it belongs to. It is probable with 1,
    /// and its threshold is the one that gives it whatever the odds: [`Threshold::ALWAYS`] for the strong model of a
    /// pair, [`Threshold::NEVER`] for any other. Without a pair there is no evidence: a win probability of 0 that is
    /// known to lie within [0, 1].
    pub fn given(&self, given: &Given<'_>) -> Routed {
        let pair = self.pair_of(given.model);
        let strong = pair.is_some_and(|pair| pair.strong() == given.model);
        let threshold = if strong { Threshold::ALWAYS } else { Threshold::NEVER };
        let scored = pair.and_then(|pair| {
            let ladder = Ladder::from(pair.clone());
            let at = At::Threshold(threshold);
            let ask = Ask { slices: given.slices, ..Ask::new(given.query, &ladder, at) };
            self.with_scratch(|scratch| self.fast(scratch, &ask)).ok()
        });
        let decision = |win_probability, interval, evidence| Decision {
            model: given.model.clone(),
            policy_model: given.model.clone(),
            propensity: 1.0,
            tier: if strong { Tier::Strong } else { Tier::Weak },
            win_probability,
            interval,
            fast_win_probability: win_probability,
            threshold,
            reason: given.reason,
            evidence,
        };
        let tier_reason = self.fast_alone();
        if let Some(Fast { cheapest, tokens_used, truncated, script, .. }) = scored {
            let (win_probability, interval) = (cheapest.win_probability, cheapest.interval);
            let decision = decision(win_probability, interval, vec![cheapest]);
            return Routed { decision, tokens_used, truncated, script, tier_reason, device_lost: false };
        }
        let (nothing, all) = (WinProbability::saturating(0.0), WinProbability::saturating(1.0));
        let decision = decision(nothing, ProbabilityInterval::ordered(nothing, all), Vec::new());
        let (tokens_used, truncated, script) = self.read(given.query);
        Routed { decision, tokens_used, truncated, script, tier_reason, device_lost: false }
    }
}
