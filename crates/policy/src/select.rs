//! A threshold for an objective, by an exact sweep over a labelled sample: no grid, every threshold
//! that tells rows apart is looked at once.

use evaluation::{Outcomes, RoutingPoint, pareto_hull, sweep};
use types::{Threshold, WinProbability};

use crate::{Certificate, Certified, RandomisedThreshold, SelectError, certify, labels_for_certificate};

/// Means that differ by less than this are equal: summing in another order changes more than that.
const ROUNDING: f64 = 1e-12;

/// What a threshold is chosen for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Objective {
    /// This share of the queries goes strong, in [0, 1]; ties and fractions are randomised, 0 and 1 mean
    /// never and always.
    StrongCallRate(f64),
    /// The least cost whose error rate exceeds that of always calling strong by at most this, in [0, 1].
    ErrorBudget(f64),
    /// The highest threshold with a certificate.
    Certificate(Certificate),
    /// The least cost that keeps this share of strong's quality, at least 0; randomised.
    QualityFloor(f64),
    /// The best quality for this mean cost of a query; randomised.
    CostBudget(f64),
    /// The greatest `value x quality - cost` for a correct answer worth this, at least 0.
    ValuePerCorrect(f64),
}

/// What is expected of a threshold on a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// Share of the rows that go strong, in [0, 1].
    pub strong_call_rate: f64,
    /// Mean score of the models they go to, in [0, 1].
    pub quality: f64,
    /// Share of rows kept on weak although strong would have been strictly better, in [0, 1].
    pub cheap_and_wrong_rate: f64,
    /// Mean cost of a call; without prices the strong-call rate.
    pub cost: f64,
}

/// A threshold and what it gives on the sample it was chosen on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Selection {
    /// The threshold.
    pub threshold: RandomisedThreshold,
    /// What it gives there. Optimistic, because it was chosen there: only a certificate is a promise.
    pub expected: Expected,
    /// What was proved, for [`Objective::Certificate`].
    pub certified: Option<Certified>,
    /// When nothing could be proved: about as many labelled rows are needed for it, in all, if the
    /// true risk is half of the bound.
    pub labels_needed: Option<usize>,
}

impl Expected {
    /// What a threshold gives on a sample swept by [`evaluation::sweep`].
    pub fn of(points: &[RoutingPoint], threshold: &RandomisedThreshold) -> Self {
        let at = |threshold: Threshold| {
            // Thresholds fall along the sweep; the last one that is not below ours sends the same rows.
            let upto = points.partition_point(|p| p.threshold >= threshold.get());
            Self::at(&points[upto.max(1) - 1])
        };
        at(threshold.high()).mixed(at(threshold.low()), threshold.probability_of_low())
    }

    fn at(point: &RoutingPoint) -> Self {
        let RoutingPoint { strong_call_rate, quality, cheap_and_wrong_rate, cost, .. } = *point;
        Self { strong_call_rate, quality, cheap_and_wrong_rate, cost }
    }

    fn mixed(self, other: Self, share_of_other: f64) -> Self {
        let mix = |a: f64, b: f64| if share_of_other == 1.0 { b } else { a + share_of_other * (b - a) };
        Self {
            strong_call_rate: mix(self.strong_call_rate, other.strong_call_rate),
            quality: mix(self.quality, other.quality),
            cheap_and_wrong_rate: mix(self.cheap_and_wrong_rate, other.cheap_and_wrong_rate),
            cost: mix(self.cost, other.cost),
        }
    }
}

/// Selects a threshold. `probabilities[i]` is the calibrated win probability of row i of `outcomes`.
///
/// # Errors
/// When the sample is refused, a parameter is out of its range, the objective needs prices that
/// `outcomes` does not have, or no threshold meets it.
pub fn select(
    objective: &Objective,
    probabilities: &[WinProbability],
    outcomes: &Outcomes<'_>,
) -> Result<Selection, SelectError> {
    objective.check(outcomes.costs.is_some())?;
    let scores: Vec<f64> = probabilities.iter().map(|p| p.get()).collect();
    let points = sweep(&scores, outcomes)?;
    let (mut certified, mut labels_needed) = (None, None);
    let threshold = match objective {
        Objective::StrongCallRate(rate) => at_rate(&points, *rate),
        Objective::ErrorBudget(budget) => {
            let wanted = points[points.len() - 1].quality - budget;
            let enough = points.iter().enumerate().filter(|(_, p)| p.quality >= wanted - ROUNDING);
            let least = enough.min_by(|a, b| a.1.cost.total_cmp(&b.1.cost));
            let reached = least.map(|(i, _)| fixed(&points, i));
            reached.ok_or(SelectError::QualityOutOfReach { wanted, best: best_quality(&points) })?
        }
        Objective::QualityFloor(floor) => at_quality(&points, floor * points[points.len() - 1].quality)?,
        Objective::CostBudget(budget) => at_cost(&points, *budget)?,
        Objective::ValuePerCorrect(value) => {
            let worth = |p: &RoutingPoint| value * p.quality - p.cost;
            // The first of equals: fewer strong calls.
            let first =
                |best: usize, i: usize| if worth(&points[i]) > worth(&points[best]) { i } else { best };
            fixed(&points, (0..points.len()).fold(0, first))
        }
        Objective::Certificate(wanted) => {
            certified = certify(wanted, probabilities, &wanted.losses(outcomes))?;
            if certified.is_none() {
                labels_needed = labels_for_certificate(wanted.alpha, wanted.delta, 0.5 * wanted.alpha)?;
            }
            certified.map_or(RandomisedThreshold::always(), |c| RandomisedThreshold::fixed(c.threshold))
        }
    };
    Ok(Selection { threshold, expected: Expected::of(&points, &threshold), certified, labels_needed })
}

impl Objective {
    fn check(&self, priced: bool) -> Result<(), SelectError> {
        let (field, value, most) = match self {
            Self::StrongCallRate(rate) => ("strong-call rate", *rate, 1.0),
            Self::ErrorBudget(budget) => ("error budget", *budget, 1.0),
            Self::QualityFloor(floor) => ("quality floor", *floor, f64::MAX),
            Self::CostBudget(budget) => ("cost budget", *budget, f64::MAX),
            Self::ValuePerCorrect(value) => ("value per correct answer", *value, f64::MAX),
            Self::Certificate(_) => return Ok(()),
        };
        if !(0.0..=most).contains(&value) {
            let expected = if most == 1.0 { "a share in [0, 1]" } else { "a finite number of at least 0" };
            return Err(SelectError::OutOfRange { field, value, expected });
        }
        match self {
            Self::CostBudget(_) | Self::ValuePerCorrect(_) if !priced => Err(SelectError::NoPrices),
            _ => Ok(()),
        }
    }
}

impl Certificate {
    /// What each row costs when kept on weak: whether strong is strictly better, or by how much.
    fn losses(&self, outcomes: &Outcomes<'_>) -> Vec<f64> {
        let loss = |(weak, strong): (&f64, &f64)| match self.risk {
            crate::Risk::GradedLoss => (strong - weak).max(0.0),
            crate::Risk::CheapAndWrong | crate::Risk::WrongGivenCheap => f64::from(u8::from(strong > weak)),
        };
        outcomes.weak.iter().zip(outcomes.strong).map(loss).collect()
    }
}

/// The threshold of a point of the sweep. Where every row of the sample goes strong, every query does.
fn threshold(points: &[RoutingPoint], i: usize) -> Threshold {
    if i + 1 == points.len() { Threshold::ALWAYS } else { Threshold::saturating(points[i].threshold) }
}

fn fixed(points: &[RoutingPoint], i: usize) -> RandomisedThreshold {
    RandomisedThreshold::fixed(threshold(points, i))
}

/// `share` of the point `b` (more strong calls), the rest of the point `a`.
fn mixture(points: &[RoutingPoint], a: usize, b: usize, share: f64) -> RandomisedThreshold {
    if share <= 0.0 {
        return fixed(points, a);
    }
    if share >= 1.0 {
        return fixed(points, b);
    }
    // Thresholds fall along the sweep and the share is inside (0, 1): nothing is refused.
    RandomisedThreshold::new(threshold(points, b), threshold(points, a), share)
        .unwrap_or_else(|_| fixed(points, b))
}

fn at_rate(points: &[RoutingPoint], rate: f64) -> RandomisedThreshold {
    let b = points.partition_point(|p| p.strong_call_rate < rate).min(points.len() - 1);
    let Some(a) = b.checked_sub(1) else { return fixed(points, 0) };
    let (low, high) = (points[a].strong_call_rate, points[b].strong_call_rate);
    mixture(points, a, b, (rate - low) / (high - low))
}

fn best_quality(points: &[RoutingPoint]) -> f64 {
    points.iter().map(|p| p.quality).fold(f64::NEG_INFINITY, f64::max)
}

/// Between two corners; `share` of the dearer one. The one with fewer strong calls comes first in a
/// mixture, whichever is dearer.
fn between(points: &[RoutingPoint], cheap: usize, dear: usize, share: f64) -> RandomisedThreshold {
    if cheap < dear { mixture(points, cheap, dear, share) } else { mixture(points, dear, cheap, 1.0 - share) }
}

fn at_quality(points: &[RoutingPoint], wanted: f64) -> Result<RandomisedThreshold, SelectError> {
    let corners = pareto_hull(points);
    let reached = corners.partition_point(|i| points[*i].quality < wanted - ROUNDING);
    let Some(dear) = corners.get(reached) else {
        return Err(SelectError::QualityOutOfReach { wanted, best: best_quality(points) });
    };
    let Some(cheap) = reached.checked_sub(1).map(|i| corners[i]) else { return Ok(fixed(points, *dear)) };
    let (low, high) = (points[cheap].quality, points[*dear].quality);
    Ok(between(points, cheap, *dear, ((wanted - low) / (high - low)).min(1.0)))
}

fn at_cost(points: &[RoutingPoint], budget: f64) -> Result<RandomisedThreshold, SelectError> {
    let corners = pareto_hull(points);
    let afforded = corners.partition_point(|i| points[*i].cost <= budget + ROUNDING * budget.abs());
    let Some(cheap) = afforded.checked_sub(1).map(|i| corners[i]) else {
        return Err(SelectError::BudgetTooSmall { budget, least: points[corners[0]].cost });
    };
    let Some(dear) = corners.get(afforded) else { return Ok(fixed(points, cheap)) };
    let (low, high) = (points[cheap].cost, points[*dear].cost);
    Ok(between(points, cheap, *dear, ((budget - low) / (high - low)).clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests;
