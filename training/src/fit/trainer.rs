//! The loop: AdamW with warm-up and decay, early stopping on the dev rows, checkpoints, Ctrl-C.
//!
//! Every epoch draws its order and its dropout from (seed, epoch), so that a resumed fit ends
//! with the same bits as one that was never interrupted.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::{Module, Param, ParamGroup};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use calibration::numeric::{logit, softplus};
use calibration::{PlattScaling, Sample};
use classifier::{Abilities, Classifier, NetworkConfig, NgramTable};
use features::{Features, SURFACE_LEN};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use thiserror::Error;
use types::Score;

use super::checkpoint::{Checkpoints, Position};
use super::config::{FitConfig, Schedule};
use super::loss::{Model, Step};
use super::ridge::{Design, Penalties, Weights, axes_of_pairs};
use super::targets::Prepared;

/// Why a fit failed.
#[derive(Debug, Error)]
pub enum FitError {
    /// Fewer rows than a fit needs.
    #[error("{found} rows to fit on, at least {needed} are needed")]
    TooFewRows {
        /// Rows with a comparison.
        found: usize,
        /// Rows needed.
        needed: usize,
    },
    /// The loss is no longer a number.
    #[error("the loss became {loss} at step {step}: lower the learning rate")]
    Diverged {
        /// The step.
        step: usize,
        /// What the loss was.
        loss: f64,
    },
    /// A checkpoint could not be written or read.
    #[error("checkpoint {}: {reason}", file.display())]
    Checkpoint {
        /// The file.
        file: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// A checkpoint of another fit.
    #[error("checkpoint {} belongs to other rows or another configuration: remove it or drop --resume", .0.display())]
    ForeignCheckpoint(PathBuf),
    /// The backend failed.
    #[error("the backend failed: {0}")]
    Backend(String),
}

/// The fewest rows with a comparison that a classifier is fitted on.
pub const MINIMUM_ROWS: usize = 50;

/// How a fit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All epochs ran.
    Finished,
    /// The dev loss stopped falling.
    StoppedEarly,
    /// The user interrupted; the best state so far is kept.
    Interrupted,
}

/// What a fit did.
#[derive(Debug, Clone, PartialEq)]
pub struct FitReport {
    /// Epochs run, this run and resumed ones together.
    pub epochs: usize,
    /// The epoch whose weights are kept, counted from 1.
    pub best_epoch: usize,
    /// Mean win loss on the dev rows of that epoch.
    pub best_dev_loss: f64,
    /// How it ended.
    pub outcome: Outcome,
}

/// Where a fit stands, after each step and each epoch.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Steps at most.
    pub steps: usize,
    /// Epochs done.
    pub epoch: usize,
    /// Smoothed training loss.
    pub loss: f64,
    /// Mean win loss and AUROC on the dev rows, once an epoch is done.
    pub dev: Option<(f64, f64)>,
}

/// Watches a fit.
pub trait Observer {
    /// Called after each step.
    fn progress(&mut self, progress: &Progress);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Observer for Silent {
    fn progress(&mut self, _: &Progress) {}
}

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
    let compared = fit_rows.iter().filter(|r| !data.wins[**r].is_empty()).count();
    if compared < MINIMUM_ROWS {
        return Err(FitError::TooFewRows { found: compared, needed: MINIMUM_ROWS });
    }
    let ngrams = fit_rows.iter().map(|r| data.features[*r].ngrams.as_slice());
    let mut ngrams = NgramTable::fit(ngrams, config.minimum_rows_per_ngram, config.most_ngrams);
    if let Some(prior) = &data.prior {
        ngrams = ngrams.with(&prior.ngrams);
    }
    let run = Run { data, fit_rows, dev_rows, config, ngrams: &ngrams, device: device.clone().autodiff() };
    let (model, report) = run.go(network, checkpoints, interrupt, observer)?;
    let model = model.valid();
    let device = device.clone();
    let classifier =
        Classifier::new(network.clone(), model.network, model.abilities, ngrams, data.models.clone(), device);
    Ok((classifier, report))
}

/// Mean and inverse standard deviation of features.
#[derive(Default)]
pub(super) struct Moments {
    pub(super) mean: Vec<f32>,
    pub(super) scale: Vec<f32>,
}

impl Moments {
    /// Of each of `width` features over some rows.
    pub(super) fn of(rows: &[usize], width: usize, feature: impl Fn(usize, usize) -> f32) -> Self {
        let n = rows.len() as f64;
        let of = |j: usize| {
            let values = || rows.iter().map(|r| f64::from(feature(*r, j)));
            let mean = values().sum::<f64>() / n;
            let variance = values().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
            // A feature that never varies while fitting says nothing later either.
            let scale = if variance > 1e-10 { variance.sqrt().recip() as f32 } else { 0.0 };
            (mean as f32, scale)
        };
        let (mean, scale) = (0..width).map(of).unzip();
        Self { mean, scale }
    }

    /// The surface features as the network reads them.
    pub(super) fn surface<'a>(&'a self, features: &'a Features) -> impl Iterator<Item = f32> + 'a {
        self.standard(&features.surface).map(|x| x.clamp(-5.0, 5.0))
    }

    fn standard<'a>(&'a self, values: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
        values.iter().zip(&self.mean).zip(&self.scale).map(|((x, mean), scale)| (x - mean) * scale)
    }
}

/// Logits for a unit of probability where the logistic curve is steepest.
const LOGITS: f32 = 4.0;

struct Run<'a> {
    data: &'a Prepared,
    fit_rows: &'a [usize],
    dev_rows: &'a [usize],
    config: &'a FitConfig,
    ngrams: &'a NgramTable,
    /// With autodiff.
    device: Device,
}

impl Run<'_> {
    fn go(
        &self,
        network: &NetworkConfig,
        checkpoints: Option<&Checkpoints>,
        interrupt: &AtomicBool,
        observer: &mut dyn Observer,
    ) -> Result<(Model, FitReport), FitError> {
        let fingerprint = self.fingerprint(network);
        let mut model = self.fresh(network);
        let mut optimizer = self.optimizer();
        let mut best = model.clone();
        let mut position = Position {
            config: self.config.clone(),
            fingerprint: fingerprint.clone(),
            next_epoch: 0,
            best_epoch: 0,
            // The start counts: what it gives may be all there is.
            best_dev_loss: self.dev_loss(&model)?.0,
        };
        if let Some(saved) = checkpoints {
            if let Some(state) = saved.load(model.clone(), self.optimizer())? {
                (model, best, optimizer, position) = state;
            }
            if position.fingerprint != fingerprint || position.config != *self.config {
                return Err(FitError::ForeignCheckpoint(saved.folder().to_owned()));
            }
        }
        let mut outcome = Outcome::Finished;
        let mut meter = Meter::new(self.fit_rows.len().div_ceil(self.config.batch_rows), self.config);
        while position.next_epoch < self.config.epochs {
            let epoch = position.next_epoch;
            model = match self.epoch(model, &mut optimizer, epoch, &mut meter, interrupt, observer)? {
                Some(model) => model,
                None => {
                    outcome = Outcome::Interrupted;
                    break;
                }
            };
            let (dev_loss, dev_auroc) = self.dev_loss(&model)?;
            position.next_epoch = epoch + 1;
            observer.progress(&meter.progress(epoch, Some((dev_loss, dev_auroc))));
            if dev_loss < position.best_dev_loss {
                (position.best_dev_loss, position.best_epoch) = (dev_loss, epoch + 1);
                best = model.clone();
            }
            if let Some(saved) = checkpoints {
                saved.save(&model, &best, &optimizer, &position)?;
            }
            if position.next_epoch - position.best_epoch >= self.config.patience {
                outcome = Outcome::StoppedEarly;
                break;
            }
        }
        if let (Some(saved), true) = (checkpoints, outcome != Outcome::Interrupted) {
            saved.clear()?;
        }
        let report = FitReport {
            epochs: position.next_epoch,
            best_epoch: position.best_epoch,
            best_dev_loss: position.best_dev_loss,
            outcome,
        };
        Ok((best, report))
    }

    /// One pass; `None` when interrupted.
    fn epoch(
        &self,
        mut model: Model,
        optimizer: &mut ModuleOptimizer,
        epoch: usize,
        meter: &mut Meter,
        interrupt: &AtomicBool,
        observer: &mut dyn Observer,
    ) -> Result<Option<Model>, FitError> {
        self.device.seed(self.config.seed.wrapping_add(1 + epoch as u64));
        for (i, rows) in self.batches(epoch).iter().enumerate() {
            if interrupt.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let step = Step::new(self.data, rows, self.ngrams, &self.device);
            let loss = model.loss(&step);
            let value = scalar(loss.wins.clone())?;
            let at = epoch * meter.steps_per_epoch + i;
            if !value.is_finite() {
                return Err(FitError::Diverged { step: at, loss: value });
            }
            let gradients = model.objective(&loss, self.config).backward();
            let gradients = GradientsParams::from_grads(gradients, &model);
            let factor = meter.schedule.factor(at);
            model = optimizer.step(self.rates(factor), model, gradients);
            meter.step(at + 1, value);
            observer.progress(&meter.progress(epoch, None));
        }
        Ok(Some(model))
    }
}

impl Run<'_> {
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

    /// Initial weights: drawn from the seed, surface features standardised on the fitting rows.
    fn fresh(&self, network: &NetworkConfig) -> Model {
        self.device.seed(self.config.seed);
        let mut model = Model {
            network: network.init(self.ngrams.len(), &self.device),
            abilities: Abilities::init(network.latent, self.data.models.len(), &self.device),
        };
        self.start_at_base_rates(&mut model.abilities);
        let surface = Moments::of(self.fit_rows, SURFACE_LEN, |r, j| self.data.features[r].surface[j]);
        let embedding = match &self.data.embeddings {
            Some(vectors) => Moments::of(self.fit_rows, network.embedding, |r, j| vectors[r][j]),
            None => Moments::default(),
        };
        let constant = |values: &[f32]| self.tensor(values.to_vec(), [values.len()]).set_require_grad(false);
        model.network.surface_mean = constant(&surface.mean);
        model.network.surface_scale = constant(&surface.scale);
        model.network.embedding_mean = constant(&embedding.mean);
        model.network.embedding_scale = constant(&embedding.scale);
        self.start_at_ridge(&mut model, &surface, &embedding);
        model
    }

    fn tensor<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Param<Tensor<D>> {
        Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), &self.device))
    }

    /// The linear parts at the optimum of ridge regressions: an axis of the latent vector for each pair's wins, then
    /// one for each model's successes, as far as it is long enough.
    fn start_at_ridge(&self, model: &mut Model, surface: &Moments, embedding: &Moments) {
        let prior = self
            .data
            .prior
            .as_ref()
            .map(|axis| Weights { wide: axis.wide_on(self.ngrams), dense: axis.surface_on(&surface.scale) });
        let dense = |row: usize| {
            let vector = self.data.embeddings.as_ref().map_or(&[][..], |vectors| &vectors[row]);
            surface.surface(&self.data.features[row]).chain(embedding.standard(vector)).collect()
        };
        let penalties = Penalties {
            wide: self.config.ridge_wide,
            dense: vec![
                (SURFACE_LEN, self.config.ridge_surface),
                (embedding.mean.len(), self.config.ridge_embedded),
            ],
        };
        let width = SURFACE_LEN + embedding.mean.len();
        let design = Design::new(self.data, self.fit_rows, self.ngrams, dense, &penalties);
        let [_, latent] = model.network.linear.weight.val().dims();
        let (pairs, models) = (&self.data.pairs, self.data.models.len());
        let targets = self.ridge_targets();
        let (mut wide, mut linear) =
            (vec![0f32; self.ngrams.len().max(1) * latent], vec![0f32; width * latent]);
        for (axis, targets) in targets.iter().take(latent).enumerate() {
            let found = match &prior {
                Some(prior) if axis < pairs.len() => self.ridge_from(prior, &design, targets),
                _ => design.solve(targets),
            };
            found.wide.iter().enumerate().for_each(|(i, w)| wide[i * latent + axis] = w * LOGITS);
            found.dense.iter().enumerate().for_each(|(i, w)| linear[i * latent + axis] = w * LOGITS);
        }
        model.network.wide.weight = self.tensor(wide, [self.ngrams.len().max(1), latent]);
        model.network.linear.weight = self.tensor(linear, [width, latent]);
        let (mut preference, mut success) = (vec![0f32; latent * models], vec![0f32; latent * models]);
        for (m, axes) in axes_of_pairs(pairs, models).into_iter().enumerate() {
            for (axis, value) in axes.into_iter().enumerate().take(latent) {
                preference[axis * models + m] = value as f32;
            }
            if pairs.len() + m < latent {
                success[(pairs.len() + m) * models + m] = 1.0;
            }
        }
        model.abilities.preference = self.tensor(preference, [latent, models]);
        model.abilities.success = self.tensor(success, [latent, models]);
    }

    /// The regression of gains that starts at the general axis, worth [`FitConfig::prior_gain`] a unit before any
    /// label: how much of it holds here is one more weight to learn.
    fn ridge_from(&self, prior: &Weights, design: &Design, targets: &[Option<(f64, f64)>]) -> Weights {
        let mut values: Vec<f64> = (0..targets.len()).map(|i| design.read(i, prior)).collect();
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        values.iter_mut().for_each(|v| *v -= mean);
        let gain = self.config.prior_gain;
        let left = targets.iter().zip(&values).map(|(t, v)| t.map(|(y, weight)| (y - gain * v, weight)));
        let design = design.with_feature(&values, self.config.ridge_prior);
        let mut found = design.solve(&left.collect::<Vec<_>>());
        let share = gain + found.dense.pop().map_or(0.0, f64::from);
        found.add(prior, share);
        found
    }

    /// Value and weight of each fitting row, for each pair's wins and then each model's successes.
    fn ridge_targets(&self) -> Vec<Vec<Option<(f64, f64)>>> {
        let weight = |r: usize| f64::from(self.data.weights[r]);
        let win = |r: usize, (strong, weak): (usize, usize)| {
            let target = self.data.wins[r].iter().find(|t| (t.strong, t.weak) == (strong, weak))?;
            Some((f64::from(target.value), weight(r)))
        };
        let success = |r: usize, m: usize| Some((f64::from(self.data.success[r][m]?), weight(r)));
        let of_pairs = self.data.pairs.iter().map(|p| self.fit_rows.iter().map(|r| win(*r, *p)).collect());
        let of_models =
            (0..self.data.models.len()).map(|m| self.fit_rows.iter().map(|r| success(*r, m)).collect());
        of_pairs.chain(of_models).collect()
    }

    /// Biases at the base rates, so that the wide part need not learn them out of frequent words.
    fn start_at_base_rates(&self, abilities: &mut Abilities) {
        let rate = |values: &mut dyn Iterator<Item = f32>| {
            let (sum, n) = values.fold((0.0, 0.0), |(sum, n), v| (sum + f64::from(v), n + 1.0));
            // Smoothed as in Platt scaling: a model that is always right has no infinite bias.
            logit((sum + 1.0) / (n + 2.0)) as f32
        };
        let wins = rate(&mut self.fit_rows.iter().flat_map(|r| &self.data.wins[*r]).map(|t| t.value));
        let success: Vec<f32> = (0..self.data.models.len())
            .map(|m| rate(&mut self.fit_rows.iter().filter_map(|r| self.data.success[*r][m])))
            .collect();
        let models = success.len();
        abilities.tie =
            Param::from_tensor(Tensor::from_data(TensorData::new(vec![-wins], [1]), &self.device));
        abilities.success_bias =
            Param::from_tensor(Tensor::from_data(TensorData::new(success, [models]), &self.device));
    }

    /// The rows of each step of an epoch: shuffled, then grouped by length within pools of steps,
    /// so that short rows are not padded to the longest.
    fn batches(&self, epoch: usize) -> Vec<Vec<usize>> {
        const POOL_STEPS: usize = 8;
        let mut rng = ChaCha8Rng::seed_from_u64(self.config.seed ^ (0x5eed << 16) ^ epoch as u64);
        let mut rows = self.fit_rows.to_vec();
        rows.shuffle(&mut rng);
        let mut batches = Vec::new();
        for pool in rows.chunks_mut(self.config.batch_rows * POOL_STEPS) {
            pool.sort_by_key(|r| self.data.features[*r].tokens.len());
            batches.extend(pool.chunks(self.config.batch_rows).map(<[usize]>::to_vec));
        }
        batches.shuffle(&mut rng);
        batches
    }

    /// Refined win loss and AUROC over the dev rows, without dropout.
    fn dev_loss(&self, model: &Model) -> Result<(f64, f64), FitError> {
        let model = model.valid();
        let device = self.device.clone().inner();
        let (mut logits, mut labels, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        let mut rows: Vec<usize> =
            self.dev_rows.iter().copied().filter(|r| !self.data.wins[*r].is_empty()).collect();
        rows.sort_by_key(|r| self.data.features[*r].tokens.len());
        for rows in rows.chunks(self.config.batch_rows) {
            let step = Step::new(self.data, rows, self.ngrams, &device);
            logits.extend(model.loss(&step).win_logits.into_data().iter::<f64>());
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

    /// Ties a checkpoint to rows, models and network.
    fn fingerprint(&self, network: &NetworkConfig) -> String {
        let mut hasher = DefaultHasher::new();
        format!("{network:?} {:?}", self.data.models).hash(&mut hasher);
        (self.fit_rows, self.dev_rows).hash(&mut hasher);
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

fn scalar(tensor: Tensor<1>) -> Result<f64, FitError> {
    tensor.into_data().iter::<f64>().next().ok_or_else(|| FitError::Backend("an empty loss".into()))
}

/// Counts steps and smooths the loss for the eye.
struct Meter {
    steps_per_epoch: usize,
    steps: usize,
    schedule: Schedule,
    step: usize,
    loss: f64,
}

impl Meter {
    fn new(steps_per_epoch: usize, config: &FitConfig) -> Self {
        let steps = steps_per_epoch * config.epochs;
        Self {
            steps_per_epoch,
            steps,
            schedule: Schedule::new(steps, config.warm_up),
            step: 0,
            loss: f64::NAN,
        }
    }

    fn step(&mut self, step: usize, loss: f64) {
        self.step = step;
        self.loss = if self.loss.is_nan() { loss } else { 0.95 * self.loss + 0.05 * loss };
    }

    fn progress(&self, epoch: usize, dev: Option<(f64, f64)>) -> Progress {
        Progress {
            step: self.step,
            steps: self.steps,
            epoch: epoch + usize::from(dev.is_some()),
            loss: self.loss,
            dev,
        }
    }
}
