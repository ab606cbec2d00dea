//! Tests that may be looked at after every observation (methods section 9.4): an interval that holds at all times at
//! once, the canary's comparison of two error rates, and Wald's test of two hypotheses.

use serde::{Deserialize, Serialize};

/// Where the normal mixture is tightest: after about this much variance.
const RHO: f64 = 10.0;

/// Half the width of an interval around the mean of `n` numbers that holds, with probability 1 - `alpha`, at every `n`
/// at once: `sqrt((V + ρ) ln((V + ρ) / (ρ α²))) / n` (Howard et al. 2021, "Time-uniform, nonparametric, nonasymptotic
/// confidence sequences", section 3.2).
///
/// `variance_sum` is V, the sum of the numbers' variances or of bounds on them: n/4 for numbers in [0, 1]. `rho` is
/// above 0: the interval is tightest after about that much variance. `alpha` is in (0, 1). Infinite for `n` = 0.
pub fn normal_mixture_radius(n: u64, variance_sum: f64, rho: f64, alpha: f64) -> f64 {
    let spread = variance_sum + rho;
    (spread * (spread / (rho * alpha * alpha)).ln()).sqrt() / n as f64
}

/// What a comparison says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not yet anything.
    Continue,
    /// The candidate errs more often.
    Harm,
    /// The candidate errs more often by less than the margin, if at all.
    Promote,
}

/// Answers of one arm.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Arm {
    /// Answers that were reported on.
    pub n: u64,
    /// Their errors; an answer may be half wrong.
    pub errors: f64,
}

/// Incumbent against candidate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ArmTest {
    alpha: f64,
    /// The artifact in charge.
    pub incumbent: Arm,
    /// The one that may replace it.
    pub candidate: Arm,
}

impl ArmTest {
    /// A test that ends wrongly with probability `alpha` at most, however often it is looked at.
    pub fn new(alpha: f64) -> Self {
        Self { alpha, incumbent: Arm::default(), candidate: Arm::default() }
    }

    /// Takes an answer's error, in [0, 1].
    pub fn update(&mut self, of_candidate: bool, error: f64) {
        let arm = if of_candidate { &mut self.candidate } else { &mut self.incumbent };
        arm.n += 1;
        arm.errors += error;
    }

    /// The candidate's error rate above the incumbent's, lower and upper end; everything before both were seen.
    pub fn difference(&self) -> (f64, f64) {
        if self.incumbent.n == 0 || self.candidate.n == 0 {
            return (-1.0, 1.0);
        }
        let mean = |arm: &Arm| arm.errors / arm.n as f64;
        let radius: f64 = [self.incumbent, self.candidate]
            .iter()
            .map(|arm| normal_mixture_radius(arm.n, arm.n as f64 / 4.0, RHO, self.alpha / 2.0))
            .sum();
        let difference = mean(&self.candidate) - mean(&self.incumbent);
        ((difference - radius).max(-1.0), (difference + radius).min(1.0))
    }

    /// What it says where an error rate may rise by `margin`.
    pub fn verdict(&self, margin: f64) -> Verdict {
        let (lower, upper) = self.difference();
        if lower > 0.0 {
            Verdict::Harm
        } else if upper < margin {
            Verdict::Promote
        } else {
            Verdict::Continue
        }
    }
}

/// Wald's sequential probability ratio test of an error rate: `p0` against `p1`, above it (Wald 1945, "Sequential tests
/// of statistical hypotheses").
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sprt {
    of_error: f64,
    of_none: f64,
    lower: f64,
    upper: f64,
    sum: f64,
}

impl Sprt {
    /// `alpha`: chance to accept `p1` under `p0`; `beta`: chance to accept `p0` under `p1`. All in (0, 1).
    pub fn new(p0: f64, p1: f64, alpha: f64, beta: f64) -> Self {
        Self {
            of_error: (p1 / p0).ln(),
            of_none: ((1.0 - p1) / (1.0 - p0)).ln(),
            lower: (beta / (1.0 - alpha)).ln(),
            upper: ((1.0 - beta) / alpha).ln(),
            sum: 0.0,
        }
    }

    /// Takes an observation: [`Verdict::Harm`] accepts `p1`, [`Verdict::Promote`] `p0`.
    pub fn update(&mut self, error: bool) -> Verdict {
        self.sum += if error { self.of_error } else { self.of_none };
        if self.sum >= self.upper {
            Verdict::Harm
        } else if self.sum <= self.lower {
            Verdict::Promote
        } else {
            Verdict::Continue
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Methods, golden 08.
    #[test]
    fn golden_radii() {
        for (n, rho, radius) in [
            (100, 10.0, 0.159_231_894_746_661),
            (100, 100.0, 0.278_715_986_678_693),
            (1_000, 10.0, 0.049_039_635_827_906_19),
            (1_000, 100.0, 0.050_353_546_354_364_87),
            (10_000, 10.0, 0.017_002_194_826_098_722),
            (10_000, 100.0, 0.015_507_694_484_138_062),
        ] {
            let found = normal_mixture_radius(n, n as f64 / 4.0, rho, 0.05);
            assert!((found - radius).abs() < 1e-12, "{n}, {rho}: {found}");
        }
        assert_eq!(normal_mixture_radius(0, 0.0, 10.0, 0.05), f64::INFINITY);
    }

    #[test]
    fn golden_sprt() {
        let test = Sprt::new(0.05, 0.08, 0.05, 0.1);
        assert!((test.of_error - 0.470_003_629_245_735_47).abs() < 1e-12);
        assert!((test.of_none + 0.032_088_314_551_500_394).abs() < 1e-12);
        assert!((test.upper - 2.890_371_757_896_164_5).abs() < 1e-12);
        assert!((test.lower + 2.251_291_798_606_495).abs() < 1e-12);
    }

    #[test]
    fn sprt_errs_as_rarely_as_stated() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut wrong = [0, 0];
        for (i, p) in [0.05, 0.08].into_iter().enumerate() {
            for _ in 0..1_000 {
                let mut test = Sprt::new(0.05, 0.08, 0.05, 0.1);
                let end = std::iter::repeat_with(|| test.update(rng.random_bool(p)));
                let end = end.into_iter().find(|v| *v != Verdict::Continue).unwrap();
                wrong[i] += u32::from((end == Verdict::Harm) != (i == 1));
            }
        }
        assert!(wrong[0] <= 71 && wrong[1] <= 129, "{wrong:?}: 50 and 100 at most, and three deviations");
    }

    fn ends(incumbent: f64, candidate: f64, seed: u64) -> Verdict {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut test = ArmTest::new(0.05);
        for _ in 0..4_000 {
            let of_candidate = rng.random_bool(0.25);
            test.update(
                of_candidate,
                f64::from(u8::from(rng.random_bool(if of_candidate { candidate } else { incumbent }))),
            );
            if test.verdict(0.1) != Verdict::Continue {
                break;
            }
        }
        test.verdict(0.1)
    }

    #[test]
    fn the_same_is_rarely_called_harm_and_harm_rarely_promoted() {
        let of = |incumbent, candidate, verdict| {
            (0..1_000).filter(|seed| ends(incumbent, candidate, *seed) == verdict).count()
        };
        assert!(of(0.2, 0.2, Verdict::Harm) <= 71, "50 at most, and three deviations");
        assert!(of(0.2, 0.3, Verdict::Promote) <= 71, "at the margin");
        assert!(of(0.2, 0.45, Verdict::Harm) >= 900);
        assert!(of(0.3, 0.1, Verdict::Promote) >= 900);
    }

    /// Verdicts seen at any of 2,000 looks, without ending at the first: harm, promotion.
    fn ever(incumbent: f64, candidate: f64, seed: u64) -> (bool, bool) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut test, mut harm, mut promote) = (ArmTest::new(0.05), false, false);
        for _ in 0..2_000 {
            let of_candidate = rng.random_bool(0.5);
            let rate = if of_candidate { candidate } else { incumbent };
            test.update(of_candidate, f64::from(u8::from(rng.random_bool(rate))));
            harm |= test.verdict(0.1) == Verdict::Harm;
            promote |= test.verdict(0.1) == Verdict::Promote;
        }
        (harm, promote)
    }

    #[test]
    fn however_often_it_is_looked_at_it_errs_as_rarely_as_stated() {
        let same = (0..1_000).filter(|seed| ever(0.3, 0.3, *seed).0).count();
        assert!(same <= 71, "{same} of 1,000: 50 at most, and three deviations");
        for seed in 0..200 {
            let (harm, promote) = ever(0.2, 0.4, seed);
            assert!(harm && !promote, "20 points worse, seed {seed}");
            let (harm, promote) = ever(0.3, 0.3, seed);
            assert!(!(harm && promote), "both, seed {seed}");
        }
    }

    proptest! {
        #[test]
        fn no_verdict_is_both(n in 0u64..5_000, m in 0u64..5_000, a in 0.0..=1.0f64, b in 0.0..=1.0f64) {
            let mut test = ArmTest::new(0.05);
            test.incumbent = Arm { n, errors: a * n as f64 };
            test.candidate = Arm { n: m, errors: b * m as f64 };
            let (lower, upper) = test.difference();
            prop_assert!(lower <= upper && (-1.0..=1.0).contains(&lower) && (-1.0..=1.0).contains(&upper));
        }
    }
}
