//! Fitting a classifier: AdamW with warm-up and decay from a ridge start, early stopping on the dev rows.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::AtomicBool;

use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::{Module, ParamGroup};
use burn::optim::{AdamWConfig, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use calibration::numeric::softplus;
use calibration::{PlattScaling, Sample};
use classifier::{Classifier, NetworkConfig, NgramTable};
use types::Score;

use super::checkpoint::Checkpoints;
use super::config::FitConfig;
use super::epochs::{FitReport, Loop, Observer, StepLoss, Task, batches};
use super::error::FitError;
use super::loss::{LossKind, Model, Step};
use super::targets::Prepared;

/// The fewest rows with a comparison that a classifier is fitted on.
pub const MINIMUM_ROWS: usize = 50;

/// Fits a classifier on `fit_rows`, stopping on `dev_rows` (both index `data`).
///
/// With `checkpoints`, takes up a fit that was cut short and saves after each epoch.
///
/// # Errors
/// See [`FitError`].
#[expect(clippy::too_many_arguments, reason = "a fit has that many independent inputs; each is one word")]
pub fn fit(
    data: &Prepared,
    fit_rows: &[usize],
    dev_rows: &[usize],
    network: &NetworkConfig,
    config: &FitConfig,
    device: &Device,
    checkpoints: Option<&Checkpoints>,
    interrupt: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<(Classifier, FitReport), FitError> {
    let run = Run::new(data, fit_rows, dev_rows, config, device)?;
    let of = Loop {
        epochs: config.epochs,
        steps_per_epoch: fit_rows.len().div_ceil(config.batch_rows),
        warm_up: config.warm_up,
        patience: config.patience,
        seed: config.seed,
        device: &run.device,
        fingerprint: run.fingerprint(network),
        checkpoints,
        interrupt,
    };
    let (model, report) = of.run(&run, run.fresh(network), observer)?;
    let model = model.valid();
    let (models, device) = (data.models.clone(), device.clone());
    let classifier =
        Classifier::new(network.clone(), model.network, model.abilities, run.ngrams, models, device);
    Ok((classifier, report))
}

/// A classifier to be fitted on rows of `data`.
pub(crate) struct Run<'a> {
    pub(crate) data: &'a Prepared,
    pub(crate) fit_rows: &'a [usize],
    pub(crate) dev_rows: &'a [usize],
    pub(crate) config: &'a FitConfig,
    pub(crate) ngrams: NgramTable,
    /// With autodiff.
    pub(crate) device: Device,
}

impl Task for Run<'_> {
    type Model = Model;

    fn batches(&self, epoch: usize) -> Vec<Vec<usize>> {
        let length = |r: usize| self.data.features[r].tokens.len();
        batches(self.fit_rows, length, self.config.batch_rows, self.config.seed, epoch)
    }

    fn loss(&self, model: &Model, rows: &[usize]) -> Result<StepLoss, FitError> {
        let step = Step::new(self.data, rows, &self.ngrams, &self.device);
        let loss = model.loss(&step, LossKind::Logistic);
        Ok(StepLoss { objective: model.objective(&loss, self.config), shown: loss.wins })
    }

    fn dev(&self, model: &Model) -> Result<(f64, f64), FitError> {
        let model = model.valid();
        let device = self.device.clone().inner();
        let logits = |rows: &[usize]| {
            let step = Step::new(self.data, rows, &self.ngrams, &device);
            model.loss(&step, LossKind::Logistic).win_logits
        };
        self.judged(|r| self.data.features[r].tokens.len(), self.config.batch_rows, logits)
    }

    /// AdamW throughout. On the wide table a large epsilon keeps the steps proportional to the
    /// gradient: full normalisation moves an n-gram seen twice as far as one seen in every row,
    /// and the fit memorises.
    fn optimizer(&self) -> ModuleOptimizer {
        let plain = AdamWConfig::new().with_weight_decay(0.0);
        let wide = plain.clone().with_epsilon(self.config.wide_epsilon as f32);
        AdamWConfig::new()
            .with_weight_decay(self.config.weight_decay as f32)
            .init()
            .with_group(wide_group(), wide.build(), None)
            .with_group(ability_group(), plain.clone().build(), None)
            .with_group(linear_group(), plain.build(), None)
    }

    fn rates(&self, factor: f64) -> ModuleLearningRate {
        ModuleLrScheduler::new(ConstantLr::from(self.config.learning_rate * factor))
            .with_group(wide_group(), ConstantLr::from(self.config.wide_learning_rate * factor))
            .with_group(ability_group(), ConstantLr::from(self.config.ability_learning_rate * factor))
            .with_group(linear_group(), ConstantLr::from(self.config.learning_rate * factor))
            .step()
    }
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        data: &'a Prepared,
        fit_rows: &'a [usize],
        dev_rows: &'a [usize],
        config: &'a FitConfig,
        device: &Device,
    ) -> Result<Self, FitError> {
        let compared = fit_rows.iter().filter(|r| !data.wins[**r].is_empty()).count();
        if compared < MINIMUM_ROWS {
            return Err(FitError::TooFewRows { found: compared, needed: MINIMUM_ROWS });
        }
        let ngrams = fit_rows.iter().map(|r| data.features[*r].ngrams.as_slice());
        let mut ngrams = NgramTable::fit(ngrams, config.minimum_rows_per_ngram, config.most_ngrams);
        if let Some(prior) = &data.prior {
            ngrams = ngrams.with(&prior.ngrams);
        }
        Ok(Self { data, fit_rows, dev_rows, config, ngrams, device: device.clone().autodiff() })
    }

    /// Refined win loss and AUROC over the dev rows, from the win logits of rows that come sorted by length.
    pub(crate) fn judged(
        &self,
        length: impl Fn(usize) -> usize,
        batch_rows: usize,
        win_logits: impl Fn(&[usize]) -> Tensor<1>,
    ) -> Result<(f64, f64), FitError> {
        let (mut logits, mut labels, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        let mut rows: Vec<usize> =
            self.dev_rows.iter().copied().filter(|r| !self.data.wins[*r].is_empty()).collect();
        rows.sort_by_key(|r| length(*r));
        for rows in rows.chunks(batch_rows) {
            logits.extend(win_logits(rows).into_data().iter::<f64>());
            for row in rows {
                let wins = &self.data.wins[*row];
                labels.extend(wins.iter().map(|t| t.value > 0.5));
                weights.extend(wins.iter().map(|_| f64::from(self.data.weights[*row]) / wins.len() as f64));
            }
        }
        // One outcome only: there is nothing to rank, and the progress bar says so.
        let auroc = evaluation::auroc(&logits, &labels).unwrap_or(f64::NAN);
        Ok((refined_loss(&logits, &labels, &weights)?, auroc))
    }

    /// Ties a checkpoint to rows, models, network, configuration and prior.
    pub(crate) fn fingerprint(&self, network: &NetworkConfig) -> String {
        let mut hasher = DefaultHasher::new();
        format!("{network:?} {:?} {:?}", self.data.models, self.config).hash(&mut hasher);
        (self.fit_rows, self.dev_rows).hash(&mut hasher);
        if let Some(prior) = &self.data.prior {
            let weights = prior.wide.iter().chain(&prior.surface).map(|w| w.to_bits());
            weights.collect::<Vec<_>>().hash(&mut hasher);
        }
        for row in self.fit_rows {
            self.data.features[*row].tokens.hash(&mut hasher);
            let values = self.data.wins[*row].iter().map(|t| (t.strong, t.weak, t.value.to_bits()));
            values.collect::<Vec<_>>().hash(&mut hasher);
        }
        format!("{:016x}", hasher.finish())
    }
}

/// Groups go by path: a checkpoint brings parameters with identities of its own.
fn wide_group() -> ParamGroup {
    ParamGroup::from_path("network.wide.weight")
}

fn linear_group() -> ParamGroup {
    ParamGroup::from_path("network.linear.weight")
}

fn ability_group() -> ParamGroup {
    ParamGroup::from_paths(vec!["abilities.success", "abilities.preference"])
}

/// Mean log loss after the best calibration map: what is left when the scale of the logits, which
/// calibration sets anyway, no longer counts. The plain loss bottoms out while the ranking still
/// improves (Berta et al. 2025, "Rethinking Early Stopping: Refine, Then Calibrate", section 3).
/// Too few rows or one outcome only: the plain loss.
fn refined_loss(logits: &[f64], labels: &[bool], weights: &[f64]) -> Result<f64, FitError> {
    let scores: Result<Vec<Score>, _> = logits.iter().map(|z| Score::new(*z)).collect();
    let scores = scores.map_err(|e| FitError::Backend(format!("on the dev rows: {e}")))?;
    let sample = Sample::new(&scores, labels, Some(weights));
    let map = sample.and_then(|sample| PlattScaling::fit(&sample)).map(|fit| fit.map);
    let (slope, intercept) = map.map_or((1.0, 0.0), |map| (map.slope(), map.intercept()));
    let (mut sum, mut total) = (0.0, 0.0_f64);
    for ((score, label), weight) in scores.iter().zip(labels).zip(weights) {
        let z = slope * score.logit() + intercept;
        sum += weight * softplus(if *label { -z } else { z });
        total += weight;
    }
    Ok(sum / total.max(f64::MIN_POSITIVE))
}
