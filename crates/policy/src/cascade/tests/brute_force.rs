//! Every rule that tells the rows of a small sample apart, against the rule that was found.

use super::*;
use crate::cascade::joint::{Edge, joint_sweep};
use crate::cascade::problem::{Problem, Weights};
use proptest::prelude::*;

/// Every pair of thresholds of a stage that differs on the sample.
fn pairs(values: &[f64], last: bool, abstention: Abstention) -> Vec<StageThresholds> {
    let mut cuts: Vec<f64> = values.to_vec();
    cuts.push(0.0);
    cuts.push(types::Threshold::NEVER.get());
    cuts.sort_by(f64::total_cmp);
    cuts.dedup();
    let mut all = Vec::new();
    for below in &cuts {
        for above in cuts.iter().filter(|above| *above >= below) {
            let allowed = match (last, abstention) {
                (true, Abstention::Never) => *above == 0.0,
                (true, _) => below == above,
                (false, Abstention::Anywhere) => true,
                (false, _) => *below == 0.0,
            };
            if allowed {
                all.push(StageThresholds::new(*below, *above).unwrap());
            }
        }
    }
    all
}

fn every_rule(columns: &[Vec<f64>], abstention: Abstention) -> Vec<Vec<StageThresholds>> {
    let mut rules = vec![vec![]];
    for (stage, values) in columns.iter().enumerate() {
        let pairs = pairs(values, stage + 1 == columns.len(), abstention);
        let longer = |rule: &Vec<StageThresholds>| {
            let rule = rule.clone();
            pairs.iter().map(move |pair| [rule.clone(), vec![*pair]].concat()).collect::<Vec<_>>()
        };
        rules = rules.iter().flat_map(longer).collect();
    }
    rules
}

/// Loss of the best rule there is.
fn least(
    sample: &CascadeSample,
    rules: &[Vec<StageThresholds>],
    lambda_cost: f64,
    lambda_abstain: f64,
) -> f64 {
    let loss = |rule: &Vec<StageThresholds>| {
        Outcome::measure(&sample.whole(), rule).unwrap().loss(lambda_cost, lambda_abstain)
    };
    rules.iter().map(loss).fold(f64::INFINITY, f64::min)
}

/// Cost of the cheapest rule that keeps the floor, if there is one.
fn cheapest(
    sample: &CascadeSample,
    rules: &[Vec<StageThresholds>],
    floor: f64,
    lambda_abstain: f64,
) -> Option<f64> {
    let measured = rules.iter().map(|rule| Outcome::measure(&sample.whole(), rule).unwrap());
    let kept = measured.filter(|outcome| outcome.quality(lambda_abstain) >= floor - 1e-12);
    kept.map(|outcome| outcome.mean_cost).min_by(f64::total_cmp)
}

/// Probabilities on a coarse grid (ties), qualities graded, costs that vary from row to row.
fn rows(stages: usize, n: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Vec<(f64, f64, f64)>>> {
    let row = (0..=8u32, 0..=4u32, 0..=10u32);
    let row = row.prop_map(|(p, q, c)| (f64::from(p) / 8.0, f64::from(q) / 4.0, f64::from(c) / 5.0));
    n.prop_flat_map(move |n| prop::collection::vec(prop::collection::vec(row.clone(), n), stages))
}

fn sample_of(columns: &[Vec<(f64, f64, f64)>]) -> (CascadeSample, Vec<Vec<f64>>) {
    let stage = |column: &Vec<(f64, f64, f64)>| StageRows {
        probability: column.iter().map(|row| p(row.0)).collect(),
        quality: column.iter().map(|row| row.1).collect(),
        cost: column.iter().map(|row| row.2).collect(),
    };
    let values = columns.iter().map(|column| column.iter().map(|row| row.0).collect()).collect();
    (CascadeSample::new(columns.iter().map(stage).collect()).unwrap(), values)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn one_and_two_stages_are_exact(
        columns in (1usize..=2).prop_flat_map(|k| rows(k, 1..9)),
        lambda_cost in 0.0..0.6f64, lambda_abstain in 0.0..=1.0f64,
    ) {
        let (sample, values) = sample_of(&columns);
        for abstention in ALL_ABSTENTIONS {
            let objective = Objective::Weighted { lambda_cost, lambda_abstain };
            let found = tune(&sample.whole(), &objective, &options(abstention)).unwrap();
            let best = least(&sample, &every_rule(&values, abstention), lambda_cost, lambda_abstain);
            prop_assert!((found.objective - best).abs() < 1e-9, "{:?} {} {}", abstention, found.objective, best);
            let measured = found.outcome.loss(lambda_cost, lambda_abstain);
            prop_assert!((found.objective - measured).abs() < 1e-9);
        }
    }

    #[test]
    fn three_stages_without_abstention_are_exact(
        columns in rows(3, 1..12), lambda_cost in 0.0..0.6f64,
    ) {
        let (sample, values) = sample_of(&columns);
        let objective = Objective::Weighted { lambda_cost, lambda_abstain: 1.0 };
        let found = tune(&sample.whole(), &objective, &options(Abstention::Never)).unwrap();
        let best = least(&sample, &every_rule(&values, Abstention::Never), lambda_cost, 1.0);
        prop_assert!((found.objective - best).abs() < 1e-9, "{} {}", found.objective, best);
    }

    #[test]
    fn a_floor_with_one_threshold_is_exact(
        columns in rows(2, 1..12), floor in 0.0..=1.0f64,
    ) {
        let (sample, values) = sample_of(&columns);
        let objective = Objective::CostUnderQualityFloor { floor, lambda_abstain: 1.0 };
        let found = tune(&sample.whole(), &objective, &options(Abstention::Never));
        let best = cheapest(&sample, &every_rule(&values, Abstention::Never), floor, 1.0);
        match best {
            None => prop_assert!(found.is_err()),
            Some(best) => {
                let found = found.unwrap();
                prop_assert!((found.objective - best).abs() < 1e-9, "{} {}", found.objective, best);
            }
        }
    }

    #[test]
    fn a_floor_is_kept_and_never_undercut(
        columns in rows(2, 1..9), floor in 0.0..=1.0f64, lambda_abstain in 0.0..=1.0f64,
    ) {
        let (sample, values) = sample_of(&columns);
        for abstention in ALL_ABSTENTIONS {
            let objective = Objective::CostUnderQualityFloor { floor, lambda_abstain };
            let found = tune(&sample.whole(), &objective, &options(abstention));
            let best = cheapest(&sample, &every_rule(&values, abstention), floor, lambda_abstain);
            prop_assert_eq!(found.is_ok(), best.is_some());
            if let (Ok(found), Some(best)) = (found, best) {
                prop_assert!(found.outcome.quality(lambda_abstain) >= floor - 1e-9);
                prop_assert!(found.objective >= best - 1e-9);
            }
        }
    }

    #[test]
    fn more_freedom_never_hurts_where_tuning_is_exact(
        columns in rows(2, 1..40), lambda_cost in 0.0..0.6f64, lambda_abstain in 0.0..=1.0f64,
    ) {
        let (sample, _) = sample_of(&columns);
        let objective = Objective::Weighted { lambda_cost, lambda_abstain };
        let loss = |abstention| tune(&sample.whole(), &objective, &options(abstention)).unwrap().objective;
        let [never, end, anywhere] = ALL_ABSTENTIONS.map(loss);
        prop_assert!(end <= never + 1e-9 && anywhere <= end + 1e-9);
        // The two-stage rule can do whatever its first stage can do alone.
        let alone = tune(&sample.chain(&[0]).unwrap(), &objective, &options(Abstention::Never)).unwrap();
        prop_assert!(never <= alone.objective + 1e-9);
    }
}

proptest! {
    #[test]
    fn calibrated_labels_put_the_probability_in_the_place_of_quality(
        columns in (1usize..=2).prop_flat_map(|k| rows(k, 1..30)), weight in 0.0..=1.0f64,
    ) {
        let mixed = |w: f64| {
            let column = |column: &Vec<(f64, f64, f64)>| {
                column.iter().map(|(p, q, c)| (*p, w * q + (1.0 - w) * p, *c)).collect::<Vec<_>>()
            };
            sample_of(&columns.iter().map(column).collect::<Vec<_>>()).0
        };
        let objective = Objective::Weighted { lambda_cost: 0.1, lambda_abstain: 0.4 };
        let tuned = |sample: &CascadeSample, labels| {
            let options = TuneOptions { labels, abstention: Abstention::Anywhere };
            tune(&sample.whole(), &objective, &options).unwrap().objective
        };
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        let sample = mixed(1.0);
        prop_assert!(close(tuned(&sample, Labels::Calibrated), tuned(&mixed(0.0), Labels::Quality)));
        let between = tuned(&sample, Labels::Mixed { weight });
        prop_assert!(close(between, tuned(&mixed(weight), Labels::Quality)));
    }
}

/// The least loss of a rule with other thresholds at `first`, and at `second` where only one edge moves.
fn least_of_moves(
    problem: &Problem<'_>,
    rule: &[StageThresholds],
    (first, second, edge): (usize, usize, Edge),
    allowed: impl Fn(usize) -> Vec<StageThresholds>,
) -> f64 {
    let kept = |pair: &StageThresholds| match edge {
        Edge::Accept => pair.abstain_below() == rule[second].abstain_below(),
        Edge::Abstain => pair.accept_above() == rule[second].accept_above(),
        Edge::Last => true,
    };
    let mut best = problem.loss(rule);
    for later in allowed(second).into_iter().filter(kept) {
        for earlier in allowed(first) {
            let mut moved = rule.to_vec();
            (moved[first], moved[second]) = (earlier, later);
            best = best.min(problem.loss(&moved));
        }
    }
    best
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// The move itself, from any rule of any chain, all other thresholds staying as they are.
    #[test]
    fn a_joint_sweep_finds_the_best_of_its_moves(
        columns in (2usize..=4).prop_flat_map(|k| rows(k, 1..7)),
        start in prop::collection::vec(0..1_000usize, 4),
        at in 0..1_000usize, abstention in 0usize..3,
    ) {
        let (abstention, stages) = (ALL_ABSTENTIONS[abstention], columns.len());
        let second = 1 + at % (stages - 1);
        let first = at / 10 % second;
        let (sample, values) = sample_of(&columns);
        let chain = sample.whole();
        let weights = Weights { error: 1.0, abstain: 0.4, cost: 0.2 };
        let problem = Problem::new(&chain, Labels::Quality, abstention, weights);
        let allowed = |stage: usize| pairs(&values[stage], stage + 1 == stages, abstention);
        let nth = |stage: usize| allowed(stage)[start[stage] % allowed(stage).len()];
        let rule: Vec<StageThresholds> = (0..stages).map(nth).collect();
        for edge in Edge::of(problem.freedom(second)) {
            let mut found = rule.clone();
            joint_sweep(&problem, &mut found, first, second, *edge);
            let loss = problem.loss(&found);
            prop_assert!(loss <= problem.loss(&rule) + 1e-9);
            // Where the edge can pass no row there is no move of two stages, and the rule stays.
            let best = least_of_moves(&problem, &rule, (first, second, *edge), allowed);
            prop_assert!(found == rule || (loss - best).abs() < 1e-9, "{} {}", loss, best);
        }
    }
}

/// How often, and by how much, three stages with abstention miss the optimum on random samples of a few rows: far
/// rougher ground than any real sample.
#[test]
fn three_stages_with_abstention_rarely_miss_the_optimum() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for abstention in [Abstention::AtTheEnd, Abstention::Anywhere] {
        let (mut missed, mut worst, cases) = (0, 0.0_f64, 200);
        for _ in 0..cases {
            let n = rng.random_range(3..8);
            let row = |rng: &mut ChaCha8Rng| {
                let share =
                    |rng: &mut ChaCha8Rng, of: u32| f64::from(rng.random_range(0..=of)) / f64::from(of);
                (share(rng, 6), share(rng, 2), share(rng, 5))
            };
            let columns: Vec<Vec<_>> = (0..3).map(|_| (0..n).map(|_| row(&mut rng)).collect()).collect();
            let (sample, values) = sample_of(&columns);
            let (lambda_cost, lambda_abstain) = (0.3 * rng.random::<f64>(), rng.random());
            let objective = Objective::Weighted { lambda_cost, lambda_abstain };
            let found = tune(&sample.whole(), &objective, &options(abstention)).unwrap().objective;
            let best = least(&sample, &every_rule(&values, abstention), lambda_cost, lambda_abstain);
            assert!(found >= best - 1e-9, "better than all there is: {found} {best}");
            missed += usize::from(found > best + 1e-9);
            worst = worst.max(found - best);
        }
        assert!(missed * 20 <= cases && worst < 0.1, "{abstention:?}: {missed} of {cases}, worst by {worst}");
    }
}
