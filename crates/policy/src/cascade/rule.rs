//! The rule of a cascade: what becomes of an answer and which model is called next. The one place that compares a
//! success probability with a threshold. How thresholds are found lives in `sweep`.

use types::{SuccessProbability, Threshold};

use crate::SelectError;
use crate::cascade::sample::check_stages;
use crate::error::{amount, count};

/// Two thresholds of a stage. In [0, 1] or the next number above 1, which no probability reaches; the lower one never
/// above the higher one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StageThresholds {
    abstain_below: Threshold,
    accept_above: Threshold,
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It is returned.
    Accept,
    /// The next model is asked.
    Escalate,
    /// No answer is returned: none is expected to be good enough.
    Abstain,
}

impl Verdict {
    /// `"accept"`, `"escalate"` or `"abstain"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Escalate => "escalate",
            Self::Abstain => "abstain",
        }
    }
}

impl StageThresholds {
    /// Every answer is accepted.
    pub const ACCEPT_ALL: Self = Self { abstain_below: Threshold::ALWAYS, accept_above: Threshold::ALWAYS };

    /// Every query is sent on; as the last stage, every answer is accepted.
    pub const ESCALATE_ALL: Self = Self { abstain_below: Threshold::ALWAYS, accept_above: Threshold::NEVER };

    /// Accepts at or above `accept_above`, abstains below `abstain_below`, escalates between.
    ///
    /// # Errors
    /// When one is NaN, below 0 or above the next number above 1, or `abstain_below` is above `accept_above`.
    pub fn new(abstain_below: f64, accept_above: f64) -> Result<Self, SelectError> {
        if abstain_below > accept_above {
            let (field, value) = ("abstain_below", abstain_below);
            return Err(SelectError::OutOfRange { field, value, expected: "no number above accept_above" });
        }
        let abstain_below = threshold("abstain_below", abstain_below)?;
        Ok(Self { abstain_below, accept_above: threshold("accept_above", accept_above)? })
    }

    /// Below this the cascade abstains.
    pub fn abstain_below(self) -> f64 {
        self.abstain_below.get()
    }

    /// At or above this the answer is accepted.
    pub fn accept_above(self) -> f64 {
        self.accept_above.get()
    }

    /// The verdict on an answer of a stage that has another one after it.
    pub fn judge(self, p: SuccessProbability) -> Verdict {
        if p.get() >= self.accept_above() {
            Verdict::Accept
        } else if p.get() < self.abstain_below() {
            Verdict::Abstain
        } else {
            Verdict::Escalate
        }
    }

    /// The verdict on an answer after which there is none: `accept_above` does not matter, because nothing can be
    /// escalated.
    pub fn judge_last(self, p: SuccessProbability) -> Verdict {
        if p.get() < self.abstain_below() { Verdict::Abstain } else { Verdict::Accept }
    }

    /// Thresholds found by a sweep: the nearest valid pair to computed values.
    pub(super) fn saturating(abstain_below: f64, accept_above: f64) -> Self {
        let accept_above = Threshold::saturating(accept_above);
        Self { abstain_below: Threshold::saturating(abstain_below.min(accept_above.get())), accept_above }
    }
}

fn threshold(field: &'static str, value: f64) -> Result<Threshold, SelectError> {
    let expected = "a number in [0, 1], or the next one above 1";
    Threshold::new(value).map_err(|_| SelectError::OutOfRange { field, value, expected })
}

/// What a stage does with an answer, and before there is one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StageRule {
    thresholds: StageThresholds,
    skip_below: Threshold,
}

impl StageRule {
    /// A stage that is skipped when its predicted success probability is below `skip_below`; 0 never skips.
    ///
    /// # Errors
    /// When `skip_below` is NaN, below 0 or above the next number above 1.
    pub fn new(thresholds: StageThresholds, skip_below: f64) -> Result<Self, SelectError> {
        Ok(Self { thresholds, skip_below: threshold("skip_below", skip_below)? })
    }

    /// A stage that is called whatever is predicted of it.
    pub fn always_called(thresholds: StageThresholds) -> Self {
        Self { thresholds, skip_below: Threshold::ALWAYS }
    }

    /// What becomes of an answer of this stage.
    pub fn thresholds(self) -> StageThresholds {
        self.thresholds
    }

    /// Below this predicted success probability the stage is not called.
    pub fn skip_below(self) -> f64 {
        self.skip_below.get()
    }

    fn hopeless(self, predicted: Option<SuccessProbability>) -> bool {
        predicted.is_some_and(|p| p.get() < self.skip_below())
    }
}

/// The predicted chance of acceptance at which calling a stage pays for itself, `(c + v) / cost_beyond`: above it the
/// call and its verifier (`stage_cost`) are cheaper than what an accepted answer saves further on (the escalation
/// break-even of methods section 4, read the other way round: `p_accept x cost_beyond > c + v`). The natural
/// `skip_below` of every stage but the last. Where it would be above 1, the stage never pays: the next number above 1.
///
/// # Errors
/// When a cost is negative or not finite.
pub fn break_even_acceptance(stage_cost: f64, cost_beyond: f64) -> Result<f64, SelectError> {
    let (stage_cost, cost_beyond) = (amount("stage cost", stage_cost)?, amount("cost beyond", cost_beyond)?);
    // Nothing is lost by a call that costs nothing, whatever lies beyond.
    let ratio = if stage_cost == 0.0 { 0.0 } else { stage_cost / cost_beyond };
    Ok(if ratio > 1.0 { Threshold::NEVER.get() } else { ratio })
}

/// What is known of a stage before it is called.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forecast {
    /// How long its call and its verifier take: a quantile such as the p95, in seconds.
    pub latency_s: f64,
    /// Its success probability from the query alone, where a router predicts one.
    pub success: Option<SuccessProbability>,
}

/// Why a cascade does what it does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StepReason {
    /// No model was called yet.
    NoAnswerYet,
    /// The answer reaches the stage's `accept_above`.
    AtOrAboveAccept,
    /// The answer is below the stage's `abstain_below`.
    BelowAbstain,
    /// The answer lies between the thresholds, and a later stage can be called.
    Between,
    /// There is no later stage.
    LastStage,
    /// No later stage fits the remaining time (those that do, if any, are hopeless).
    Deadline,
    /// Every later stage is predicted to fail.
    Hopeless,
}

impl StepReason {
    /// `"no_answer_yet"`, `"at_or_above_accept"`, `"below_abstain"`, `"between"`, `"last_stage"`, `"deadline"` or
    /// `"hopeless"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoAnswerYet => "no_answer_yet",
            Self::AtOrAboveAccept => "at_or_above_accept",
            Self::BelowAbstain => "below_abstain",
            Self::Between => "between",
            Self::LastStage => "last_stage",
            Self::Deadline => "deadline",
            Self::Hopeless => "hopeless",
        }
    }
}

/// Why a stage was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// It is expected to take longer than there is time.
    TooSlow,
    /// Its predicted success probability is below its `skip_below`.
    Hopeless,
}

impl SkipReason {
    /// `"too_slow"` or `"hopeless"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooSlow => "too_slow",
            Self::Hopeless => "hopeless",
        }
    }
}

/// A stage that was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skip {
    /// Which stage, from 0.
    pub stage: usize,
    /// Why.
    pub reason: SkipReason,
}

/// What a cascade does next.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What becomes of the answer at hand.
    pub verdict: Verdict,
    /// Why.
    pub reason: StepReason,
    /// The stage to call; there is one exactly when the verdict is to escalate.
    pub next: Option<usize>,
    /// Stages passed over on the way to it, in order.
    pub skipped: Vec<Skip>,
}

/// The rule of a chain of 1 to 8 stages.
#[derive(Debug, Clone, PartialEq)]
pub struct CascadeRule(Vec<StageRule>);

impl CascadeRule {
    /// A chain, first stage first.
    ///
    /// # Errors
    /// When there is no stage, or more than 8.
    pub fn new(stages: Vec<StageRule>) -> Result<Self, SelectError> {
        check_stages(stages.len())?;
        Ok(Self(stages))
    }

    /// The stages, first stage first.
    pub fn stages(&self) -> &[StageRule] {
        &self.0
    }

    /// Which stage is called first, with `remaining_s` seconds left (infinity: no deadline). One forecast a stage.
    /// When none is left to call, the verdict is to abstain.
    ///
    /// # Errors
    /// When there are not as many forecasts as stages.
    pub fn first(&self, remaining_s: f64, forecasts: &[Forecast]) -> Result<Step, SelectError> {
        self.check(0, forecasts)?;
        Ok(self.call_from(0, remaining_s, forecasts, StepReason::NoAnswerYet, Verdict::Abstain))
    }

    /// What follows an answer of `stage` with success probability `p`, with `remaining_s` seconds left.
    ///
    /// Stages that do not fit, or are hopeless, are passed over, only forwards. When none is left, the answer is held
    /// to what the last stage's would be: accepted at or above the last stage's `abstain_below`.
    ///
    /// # Errors
    /// When there is no such stage, or there are not as many forecasts as stages.
    pub fn after(
        &self,
        stage: usize,
        p: SuccessProbability,
        remaining_s: f64,
        forecasts: &[Forecast],
    ) -> Result<Step, SelectError> {
        let rule = self.check(stage, forecasts)?;
        let stop = |verdict, reason| Step { verdict, reason, next: None, skipped: Vec::new() };
        if stage + 1 == self.0.len() {
            return Ok(stop(rule.thresholds.judge_last(p), StepReason::LastStage));
        }
        Ok(match rule.thresholds.judge(p) {
            Verdict::Accept => stop(Verdict::Accept, StepReason::AtOrAboveAccept),
            Verdict::Abstain => stop(Verdict::Abstain, StepReason::BelowAbstain),
            Verdict::Escalate => {
                let last = self.0.last().map_or(rule, |last| *last);
                let otherwise = last.thresholds.judge_last(p);
                self.call_from(stage + 1, remaining_s, forecasts, StepReason::Between, otherwise)
            }
        })
    }

    fn check(&self, stage: usize, forecasts: &[Forecast]) -> Result<StageRule, SelectError> {
        count("forecasts", forecasts.len(), self.0.len()..=self.0.len(), "as many as stages")?;
        let (field, value) = ("stage", stage as f64);
        let expected = "a stage of the chain, from 0";
        self.0.get(stage).copied().ok_or(SelectError::OutOfRange { field, value, expected })
    }

    /// The first stage from `start` that fits and is not hopeless; without one, the verdict `otherwise`.
    fn call_from(
        &self,
        start: usize,
        remaining_s: f64,
        forecasts: &[Forecast],
        reason: StepReason,
        otherwise: Verdict,
    ) -> Step {
        let mut skipped = Vec::new();
        for (stage, (rule, forecast)) in self.0.iter().zip(forecasts).enumerate().skip(start) {
            let skip = if rule.hopeless(forecast.success) {
                SkipReason::Hopeless
            } else if forecast.latency_s <= remaining_s {
                return Step { verdict: Verdict::Escalate, reason, next: Some(stage), skipped };
            } else {
                // A latency that is no number is not known to fit.
                SkipReason::TooSlow
            };
            skipped.push(Skip { stage, reason: skip });
        }
        let slow = skipped.iter().any(|skip| skip.reason == SkipReason::TooSlow);
        let reason = if slow { StepReason::Deadline } else { StepReason::Hopeless };
        Step { verdict: otherwise, reason, next: None, skipped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn p(value: f64) -> SuccessProbability {
        SuccessProbability::new(value).unwrap()
    }

    fn stage(abstain_below: f64, accept_above: f64, skip_below: f64) -> StageRule {
        StageRule::new(StageThresholds::new(abstain_below, accept_above).unwrap(), skip_below).unwrap()
    }

    /// Three stages: the second hopeless below 0.3, the last abstains below 0.4.
    fn rule() -> CascadeRule {
        CascadeRule::new(vec![stage(0.1, 0.8, 0.2), stage(0.2, 0.7, 0.3), stage(0.4, 0.4, 0.0)]).unwrap()
    }

    fn forecasts(latencies_s: [f64; 3], success: [f64; 3]) -> [Forecast; 3] {
        [0, 1, 2].map(|i| Forecast { latency_s: latencies_s[i], success: Some(p(success[i])) })
    }

    const HOPEFUL: [f64; 3] = [0.9; 3];

    #[test]
    fn thresholds_that_are_none_are_refused() {
        for (below, above) in [(-0.1, 0.5), (0.5, 1.1), (f64::NAN, 0.5), (0.2, f64::NAN), (0.6, 0.5)] {
            assert!(StageThresholds::new(below, above).is_err(), "{below} {above}");
        }
        let never = Threshold::NEVER.get();
        let always_abstain = StageThresholds::new(never, never).unwrap();
        assert_eq!(always_abstain.judge(p(1.0)), Verdict::Abstain);
        assert_eq!(always_abstain.judge_last(p(1.0)), Verdict::Abstain);
        assert_eq!(StageThresholds::ESCALATE_ALL.judge(p(1.0)), Verdict::Escalate);
        assert_eq!(StageThresholds::ESCALATE_ALL.judge_last(p(0.0)), Verdict::Accept);
        assert_eq!(StageThresholds::ACCEPT_ALL.judge(p(0.0)), Verdict::Accept);
        assert!(StageRule::new(StageThresholds::ACCEPT_ALL, 1.5).is_err());
        assert!(CascadeRule::new(vec![]).is_err());
        assert!(CascadeRule::new(vec![stage(0.0, 0.5, 0.0); 9]).is_err());
    }

    #[test]
    fn ties_belong_to_the_upper_side() {
        let thresholds = StageThresholds::new(0.3, 0.7).unwrap();
        let judged = [0.3_f64.next_down(), 0.3, 0.7_f64.next_down(), 0.7].map(|v| thresholds.judge(p(v)));
        assert_eq!(judged, [Verdict::Abstain, Verdict::Escalate, Verdict::Escalate, Verdict::Accept]);
        let last = [0.3_f64.next_down(), 0.3].map(|v| thresholds.judge_last(p(v)));
        assert_eq!(last, [Verdict::Abstain, Verdict::Accept]);
        assert_eq!(judged.map(Verdict::as_str), ["abstain", "escalate", "escalate", "accept"]);
    }

    #[test]
    fn an_answer_is_accepted_sent_on_or_given_up() {
        let step = |at, value| rule().after(at, p(value), 10.0, &forecasts([1.0; 3], HOPEFUL)).unwrap();
        let told = |step: &Step| (step.verdict.as_str(), step.reason.as_str(), step.next);
        assert_eq!(told(&step(0, 0.8)), ("accept", "at_or_above_accept", None));
        assert_eq!(told(&step(0, 0.05)), ("abstain", "below_abstain", None));
        assert_eq!(told(&step(0, 0.5)), ("escalate", "between", Some(1)));
        assert_eq!(told(&step(2, 0.4)), ("accept", "last_stage", None));
        assert_eq!(told(&step(2, 0.39)), ("abstain", "last_stage", None));
        assert!(rule().after(3, p(0.5), 10.0, &forecasts([1.0; 3], HOPEFUL)).is_err());
        assert!(rule().after(0, p(0.5), 10.0, &forecasts([1.0; 3], HOPEFUL)[..2]).is_err());
    }

    #[test]
    fn slow_stages_are_passed_over_forwards_only() {
        let late = |latencies_s, remaining_s| {
            rule().after(0, p(0.5), remaining_s, &forecasts(latencies_s, HOPEFUL)).unwrap()
        };
        let step = late([0.1, 5.0, 2.0], 3.0);
        assert_eq!((step.next, step.reason), (Some(2), StepReason::Between));
        assert_eq!(step.skipped, [Skip { stage: 1, reason: SkipReason::TooSlow }]);
        // The first stage would fit, but it has answered already.
        let step = late([0.1, 5.0, 4.0], 3.0);
        assert_eq!((step.verdict, step.reason, step.next), (Verdict::Accept, StepReason::Deadline, None));
        assert_eq!(step.skipped.len(), 2);
        // A latency equal to what is left fits; one that is no number does not.
        assert_eq!(late([0.1, 3.0, 4.0], 3.0).next, Some(1));
        assert_eq!(late([0.1, f64::NAN, 4.0], 3.0).reason, StepReason::Deadline);
    }

    #[test]
    fn an_answer_cut_off_by_the_deadline_is_held_to_the_last_stage() {
        let late = |value| rule().after(0, p(value), 0.5, &forecasts([1.0; 3], HOPEFUL)).unwrap();
        // Above the first stage's abstain_below of 0.1, on both sides of the last one's 0.4.
        assert_eq!((late(0.39).verdict, late(0.39).reason), (Verdict::Abstain, StepReason::Deadline));
        assert_eq!((late(0.4).verdict, late(0.4).reason), (Verdict::Accept, StepReason::Deadline));
    }

    #[test]
    fn hopeless_stages_are_passed_over() {
        let first = |success| rule().first(10.0, &forecasts([1.0; 3], success)).unwrap();
        assert_eq!((first([0.2, 0.9, 0.9]).next, first([0.2, 0.9, 0.9]).skipped.len()), (Some(0), 0));
        let step = first([0.1, 0.29, 0.0]);
        assert_eq!((step.next, step.reason), (Some(2), StepReason::NoAnswerYet));
        assert!(step.skipped.iter().all(|skip| skip.reason == SkipReason::Hopeless));
        let hopeless = CascadeRule::new(vec![stage(0.0, 0.8, 0.5), stage(0.4, 0.4, 0.5)]).unwrap();
        let step = hopeless.first(10.0, &forecasts([1.0; 3], [0.1; 3])[..2]).unwrap();
        assert_eq!((step.verdict, step.reason), (Verdict::Abstain, StepReason::Hopeless));
        let step = hopeless.after(0, p(0.6), 10.0, &forecasts([1.0; 3], [0.1; 3])[..2]).unwrap();
        assert_eq!((step.verdict, step.reason), (Verdict::Accept, StepReason::Hopeless));
        // Without a prediction nothing is hopeless.
        let unknown = Forecast { latency_s: 1.0, success: None };
        assert_eq!(hopeless.first(10.0, &[unknown; 2]).unwrap().next, Some(0));
        let always =
            CascadeRule::new(vec![StageRule::always_called(StageThresholds::ACCEPT_ALL); 2]).unwrap();
        assert_eq!(always.first(10.0, &forecasts([1.0; 3], [0.0; 3])[..2]).unwrap().next, Some(0));
    }

    #[test]
    fn a_stage_breaks_even_where_the_escalation_break_even_says() {
        // Methods section 4: p* = 1 - (c + v) / C = .8975 for c = .00036, v = .00005, C = .004.
        let acceptance = break_even_acceptance(0.00036 + 0.00005, 0.004).unwrap();
        assert!((1.0 - acceptance - 0.8975).abs() < 1e-12);
        assert_eq!(break_even_acceptance(2.0, 1.0), Ok(Threshold::NEVER.get()));
        assert_eq!(break_even_acceptance(1.0, 0.0), Ok(Threshold::NEVER.get()));
        assert_eq!(break_even_acceptance(0.0, 0.0), Ok(0.0));
        assert!(break_even_acceptance(-1.0, 1.0).is_err() && break_even_acceptance(1.0, f64::NAN).is_err());
    }

    proptest! {
        #[test]
        fn a_better_answer_never_fares_worse(
            s in 0.0..=1.0f64, gap in 0.0..=1.0f64, a in 0.0..=1.0f64, b in 0.0..=1.0f64,
        ) {
            let thresholds = StageThresholds::new(s, (s + gap).min(1.0)).unwrap();
            let rank = |value: f64| match thresholds.judge(p(value)) {
                Verdict::Abstain => 0,
                Verdict::Escalate => 1,
                Verdict::Accept => 2,
            };
            prop_assert!(rank(a.max(b)) >= rank(a.min(b)));
            prop_assert_ne!(thresholds.judge_last(p(a)), Verdict::Escalate);
        }

        #[test]
        fn a_step_calls_exactly_when_it_escalates_and_only_what_fits(
            at in 0usize..3, value in 0.0..=1.0f64, remaining_s in 0.0..4.0f64,
            latencies_s in prop::array::uniform3(0.0..4.0f64), success in prop::array::uniform3(0.0..=1.0f64),
        ) {
            let (rule, forecasts) = (rule(), forecasts(latencies_s, success));
            for step in [rule.after(at, p(value), remaining_s, &forecasts), rule.first(remaining_s, &forecasts)] {
                let step = step.unwrap();
                prop_assert_eq!(step.next.is_some(), step.verdict == Verdict::Escalate);
                if let Some(next) = step.next {
                    prop_assert!(latencies_s[next] <= remaining_s);
                    prop_assert!(success[next] >= rule.stages()[next].skip_below());
                    prop_assert!(next > at || step.reason == StepReason::NoAnswerYet);
                    prop_assert!(step.skipped.iter().all(|skip| skip.stage < next));
                }
            }
        }
    }
}
