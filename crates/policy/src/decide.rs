//! The rule that picks a rung: the one place that compares a probability with a threshold.

use types::{
    Decision, ModelName, ProbabilityInterval, Reason, RungEvidence, Threshold, Tier, WinProbability,
};

/// Whether a query goes to the strong model: the one place that compares a probability with a threshold.
///
/// Ties go strong (RouteLLM's rule): at threshold 0 every query is strong.
pub fn goes_strong(win_probability: WinProbability, threshold: Threshold) -> bool {
    win_probability.get() >= threshold.get()
}

/// Whether a threshold parts an interval: its ends would go to different models, so where in the interval the
/// probability lies matters.
pub fn straddles(interval: ProbabilityInterval, threshold: Threshold) -> bool {
    goes_strong(interval.lower(), threshold) != goes_strong(interval.upper(), threshold)
}

/// Whether a threshold may decide a query at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stakes {
    /// It may.
    Ordinary,
    /// It may not: the query carries a slice of high stakes without a certificate of its own.
    High,
}

/// Picks the cheapest rung that holds.
///
/// The rungs under `top` come cheapest first, each with the top's win probability over it. The first
/// whose probability does not reach the threshold is chosen; when none holds or the stakes are high, the
/// top is.
pub fn decide(
    top: &ModelName,
    cheapest: RungEvidence,
    dearer: impl IntoIterator<Item = RungEvidence>,
    threshold: Threshold,
    stakes: Stakes,
) -> Decision {
    let of = |rung: &RungEvidence| (rung.win_probability, rung.interval, rung.fast_win_probability);
    let (mut win_probability, mut interval, mut fast_win_probability) = of(&cheapest);
    let mut evidence = vec![cheapest];
    evidence.extend(dearer);
    let (mut model, mut tier, mut reason) = (top, Tier::Strong, Reason::AtOrAboveThreshold);
    let mut held = evidence.iter();
    if stakes == Stakes::High {
        reason = Reason::HighStakes;
        held = [].iter();
    }
    for rung in held {
        (win_probability, interval, fast_win_probability) = of(rung);
        if !goes_strong(rung.win_probability, threshold) {
            (model, tier, reason) = (&rung.model, Tier::Weak, Reason::BelowThreshold);
            break;
        }
    }
    Decision {
        model: model.clone(),
        policy_model: model.clone(),
        propensity: 1.0,
        tier,
        win_probability,
        interval,
        fast_win_probability,
        threshold,
        reason,
        evidence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use types::{Score, ScoringTier};

    fn rung(name: &str, p: f64) -> RungEvidence {
        let win_probability = WinProbability::new(p).unwrap();
        let interval = ProbabilityInterval::ordered(win_probability, win_probability);
        RungEvidence {
            model: ModelName::new(name).unwrap(),
            score: Score::new(0.0).unwrap(),
            win_probability,
            interval,
            scored_by: ScoringTier::Fast,
            fast_win_probability: win_probability,
        }
    }

    fn top() -> ModelName {
        ModelName::new("top").unwrap()
    }

    #[test]
    fn a_tie_with_the_threshold_goes_strong() {
        let at = Threshold::new(0.3).unwrap();
        let decision = decide(&top(), rung("weak", 0.3), [], at, Stakes::Ordinary);
        assert_eq!((decision.tier, decision.reason), (Tier::Strong, Reason::AtOrAboveThreshold));
        let decision = decide(&top(), rung("weak", 0.3 - 1e-12), [], at, Stakes::Ordinary);
        assert_eq!((decision.tier, decision.reason), (Tier::Weak, Reason::BelowThreshold));
    }

    #[test]
    fn the_cheapest_rung_that_holds_is_chosen() {
        let at = Threshold::new(0.2).unwrap();
        let decision =
            decide(&top(), rung("s", 0.4), [rung("m", 0.1), rung("l", 0.05)], at, Stakes::Ordinary);
        assert_eq!((decision.model.as_str(), decision.tier), ("m", Tier::Weak));
        assert_eq!(decision.win_probability.get(), 0.1);
    }

    #[test]
    fn high_stakes_go_to_the_top_whatever_the_odds() {
        let decision = decide(&top(), rung("weak", 0.0), [rung("m", 0.0)], Threshold::NEVER, Stakes::High);
        assert_eq!((decision.model.as_str(), decision.tier), ("top", Tier::Strong));
        assert_eq!((decision.reason, decision.evidence.len()), (Reason::HighStakes, 2));
    }

    #[test]
    fn an_interval_is_parted_only_by_a_threshold_above_its_lower_end() {
        let p = |value| WinProbability::new(value).unwrap();
        let interval = ProbabilityInterval::ordered(p(0.2), p(0.4));
        let parted = |t| straddles(interval, Threshold::new(t).unwrap());
        assert!(!parted(0.2) && parted(0.2_f64.next_up()), "a tie goes strong, so the whole interval does");
        assert!(parted(0.4) && !parted(0.4_f64.next_up()));
        assert!(!straddles(interval, Threshold::NEVER) && !straddles(interval, Threshold::ALWAYS));
        assert!(!straddles(ProbabilityInterval::ordered(p(0.3), p(0.3)), Threshold::new(0.3).unwrap()));
    }

    proptest! {
        #[test]
        fn raising_the_threshold_never_makes_a_decision_dearer(
            ps in prop::collection::vec(0.0..=1.0f64, 1..5), a in 0.0..=1.0f64, b in 0.0..=1.0f64,
        ) {
            let rungs = || ps.iter().enumerate().map(|(i, p)| rung(&format!("m{i}"), *p)).collect::<Vec<_>>();
            let height = |t: f64| {
                let mut all = rungs().into_iter();
                let cheapest = all.next().unwrap();
                let d = decide(&top(), cheapest, all, Threshold::new(t).unwrap(), Stakes::Ordinary);
                rungs().iter().position(|r| r.model == d.model).unwrap_or(ps.len())
            };
            prop_assert!(height(a.max(b)) <= height(a.min(b)));
        }
    }
}
