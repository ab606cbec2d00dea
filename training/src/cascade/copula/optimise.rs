//! The best thresholds of a chain. Because a stage remembers nothing but what the stage before escalated, the loss is
//! a sum along the chain whose terms each know two neighbours, and dynamic programming over a grid finds the best of
//! all combinations of its points at once, wherever it lies: no gradient, no starts. Finer and finer grids around what
//! was found then close in on it. What thresholds give is `chain`'s business.

use super::chain::{BELOW_ALL, MarkovCascade, Prediction, Thresholds};
use super::{CopulaError, Marginal, out_of_range};

/// Ranks between the atoms of a stage that the first grid has. The loss is smooth in the ranks, so this finds the
/// right valley.
const FIRST_RANKS: usize = 32;

/// Points of a finer grid on either side of its middle.
const POINTS_A_SIDE: usize = 4;

/// What is left of the reach of a grid in the next: more than the distance of two of its points.
const SHRINKAGE: f64 = 0.4;

/// The search ends when no grid reaches further than this share of the confidences' range: the loss changes by the
/// square of it, which is rounding.
const LEAST_REACH: f64 = 1e-6;

/// Finer grids at most. Each is at least as good as the one before, so that stopping early loses precision only.
const MOST_GRIDS: usize = 200;

/// Where a stage's threshold to abstain and that to accept are in a pair of them.
const ABSTAIN: usize = 0;
const ACCEPT: usize = 1;

/// The best thresholds and what they give.
#[derive(Debug, Clone, PartialEq)]
pub struct Optimum {
    /// The thresholds.
    pub thresholds: Thresholds,
    /// What was made least, [`Prediction::loss`].
    pub loss: f64,
    /// What the thresholds give.
    pub prediction: Prediction,
}

impl MarkovCascade {
    /// The thresholds with the least `(1 - correct) + cost_weight x cost` of a chain that answers everything, to about
    /// a millionth of the confidences' range. `cost_weight` is what a unit of cost is worth in wrong answers.
    ///
    /// A threshold is [`BELOW_ALL`] where its stage escalates nothing, which leaves the stages behind it unused, and
    /// the greatest confidence where it escalates everything: a chain without that stage is better by its cost.
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
                return out_of_range(field, value, "a finite number of at least 0");
            }
        }
        Ok(Self { cascade, cost_weight, abstention_weight })
    }

    fn run(&self) -> Result<Optimum, CopulaError> {
        let ends: Vec<[f64; 2]> = self.cascade.marginals().iter().map(Marginal::ends).collect();
        let firsts: Vec<Vec<f64>> = self.cascade.marginals().iter().map(first_points).collect();
        let first = |stage: usize, side: usize| match (side, self.abstention_weight) {
            (ABSTAIN, None) => vec![BELOW_ALL],
            _ => firsts[stage].clone(),
        };
        let mut found = self.best(&self.grids(first));
        let neighbours = |(pair, points): (&[f64; 2], &Vec<f64>)| pair.map(|t| reach_in(points, t));
        let mut reaches: Vec<[f64; 2]> = found.iter().zip(&firsts).map(neighbours).collect();
        for _ in 0..MOST_GRIDS {
            let finer =
                |stage: usize, side: usize| around(found[stage][side], reaches[stage][side], ends[stage]);
            let next = self.best(&self.grids(finer));
            for ((reaches, old), new) in reaches.iter_mut().zip(&found).zip(&next) {
                for side in [ABSTAIN, ACCEPT] {
                    // On the edge of its grid, the best may lie beyond it.
                    if (new[side] - old[side]).abs() < 0.99 * reaches[side] {
                        reaches[side] *= SHRINKAGE;
                    }
                }
            }
            found = next;
            let close = |(pair, [low, high]): (&[f64; 2], &[f64; 2])| {
                pair.iter().all(|reach| *reach <= LEAST_REACH * (high - low))
            };
            if reaches.iter().zip(&ends).all(close) {
                break;
            }
        }
        self.optimum(&found)
    }

    fn optimum(&self, found: &[[f64; 2]]) -> Result<Optimum, CopulaError> {
        let (abstain_upto, mut accept_above): (Vec<f64>, Vec<f64>) =
            found.iter().map(|[abstain, accept]| (*abstain, *accept)).unzip();
        accept_above.pop();
        let thresholds = Thresholds { accept_above, abstain_upto };
        let prediction = self.cascade.predict(&thresholds)?;
        let loss = prediction.loss(self.cost_weight, self.abstention_weight.unwrap_or(0.0));
        Ok(Optimum { thresholds, loss, prediction })
    }

    /// Grids of all stages from the thresholds of a stage for one side of what it escalates.
    fn grids(&self, points: impl Fn(usize, usize) -> Vec<f64>) -> Vec<Grid> {
        let last = self.cascade.marginals().len() - 1;
        let mut grids: Vec<Grid> =
            (0..last).map(|stage| Grid::new(&points(stage, ABSTAIN), &points(stage, ACCEPT))).collect();
        grids.push(Grid::of_last(&points(last, ABSTAIN)));
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
    points.push(BELOW_ALL);
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
    use super::super::chain::tests::{any_cascade, golden};
    use super::*;
    use crate::cascade::copula::{BetaComponent, Gumbel};
    use proptest::prelude::*;

    fn loss(cascade: &MarkovCascade, [cost, abstention]: [f64; 2], thresholds: &Thresholds) -> f64 {
        cascade.predict(thresholds).unwrap().loss(cost, abstention)
    }

    /// The first stages of the golden chain.
    fn first(stages: usize) -> MarkovCascade {
        let all = golden();
        let (marginals, dependences, costs) = (
            all.marginals()[..stages].to_vec(),
            all.dependences()[..stages - 1].to_vec(),
            all.costs()[..stages].to_vec(),
        );
        MarkovCascade::new(marginals, dependences, costs).unwrap()
    }

    #[test]
    fn the_optimum_is_the_reference() {
        // methods/golden/05_cascade.json, `lbfgsb_optimum`.
        let found = golden().optimise(0.01).unwrap();
        let expected = [0.7281588228933634, 0.6065618639275804];
        for (found, expected) in found.thresholds.accept_above.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
        }
        assert!((found.loss - 0.26554615948091853).abs() < 1e-12);
        assert_eq!(found.thresholds.abstain_upto, [BELOW_ALL; 3]);
        assert_eq!(found.prediction, golden().predict(&found.thresholds).unwrap());
    }

    #[test]
    fn two_stages_agree_with_a_fine_grid() {
        let cascade = first(2);
        for cost in [0.0, 0.02, 0.05, 0.2] {
            let found = cascade.optimise(cost).unwrap();
            let grid = (0..=4000).map(|i| f64::from(i) / 4000.0);
            let at = |accept: f64| loss(&cascade, [cost, 0.0], &Thresholds::answering_all(&[accept]));
            let (place, least) =
                grid.map(|t| (t, at(t))).fold((0.0, f64::INFINITY), |a, b| if b.1 < a.1 { b } else { a });
            assert!(found.loss <= least + 1e-13 && found.loss > least - 1e-6, "{found:?} against {least}");
            let same = (found.thresholds.accept_above[0] - place).abs() < 5e-4;
            // Below every confidence, one place is as good as another.
            assert!(same || (found.thresholds.accept_above[0] < 0.0 && place == 0.0), "{found:?}, {place}");
        }
    }

    #[test]
    fn abstaining_on_two_stages_agrees_with_a_grid() {
        let cascade = first(2);
        for weights in [[0.02, 0.4], [0.05, 0.3], [0.001, 0.2]] {
            let found = cascade.optimise_abstaining(weights[0], weights[1]).unwrap();
            let mut least = f64::INFINITY;
            for accept in 0..=25 {
                for abstain in 0..=accept {
                    for last in 0..=25 {
                        let [accept, abstain, last] = [accept, abstain, last].map(|i| f64::from(i) / 25.0);
                        let thresholds =
                            Thresholds { accept_above: vec![accept], abstain_upto: vec![abstain, last] };
                        least = least.min(loss(&cascade, weights, &thresholds));
                    }
                }
            }
            assert!(found.loss <= least + 1e-12 && found.loss > least - 2e-3, "{found:?} against {least}");
        }
    }

    #[test]
    fn the_last_stage_abstains_where_a_wrong_answer_costs_more_than_none() {
        // An answer is worth giving exactly where 1 - confidence is less than the weight of abstaining.
        let found = golden().optimise_abstaining(0.01, 0.4).unwrap();
        assert!(found.prediction.stages[2].reach > 0.01);
        assert!((found.thresholds.abstain_upto[2] - 0.6).abs() < 1e-6);
        let alone = first(1).optimise_abstaining(0.01, 0.3).unwrap();
        assert!((alone.thresholds.abstain_upto[0] - 0.7).abs() < 1e-6);
        assert!(alone.thresholds.accept_above.is_empty());
    }

    #[test]
    fn what_is_never_worth_it_is_not_done() {
        let dear = golden().optimise(10.0).unwrap();
        assert_eq!(dear.thresholds.accept_above[0], BELOW_ALL);
        assert!((dear.loss - (1.0 - golden().marginals()[0].mean() + 10.0)).abs() < 1e-12);
        // Where abstaining costs more than a wrong answer, nobody abstains.
        let answered = golden().optimise_abstaining(0.01, 1.0).unwrap();
        assert!((answered.loss - golden().optimise(0.01).unwrap().loss).abs() < 1e-9);
        assert_eq!(answered.prediction.abstained, 0.0);
        // A stage that is never right passes everything on.
        let useless = Marginal::new([0.0, 0.0], [0.0, 1.0], Vec::new()).unwrap();
        let good = golden().marginals()[2].clone();
        let cascade =
            MarkovCascade::new(vec![useless, good.clone()], vec![Gumbel::INDEPENDENT], vec![0.1, 1.0])
                .unwrap();
        let found = cascade.optimise(0.01).unwrap();
        assert_eq!(found.thresholds.accept_above, [0.0]);
        assert!((found.loss - (1.0 - good.mean() + 0.011)).abs() < 1e-12);
    }

    #[test]
    fn narrow_confidences_are_told_apart_as_well() {
        let scale = 1e-4;
        let narrow = |low: f64| {
            let between = vec![BetaComponent { weight: 1.0, alpha: 2.0, beta: 2.0 }];
            Marginal::new([low, low + scale], [0.0, 0.0], between).unwrap()
        };
        let cascade =
            MarkovCascade::new(vec![narrow(0.8), narrow(0.8)], vec![Gumbel::INDEPENDENT], vec![0.0, 0.0])
                .unwrap();
        // What the second stage knows on average is where the first gives up.
        let found = cascade.optimise(0.0).unwrap().thresholds.accept_above[0];
        assert!((found - (0.8 + 0.5 * scale)).abs() < 1e-6 * scale, "{found}");
    }

    #[test]
    fn weights_are_checked() {
        for weight in [-1e-9, f64::NAN, f64::INFINITY] {
            assert!(golden().optimise(weight).is_err());
            assert!(golden().optimise_abstaining(weight, 0.3).is_err());
            assert!(golden().optimise_abstaining(0.3, weight).is_err());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn no_other_thresholds_are_better(
            cascade in any_cascade(),
            cost in 0.0..0.1f64,
            abstention in 0.0..0.8f64,
            tries in prop::collection::vec(prop::array::uniform5(0.0..1.0f64), 40),
        ) {
            let answering = cascade.optimise(cost).unwrap();
            let abstaining = cascade.optimise_abstaining(cost, abstention).unwrap();
            // A valley narrower than the first grid tells ranks apart may be missed.
            let slack = 1e-6;
            prop_assert!(abstaining.loss <= answering.loss + slack);
            for [a, b, c, d, e] in tries {
                let other = Thresholds::answering_all(&[a, b]);
                let found = loss(&cascade, [cost, 0.0], &other);
                prop_assert!(answering.loss <= found + slack, "{answering:?}, {found} at {other:?}");
                let other = Thresholds { accept_above: vec![a, b], abstain_upto: vec![a * c, b * d, e] };
                let found = loss(&cascade, [cost, abstention], &other);
                prop_assert!(abstaining.loss <= found + slack, "{abstaining:?}, {found} at {other:?}");
            }
        }

        #[test]
        fn no_threshold_can_be_moved_to_advantage(
            cascade in any_cascade(), cost in 0.0..0.1f64, step in -2e-2..2e-2f64,
        ) {
            let found = cascade.optimise(cost).unwrap();
            for stage in 0..2 {
                let mut moved = found.thresholds.clone();
                moved.accept_above[stage] = (moved.accept_above[stage] + step).max(BELOW_ALL);
                prop_assert!(loss(&cascade, [cost, 0.0], &moved) >= found.loss - 1e-10);
            }
        }
    }
}
