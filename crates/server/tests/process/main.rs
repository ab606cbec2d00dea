//! The server as a process of its own: killed, started by systemd, and called by those who mean it no good.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests"
)]

#[path = "../support/mod.rs"]
mod support;

mod faults;
mod hostile;
mod systemd;
