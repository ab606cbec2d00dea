//! What a decision and the reports about it say together: labels of its win probabilities, and how many decisions have
//! any. Missing feedback is never success.

use std::collections::BTreeMap;

use crate::record::{DecisionRecord, Outcome, OutcomeRecord};

/// A decision with every report that came within the horizon, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Joined {
    /// The decision.
    pub decision: DecisionRecord,
    /// What was reported of it.
    pub outcomes: Vec<OutcomeRecord>,
}

/// What happened where a win probability had been given.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// The dearer model.
    pub strong: String,
    /// The cheaper model.
    pub weak: String,
    /// Raw score, log odds.
    pub score: f64,
    /// What was said, in [0, 1].
    pub win_probability: f64,
    /// Strong's answer was strictly better.
    pub strong_better: bool,
}

/// The labels that reports give: a graded score of both models of a rung, a preference or a judge's verdict on a ladder
/// of two. Where reports differ, people come before judges, and earlier ones before later.
pub fn labels(decision: &DecisionRecord, outcomes: &[OutcomeRecord]) -> Vec<Label> {
    let Some(top) = decision.action_set.last() else { return Vec::new() };
    let verdict = |outcome: &Outcome, rung: &str| match outcome {
        Outcome::Graded { scores } => Some(scores.get(top)? > scores.get(rung)?),
        Outcome::Preference { strong } if decision.evidence.len() == 1 => Some(*strong > 0.5),
        _ => None,
    };
    let judged = |outcome: &Outcome| match outcome {
        Outcome::Judge { strong, .. } if decision.evidence.len() == 1 => Some(*strong > 0.5),
        _ => None,
    };
    let label = |rung: &crate::Evidence| {
        let of_people = outcomes.iter().find_map(|report| verdict(&report.outcome, &rung.model));
        let strong_better =
            of_people.or_else(|| outcomes.iter().find_map(|report| judged(&report.outcome)))?;
        Some(Label {
            strong: top.clone(),
            weak: rung.model.clone(),
            score: rung.score,
            win_probability: rung.win_probability,
            strong_better,
        })
    };
    decision.evidence.iter().filter_map(label).collect()
}

impl Joined {
    /// See [`labels`].
    pub fn labels(&self) -> Vec<Label> {
        labels(&self.decision, &self.outcomes)
    }

    /// The model that answered in the end: the decision's, unless a caller reported another after a fallback.
    pub fn answered_by(&self) -> &str {
        usage(&self.outcomes).unwrap_or(&self.decision.action)
    }

    /// Whether the answer was acceptable, in [0, 1]: the mean of the reports that say so, none without one.
    pub fn acceptable(&self) -> Option<f64> {
        let model = self.answered_by();
        let said: Vec<f64> = self.outcomes.iter().filter_map(|o| o.outcome.acceptable(model)).collect();
        (!said.is_empty()).then(|| said.iter().sum::<f64>() / said.len() as f64)
    }
}

/// The model that answered, where it was reported.
fn usage(outcomes: &[OutcomeRecord]) -> Option<&str> {
    outcomes.iter().find_map(|report| match &report.outcome {
        Outcome::Usage { model, .. } => Some(model.as_str()),
        _ => None,
    })
}

/// How many decisions of an age have been reported on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaturityBand {
    /// Youngest age, seconds.
    pub from_s: u64,
    /// Decisions.
    pub decided: u64,
    /// Those with a report that says something of the answer.
    pub joined: u64,
}

/// How complete feedback is, by age of the decision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Maturity {
    /// Decisions and reports, by band.
    counts: BTreeMap<usize, (u64, u64)>,
}

/// Youngest ages of the bands, seconds: now, a minute, an hour, a day, a week.
const BANDS: [u64; 5] = [0, 60, 3_600, 86_400, 604_800];

impl Maturity {
    /// Counts a decision.
    pub fn count(&mut self, joined: &Joined, now_us: i64) {
        let age_s = u64::try_from(now_us.saturating_sub(joined.decision.time_us) / 1_000_000).unwrap_or(0);
        let band = BANDS.partition_point(|from| *from <= age_s).saturating_sub(1);
        let (decided, reported) = self.counts.entry(band).or_default();
        *decided += 1;
        *reported += u64::from(joined.acceptable().is_some() || !joined.labels().is_empty());
    }

    /// Every band with a decision, youngest first.
    pub fn bands(&self) -> Vec<MaturityBand> {
        let band = |(band, (decided, joined)): (&usize, &(u64, u64))| MaturityBand {
            from_s: BANDS[*band],
            decided: *decided,
            joined: *joined,
        };
        self.counts.iter().map(band).collect()
    }
}
