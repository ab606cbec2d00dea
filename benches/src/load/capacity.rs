//! A capacity model: what a decision takes is measured, fitted to lines, and carried on to rates that no machine here
//! has. The page it writes is docs/capacity.md.

mod fit;
mod measure;
mod model;
mod page;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use super::cli::ServerArgs;
use super::say::say;
use measure::{Effort, Measured};
use model::Assumptions;

/// How a capacity model is made.
#[derive(Debug, Args)]
pub(crate) struct CapacityArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Prices, retention and the like (TOML); benches/capacity.toml by default.
    #[arg(long, value_name = "FILE")]
    assumptions: Option<PathBuf>,
    /// URL of an empty PostgreSQL database that records are put into, to see what they take there.
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Share of the usual rates of measurements, for machines that cannot keep them.
    #[arg(long, default_value_t = 1.0)]
    rates: f64,
    /// Measurements of an earlier run; nothing is measured.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["postgres", "save"])]
    from: Option<PathBuf>,
    /// Where the measurements are left (JSON), for `--from`.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Where the page is written, such as docs/capacity.md; it is printed otherwise.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl CapacityArgs {
    pub(crate) fn run(&self) -> Result<()> {
        let assumptions = match &self.assumptions {
            Some(file) => Assumptions::read(file)?,
            None => Assumptions::usual()?,
        };
        let measured: Measured = match &self.from {
            Some(file) => {
                let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
                serde_json::from_str(&text).with_context(|| file.display().to_string())?
            }
            None => {
                let effort = Effort { seconds: self.seconds, rates: self.rates };
                measure::all(&self.server.setup()?, self.postgres.as_deref(), effort)?
            }
        };
        if let Some(file) = &self.save {
            std::fs::write(file, serde_json::to_string_pretty(&measured)?)?;
        }
        let page = page::write(&measured, &assumptions)?;
        match &self.out {
            Some(file) => std::fs::write(file, page).with_context(|| file.display().to_string())?,
            None => say(page),
        }
        Ok(())
    }
}
