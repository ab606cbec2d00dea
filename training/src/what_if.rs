//! What another threshold would have given on the traffic that was served: off-policy estimates from logged decisions
//! with their propensities and outcomes.

use calibration::numeric::{logit, sigmoid};
use calibration::{CalibrationError, LogisticRow, Prior, fit_logistic};
use evaluation::bootstrap::percentile_intervals;
use evaluation::{Estimate, EvaluationError, LEAST_EFFECTIVE_ROWS, Logged, OffPolicy, off_policy};
use policy::goes_strong;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use types::{Threshold, WinProbability};

/// Folds of the model of rewards: a row is expected what rows of the other folds say.
const FOLDS: usize = 5;

/// Inverse variance of the prior of a coefficient of that model, in squared logits.
const PRIOR: Prior = Prior { mean: 0.0, precision: 1.0 };

/// A logit beyond which a probability is as good as certain.
const MOST_LOGIT: f64 = 8.0;

/// Resamples behind an interval.
const RESAMPLES: usize = 1_000;

/// A served decision between two models whose outcome is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Served {
    /// What the threshold is compared with.
    pub win_probability: WinProbability,
    /// Strong was served.
    pub strong: bool,
    /// How probable that was, in (0, 1].
    pub propensity: f64,
    /// It goes strong at every threshold.
    pub high_stakes: bool,
    /// What came of it, in [0, 1].
    pub score: f64,
}

/// What a threshold would have given.
#[derive(Debug, Clone, PartialEq)]
pub enum WhatIf {
    /// Estimates of its mean score.
    Known {
        /// Self-normalised inverse propensity weighting.
        snips: Estimate,
        /// Doubly robust.
        doubly_robust: Estimate,
        /// Rows of equal weight that would say as much.
        effective_rows: f64,
    },
    /// So many queries would go where the log never let them go.
    NotExplored {
        /// Queries that were always kept on weak and would go strong.
        to_strong: usize,
        /// The reverse.
        to_weak: usize,
    },
    /// Too few rows agree with it.
    TooFew {
        /// Rows of equal weight that would say as much.
        effective_rows: f64,
    },
}

/// Rows of one log, with what is expected of either model on each of them.
#[derive(Debug)]
pub struct Counterfactuals<'a> {
    rows: &'a [Served],
    /// Weak's score and strong's, by a model of the other folds.
    expected: Vec<[f64; 2]>,
    seed: u64,
}

impl<'a> Counterfactuals<'a> {
    /// Fits the model of rewards, a logistic regression on the win probability for either model, fold by fold.
    ///
    /// # Errors
    /// When numbers are of absurd size; the prior keeps every fit finite.
    pub fn new(rows: &'a [Served], seed: u64) -> Result<Self, CalibrationError> {
        let mut expected = vec![[0.0; 2]; rows.len()];
        for fold in 0..FOLDS.min(rows.len()) {
            let others = || rows.iter().enumerate().filter(|(i, _)| i % FOLDS != fold).map(|(_, row)| row);
            let arm = |strong: bool| {
                let of_arm = others().filter(|row| row.strong == strong).map(|row| LogisticRow {
                    x: seen(row.win_probability),
                    offset: 0.0,
                    label: row.score,
                    weight: 1.0,
                });
                fit_logistic(&of_arm.collect::<Vec<_>>(), &[PRIOR; 2])
            };
            let arms = [arm(false)?, arm(true)?];
            for i in (fold..rows.len()).step_by(FOLDS) {
                let x = seen(rows[i].win_probability);
                expected[i] =
                    arms.each_ref().map(|arm| sigmoid(arm.iter().zip(&x).map(|(a, x)| a * x).sum()));
            }
        }
        Ok(Self { rows, expected, seed })
    }

    /// What a threshold would have given.
    ///
    /// # Errors
    /// When there is no row.
    pub fn at(&self, threshold: Threshold) -> Result<WhatIf, EvaluationError> {
        let would = |row: &Served| row.high_stakes || goes_strong(row.win_probability, threshold);
        let never = |strong: bool| {
            let missed =
                |row: &&Served| row.propensity >= 1.0 && row.strong != strong && would(row) == strong;
            self.rows.iter().filter(missed).count()
        };
        let (to_strong, to_weak) = (never(true), never(false));
        if to_strong + to_weak > 0 {
            return Ok(WhatIf::NotExplored { to_strong, to_weak });
        }
        let estimate = |rows: &[usize]| self.estimate(rows, &would);
        let all: Vec<usize> = (0..self.rows.len()).collect();
        let found = match estimate(&all) {
            Ok(found) if found.effective_rows >= LEAST_EFFECTIVE_ROWS => found,
            Ok(OffPolicy { effective_rows, .. }) => return Ok(WhatIf::TooFew { effective_rows }),
            Err(EvaluationError::NoSupport) => return Ok(WhatIf::TooFew { effective_rows: 0.0 }),
            Err(error) => return Err(error),
        };
        let both = |rows: &[usize]| {
            let found = estimate(rows).ok();
            [found.map(|f| f.snips), found.map(|f| f.doubly_robust)]
        };
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let [snips, doubly_robust] = percentile_intervals(&all, both, RESAMPLES, 0.95, &mut rng)?;
        Ok(WhatIf::Known {
            snips: Estimate { value: found.snips, interval: snips },
            doubly_robust: Estimate { value: found.doubly_robust, interval: doubly_robust },
            effective_rows: found.effective_rows,
        })
    }

    /// Share of the queries a threshold sends to strong, in [0, 1].
    pub fn strong_call_rate(&self, threshold: Threshold) -> f64 {
        let strong = |row: &&Served| row.high_stakes || goes_strong(row.win_probability, threshold);
        self.rows.iter().filter(strong).count() as f64 / self.rows.len().max(1) as f64
    }

    fn estimate(
        &self,
        rows: &[usize],
        would: &impl Fn(&Served) -> bool,
    ) -> Result<OffPolicy, EvaluationError> {
        let column = |value: &dyn Fn(usize) -> f64| rows.iter().map(|r| value(*r)).collect::<Vec<_>>();
        let row = |i: usize| &self.rows[i];
        let target = column(&|i| f64::from(u8::from(row(i).strong == would(row(i)))));
        let propensity = column(&|i| row(i).propensity);
        let reward = column(&|i| row(i).score);
        let expected = column(&|i| self.expected[i][usize::from(row(i).strong)]);
        let expected_of_target = column(&|i| self.expected[i][usize::from(would(row(i)))]);
        off_policy(Logged {
            target: &target,
            propensity: &propensity,
            reward: &reward,
            expected: &expected,
            expected_of_target: &expected_of_target,
        })
    }
}

fn seen(p: WinProbability) -> Vec<f64> {
    vec![1.0, logit(p.get()).clamp(-MOST_LOGIT, MOST_LOGIT)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::Exploration;
    use rand::RngExt;

    /// What weak and strong score on average where strong wins with probability `p`.
    fn success(p: f64, strong: bool) -> f64 {
        if strong { 0.85 } else { 0.85 - 0.8 * p }
    }

    fn served(n: usize, exploration: Exploration, threshold: f64, seed: u64) -> Vec<Served> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let row = |_| {
            let p: f64 = rng.random();
            let policy = p >= threshold;
            let share = if policy { exploration.cheaper() } else { exploration.dearer() };
            let explored = rng.random_bool(share);
            let strong = policy != explored;
            Served {
                win_probability: WinProbability::new(p).unwrap(),
                strong,
                propensity: if explored { share } else { 1.0 - share },
                high_stakes: false,
                score: f64::from(u8::from(rng.random_bool(success(p, strong)))),
            }
        };
        (0..n).map(row).collect()
    }

    fn known(what_if: WhatIf) -> [Estimate; 2] {
        match what_if {
            WhatIf::Known { snips, doubly_robust, .. } => [snips, doubly_robust],
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn another_threshold_is_estimated_where_it_was_explored() {
        let rows = served(20_000, Exploration::new(0.1, 0.1).unwrap(), 0.5, 3);
        let log = Counterfactuals::new(&rows, 1).unwrap();
        for t in [0.2, 0.5, 0.7] {
            let threshold = Threshold::new(t).unwrap();
            // Weak below t, strong above, p uniform.
            let truth = (0.85 * t - 0.4 * t * t) + 0.85 * (1.0 - t);
            for estimate in known(log.at(threshold).unwrap()) {
                let Estimate { value, interval } = estimate;
                assert!((value - truth).abs() < 0.03, "{t}: {value}, truth {truth}");
                assert!(
                    interval.upper - interval.lower < 0.08
                        && interval.lower < value
                        && value < interval.upper
                );
            }
            assert!((log.strong_call_rate(threshold) - (1.0 - t)).abs() < 0.02);
        }
    }

    #[test]
    fn what_was_never_tried_is_not_estimated() {
        let upwards = served(2_000, Exploration::new(0.2, 0.0).unwrap(), 0.5, 3);
        let log = Counterfactuals::new(&upwards, 1).unwrap();
        let at = |t| log.at(Threshold::new(t).unwrap()).unwrap();
        assert!(matches!(at(0.3), WhatIf::Known { .. }));
        assert!(matches!(at(0.7), WhatIf::NotExplored { to_strong: 0, to_weak: 250.. }));
        let few = served(120, Exploration::new(0.05, 0.05).unwrap(), 0.5, 3);
        let log = Counterfactuals::new(&few, 1).unwrap();
        assert!(
            matches!(log.at(Threshold::ALWAYS).unwrap(), WhatIf::TooFew { effective_rows } if effective_rows < 50.0)
        );
        assert!(Counterfactuals::new(&[], 1).unwrap().at(Threshold::ALWAYS).is_err());
    }

    #[test]
    fn high_stakes_stay_strong_at_every_threshold() {
        let mut rows = served(2_000, Exploration::new(0.2, 0.2).unwrap(), 0.5, 3);
        for row in rows.iter_mut().step_by(10) {
            *row = Served { strong: true, propensity: 1.0, high_stakes: true, ..*row };
        }
        let log = Counterfactuals::new(&rows, 1).unwrap();
        assert!(matches!(log.at(Threshold::NEVER).unwrap(), WhatIf::Known { .. }));
        assert!((log.strong_call_rate(Threshold::NEVER) - 0.1).abs() < 1e-9);
    }
}
