//! Shares counted on a sample and what they say of the share behind it: the binomial distribution, exact
//! (Clopper-Pearson) and Wilson intervals, one-sided bounds.

use crate::EvaluationError;
use crate::error::check_level;
use statrs::function::beta::checked_beta_reg;

/// P(at most `successes` of `trials`) when each succeeds with probability `p`.
///
/// # Errors
/// Without trials, with more successes than trials, or with a probability outside [0, 1].
pub fn binomial_cdf(successes: usize, trials: usize, p: f64) -> Result<f64, EvaluationError> {
    check_counts(successes, trials)?;
    if !(0.0..=1.0).contains(&p) {
        return Err(EvaluationError::OutOfRange { what: "probability", row: 0, value: p });
    }
    if successes == trials || p == 0.0 {
        return Ok(1.0);
    }
    // P(X <= k) = I_{1-p}(n - k, k + 1); the arguments are in range, so the function is defined.
    let (k, rest) = (successes as f64, (trials - successes) as f64);
    Ok(checked_beta_reg(rest, k + 1.0, 1.0 - p).unwrap_or(0.0))
}

/// The exact (Clopper-Pearson) two-sided interval of a rate, seen `successes` of `trials` times.
///
/// It covers the true rate with at least probability `level`, whatever that rate is.
///
/// # Errors
/// Without trials, with more successes than trials, or with a level outside (0, 1).
pub fn clopper_pearson(successes: usize, trials: usize, level: f64) -> Result<(f64, f64), EvaluationError> {
    check_level(level)?;
    check_counts(successes, trials)?;
    let (k, rest, tail) = (successes as f64, (trials - successes) as f64, (1.0 - level) / 2.0);
    let lower = if successes == 0 { 0.0 } else { beta_quantile(k, rest + 1.0, tail) };
    // By symmetry: the upper end is one minus the lower end of the failures, and no 1 - tail is formed.
    let upper = if successes == trials { 1.0 } else { 1.0 - beta_quantile(rest, k + 1.0, tail) };
    Ok((lower, upper))
}

/// The point below which a Beta(a, b) variable (a, b >= 1) lies with probability `q`, by bisection of
/// the regularised incomplete beta function until no number lies between the brackets.
fn beta_quantile(a: f64, b: f64, q: f64) -> f64 {
    // Enough halvings to resolve quantiles down to 1e-60 to full precision.
    const HALVINGS: usize = 256;
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        // The arguments are in range by construction; were they not, the bracket would only stay wide.
        if checked_beta_reg(a, b, middle).is_ok_and(|below| below < q) {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// The exact one-sided upper bound: the true rate lies above it with probability at most `delta`.
///
/// # Errors
/// Without trials, with more successes than trials, or with `delta` outside (0, 1).
pub fn upper_bound(successes: usize, trials: usize, delta: f64) -> Result<f64, EvaluationError> {
    // The upper end of a two-sided interval spends half of what it may miss.
    check_level(delta)?;
    check_counts(successes, trials)?;
    let (k, rest) = (successes as f64, (trials - successes) as f64);
    Ok(if successes == trials { 1.0 } else { 1.0 - beta_quantile(rest, k + 1.0, delta) })
}

/// The Wilson score interval of a rate at 95 %: shorter than the exact one and right on average.
///
/// # Errors
/// Without trials or with more successes than trials.
pub fn wilson_95(successes: usize, trials: usize) -> Result<(f64, f64), EvaluationError> {
    // The 97.5 % point of the normal distribution.
    const Z: f64 = 1.959_963_984_540_054;
    check_counts(successes, trials)?;
    let (n, rate) = (trials as f64, successes as f64 / trials as f64);
    let centre = rate + Z * Z / (2.0 * n);
    let half = Z * (rate * (1.0 - rate) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    Ok((((centre - half) / scale).max(0.0), ((centre + half) / scale).min(1.0)))
}

fn check_counts(successes: usize, trials: usize) -> Result<(), EvaluationError> {
    if trials == 0 {
        return Err(EvaluationError::Zero("trials"));
    }
    if successes > trials {
        return Err(EvaluationError::TooManySuccesses { successes, trials });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probability::tests::assert_close;
    use proptest::prelude::*;

    #[test]
    fn clopper_pearson_agrees_with_the_references() {
        let expected = [
            (0, 10, 0.0, 0.30849710781876083),
            (1, 10, 0.0025285785444617848, 0.4450161170281953),
            (7, 10, 0.3475471499400027, 0.9332604888222655),
            (10, 10, 0.6915028921812392, 1.0),
            (3, 200, 0.003104107621553509, 0.04320828191771261),
        ];
        for (k, n, lower, upper) in expected {
            let found = clopper_pearson(k, n, 0.95).unwrap();
            assert_close(found.0, lower, 1e-12);
            assert_close(found.1, upper, 1e-12);
        }
        // Closed form at no success, far from the small tables: 1 - tail^(1/n).
        let upper = clopper_pearson(0, 100_000, 0.9).unwrap().1;
        assert_close(upper, -(0.05f64.ln() / 100_000.0).exp_m1(), 1e-12);
    }

    #[test]
    fn wilson_agrees_with_the_references() {
        let expected = [
            (0, 10, 0.0, 0.27753279986288926),
            (1, 10, 0.017876213095072924, 0.40415002679523854),
            (7, 10, 0.39677814746114537, 0.8922087325936989),
            (3, 200, 0.005114237793258307, 0.043165728792690275),
        ];
        for (k, n, lower, upper) in expected {
            let found = wilson_95(k, n).unwrap();
            assert_close(found.0, lower, 1e-12);
            assert_close(found.1, upper, 1e-12);
        }
    }

    #[test]
    fn tails_and_bounds_agree_with_the_references() {
        let expected = [
            (0, 59, 0.04849452524942322),
            (2, 100, 0.1182629811851204),
            (3, 200, 0.009048376396101461),
            (15, 500, 0.01985837716300623),
            (30, 1000, 0.0012770679174797827),
        ];
        for (k, n, p) in expected {
            assert_close(binomial_cdf(k, n, 0.05).unwrap(), p, 1e-12);
        }
        assert_close(upper_bound(0, 59, 0.05).unwrap(), 0.04950760988822693, 1e-12);
        assert_close(upper_bound(3, 200, 0.1).unwrap(), 0.03309747022756343, 1e-12);
        assert_close(upper_bound(12, 500, 0.1).unwrap(), 0.03535725320436012, 1e-12);
        assert_eq!((binomial_cdf(5, 5, 0.3), binomial_cdf(0, 5, 0.0)), (Ok(1.0), Ok(1.0)));
        assert_eq!(binomial_cdf(0, 5, 1.0), Ok(0.0));
    }

    #[test]
    fn what_is_undefined_is_an_error() {
        assert_eq!(clopper_pearson(0, 0, 0.95), Err(EvaluationError::Zero("trials")));
        assert_eq!(clopper_pearson(0, 5, 1.0), Err(EvaluationError::BadLevel(1.0)));
        let many = EvaluationError::TooManySuccesses { successes: 6, trials: 5 };
        assert_eq!(clopper_pearson(6, 5, 0.95), Err(many));
        assert_eq!((upper_bound(6, 5, 0.1), wilson_95(6, 5)), (Err(many), Err(many)));
        assert!(binomial_cdf(1, 5, f64::NAN).is_err());
    }

    proptest! {
        #[test]
        fn clopper_pearson_is_symmetric_and_inverts_the_binomial_tail(n in 1usize..60, k in 0usize..60) {
            let k = k.min(n);
            let (lower, upper) = clopper_pearson(k, n, 0.9).unwrap();
            let (mirrored, _) = clopper_pearson(n - k, n, 0.9).unwrap();
            prop_assert!((upper - (1.0 - mirrored)).abs() < 1e-12);
            if k > 0 {
                // P(X >= k) at the lower end is the tail, added up term by term.
                let mut term = (1.0 - lower).powi(n as i32);
                let mut below = 0.0;
                for i in 0..k {
                    below += term;
                    term *= lower / (1.0 - lower) * (n - i) as f64 / (i + 1) as f64;
                }
                prop_assert!((1.0 - below - 0.05).abs() < 1e-9, "{}", 1.0 - below);
            }
        }

        #[test]
        fn the_upper_bound_inverts_the_exact_test(n in 1usize..300, k in 0usize..300, delta in 0.01..0.5f64) {
            let k = k.min(n - 1);
            let bound = upper_bound(k, n, delta).unwrap();
            prop_assert!((binomial_cdf(k, n, bound).unwrap() - delta).abs() < 1e-9);
        }
    }
}
