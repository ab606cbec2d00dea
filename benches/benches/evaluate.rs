//! `training evaluate` on a million labelled rows of JSONL, reading, grouping, scoring and writing included: seconds
//! and the peak memory of the process, left in `target/evaluate.json` for the report. The command runs inside this
//! process, which writes its rows in small parts beforehand, so that the peak is the command's.
#![allow(missing_docs, clippy::print_stdout, reason = "a bench")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use benches::{resident_mib, target};
use clap::Parser;
use serde_json::{Value, json};
use training::commands::evaluate::EvaluateArgs;
use training::commands::fit::FitArgs;

/// That of the `training` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: usize = 1_000_000;
const SHORT: usize = 20_000;
const PART: usize = 10_000;

#[derive(Debug, Parser)]
struct Fit {
    #[command(flatten)]
    args: FitArgs,
}

#[derive(Debug, Parser)]
struct Evaluate {
    #[command(flatten)]
    args: EvaluateArgs,
}

fn main() -> Result<()> {
    let short = std::env::args().any(|arg| arg == "--test");
    let rows = if short { SHORT } else { ROWS };
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (artifact, data, out) = (path("artifact"), path("rows.jsonl"), path("report"));
    let fit = ["fit", "--out", &artifact, "--starter-rows", "6000", "--epochs", "8", "--cross-fit", "off"];
    Fit::try_parse_from(fit)?.args.run(&mut |_| {})?;
    write_rows(Path::new(&data), rows)?;
    let prices = concat!(env!("CARGO_MANIFEST_DIR"), "/../prices.toml");
    let evaluate = ["evaluate", "-a", &artifact, "-d", &data, "-o", &out, "--prices", prices];
    let command = Evaluate::try_parse_from(evaluate)?;
    let start = Instant::now();
    command.args.run(&mut |_| {})?;
    let seconds = start.elapsed().as_secs_f64();
    let report: Value = serde_json::from_slice(&std::fs::read(Path::new(&out).join("report.json"))?)?;
    ensure!(report["rows"] == rows, "{} rows were evaluated", report["rows"]);
    let auroc = &report["scorers"]["classifier"]["estimates"]["auroc"]["value"];
    ensure!(auroc.as_f64().is_some_and(|a| a > 0.7 && a < 0.95), "AUROC {auroc}");
    let peak_mib = resident_mib(std::process::id()).context("no peak memory: is this Linux?")?;
    let figures = json!({"rows": rows, "seconds": seconds, "peak_mib": peak_mib});
    println!("{figures:#}");
    if !short {
        std::fs::write(target().join("evaluate.json"), figures.to_string())?;
    }
    Ok(())
}

fn write_rows(file: &Path, rows: usize) -> Result<()> {
    let mut writer = BufWriter::new(File::create(file)?);
    for part in 0..rows / PART {
        let mut examples = corpus::starter::generate(PART, 1_000 + part as u64);
        for example in &mut examples {
            example.id = format!("{part}-{}", example.id);
            example.true_win_probability = None;
        }
        corpus::write_jsonl(&examples, &mut writer)?;
    }
    Ok(writer.flush()?)
}
