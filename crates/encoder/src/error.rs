//! Why an encoder was refused.

use thiserror::Error;

/// Why an encoder was refused. Files are named as in a checkpoint's folder.
#[derive(Debug, Error)]
pub enum EncoderError {
    /// `config.json` is no configuration.
    #[error("config.json: {0}")]
    Config(String),
    /// A configuration of something else than a BERT encoder.
    #[error("config.json: {field}: expected {expected}, found {found}")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// What this encoder can be.
        expected: String,
        /// What the file says.
        found: String,
    },
    /// An option that does not fit the checkpoint.
    #[error("{option}: expected {expected}, found {found}")]
    Option {
        /// The option.
        option: &'static str,
        /// What fits.
        expected: String,
        /// What was asked.
        found: String,
    },
    /// `tokenizer.json` is no tokenizer, or not one of this vocabulary.
    #[error("tokenizer.json: {0}")]
    Tokenizer(String),
    /// The weights are no safetensors file.
    #[error("model.safetensors: not a readable safetensors file: {0}")]
    Weights(String),
    /// A tensor is not there.
    #[error("model.safetensors: tensor {0} is missing")]
    Missing(String),
    /// A tensor of another shape or type.
    #[error("model.safetensors: tensor {name}: expected {expected}, found {found}")]
    Tensor {
        /// Its name.
        name: String,
        /// What the configuration asks for.
        expected: String,
        /// What the file holds.
        found: String,
    },
    /// A tensor with NaN or infinite values.
    #[error("model.safetensors: tensor {0} holds values that are not finite")]
    NotFinite(String),
    /// The device could not give a tensor back.
    #[error("tensor {name} could not be read from the device: {reason}")]
    Device {
        /// Its name.
        name: String,
        /// What the backend said.
        reason: String,
    },
    /// The 8-bit engine is not part of this build, or this processor would overflow in it.
    #[error("the int8 engine is not available: {0}")]
    NoInt8(&'static str),
    /// A device that does not compute in 16-bit floats.
    #[error("{0} does not compute in 16-bit floats: full precision works everywhere")]
    NoHalf(String),
}
