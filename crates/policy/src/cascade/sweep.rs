//! Thresholds for a chain, found on a labelled sample: no grid, no copula, the sample's joint dependence as it is
//! (methods section 5.3).
//!
//! Exact, O(n log n), for two stages with any abstention and for three without. Beyond that: cyclic sweeps, each
//! exact for one stage's pair of thresholds in O(n) (rows are sorted once, in the sample), from five fixed starts; the
//! best is improved by exact joint sweeps of two stages, O(n log n) each, until none helps. That is a local optimum
//! under moves of any stage and of any two, not a proof; the tests measure how far from brute force it stays.

use types::SuccessProbability;

use crate::SelectError;
use crate::cascade::baseline::{per_stage, plain_starts};
use crate::cascade::joint::{Edge, joint_sweep};
use crate::cascade::outcome::measure;
use crate::cascade::problem::{Problem, Weights};
use crate::cascade::{Chain, Outcome, StageThresholds, floor};

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
        for (field, value) in [("lambda_cost", lambda_cost), ("lambda_abstain", lambda_abstain)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(SelectError::OutOfRange {
                    field,
                    value,
                    expected: "a finite number of at least 0",
                });
            }
        }
        Ok(Self { error: 1.0, abstain: lambda_abstain, cost: lambda_cost })
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
            Labels::Mixed { weight } => share("weight of labels", weight),
            Labels::Quality | Labels::Calibrated => Ok(()),
        }
    }
}

fn share(field: &'static str, value: f64) -> Result<(), SelectError> {
    let expected = "a number in [0, 1]";
    if (0.0..=1.0).contains(&value) {
        Ok(())
    } else {
        Err(SelectError::OutOfRange { field, value, expected })
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
    let mut loss = problem.descend(&mut best);
    if !options.abstention.is_exact(chain.stages()) {
        for mut start in plain_starts(chain) {
            let found = problem.descend(&mut start);
            if found < loss - problem.tolerance() {
                (best, loss) = (start, found);
            }
        }
    }
    (loss, best) = polish(&problem, best, loss);
    (best, loss / chain.rows() as f64)
}

/// Joint sweeps of any two stages, and cycles after them, until none helps.
fn polish(
    problem: &Problem<'_>,
    mut rule: Vec<StageThresholds>,
    mut loss: f64,
) -> (f64, Vec<StageThresholds>) {
    let mut pairs = Vec::new();
    for second in 1..problem.stages() {
        for first in 0..second {
            pairs.extend(Edge::of(problem.freedom(second)).iter().map(|edge| (first, second, *edge)));
        }
    }
    loop {
        let before = loss;
        for (first, second, edge) in &pairs {
            let mut moved = rule.clone();
            joint_sweep(problem, &mut moved, *first, *second, *edge);
            let now = problem.loss(&moved);
            if now < loss - problem.tolerance() {
                (rule, loss) = (moved, now);
            }
        }
        if loss >= before - problem.tolerance() {
            return (loss, rule);
        }
        loss = problem.descend(&mut rule);
    }
}
