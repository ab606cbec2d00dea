//! The query network, wide and deep: tf-idf n-grams through a linear table, token vectors and
//! surface features through a small perceptron, surface features and in the deep tier the vector of an encoder
//! through a linear layer, summed into the latent vector z(q).
//! (Wide & Deep: Cheng et al. 2016, section 3; pooled token vectors: SWEM, Shen et al. 2018, section 3.)

use burn::module::{Module, Param};
use burn::nn::{Dropout, DropoutConfig, Embedding, EmbeddingConfig, Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Tensor, activation};
use features::{FeatureConfig, SURFACE_LEN};

use crate::Batch;

/// Sizes of the network, saved with the weights.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkConfig {
    /// How text becomes features.
    pub features: FeatureConfig,
    /// Length of the latent vector z(q), at least 1.
    pub latent: usize,
    /// Length of a token vector, at least 1.
    pub token_dim: usize,
    /// Width of the hidden layer, at least 1.
    pub hidden: usize,
    /// Share of the pooled token units dropped while training, in [0, 1).
    pub dropout: f64,
    /// Length of the encoder's vector that comes with every query; 0: none, the fast tier.
    pub embedding: usize,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            features: FeatureConfig::default(),
            latent: 4,
            token_dim: 16,
            hidden: 32,
            dropout: 0.5,
            embedding: 0,
        }
    }
}

impl NetworkConfig {
    /// A network with fresh weights that knows `ngrams` n-grams.
    pub fn init(&self, ngrams: usize, device: &Device) -> Network {
        let table = |rows: usize, width: usize, initializer| {
            EmbeddingConfig::new(rows, width).with_initializer(initializer).init(device)
        };
        let pooled = 2 * self.token_dim + SURFACE_LEN;
        Network {
            wide: table(ngrams.max(1), self.latent, Initializer::Zeros),
            tokens: table(
                1 << self.features.token_bits,
                self.token_dim,
                Initializer::Normal { mean: 0.0, std: 0.1 },
            ),
            surface_mean: constant(0.0, SURFACE_LEN, device),
            surface_scale: constant(1.0, SURFACE_LEN, device),
            hidden: LinearConfig::new(pooled, self.hidden).init(device),
            // The deep part starts silent: what it says has been learned.
            output: LinearConfig::new(self.hidden, self.latent)
                .with_initializer(Initializer::Zeros)
                .init(device),
            linear: LinearConfig::new(SURFACE_LEN + self.embedding, self.latent)
                .with_initializer(Initializer::Zeros)
                .with_bias(false)
                .init(device),
            embedding_mean: constant(0.0, self.embedding, device),
            embedding_scale: constant(1.0, self.embedding, device),
            dropout: DropoutConfig::new(self.dropout).init(),
        }
    }
}

fn constant(value: f32, width: usize, device: &Device) -> Param<Tensor<1>> {
    Param::from_tensor(Tensor::full([width], value, device)).set_require_grad(false)
}

/// Features → latent vector.
#[derive(Module, Debug)]
pub struct Network {
    /// `[known n-grams, latent]`, zero where nothing was learned.
    pub wide: Embedding,
    /// `[2^token_bits, token_dim]`.
    pub tokens: Embedding,
    /// `[SURFACE_LEN]`, mean of the fitting rows; not learned.
    pub surface_mean: Param<Tensor<1>>,
    /// `[SURFACE_LEN]`, inverse standard deviation of the fitting rows; not learned.
    pub surface_scale: Param<Tensor<1>>,
    /// `[2 token_dim + SURFACE_LEN, hidden]`.
    pub hidden: Linear,
    /// `[hidden, latent]`.
    pub output: Linear,
    /// `[SURFACE_LEN + embedding, latent]`, of the standardised surface features and encoder's vector.
    pub linear: Linear,
    /// `[embedding]`, mean of the fitting rows; not learned.
    pub embedding_mean: Param<Tensor<1>>,
    /// `[embedding]`, inverse standard deviation of the fitting rows; not learned.
    pub embedding_scale: Param<Tensor<1>>,
    /// Active only while training.
    pub dropout: Dropout,
}

impl Network {
    /// The latent vectors of a batch, `[n, latent]`.
    pub fn forward(&self, batch: &Batch) -> Tensor<2> {
        let surface = standard(batch.surface.clone(), &self.surface_mean, &self.surface_scale);
        // Standardised features beyond five deviations say no more than five do.
        let surface = surface.clamp(-5.0, 5.0);
        self.wide_part(batch) + self.deep_part(batch, surface.clone()) + self.linear_part(batch, surface)
    }

    fn wide_part(&self, batch: &Batch) -> Tensor<2> {
        // [n, 1, g] x [n, g, latent] → [n, 1, latent]
        let rows = self.wide.forward(batch.ngrams.clone());
        batch.ngram_weights.clone().unsqueeze_dim::<3>(1).matmul(rows).squeeze_dim(1)
    }

    fn deep_part(&self, batch: &Batch, surface: Tensor<2>) -> Tensor<2> {
        let (mean, max) = self.pool(batch);
        let tokens = self.dropout.forward(Tensor::cat(vec![mean, max], 1));
        let hidden = activation::relu(self.hidden.forward(Tensor::cat(vec![tokens, surface], 1)));
        self.output.forward(hidden)
    }

    fn linear_part(&self, batch: &Batch, surface: Tensor<2>) -> Tensor<2> {
        let Some(vectors) = &batch.embedding else { return self.linear.forward(surface) };
        let vectors = standard(vectors.clone(), &self.embedding_mean, &self.embedding_scale);
        self.linear.forward(Tensor::cat(vec![surface, vectors], 1))
    }

    /// Mean and maximum of the token vectors, `[n, token_dim]` each; zero for a row without tokens.
    fn pool(&self, batch: &Batch) -> (Tensor<2>, Tensor<2>) {
        let vectors = self.tokens.forward(batch.tokens.clone());
        let Some(mask) = &batch.token_mask else {
            return (vectors.clone().mean_dim(1).squeeze_dim(1), vectors.max_dim(1).squeeze_dim(1));
        };
        let mask: Tensor<3> = mask.clone().unsqueeze_dim(2);
        let count = mask.clone().sum_dim(1);
        let present = count.clone().clamp_max(1.0);
        let kept = vectors * mask.clone();
        let mean = kept.clone().sum_dim(1) / count.clamp_min(1.0);
        let max = (kept + (mask - 1.0) * 1e9).max_dim(1) * present;
        (mean.squeeze_dim(1), max.squeeze_dim(1))
    }
}

fn standard(rows: Tensor<2>, mean: &Param<Tensor<1>>, scale: &Param<Tensor<1>>) -> Tensor<2> {
    (rows - mean.val().unsqueeze()) * scale.val().unsqueeze()
}
