//! What becomes of an answer of a cascade: the verifier judges it, the rule decides. What is to be expected before any
//! answer lives in `plan`.

use artifact::Judged;
use classifier::AnswerGiven;
use features::answer::{SIGNAL_NAMES, Signals};
use policy::cascade::{StageThresholds, Step, StepReason};
use types::{Query, SuccessProbability};

use super::plan::not_calibrated;
use super::{Cascade, CascadeError, Cascades, Predicted};

/// An answer to assess.
#[derive(Debug, Clone, Copy)]
pub struct AnswerAt<'a> {
    /// The stage that gave it, from 0.
    pub stage: usize,
    /// What was asked.
    pub query: &'a Query,
    /// What was answered.
    pub text: &'a str,
    /// What is known beside the text.
    pub signals: &'a Signals,
    /// Slices of the query; one of them may name a task with a usual length of its own.
    pub slices: &'a [String],
    /// Seconds that are left; infinity: no deadline.
    pub remaining_s: f64,
    /// See [`Predicted`].
    pub predicted: &'a Predicted,
}

/// What becomes of an answer, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessed {
    /// What the verifier says of it.
    pub judged: Judged,
    /// What the probability was compared with.
    pub thresholds: StageThresholds,
    /// Where later stages exist and none can be called: the last stage's `abstain_below`, which decided instead.
    pub last_abstain_below: Option<f64>,
    /// What is done next.
    pub step: Step,
    /// What the query is expected to cost from here on: 0 where it ends.
    pub further_cost_usd: f64,
    /// What should be known of this verdict.
    pub warnings: Vec<String>,
}

impl Cascade {
    /// What follows a success probability at a stage, with `remaining_s` seconds left.
    ///
    /// # Errors
    /// When there is no such stage.
    pub fn follow(
        &self,
        stage: usize,
        p: SuccessProbability,
        remaining_s: f64,
        predicted: &Predicted,
    ) -> Result<Step, CascadeError> {
        self.stage(stage)?;
        Ok(self.rule.after(stage, p, remaining_s, &self.forecasts(predicted))?)
    }
}

impl Cascades {
    /// Judges an answer and says what becomes of it. Equal answers at equal times get equal verdicts.
    ///
    /// # Errors
    /// When the cascade or the stage is unknown, or the verifier's score is no number.
    pub fn assess(&self, cascade: &str, answer: &AnswerAt<'_>) -> Result<Assessed, CascadeError> {
        let cascade = self.cascade(cascade)?;
        let stage = cascade.stage(answer.stage)?;
        let AnswerAt { query, text, signals, slices, .. } = *answer;
        let given = AnswerGiven { query, model: &stage.model, text, signals, slices };
        let judged = self.with_scratch(|scratch| self.artifact.judge(&given, scratch));
        let judged = judged.ok_or(CascadeError::NoScore)?;
        let step = cascade.follow(answer.stage, judged.probability, answer.remaining_s, answer.predicted)?;
        let cut_off = matches!(step.reason, StepReason::Deadline | StepReason::Hopeless);
        let last = cascade.stages.last().filter(|_| cut_off);
        let mut warnings = Vec::new();
        if !self.artifact.verifier().models.contains(&stage.model) {
            warnings.push(format!("the verifier has seen no answer of {}", stage.model));
        }
        if !judged.of_its_model {
            warnings.push(not_calibrated(stage));
        }
        warnings.extend(self.unlearned(signals));
        Ok(Assessed {
            judged,
            thresholds: stage.rule.thresholds(),
            last_abstain_below: last.map(|last| last.rule.thresholds().abstain_below()),
            further_cost_usd: step.next.map_or(0.0, |next| cascade.further_cost_usd(next)),
            step,
            warnings,
        })
    }

    /// Signals that came with an answer and that no training answer carried.
    fn unlearned(&self, signals: &Signals) -> Option<String> {
        let learned = &self.manifest().signals;
        let supplied = SIGNAL_NAMES.iter().zip(signals.supplied());
        let unlearned: Vec<&str> = supplied
            .filter(|(name, supplied)| *supplied && learned.iter().all(|l| l != *name))
            .map(|(name, _)| *name)
            .collect();
        (!unlearned.is_empty())
            .then(|| format!("the verifier has learned nothing of these signals: {}", unlearned.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use policy::cascade::Verdict;
    use types::ModelName;

    use super::*;
    use crate::cascade::plan::tests::cascade;

    #[test]
    fn an_answer_is_followed_by_what_the_rule_says() {
        let chain = cascade(&[(0.001, Some(1.0), 0.3), (0.01, Some(2.0), 0.3), (0.1, Some(4.0), 0.0)]);
        let p = |value| SuccessProbability::new(value).unwrap();
        let follow = |stage, value, remaining_s| {
            let step = chain.follow(stage, p(value), remaining_s, &Predicted::new()).unwrap();
            (step.verdict, step.reason, step.next)
        };
        let forever = f64::INFINITY;
        assert_eq!(follow(0, 0.8, forever), (Verdict::Accept, StepReason::AtOrAboveAccept, None));
        assert_eq!(follow(0, 0.5, forever), (Verdict::Escalate, StepReason::Between, Some(1)));
        assert_eq!(follow(0, 0.05, forever), (Verdict::Abstain, StepReason::BelowAbstain, None));
        assert_eq!(follow(2, 0.5, forever), (Verdict::Accept, StepReason::LastStage, None));
        assert_eq!(follow(0, 0.3, 1.0), (Verdict::Abstain, StepReason::Deadline, None));
        let poor = [(ModelName::new("model-1").unwrap(), p(0.1))].into();
        let step = chain.follow(0, p(0.5), forever, &poor).unwrap();
        assert_eq!((step.next, step.skipped.len()), (Some(2), 1));
        let error = chain.follow(3, p(0.5), forever, &poor).unwrap_err().to_string();
        assert_eq!(error, "test has no stage 3: expected 0 to 2");
        let error = chain.position("gpt-9").unwrap_err().to_string();
        assert_eq!(error, "gpt-9 is no stage of test: its stages are model-0, model-1, model-2");
    }
}
