//! A server within this process, over real sockets, and whoever talks to it. One binary, so that all is linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests"
)]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod cascade;
mod deep;
mod deploy;
mod envoy;
mod explore;
mod exported;
mod ext_proc;
mod memory;
mod overload;
mod policy;
mod polyglot;
mod reload;
mod rollout;
mod serve;
mod telemetry;
