//! The gRPC server: wire in, wire out. Configuration, conversions, health, reflection, drain.
//! What a decision is lives in `router`; nothing here scores or compares.

#[cfg(test)]
extern crate self as server;

mod access;
mod behind;
mod cascade;
pub mod cli;
pub mod config;
mod convert;
mod drain;
mod explain;
mod front;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod intents;
mod listen;
mod monitors;
mod outcomes;
mod program;
mod record;
mod reload;
mod rollout;
mod run;
mod service;
mod signals;
mod status;
mod systemd;
pub mod telemetry;

pub use run::{ServeError, in_process, run};
