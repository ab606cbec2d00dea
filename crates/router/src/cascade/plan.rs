//! How a query would go through a cascade, before any model is called: which one is first, what is to be expected of
//! cost and time, and whether the chain is worth it (methods section 4). What becomes of an answer lives in `assess`.

use artifact::StageRecord;
use economics::{EconomicsError, Stage, Stages, break_even_escalation};
use policy::cascade::Step;
use types::SuccessProbability;

use super::{Cascade, CascadeError, CascadeStage, Predicted};

/// A cascade for one query, before it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Every stage, in order.
    pub stages: Vec<PlannedStage>,
    /// Which stage is called first, and which are passed over before it. Without any, the verdict is to abstain.
    pub step: Step,
    /// Expected cost of the query, with the escalation rates that were measured; 0 when no stage can be called.
    pub expected_cost_usd: f64,
    /// Expected time, where the latency of every stage that may be called is known.
    pub expected_latency_s: Option<f64>,
    /// What calling the last model alone costs.
    pub last_only_cost_usd: f64,
    /// What speaks against the chain, and what is not known of it.
    pub warnings: Vec<String>,
}

/// What is expected of one stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlannedStage {
    /// Share of such queries that reach it, in [0, 1]; 0 where it is passed over.
    pub reach: f64,
    /// Its success probability from the query alone, where the caller predicts one.
    pub predicted: Option<SuccessProbability>,
}

impl Cascade {
    /// How a query would go through this cascade with `remaining_s` seconds left (infinity: no deadline).
    ///
    /// Stages passed over before the first call count for nothing; those after it count as measured, although the
    /// deadline may skip one of them later on.
    ///
    /// # Errors
    /// When the rule refuses what it is given, which no loaded cascade makes it do.
    pub fn plan(&self, remaining_s: f64, predicted: &Predicted) -> Result<Plan, CascadeError> {
        let step = self.rule.first(remaining_s, &self.forecasts(predicted))?;
        let first = step.next.unwrap_or(self.stages.len());
        let called = self.stages.get(first..).unwrap_or_default();
        let expected = expected(called);
        let reach = expected.as_ref().map(Stages::reach).unwrap_or_default();
        let reach = vec![0.0; first].into_iter().chain(reach);
        let planned = |(stage, reach): (&CascadeStage, f64)| PlannedStage {
            reach,
            predicted: predicted.get(&stage.model).copied(),
        };
        let known = called.iter().all(|stage| stage.latency_s.is_some());
        let expected_cost_usd = expected.as_ref().map_or(0.0, Stages::expected_cost_usd);
        Ok(Plan {
            stages: self.stages.iter().zip(reach).map(planned).collect(),
            expected_cost_usd,
            expected_latency_s: expected.filter(|_| known).map(|stages| stages.expected_latency_s()),
            last_only_cost_usd: self.last_only_cost_usd(),
            warnings: self.warnings(called, expected_cost_usd, remaining_s),
            step,
        })
    }

    /// What a query that goes on at `stage` is expected to cost from there on.
    pub fn further_cost_usd(&self, stage: usize) -> f64 {
        expected(self.stages.get(stage..).unwrap_or_default()).map_or(0.0, |rest| rest.expected_cost_usd())
    }

    fn last_only_cost_usd(&self) -> f64 {
        self.stages.last().map_or(0.0, |stage| stage.cost_usd)
    }

    fn warnings(&self, called: &[CascadeStage], expected_usd: f64, remaining_s: f64) -> Vec<String> {
        let mut warnings = Vec::new();
        let last_usd = self.last_only_cost_usd();
        if let Some(last) = called.last().filter(|_| expected_usd > last_usd) {
            warnings.push(format!(
                "{} is expected to cost {expected_usd:.6} USD a query, calling {} alone costs {last_usd:.6}",
                self.name, last.model
            ));
        }
        for stage in called {
            let rate = stage.escalation_rate;
            if let Some(most) = stage.break_even_escalation.filter(|most| rate > *most) {
                warnings.push(format!(
                    "{} sends {rate:.3} of its answers on, and saves money below {most:.3}: leaving it out is cheaper",
                    stage.model
                ));
            }
            if stage.latency_s.is_none() && remaining_s.is_finite() {
                let model = &stage.model;
                warnings.push(format!("how long {model} takes is not known: the deadline does not skip it"));
            }
            if !stage.calibrated {
                warnings.push(not_calibrated(stage));
            }
        }
        warnings
    }
}

/// What is to be known of the probabilities of a model's answers.
pub(super) fn not_calibrated(stage: &CascadeStage) -> String {
    format!(
        "the verifier has no calibrator of {}'s answers: probabilities are those of all models together",
        stage.model
    )
}

/// The costs and times of a chain; `None`: it has no stage. Numbers were checked by [`break_even`].
fn expected(stages: &[CascadeStage]) -> Option<Stages> {
    Stages::new(stages.iter().map(|s| stage(s.cost_usd, s.latency_s, s.escalation_rate)).collect()).ok()
}

/// The break-even escalation rate of each stage against what follows it, first stage first.
///
/// # Errors
/// When a number is out of its range, or there is no stage.
pub(super) fn break_even(stages: &[StageRecord]) -> Result<Vec<Option<f64>>, EconomicsError> {
    let chain = |stages: &[StageRecord]| {
        Stages::new(stages.iter().map(|s| stage(s.cost_usd, s.latency_s, s.escalation_rate)).collect())
    };
    chain(stages)?;
    let of = |(i, stage): (usize, &StageRecord)| {
        let rest = chain(stages.get(i + 1..)?).ok()?.expected_cost_usd();
        break_even_escalation(stage.cost_usd, 0.0, rest).ok()
    };
    Ok(stages.iter().enumerate().map(of).collect())
}

/// A stage whose cost has that of judging in it.
fn stage(cost_usd: f64, latency_s: Option<f64>, escalation_rate: f64) -> Stage {
    let call_s = latency_s.unwrap_or(0.0);
    Stage { call_usd: cost_usd, verifier_usd: 0.0, call_s, verifier_s: 0.0, escalation_rate }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use artifact::CascadeRecord;
    use policy::cascade::{SkipReason, StepReason};
    use types::ModelName;

    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }

    /// Cost, latency and escalation rate of each stage; accepts from 0.8 on, abstains below 0.1, hopeless below 0.2.
    pub(crate) fn cascade(stages: &[(f64, Option<f64>, f64)]) -> Cascade {
        let last = stages.len() - 1;
        let stage = |(i, (cost_usd, latency_s, escalation_rate)): (usize, &(f64, Option<f64>, f64))| {
            let (abstain_below, skip_below) = if i == last { (0.4, 0.0) } else { (0.1, 0.2) };
            StageRecord {
                model: format!("model-{i}"),
                abstain_below,
                accept_above: 0.8,
                skip_below,
                cost_usd: *cost_usd,
                latency_s: *latency_s,
                reach: 1.0,
                escalation_rate: *escalation_rate,
            }
        };
        let record = CascadeRecord {
            stages: stages.iter().enumerate().map(stage).collect(),
            objective: "a test".into(),
            data: String::new(),
            rows: 1,
            created: String::new(),
            command: String::new(),
            measured: BTreeMap::new(),
            certificate: None,
            bound_to: String::new(),
        };
        Cascade::new("test", &record, |model| model.as_str() != "model-2").unwrap()
    }

    const CHAIN: [(f64, Option<f64>, f64); 3] =
        [(0.0002, Some(0.4), 0.35), (0.001, Some(0.9), 0.4), (0.006, Some(2.5), 0.0)];

    #[test]
    fn a_plan_adds_up() {
        let plan = cascade(&CHAIN).plan(f64::INFINITY, &Predicted::new()).unwrap();
        assert_eq!((plan.step.next, plan.step.skipped.len()), (Some(0), 0));
        let reach = plan.stages.iter().map(|stage| stage.reach).collect::<Vec<_>>();
        assert_eq!(reach, [1.0, 0.35, 0.35 * 0.4]);
        close(plan.expected_cost_usd, 0.0002 + 0.35 * (0.001 + 0.4 * 0.006));
        close(plan.expected_latency_s.unwrap(), 0.4 + 0.35 * (0.9 + 0.4 * 2.5));
        assert_eq!(plan.last_only_cost_usd, 0.006);
        // Of the last stage only, that it has no calibrator of its own.
        assert_eq!(plan.warnings.len(), 1, "{:?}", plan.warnings);
    }

    #[test]
    fn break_even_is_against_what_follows() {
        let cascade = cascade(&CHAIN);
        let [first, second, last] = [0, 1, 2].map(|i| cascade.stages()[i].break_even_escalation);
        close(first.unwrap(), 1.0 - 0.0002 / (0.001 + 0.4 * 0.006));
        close(second.unwrap(), 1.0 - 0.001 / 0.006);
        assert_eq!(last, None);
        close(cascade.further_cost_usd(1), 0.001 + 0.4 * 0.006);
        close(cascade.further_cost_usd(3), 0.0);
    }

    #[test]
    fn a_chain_dearer_than_its_last_model_is_warned_of() {
        let plan = |rate| {
            let chain = cascade(&[(0.001, Some(1.0), rate), (0.002, Some(1.0), 0.0)]);
            chain.plan(f64::INFINITY, &Predicted::new()).unwrap()
        };
        assert_eq!(plan(0.5).warnings, Vec::<String>::new(), "at the break-even nothing is lost");
        let dear = plan(0.51).warnings;
        assert!(dear[0].contains("calling model-1 alone costs 0.002000"), "{dear:?}");
        assert!(dear[1].contains("saves money below 0.500"), "{dear:?}");
    }

    #[test]
    fn what_cannot_be_called_is_passed_over_and_costs_nothing() {
        let chain = cascade(&CHAIN);
        let hopeless = [(ModelName::new("model-0").unwrap(), SuccessProbability::new(0.1).unwrap())];
        let plan = chain.plan(f64::INFINITY, &hopeless.into()).unwrap();
        assert_eq!((plan.step.next, plan.step.skipped[0].reason), (Some(1), SkipReason::Hopeless));
        assert_eq!((plan.stages[0].reach, plan.stages[1].reach), (0.0, 1.0));
        assert_eq!(plan.stages[0].predicted.unwrap().get(), 0.1);
        close(plan.expected_cost_usd, 0.001 + 0.4 * 0.006);
        let late = chain.plan(0.3, &Predicted::new()).unwrap();
        assert_eq!((late.step.next, late.step.reason), (None, StepReason::Deadline));
        assert_eq!((late.expected_cost_usd, late.expected_latency_s), (0.0, None));
        assert!(late.stages.iter().all(|stage| stage.reach == 0.0));
    }

    #[test]
    fn an_unknown_latency_fits_and_is_told() {
        let chain = cascade(&[(0.001, None, 0.1), (0.1, Some(2.0), 0.0)]);
        let plan = chain.plan(0.1, &Predicted::new()).unwrap();
        assert_eq!((plan.step.next, plan.expected_latency_s), (Some(0), None));
        assert!(plan.warnings[0].contains("how long model-0 takes is not known"), "{:?}", plan.warnings);
        assert_eq!(chain.plan(f64::INFINITY, &Predicted::new()).unwrap().warnings, Vec::<String>::new());
    }

    #[test]
    fn numbers_that_are_none_are_refused_with_the_cascade() {
        type Edit = fn(&mut CascadeRecord);
        let refused = |edit: Edit| {
            let mut record = cascade(&CHAIN).record().clone();
            edit(&mut record);
            Cascade::new("bad", &record, |_| true).unwrap_err().to_string()
        };
        let cases: [(Edit, &str); 5] = [
            (|r| r.stages[1].cost_usd = -1.0, "cascade bad: call_usd"),
            (|r| r.stages[1].escalation_rate = 1.5, "cascade bad: escalation_rate"),
            (|r| r.stages[0].abstain_below = 0.9, "cascade bad: abstain_below"),
            (|r| r.stages[0].model = " ".into(), "cascade bad: "),
            (|r| r.stages.clear(), "cascade bad: "),
        ];
        for (edit, expected) in cases {
            let found = refused(edit);
            assert!(found.starts_with(expected), "{found}");
        }
    }
}
