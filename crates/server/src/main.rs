//! The `server` binary: parses the command line and hands over.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use server::cli::Cli;
use server::config::ConfigError;

/// `EX_USAGE` of sysexits: the configuration is wrong, restarting will not help.
const EX_USAGE: u8 = 64;

fn main() -> ExitCode {
    let Err(error) = Cli::parse().run() else { return ExitCode::SUCCESS };
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
    let wrong_configuration = error.downcast_ref::<ConfigError>().is_some();
    if wrong_configuration { ExitCode::from(EX_USAGE) } else { ExitCode::FAILURE }
}
