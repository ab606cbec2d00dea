//! The logistic function and its relatives, exact in both tails. The only place in the workspace
//! where they are written down. Nothing here knows what the numbers mean.

/// `1 / (1 + e^-x)`, in [0, 1]; monotone, and never overflows. NaN only for NaN.
pub fn sigmoid(x: f64) -> f64 {
    // The exponential is always of a non-positive number, so it cannot overflow, and the small tail
    // keeps its relative precision.
    let e = (-x.abs()).exp();
    if x >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}

/// `ln(1 + e^x)`, at least 0: minus the log of `sigmoid(-x)` without forming that probability.
pub fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `ln(p / (1 - p))`: minus and plus infinity at 0 and 1, NaN outside [0, 1].
pub fn logit(p: f64) -> f64 {
    p.ln() - (-p).ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_tails_hold() {
        assert_eq!((sigmoid(0.0), sigmoid(f64::INFINITY), sigmoid(f64::NEG_INFINITY)), (0.5, 1.0, 0.0));
        // e^-700 is representable; a sigmoid written as 1 - sigmoid(-x) would give 0.
        assert!((sigmoid(-700.0) / (-700.0f64).exp() - 1.0).abs() < 1e-12);
        assert!((softplus(-700.0) / (-700.0f64).exp() - 1.0).abs() < 1e-12);
        assert_eq!((softplus(1e308), softplus(-1e308)), (1e308, 0.0));
        assert!((softplus(0.0) - std::f64::consts::LN_2).abs() < 1e-15);
        assert_eq!((logit(0.0), logit(1.0), logit(0.5)), (f64::NEG_INFINITY, f64::INFINITY, 0.0));
        assert!(sigmoid(f64::NAN).is_nan() && logit(-0.1).is_nan() && logit(1.1).is_nan());
    }

    proptest! {
        #[test]
        fn sigmoid_is_monotone_and_symmetric(a in -800.0..800.0f64, b in -800.0..800.0f64) {
            prop_assert!(sigmoid(a.min(b)) <= sigmoid(a.max(b)));
            prop_assert!((sigmoid(a) + sigmoid(-a) - 1.0).abs() < 1e-15);
        }

        #[test]
        fn logit_undoes_sigmoid(x in -30.0..30.0f64) {
            // The step of an f64 next to 1 is 2^-53: as a logit that is e^x times as much.
            let tolerance = 1e-13 * (1.0 + x.abs()) + 4.0 * f64::EPSILON * x.exp();
            prop_assert!((logit(sigmoid(x)) - x).abs() <= tolerance);
        }

        #[test]
        fn softplus_is_minus_the_log_of_the_complement(x in -30.0..30.0f64) {
            prop_assert!((softplus(x) + sigmoid(-x).ln()).abs() < 1e-12);
        }
    }
}
