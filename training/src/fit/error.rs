//! Why a fit fails, whatever it moves.

use std::path::PathBuf;

use thiserror::Error;

/// Why a fit failed.
#[derive(Debug, Error)]
pub enum FitError {
    /// Fewer rows than a fit needs.
    #[error("{found} rows to fit on, at least {needed} are needed")]
    TooFewRows {
        /// Rows with a comparison.
        found: usize,
        /// Rows needed.
        needed: usize,
    },
    /// The loss is no longer a number.
    #[error("the loss became {loss} at step {step}: lower the learning rate")]
    Diverged {
        /// The step.
        step: usize,
        /// What the loss was.
        loss: f64,
    },
    /// A checkpoint could not be written or read.
    #[error("checkpoint {}: {reason}", file.display())]
    Checkpoint {
        /// The file.
        file: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// A checkpoint of another fit.
    #[error("checkpoint {} belongs to other rows or another configuration: remove it or drop --resume", .0.display())]
    ForeignCheckpoint(PathBuf),
    /// The backend failed.
    #[error("the backend failed: {0}")]
    Backend(String),
}
