//! The gRPC server: wire in, wire out. Configuration, conversions, health, reflection, drain.
//! What a decision is lives in `router`; nothing here scores or compares.

#[cfg(test)]
extern crate self as server;

mod cascade;
pub mod cli;
pub mod config;
mod convert;
mod explain;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod intents;
mod listen;
mod monitors;
mod outcomes;
mod program;
mod record;
mod rollout;
mod run;
mod service;
mod status;

pub use run::{ServeError, in_process, run};
