//! Exploration: now and then another rung than the policy's is served, with a known probability, so that outcomes of
//! what the policy would not do are seen as well (methods section 8). Pure: the draw arrives as a value.

use types::{Decision, ModelName, ProbabilityError, Reason, Tier};

/// How often another rung than the policy's is served. A query of high stakes is never explored.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Exploration {
    dearer: f64,
    cheaper: f64,
}

impl Exploration {
    /// Never.
    pub const NONE: Self = Self { dearer: 0.0, cheaper: 0.0 };

    /// A dearer rung for a share `dearer` of the queries that have one above the policy's choice, a cheaper one for a
    /// share `cheaper` of those that have one below; several share it evenly.
    ///
    /// # Errors
    /// When a share is not in [0, 1], or both together exceed 1.
    pub fn new(dearer: f64, cheaper: f64) -> Result<Self, ProbabilityError> {
        for share in [dearer, cheaper, dearer + cheaper] {
            if !(0.0..=1.0).contains(&share) {
                return Err(ProbabilityError::OutOfRange(share));
            }
        }
        Ok(Self { dearer, cheaper })
    }

    /// The share that goes to a dearer rung, in [0, 1].
    pub fn dearer(self) -> f64 {
        self.dearer
    }

    /// The share that goes to a cheaper rung, in [0, 1].
    pub fn cheaper(self) -> f64 {
        self.cheaper
    }

    /// The rung served where the policy chose `greedy` of `rungs`, cheapest first, and how probable that was: for a
    /// `draw` in [0, 1).
    fn serve(self, greedy: usize, rungs: usize, draw: f64) -> (usize, f64) {
        let (below, above) = (greedy, rungs.saturating_sub(greedy + 1));
        let dearer = if above > 0 { self.dearer } else { 0.0 };
        let cheaper = if below > 0 { self.cheaper } else { 0.0 };
        let among = |n: usize, share: f64, part: f64| ((part / share * n as f64) as usize).min(n - 1);
        if draw < dearer {
            (greedy + 1 + among(above, dearer, draw), dearer / above as f64)
        } else if draw < dearer + cheaper {
            (among(below, cheaper, draw - dearer), cheaper / below as f64)
        } else {
            (greedy, 1.0 - dearer - cheaper)
        }
    }
}

/// The decision that is served: the policy's, or with a known propensity another rung of the ladder under `top`. Its
/// evidence stays what it was.
///
/// `draw` in [0, 1) belongs to the request (see [`crate::request_draw`]) and must be independent of the one that chose
/// its threshold: the propensity is that of the rung given the threshold.
#[must_use]
pub fn explore(decision: Decision, top: &ModelName, exploration: Exploration, draw: f64) -> Decision {
    if decision.reason == Reason::HighStakes {
        return decision;
    }
    let rungs: Vec<&ModelName> = decision.evidence.iter().map(|rung| &rung.model).chain([top]).collect();
    let Some(greedy) = rungs.iter().position(|rung| **rung == decision.model) else { return decision };
    let (served, propensity) = exploration.serve(greedy, rungs.len(), draw);
    if served == greedy {
        return Decision { propensity, ..decision };
    }
    let tier = if served + 1 == rungs.len() { Tier::Strong } else { Tier::Weak };
    let model = rungs[served].clone();
    Decision { model, tier, reason: Reason::Explored, propensity, ..decision }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Stakes, decide, request_draw};
    use proptest::prelude::*;
    use types::{ProbabilityInterval, RungEvidence, Score, ScoringTier, Threshold, WinProbability};

    fn name(name: &str) -> ModelName {
        ModelName::new(name).unwrap()
    }

    fn rung(model: &str, p: f64) -> RungEvidence {
        let win_probability = WinProbability::new(p).unwrap();
        let interval = ProbabilityInterval::ordered(win_probability, win_probability);
        let (scored_by, fast_win_probability) = (ScoringTier::Fast, win_probability);
        let score = Score::new(0.0).unwrap();
        RungEvidence { model: name(model), score, win_probability, interval, scored_by, fast_win_probability }
    }

    /// Four rungs, of which the policy chooses the second.
    fn chosen(stakes: Stakes) -> Decision {
        let dearer = [rung("b", 0.1), rung("c", 0.05)];
        decide(&name("top"), rung("a", 0.6), dearer, Threshold::new(0.3).unwrap(), stakes)
    }

    #[test]
    fn every_rung_is_served_as_often_as_its_propensity_says() {
        let exploration = Exploration::new(0.2, 0.1).unwrap();
        let mut served = std::collections::BTreeMap::<String, (u32, f64)>::new();
        let n = 40_000;
        for i in 0..n {
            let draw = request_draw([format!("request-{i}").as_bytes()]);
            let decision = explore(chosen(Stakes::Ordinary), &name("top"), exploration, draw);
            assert_eq!(decision.policy_model.as_str(), "b");
            assert_eq!(decision.reason == Reason::Explored, decision.model.as_str() != "b");
            assert_eq!(decision.tier == Tier::Strong, decision.model.as_str() == "top");
            let seen = served.entry(decision.model.as_str().to_owned()).or_default();
            *seen = (seen.0 + 1, decision.propensity);
        }
        let propensities: Vec<f64> = served.values().map(|(_, p)| *p).collect();
        assert_eq!(served.len(), 4);
        assert!((propensities.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{propensities:?}");
        for (model, (count, propensity)) in served {
            let (share, error) = (f64::from(count) / f64::from(n), propensity * (1.0 - propensity));
            let off = (share - propensity).abs() / (error / f64::from(n)).sqrt();
            assert!(off < 4.0, "{model}: {share} of {propensity}");
        }
    }

    #[test]
    fn high_stakes_are_never_explored() {
        let always = Exploration::new(0.0, 1.0).unwrap();
        let decision = explore(chosen(Stakes::High), &name("top"), always, 0.0);
        assert_eq!((decision.model.as_str(), decision.propensity), ("top", 1.0));
        assert_eq!(decision.reason, Reason::HighStakes);
    }

    #[test]
    fn shares_that_are_none_are_refused() {
        for (dearer, cheaper) in [(-0.1, 0.0), (0.0, 1.1), (0.6, 0.5), (f64::NAN, 0.0)] {
            assert!(Exploration::new(dearer, cheaper).is_err());
        }
    }

    proptest! {
        #[test]
        fn propensities_of_all_rungs_add_up(
            rungs in 2usize..6, greedy in 0usize..6, dearer in 0.0..=0.5f64, cheaper in 0.0..=0.5f64,
        ) {
            let greedy = greedy % rungs;
            let exploration = Exploration::new(dearer, cheaper).unwrap();
            let mut total = vec![0.0; rungs];
            for i in 0..4_000 {
                let (served, propensity) = exploration.serve(greedy, rungs, f64::from(i) / 4_000.0);
                prop_assert!(propensity > 0.0 && propensity <= 1.0);
                total[served] = propensity;
            }
            // A share below the mesh of draws may be missed.
            prop_assert!((total.iter().sum::<f64>() - 1.0).abs() < 0.005, "{:?}", total);
        }

        #[test]
        fn without_exploration_nothing_changes(draw in 0.0..1.0f64) {
            let decision = chosen(Stakes::Ordinary);
            prop_assert_eq!(explore(decision.clone(), &name("top"), Exploration::NONE, draw), decision);
        }
    }
}
