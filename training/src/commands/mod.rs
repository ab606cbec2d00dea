//! The subcommands of `training`, one file each.

pub mod advise;
mod against;
pub mod calibrate;
pub mod cascade;
pub mod compare;
pub mod cross_validate;
pub mod distil;
pub mod evaluate;
pub mod export;
pub mod fetch_encoder;
pub mod fine_tune;
pub mod fit;
pub mod import;
pub mod judge;
pub mod monitor;
mod progress;
pub mod recalibrate;
pub mod reproduce;
pub mod retrain;
pub mod semantic;
pub mod threshold;
pub mod verifier;
pub mod what_if;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use artifact::Artifact;
use calibration::Method;
use clap::Args;
use corpus::{Corpus, Example, ReadOptions, starter};
use types::{BackendIdentity, ModelName, ModelPair};

use crate::calibrate::Calibration;

/// Where evidence comes from.
#[derive(Debug, Clone, Args)]
pub struct DataArgs {
    /// Files or folders to read: JSONL (.gz, .zst), CSV, Parquet, or a folder of prompts and outcomes.
    /// Without any, the embedded starter corpus is used (simulated outcomes).
    #[arg(long, short = 'd', value_name = "PATH")]
    pub data: Vec<PathBuf>,
    /// Rows of the embedded starter corpus.
    #[arg(long, default_value_t = starter::DEFAULT_ROWS, conflicts_with = "data")]
    pub starter_rows: usize,
    /// Seed of the embedded starter corpus.
    #[arg(long, default_value_t = 1, conflicts_with = "data")]
    pub starter_seed: u64,
    /// Keep only rows with this slice tag; several tags of one key mean either (role:train, role:dev).
    #[arg(long, value_name = "TAG")]
    pub only: Vec<String>,
    /// Leave out rows with this slice tag (contaminated:true).
    #[arg(long, value_name = "TAG")]
    pub without: Vec<String>,
    /// Count and report invalid rows instead of stopping at the first.
    #[arg(long)]
    pub skip_invalid: bool,
}

/// Rows and what to call them.
#[derive(Debug)]
pub struct Loaded {
    /// The rows.
    pub examples: Vec<Example>,
    /// Names of what was read.
    pub sources: Vec<String>,
    /// Whether the outcomes are simulated.
    pub simulated: bool,
}

impl DataArgs {
    /// Reads and selects, telling what was left out and why.
    ///
    /// # Errors
    /// When a file is refused or nothing is left.
    pub fn load(&self, say: &mut dyn FnMut(&str)) -> Result<Loaded> {
        self.load_with(false, say)
    }

    /// The same with what models wrote.
    ///
    /// # Errors
    /// When a file is refused or nothing is left.
    pub fn load_with_answers(&self, say: &mut dyn FnMut(&str)) -> Result<Loaded> {
        self.load_with(true, say)
    }

    fn load_with(&self, answers: bool, say: &mut dyn FnMut(&str)) -> Result<Loaded> {
        let mut loaded = if self.data.is_empty() { self.starter(say) } else { self.files(answers, say)? };
        let before = loaded.examples.len();
        loaded.examples = corpus::select(loaded.examples, &self.only, &self.without);
        if loaded.examples.len() < before {
            say(&format!("{} of {before} rows selected by slice", loaded.examples.len()));
        }
        if loaded.examples.is_empty() {
            bail!("no row is left: check --data, --only and --without");
        }
        Ok(loaded)
    }

    fn starter(&self, say: &mut dyn FnMut(&str)) -> Loaded {
        say(&format!("embedded starter corpus, {} rows ({})", self.starter_rows, starter::DISCLAIMER));
        Loaded {
            examples: starter::generate(self.starter_rows, self.starter_seed),
            sources: vec![format!("starter corpus (seed {})", self.starter_seed)],
            simulated: true,
        }
    }

    fn files(&self, answers: bool, say: &mut dyn FnMut(&str)) -> Result<Loaded> {
        let options = ReadOptions { skip_invalid: self.skip_invalid, answers };
        let mut loaded = Loaded { examples: Vec::new(), sources: Vec::new(), simulated: false };
        for path in &self.data {
            let Corpus { examples, sources, report } = corpus::read(path, &options)?;
            say(&format!("{}: {} rows kept of {}", path.display(), report.rows_kept, report.rows_read));
            for (kind, count) in &report.skipped {
                say(&format!("  skipped {count}: {kind}"));
            }
            loaded.simulated |= examples.iter().any(|e| e.has_slice("simulated"));
            // Rows are moved, not copied: of a million there is no room for two.
            if loaded.examples.is_empty() {
                loaded.examples = examples;
            } else {
                loaded.examples.extend(examples);
            }
            loaded.sources.extend(sources);
        }
        Ok(loaded)
    }
}

/// How scores become probabilities.
#[derive(Debug, Clone, Args)]
pub struct CalibrationArgs {
    /// The calibration map: platt, temperature, beta, isotonic, centred-isotonic or venn-abers. Without
    /// it, the least cross-validated log loss among those that the number of rows allows.
    #[arg(long, value_parser = method, value_name = "METHOD")]
    map: Option<Method>,
    /// Correct each slice of this key (`category` for category:law), or this tag, on its own.
    #[arg(long, value_name = "KEY")]
    slice: Vec<String>,
    /// Variance of the prior that shrinks a slice's correction to none, in squared logits.
    #[arg(long, default_value_t = Calibration::default().tau_squared, value_parser = variance)]
    slice_variance: f64,
}

impl CalibrationArgs {
    /// The calibration these flags describe.
    pub fn calibration(&self, seed: u64) -> Calibration {
        Calibration { method: self.map, slices: self.slice.clone(), tau_squared: self.slice_variance, seed }
    }
}

/// `MODEL=NAME/VERSION/PRECISION`.
fn served_by(text: &str) -> Result<(ModelName, BackendIdentity), String> {
    let parts = text
        .rsplit_once('=')
        .and_then(|(model, backend)| Some((ModelName::new(model).ok()?, BackendIdentity::parse(backend)?)));
    parts.ok_or_else(|| "expected MODEL=NAME/VERSION/PRECISION".to_owned())
}

fn method(text: &str) -> Result<Method, String> {
    Method::parse(text).ok_or_else(|| {
        let known: Vec<&str> = Method::ALL.iter().map(|m| m.as_str()).collect();
        format!("expected one of {}", known.join(", "))
    })
}

fn variance(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|v: &f64| v.is_finite() && *v > 0.0);
    value.ok_or_else(|| "expected a number above 0".to_owned())
}

/// Which models are compared.
#[derive(Debug, Clone, Args)]
pub struct PairArgs {
    /// The dearer model; repeat with --weak for more pairs. The first pair is the default.
    #[arg(long, value_name = "MODEL", requires = "weak")]
    pub strong: Vec<String>,
    /// The cheaper model.
    #[arg(long, value_name = "MODEL", requires = "strong")]
    pub weak: Vec<String>,
}

impl PairArgs {
    /// The pairs asked for; those of the starter corpus when none is and the data is simulated.
    ///
    /// # Errors
    /// When a pair is incomplete or missing.
    pub fn pairs(&self, simulated: bool) -> Result<Vec<ModelPair>> {
        if self.strong.is_empty() && self.weak.is_empty() {
            if simulated {
                return starter_pairs();
            }
            bail!("which models? give --strong MODEL --weak MODEL (the names as the data spells them)");
        }
        self.named()
    }

    /// The pair asked for, or the artifact's default.
    ///
    /// # Errors
    /// When a pair is incomplete or names one model twice.
    pub fn of(&self, artifact: &Artifact) -> Result<ModelPair> {
        Ok(self.named()?.into_iter().next().unwrap_or_else(|| artifact.default_pair().clone()))
    }

    /// The pairs asked for; none when none is.
    ///
    /// # Errors
    /// When a pair is incomplete or names one model twice.
    pub fn named(&self) -> Result<Vec<ModelPair>> {
        if self.strong.len() != self.weak.len() {
            bail!("{} --strong and {} --weak: give them in pairs", self.strong.len(), self.weak.len());
        }
        let pair = |(s, w): (&String, &String)| Ok(ModelPair::new(ModelName::new(s)?, ModelName::new(w)?)?);
        self.strong.iter().zip(&self.weak).map(pair).collect()
    }
}

/// What rows are needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Fitting a calibrator: rows the classifier was not fitted on.
    Calibrating,
    /// Selecting a threshold or measuring: rows the calibrator was not fitted on either.
    Judging,
}

/// Rows that may be used: all of new data, one split of the data trained on.
fn untouched(
    artifact: &Artifact,
    examples: &[Example],
    fingerprint: &str,
    purpose: Purpose,
    say: &mut dyn FnMut(&str),
) -> Result<(String, Vec<usize>)> {
    let manifest = artifact.manifest();
    if manifest.data.fingerprint != fingerprint {
        return Ok(("all".to_owned(), (0..examples.len()).collect()));
    }
    let seed = manifest.training["fit"]["seed"].as_u64();
    let seed = seed.context("the manifest does not say with which seed the data was split")?;
    let split = corpus::split_by_group(examples, crate::pipeline::FRACTIONS, seed);
    let (name, rows) = match purpose {
        Purpose::Calibrating => ("calibrate", split.calibrate),
        Purpose::Judging => ("test", split.test),
    };
    say(&format!(
        "this is the data the artifact was trained on: its {} {name} rows are used, which took no part in it",
        rows.len()
    ));
    Ok((name.to_owned(), rows))
}

/// Large over small, the pair whose truth is known, then large over medium.
pub fn starter_pairs() -> Result<Vec<ModelPair>> {
    let ladder = starter::ladder()?;
    let over = |weak: &ModelName| Ok(ModelPair::new(ladder.top().clone(), weak.clone())?);
    std::iter::once(ladder.cheapest()).chain(ladder.between()).map(over).collect()
}
