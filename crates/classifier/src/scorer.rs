//! The trained classifier as serving sees it: query in, raw scores out, one query at a time,
//! so that a batch gives the same bits as its rows.

use burn::tensor::Device;
use features::{Extractor, Features};
use types::{ModelName, ModelPair, Query, Score};

use crate::batch::Buffers;
use crate::weights;
use crate::{Abilities, Ability, Batch, Network, NetworkConfig, NgramTable, WeightsError};

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

/// The abilities on the host.
#[derive(Debug)]
struct Readout {
    /// By model.
    abilities: Vec<Ability>,
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

    /// The latent vector of the query read last.
    pub fn latent(&self) -> &[f32] {
        &self.latent
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
        let tie = abilities.tie.val().into_data().iter::<f32>().next().unwrap_or_default();
        let readout = Readout { abilities: abilities.columns(), tie };
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
        let batch = Batch::single(&scratch.features, &self.ngrams, &mut scratch.buffers, &self.device);
        self.forward(&batch, &mut scratch.latent);
    }

    /// The same for a query of the deep tier, whose vector the encoder gave: `embedding` is as long as the
    /// configuration says.
    pub fn read_embedded(&self, query: &Query, embedding: &[f32], scratch: &mut Scratch) {
        scratch.extractor.extract(query, &mut scratch.features);
        let batch = Batch::single(&scratch.features, &self.ngrams, &mut scratch.buffers, &self.device);
        self.forward(&batch.with_embeddings(&[embedding], &self.device), &mut scratch.latent);
    }

    fn forward(&self, batch: &Batch, out: &mut Vec<f32>) {
        out.clear();
        out.extend(self.network.forward(batch).into_data().iter::<f32>());
    }

    /// The raw win score of strong over weak for the query read last; `None` for an unknown model.
    pub fn win_score(&self, scratch: &Scratch, pair: &ModelPair) -> Option<Score> {
        let strength = |model| self.ability(model).map(|ability| ability.strength(&scratch.latent));
        let (strong, weak) = (strength(pair.strong())?, strength(pair.weak())?);
        Score::new(f64::from(strong - weak - self.readout.tie)).ok()
    }

    /// The raw success score of a model for the query read last; `None` for an unknown model.
    pub fn success_score(&self, scratch: &Scratch, model: &ModelName) -> Option<Score> {
        Score::new(f64::from(self.ability(model)?.success(&scratch.latent))).ok()
    }

    /// What a model can do; `None` for an unknown model.
    pub fn ability(&self, model: &ModelName) -> Option<&Ability> {
        let column = self.models.iter().position(|m| m == model)?;
        self.readout.abilities.get(column)
    }

    /// ln(theta): how much stronger a model must be before it wins half of the time.
    pub fn tie(&self) -> f32 {
        self.readout.tie
    }

    /// This classifier with further models; what it says of the others keeps its bits.
    #[must_use]
    pub fn with_models(&self, newcomers: &[(ModelName, Ability)]) -> Self {
        let (mut abilities, mut models) = (self.abilities.clone(), self.models.clone());
        for (model, ability) in newcomers {
            abilities = abilities.with(ability, &self.device);
            models.push(model.clone());
        }
        let (config, device) = (self.config.clone(), self.device.clone());
        Self::new(config, self.network.clone(), abilities, self.ngrams.clone(), models, device)
    }
}
