//! The encoder of the deep tier: a BERT-family transformer from text to a vector of its meaning.
//!
//! Public checkpoints (safetensors, `tokenizer.json`, `config.json`) are read as they are; layers can be
//! cut, the token budget set, the pooling chosen. The burn module is the reference on every backend and what
//! training moves; the 8-bit engine (cargo feature `int8`) serves the same weights faster on a CPU. Vectors
//! only: what they say about difficulty is learned in `classifier`. Nothing here touches a file or a network.

mod calls;
mod config;
mod encoder;
mod error;
#[cfg(feature = "int8")]
mod int8;
mod many;
mod network;
mod text;
mod tokens;
mod weights;

pub use config::{EncoderConfig, EncoderOptions, Pooling, Shape, TunedOn};
pub use encoder::{Encoder, EncoderFiles, EngineKind};
pub use error::EncoderError;
pub use many::on_this_thread;
pub use network::{Bert, Block, Ids, Top};
pub use text::encoder_text;
pub use tokens::Tokens;
pub use weights::Precision;
