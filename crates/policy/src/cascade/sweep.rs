//! Thresholds for a chain, found on a labelled sample: no grid, no copula, the sample's joint dependence as it is
//! (methods section 5.3).
//!
//! Exact, O(n log n), for two stages with any abstention and for three without. Beyond that, from five fixed starts:
//! cyclic sweeps, each exact for one stage's pair of thresholds in O(n) (rows are sorted once, in the sample), then
//! joint sweeps, exact for one stage's pair and one threshold of a later stage in O(n log n), until none helps. That is
//! a local optimum under such moves, not a proof; the tests measure how far from brute force it stays.

use types::SuccessProbability;

use crate::SelectError;
use crate::cascade::baseline::{per_stage, plain_starts};
use crate::cascade::joint::{Edge, joint_sweep};
use crate::cascade::outcome::measure;
use crate::cascade::problem::{Problem, Weights};
use crate::cascade::{Chain, Outcome, StageThresholds, floor};
use crate::error::{amount, share};

/// What thresholds are tuned for. All means are over all rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Objective {
    /// The least `error + lambda_cost x cost + lambda_abstain x abstention`.
    Weighted {
        /// Quality that a unit of cost is worth, at least 0.
        lambda_cost: f64,
        /// Quality lost by a query without an answer, at least 0.
        lambda_abstain: f64,
    },
    /// The least mean cost with `1 - error - lambda_abstain x abstention >= floor`.
    ///
    /// Corners of the convex hull of (cost, quality) are found by weighted tuning, the chord between the two that
    /// straddle the floor giving each next weight (bisection of the weight, without its guesses). The cheapest one
    /// that meets the floor is then made cheaper by exact sweeps of one threshold at a time. Exact for one threshold;
    /// for more, at most the cost of the cheapest such corner found.
    CostUnderQualityFloor {
        /// Least quality, in [0, 1].
        floor: f64,
        /// Quality lost by a query without an answer, at least 0.
        lambda_abstain: f64,
    },
}

/// What counts as quality while tuning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Labels {
    /// The measured quality.
    Quality,
    /// The calibrated success probability in its place: better with about a hundred rows or fewer, where labels are
    /// mostly noise (methods section 5.3, measured). As good as the calibration.
    Calibrated,
    /// `weight x quality + (1 - weight) x probability`, weight in [0, 1]; methods section 3e suggests n / (n + 100).
    Mixed {
        /// Weight of the measured quality.
        weight: f64,
    },
}

/// Where a query may be given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abstention {
    /// Nowhere: every query is answered.
    Never,
    /// At the last stage only.
    AtTheEnd,
    /// At every stage (early abstention, arXiv 2502.09054).
    Anywhere,
}

/// How thresholds are tuned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TuneOptions {
    /// What counts as quality.
    pub labels: Labels,
    /// Where a query may be given up.
    pub abstention: Abstention,
}

/// Thresholds and what they give on the sample they were tuned on: optimistic, because they were tuned there.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuned {
    /// One pair a stage.
    pub thresholds: Vec<StageThresholds>,
    /// What was minimised, under the labels it was tuned with: the weighted loss, or the mean cost.
    pub objective: f64,
    /// What the thresholds give, by the measured quality.
    pub outcome: Outcome,
}

/// Tunes the thresholds of a chain.
///
/// # Errors
/// When a weight is negative or not finite, a floor or the labels' weight outside [0, 1], or no thresholds found
/// reach the floor ([`SelectError::QualityOutOfReach`] with the best quality found).
pub fn tune(chain: &Chain<'_>, objective: &Objective, options: &TuneOptions) -> Result<Tuned, SelectError> {
    objective.check()?;
    options.check()?;
    match *objective {
        Objective::Weighted { lambda_cost, lambda_abstain } => {
            let (thresholds, loss) = solve(chain, options, Weights::checked(lambda_cost, lambda_abstain)?);
            Ok(Tuned::new(chain, thresholds, loss))
        }
        Objective::CostUnderQualityFloor { floor, lambda_abstain } => {
            let (thresholds, cost) = floor::solve(chain, options, floor, lambda_abstain)?;
            Ok(Tuned::new(chain, thresholds, cost))
        }
    }
}

impl Tuned {
    fn new(chain: &Chain<'_>, thresholds: Vec<StageThresholds>, objective: f64) -> Self {
        let outcome = measure(chain, &thresholds);
        Self { thresholds, objective, outcome }
    }
}

impl Objective {
    pub(super) fn check(&self) -> Result<(), SelectError> {
        match *self {
            Self::Weighted { lambda_cost, lambda_abstain } => {
                Weights::checked(lambda_cost, lambda_abstain).map(|_| ())
            }
            Self::CostUnderQualityFloor { floor, lambda_abstain } => {
                share("quality floor", floor)?;
                Weights::checked(0.0, lambda_abstain).map(|_| ())
            }
        }
    }
}

impl Weights {
    pub(super) fn checked(lambda_cost: f64, lambda_abstain: f64) -> Result<Self, SelectError> {
        let (cost, abstain) =
            (amount("lambda_cost", lambda_cost)?, amount("lambda_abstain", lambda_abstain)?);
        Ok(Self { error: 1.0, abstain, cost })
    }
}

impl Labels {
    /// What counts as the quality of an answer.
    pub(super) fn of(self, quality: f64, p: SuccessProbability) -> f64 {
        match self {
            Self::Quality => quality,
            Self::Calibrated => p.get(),
            Self::Mixed { weight } => weight * quality + (1.0 - weight) * p.get(),
        }
    }
}

impl TuneOptions {
    pub(super) fn check(&self) -> Result<(), SelectError> {
        match self.labels {
            Labels::Mixed { weight } => share("weight of labels", weight).map(|_| ()),
            Labels::Quality | Labels::Calibrated => Ok(()),
        }
    }
}

/// The best rule found for checked weights, and its mean loss.
pub(super) fn solve(
    chain: &Chain<'_>,
    options: &TuneOptions,
    weights: Weights,
) -> (Vec<StageThresholds>, f64) {
    let problem = Problem::new(chain, options.labels, options.abstention, weights);
    let mut best = per_stage(chain, options, weights);
    let mut loss = improve(&problem, &mut best);
    let more = if is_exact(chain.stages(), options.abstention) { vec![] } else { plain_starts(chain) };
    for mut start in more {
        let found = improve(&problem, &mut start);
        if found < loss - problem.tolerance() {
            (best, loss) = (start, found);
        }
    }
    (best, loss / chain.rows() as f64)
}

/// Whether every start leads to the optimum: one threshold of a stage besides the pair of another is all there is to
/// choose.
fn is_exact(stages: usize, abstention: Abstention) -> bool {
    stages <= 2 || (stages == 3 && abstention == Abstention::Never)
}

/// Cycles, then joint sweeps of any two stages, until none helps; the loss that is reached.
fn improve(problem: &Problem<'_>, rule: &mut Vec<StageThresholds>) -> f64 {
    let mut pairs = Vec::new();
    for second in 1..problem.stages() {
        for first in 0..second {
            pairs.extend(Edge::of(problem.freedom(second)).iter().map(|edge| (first, second, *edge)));
        }
    }
    loop {
        let before = problem.descend(rule);
        let mut loss = before;
        for (first, second, edge) in &pairs {
            let mut moved = rule.clone();
            joint_sweep(problem, &mut moved, *first, *second, *edge);
            let now = problem.loss(&moved);
            if now < loss - problem.tolerance() {
                (*rule, loss) = (moved, now);
            }
        }
        let improved = loss < before - problem.tolerance();
        if !improved {
            return loss;
        }
    }
}
