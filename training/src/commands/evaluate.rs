//! `training evaluate`: an artifact measured on labelled data it has not seen.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use artifact::Artifact;
use clap::Args;
use classifier::Backend;
use evaluation::bootstrap::percentile_interval;
use evaluation::{auroc, routing};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use types::{ModelPair, WinProbability};

use super::{DataArgs, Loaded, PairArgs};
use crate::calibrate::label;
use crate::measure::prompt_length;

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
            artifact.win_probability(&scratch, scored_as).map_or(f64::NAN, WinProbability::get)
        };
        let probabilities: Vec<f64> = examples.iter().map(&mut probability).collect();
        let lengths: Vec<f64> = examples.iter().map(|e| prompt_length(&e.query)).collect();
        for (scorer, scores) in [("classifier", &probabilities), ("prompt length", &lengths)] {
            say(&line(scorer, scores, &examples, pair)?);
        }
        Ok(())
    }
}

fn line(scorer: &str, scores: &[f64], examples: &[corpus::Example], pair: &ModelPair) -> Result<String> {
    let labels: Vec<bool> = examples.iter().map(|e| label(e, pair).unwrap_or(false)).collect();
    let groups: Vec<&str> = examples.iter().map(|e| e.group.as_deref().unwrap_or(&e.id)).collect();
    let score_of = |e: &corpus::Example, m| e.evidence.outcomes.get(m).copied();
    let quality: Option<Vec<(f64, f64)>> =
        examples.iter().map(|e| Some((score_of(e, pair.weak())?, score_of(e, pair.strong())?))).collect();
    let mut text = format!("{scorer:<14} n {:>6}  AUROC {:.4}", scores.len(), auroc(scores, &labels)?);
    if let Some(quality) = quality {
        let apgr = |rows: &[usize]| {
            let s: Vec<f64> = rows.iter().map(|r| scores[*r]).collect();
            let (weak, strong): (Vec<f64>, Vec<f64>) = rows.iter().map(|r| quality[*r]).unzip();
            Some(routing::full_sweep(&s, &weak, &strong).ok()?.apgr())
        };
        let all: Vec<usize> = (0..scores.len()).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let interval = percentile_interval(&groups, apgr, 400, 0.95, &mut rng)?;
        let value = apgr(&all).map_or("no gap to recover".to_owned(), |v| format!("{v:.4}"));
        text.push_str(&format!("  APGR {value} [{:.4}, {:.4}]", interval.lower, interval.upper));
    }
    Ok(text)
}
