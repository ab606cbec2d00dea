//! The gRPC server: wire in, wire out. Configuration, conversions, health, reflection, drain.
//! What a decision is lives in `router`; nothing here scores or compares.

mod cascade;
pub mod cli;
pub mod config;
mod convert;
mod explain;
mod front;
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
