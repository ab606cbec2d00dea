//! A cascade whose confidences follow a law instead of a sample: betas with atoms, neighbours coupled by Gumbel
//! copulas, and nothing but the stage before remembered (Zellinger and Thomson, arXiv 2501.09345; early abstention,
//! arXiv 2502.09054; methods sections 5.1 and 5.2). For comparison, and for asking what a chain would give that nobody
//! has run. The exact sweep over calibrated probabilities lost less on average at every sample size tried (methods
//! section 5.3).
//!
//! `marginal` is the law of one stage, `gumbel` the dependence of two, `chain` what thresholds give, `optimise` how
//! the best are found. Pure: calibrated success probabilities and costs come in, thresholds go out. Calibration, the
//! sweep on the sample and the choice of which models make the chain are not here.

mod chain;
mod gumbel;
mod marginal;
mod optimise;

use thiserror::Error;

pub use chain::{BELOW_ALL, MarkovCascade, Prediction, StagePrediction, Thresholds};
pub use gumbel::{Gumbel, kendall_tau};
pub use marginal::{BetaComponent, LEAST_ROWS, Marginal};
pub use optimise::Optimum;

/// Why there is no model, or nothing it can say.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum CopulaError {
    /// A chain of nothing.
    #[error("a cascade needs at least one stage")]
    NoStage,
    /// Lists that should be of one length.
    #[error("{found} {what}, expected {expected}")]
    LengthMismatch {
        /// What was counted.
        what: &'static str,
        /// What was given.
        found: usize,
        /// What the other lists say.
        expected: usize,
    },
    /// Too few confidences for a distribution.
    #[error(
        "{rows} confidences of a stage are too few to fit a distribution to, at least {needed} are needed"
    )]
    TooFewRows {
        /// Confidences given.
        rows: usize,
        /// The least number accepted.
        needed: usize,
    },
    /// A confidence that is NaN or outside [0, 1].
    #[error("confidence {value} of row {row} is not a probability in [0, 1]")]
    NotAProbability {
        /// Zero-based row.
        row: usize,
        /// What was given.
        value: f64,
    },
    /// A parameter that makes no law, a weight that makes no loss, or thresholds that contradict each other.
    #[error("{field} is {value}, expected {expected}")]
    OutOfRange {
        /// Which one.
        field: &'static str,
        /// What was given.
        value: f64,
        /// What is possible.
        expected: &'static str,
    },
}

fn out_of_range<T>(field: &'static str, value: f64, expected: &'static str) -> Result<T, CopulaError> {
    Err(CopulaError::OutOfRange { field, value, expected })
}

/// The one-sided transform of a confidence `p` before calibration, `ln(1 / (1 - p))` from `ln p`, which must not be
/// above 0: at least 0, infinite where p is 1. It spreads the confidences next to 1 out, where language models crowd
/// (methods section 5.1).
pub fn one_sided(ln_probability: f64) -> f64 {
    // The log of 1 - e^l without cancellation: e^l is small below -ln 2, and 1 - e^l is above.
    if ln_probability < -std::f64::consts::LN_2 {
        -(-ln_probability.exp()).ln_1p()
    } else {
        -(-ln_probability.exp_m1()).ln()
    }
}

/// The two-sided transform of a confidence `p` before calibration, from `ln p`, which must not be above 0: odd around
/// 1/2, where it is 0; infinite at 0 and 1. For confidences that mean something next to 0 as well, such as those of a
/// model that answers yes or no (methods section 5.1).
pub fn two_sided(ln_probability: f64) -> f64 {
    if ln_probability < -std::f64::consts::LN_2 {
        std::f64::consts::LN_2 + ln_probability
    } else {
        one_sided(ln_probability) - std::f64::consts::LN_2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transforms_agree_with_the_reference() {
        // methods/golden/05_cascade.json, `confidence_transforms`: ln p, one-sided, two-sided.
        let golden = [
            [-12.0, 6.144231229078249e-06, -11.306852819440055],
            [-5.0, 0.006760749449488557, -4.306852819440055],
            [-1.0, 0.458675145387082, -0.3068528194400547],
            [-std::f64::consts::LN_2, std::f64::consts::LN_2, 0.0],
            [-0.3, 1.3502256128148467, 0.6570784322549014],
            [-0.01, 4.610166019324897, 3.9170188387649514],
            [-1e-4, 9.210390371559516, 8.51724319099957],
            [-1e-9, 20.72326583744641, 20.030118656886465],
        ];
        for [l, one, two] in golden {
            assert!((one_sided(l) / one - 1.0).abs() < 1e-14, "one-sided of {l} is {}", one_sided(l));
            assert!((two_sided(l) - two).abs() < 1e-14 * (1.0 + two.abs()), "{l}: {}", two_sided(l));
        }
    }

    #[test]
    fn certainty_is_infinite_and_more_than_certain_is_no_number() {
        assert_eq!((one_sided(0.0), two_sided(0.0)), (f64::INFINITY, f64::INFINITY));
        assert_eq!((one_sided(f64::NEG_INFINITY), two_sided(f64::NEG_INFINITY)), (0.0, f64::NEG_INFINITY));
        assert!(one_sided(1e-9).is_nan() && two_sided(1e-9).is_nan());
    }
}
