//! `training evaluate`: an artifact measured on labelled data it has not seen.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use artifact::Artifact;
use clap::Args;
use classifier::Backend;

use super::{DataArgs, Loaded, PairArgs};
use crate::calibrate::label;
use crate::measure::{prompt_length, ranking};

/// Rank labelled data by an artifact's win probability.
///
/// The data may compare other models than the artifact's (zero-shot): then only the ranking is
/// measured, since the probabilities speak of the artifact's own pair.
#[derive(Debug, Clone, Args)]
pub struct EvaluateArgs {
    /// Folder of the artifact.
    #[arg(long, short = 'a', default_value = "models/default")]
    artifact: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    pairs: PairArgs,
    /// Where to compute.
    #[arg(long, default_value = "flex")]
    backend: Backend,
}

impl EvaluateArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When the artifact or the data is refused, or a figure is undefined on it.
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let artifact = Artifact::load(&self.artifact, self.backend)?;
        let Loaded { mut examples, simulated, .. } = self.data.load(say)?;
        let pairs = self.pairs.pairs(simulated)?;
        let pair = pairs.first().context("no pair")?;
        examples.retain(|e| label(e, pair).is_some());
        if examples.is_empty() {
            bail!("no row has outcomes of both {} and {}", pair.strong(), pair.weak());
        }
        let own = artifact.calibrators().iter().find(|c| c.pair == *pair);
        let scored_as = own.or_else(|| artifact.calibrators().first()).context("no calibrator")?;
        if own.is_none() {
            say(&format!(
                "zero-shot: {pair} is unknown to {}, rows are ranked by its probability for {}",
                artifact.manifest().name,
                scored_as.pair
            ));
        }
        let mut scratch = artifact.classifier().scratch();
        let mut probability = |e: &corpus::Example| {
            artifact.classifier().read(&e.query, &mut scratch);
            let slices = e.slices.iter().map(String::as_str);
            let calibrated = artifact.calibrated(&scratch, scored_as, slices);
            calibrated.map_or(f64::NAN, |c| c.win_probability.get())
        };
        let probabilities: Vec<f64> = examples.iter().map(&mut probability).collect();
        let lengths: Vec<f64> = examples.iter().map(|e| prompt_length(&e.query)).collect();
        let rows: Vec<&corpus::Example> = examples.iter().collect();
        for (scorer, scores) in [("classifier", &probabilities), ("prompt length", &lengths)] {
            let figures = ranking(scores, &rows, pair, 1)?;
            let shown = |name: &str| {
                figures.get(name).map_or("undefined: no gap to recover".to_owned(), |f| {
                    format!("{:.4} [{:.4}, {:.4}]", f.value, f.lower, f.upper)
                })
            };
            let (auroc, apgr) = (shown("auroc"), shown("apgr"));
            say(&format!("{scorer:<14} n {:>6}  AUROC {auroc}  APGR {apgr}", scores.len()));
        }
        Ok(())
    }
}
