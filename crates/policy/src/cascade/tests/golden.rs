//! Reference figures: methods/golden/05_cascade.json (`empirical_exact`, `early_abstention_exact_2stage`) and
//! 06_verifier.json (`frugal_budget`). The references accept above a threshold, Rung at or above it: the thresholds
//! found lie between the same rows.

use super::*;

/// Success probabilities and labels of one query.
type Row = ([f64; 3], [f64; 3]);

/// 16 queries: success probabilities and labels of three models that cost 1, 4 and 15.
const ROWS: [Row; 16] = [
    ([0.618, 0.5142, 0.9321], [1.0, 1.0, 1.0]),
    ([0.2361, 0.9284, 0.6641], [0.0, 1.0, 1.0]),
    ([0.8541, 0.3426, 0.3962], [1.0, 0.0, 1.0]),
    ([0.4721, 0.7569, 0.1282], [1.0, 1.0, 1.0]),
    ([0.0902, 0.1711, 0.8603], [0.0, 0.0, 1.0]),
    ([0.7082, 0.5853, 0.5923], [0.0, 1.0, 0.0]),
    ([0.3262, 0.9995, 0.3244], [0.0, 1.0, 1.0]),
    ([0.9443, 0.4137, 0.0564], [1.0, 0.0, 1.0]),
    ([0.5623, 0.8279, 0.7885], [1.0, 1.0, 0.0]),
    ([0.1803, 0.2421, 0.5205], [0.0, 1.0, 1.0]),
    ([0.7984, 0.6563, 0.2526], [0.0, 1.0, 1.0]),
    ([0.4164, 0.0706, 0.9846], [1.0, 0.0, 0.0]),
    ([0.0344, 0.4848, 0.7167], [0.0, 0.0, 1.0]),
    ([0.6525, 0.899, 0.4487], [1.0, 1.0, 1.0]),
    ([0.2705, 0.3132, 0.1808], [0.0, 1.0, 1.0]),
    ([0.8885, 0.7274, 0.9128], [1.0, 0.0, 1.0]),
];

fn reference() -> CascadeSample {
    let stages = [1.0, 4.0, 15.0].iter().enumerate().map(|(i, cost)| {
        let column = |of: fn(&Row) -> [f64; 3]| ROWS.iter().map(|row| of(row)[i]).collect();
        let (probability, quality): (Vec<f64>, Vec<f64>) = (column(|row| row.0), column(|row| row.1));
        stage(&probability, &quality, *cost)
    });
    CascadeSample::new(stages.collect()).unwrap()
}

#[test]
fn three_stages_agree_with_the_exact_optimum() {
    let expected = [
        (0.0, 0.0625, 0.9375, 8.9375),
        (0.005, 0.10718749999999999, 0.9375, 8.9375),
        (0.01, 0.15187499999999998, 0.9375, 8.9375),
        (0.02, 0.24125, 0.9375, 8.9375),
        (0.05, 0.359375, 0.8125, 3.4375),
    ];
    for (lambda_cost, loss, accuracy, cost) in expected {
        let objective = Objective::Weighted { lambda_cost, lambda_abstain: 0.0 };
        let found = tune(&reference().whole(), &objective, &options(Abstention::Never)).unwrap();
        close(found.objective, loss);
        close(found.outcome.loss(lambda_cost, 0.0), loss);
        close(1.0 - found.outcome.error, accuracy);
        // Without a price several rules are equally accurate, at different costs.
        if lambda_cost > 0.0 {
            close(found.outcome.mean_cost, cost);
        }
    }
}

#[test]
fn the_rule_at_given_thresholds_agrees_with_the_reference() {
    // Just above the reference's thresholds, which its own rule excludes.
    let above = |t: f64| StageThresholds::new(0.0, t.next_up()).unwrap();
    for (t, accuracy, cost) in [([0.7984, 0.4848], 0.9375, 8.9375), ([0.3262, 0.1711], 0.8125, 3.4375)] {
        let rule = [above(t[0]), above(t[1]), StageThresholds::ACCEPT_ALL];
        let found = Outcome::measure(&reference().whole(), &rule).unwrap();
        close(1.0 - found.error, accuracy);
        close(found.mean_cost, cost);
    }
}

#[test]
fn early_abstention_agrees_with_the_exact_optimum() {
    // lambda_c, lambda_a, early, loss, T1, S1, S2, error, cost, abstain. -1 abstains nowhere.
    let expected = [
        (0.005, 0.4, false, 0.13375, 0.7984, -1.0, 0.1711, 0.0625, 4.25, 0.125),
        (0.005, 0.4, true, 0.09375000000000001, 0.7984, 0.0902, 0.0706, 0.0, 3.75, 0.1875),
        (0.02, 0.3, false, 0.17875000000000002, 0.7984, -1.0, 0.4848, 0.0, 4.25, 0.3125),
        (0.02, 0.3, true, 0.13124999999999998, 0.7984, 0.0902, 0.0706, 0.0, 3.75, 0.1875),
        (0.05, 0.3, false, 0.30625, 0.7984, -1.0, 0.4848, 0.0, 4.25, 0.3125),
        (0.05, 0.3, true, 0.24375, 0.7984, 0.0902, 0.0706, 0.0, 3.75, 0.1875),
    ];
    let sample = reference();
    let chain = sample.chain(&[0, 1]).unwrap();
    for (lambda_cost, lambda_abstain, early, loss, t1, s1, s2, error, cost, abstain) in expected {
        let objective = Objective::Weighted { lambda_cost, lambda_abstain };
        let abstention = if early { Abstention::Anywhere } else { Abstention::AtTheEnd };
        let found = tune(&chain, &objective, &options(abstention)).unwrap();
        close(found.objective, loss);
        // The reference's own thresholds give what it says, and no more than ours.
        let above = |t: f64| if t < 0.0 { 0.0 } else { t.next_up() };
        let last = StageThresholds::new(above(s2), above(s2)).unwrap();
        let rule = [StageThresholds::new(above(s1), above(t1)).unwrap(), last];
        let given = Outcome::measure(&chain, &rule).unwrap();
        close(given.loss(lambda_cost, lambda_abstain), loss);
        close(given.error, error);
        close(given.mean_cost, cost);
        close(given.abstention, abstain);
    }
}

fn frugal() -> CascadeSample {
    let score = [0.95, 0.9, 0.8, 0.7, 0.55, 0.4, 0.3, 0.1];
    let cheap = stage(&score, &[1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0], 1.0);
    let strong = stage(&[0.9; 8], &[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0], 10.0);
    CascadeSample::new(vec![cheap, strong]).unwrap()
}

#[test]
fn the_frugal_budget_agrees_with_the_reference() {
    let expected = [
        (0, 0.875, 11.0),
        (1, 0.875, 9.75),
        (2, 0.875, 8.5),
        (3, 0.875, 7.25),
        (4, 0.75, 6.0),
        (5, 0.75, 4.75),
        (6, 0.625, 3.5),
        (7, 0.625, 2.25),
        (8, 0.5, 1.0),
    ];
    let sample = frugal();
    let scores = [0.95, 0.9, 0.8, 0.7, 0.55, 0.4, 0.3, 0.1];
    for (accepted, accuracy, cost) in expected {
        let at = if accepted == 0 { 0.99 } else { scores[accepted - 1] };
        let rule = [StageThresholds::new(0.0, at).unwrap(), StageThresholds::ACCEPT_ALL];
        let found = Outcome::measure(&sample.whole(), &rule).unwrap();
        close(1.0 - found.error, accuracy);
        close(found.mean_cost, cost);
        close(found.stages[0].accept, accepted as f64 / 8.0);
    }
    // The cheapest way to each accuracy: what the reference's budgets of 7 and 5 buy, seen from the other side.
    for (floor, cost) in
        [(0.875, 7.25), (0.8, 7.25), (0.75, 4.75), (0.7, 4.75), (0.625, 2.25), (0.5, 1.0), (0.0, 1.0)]
    {
        let objective = Objective::CostUnderQualityFloor { floor, lambda_abstain: 1.0 };
        let found = tune(&sample.whole(), &objective, &options(Abstention::Never)).unwrap();
        close(found.objective, cost);
        close(found.outcome.mean_cost, cost);
        assert!(1.0 - found.outcome.error >= floor);
    }
    let objective = Objective::CostUnderQualityFloor { floor: 0.9, lambda_abstain: 1.0 };
    let found = tune(&sample.whole(), &objective, &options(Abstention::Never));
    assert_eq!(found, Err(crate::SelectError::QualityOutOfReach { wanted: 0.9, best: 0.875 }));
}
