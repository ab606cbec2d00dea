//! Whether what is served is still what was trained: monitors of calibration and of distributions, as pure state
//! machines with a stated rate of false alarms. No I/O, no clock, and randomness is an argument; where observations come
//! from and who hears an alarm is decided elsewhere.
//!
//! `calibration_break` asks whether events still happen as often as their probabilities say, observation by observation;
//! `distribution` whether numbers still look like those of a reference, window by window.

mod calibration_break;
mod distribution;

pub use calibration_break::{Alarm, Cusum, EProcess, ShiryaevRoberts, cusum_limit};
pub use distribution::{MonitoringError, Psi, Reference, kolmogorov_smirnov};
