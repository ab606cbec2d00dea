//! What a rule gives on a sample: errors, abstentions, costs, and where queries stop. How a rule is found lives in
//! `sweep`.

use crate::SelectError;
use crate::cascade::{Chain, StageThresholds, Verdict};
use crate::error::count;

/// What a rule gives on a sample. Shares are of all rows unless said otherwise, costs are means in the sample's unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Rows it was measured on.
    pub rows: usize,
    /// Mean quality lost by accepted answers, over all rows, in [0, 1]: with labels P(accepted and wrong).
    pub error: f64,
    /// Share of rows without an answer, in [0, 1].
    pub abstention: f64,
    /// Mean cost of a query: all stages it reaches, their verifiers included.
    pub mean_cost: f64,
    /// Rows whose answer is accepted.
    pub accepted: usize,
    /// Quality that accepted answers lack, in sum: with labels, how many are wrong.
    pub quality_lost: f64,
    /// Stage by stage.
    pub stages: Vec<StageOutcome>,
}

/// What happens at one stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StageOutcome {
    /// Share of the rows that reach it: what is accepted, escalated and given up here adds up to it.
    pub reach: f64,
    /// Share of the rows accepted here.
    pub accept: f64,
    /// Share of the rows sent on from here.
    pub escalate: f64,
    /// Share of the rows given up here.
    pub abstain: f64,
    /// Mean cost `c + v` of this stage alone, of the rows that reach it; `None`: none does.
    pub stage_cost: Option<f64>,
    /// What the rows that reach it would cost after it on average if all were sent on: the `C` of the escalation
    /// break-even `1 - (c + v) / C`; `None`: none reaches it. 0 for the last stage.
    pub cost_beyond: Option<f64>,
}

/// Where one row stops.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stop {
    /// The last stage it reaches, zero-based.
    pub stage: usize,
    /// Whether the answer is accepted there; otherwise the query is given up.
    pub accepted: bool,
    /// What its stages cost, verifiers included.
    pub cost: f64,
    /// Quality the accepted answer lacks; 0 where there is none.
    pub quality_lost: f64,
}

impl Stop {
    /// Where each row stops under thresholds, one pair a stage.
    ///
    /// # Errors
    /// When there are not as many pairs as stages.
    pub fn of_rows(chain: &Chain<'_>, thresholds: &[StageThresholds]) -> Result<Vec<Self>, SelectError> {
        count("thresholds", thresholds.len(), chain.stages()..=chain.stages(), "as many as stages")?;
        Ok((0..chain.rows()).map(|row| stop(chain, thresholds, row)).collect())
    }
}

impl StageOutcome {
    /// Share of the rows reaching this stage that are sent on, in [0, 1]; `None`: none reaches it.
    pub fn escalation_rate(&self) -> Option<f64> {
        (self.reach > 0.0).then(|| self.escalate / self.reach)
    }
}

impl Outcome {
    /// Measures thresholds, one pair a stage, on a chain.
    ///
    /// # Errors
    /// When there are not as many pairs as stages.
    pub fn measure(chain: &Chain<'_>, thresholds: &[StageThresholds]) -> Result<Self, SelectError> {
        count("thresholds", thresholds.len(), chain.stages()..=chain.stages(), "as many as stages")?;
        Ok(measure(chain, thresholds))
    }

    /// Mean quality lost among accepted answers, in [0, 1]; `None`: none is accepted.
    pub fn error_among_accepted(&self) -> Option<f64> {
        (self.accepted > 0).then(|| self.quality_lost / self.accepted as f64)
    }

    /// Mean quality, a row without an answer counted as `1 - lambda_abstain`:
    /// `1 - error - lambda_abstain x abstention`.
    pub fn quality(&self, lambda_abstain: f64) -> f64 {
        1.0 - self.error - lambda_abstain * self.abstention
    }

    /// `error + lambda_cost x cost + lambda_abstain x abstention` (arXiv 2502.09054, the joint form).
    pub fn loss(&self, lambda_cost: f64, lambda_abstain: f64) -> f64 {
        1.0 - self.quality(lambda_abstain) + lambda_cost * self.mean_cost
    }
}

/// Counts and sums at one stage.
#[derive(Clone, Copy, Default)]
struct Tally {
    accepted: usize,
    escalated: usize,
    abstained: usize,
    cost: f64,
    cost_beyond: f64,
    lost: f64,
}

/// As [`Outcome::measure`], for as many thresholds as stages.
pub(super) fn measure(chain: &Chain<'_>, thresholds: &[StageThresholds]) -> Outcome {
    let mut tallies = vec![Tally::default(); chain.stages()];
    let mut beyond = vec![0.0; chain.stages()];
    for row in 0..chain.rows() {
        // Costs after each stage, were the row sent on from it.
        let mut after = 0.0;
        for (stage, (column, pair)) in chain.stages.iter().zip(thresholds).enumerate().rev() {
            beyond[stage] = after;
            let p = column.rows.probability[row];
            let onwards = if pair.judge(p) == Verdict::Escalate { after } else { 0.0 };
            after = column.rows.cost[row] + onwards;
        }
        let stop = stop(chain, thresholds, row);
        for (stage, (column, tally)) in chain.stages.iter().zip(&mut tallies).enumerate().take(stop.stage + 1)
        {
            tally.cost += column.rows.cost[row];
            tally.cost_beyond += beyond[stage];
            tally.escalated += usize::from(stage < stop.stage);
        }
        let tally = &mut tallies[stop.stage];
        tally.abstained += usize::from(!stop.accepted);
        tally.accepted += usize::from(stop.accepted);
        tally.lost += stop.quality_lost;
    }
    outcome(chain.rows(), &tallies)
}

/// Where a row stops, for as many thresholds as stages.
fn stop(chain: &Chain<'_>, thresholds: &[StageThresholds], row: usize) -> Stop {
    let last = chain.stages() - 1;
    let mut cost = 0.0;
    for (stage, (column, pair)) in chain.stages.iter().zip(thresholds).enumerate() {
        cost += column.rows.cost[row];
        let p = column.rows.probability[row];
        let accepted = match if stage == last { pair.judge_last(p) } else { pair.judge(p) } {
            Verdict::Escalate => continue,
            Verdict::Abstain => false,
            Verdict::Accept => true,
        };
        let quality_lost = if accepted { 1.0 - column.rows.quality[row] } else { 0.0 };
        return Stop { stage, accepted, cost, quality_lost };
    }
    // A last stage never escalates; a chain has one.
    Stop { stage: last, accepted: false, cost, quality_lost: 0.0 }
}

fn outcome(rows: usize, tallies: &[Tally]) -> Outcome {
    let n = rows as f64;
    let total = |of: fn(&Tally) -> f64| tallies.iter().map(of).sum::<f64>();
    let quality_lost = total(|tally| tally.lost);
    let stage = |tally: &Tally| {
        let reached = (tally.accepted + tally.escalated + tally.abstained) as f64;
        let mean = |sum: f64| (reached > 0.0).then(|| sum / reached);
        StageOutcome {
            reach: reached / n,
            accept: tally.accepted as f64 / n,
            escalate: tally.escalated as f64 / n,
            abstain: tally.abstained as f64 / n,
            stage_cost: mean(tally.cost),
            cost_beyond: mean(tally.cost_beyond),
        }
    };
    Outcome {
        rows,
        error: quality_lost / n,
        abstention: total(|tally| tally.abstained as f64) / n,
        mean_cost: total(|tally| tally.cost) / n,
        accepted: tallies.iter().map(|tally| tally.accepted).sum(),
        quality_lost,
        stages: tallies.iter().map(stage).collect(),
    }
}
