//! The difficulty classifier: burn modules that turn features into a latent vector of the query,
//! ability vectors that turn the latent vector into scores of models and pairs; beside it the verifier of
//! answers; and their weights as bytes. Raw scores only: probabilities are made in `calibration`, folders in `artifact`,
//! gradients in `training`.

mod ability;
mod batch;
mod device;
mod general;
mod network;
mod ngrams;
mod scorer;
mod verifier;
mod weights;

pub use ability::{Abilities, Ability};
pub use batch::Batch;
pub use device::{Adapter, Backend, BackendError};
pub use general::GeneralAxis;
pub use network::{Network, NetworkConfig};
pub use ngrams::NgramTable;
pub use scorer::{Classifier, Scratch};
pub use verifier::{
    AnswerGiven, AnswerRead, Standard, UsualLengths, VERIFIER_DENSE_LEN, Verifier, VerifierScratch,
    WideScratch, WideWeights,
};
pub use weights::{WeightsError, for_each_network_tensor};
