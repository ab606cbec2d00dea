//! Why no threshold was selected.

use evaluation::EvaluationError;
use thiserror::Error;

/// Why an objective has no threshold on a sample.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum SelectError {
    /// A parameter outside its range, such as a share outside [0, 1].
    #[error("{field} is {value}, expected {expected}")]
    OutOfRange {
        /// Which parameter of the objective.
        field: &'static str,
        /// What was given.
        value: f64,
        /// What is possible.
        expected: &'static str,
    },
    /// Not even the dearest way to answer meets it.
    #[error("no threshold reaches a quality of {wanted:.4}: the best on this sample has {best:.4}")]
    QualityOutOfReach {
        /// What was asked for.
        wanted: f64,
        /// What there is.
        best: f64,
    },
    /// Even sending every query to weak costs more.
    #[error("no threshold costs {budget:.6} or less a query: the cheapest on this sample costs {least:.6}")]
    BudgetTooSmall {
        /// What was asked for.
        budget: f64,
        /// What there is.
        least: f64,
    },
    /// The objective weighs money, and no prices are known.
    #[error("this objective weighs money: give the prices of both models")]
    NoPrices,
    /// A cost of a cascade's sample that is negative or not finite.
    #[error("cost {value} of stage {stage}, row {row} is not a finite number of at least 0")]
    BadCost {
        /// Zero-based stage.
        stage: usize,
        /// Zero-based row.
        row: usize,
        /// What was found.
        value: f64,
    },
    /// The sample itself was refused.
    #[error(transparent)]
    Sample(#[from] EvaluationError),
}

/// Refuses what is no share.
pub(crate) fn share(field: &'static str, value: f64) -> Result<f64, SelectError> {
    let expected = "a number in [0, 1]";
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err(SelectError::OutOfRange { field, value, expected })
    }
}

/// Refuses what is no amount: a cost, a weight.
pub(crate) fn amount(field: &'static str, value: f64) -> Result<f64, SelectError> {
    let expected = "a finite number of at least 0";
    let possible = value.is_finite() && value >= 0.0;
    if possible { Ok(value) } else { Err(SelectError::OutOfRange { field, value, expected }) }
}

/// Refuses a count outside a range.
pub(crate) fn count(
    field: &'static str,
    found: usize,
    possible: std::ops::RangeInclusive<usize>,
    expected: &'static str,
) -> Result<(), SelectError> {
    if possible.contains(&found) {
        return Ok(());
    }
    Err(SelectError::OutOfRange { field, value: found as f64, expected })
}
