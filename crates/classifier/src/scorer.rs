//! The trained classifier as serving sees it: query in, raw scores out, one query at a time,
//! so that a batch gives the same bits as its rows.

use burn::tensor::Device;
use features::{Extractor, Features};
use types::{ModelName, ModelPair, Query, Score};

use crate::batch::Buffers;
use crate::weights;
use crate::{Abilities, Batch, Network, NetworkConfig, NgramTable, WeightsError};

/// A query network with the abilities of the models it was fitted on.
#[derive(Debug)]
pub struct Classifier {
    config: NetworkConfig,
    network: Network,
    abilities: Abilities,
    ngrams: NgramTable,
    models: Vec<ModelName>,
    readout: Readout,
    device: Device,
}

/// The abilities on the host: a few hundred numbers that need no kernel.
#[derive(Debug)]
struct Readout {
    /// v by model, each of length latent.
    preference: Vec<Vec<f32>>,
    preference_bias: Vec<f32>,
    success: Vec<Vec<f32>>,
    success_bias: Vec<f32>,
    tie: f32,
}

/// Buffers of one worker, used again from query to query.
#[derive(Debug)]
pub struct Scratch {
    extractor: Extractor,
    features: Features,
    buffers: Buffers,
    latent: Vec<f32>,
}

impl Scratch {
    /// The features of the query scored last.
    pub fn features(&self) -> &Features {
        &self.features
    }
}

impl Classifier {
    /// Puts trained parts together. `models` names the columns of `abilities`.
    pub fn new(
        config: NetworkConfig,
        network: Network,
        abilities: Abilities,
        ngrams: NgramTable,
        models: Vec<ModelName>,
        device: Device,
    ) -> Self {
        let readout = Readout::new(&abilities);
        Self { config, network, abilities, ngrams, models, readout, device }
    }

    /// Restores a classifier from [`Classifier::to_bytes`].
    ///
    /// # Errors
    /// When the bytes are no safetensors file or do not fit the configuration; the tensor is named.
    pub fn from_bytes(
        bytes: &[u8],
        config: &NetworkConfig,
        models: Vec<ModelName>,
        device: &Device,
    ) -> Result<Self, WeightsError> {
        weights::from_bytes(bytes, config, models, device)
    }

    /// The weights as safetensors bytes; equal weights give equal bytes.
    ///
    /// # Errors
    /// When the device cannot give a tensor back.
    pub fn to_bytes(&self) -> Result<Vec<u8>, WeightsError> {
        weights::to_bytes(&self.network, &self.abilities, &self.ngrams)
    }

    /// Sizes of the network.
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// The models this classifier knows.
    pub fn models(&self) -> &[ModelName] {
        &self.models
    }

    /// Fresh buffers for one worker.
    pub fn scratch(&self) -> Scratch {
        Scratch {
            extractor: Extractor::new(self.config.features.clone()),
            features: Features::default(),
            buffers: Buffers::default(),
            latent: Vec::new(),
        }
    }

    /// Computes the latent vector of a query into `scratch`; scores of models are read from there.
    pub fn read(&self, query: &Query, scratch: &mut Scratch) {
        scratch.extractor.extract(query, &mut scratch.features);
        self.embed(scratch);
    }

    fn embed(&self, scratch: &mut Scratch) {
        let batch = Batch::single(&scratch.features, &self.ngrams, &mut scratch.buffers, &self.device);
        let latent = self.network.forward(&batch).into_data();
        scratch.latent.clear();
        scratch.latent.extend(latent.iter::<f32>());
    }

    /// The raw win score of strong over weak for the query read last; `None` for an unknown model.
    pub fn win_score(&self, scratch: &Scratch, pair: &ModelPair) -> Option<Score> {
        let strong = self.column(pair.strong())?;
        let weak = self.column(pair.weak())?;
        let strength =
            |m: usize| dot(&self.readout.preference[m], &scratch.latent) + self.readout.preference_bias[m];
        Score::new(f64::from(strength(strong) - strength(weak) - self.readout.tie)).ok()
    }

    /// The raw success score of a model for the query read last; `None` for an unknown model.
    pub fn success_score(&self, scratch: &Scratch, model: &ModelName) -> Option<Score> {
        let m = self.column(model)?;
        let logit = dot(&self.readout.success[m], &scratch.latent) + self.readout.success_bias[m];
        Score::new(f64::from(logit)).ok()
    }

    fn column(&self, model: &ModelName) -> Option<usize> {
        self.models.iter().position(|m| m == model)
    }
}

impl Readout {
    fn new(abilities: &Abilities) -> Self {
        let columns = |vectors: burn::tensor::Tensor<2>| {
            let [latent, models] = vectors.dims();
            let values: Vec<f32> = vectors.into_data().iter::<f32>().collect();
            (0..models).map(|m| (0..latent).map(|d| values[d * models + m]).collect()).collect()
        };
        let row = |bias: burn::tensor::Tensor<1>| bias.into_data().iter::<f32>().collect::<Vec<f32>>();
        Self {
            preference: columns(abilities.preference.val()),
            preference_bias: row(abilities.preference_bias.val()),
            success: columns(abilities.success.val()),
            success_bias: row(abilities.success_bias.val()),
            tie: row(abilities.tie.val())[0],
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
