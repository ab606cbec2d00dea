//! `training import`: any accepted format, checked and written as JSONL.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use super::{DataArgs, Loaded};

/// Check data and write it as one JSONL file; without --data, the starter corpus with its truth.
#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    #[command(flatten)]
    data: DataArgs,
    /// The JSONL file to write.
    #[arg(long, short = 'o', value_name = "FILE")]
    out: PathBuf,
}

impl ImportArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When the data is refused or the file cannot be written.
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let Loaded { examples, .. } = self.data.load(say)?;
        let file = File::create(&self.out).with_context(|| self.out.display().to_string())?;
        let mut writer = BufWriter::new(file);
        corpus::write_jsonl(&examples, &mut writer)?;
        writer.flush().with_context(|| self.out.display().to_string())?;
        say(&format!("{} rows written to {}", examples.len(), self.out.display()));
        Ok(())
    }
}
