//! The loop that every fit shares, whatever it moves: steps under a schedule, a dev loss after each epoch, early
//! stopping, checkpoints, Ctrl-C.
//!
//! Every epoch draws its order and its dropout from (seed, epoch), so that a resumed fit ends
//! with the same bits as one that was never interrupted.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::checkpoint::{Checkpoints, Position};
use super::config::Schedule;
use super::error::FitError;

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
    /// The dev loss before the first epoch.
    pub first_dev_loss: f64,
    /// The dev loss of the epoch that is kept; [`FitReport::first_dev_loss`] where no epoch was better.
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
    /// Loss and figure (AUROC, or the share of the variance explained) on the dev rows, once an epoch is done.
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

/// What a loop moves, and by what.
pub(crate) trait Task {
    /// What the optimiser moves.
    type Model: Module + Clone;

    /// The rows of each step of an epoch.
    fn batches(&self, epoch: usize) -> Vec<Vec<usize>>;

    /// The loss of a step.
    fn loss(&self, model: &Self::Model, rows: &[usize]) -> Result<StepLoss, FitError>;

    /// Loss and figure on the dev rows, without dropout.
    fn dev(&self, model: &Self::Model) -> Result<(f64, f64), FitError>;

    /// A fresh optimiser.
    fn optimizer(&self) -> ModuleOptimizer;

    /// The learning rates at a factor of their peaks.
    fn rates(&self, factor: f64) -> ModuleLearningRate;
}

/// The loss of a step, each of shape `[1]`.
pub(crate) struct StepLoss {
    /// What is shown and must stay finite.
    pub(crate) shown: Tensor<1>,
    /// What is minimised: with penalties.
    pub(crate) objective: Tensor<1>,
}

/// How long a loop runs, and where it can be taken up again.
pub(crate) struct Loop<'a> {
    pub(crate) epochs: usize,
    pub(crate) steps_per_epoch: usize,
    /// Share of all steps during which the learning rate rises.
    pub(crate) warm_up: f64,
    /// Epochs without a better dev loss before it stops.
    pub(crate) patience: usize,
    pub(crate) seed: u64,
    /// With autodiff.
    pub(crate) device: &'a Device,
    /// Ties a checkpoint to rows, sizes and configuration.
    pub(crate) fingerprint: String,
    pub(crate) checkpoints: Option<&'a Checkpoints>,
    pub(crate) interrupt: &'a AtomicBool,
}

impl Loop<'_> {
    /// Runs the epochs from `fresh`, or from where a checkpoint stands, and gives the state with the least dev loss.
    pub(crate) fn run<T: Task>(
        &self,
        task: &T,
        fresh: T::Model,
        observer: &mut dyn Observer,
    ) -> Result<(T::Model, FitReport), FitError> {
        let (mut model, mut best, mut optimizer, mut position) = self.start(task, fresh)?;
        let mut outcome = Outcome::Finished;
        let mut meter = Meter::new(self);
        while position.next_epoch < self.epochs {
            let epoch = position.next_epoch;
            model = match self.epoch(task, model, &mut optimizer, epoch, &mut meter, observer)? {
                Some(model) => model,
                None => {
                    outcome = Outcome::Interrupted;
                    break;
                }
            };
            let (dev_loss, figure) = task.dev(&model)?;
            position.next_epoch = epoch + 1;
            observer.progress(&meter.progress(epoch, Some((dev_loss, figure))));
            if dev_loss < position.best_dev_loss {
                (position.best_dev_loss, position.best_epoch) = (dev_loss, epoch + 1);
                best = model.clone();
            }
            if let Some(saved) = self.checkpoints {
                saved.save(&model, &best, &optimizer, &position)?;
            }
            if position.next_epoch - position.best_epoch >= self.patience {
                outcome = Outcome::StoppedEarly;
                break;
            }
        }
        if let (Some(saved), true) = (self.checkpoints, outcome != Outcome::Interrupted) {
            saved.clear()?;
        }
        let report = FitReport {
            epochs: position.next_epoch,
            best_epoch: position.best_epoch,
            first_dev_loss: position.first_dev_loss,
            best_dev_loss: position.best_dev_loss,
            outcome,
        };
        Ok((best, report))
    }

    fn start<T: Task>(
        &self,
        task: &T,
        fresh: T::Model,
    ) -> Result<(T::Model, T::Model, ModuleOptimizer, Position), FitError> {
        if let Some(saved) = self.checkpoints
            && let Some(state) = saved.load(fresh.clone(), task.optimizer())?
        {
            if state.3.fingerprint != self.fingerprint {
                return Err(FitError::ForeignCheckpoint(saved.folder().to_owned()));
            }
            return Ok(state);
        }
        // The start counts: what it gives may be all there is.
        let dev_loss = task.dev(&fresh)?.0;
        let position = Position {
            fingerprint: self.fingerprint.clone(),
            next_epoch: 0,
            best_epoch: 0,
            first_dev_loss: dev_loss,
            best_dev_loss: dev_loss,
        };
        Ok((fresh.clone(), fresh, task.optimizer(), position))
    }

    /// One pass; `None` when interrupted.
    fn epoch<T: Task>(
        &self,
        task: &T,
        mut model: T::Model,
        optimizer: &mut ModuleOptimizer,
        epoch: usize,
        meter: &mut Meter,
        observer: &mut dyn Observer,
    ) -> Result<Option<T::Model>, FitError> {
        self.device.seed(self.seed.wrapping_add(1 + epoch as u64));
        for (i, rows) in task.batches(epoch).iter().enumerate() {
            if self.interrupt.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let loss = task.loss(&model, rows)?;
            let value = scalar(loss.shown)?;
            let at = epoch * meter.steps_per_epoch + i;
            if !value.is_finite() {
                return Err(FitError::Diverged { step: at, loss: value });
            }
            let gradients = GradientsParams::from_grads(loss.objective.backward(), &model);
            model = optimizer.step(task.rates(meter.schedule.factor(at)), model, gradients);
            meter.step(at + 1, value);
            observer.progress(&meter.progress(epoch, None));
        }
        Ok(Some(model))
    }
}

/// The rows of each step of an epoch: shuffled, then grouped by length within pools of steps, so that short rows
/// are not padded to the longest.
pub(crate) fn batches(
    rows: &[usize],
    length: impl Fn(usize) -> usize,
    batch_rows: usize,
    seed: u64,
    epoch: usize,
) -> Vec<Vec<usize>> {
    const POOL_STEPS: usize = 8;
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ (0x5eed << 16) ^ epoch as u64);
    let mut rows = rows.to_vec();
    rows.shuffle(&mut rng);
    let mut batches = Vec::new();
    for pool in rows.chunks_mut(batch_rows * POOL_STEPS) {
        pool.sort_by_key(|r| length(*r));
        batches.extend(pool.chunks(batch_rows).map(<[usize]>::to_vec));
    }
    batches.shuffle(&mut rng);
    batches
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
    fn new(of: &Loop<'_>) -> Self {
        let steps = of.steps_per_epoch * of.epochs;
        Self {
            steps_per_epoch: of.steps_per_epoch,
            steps,
            schedule: Schedule::new(steps, of.warm_up),
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
