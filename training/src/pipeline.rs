//! Examples in, artifact out: group, split, fit, calibrate, choose a threshold, measure, write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use artifact::{
    CalibrationRecord, DataSummary, DeepDraft, Draft, Manifest, Metrics, OperatingPoint, PairCalibrator,
    Splits,
};
use classifier::{Backend, Classifier, GeneralAxis, NetworkConfig};
use corpus::{Example, Fractions, Split};
use policy::Objective;
use types::{BackendIdentity, ModelName, ModelPair};

use crate::calibrate::{Calibration, CrossFit, Fitting};
use crate::card::card_files;
use crate::deep::{DeepPlan, TrainedDeep, fit_deep};
use crate::fit::{Checkpoints, FitConfig, FitReport, MINIMUM_ROWS, Observer, Prepared, fit, fit_general};
use crate::measure::{Measured, length_map};
use crate::operating_point::{Origin, Rows, operating_point};
use crate::tiers::Tiers;
use crate::tune::seen_rows;
use crate::zero_shot::zero_shot;

/// Share of queries the default operating point sends to strong.
pub const DEFAULT_STRONG_CALL_RATE: f64 = 0.5;

/// Shares of the splits of `training fit`.
pub const FRACTIONS: Fractions = Fractions { fit: 0.65, dev: 0.05, calibrate: 0.15, test: 0.15 };

/// Everything a training run is told.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Name of the artifact.
    pub name: String,
    /// Pairs to serve; the first is the default.
    pub pairs: Vec<ModelPair>,
    /// Sizes of the network.
    pub network: NetworkConfig,
    /// The deep tier, if there is to be one.
    pub deep: Option<DeepPlan>,
    /// How it is fitted.
    pub fit: FitConfig,
    /// What it starts at, if not at nothing.
    pub prior: Option<PriorPlan>,
    /// How it is calibrated.
    pub cross_fit: CrossFit,
    /// With which maps.
    pub calibration: Calibration,
    /// Slices that go strong unless a threshold is certified for them.
    pub high_stakes: Vec<String>,
    /// What answers under the models' names, where it is told.
    pub backends: BTreeMap<ModelName, BackendIdentity>,
    /// Shares of the splits.
    pub fractions: Fractions,
    /// Where it is fitted.
    pub backend: Backend,
    /// Folder of checkpoints; a fit found there is taken up.
    pub checkpoints: Option<PathBuf>,
    /// The pair whose true win probability the rows carry, for simulated data.
    pub truth_pair: Option<ModelPair>,
    /// The command that makes this artifact again.
    pub command: String,
}

/// A general axis learned from other data.
#[derive(Debug, Clone)]
pub struct PriorPlan {
    /// The artifact it comes from, with its version.
    pub artifact: String,
    /// The axis.
    pub axis: GeneralAxis,
}

impl Plan {
    /// How scores for calibration are made of these rows: where the encoder has seen their labels, from the
    /// calibrate split alone.
    fn cross_fit_on(&self, examples: &[Example], split: &Split) -> Result<CrossFit> {
        let Some(deep) = &self.deep else { return Ok(self.cross_fit) };
        if !seen_rows(deep.tuned_on.as_ref(), examples, split, deep.tuned_elsewhere)? {
            return Ok(self.cross_fit);
        }
        if let CrossFit::Folds(_) = self.cross_fit {
            bail!("the encoder was tuned on the fit rows: no cross-fitted score of them may calibrate");
        }
        Ok(CrossFit::Off)
    }
}

/// What was trained, before it is written.
#[derive(Debug)]
pub struct Trained {
    /// The classifier.
    pub classifier: Classifier,
    /// The general axis; `None` where no row has scores of two models.
    pub general: Option<GeneralAxis>,
    /// The deep tier, where there is one.
    pub deep: Option<TrainedDeep>,
    /// How its fit went.
    pub report: FitReport,
    /// One map per pair.
    pub calibrators: Vec<PairCalibrator>,
    /// Rows by split.
    pub split: Split,
}

/// Rows and where they came from.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// The rows, grouped.
    pub examples: &'a [Example],
    /// Names of what was read.
    pub sources: Vec<String>,
    /// Whether outcomes are simulated.
    pub simulated: bool,
    /// Rows of another pair to rank, never fitted on.
    pub benchmark: Option<Benchmark>,
}

/// Rows with outcomes of models that the artifact does not serve.
#[derive(Debug)]
pub struct Benchmark {
    /// What to call it.
    pub name: String,
    /// The rows.
    pub examples: Vec<Example>,
    /// The pair they compare.
    pub pair: ModelPair,
}

/// The models of the pairs, each once, in the order they are first named.
pub fn models_of(pairs: &[ModelPair]) -> Vec<ModelName> {
    let mut models: Vec<ModelName> = Vec::new();
    for model in pairs.iter().flat_map(|p| [p.weak(), p.strong()]) {
        if !models.contains(model) {
            models.push(model.clone());
        }
    }
    models
}

/// Fits and calibrates.
///
/// # Errors
/// When a pair is refused, or fitting or calibrating fails.
pub fn train(
    examples: &[Example],
    plan: &Plan,
    interrupt: &AtomicBool,
    observer: &mut dyn Observer,
    say: &mut dyn FnMut(&str),
) -> Result<Trained> {
    for pair in &plan.pairs {
        corpus::check_pair(examples, pair, MINIMUM_ROWS)?;
    }
    let split = corpus::split_by_group(examples, plan.fractions, plan.fit.seed);
    let cross_fit = plan.cross_fit_on(examples, &split)?;
    let models = models_of(&plan.pairs);
    let mut prepared =
        Prepared::new(examples, &models, &plan.pairs, &plan.network.features, plan.fit.tie_value);
    prepared.prior = plan.prior.as_ref().map(|prior| prior.axis.clone());
    let device = plan.backend.device()?;
    let checkpoints = plan.checkpoints.as_deref().map(Checkpoints::new);
    let (classifier, report) = fit(
        &prepared,
        &split.fit,
        &split.dev,
        &plan.network,
        &plan.fit,
        &device,
        checkpoints.as_ref(),
        interrupt,
        observer,
    )?;
    let origin = CalibrationRecord {
        data: corpus::fingerprint(examples),
        split: "calibrate".to_owned(),
        created: crate::now(),
        backends: plan.backends.iter().map(|(m, b)| (m.as_str().to_owned(), b.into())).collect(),
    };
    let fitting = Fitting {
        examples,
        prepared: &prepared,
        fit_rows: &split.fit,
        dev_rows: &split.dev,
        calibrate_rows: &split.calibrate,
        network: &plan.network,
        config: &plan.fit,
        device: &device,
        origin: &origin,
    };
    // An interrupted fit is still calibrated, on the held-out split alone.
    let interrupted = interrupt.load(std::sync::atomic::Ordering::Relaxed);
    let cross_fit = if interrupted { CrossFit::Off } else { cross_fit };
    let scored = fitting.held_out(&classifier, &plan.pairs, cross_fit, interrupt, say)?;
    let calibrators = fitting.calibrate(&scored, &plan.pairs, &plan.calibration, say)?;
    let deep = match &plan.deep {
        Some(_) if interrupted => {
            say("interrupted: no deep tier is fitted");
            None
        }
        Some(deep) => {
            let probabilities = calibrators.iter().zip(&scored.held_out);
            let probabilities: Vec<_> = probabilities.map(|(c, h)| h.probabilities(c, examples)).collect();
            Some(fit_deep(&fitting, &scored, &probabilities, plan, deep, interrupt, observer, say)?)
        }
        None => None,
    };
    let general = match &plan.prior {
        Some(prior) => Some(prior.axis.clone()),
        // Of every row: nothing in this artifact reads the axis, and no figure of these rows is made with it.
        None => fit_general(&prepared, &plan.fit),
    };
    Ok(Trained { classifier, general, deep, report, calibrators, split })
}

impl Trained {
    /// Both tiers.
    pub fn tiers(&self) -> Tiers<'_> {
        Tiers { classifier: &self.classifier, deep: self.deep.as_ref().map(|deep| &deep.tier) }
    }
}

/// The default operating point of each pair, selected on the calibrate rows.
fn default_points(
    trained: &Trained,
    examples: &[Example],
    plan: &Plan,
    fingerprint: &str,
) -> Result<BTreeMap<String, OperatingPoint>> {
    let mut defaults = BTreeMap::new();
    for calibrator in &trained.calibrators {
        let rows = Rows::new(trained.tiers(), calibrator, examples, &trained.split.calibrate);
        let origin = Origin {
            data: fingerprint.to_owned(),
            split: "calibrate".to_owned(),
            high_stakes: &plan.high_stakes,
            cost: None,
            seed: plan.fit.seed,
        };
        let point = operating_point(&rows, &Objective::StrongCallRate(DEFAULT_STRONG_CALL_RATE), &origin)
            .with_context(|| format!("the default threshold of {}", calibrator.pair))?;
        defaults.insert(calibrator.pair.to_string(), point);
    }
    Ok(defaults)
}

/// Measures what was trained and writes it as an artifact.
///
/// # Errors
/// When a figure is undefined on the test rows or the folder cannot be written.
pub fn write(trained: &Trained, evidence: &Evidence<'_>, plan: &Plan, folder: &Path) -> Result<Manifest> {
    let Evidence { examples, sources, simulated, benchmark } = evidence;
    let split = &trained.split;
    let (mut pairs, mut measured) = (Vec::new(), Vec::new());
    for calibrator in &trained.calibrators {
        let truth = plan.truth_pair.as_ref();
        let rows = Measured::new(trained.tiers(), calibrator, examples, &split.test, truth);
        let length = length_map(examples, &split.calibrate, &calibrator.pair);
        let base_rate = calibrator.positives as f64 / calibrator.rows as f64;
        let metrics = rows
            .metrics(&calibrator.pair, length.as_ref(), base_rate, plan.fit.seed)
            .with_context(|| format!("measuring {} on {} test rows", calibrator.pair, rows.labels.len()))?;
        pairs.push(metrics);
        measured.push(rows);
    }
    let fingerprint = corpus::fingerprint(*examples);
    let defaults = default_points(trained, examples, plan, &fingerprint)?;
    let zero_shot = match benchmark {
        Some(Benchmark { name, examples, pair }) => {
            let scored_as = trained.calibrators.first().context("no pair is calibrated")?;
            zero_shot(
                (trained.tiers(), trained.general.as_ref()),
                scored_as,
                name,
                examples,
                pair,
                plan.fit.seed,
            )
            .with_context(|| format!("measuring zero-shot on {name}"))?
        }
        None => Vec::new(),
    };
    let draft = Draft {
        name: plan.name.clone(),
        created: crate::now(),
        simulated: *simulated,
        classifier: &trained.classifier,
        general: trained.general.as_ref(),
        deep: trained.deep.as_ref().map(|deep| DeepDraft {
            tier: &deep.tier,
            pairs: deep.tier.pairs().to_vec(),
            encoder_source: deep.source.clone(),
            coverage: deep.coverage,
            choices: deep.choices.clone(),
        }),
        calibrators: trained.calibrators.clone(),
        default_pair: plan.pairs.first().context("no pair to serve")?.clone(),
        operating_points: BTreeMap::from([("default".to_owned(), defaults)]),
        high_stakes: plan.high_stakes.clone(),
        training: serde_json::json!({
            "command": plan.command,
            "fit": plan.fit,
            "prior": plan.prior.as_ref().map(|prior| &prior.artifact),
            "best_epoch": trained.report.best_epoch,
            "epochs": trained.report.epochs,
            "backend": plan.backend.to_string(),
        }),
        data: DataSummary {
            fingerprint,
            sources: sources.clone(),
            rows: examples.len(),
            splits: Splits {
                fit: split.fit.len(),
                dev: split.dev.len(),
                calibrate: split.calibrate.len(),
                test: split.test.len(),
            },
        },
        metrics: Metrics { pairs, zero_shot },
    };
    Ok(draft.write(folder, |manifest| card_files(manifest, &trained.calibrators, &measured))?)
}
