//! `training export`: a log as Parquet files, for a warehouse.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clap::Args;
use decision_log::Maturity;
use decision_log::parquet::Export;

use crate::log::LogArgs;

/// Write a log of decisions and outcomes as Parquet files by day.
///
/// DECISIONS/day=…/part-0.parquet and OUTCOMES/day=…/part-0.parquet, for DuckDB, Spark or ClickHouse, and for every
/// command of this program that reads a log. Copy the folder to an object store with the tool you use for that.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    log: LogArgs,
    /// Folder to write; days that are there already are written anew.
    #[arg(long, short = 'o', value_name = "FOLDER")]
    out: PathBuf,
    /// Leave the texts of queries out.
    #[arg(long)]
    without_prompts: bool,
}

impl ExportArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When the log cannot be read or the folder cannot be written.
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let mut export = Export::to(&self.out);
        let (mut decisions, mut outcomes, mut failed) = (0u64, 0u64, None);
        let mut maturity = Maturity::default();
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
        let now_us = i64::try_from(now_us).context("the clock")?;
        let unjoined = self.log.read(&mut |mut joined| {
            maturity.count(&joined, now_us);
            if self.without_prompts {
                joined.decision.prompt = None;
            }
            decisions += 1;
            let mut written = export.decision(joined.decision);
            for outcome in joined.outcomes {
                outcomes += 1;
                written = written.and_then(|()| export.outcome(outcome));
            }
            if failed.is_none() {
                failed = written.err();
            }
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        ensure!(decisions > 0, "the log holds no decision");
        let files = export.finish()?;
        say(&format!(
            "{decisions} decisions and {outcomes} outcomes in {} files of {}",
            files.len(),
            self.out.display()
        ));
        say(&format!(
            "left out: {} outcomes of decisions that are not in the log, {} after {} days",
            unjoined.unknown, unjoined.late, self.log.horizon_days
        ));
        for band in maturity.bands() {
            say(&format!(
                "decisions at least {} s old: {} of {} have been reported on",
                band.from_s, band.joined, band.decided
            ));
        }
        Ok(())
    }
}
