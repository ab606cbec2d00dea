//! What can be wrong with an artifact; every variant names the file.

use std::path::PathBuf;

use calibration::CalibrationError;
use classifier::WeightsError;
use thiserror::Error;

/// Why an artifact was not written or not loaded.
#[derive(Debug, Error)]
pub enum ArtifactError {
    /// A file could not be read or written.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder is no artifact.
    #[error("{}: no manifest.json here, so this is no artifact: train one with `cargo run --release -p training`", .0.display())]
    NotAnArtifact(PathBuf),
    /// The folder is no verifier.
    #[error("{}: no manifest.json of a verifier here: train one with `training verifier fit`", .0.display())]
    NotAVerifier(PathBuf),
    /// A JSON file that does not read as it should.
    #[error("{}: line {line}: {reason}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// 1-based line.
        line: usize,
        /// What was expected.
        reason: String,
    },
    /// Written by a newer release.
    #[error("{}: format version {found} is newer than the {known} this build reads: upgrade Rung", file.display())]
    NewerFormat {
        /// The manifest.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The newest known version.
        known: u32,
    },
    /// Written by an older release whose format is no longer read.
    #[error("{}: format version {found} is older than the {known} this build reads: train the artifact again", file.display())]
    OlderFormat {
        /// The manifest.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The version this build reads.
        known: u32,
    },
    /// A file that is not what the manifest says.
    #[error("{}: sha256 is {found}, the manifest says {expected}: the file was cut short or edited", file.display())]
    WrongHash {
        /// The file.
        file: PathBuf,
        /// The manifest's hash.
        expected: String,
        /// The file's hash.
        found: String,
    },
    /// The calibrator is missing: raw scores are not probabilities, so the artifact is not served.
    #[error("{}: holds no calibrator for any pair: a raw score is no probability, so this artifact is refused", .0.display())]
    NoCalibrator(PathBuf),
    /// Weights that do not fit the manifest.
    #[error("{}: {source}", file.display())]
    Weights {
        /// The weights file.
        file: PathBuf,
        /// The tensor and what is wrong with it.
        source: WeightsError,
    },
    /// An encoder that was refused.
    #[error("{}: {reason}", folder.display())]
    Encoder {
        /// The artifact.
        folder: PathBuf,
        /// The encoder's file and what is wrong with it.
        reason: String,
    },
    /// A calibrator that is no map to probabilities.
    #[error("{}: pair {pair}: {source}", file.display())]
    Calibrator {
        /// The calibrator file.
        file: PathBuf,
        /// The pair.
        pair: String,
        /// What is wrong.
        source: CalibrationError,
    },
    /// A value that contradicts the rest.
    #[error("{}: field {field}: {reason}", file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// The field.
        field: &'static str,
        /// What was expected.
        reason: String,
    },
    /// The loaded classifier does not give the stored probabilities.
    #[error("{}: probe {index} gives {found}, stored is {stored}: this build or backend computes something else", file.display())]
    ProbeMismatch {
        /// The probe file.
        file: PathBuf,
        /// 0-based probe.
        index: usize,
        /// What it gave when the artifact was written.
        stored: f64,
        /// What it gives now.
        found: f64,
    },
}
