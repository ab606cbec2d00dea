//! The binary as a user runs it, and what it said.

use std::process::{Command, Output};

/// Runs a subcommand.
pub(crate) fn training(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_training")).args(args).output().unwrap()
}

/// What it printed; it has to succeed.
pub(crate) fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What it said; it has to be refused.
pub(crate) fn refusal(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}
