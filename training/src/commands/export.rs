//! `training export`: a log as Parquet files, for a warehouse.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;
use decision_log::Maturity;
use decision_log::parquet::Export;

use crate::log::{LogArgs, maturity_in_words, now_us};

/// Write a log of decisions and outcomes as Parquet files by day.
///
/// decisions/day=…/part-0.parquet and outcomes/day=…/part-0.parquet, for DuckDB, Spark or ClickHouse, and for every
/// command of this program that reads a log.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    log: LogArgs,
    /// Folder to write, or an address such as s3://bucket/prefix where this program was built with `--features
    /// object-store`; days that are there already are written anew.
    #[arg(long, short = 'o', value_name = "FOLDER")]
    out: String,
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
        let place = Place::of(&self.out)?;
        let mut export = Export::to(place.folder());
        let (mut decisions, mut outcomes, mut failed) = (0u64, 0u64, None);
        let mut maturity = Maturity::default();
        let now_us = now_us();
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
        place.finish(&files)?;
        say(&format!(
            "{decisions} decisions and {outcomes} outcomes in {} files of {}",
            files.len(),
            self.out
        ));
        say(&format!(
            "left out: {} outcomes of decisions that are not in the log, {} after {} days",
            unjoined.unknown, unjoined.late, self.log.horizon_days
        ));
        maturity_in_words(&maturity).iter().for_each(|line| say(line));
        Ok(())
    }
}

/// Where files are written, and where they go from there.
enum Place {
    Folder(PathBuf),
    /// Written aside, then put into a store.
    #[cfg(feature = "object-store")]
    Store(tempfile::TempDir, String),
}

impl Place {
    #[cfg(feature = "object-store")]
    fn of(out: &str) -> Result<Self> {
        if crate::upload::is_address(out) {
            return Ok(Self::Store(tempfile::tempdir()?, out.to_owned()));
        }
        Ok(Self::Folder(PathBuf::from(out)))
    }

    #[cfg(not(feature = "object-store"))]
    fn of(out: &str) -> Result<Self> {
        ensure!(!out.contains("://"), "--out {out}: build with `--features object-store` to write there");
        Ok(Self::Folder(PathBuf::from(out)))
    }

    fn folder(&self) -> &Path {
        match self {
            Self::Folder(folder) => folder,
            #[cfg(feature = "object-store")]
            Self::Store(folder, _) => folder.path(),
        }
    }

    #[cfg_attr(
        not(feature = "object-store"),
        expect(unused_variables, clippy::unnecessary_wraps, reason = "a folder is the place")
    )]
    fn finish(&self, files: &[PathBuf]) -> Result<()> {
        match self {
            Self::Folder(_) => Ok(()),
            #[cfg(feature = "object-store")]
            Self::Store(folder, to) => crate::upload::upload(folder.path(), files, to),
        }
    }
}
