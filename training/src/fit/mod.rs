//! Fitting a classifier: targets from evidence, the training loop, checkpoints, models that join later.
//! Nothing here calibrates or evaluates beyond the early-stopping loss. The loop serves `tune` as well.

mod checkpoint;
mod config;
mod epochs;
mod error;
mod general;
mod loss;
mod newcomer;
mod ridge;
mod start;
mod targets;
mod trainer;

pub use checkpoint::Checkpoints;
pub use config::{FitConfig, Schedule};
pub use epochs::{FitReport, Observer, Outcome, Progress, Silent};
pub(crate) use epochs::{Loop, StepLoss, Task, batches};
pub use error::FitError;
pub(crate) use general::fit_general;
pub use loss::LossKind;
pub(crate) use loss::{LOGITS, Model, Step};
pub use newcomer::{fit_newcomer, rows_about};
pub(crate) use ridge::Design;
pub(crate) use start::Moments;
pub use targets::{Prepared, WinTarget};
pub(crate) use trainer::Run;
pub use trainer::{MINIMUM_ROWS, fit};
