//! Where a query goes: the pure rule that compares probabilities with a threshold.
//! Nothing is scored, read or drawn here; probabilities and thresholds arrive as values.

use types::{Decision, ModelName, Reason, RungEvidence, Threshold, Tier, WinProbability};

/// Whether a query goes to the strong model: the one place that compares a probability with a threshold.
///
/// Ties go strong (RouteLLM's rule): at threshold 0 every query is strong.
pub fn goes_strong(win_probability: WinProbability, threshold: Threshold) -> bool {
    win_probability.get() >= threshold.get()
}

/// Picks the cheapest rung that holds.
///
/// `below` lists the rungs under `top`, cheapest first, each with the top's win probability
/// over it; it must not be empty. The first rung whose probability does not reach the threshold
/// is chosen; when none holds, the top is.
///
/// Returns `None` when `below` is empty: there is nothing to decide.
pub fn decide(top: &ModelName, below: Vec<RungEvidence>, threshold: Threshold) -> Option<Decision> {
    let holds = below.iter().position(|rung| !goes_strong(rung.win_probability, threshold));
    let deciding = holds.unwrap_or(below.len().checked_sub(1)?);
    let win_probability = below[deciding].win_probability;
    let (model, tier, reason) = match holds {
        Some(i) => (below[i].model.clone(), Tier::Weak, Reason::BelowThreshold),
        None => (top.clone(), Tier::Strong, Reason::AtOrAboveThreshold),
    };
    Some(Decision { model, tier, win_probability, threshold, reason, evidence: below })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rung(name: &str, p: f64) -> RungEvidence {
        RungEvidence {
            model: ModelName::new(name).unwrap(),
            win_probability: WinProbability::new(p).unwrap(),
        }
    }

    fn top() -> ModelName {
        ModelName::new("top").unwrap()
    }

    #[test]
    fn a_tie_with_the_threshold_goes_strong() {
        let at = Threshold::new(0.3).unwrap();
        let decision = decide(&top(), vec![rung("weak", 0.3)], at).unwrap();
        assert_eq!((decision.tier, decision.reason), (Tier::Strong, Reason::AtOrAboveThreshold));
        let decision = decide(&top(), vec![rung("weak", 0.3 - 1e-12)], at).unwrap();
        assert_eq!((decision.tier, decision.reason), (Tier::Weak, Reason::BelowThreshold));
    }

    #[test]
    fn the_cheapest_rung_that_holds_is_chosen() {
        let at = Threshold::new(0.2).unwrap();
        let decision = decide(&top(), vec![rung("s", 0.4), rung("m", 0.1), rung("l", 0.05)], at).unwrap();
        assert_eq!((decision.model.as_str(), decision.tier), ("m", Tier::Weak));
        assert_eq!(decision.win_probability.get(), 0.1);
        assert_eq!(decide(&top(), vec![], at), None);
    }

    proptest! {
        #[test]
        fn raising_the_threshold_never_makes_a_decision_dearer(
            ps in prop::collection::vec(0.0..=1.0f64, 1..5), a in 0.0..=1.0f64, b in 0.0..=1.0f64,
        ) {
            let rungs = || ps.iter().enumerate().map(|(i, p)| rung(&format!("m{i}"), *p)).collect::<Vec<_>>();
            let height = |t: f64| {
                let d = decide(&top(), rungs(), Threshold::new(t).unwrap()).unwrap();
                rungs().iter().position(|r| r.model == d.model).unwrap_or(ps.len())
            };
            prop_assert!(height(a.max(b)) <= height(a.min(b)));
        }
    }
}
