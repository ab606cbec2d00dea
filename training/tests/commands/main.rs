//! Every subcommand of `training`, as a user runs it.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "helpers of tests")]

#[path = "../../../crates/decision-log/tests/support/mod.rs"]
mod support;

mod advise;
mod calibrate;
mod deep;
mod evaluate;
mod fetch;
mod fit;
mod memory;
mod monitor;
mod prior;
mod reproduce;
mod run;
mod threshold;
mod tune;
mod verifier;
mod what_if;
