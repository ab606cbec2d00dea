//! The objective of a step: weighted losses of wins and successes, logistic (methods section 1.1) or squared,
//! plus the penalty on the linear parts.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use classifier::{Abilities, Batch, Network, NgramTable};
use serde::{Deserialize, Serialize};

use super::config::FitConfig;
use super::targets::Prepared;

/// Logits for a unit of probability where the logistic curve is steepest.
pub(crate) const LOGITS: f32 = 4.0;

/// How far a logit z is from a graded outcome y in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// The log loss.
    Logistic,
    /// `(1/2 + z/4 - y)^2`: y is read off the tangent of the logistic curve where it is steepest, as by the ridge
    /// regression that a fit starts at.
    Squared,
}

impl LossKind {
    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logistic => "logistic",
            Self::Squared => "squared",
        }
    }

    /// Parses a name; `None` for any other text.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Logistic, Self::Squared].into_iter().find(|kind| kind.as_str() == name)
    }

    /// `sum w loss(z, y) / sum w`, shape `[1]`; soft labels allowed.
    fn mean<const D: usize>(self, z: Tensor<D>, y: Tensor<D>, weight: Tensor<D>) -> Tensor<1> {
        let total = weight.clone().sum().clamp_min(1e-12);
        let loss = match self {
            Self::Logistic => activation::softplus(z.clone(), 1.0) - y * z,
            Self::Squared => (z / LOGITS + 0.5 - y).powi_scalar(2),
        };
        (loss * weight).sum() / total
    }
}

/// What the optimiser moves.
#[derive(Module, Debug)]
pub(crate) struct Model {
    pub(crate) network: Network,
    pub(crate) abilities: Abilities,
}

/// Rows of one step on the device.
pub(crate) struct Step {
    batch: Batch,
    success: Tensor<2>,
    success_weight: Tensor<2>,
    /// Flat positions `row x models + column` of the asked and the compared model.
    strong: Tensor<1, Int>,
    weak: Tensor<1, Int>,
    wins: Tensor<1>,
    win_weight: Tensor<1>,
}

impl Step {
    pub(crate) fn new(data: &Prepared, rows: &[usize], ngrams: &NgramTable, device: &Device) -> Self {
        let (n, m) = (rows.len(), data.models.len());
        let features: Vec<_> = rows.iter().map(|r| &data.features[*r]).collect();
        let (mut success, mut success_weight) = (vec![0f32; n * m], vec![0f32; n * m]);
        let (mut strong, mut weak, mut wins, mut win_weight) = (vec![], vec![], vec![], vec![]);
        for (i, row) in rows.iter().enumerate() {
            let weight = data.weights[*row];
            let known = data.success[*row].iter().flatten().count().max(1) as f32;
            for (j, score) in data.success[*row].iter().enumerate() {
                if let Some(score) = score {
                    success[i * m + j] = *score;
                    success_weight[i * m + j] = weight / known;
                }
            }
            for target in &data.wins[*row] {
                strong.push((i * m + target.strong) as i32);
                weak.push((i * m + target.weak) as i32);
                wins.push(target.value);
                win_weight.push(weight / data.wins[*row].len() as f32);
            }
        }
        if wins.is_empty() {
            // A step without comparisons still needs shapes: one entry of weight zero.
            (strong, weak, wins, win_weight) = (vec![0], vec![0], vec![0.0], vec![0.0]);
        }
        let k = wins.len();
        let mut batch = Batch::new(&features, ngrams, device);
        if let Some(embeddings) = &data.embeddings {
            let vectors: Vec<&[f32]> = rows.iter().map(|r| embeddings[*r].as_slice()).collect();
            batch = batch.with_embeddings(&vectors, device);
        }
        Self {
            batch,
            success: Tensor::from_data(TensorData::new(success, [n, m]), device),
            success_weight: Tensor::from_data(TensorData::new(success_weight, [n, m]), device),
            strong: Tensor::from_data(TensorData::new(strong, [k]), device),
            weak: Tensor::from_data(TensorData::new(weak, [k]), device),
            wins: Tensor::from_data(TensorData::new(wins, [k]), device),
            win_weight: Tensor::from_data(TensorData::new(win_weight, [k]), device),
        }
    }

    /// With these vectors of the encoder, `[n, embedding]`, in place of those of the data.
    pub(crate) fn with_vectors(mut self, vectors: Tensor<2>) -> Self {
        self.batch = self.batch.with_vectors(vectors);
        self
    }
}

/// The parts of the loss of a step, each a mean over rows, shape `[1]`.
pub(crate) struct Loss {
    pub(crate) wins: Tensor<1>,
    pub(crate) success: Tensor<1>,
    /// Win logits in the order of the step's comparisons.
    pub(crate) win_logits: Tensor<1>,
}

impl Model {
    pub(crate) fn loss(&self, step: &Step, kind: LossKind) -> Loss {
        let latent = self.network.forward(&step.batch);
        let success = self.abilities.success_logits(latent.clone());
        let strengths: Tensor<1> = self.abilities.preferences(latent).flatten(0, 1);
        let win_logits = strengths.clone().select(0, step.strong.clone())
            - strengths.select(0, step.weak.clone())
            - self.abilities.tie.val();
        Loss {
            wins: kind.mean(win_logits.clone(), step.wins.clone(), step.win_weight.clone()),
            success: kind.mean(success, step.success.clone(), step.success_weight.clone()),
            win_logits,
        }
    }

    pub(crate) fn objective(&self, loss: &Loss, config: &FitConfig) -> Tensor<1> {
        let wide = self.network.wide.weight.val();
        loss.wins.clone()
            + loss.success.clone() * config.success_weight
            + (wide.clone() * wide).sum() * (0.5 * config.l2_wide)
            + self.network.linear.weight.val().powi_scalar(2).sum() * (0.5 * config.l2_linear)
    }
}
