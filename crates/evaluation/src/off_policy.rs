//! What another policy would have given, from decisions that were made by this one (methods section 8): each logged
//! row counts as much more as the other policy would have taken its action more often. Needs logged propensities, and
//! that every action the other policy takes had one above zero.

use crate::EvaluationError;
use crate::error::{check_lengths, check_unit};

/// Rows of full weight below which no estimate should be believed.
pub const LEAST_EFFECTIVE_ROWS: f64 = 50.0;

/// Decisions that were logged with their outcomes, one entry per row.
#[derive(Debug, Clone, Copy)]
pub struct Logged<'a> {
    /// How probable the action served is under the policy in question, in [0, 1].
    pub target: &'a [f64],
    /// How probable it was when it was served, in (0, 1].
    pub propensity: &'a [f64],
    /// What came of it, in [0, 1].
    pub reward: &'a [f64],
    /// What a model expects of the action served; of rows it was not fitted on.
    pub expected: &'a [f64],
    /// What the model expects of the policy in question: the mean over its actions.
    pub expected_of_target: &'a [f64],
}

/// Estimates of the mean reward of the policy in question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OffPolicy {
    /// Inverse propensity weighting (Horvitz and Thompson 1952): unbiased, and not invariant to a shift of rewards.
    pub ips: f64,
    /// The same over the sum of the weights (Swaminathan and Joachims 2015, "The Self-Normalized Estimator for
    /// Counterfactual Learning", section 4).
    pub snips: f64,
    /// What the model says alone.
    pub direct: f64,
    /// The model, and its errors weighted (Dudík et al. 2011, "Doubly Robust Policy Evaluation and Learning", equation
    /// 2): right where either the propensities or the model are.
    pub doubly_robust: f64,
    /// The same with the weighted errors over the sum of the weights.
    pub self_normalised_doubly_robust: f64,
    /// Rows of equal weight that would say as much, `(Σw)²/Σw²` (Kong 1992).
    pub effective_rows: f64,
}

/// Estimates on these rows. Look at [`OffPolicy::effective_rows`] before believing them: see [`LEAST_EFFECTIVE_ROWS`].
///
/// # Errors
/// When columns differ in length or are empty, a value is no probability, a propensity is 0, or the policy in question
/// would have taken no logged action.
pub fn off_policy(rows: Logged<'_>) -> Result<OffPolicy, EvaluationError> {
    let Logged { target, propensity, reward, expected, expected_of_target } = rows;
    let lengths = [
        ("propensity", propensity.len()),
        ("reward", reward.len()),
        ("expected", expected.len()),
        ("expected_of_target", expected_of_target.len()),
    ];
    check_lengths(target.len(), &lengths)?;
    for (what, values) in [("target", target), ("propensity", propensity), ("reward", reward)] {
        check_unit(what, values)?;
    }
    if let Some(row) = propensity.iter().position(|p| *p <= 0.0) {
        return Err(EvaluationError::OutOfRange { what: "propensity", row, value: propensity[row] });
    }
    let n = target.len() as f64;
    let (mut weights, mut squares, mut rewards, mut errors) = (0.0, 0.0, 0.0, 0.0);
    for (i, target) in target.iter().enumerate() {
        let weight = target / propensity[i];
        weights += weight;
        squares += weight * weight;
        rewards += weight * reward[i];
        errors += weight * (reward[i] - expected[i]);
    }
    if weights <= 0.0 {
        return Err(EvaluationError::NoSupport);
    }
    let direct = expected_of_target.iter().sum::<f64>() / n;
    Ok(OffPolicy {
        ips: rewards / n,
        snips: rewards / weights,
        direct,
        doubly_robust: direct + errors / n,
        self_normalised_doubly_robust: direct + errors / weights,
        effective_rows: weights * weights / squares,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::percentile_interval;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn columns<'a>(
        target: &'a [f64],
        propensity: &'a [f64],
        reward: &'a [f64],
        model: &'a [f64],
    ) -> Logged<'a> {
        Logged { target, propensity, reward, expected: model, expected_of_target: model }
    }

    /// 24 rows logged at threshold 0.6 with an epsilon of 0.3, judged at 0.4: figures of obp 0.5.7 (methods, golden 08).
    #[test]
    fn golden_of_obp() {
        let s = [
            0.618, 0.2361, 0.8541, 0.4721, 0.0902, 0.7082, 0.3262, 0.9443, 0.5623, 0.1803, 0.7984, 0.4164,
            0.0344, 0.6525, 0.2705, 0.8885, 0.5066, 0.1246, 0.7426, 0.3607, 0.9787, 0.5967, 0.2148, 0.8328,
        ];
        let strong = [1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1].map(|a| a == 1);
        let reward = [1, 0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 1, 1, 1].map(f64::from);
        let rows = 0..s.len();
        let propensity: Vec<f64> =
            rows.clone().map(|i| if strong[i] == (s[i] >= 0.6) { 0.85 } else { 0.15 }).collect();
        let target: Vec<f64> =
            rows.clone().map(|i| f64::from(u8::from(strong[i] == (s[i] >= 0.4)))).collect();
        let q = |i: usize, strong: bool| if strong { 0.88 } else { 1.0 - 0.6 * s[i] };
        let expected: Vec<f64> = rows.clone().map(|i| q(i, strong[i])).collect();
        let expected_of_target: Vec<f64> = rows.map(|i| q(i, s[i] >= 0.4)).collect();
        let found = off_policy(Logged {
            target: &target,
            propensity: &propensity,
            reward: &reward,
            expected: &expected,
            expected_of_target: &expected_of_target,
        })
        .unwrap();
        let golden = [
            (found.ips, 0.539_215_686_274_509_8),
            (found.snips, 0.785_714_285_714_285_8),
            (found.direct, 0.879_055),
            (found.doubly_robust, 0.817_196_176_470_588_3),
            (found.self_normalised_doubly_robust, 0.788_917_857_142_857_1),
            (found.effective_rows, 14.0),
        ];
        for (i, (found, golden)) in golden.into_iter().enumerate() {
            assert!((found - golden).abs() < 1e-12, "figure {i}: {found}, golden {golden}");
        }
    }

    /// Rewards depend on the action and on what the policy sees; the policy in question does the opposite of the one
    /// that logged. Over seeds, both estimates hit the truth on average and their intervals hold it as often as they say.
    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        const SEEDS: u64 = 200;
        let (mut held, mut sums) = ([0; 2], [0.0; 2]);
        for seed in 0..SEEDS {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let n = 400;
            let (mut target, mut propensity, mut reward) = (vec![], vec![], vec![]);
            let (mut expected, mut of_target) = (vec![], vec![]);
            for _ in 0..n {
                let x: f64 = rng.random();
                let (policy, other) = (x >= 0.5, x < 0.5);
                let explored = rng.random_bool(0.3);
                let served = policy != explored;
                let success = |strong: bool| if strong { 0.9 - 0.2 * x } else { 0.6 * x };
                target.push(f64::from(u8::from(served == other)));
                propensity.push(if explored { 0.3 } else { 0.7 });
                reward.push(f64::from(u8::from(rng.random_bool(success(served)))));
                // A model that is wrong by a constant.
                expected.push(success(served) + 0.1);
                of_target.push(success(other) + 0.1);
            }
            // Strong below one half, weak above: mean of 0.9 - 0.2x on [0, ½], of 0.6x on [½, 1].
            let truth = 0.5 * (0.9 - 0.05) + 0.5 * (0.6 * 0.75);
            let on = |rows: &[usize]| {
                let pick = |column: &[f64]| rows.iter().map(|r| column[*r]).collect::<Vec<_>>();
                let (t, p, r) = (pick(&target), pick(&propensity), pick(&reward));
                let (e, o) = (pick(&expected), pick(&of_target));
                let rows =
                    Logged { target: &t, propensity: &p, reward: &r, expected: &e, expected_of_target: &o };
                off_policy(rows).ok()
            };
            let all: Vec<usize> = (0..n).collect();
            let figures: [fn(&OffPolicy) -> f64; 2] = [|f| f.snips, |f| f.doubly_robust];
            for (i, figure) in figures.into_iter().enumerate() {
                sums[i] += figure(&on(&all).unwrap()) - truth;
                let interval =
                    percentile_interval(&all, |rows| on(rows).as_ref().map(figure), 200, 0.95, &mut rng)
                        .unwrap();
                held[i] += u64::from(interval.lower <= truth && truth <= interval.upper);
            }
        }
        for (held, sum) in held.into_iter().zip(sums) {
            // 190 expected; three standard deviations are 9.2, and 200 resamples widen that a little.
            assert!((179..=200).contains(&held), "{held} of {SEEDS}");
            assert!((sum / SEEDS as f64).abs() < 0.01, "off by {} on average", sum / SEEDS as f64);
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        let one = [1.0];
        assert_eq!(off_policy(columns(&[0.0], &one, &one, &one)), Err(EvaluationError::NoSupport));
        let zero = off_policy(columns(&one, &[0.0], &one, &one)).unwrap_err();
        assert_eq!(zero, EvaluationError::OutOfRange { what: "propensity", row: 0, value: 0.0 });
        assert!(off_policy(columns(&one, &one, &[], &one)).is_err());
        assert_eq!(off_policy(columns(&[], &[], &[], &[])), Err(EvaluationError::Empty));
    }

    proptest! {
        #[test]
        fn the_policy_that_logged_gets_the_mean_of_its_rewards(
            rows in prop::collection::vec((0.05..=1.0f64, 0.0..=1.0f64, 0.0..=1.0f64), 1..40),
        ) {
            let propensity: Vec<f64> = rows.iter().map(|r| r.0).collect();
            let reward: Vec<f64> = rows.iter().map(|r| r.1).collect();
            let model: Vec<f64> = rows.iter().map(|r| r.2).collect();
            let found = off_policy(columns(&propensity, &propensity, &reward, &model)).unwrap();
            let mean = reward.iter().sum::<f64>() / reward.len() as f64;
            for estimate in [found.ips, found.snips, found.doubly_robust, found.self_normalised_doubly_robust] {
                prop_assert!((estimate - mean).abs() < 1e-9);
            }
            prop_assert!((found.effective_rows - rows.len() as f64).abs() < 1e-6);
        }

        #[test]
        fn self_normalised_estimates_move_with_the_rewards(
            rows in prop::collection::vec((prop::bool::ANY, 0.1..=1.0f64, 0.0..=0.5f64), 2..40), shift in 0.0..=0.5f64,
        ) {
            let target: Vec<f64> = rows.iter().map(|r| f64::from(u8::from(r.0))).collect();
            prop_assume!(target.iter().any(|t| *t > 0.0));
            let propensity: Vec<f64> = rows.iter().map(|r| r.1).collect();
            let reward: Vec<f64> = rows.iter().map(|r| r.2).collect();
            let shifted: Vec<f64> = reward.iter().map(|r| r + shift).collect();
            let of = |reward| off_policy(columns(&target, &propensity, reward, &propensity)).unwrap();
            let (before, after) = (of(&reward), of(&shifted));
            prop_assert!((after.snips - before.snips - shift).abs() < 1e-9);
            let moved = after.self_normalised_doubly_robust - before.self_normalised_doubly_robust;
            prop_assert!((moved - shift).abs() < 1e-9);
        }
    }
}
