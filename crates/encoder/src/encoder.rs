//! An encoder ready to use: text in, vector out, on the engine chosen.

use burn::tensor::Device;

use crate::weights::{self, Weights};
use crate::{Bert, EncoderConfig, EncoderError, EncoderOptions, Ids, Precision, Tokens};

/// The three files of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderFiles {
    /// `config.json`.
    pub config: Vec<u8>,
    /// `tokenizer.json`.
    pub tokenizer: Vec<u8>,
    /// `model.safetensors`.
    pub weights: Vec<u8>,
}

/// Which engine computes the vectors.
#[derive(Debug, Clone)]
pub enum EngineKind {
    /// The burn module on a device: the reference.
    Burn(Device),
    /// The 8-bit CPU engine, one thread per call.
    Int8,
}

/// An engine with its weights.
#[derive(Debug)]
pub enum Engine {
    /// The burn module and where it lives.
    Burn(Box<Bert>, Device),
    /// The 8-bit engine.
    #[cfg(feature = "int8")]
    Int8(Box<crate::int8::Int8Bert>),
}

/// Text → vector.
#[derive(Debug)]
pub struct Encoder {
    config: EncoderConfig,
    tokens: Tokens,
    engine: Engine,
}

impl Encoder {
    /// Reads a checkpoint with options on top of what its configuration says.
    ///
    /// # Errors
    /// When a file is refused; it is named with what was expected. [`EncoderError::NoInt8`] when that engine is
    /// asked for and not to be had.
    pub fn read(
        files: &EncoderFiles,
        options: &EncoderOptions,
        kind: &EngineKind,
    ) -> Result<Self, EncoderError> {
        let config = EncoderConfig::read(&files.config, options)?;
        let tokens = Tokens::read(&files.tokenizer, &config)?;
        let weights = Weights::read(&files.weights)?;
        let engine = match kind {
            EngineKind::Burn(device) => {
                Engine::Burn(Box::new(weights.bert(&config, device)?), device.clone())
            }
            #[cfg(feature = "int8")]
            EngineKind::Int8 => Engine::Int8(Box::new(crate::int8::Int8Bert::new(&weights, &config)?)),
            #[cfg(not(feature = "int8"))]
            EngineKind::Int8 => return Err(EncoderError::NoInt8("build with --features int8")),
        };
        Ok(Self { config, tokens, engine })
    }

    /// An encoder of weights that were made here, on the burn engine. `bert` has the shape that `config` states.
    ///
    /// # Errors
    /// When the numbers of the configuration do not fit each other.
    pub fn new(
        config: EncoderConfig,
        tokens: Tokens,
        bert: Bert,
        device: Device,
    ) -> Result<Self, EncoderError> {
        config.check(config.shape.layers)?;
        Ok(Self { config, tokens, engine: Engine::Burn(Box::new(bert), device) })
    }

    /// The burn module and where it lives; `None` on the 8-bit engine.
    pub fn bert(&self) -> Option<(&Bert, &Device)> {
        match &self.engine {
            Engine::Burn(bert, device) => Some((bert, device)),
            #[cfg(feature = "int8")]
            Engine::Int8(_) => None,
        }
    }

    /// Shape and options.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// The tokenizer under its budget.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Engine and shape in a few words.
    pub fn describe(&self) -> String {
        let engine = match &self.engine {
            Engine::Burn(_, device) => format!("burn on {device:?}"),
            #[cfg(feature = "int8")]
            Engine::Int8(bert) => format!("int8 ({})", bert.kernel()),
        };
        let (shape, most) = (&self.config.shape, self.config.head_tokens + self.config.tail_tokens);
        let (layers, hidden) = (shape.layers, shape.hidden);
        format!("{engine}, {layers} layers, {hidden} wide, {most} tokens at most")
    }

    /// Length of the vectors.
    pub fn width(&self) -> usize {
        self.config.shape.hidden
    }

    /// The vector of one text's ids, of length [`Encoder::width`]. Not normalised.
    pub fn embed(&self, ids: &[u32]) -> Vec<f32> {
        self.embed_batch(&[ids]).into_iter().next().unwrap_or_default()
    }

    /// The vectors of several texts' ids. On burn, rows shorter than the longest are padded and masked: they
    /// differ from [`Encoder::embed`] by rounding. The 8-bit engine gives the same bits either way.
    pub fn embed_batch(&self, rows: &[&[u32]]) -> Vec<Vec<f32>> {
        if rows.is_empty() {
            return Vec::new();
        }
        match &self.engine {
            Engine::Burn(bert, device) => {
                let ids = Ids::new(rows, device);
                let vectors = bert.forward(&ids, self.config.shape.heads, self.config.pooling);
                let flat: Vec<f32> = vectors.into_data().iter::<f32>().collect();
                flat.chunks(self.width()).map(<[f32]>::to_vec).collect()
            }
            #[cfg(feature = "int8")]
            Engine::Int8(bert) => rows.iter().map(|ids| bert.embed(ids)).collect(),
        }
    }

    /// The files of this encoder with its options written into the configuration; `None` on the 8-bit engine,
    /// whose files are those it was read from.
    ///
    /// # Errors
    /// When a tensor cannot be read back or a file not written.
    pub fn to_files(&self, precision: Precision) -> Result<Option<EncoderFiles>, EncoderError> {
        match &self.engine {
            Engine::Burn(bert, _) => Ok(Some(EncoderFiles {
                config: self.config.to_json()?,
                tokenizer: self.tokens.to_json()?,
                weights: weights::to_bytes(bert, &self.config, precision)?,
            })),
            #[cfg(feature = "int8")]
            Engine::Int8(_) => Ok(None),
        }
    }
}
