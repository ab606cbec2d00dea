//! Why a catalogue, a vector or a fit was refused, in words that say where and what to do about it.

use calibration::CalibrationError;
use evaluation::EvaluationError;
use thiserror::Error;

/// Why something of this crate was refused.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum SemanticError {
    /// A catalogue, or a file of labelled queries, that cannot be read.
    #[error("{file}, line {line}: {key}: {problem}")]
    Unreadable {
        /// The name its text was given under.
        file: String,
        /// One-based line.
        line: usize,
        /// The key it is about, such as `route[2].threshold`; `.` for the whole.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// A vector of another length than the catalogue's.
    #[error("a vector has {found} numbers, expected {expected}")]
    Dimension {
        /// Length that was expected.
        expected: usize,
        /// Length that was given.
        found: usize,
    },
    /// A vector that has no direction to compare.
    #[error("vector {0} holds a number that is not finite, or is too long to be normalised")]
    NotFinite(usize),
    /// Not one vector for each text of the catalogue.
    #[error("{found} vectors for {expected} texts of the catalogue")]
    VectorCount {
        /// Texts of the catalogue.
        expected: usize,
        /// Vectors that were given.
        found: usize,
    },
    /// A vector or text that the catalogue's mode needs and the query does not bring.
    #[error("the catalogue compares by {mode}: a query needs {needed}")]
    Missing {
        /// The mode.
        mode: &'static str,
        /// What is missing.
        needed: &'static str,
    },
    /// A parameter outside its range.
    #[error("{name} is {value}, expected {expected}")]
    OutOfRange {
        /// Which parameter.
        name: &'static str,
        /// What was given.
        value: f64,
        /// What is possible.
        expected: &'static str,
    },
    /// Too few off-topic queries for the floor to promise anything.
    #[error("{found} off-topic queries cannot bound false accepts by {alpha}: at least {needed} are needed")]
    TooFewOffTopic {
        /// Queries given.
        found: usize,
        /// The share that was to be promised.
        alpha: f64,
        /// The least number with which any query could be accepted.
        needed: usize,
    },
    /// A label that names no route of the catalogue.
    #[error("labelled query {row} names the route {route:?}, which the catalogue does not have")]
    UnknownRoute {
        /// Zero-based row of the labelled queries.
        row: usize,
        /// The name.
        route: String,
    },
    /// Nothing to fit to or to evaluate on.
    #[error("there is no labelled query")]
    NoLabels,
    /// No map from score to probability.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// A figure that is not defined.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
}
