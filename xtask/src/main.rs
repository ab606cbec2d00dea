//! One command for everything a contributor runs: `cargo xtask --help`.

mod bench_report;
mod check;
mod contract;
mod quickstart;
mod run;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about = "Everything a contributor runs")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train on the embedded starter corpus, serve the artifact, ask it two questions.
    Quickstart(quickstart::Args),
    /// Run every test.
    Test(test::Args),
    /// Format, clippy, architecture, file habits, dependencies, the wire contract.
    Check,
    /// The wire contract against that of the last release.
    Contract(contract::Args),
    /// Write docs/benchmarks.md from what `cargo bench` measured.
    BenchReport,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Quickstart(args) => quickstart::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Check => check::run(),
        Command::Contract(args) => contract::run(&args),
        Command::BenchReport => bench_report::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            run::tell(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
