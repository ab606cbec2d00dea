//! The cheapest rule that keeps a quality. Weighted tuning finds corners of the hull of (cost, quality); a sweep of
//! single thresholds finds what lies between them.

use crate::SelectError;
use crate::cascade::joint::{Edge, Passed};
use crate::cascade::problem::{Problem, ROUNDING, Weights};
use crate::cascade::split::best_thresholds;
use crate::cascade::{Chain, StageThresholds, TuneOptions, sweep};

/// Chords drawn at most; each finds a new corner, and few lie near the floor.
const CHORDS: usize = 60;

/// A rule's place in the plane of cost and quality.
#[derive(Debug, Clone)]
struct Point {
    rule: Vec<StageThresholds>,
    cost: f64,
    quality: f64,
}

/// Both coordinates of a rule, each a problem whose loss is that coordinate alone.
struct Plane<'a> {
    cost: Problem<'a>,
    lost: Problem<'a>,
    floor: f64,
}

/// The cheapest rule found that meets the floor, and its mean cost. The floor and the weight are checked.
pub(super) fn solve(
    chain: &Chain<'_>,
    options: &TuneOptions,
    floor: f64,
    lambda_abstain: f64,
) -> Result<(Vec<StageThresholds>, f64), SelectError> {
    let problem = |weights| Problem::new(chain, options.labels, options.abstention, weights);
    let plane = Plane {
        cost: problem(Weights { error: 0.0, abstain: 0.0, cost: 1.0 }),
        lost: problem(Weights { error: 1.0, abstain: lambda_abstain, cost: 0.0 }),
        floor,
    };
    let weighted = |lambda_cost: f64| {
        let weights = Weights { error: 1.0, abstain: lambda_abstain, cost: lambda_cost };
        plane.point(sweep::solve(chain, options, weights).0)
    };
    let dear = weighted(0.0);
    if !plane.meets(dear.quality) {
        return Err(SelectError::QualityOutOfReach { wanted: floor, best: dear.quality });
    }
    let mut best = plane.last_corner(plane.cheapest(), dear, weighted);
    plane.make_cheaper(&mut best);
    Ok((best.rule, best.cost))
}

impl Plane<'_> {
    fn point(&self, rule: Vec<StageThresholds>) -> Point {
        let n = self.cost.rows() as f64;
        let (cost, quality) = (self.cost.loss(&rule) / n, 1.0 - self.lost.loss(&rule) / n);
        Point { rule, cost, quality }
    }

    fn meets(&self, quality: f64) -> bool {
        quality >= self.floor - ROUNDING
    }

    /// Every query stops at the first stage: no rule costs less. Of those the best in quality.
    fn cheapest(&self) -> Point {
        let mut rule = vec![StageThresholds::ACCEPT_ALL; self.lost.stages()];
        let everyone = vec![0; self.lost.rows()];
        let nobody_sent_on = vec![f64::INFINITY; self.lost.rows()];
        let groups = self.lost.groups(0, &everyone, &nobody_sent_on, |_, _| {});
        let freedom = self.lost.freedom(0).without_escalation();
        rule[0] = best_thresholds(&groups, freedom, self.lost.tolerance());
        self.point(rule)
    }

    /// From two points, the dear one meeting the floor, to the two neighbouring corners that straddle it; the
    /// cheapest point met that meets the floor.
    fn last_corner(&self, cheap: Point, dear: Point, weighted: impl Fn(f64) -> Point) -> Point {
        if self.meets(cheap.quality) {
            return cheap;
        }
        let (mut below, mut above) = (cheap, dear);
        for _ in 0..CHORDS {
            if above.cost <= below.cost || above.quality <= below.quality {
                break;
            }
            let slope = (above.quality - below.quality) / (above.cost - below.cost);
            let found = weighted(slope);
            let gain = |point: &Point| point.quality - slope * point.cost;
            if gain(&found) <= gain(&above) + ROUNDING {
                break;
            }
            if !self.meets(found.quality) {
                below = found;
            } else if found.cost < above.cost {
                above = found;
            } else {
                // A better and dearer corner than the one at hand, which local sweeps had missed: no use here.
                break;
            }
        }
        above
    }

    /// Moves single thresholds to where the cost is least and the floor still met, until none helps.
    fn make_cheaper(&self, best: &mut Point) {
        loop {
            let before = best.cost;
            for stage in (0..best.rule.len()).rev() {
                for edge in Edge::of(self.cost.freedom(stage)) {
                    let found = self.cheapest_move(best, stage, *edge);
                    if found.cost < best.cost && self.meets(found.quality) {
                        *best = found;
                    }
                }
            }
            if best.cost >= before - ROUNDING * before {
                return;
            }
        }
    }

    /// Where one threshold costs least among the places where the floor is met.
    fn cheapest_move(&self, from: &Point, stage: usize, edge: Edge) -> Point {
        let stops = self.cost.stops(&from.rule);
        let passed = Passed::new(&self.cost, from.rule[stage], (stage, edge), |row| stops[row] >= stage);
        let mut rule = from.rule.clone();
        rule[stage] = edge.moved(rule[stage], edge.range(rule[stage]).0);
        let lowest = self.point(rule.clone());
        let beyond = [self.cost.beyond(&rule, stage), self.lost.beyond(&rule, stage)];
        let (below, above) = edge.sides();
        let n = self.cost.rows() as f64;
        let (mut cost, mut quality) = (lowest.cost, lowest.quality);
        let mut best = (f64::INFINITY, 0);
        for place in 0..=passed.rows().len() {
            if let Some(tied) = place.checked_sub(1).map(|i| &passed.rows()[i]) {
                for row in tied {
                    let change = |problem: &Problem<'_>, beyond: &[f64]| {
                        let loss = |verdict| problem.loss_of(verdict, stage, *row, beyond[*row]);
                        (loss(below) - loss(above)) / n
                    };
                    cost += change(&self.cost, &beyond[0]);
                    quality -= change(&self.lost, &beyond[1]);
                }
            }
            if self.meets(quality) && cost < best.0 {
                best = (cost, place);
            }
        }
        rule[stage] = edge.moved(from.rule[stage], passed.threshold_at(best.1));
        self.point(rule)
    }
}
