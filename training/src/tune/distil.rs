//! A small student of an encoder, trained so that a linear map of its vector matches the teacher's.
//!
//! No labels are needed: the teacher's vectors are the targets. The words start at the teacher's, projected on their
//! leading directions, and the blocks are fresh: small students do best when they are shallow and of their own width
//! (Turc et al. 2019, "Well-Read Students Learn Better", sections 3 and 4), and starting from the teacher's weights
//! helps them (Sanh et al. 2019, "DistilBERT", section 3). The learned map between the widths is that of Jiao et al.
//! (2020, "TinyBERT", section 3.1, equation 8); it is thrown away in the end, because what reads the vector is linear
//! itself and holds whatever map it needs.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use burn::grad_clipping::GradientClippingConfig;
use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamWConfig, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use encoder::{Bert, Encoder, EncoderConfig, Pooling, Shape};

use super::projection::leading_directions;
use super::texts::{Texts, hash_vectors};
use crate::fit::{Checkpoints, FitError, FitReport, Loop, Observer, StepLoss, Task, batches};

/// Everything that decides what a student is and how it learns.
#[derive(Debug, Clone)]
pub struct DistilConfig {
    /// Its blocks, at least 1.
    pub layers: usize,
    /// Length of its vectors, at most the teacher's.
    pub width: usize,
    /// Its attention heads; they divide `width`.
    pub heads: usize,
    /// Epochs at most.
    pub epochs: usize,
    /// Rows of a step.
    pub batch_rows: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// The longest gradient of a tensor; longer ones are scaled down.
    pub clip: f64,
    /// Share of all steps during which the learning rate rises.
    pub warm_up: f64,
    /// Epochs without a better dev loss before it stops.
    pub patience: usize,
    /// Seed of the projection, the fresh weights and the order.
    pub seed: u64,
}

impl Default for DistilConfig {
    fn default() -> Self {
        Self {
            layers: 2,
            width: 192,
            heads: 6,
            epochs: 10,
            batch_rows: 32,
            learning_rate: 1e-3,
            weight_decay: 0.01,
            clip: 1.0,
            warm_up: 0.1,
            patience: 3,
            seed: 7,
        }
    }
}

/// Texts to learn from and texts to stop on.
#[derive(Debug, Clone, Copy)]
pub struct Prompts<'a> {
    /// Learned from.
    pub fit: &'a [String],
    /// Stopped on.
    pub dev: &'a [String],
}

/// A student with the teacher's tokenizer and token budget, pooled by the mean, and the share of the variance of the teacher's vectors on
/// the dev texts that a linear map of its own explains, at most 1.
///
/// # Errors
/// When the teacher is not on burn, the shape does not fit, there are no texts, or the fit fails.
pub fn distil(
    teacher: &Encoder,
    prompts: Prompts<'_>,
    config: &DistilConfig,
    checkpoints: Option<&Checkpoints>,
    interrupt: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<(Encoder, FitReport, f64)> {
    let (bert, device) =
        teacher.bert().context("an 8-bit encoder cannot teach: its word table is rounded")?;
    if prompts.fit.is_empty() || prompts.dev.is_empty() {
        bail!("{} texts to learn from and {} to stop on", prompts.fit.len(), prompts.dev.len());
    }
    let student = student_config(teacher.config(), config)?;
    let all: Vec<String> = prompts.fit.iter().chain(prompts.dev).cloned().collect();
    let (fit_rows, dev_rows) = (0..all.len()).partition(|i| *i < prompts.fit.len());
    let mut targets = teacher.embed_texts(&all)?;
    standardise(&mut targets, prompts.fit.len());
    let task = Distil {
        texts: Texts::new(teacher.tokens(), &all)?,
        targets,
        fit_rows,
        dev_rows,
        heads: config.heads,
        config,
        device: device.clone().autodiff(),
    };
    let of = Loop {
        epochs: config.epochs,
        steps_per_epoch: task.fit_rows.len().div_ceil(config.batch_rows),
        warm_up: config.warm_up,
        patience: config.patience,
        seed: config.seed,
        device: &task.device,
        fingerprint: task.fingerprint(),
        checkpoints,
        interrupt,
    };
    let fresh = task.fresh(bert, &student.shape, teacher.width())?;
    let (learned, report) = of.run(&task, fresh, observer)?;
    let (_, explained) = task.dev(&learned)?;
    let tokens = teacher.tokens().clone();
    let written = Encoder::new(student, tokens, learned.bert.valid(), device.clone())?;
    Ok((written, report, explained))
}

/// The teacher's configuration in the student's shape. What labels the teacher has seen, the student has heard of.
fn student_config(teacher: &EncoderConfig, config: &DistilConfig) -> Result<EncoderConfig> {
    let shape = &teacher.shape;
    if config.layers == 0 || config.width > shape.hidden || !config.width.is_multiple_of(config.heads.max(1))
    {
        bail!(
            "a student of {} layers, {} wide, {} heads: expected a layer, at most {} wide, and heads that divide it",
            config.layers,
            config.width,
            config.heads,
            shape.hidden
        );
    }
    let shape = Shape {
        hidden: config.width,
        intermediate: 4 * config.width,
        layers: config.layers,
        heads: config.heads,
        ..shape.clone()
    };
    Ok(EncoderConfig { shape, pooling: Pooling::Mean, ..teacher.clone() })
}

/// Each entry less its mean over the first `n` vectors, over its standard deviation there; zero where it does not vary.
fn standardise(vectors: &mut [Vec<f32>], n: usize) {
    for j in 0..vectors.first().map_or(0, Vec::len) {
        let values = || vectors[..n].iter().map(|v| f64::from(v[j]));
        let mean = values().sum::<f64>() / n as f64;
        let variance = values().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64;
        let scale = if variance > 1e-10 { variance.sqrt().recip() } else { 0.0 };
        vectors.iter_mut().for_each(|v| v[j] = ((f64::from(v[j]) - mean) * scale) as f32);
    }
}

/// The student and the map from its vector to the teacher's.
#[derive(Module, Debug)]
struct Student {
    bert: Bert,
    map: Linear,
}

struct Distil<'a> {
    texts: Texts,
    /// The teacher's vectors, standardised.
    targets: Vec<Vec<f32>>,
    fit_rows: Vec<usize>,
    dev_rows: Vec<usize>,
    heads: usize,
    config: &'a DistilConfig,
    /// With autodiff.
    device: Device,
}

impl Distil<'_> {
    fn fresh(&self, teacher: &Bert, shape: &Shape, width: usize) -> Result<Student> {
        self.device.seed(self.config.seed);
        let mut bert = Bert::init(shape, &self.device);
        let words = teacher.words.weight.val();
        let gram = words.clone().transpose().matmul(words.clone()).into_data();
        let gram: Vec<f64> = gram.iter::<f64>().collect();
        let directions = leading_directions(&gram, width, shape.hidden, self.config.seed);
        let flat: Vec<f32> = directions.iter().flatten().map(|v| *v as f32).collect();
        let basis: Tensor<2> =
            Tensor::from_data(TensorData::new(flat, [shape.hidden, width]), &words.device());
        let project = |table: Tensor<2>| {
            let projected = Tensor::from_inner(table.matmul(basis.clone().transpose()));
            Param::from_tensor(projected)
        };
        bert.words.weight = project(words);
        bert.positions.weight = project(teacher.positions.weight.val());
        Ok(Student { bert, map: LinearConfig::new(shape.hidden, width).init(&self.device) })
    }

    /// Squared errors of rows, `[n, width]`.
    fn errors(&self, model: &Student, rows: &[usize], device: &Device) -> Tensor<2> {
        let vectors = model.bert.forward(&self.texts.pack(rows, device), self.heads, Pooling::Mean);
        let flat: Vec<f32> = rows.iter().flat_map(|r| self.targets[*r].iter().copied()).collect();
        let width = flat.len() / rows.len().max(1);
        let targets = Tensor::from_data(TensorData::new(flat, [rows.len(), width]), device);
        (model.map.forward(vectors) - targets).powi_scalar(2)
    }

    fn fingerprint(&self) -> String {
        let mut hasher = DefaultHasher::new();
        format!("{:?}", self.config).hash(&mut hasher);
        (&self.fit_rows, &self.dev_rows).hash(&mut hasher);
        self.texts.hash(&mut hasher);
        hash_vectors(&self.targets, &mut hasher);
        format!("{:016x}", hasher.finish())
    }
}

impl Task for Distil<'_> {
    type Model = Student;

    fn batches(&self, epoch: usize) -> Vec<Vec<usize>> {
        let length = |r: usize| self.texts.length(r);
        batches(&self.fit_rows, length, self.config.batch_rows, self.config.seed, epoch)
    }

    fn loss(&self, model: &Student, rows: &[usize]) -> Result<StepLoss, FitError> {
        let loss = self.errors(model, rows, &self.device).mean();
        Ok(StepLoss { shown: loss.clone(), objective: loss })
    }

    /// Mean squared error, and the share of the variance explained.
    fn dev(&self, model: &Student) -> Result<(f64, f64), FitError> {
        let (model, device) = (model.valid(), self.device.clone().inner());
        let mut rows = self.dev_rows.clone();
        rows.sort_by_key(|r| self.texts.length(*r));
        let (mut sum, mut n) = (0.0, 0);
        for rows in rows.chunks(self.config.batch_rows) {
            let errors = self.errors(&model, rows, &device).into_data();
            sum += errors.iter::<f64>().sum::<f64>();
            n += errors.num_elements();
        }
        let targets = || rows.iter().flat_map(|r| &self.targets[*r]).map(|v| f64::from(*v));
        let variance: f64 = targets().map(|v| v * v).sum();
        Ok((sum / n.max(1) as f64, 1.0 - sum / variance.max(f64::MIN_POSITIVE)))
    }

    fn optimizer(&self) -> ModuleOptimizer {
        let clip = GradientClippingConfig::Norm(self.config.clip as f32);
        AdamWConfig::new()
            .with_weight_decay(self.config.weight_decay as f32)
            .with_grad_clipping(Some(clip))
            .init()
    }

    fn rates(&self, factor: f64) -> ModuleLearningRate {
        ModuleLrScheduler::new(ConstantLr::from(self.config.learning_rate * factor)).step()
    }
}
