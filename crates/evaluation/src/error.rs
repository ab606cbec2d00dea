//! Why a measure was refused. A measure that is undefined is an error, never a made-up number.

use thiserror::Error;

/// Why a measure could not be computed.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum EvaluationError {
    /// No row at all.
    #[error("there is no row to evaluate")]
    Empty,
    /// Columns of different lengths.
    #[error("{what} holds {found} rows, expected {expected} as in the first column")]
    LengthMismatch {
        /// Which column is off.
        what: &'static str,
        /// Length of the first column.
        expected: usize,
        /// Length of the column that is off.
        found: usize,
    },
    /// A ranking needs both outcomes.
    #[error("every row has the label {0}: both outcomes are needed")]
    SingleClass(bool),
    /// A value that is NaN or outside [0, 1].
    #[error("{what} {value} of row {row} is not in [0, 1]")]
    OutOfRange {
        /// Which column.
        what: &'static str,
        /// Zero-based row.
        row: usize,
        /// What was found.
        value: f64,
    },
    /// A score without a place in the order.
    #[error("score of row {0} is NaN")]
    ScoreIsNan(usize),
    /// A score that cannot be interpolated.
    #[error("score {value} of row {row} is not finite")]
    ScoreNotFinite {
        /// Zero-based row.
        row: usize,
        /// What was found.
        value: f64,
    },
    /// Bins, trials or resamples that are zero.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// More successes than trials.
    #[error("{successes} successes of {trials} trials")]
    TooManySuccesses {
        /// Successes.
        successes: usize,
        /// Trials.
        trials: usize,
    },
    /// A confidence level that is not strictly between 0 and 1.
    #[error("confidence level {0} is not between 0 and 1")]
    BadLevel(f64),
    /// There is nothing that routing could recover.
    #[error("no gap to recover: strong scores {strong_mean} on average, weak {weak_mean}")]
    NoGapToRecover {
        /// Mean score of weak.
        weak_mean: f64,
        /// Mean score of strong.
        strong_mean: f64,
    },
    /// No logged action is one that the policy in question would take.
    #[error("the policy in question would have taken no action that was logged")]
    NoSupport,
    /// Resampling one group gives the same rows for ever.
    #[error("a bootstrap needs at least two groups of rows")]
    OneGroup,
    /// The statistic has no value on most resamples, so its percentiles mean nothing.
    #[error("the statistic is undefined on {undefined} of {resamples} resamples")]
    MostlyUndefined {
        /// Resamples without a value.
        undefined: usize,
        /// All resamples.
        resamples: usize,
    },
}

/// Refuses no rows, and columns that are not as long as the first.
pub(crate) fn check_lengths(
    expected: usize,
    columns: &[(&'static str, usize)],
) -> Result<(), EvaluationError> {
    for (what, found) in columns.iter().copied() {
        if found != expected {
            return Err(EvaluationError::LengthMismatch { what, expected, found });
        }
    }
    if expected == 0 { Err(EvaluationError::Empty) } else { Ok(()) }
}

/// Refuses values outside [0, 1].
pub(crate) fn check_unit(what: &'static str, values: &[f64]) -> Result<(), EvaluationError> {
    match values.iter().position(|v| !(0.0..=1.0).contains(v)) {
        Some(row) => Err(EvaluationError::OutOfRange { what, row, value: values[row] }),
        None => Ok(()),
    }
}

/// Refuses NaN.
pub(crate) fn check_scores(scores: &[f64]) -> Result<(), EvaluationError> {
    match scores.iter().position(|s| s.is_nan()) {
        Some(row) => Err(EvaluationError::ScoreIsNan(row)),
        None => Ok(()),
    }
}

/// Refuses NaN and infinities.
pub(crate) fn check_finite(scores: &[f64]) -> Result<(), EvaluationError> {
    match scores.iter().position(|s| !s.is_finite()) {
        Some(row) => Err(EvaluationError::ScoreNotFinite { row, value: scores[row] }),
        None => Ok(()),
    }
}

/// Refuses levels outside (0, 1).
pub(crate) fn check_level(level: f64) -> Result<(), EvaluationError> {
    if level > 0.0 && level < 1.0 { Ok(()) } else { Err(EvaluationError::BadLevel(level)) }
}
