//! The best thresholds of a chain. Because a stage remembers nothing but what the stage before escalated, the loss is
//! a sum along the chain whose terms each know two neighbours, and dynamic programming over a grid finds the best of
//! all combinations of its points at once, wherever it lies: no gradient, no starts. Finer and finer grids around what
//! was found then close in on it. What thresholds give is `chain`'s business.

use super::chain::{ACCEPT_ALL, MarkovCascade, Prediction, Thresholds};
use super::{CopulaError, Marginal};

/// Ranks between the atoms of a stage that the first grid has. The loss is smooth in the ranks, so this finds the
/// right valley.
const FIRST_RANKS: usize = 32;

/// Points of a finer grid on either side of its middle.
const POINTS_A_SIDE: usize = 4;

/// What is left of the reach of a grid in the next: more than the distance of two of its points.
const SHRINKAGE: f64 = 0.4;

/// The search ends when no grid reaches further than this: the loss changes by the square of it, which is rounding.
const LEAST_REACH: f64 = 1e-6;

/// Finer grids at most. Each is at least as good as the one before, so that stopping early loses precision only.
const MOST_GRIDS: usize = 200;

/// The best thresholds and what they give.
#[derive(Debug, Clone, PartialEq)]
pub struct Optimum {
    /// The thresholds.
    pub thresholds: Thresholds,
    /// What was made least: share of the queries answered wrongly, plus the weighted cost, plus the weighted share of
    /// those not answered.
    pub loss: f64,
    /// What the thresholds give.
    pub prediction: Prediction,
}

impl MarkovCascade {
    /// The thresholds with the least `(1 - correct) + cost_weight x cost` of a chain that answers everything, to about
    /// 1e-6. `cost_weight` is what a unit of cost is worth in wrong answers. A threshold of a stage is [`ACCEPT_ALL`]
    /// where it escalates nothing, which leaves the stages behind it unused, and its greatest confidence where it
    /// escalates everything: then a chain without it is better by its cost.
    ///
    /// # Errors
    /// When the weight is negative or not finite.
    pub fn optimise(&self, cost_weight: f64) -> Result<Optimum, CopulaError> {
        Search::new(self, cost_weight, None)?.run()
    }

    /// The thresholds with the least `P(answered and wrong) + cost_weight x cost + abstention_weight x abstained`,
    /// where every stage may abstain (arXiv 2502.09054; methods section 5.2).
    ///
    /// # Errors
    /// When a weight is negative or not finite.
    pub fn optimise_abstaining(
        &self,
        cost_weight: f64,
        abstention_weight: f64,
    ) -> Result<Optimum, CopulaError> {
        Search::new(self, cost_weight, Some(abstention_weight))?.run()
    }
}

struct Search<'a> {
    cascade: &'a MarkovCascade,
    cost_weight: f64,
    /// None where every query is to be answered.
    abstention_weight: Option<f64>,
}

/// The thresholds of one stage to choose from.
#[derive(Debug, PartialEq)]
struct Grid {
    /// In order.
    points: Vec<f64>,
    /// The combinations: abstain up to one point, accept above another that is not below it.
    options: Vec<[usize; 2]>,
}

impl Grid {
    fn new(abstain: &[f64], accept: &[f64]) -> Self {
        let mut points = [abstain, accept].concat();
        points.sort_unstable_by(f64::total_cmp);
        points.dedup();
        let place = |of: &f64| points.partition_point(|point| point < of);
        let pair = |low: &f64, high: &f64| (low <= high).then(|| [place(low), place(high)]);
        let pairs = abstain.iter().flat_map(|low| accept.iter().filter_map(move |high| pair(low, high)));
        let options = pairs.collect();
        Self { points, options }
    }

    /// Of the last stage, which escalates nothing.
    fn of_last(abstain: &[f64]) -> Self {
        let mut grid = Self::new(abstain, &[]);
        grid.options = (0..grid.points.len()).map(|point| [point; 2]).collect();
        grid
    }

    fn thresholds(&self, option: usize) -> [f64; 2] {
        self.options[option].map(|point| self.points[point])
    }
}

/// What is known of the stages behind one, for every choice of it.
struct Onward {
    /// Loss of a query that is escalated.
    loss: Vec<f64>,
    /// Best option of the stage behind.
    option: Vec<usize>,
}

impl<'a> Search<'a> {
    fn new(
        cascade: &'a MarkovCascade,
        cost_weight: f64,
        abstention_weight: Option<f64>,
    ) -> Result<Self, CopulaError> {
        let weights =
            [("weight of cost", cost_weight), ("weight of abstention", abstention_weight.unwrap_or(0.0))];
        for (field, value) in weights {
            if !(value.is_finite() && value >= 0.0) {
                let expected = "a finite number of at least 0";
                return Err(CopulaError::OutOfRange { field, value, expected });
            }
        }
        Ok(Self { cascade, cost_weight, abstention_weight })
    }

    fn run(&self) -> Result<Optimum, CopulaError> {
        let firsts: Vec<Vec<f64>> = self.cascade.marginals().iter().map(first_points).collect();
        let mut found =
            self.best(&self.grids(|stage, of_accepting| match (of_accepting, self.abstention_weight) {
                (false, None) => vec![ACCEPT_ALL],
                _ => firsts[stage].clone(),
            }));
        let reach = |stage: usize, threshold: f64| reach_in(&firsts[stage], threshold);
        let mut reaches: Vec<[f64; 2]> = found
            .iter()
            .enumerate()
            .map(|(stage, pair)| pair.map(|threshold| reach(stage, threshold)))
            .collect();
        for _ in 0..MOST_GRIDS {
            if reaches.iter().flatten().all(|reach| *reach <= LEAST_REACH) {
                break;
            }
            let next = self.best(&self.grids(|stage, of_accepting| {
                let side = usize::from(of_accepting);
                around(found[stage][side], reaches[stage][side], self.cascade.marginals()[stage].ends())
            }));
            for ((reach, old), new) in
                reaches.iter_mut().flatten().zip(found.iter().flatten()).zip(next.iter().flatten())
            {
                // On the edge of its grid, the best may lie beyond it.
                if (new - old).abs() < 0.99 * *reach {
                    *reach *= SHRINKAGE;
                }
            }
            found = next;
        }
        self.optimum(&found)
    }

    fn optimum(&self, found: &[[f64; 2]]) -> Result<Optimum, CopulaError> {
        let (abstain_upto, mut accept_above): (Vec<f64>, Vec<f64>) =
            found.iter().map(|[abstain, accept]| (*abstain, *accept)).unzip();
        accept_above.pop();
        let thresholds = Thresholds { accept_above, abstain_upto };
        let prediction = self.cascade.predict(&thresholds)?;
        let Prediction { correct, abstained, cost, .. } = prediction;
        let unanswered = self.abstention_weight.unwrap_or(0.0) * abstained;
        let loss = 1.0 - correct - abstained + self.cost_weight * cost + unanswered;
        Ok(Optimum { thresholds, loss, prediction })
    }

    /// Grids of all stages from the thresholds of a stage for abstaining or (`true`) accepting.
    fn grids(&self, points: impl Fn(usize, bool) -> Vec<f64>) -> Vec<Grid> {
        let last = self.cascade.marginals().len() - 1;
        let mut grids: Vec<Grid> =
            (0..last).map(|stage| Grid::new(&points(stage, false), &points(stage, true))).collect();
        grids.push(Grid::of_last(&points(last, false)));
        grids
    }

    /// The best combination of the points of the grids, from the last stage to the first.
    fn best(&self, grids: &[Grid]) -> Vec<[f64; 2]> {
        let everything = Grid { points: Vec::new(), options: vec![[0, 1]] };
        let mut onward: Vec<Onward> = Vec::new();
        for stage in (0..grids.len()).rev() {
            let (before, ranks) = match stage.checked_sub(1) {
                None => (&everything, vec![0.0, 1.0]),
                Some(before) => {
                    let cdf = |x: &f64| self.cascade.marginals()[before].cdf(*x);
                    (&grids[before], grids[before].points.iter().map(cdf).collect())
                }
            };
            let behind = onward.last().map_or(&[][..], |onward| &onward.loss);
            onward.push(self.step(stage, &grids[stage], (before, &ranks), behind));
        }
        let mut option = 0;
        let follow = |(grid, onward): (&Grid, &Onward)| {
            option = onward.option[option];
            grid.thresholds(option)
        };
        grids.iter().zip(onward.iter().rev()).map(follow).collect()
    }

    /// One step of the programme: for every option of the stage before, the best of this stage. `behind` is the loss of
    /// a query that this stage escalates, for every option of it; nothing for the last stage.
    fn step(&self, stage: usize, grid: &Grid, (before, ranks): (&Grid, &[f64]), behind: &[f64]) -> Onward {
        let tails = self.cascade.tails(stage, ranks.to_vec());
        let upto: Vec<Vec<f64>> = grid.points.iter().map(|x| tails.upto(*x)).collect();
        let correct = tails.correct_above(&grid.points);
        let cost = self.cost_weight * self.cascade.costs()[stage];
        let abstention_weight = self.abstention_weight.unwrap_or(0.0);
        let mut onward = Onward { loss: Vec::new(), option: Vec::new() };
        for [low, high] in &before.options {
            let arrived = ranks[*high] - ranks[*low];
            if arrived <= 0.0 {
                onward.loss.push(0.0);
                onward.option.push(0);
                continue;
            }
            let band = |tails: &Vec<f64>| tails[*high] - tails[*low];
            let upto: Vec<f64> = upto.iter().map(band).collect();
            let correct: Vec<f64> = correct.iter().map(band).collect();
            let (mut best, mut least) = (0, f64::INFINITY);
            for (option, [abstain, accept]) in grid.options.iter().enumerate() {
                let wrong = arrived - upto[*accept] - correct[*accept];
                let escalated = (upto[*accept] - upto[*abstain]) * behind.get(option).unwrap_or(&0.0);
                let loss = wrong + escalated + abstention_weight * upto[*abstain];
                if loss < least {
                    (best, least) = (option, loss);
                }
            }
            onward.loss.push(cost + least / arrived);
            onward.option.push(best);
        }
        onward
    }
}

/// Thresholds that tell the confidences of a stage apart about evenly: accepting all, at and just short of the atoms,
/// and the middles of equal shares between them.
fn first_points(marginal: &Marginal) -> Vec<f64> {
    let ([low, high], [at_low, at_high]) = (marginal.ends(), marginal.at_ends());
    let between = 1.0 - at_low - at_high;
    let rank = |i: usize| at_low + between * (i as f64 + 0.5) / FIRST_RANKS as f64;
    let mut points = vec![low, high];
    if low < high {
        points.push(high.next_down());
        points.extend((0..FIRST_RANKS).map(|i| marginal.quantile(rank(i)).min(high.next_down())));
    }
    points.push(ACCEPT_ALL);
    points.sort_unstable_by(f64::total_cmp);
    points.dedup();
    points
}

/// How far the neighbours of a point of the first grid are away. Of accepting or escalating all there is no more or
/// less: it has no neighbours.
fn reach_in(points: &[f64], threshold: f64) -> f64 {
    let place = points.partition_point(|point| *point < threshold);
    match (place, points.get(place + 1)) {
        (0, _) | (_, None) => 0.0,
        (1, Some(next)) => next - threshold,
        (_, Some(next)) => (next - threshold).max(threshold - points[place - 1]),
    }
}

/// A grid around a threshold, inside the ends of the confidences.
fn around(threshold: f64, reach: f64, [low, high]: [f64; 2]) -> Vec<f64> {
    if reach == 0.0 {
        return vec![threshold];
    }
    let step = reach / POINTS_A_SIDE as f64;
    let point = |i: usize| threshold + step * (i as f64 - POINTS_A_SIDE as f64);
    let mut points: Vec<f64> =
        (0..=2 * POINTS_A_SIDE).map(|i| point(i).clamp(low, high.next_down())).collect();
    points.dedup();
    points
}

#[cfg(test)]
mod tests {
    use super::super::chain::tests::golden;
    use super::*;

    #[test]
    fn the_optimum_is_the_reference() {
        // methods/golden/05_cascade.json, `lbfgsb_optimum`.
        let t = std::time::Instant::now();
        let found = golden().optimise(0.01).unwrap();
        println!("{:?} {found:?}", t.elapsed());
        println!("{:e}", found.loss - 0.26554615948091853);
        for (found, expected) in
            found.thresholds.accept_above.iter().zip([0.7281588228933634, 0.6065618639275804])
        {
            println!("{:e}", found - expected);
            assert!((found - expected).abs() < 1e-5, "{found}, not {expected}");
        }
        assert!((found.loss - 0.26554615948091853).abs() < 1e-9);
        let t = std::time::Instant::now();
        let found = golden().optimise_abstaining(0.01, 0.4).unwrap();
        println!("{:?} {found:?}", t.elapsed());
    }
}
