//! The `load` binary: parses the command line and hands over. It ends with 1 where a target was missed or the command
//! could not be carried out.

use std::io::Write;
use std::process::ExitCode;

use benches::load::Cli;
use clap::Parser;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(missed) if missed.is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            // There is nowhere left to say that this did not work.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
