//! A trained artifact as a folder: manifest, weights, calibrator, probes, model card. There are two kinds: a router's,
//! and a verifier's with the cascades tuned on it.
//!
//! A folder is either whole or absent (written aside, synced, renamed), every byte is covered by a
//! hash, and loading replays stored decisions before it says yes. What an artifact contains is
//! trained in `training`; what is done with it happens in `router`.

mod deep;
mod error;
mod load;
mod manifest;
mod probe;
mod record;
mod store;
mod verifier;

pub use deep::{DeepPair, DeepTier, EncoderPlace, EncoderPrecision, ReadEncoderError, read_encoder, stacked};
pub use error::ArtifactError;
pub use load::Artifact;
pub use manifest::{
    AccuracyBucket, BackendRecord, CalibrationRecord, CertificateRecord, DataSummary, DeepRecord,
    FORMAT_VERSION, Interval, Manifest, Metrics, OperatingPoint, PairMetrics, Splits, TierChoice,
    ZeroShotMetrics,
};
pub use probe::probe_queries;
pub use store::{DeepDraft, Draft, PairCalibrator};
pub use verifier::{
    AnswerCalibrator, CascadeRecord, Judged, ModelMetrics, StageRecord, VERIFIER_FORMAT_VERSION,
    VerifierArtifact, VerifierData, VerifierDraft, VerifierManifest, VerifierMetrics,
};
