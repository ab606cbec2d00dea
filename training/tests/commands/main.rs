//! Every subcommand of `training`, as a user runs it.

#[path = "../../../crates/decision-log/tests/support/mod.rs"]
mod support;

mod advise;
mod backends;
mod calibrate;
mod deep;
mod evaluate;
mod fetch;
mod fit;
mod memory;
mod monitor;
mod object_store;
mod prior;
mod reproduce;
mod threshold;
mod tune;
mod verifier;
mod what_if;
