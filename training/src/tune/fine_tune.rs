//! Fine-tuning the top of an encoder end to end through the classifier's head.
//!
//! The fit starts where a frozen one ends: at the ridge regression on the frozen encoder's vectors. From there the
//! upper blocks, the pooling query and the head's linear read-out move together; lower blocks and the word table stay
//! as they are, their outputs are computed without autodiff, and nothing is propagated into them. With the squared
//! loss the objective is that of the ridge regression, its penalties included, with the vectors free to move.
//! Layers near the words hold what every task needs, those near the top what one task needs, so freezing the lower
//! ones costs little (Lee et al. 2019, "What Would Elsa Do? Freezing Layers During Transformer Fine-Tuning", section
//! 4); small steps, a warm-up and few epochs keep the rest from forgetting (Devlin et al. 2019, appendix A.3; Mosbach
//! et al. 2021, section 6).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use burn::grad_clipping::GradientClippingConfig;
use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::{Module, ParamGroup};
use burn::optim::{AdamWConfig, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use classifier::NetworkConfig;
use corpus::{Example, Split};
use encoder::{Bert, Encoder, Pooling, Top};
use features::SURFACE_LEN;
use types::ModelPair;

use super::seen::tuned_on;
use super::texts::{Texts, hash_vectors, texts_of};
use crate::fit::{
    Checkpoints, FitConfig, FitError, FitReport, LOGITS, Loop, LossKind, Model, Observer, Prepared, Run,
    Step, StepLoss, Task, batches,
};
use crate::pipeline::models_of;

/// Everything that decides how an encoder is fine-tuned.
#[derive(Debug, Clone)]
pub struct FineTuneConfig {
    /// Blocks that move, counted from the top; 0 only with attention pooling, whose query then moves alone.
    pub layers: usize,
    /// Epochs at most.
    pub epochs: usize,
    /// Rows of a step.
    pub batch_rows: usize,
    /// Peak learning rate of the blocks.
    pub learning_rate: f64,
    /// Peak learning rate of the head's read-out and of the pooling query.
    pub head_learning_rate: f64,
    /// Decoupled weight decay of the blocks.
    pub weight_decay: f64,
    /// The longest gradient of a tensor; longer ones are scaled down.
    pub clip: f64,
    /// Epochs without a better dev loss before it stops.
    pub patience: usize,
    /// The loss.
    pub loss: LossKind,
    /// The head: its ridge start, what a tie is worth, the weight of successes, the warm-up, the seed.
    pub head: FitConfig,
}

impl Default for FineTuneConfig {
    fn default() -> Self {
        Self {
            layers: 1,
            epochs: 3,
            batch_rows: 32,
            learning_rate: 3e-5,
            head_learning_rate: 1e-3,
            weight_decay: 0.01,
            clip: 1.0,
            patience: 2,
            loss: LossKind::Squared,
            // N-grams would explain the fit rows before the encoder could: it learns without them.
            head: FitConfig { most_ngrams: 0, ..FitConfig::default() },
        }
    }
}

/// Tunes the top of an encoder on the fit rows of a split, stopping on its dev rows; no other row is looked at. The
/// encoder given back says in its configuration which labels it has seen.
///
/// # Errors
/// When the encoder is not on burn, was tuned on other rows before, has fewer layers than are to move, or the fit fails.
#[expect(clippy::too_many_arguments, reason = "a fit has that many independent inputs; each is one word")]
pub fn fine_tune(
    encoder: &Encoder,
    examples: &[Example],
    pairs: &[ModelPair],
    split: &Split,
    config: &FineTuneConfig,
    checkpoints: Option<&Checkpoints>,
    interrupt: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<(Encoder, FitReport)> {
    let (bert, device) = encoder.bert().context("an 8-bit encoder cannot be tuned")?;
    let shape = &encoder.config().shape;
    let attention = encoder.config().pooling == Pooling::Attention;
    if config.layers > shape.layers || (config.layers == 0 && !attention) {
        bail!(
            "{} layers to tune: expected 1 to {}, or 0 with attention pooling",
            config.layers,
            shape.layers
        );
    }
    let record = tuned_on(examples, split, config.head.seed);
    if encoder.config().tuned_on.as_ref().is_some_and(|before| before.rows != record.rows) {
        bail!(
            "this encoder was tuned on other rows before: both could not be kept apart from what is measured"
        );
    }
    let rows = split.fit.iter().chain(&split.dev);
    let seen: Vec<Example> = rows.map(|r| examples[*r].clone()).collect();
    let (fit_rows, dev_rows): (Vec<usize>, Vec<usize>) = (0..seen.len()).partition(|i| *i < split.fit.len());
    let network = NetworkConfig { embedding: encoder.width(), ..NetworkConfig::default() };
    let texts = texts_of(&seen);
    let mut data = Prepared::new(&seen, &models_of(pairs), pairs, &network.features, config.head.tie_value);
    data.embeddings = Some(encoder.embed_texts(&texts)?);
    let below = shape.layers - config.layers;
    let tune = FineTune {
        run: Run::new(&data, &fit_rows, &dev_rows, &config.head, device)?,
        texts: Texts::new(encoder.tokens(), &texts)?,
        encoder,
        below,
        bert,
        plain: device,
        config,
        penalties: penalties(config, fit_rows.len(), encoder.width()),
    };
    let of = Loop {
        epochs: config.epochs,
        steps_per_epoch: fit_rows.len().div_ceil(config.batch_rows),
        warm_up: config.head.warm_up,
        patience: config.patience,
        seed: config.head.seed,
        device: &tune.run.device,
        fingerprint: tune.fingerprint(&network),
        checkpoints,
        interrupt,
    };
    let (tuned, report) = of.run(&tune, tune.fresh(&network), observer)?;
    let mut written = encoder.config().clone();
    written.tuned_on = Some(record);
    let bert = bert.clone().with_top(tuned.top.valid());
    Ok((Encoder::new(written, encoder.tokens().clone(), bert, device.clone())?, report))
}

/// What moves: the top of the encoder and the head.
#[derive(Module, Debug)]
struct Tuned {
    top: Top,
    head: Model,
}

struct FineTune<'a> {
    /// The head's own fit: rows, n-grams, start.
    run: Run<'a>,
    texts: Texts,
    encoder: &'a Encoder,
    /// Blocks that stay.
    below: usize,
    /// Without autodiff.
    bert: &'a Bert,
    plain: &'a Device,
    config: &'a FineTuneConfig,
    /// Of each row of the head's linear read-out.
    penalties: Vec<f32>,
}

/// The ridge start's penalties on the scale of the mean loss of a row: `lambda |a|^2 / n` where a weight in logits is
/// `LOGITS` times one in probability. The log loss curves twice as much as the squared one there.
fn penalties(config: &FineTuneConfig, rows: usize, width: usize) -> Vec<f32> {
    let curve = if config.loss == LossKind::Logistic { 2.0 } else { 1.0 };
    let scale = curve / (rows as f64 * f64::from(LOGITS * LOGITS));
    let of = |penalty: f64, n: usize| std::iter::repeat_n((penalty * scale) as f32, n);
    of(config.head.ridge_surface, SURFACE_LEN).chain(of(config.head.ridge_embedded, width)).collect()
}

impl FineTune<'_> {
    /// The frozen fit. What the fast tier reads as well stays there: its fit is done, and of thousands of n-grams
    /// each would take part of what the encoder is to learn.
    fn fresh(&self, network: &NetworkConfig) -> Tuned {
        let mut head = self.run.fresh(network);
        head.network.wide = head.network.wide.no_grad();
        head.network.tokens = head.network.tokens.no_grad();
        head.network.hidden = head.network.hidden.no_grad();
        head.network.output = head.network.output.no_grad();
        Tuned { top: self.bert.top(self.below).train(), head }
    }

    /// Vectors of the tokens of rows below what moves, `[n, t, hidden]`, without autodiff.
    fn tokens(&self, rows: &[usize]) -> Tensor<3> {
        let ids = self.texts.pack(rows, self.plain);
        self.bert.below(&ids, self.encoder.config().shape.heads, self.below)
    }

    fn step(&self, top: &Top, tokens: Tensor<3>, rows: &[usize], device: &Device) -> Step {
        let (config, ids) = (self.encoder.config(), self.texts.pack(rows, device));
        let vectors = top.forward(tokens, &ids, config.shape.heads, config.pooling);
        Step::new(self.run.data, rows, &self.run.ngrams, device).with_vectors(vectors)
    }

    fn fingerprint(&self, network: &NetworkConfig) -> String {
        let mut hasher = DefaultHasher::new();
        format!("{:?} {:?}", self.config, self.encoder.config()).hash(&mut hasher);
        self.texts.hash(&mut hasher);
        hash_vectors(self.run.data.embeddings.as_deref().unwrap_or_default(), &mut hasher);
        format!("{}{:016x}", self.run.fingerprint(network), hasher.finish())
    }
}

impl Task for FineTune<'_> {
    type Model = Tuned;

    fn batches(&self, epoch: usize) -> Vec<Vec<usize>> {
        let length = |r: usize| self.texts.length(r);
        batches(self.run.fit_rows, length, self.config.batch_rows, self.config.head.seed, epoch)
    }

    fn loss(&self, model: &Tuned, rows: &[usize]) -> Result<StepLoss, FitError> {
        let tokens = Tensor::from_inner(self.tokens(rows));
        let step = self.step(&model.top, tokens, rows, &self.run.device);
        let loss = model.head.loss(&step, self.config.loss);
        let linear = model.head.network.linear.weight.val().powi_scalar(2).sum_dim(1);
        let penalties = TensorData::new(self.penalties.clone(), [self.penalties.len(), 1]);
        let penalty = (linear * Tensor::from_data(penalties, &self.run.device)).sum();
        let objective = loss.wins.clone() + loss.success * self.config.head.success_weight + penalty;
        Ok(StepLoss { shown: loss.wins, objective })
    }

    fn dev(&self, model: &Tuned) -> Result<(f64, f64), FitError> {
        let model = model.valid();
        let logits = |rows: &[usize]| {
            let step = self.step(&model.top, self.tokens(rows), rows, self.plain);
            model.head.loss(&step, self.config.loss).win_logits
        };
        self.run.judged(|r| self.texts.length(r), self.config.batch_rows, logits)
    }

    fn optimizer(&self) -> ModuleOptimizer {
        let clip = GradientClippingConfig::Norm(self.config.clip as f32);
        let plain = AdamWConfig::new().with_weight_decay(0.0).with_grad_clipping(Some(clip.clone()));
        let decayed = AdamWConfig::new().with_weight_decay(self.config.weight_decay as f32);
        plain.init().with_group(blocks(), decayed.build(), Some(clip.init()))
    }

    fn rates(&self, factor: f64) -> ModuleLearningRate {
        ModuleLrScheduler::new(ConstantLr::from(self.config.head_learning_rate * factor))
            .with_group(blocks(), ConstantLr::from(self.config.learning_rate * factor))
            .step()
    }
}

fn blocks() -> ParamGroup {
    ParamGroup::from_predicate("top.layers")
}
