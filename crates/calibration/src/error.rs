//! Why a calibrator was refused, in words that say what to do about it.

use thiserror::Error;

/// Why a map could not be built or fitted.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum CalibrationError {
    /// A parameter that is NaN or infinite.
    #[error("{parameter} {value} is not finite")]
    NotFinite {
        /// Which parameter.
        parameter: &'static str,
        /// What was given.
        value: f64,
    },
    /// A slope that would turn the ranking of the classifier upside down.
    #[error("slope {0} is negative: a higher score must never mean a lower win probability")]
    NegativeSlope(f64),
    /// Scores, labels and weights that are not of one length.
    #[error("{what} holds {found} rows, but there are {expected} scores")]
    LengthMismatch {
        /// Which column is off.
        what: &'static str,
        /// Number of scores.
        expected: usize,
        /// Length of the column that is off.
        found: usize,
    },
    /// A weight that is negative, NaN or infinite.
    #[error("weight {weight} of row {row} is not a finite number of at least 0")]
    BadWeight {
        /// Zero-based row.
        row: usize,
        /// What was given.
        weight: f64,
    },
    /// Too few rows for two parameters to mean anything.
    #[error(
        "{rows} rows with a positive weight are too few to calibrate on, at least {needed} are needed: \
         with fewer, the fitted map is worse than the base rate as often as not; collect more outcomes"
    )]
    TooFewRows {
        /// Rows with a positive weight.
        rows: usize,
        /// The least number accepted.
        needed: usize,
    },
    /// Every row has the same label.
    #[error(
        "every one of the {rows} rows has the label {label}: the chance of the other outcome cannot be learned \
         from them"
    )]
    SingleClass {
        /// Rows with a positive weight.
        rows: usize,
        /// The one label seen.
        label: bool,
    },
    /// The fit stopped before it reached an optimum: absurdly large scores or weights, or labels that the
    /// score separates where the map does not smooth them.
    #[error("the fit did not converge: labels separable by the score, or numbers of absurd size?")]
    NotConverged,
    /// Knots of a stored map that make no map.
    #[error("knots need rising finite scores and probabilities in [0, 1] that never fall")]
    BadKnots,
}
