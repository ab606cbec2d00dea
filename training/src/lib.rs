//! Training: evidence in, artifact out. Reading data lives in `corpus`, serving in `server`.

pub mod calibrate;
mod card;
pub mod commands;
pub mod fit;
pub mod measure;
pub mod pipeline;

pub use classifier::NetworkConfig;
