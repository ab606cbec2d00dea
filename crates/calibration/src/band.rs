//! How far one tier's probability may lie from another's: a band of logits around the fast tier's, so that the
//! deep tier's falls inside for a stated share of queries. Split conformal prediction of the difference
//! (Lei et al. 2018, "Distribution-Free Predictive Inference for Regression", section 2.2, one-sided twice).

use crate::numeric::{logit, sigmoid};
use types::{ProbabilityInterval, WinProbability};

/// Offsets on the logit, `lower <= upper`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    lower: f64,
    upper: f64,
}

/// Probabilities nearer to 0 or 1 than this are taken as this.
const EDGE: f64 = 1e-9;

/// The logit of a probability, finite.
pub(crate) fn at(p: WinProbability) -> f64 {
    logit(p.get().clamp(EDGE, 1.0 - EDGE))
}

impl Band {
    /// Holds nothing but the probability itself: the other tier is never asked.
    pub const NONE: Self = Self { lower: 0.0, upper: 0.0 };

    /// A band of given offsets; `None` when they are not finite, or the lower is above the upper.
    pub fn new(lower: f64, upper: f64) -> Option<Self> {
        (lower.is_finite() && upper.is_finite() && lower <= upper).then_some(Self { lower, upper })
    }

    /// The narrowest band on the rows' own terms that holds the other tier's probability of a further row like
    /// these with probability at least `coverage`, in [0, 1]: half of what may be missed on each side. Where the
    /// rows are too few to promise that, and at 1, their extremes; at 0 [`Band::NONE`].
    pub fn fit(fast: &[WinProbability], deep: &[WinProbability], coverage: f64) -> Self {
        let mut gaps: Vec<f64> = fast.iter().zip(deep).map(|(f, d)| at(*d) - at(*f)).collect();
        gaps.sort_by(f64::total_cmp);
        let n = gaps.len();
        if n == 0 || coverage <= 0.0 {
            return Self::NONE;
        }
        // The k-th smallest of n is below a further one with probability at most k / (n + 1).
        let missed = ((n + 1) as f64 * (1.0 - coverage) / 2.0).floor() as usize;
        let k = missed.clamp(1, n.div_ceil(2));
        // A fast probability lies in its own band, whatever the rows say.
        Self { lower: gaps[k - 1].min(0.0), upper: gaps[n - k].max(0.0) }
    }

    /// Lower and upper offset.
    pub fn offsets(self) -> (f64, f64) {
        (self.lower, self.upper)
    }

    /// Where the other tier's probability is expected beside this one.
    pub fn around(self, p: WinProbability) -> ProbabilityInterval {
        let shifted = |by: f64| match by {
            0.0 => p,
            _ => WinProbability::new(sigmoid(at(p) + by)).unwrap_or(p),
        };
        // Rounding must not push a probability out of its own band.
        let ends = (shifted(self.lower), shifted(self.upper));
        let least = if ends.0 < p { ends.0 } else { p };
        let most = if ends.1 > p { ends.1 } else { p };
        ProbabilityInterval::ordered(least, most)
    }

    /// The other tier's probability, held within the band around this one.
    pub fn hold(self, p: WinProbability, other: WinProbability) -> WinProbability {
        let around = self.around(p);
        if other < around.lower() {
            around.lower()
        } else if other > around.upper() {
            around.upper()
        } else {
            other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn p(value: f64) -> WinProbability {
        WinProbability::new(value).unwrap()
    }

    /// A linear congruential generator: this crate knows no random source.
    fn draws(seed: u64) -> impl Iterator<Item = f64> {
        std::iter::successors(Some(seed), |s| Some(s.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1)))
            .skip(1)
            .map(|s| (s >> 11) as f64 / (1u64 << 53) as f64)
    }

    #[test]
    fn the_promise_holds_on_average_over_samples() {
        let coverage = 0.8;
        let mut inside = 0;
        let runs = 2_000u64;
        for seed in 0..runs {
            let mut draw = draws(seed * 7919 + 1);
            let mut pair = || {
                let (f, shift) = (draw.next().unwrap(), draw.next().unwrap() - 0.3);
                (p(f), p(sigmoid(logit(f.clamp(EDGE, 1.0 - EDGE)) + shift)))
            };
            let (fast, deep): (Vec<_>, Vec<_>) = (0..40).map(|_| pair()).unzip();
            let band = Band::fit(&fast, &deep, coverage);
            let (f, d) = pair();
            let around = band.around(f);
            inside += u64::from(around.lower() <= d && d <= around.upper());
        }
        let share = inside as f64 / runs as f64;
        // Three standard errors of 2,000 runs below the promise; at most two ranks of 41 above it.
        assert!((0.773..0.88).contains(&share), "{share}");
    }

    proptest! {
        #[test]
        fn a_band_holds_its_own_probability_and_grows_with_coverage(
            rows in prop::collection::vec((0.0..=1.0f64, 0.0..=1.0f64), 1..40), q in 0.0..=1.0f64,
        ) {
            let (fast, deep): (Vec<_>, Vec<_>) = rows.iter().map(|(f, d)| (p(*f), p(*d))).unzip();
            let mut width = -1.0;
            for coverage in [0.0, 0.5, 0.9, 0.99] {
                let band = Band::fit(&fast, &deep, coverage);
                let around = band.around(p(q));
                prop_assert!(around.lower().get() <= q + 1e-12 && q <= around.upper().get() + 1e-12);
                let (lower, upper) = band.offsets();
                prop_assert!(upper - lower >= width);
                width = upper - lower;
            }
            prop_assert_eq!(Band::fit(&fast, &deep, 0.0), Band::NONE);
        }
    }
}
