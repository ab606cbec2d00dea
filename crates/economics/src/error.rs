//! Why a number was refused, with the name of the field it came in.

use thiserror::Error;

/// Why something could not be computed.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum EconomicsError {
    /// A number that cannot be what it is said to be.
    #[error("{field} is {value}, expected {expected}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// What was given.
        value: f64,
        /// What is possible.
        expected: &'static str,
    },
    /// A chain without a model.
    #[error("a chain needs at least one stage")]
    NoStage,
}

/// Refuses what is negative, NaN or infinite.
pub(crate) fn amount(field: &'static str, value: f64) -> Result<f64, EconomicsError> {
    if value.is_finite() && value >= 0.0 {
        Ok(value)
    } else {
        Err(EconomicsError::OutOfRange { field, value, expected: "a finite number of at least 0" })
    }
}

/// Refuses what is not above 0 and finite.
pub(crate) fn positive(field: &'static str, value: f64) -> Result<f64, EconomicsError> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(EconomicsError::OutOfRange { field, value, expected: "a finite number above 0" })
    }
}

/// Refuses what is outside [0, 1].
pub(crate) fn share(field: &'static str, value: f64) -> Result<f64, EconomicsError> {
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err(EconomicsError::OutOfRange { field, value, expected: "a share in [0, 1]" })
    }
}
