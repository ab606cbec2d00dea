//! Fitting a classifier: targets from evidence, the training loop, checkpoints, models that join later.
//! Nothing here calibrates or evaluates beyond the early-stopping loss.

mod checkpoint;
mod config;
mod general;
mod loss;
mod newcomer;
mod ridge;
mod targets;
mod trainer;

pub use checkpoint::Checkpoints;
pub use config::{FitConfig, Schedule};
pub(crate) use general::fit_general;
pub use newcomer::{fit_newcomer, rows_about};
pub use targets::{Prepared, WinTarget};
pub use trainer::{FitError, FitReport, MINIMUM_ROWS, Observer, Outcome, Progress, Silent, fit};
