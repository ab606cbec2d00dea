//! Isotonic regression by pooling adjacent violators, and the two maps made of it: linear between the
//! ends of level stretches (isotonic), linear between their centres (centred isotonic).

use crate::CalibrationError;
use crate::sample::{Pool, Sample};

/// A stretch of scores that the regression gives one value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Block {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) weight: f64,
    pub(crate) positive: f64,
    /// Weighted sum of the scores.
    moment: f64,
}

impl Block {
    pub(crate) fn mean(&self) -> f64 {
        self.positive / self.weight
    }

    fn centre(&self) -> f64 {
        (self.moment / self.weight).clamp(self.low, self.high)
    }
}

/// Pool adjacent violators over pools of equal scores (methods section 2.1): the weighted
/// least-squares fit that never decreases. Means rise strictly from block to block.
pub(crate) fn pool_adjacent_violators(pools: &[Pool]) -> Vec<Block> {
    let mut stack: Vec<Block> = Vec::new();
    for pool in pools {
        let mut top = Block {
            low: pool.logit,
            high: pool.logit,
            weight: pool.weight,
            positive: pool.positive,
            moment: pool.weight * pool.logit,
        };
        while let Some(below) = stack.pop_if(|below| below.mean() >= top.mean()) {
            top = Block {
                low: below.low,
                high: top.high,
                weight: below.weight + top.weight,
                positive: below.positive + top.positive,
                moment: below.moment + top.moment,
            };
        }
        stack.push(top);
    }
    stack
}

/// Isotonic regression of labels on `x`: the fitted value of each row, ties pooled, nothing cut. For measuring
/// forecasts by what their own ranking could say; for serving see [`PiecewiseLinear::isotonic`].
///
/// `x` holds no NaN and is as long as `labels`; rows beyond the shorter one are left out.
pub fn isotonic_regression(x: &[f64], labels: &[bool]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..x.len().min(labels.len())).collect();
    order.sort_unstable_by(|a, b| x[*a].total_cmp(&x[*b]));
    let pool = |run: &[usize]| Pool {
        logit: x[run[0]],
        weight: run.len() as f64,
        positive: run.iter().filter(|row| labels[**row]).count() as f64,
    };
    let pools: Vec<Pool> = order.chunk_by(|a, b| x[*a] == x[*b]).map(pool).collect();
    let blocks = pool_adjacent_violators(&pools);
    let mut values = vec![0.0; order.len()];
    let mut block = blocks.iter().peekable();
    for row in order {
        while block.next_if(|b| b.high < x[row]).is_some() {}
        values[row] = block.peek().map_or(f64::NAN, |b| b.mean());
    }
    values
}

/// A map that is linear between knots, level beyond them, and never certain: values are cut to
/// `[1/(n+2), (n+1)/(n+2)]` for n rows, because no number of rows proves a probability of 0 or 1.
#[derive(Debug, Clone, PartialEq)]
pub struct PiecewiseLinear {
    knots: Vec<(f64, f64)>,
    rows: usize,
}

impl PiecewiseLinear {
    /// A map through known `(score, probability)` knots fitted to `rows` rows.
    ///
    /// # Errors
    /// Without a knot, or when one is not finite, scores do not rise, or probabilities fall or leave [0, 1].
    pub fn new(knots: Vec<(f64, f64)>, rows: usize) -> Result<Self, CalibrationError> {
        let sound = |(x, p): &(f64, f64)| x.is_finite() && (0.0..=1.0).contains(p);
        let rising = knots.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1);
        if knots.is_empty() || !knots.iter().all(sound) || !rising {
            return Err(CalibrationError::BadKnots);
        }
        Ok(Self { knots, rows })
    }

    /// Isotonic regression: a level stretch keeps its value from its first to its last score.
    pub fn isotonic(sample: &Sample) -> Self {
        let ends = |block: &Block| [(block.low, block.mean()), (block.high, block.mean())];
        Self::through(sample, |_, block| ends(block).into())
    }

    /// Centred isotonic regression (Oron and Flournoy 2017): a level stretch is one knot at its
    /// weighted mean score, so that queries between keep their order; stretches at 0 and 1 keep both ends.
    pub fn centred(sample: &Sample) -> Self {
        Self::through(sample, |mean, block| {
            if mean > 0.0 && mean < 1.0 {
                vec![(block.centre(), mean)]
            } else {
                vec![(block.low, mean), (block.high, mean)]
            }
        })
    }

    fn through(sample: &Sample, of: impl Fn(f64, &Block) -> Vec<(f64, f64)>) -> Self {
        let blocks = pool_adjacent_violators(&sample.pools());
        let mut knots: Vec<(f64, f64)> = blocks.iter().flat_map(|b| of(b.mean(), b)).collect();
        knots.dedup();
        Self { knots, rows: sample.len() }
    }

    /// `(score, probability)`, scores rising.
    pub fn knots(&self) -> &[(f64, f64)] {
        &self.knots
    }

    /// Rows it was fitted to.
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn probability(&self, logit: f64) -> f64 {
        let least = 1.0 / (self.rows as f64 + 2.0);
        self.interpolate(logit).clamp(least, 1.0 - least)
    }

    fn interpolate(&self, x: f64) -> f64 {
        let above = self.knots.partition_point(|(knot, _)| *knot <= x);
        match (above.checked_sub(1).map(|i| self.knots[i]), self.knots.get(above)) {
            (Some((_, p)), None) => p,
            (None, Some((_, p))) => *p,
            (Some((x0, p0)), Some((x1, p1))) => {
                // Rounding must not carry the value beyond the knots: the map would no longer be monotone.
                (p0 + (p1 - p0) * ((x - x0) / (x1 - x0))).clamp(p0, *p1)
            }
            (None, None) => f64::NAN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::tests::{assert_close, fixture_t, scores};
    use proptest::prelude::*;

    #[test]
    fn isotonic_agrees_with_the_reference() {
        let map = PiecewiseLinear::isotonic(&fixture_t());
        let expected = [
            (0.0, 0.0),
            (0.1, 0.0),
            (0.15, 1.0 / 6.0),
            (0.2, 1.0 / 3.0),
            (0.35, 1.0 / 3.0),
            (0.4, 1.0 / 3.0),
            (0.5, 0.5),
            (0.65, 2.0 / 3.0),
            (0.8, 0.8333333333333334),
            (0.9, 1.0),
            (1.0, 1.0),
        ];
        for (x, p) in expected {
            assert_close(map.interpolate(x), p, 1e-12);
        }
        // Twelve rows prove nothing beyond 13/14.
        assert_close(map.probability(1.0), 13.0 / 14.0, 1e-12);
        assert_close(map.probability(0.0), 1.0 / 14.0, 1e-12);
    }

    #[test]
    fn fitted_values_are_the_blocks() {
        let x = [0.4, 0.1, 0.2, 0.2, 0.9];
        let found = isotonic_regression(&x, &[false, false, true, false, true]);
        for (found, expected) in found.into_iter().zip([1.0 / 3.0, 0.0, 1.0 / 3.0, 1.0 / 3.0, 1.0]) {
            assert_close(found, expected, 1e-12);
        }
    }

    #[test]
    fn centred_isotonic_agrees_with_the_reference() {
        let map = PiecewiseLinear::centred(&fixture_t());
        let expected = [
            (0.0, 0.0),
            (0.15, 0.07692307692307693),
            (0.2, 0.15384615384615385),
            (0.35, 0.36507936507936506),
            (0.4, 0.41269841269841273),
            (0.5, 0.5079365079365079),
            (0.65, 0.6507936507936508),
            (0.8, 0.8571428571428572),
            (0.9, 1.0),
            (1.0, 1.0),
        ];
        for (x, p) in expected {
            assert_close(map.interpolate(x), p, 1e-12);
        }
    }

    #[test]
    fn knots_are_checked() {
        let bad = [
            vec![],
            vec![(0.0, 0.5), (0.0, 0.6)],
            vec![(0.0, 0.5), (1.0, 0.4)],
            vec![(0.0, 1.5)],
            vec![(f64::NAN, 0.5)],
        ];
        for knots in bad {
            assert_eq!(PiecewiseLinear::new(knots, 40), Err(CalibrationError::BadKnots));
        }
    }

    /// The least-squares monotone fit by its min-max formula, O(n³): the oracle.
    fn min_max(values: &[(f64, f64)]) -> Vec<f64> {
        let mean = |a: usize, b: usize| {
            let (w, s) = values[a..=b].iter().fold((0.0, 0.0), |(w, s), v| (w + v.0, s + v.1));
            s / w
        };
        let at = |i: usize| {
            let worst = |a: usize| (i..values.len()).map(|b| mean(a, b)).fold(f64::INFINITY, f64::min);
            (0..=i).map(worst).fold(f64::NEG_INFINITY, f64::max)
        };
        (0..values.len()).map(at).collect()
    }

    proptest! {
        #[test]
        fn pooling_is_the_least_squares_fit(
            rows in prop::collection::vec((0u8..12, any::<bool>(), 0.1..3.0f64), 2..40), x in -1.0..13.0f64, step in 0.0..3.0f64,
        ) {
            let z = scores(rows.iter().map(|r| f64::from(r.0)));
            let y: Vec<bool> = rows.iter().map(|r| r.1).collect();
            let w: Vec<f64> = rows.iter().map(|r| r.2).collect();
            let Ok(sample) = Sample::at_least(2, &z, &y, Some(&w)) else { return Ok(()) };
            let pools = sample.pools();
            let values: Vec<(f64, f64)> = pools.iter().map(|p| (p.weight, p.positive)).collect();
            let isotonic = PiecewiseLinear::isotonic(&sample);
            for (pool, expected) in pools.iter().zip(min_max(&values)) {
                prop_assert!((isotonic.interpolate(pool.logit) - expected).abs() < 1e-9);
            }
            for map in [isotonic, PiecewiseLinear::centred(&sample)] {
                prop_assert!(map.probability(x) <= map.probability(x + step));
                prop_assert!(PiecewiseLinear::new(map.knots().to_vec(), map.rows()).is_ok());
            }
        }
    }
}
