//! The `training` binary: parses the command line and hands over.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use training::commands::{
    advise, calibrate, cascade, compare, cross_validate, distil, evaluate, export, fetch_encoder, fine_tune,
    fit, import, judge, monitor, recalibrate, reproduce, retrain, semantic, threshold, verifier, what_if,
};

/// Reading a million rows makes tens of millions of small strings, which this allocator keeps together.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Train Rung on your own evidence. Without a subcommand: fit on the embedded starter corpus.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    fit: fit::FitArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fit a classifier, calibrate it, measure it, write the artifact.
    Fit(fit::FitArgs),
    /// Fit calibrators anew, or add models, on a few dozen outcomes and without retraining.
    Calibrate(calibrate::CalibrateArgs),
    /// Score every row by a classifier that never saw its fold.
    CrossValidate(cross_validate::CrossValidateArgs),
    /// Measure an artifact on labelled data it has not seen.
    Evaluate(evaluate::EvaluateArgs),
    /// Select a threshold from labelled data for an objective and write it into an artifact.
    Threshold(threshold::ThresholdArgs),
    /// Say which way of routing pays, if any, from a described workload or a decision log.
    Advise(advise::AdviseArgs),
    /// Say what other thresholds would have given, from a log of explored decisions and their outcomes.
    WhatIf(what_if::WhatIfArgs),
    /// Watch a log of decisions: do scores look as they did, does strong win as often as its probabilities say.
    Monitor(monitor::MonitorArgs),
    /// Move the win probabilities of an artifact by the outcomes of its decisions, if that helps.
    Recalibrate(recalibrate::RecalibrateArgs),
    /// Fit a new artifact on the decisions of a log.
    Retrain(Box<retrain::RetrainArgs>),
    /// Have a model compare both answers to logged decisions.
    Judge(judge::JudgeArgs),
    /// Write a log of decisions and outcomes as Parquet files.
    Export(export::ExportArgs),
    /// Find which models form a cascade behind a verifier, and its thresholds.
    Cascade(cascade::CascadeArgs),
    /// Draft, check and measure a catalogue of intents.
    Semantic(semantic::SemanticArgs),
    /// Compare ways of routing on one labelled corpus: predictive, cascade, by intent, and a policy of all three.
    Compare(Box<compare::CompareArgs>),
    /// Fit a verifier of answers.
    Verifier(verifier::VerifierArgs),
    /// Read a public encoder for the deep tier, check it and write it as a folder.
    FetchEncoder(fetch_encoder::FetchEncoderArgs),
    /// Tune the top layers of an encoder on labelled data, end to end, and write it as a folder.
    FineTune(fine_tune::FineTuneArgs),
    /// Train a small encoder to give what a large one gives, and write it as a folder.
    Distil(distil::DistilArgs),
    /// Train an artifact again by the command its card names and compare every figure.
    Reproduce(reproduce::ReproduceArgs),
    /// Check data of any accepted format and write it as JSONL.
    Import(import::ImportArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut say = |line: &str| {
        // A closed pipe is no reason to lose the artifact.
        let _ = writeln!(std::io::stdout(), "{line}");
    };
    let done = match cli.command {
        None => cli.fit.run(&mut say),
        Some(Command::Fit(args)) => args.run(&mut say),
        Some(Command::Calibrate(args)) => args.run(&mut say),
        Some(Command::CrossValidate(args)) => args.run(&mut say),
        Some(Command::Evaluate(args)) => args.run(&mut say),
        Some(Command::Threshold(args)) => args.run(&mut say),
        Some(Command::Advise(args)) => args.run(&mut say),
        Some(Command::WhatIf(args)) => args.run(&mut say),
        Some(Command::Monitor(args)) => args.run(&mut say),
        Some(Command::Recalibrate(args)) => args.run(&mut say),
        Some(Command::Retrain(args)) => args.run(&mut say),
        Some(Command::Judge(args)) => args.run(&mut say),
        Some(Command::Export(args)) => args.run(&mut say),
        Some(Command::Cascade(args)) => args.run(&mut say),
        Some(Command::Semantic(args)) => args.run(&mut say),
        Some(Command::Compare(args)) => args.run(&mut say),
        Some(Command::Verifier(args)) => args.run(&mut say),
        Some(Command::FetchEncoder(args)) => args.run(&mut say),
        Some(Command::FineTune(args)) => args.run(&mut say),
        Some(Command::Distil(args)) => args.run(&mut say),
        Some(Command::Reproduce(args)) => args.run(&mut say),
        Some(Command::Import(args)) => args.run(&mut say),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
