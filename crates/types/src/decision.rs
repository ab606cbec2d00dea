//! What a decision says: where the query goes, on which evidence, and why.

use crate::{ModelName, ProbabilityInterval, Score, ScoringTier, Threshold, Tier, WinProbability};

/// Why a query goes where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The chosen rung holds: the top's win probability over it is below the threshold.
    BelowThreshold,
    /// No cheaper rung holds: the top's win probability reaches the threshold over each.
    AtOrAboveThreshold,
    /// The query carries a slice of high stakes that has no certificate of its own at this threshold.
    HighStakes,
    /// Another rung than the policy's, served to see its outcome.
    Explored,
    /// A policy names the model, whatever the odds.
    ByPolicy,
    /// The stage at which a cascade begins.
    Cascade,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::BelowThreshold,
        Self::AtOrAboveThreshold,
        Self::HighStakes,
        Self::Explored,
        Self::ByPolicy,
        Self::Cascade,
    ];

    /// A stable snake-case name for logs and wires.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BelowThreshold => "below_threshold",
            Self::AtOrAboveThreshold => "at_or_above_threshold",
            Self::HighStakes => "high_stakes",
            Self::Explored => "explored",
            Self::ByPolicy => "by_policy",
            Self::Cascade => "cascade",
        }
    }
}

/// What was known of one rung below the top.
#[derive(Debug, Clone, PartialEq)]
pub struct RungEvidence {
    /// The cheaper model.
    pub model: ModelName,
    /// The raw score that was calibrated.
    pub score: Score,
    /// P(the top's answer is strictly better than this model's | query).
    pub win_probability: WinProbability,
    /// How far that probability is known: the Venn-Abers interval around it.
    pub interval: ProbabilityInterval,
    /// Whose probability it is.
    pub scored_by: ScoringTier,
    /// What the fast tier says: the same, where it scored.
    pub fast_win_probability: WinProbability,
}

/// The outcome of the policy for one query.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The model to call.
    pub model: ModelName,
    /// What the policy chooses: the same, but where it is explored.
    pub policy_model: ModelName,
    /// How probable `model` was, given the threshold, in (0, 1]: 1 without exploration.
    pub propensity: f64,
    /// `Strong` when the top rung was chosen, `Weak` for any rung below.
    pub tier: Tier,
    /// The win probability that decided: over the policy's rung, or over the last rung passed by. 0, within [0, 1], where
    /// a policy names a model that nothing is known of: then there is no evidence.
    pub win_probability: WinProbability,
    /// How far that probability is known.
    pub interval: ProbabilityInterval,
    /// What the fast tier says of the same rung.
    pub fast_win_probability: WinProbability,
    /// What the probability was compared with.
    pub threshold: Threshold,
    /// Why.
    pub reason: Reason,
    /// Every rung below the top that was looked at, cheapest first.
    pub evidence: Vec<RungEvidence>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_name_and_a_place_of_its_own() {
        let names: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
    }
}
