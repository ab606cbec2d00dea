//! The transformer as a burn module: the reference on every backend, and what training moves.
//! (BERT: Devlin et al. 2019, section 3; attention and blocks: Vaswani et al. 2017, sections 3.1-3.3,
//! normalised after each block.)

use burn::module::{Module, Param};
use burn::nn::{Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData, activation};

use crate::{Pooling, Shape};

/// Standard deviation of fresh weights (Devlin et al. 2019, as published with its code).
const FRESH: f64 = 0.02;

/// Token ids → the vector of the text.
#[derive(Module, Debug)]
pub struct Bert {
    /// `[vocabulary, hidden]`.
    pub words: Embedding,
    /// `[positions, hidden]`, with the first token type's row added to each.
    pub positions: Embedding,
    /// Of the sum of both.
    pub norm: LayerNorm,
    /// The blocks, first to last.
    pub layers: Vec<Block>,
    /// `[hidden]`, the vector of attention pooling; not used by other poolings.
    pub pooling_query: Option<Param<Tensor<1>>>,
}

/// Self-attention and a feed-forward block.
#[derive(Module, Debug)]
pub struct Block {
    /// `[hidden, hidden]`.
    pub query: Linear,
    /// `[hidden, hidden]`.
    pub key: Linear,
    /// `[hidden, hidden]`.
    pub value: Linear,
    /// `[hidden, hidden]`.
    pub attended: Linear,
    /// After attention.
    pub attended_norm: LayerNorm,
    /// `[hidden, intermediate]`.
    pub widen: Linear,
    /// `[intermediate, hidden]`.
    pub narrow: Linear,
    /// After the feed-forward block.
    pub norm: LayerNorm,
}

/// Taken from the score of padding: it vanishes in the softmax. Small enough for 16 bits.
const MASKED: f64 = 1e4;

/// What lies above some blocks of a [`Bert`]: the other blocks and the pooling. Training may move it alone.
#[derive(Module, Debug)]
pub struct Top {
    /// The blocks, first to last.
    pub layers: Vec<Block>,
    /// As in [`Bert`].
    pub pooling_query: Option<Param<Tensor<1>>>,
}

/// Rows of token ids on a device, padded to the longest.
#[derive(Debug, Clone)]
pub struct Ids {
    /// `[n, t]`.
    ids: Tensor<2, Int>,
    /// One on tokens and zero on padding, `[n, t]`; `None` when no row is padded.
    mask: Option<Tensor<2>>,
}

impl Ids {
    /// Packs rows; `rows` and each of them must not be empty.
    pub fn new(rows: &[&[u32]], device: &Device) -> Self {
        let t = rows.iter().map(|r| r.len()).max().unwrap_or(0);
        let padded = rows.iter().any(|r| r.len() < t);
        let (mut ids, mut mask) = (vec![0i32; rows.len() * t], vec![0f32; rows.len() * t]);
        for (i, row) in rows.iter().enumerate() {
            for (j, id) in row.iter().enumerate() {
                ids[i * t + j] = *id as i32;
                mask[i * t + j] = 1.0;
            }
        }
        let shape = [rows.len(), t];
        Self {
            ids: Tensor::from_data(TensorData::new(ids, shape), device),
            mask: padded.then(|| Tensor::from_data(TensorData::new(mask, shape), device)),
        }
    }
}

impl Bert {
    /// Fresh weights of a shape, drawn from the device's random source; no pooling query.
    pub fn init(shape: &Shape, device: &Device) -> Self {
        let fresh = || Initializer::Normal { mean: 0.0, std: FRESH };
        let table = |rows| EmbeddingConfig::new(rows, shape.hidden).with_initializer(fresh()).init(device);
        let norm = || LayerNormConfig::new(shape.hidden).with_epsilon(shape.epsilon).init(device);
        let linear = |from, to| {
            let mut linear = LinearConfig::new(from, to).with_initializer(fresh()).init(device);
            linear.bias = Some(Initializer::Zeros.init([to], device));
            linear
        };
        let square = || linear(shape.hidden, shape.hidden);
        let block = |_| Block {
            query: square(),
            key: square(),
            value: square(),
            attended: square(),
            attended_norm: norm(),
            widen: linear(shape.hidden, shape.intermediate),
            narrow: linear(shape.intermediate, shape.hidden),
            norm: norm(),
        };
        Self {
            words: table(shape.vocabulary),
            positions: table(shape.positions),
            norm: norm(),
            layers: (0..shape.layers).map(block).collect(),
            pooling_query: None,
        }
    }

    /// Vectors of the texts, `[n, hidden]`, of 32 bits whatever the weights are; `heads` and `pooling` as in the
    /// configuration.
    pub fn forward(&self, ids: &Ids, heads: usize, pooling: Pooling) -> Tensor<2> {
        let tokens = self.below(ids, heads, self.layers.len());
        pool(tokens, ids.mask.as_ref(), self.pooling_query.as_ref(), pooling)
    }

    /// Vectors of the tokens above the first `layers` blocks, `[n, t, hidden]`.
    pub fn below(&self, ids: &Ids, heads: usize, layers: usize) -> Tensor<3> {
        let [_, t] = ids.ids.dims();
        let positions = self.positions.weight.val().slice(0..t).unsqueeze::<3>();
        let x = self.norm.forward(self.words.forward(ids.ids.clone()) + positions);
        through(self.layers.iter().take(layers), x, ids, heads)
    }

    /// The blocks above the first `layers`, and the pooling.
    pub fn top(&self, layers: usize) -> Top {
        let layers = self.layers.iter().skip(layers).cloned().collect();
        Top { layers, pooling_query: self.pooling_query.clone() }
    }

    /// With `top` in place of as many upper blocks and of the pooling query.
    #[must_use]
    pub fn with_top(mut self, top: Top) -> Self {
        self.layers.truncate(self.layers.len().saturating_sub(top.layers.len()));
        self.layers.extend(top.layers);
        self.pooling_query = top.pooling_query;
        self
    }
}

impl Top {
    /// Vectors of the texts, `[n, hidden]`, from the vectors of their tokens below, `[n, t, hidden]`.
    pub fn forward(&self, tokens: Tensor<3>, ids: &Ids, heads: usize, pooling: Pooling) -> Tensor<2> {
        let tokens = through(self.layers.iter(), tokens, ids, heads);
        pool(tokens, ids.mask.as_ref(), self.pooling_query.as_ref(), pooling)
    }
}

/// Vectors of the tokens above some blocks, `[n, t, hidden]`.
fn through<'a>(
    layers: impl Iterator<Item = &'a Block>,
    tokens: Tensor<3>,
    ids: &Ids,
    heads: usize,
) -> Tensor<3> {
    let [n, t] = ids.ids.dims();
    // Added to the scores: nothing attends to padding.
    let bias =
        ids.mask.clone().map(|mask| ((mask - 1.0) * MASKED).reshape([n, 1, 1, t]).cast(tokens.dtype()));
    layers.fold(tokens, |x, layer| layer.forward(x, bias.as_ref(), heads))
}

fn pool(
    tokens: Tensor<3>,
    mask: Option<&Tensor<2>>,
    query: Option<&Param<Tensor<1>>>,
    pooling: Pooling,
) -> Tensor<2> {
    let [n, t, hidden] = tokens.dims();
    let tokens = tokens.cast(FloatDType::F32);
    match (pooling, query) {
        (Pooling::Cls, _) => tokens.slice([0..n, 0..1]).reshape([n, hidden]),
        (Pooling::Attention, Some(query)) => {
            let query: Tensor<3> = query.val().cast(FloatDType::F32).reshape([1, hidden, 1]);
            let scores = tokens.clone().matmul(query.expand([n, hidden, 1])).reshape([n, t]);
            let scores = match mask {
                Some(mask) => scores + (mask.clone() - 1.0) * MASKED,
                None => scores,
            };
            weighted(tokens, activation::softmax(scores, 1))
        }
        (Pooling::Mean | Pooling::Attention, _) => match mask {
            Some(mask) => weighted(tokens, mask.clone() / mask.clone().sum_dim(1)),
            None => tokens.mean_dim(1).squeeze_dim(1),
        },
    }
}

/// The sum over tokens `[n, t, h]` with weights `[n, t]`, `[n, h]`.
fn weighted(tokens: Tensor<3>, weights: Tensor<2>) -> Tensor<2> {
    weights.unsqueeze_dim::<3>(1).matmul(tokens).squeeze_dim(1)
}

impl Block {
    fn forward(&self, x: Tensor<3>, bias: Option<&Tensor<4>>, heads: usize) -> Tensor<3> {
        let attended = self.attended.forward(self.attention(x.clone(), bias, heads));
        let x = self.attended_norm.forward(attended + x);
        let fed = self.narrow.forward(activation::gelu(self.widen.forward(x.clone())));
        self.norm.forward(fed + x)
    }

    fn attention(&self, x: Tensor<3>, bias: Option<&Tensor<4>>, heads: usize) -> Tensor<3> {
        let [n, t, hidden] = x.dims();
        let width = hidden / heads;
        // [n, t, hidden] → [n, heads, t, width]
        let split = |y: Tensor<3>| y.reshape([n, t, heads, width]).swap_dims(1, 2);
        let query = split(self.query.forward(x.clone())) * (width as f64).sqrt().recip();
        let (key, value) = (split(self.key.forward(x.clone())), split(self.value.forward(x)));
        let mut scores = query.matmul(key.swap_dims(2, 3));
        if let Some(bias) = bias {
            scores = scores + bias.clone();
        }
        activation::softmax(scores, 3).matmul(value).swap_dims(1, 2).reshape([n, t, hidden])
    }
}
