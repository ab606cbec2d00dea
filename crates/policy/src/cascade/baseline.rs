//! Naive thresholds, to measure tuned ones against: the same number everywhere, or each stage on its own.

use crate::SelectError;
use crate::cascade::problem::{Problem, Weights};
use crate::cascade::sample::{Column, check_stages};
use crate::cascade::{Chain, StageThresholds, TuneOptions};

/// The same `accept_above` at every stage but the last, which accepts everything; nothing is given up. 0.9 is what
/// one would try first.
///
/// # Errors
/// When `accept_above` is no threshold, or there is no stage or more than [`crate::cascade::MOST_STAGES`].
pub fn fixed_thresholds(stages: usize, accept_above: f64) -> Result<Vec<StageThresholds>, SelectError> {
    check_stages(stages)?;
    let mut rule = vec![StageThresholds::new(0.0, accept_above)?; stages - 1];
    rule.push(StageThresholds::ACCEPT_ALL);
    Ok(rule)
}

/// Each stage's thresholds tuned alone, on all rows, as if the stage after it were the last and accepted everything:
/// neither which rows get so far nor what lies further on is considered.
///
/// # Errors
/// When a weight is negative or not finite, or the labels' weight is outside [0, 1].
pub fn per_stage_thresholds(
    chain: &Chain<'_>,
    lambda_cost: f64,
    lambda_abstain: f64,
    options: &TuneOptions,
) -> Result<Vec<StageThresholds>, SelectError> {
    options.check()?;
    Ok(per_stage(chain, options, Weights::checked(lambda_cost, lambda_abstain)?))
}

/// As [`per_stage_thresholds`], with weights that were checked.
pub(super) fn per_stage(chain: &Chain<'_>, options: &TuneOptions, weights: Weights) -> Vec<StageThresholds> {
    let everyone = vec![0; chain.rows()];
    let alone = |stage: usize| {
        let part = chain.part(stage..chain.stages().min(stage + 2));
        let problem = Problem::new(&part, options.labels, options.abstention, weights);
        let mut rule = vec![StageThresholds::ACCEPT_ALL; part.stages()];
        let beyond = problem.beyond(&rule, 0);
        problem.sweep(&mut rule, 0, &everyone, &beyond);
        rule[0]
    };
    (0..chain.stages()).map(alone).collect()
}

/// Starts of the cyclic sweeps besides [`per_stage`]: everything sent on, and quartiles of each stage's
/// probabilities.
pub(super) fn plain_starts(chain: &Chain<'_>) -> Vec<Vec<StageThresholds>> {
    let mut starts = vec![vec![StageThresholds::ESCALATE_ALL; chain.stages()]];
    for quarter in 1..=3 {
        let at = |stage: &&Column| {
            let row = stage.rising[chain.rows() * quarter / 4];
            StageThresholds::saturating(0.0, stage.rows.probability[row].get())
        };
        starts.push(chain.stages.iter().map(at).collect());
    }
    for start in &mut starts {
        if let Some(last) = start.last_mut() {
            *last = StageThresholds::ACCEPT_ALL;
        }
    }
    starts
}
