//! From a raw `Score` to a calibrated `WinProbability`: the maps and how they are fitted, and the
//! logistic arithmetic that the rest of the workspace borrows. No I/O, no clock, no randomness;
//! which rows may be used for fitting (never those the classifier was trained on) is the caller's
//! business, and how good a map is belongs to `evaluation`.

mod error;
pub mod numeric;
mod platt;

pub use error::CalibrationError;
pub use platt::{MIN_ROWS, PlattFit, PlattScaling};
