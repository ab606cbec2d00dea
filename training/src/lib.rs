//! Training: evidence in, artifact out. Reading data lives in `corpus`, serving in `server`.

mod accuracy_curve;
pub mod advice;
pub mod calibrate;
mod card;
pub mod cascade;
pub mod commands;
pub mod compare;
pub mod deep;
pub mod encoder_download;
pub mod encoder_source;
pub mod fit;
pub mod intents;
pub mod judge;
pub mod log;
pub mod measure;
pub mod operating_point;
pub mod pipeline;
mod plot;
pub mod prices;
pub mod report;
pub mod tiers;
pub mod tune;
#[cfg(feature = "object-store")]
pub mod upload;
pub mod verifier;
pub mod what_if;
pub mod workload;
pub mod zero_shot;

pub use classifier::NetworkConfig;

/// The time, RFC 3339, UTC, to the second: for records, never for decisions.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
