//! From a raw `Score` to a calibrated `WinProbability`: the maps and how they are fitted, and the
//! logistic arithmetic that the rest of the workspace borrows. No I/O, no clock, no randomness;
//! which rows may be used for fitting (never those the classifier was trained on) is the caller's
//! business, and how good a map is belongs to `evaluation`.

mod adjustment;
mod band;
mod beta;
mod error;
mod logistic;
mod map;
mod monotone;
pub mod numeric;
mod platt;
mod sample;
mod slices;
mod temperature;
mod venn_abers;

pub use adjustment::{Adjustment, Observed, Prequential, Window, prequential};
pub use band::Band;
pub use beta::BetaCalibration;
pub use error::CalibrationError;
pub use logistic::{LogisticRow, Prior, fit_logistic};
pub use map::{Calibrated, Calibrator, Fit, ISOTONIC_FROM, Map, Method, PLATT_UP_TO};
pub use monotone::{PiecewiseLinear, isotonic_regression};
pub use platt::{PlattFit, PlattScaling};
pub use sample::{MIN_ROWS, Sample};
pub use slices::{SliceOffsets, SliceRow};
pub use temperature::TemperatureScaling;
pub use venn_abers::{Bounds, Knot, VennAbers};
