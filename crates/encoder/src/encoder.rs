//! An encoder ready to use: text in, vector out, on the engine chosen.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, FloatDType, Tensor};

use crate::calls::{MOST_TOKENS, calls};
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
    /// The same with weights and activations of 16 bits, sums and normalisation of 32: for GPUs that compute in
    /// them.
    BurnHalf(Device),
    /// The 8-bit CPU engine, one thread per call.
    Int8,
}

/// An engine with its weights.
#[derive(Debug)]
enum Engine {
    /// The burn module, where it lives, and whether its weights are halves.
    Burn { bert: Box<Bert>, device: Device, half: bool },
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
    /// When a file is refused; it is named with what was expected. [`EncoderError::NoInt8`] or
    /// [`EncoderError::NoHalf`] when that engine is asked for and not to be had.
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
                let bert = Box::new(weights.bert(&config, device)?);
                Engine::Burn { bert, device: device.clone(), half: false }
            }
            EngineKind::BurnHalf(device) if !device.supports_dtype(FloatDType::F16) => {
                return Err(EncoderError::NoHalf(format!("{device:?}")));
            }
            EngineKind::BurnHalf(device) => {
                let bert = Box::new(weights.bert(&config, device)?.map(&mut ToHalf));
                Engine::Burn { bert, device: device.clone(), half: true }
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
        Ok(Self { config, tokens, engine: Engine::Burn { bert: Box::new(bert), device, half: false } })
    }

    /// The burn module of 32 bits and where it lives; `None` on any other engine.
    pub fn bert(&self) -> Option<(&Bert, &Device)> {
        match &self.engine {
            Engine::Burn { bert, device, half: false } => Some((bert, device)),
            Engine::Burn { half: true, .. } => None,
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
            Engine::Burn { device, half: false, .. } => format!("burn on {device:?}"),
            Engine::Burn { device, half: true, .. } => format!("burn in 16 bits on {device:?}"),
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

    /// The vectors of several texts' ids, in their order. On burn, rows shorter than the longest beside them are
    /// padded and masked: they differ from [`Encoder::embed`] by rounding. The 8-bit engine gives the same bits
    /// either way.
    ///
    /// However many the rows, a device is given at most 8,192 tokens at once, padding counted: that bounds its
    /// memory (docs/experiments.md, "Batches on a GPU").
    pub fn embed_batch(&self, rows: &[&[u32]]) -> Vec<Vec<f32>> {
        match &self.engine {
            Engine::Burn { bert, device, .. } => {
                let lengths: Vec<usize> = rows.iter().map(|ids| ids.len()).collect();
                let mut vectors = vec![Vec::new(); rows.len()];
                for call in calls(&lengths, MOST_TOKENS) {
                    let ids: Vec<&[u32]> = call.iter().map(|row| rows[*row]).collect();
                    let found =
                        bert.forward(&Ids::new(&ids, device), self.config.shape.heads, self.config.pooling);
                    let flat: Vec<f32> = found.into_data().iter::<f32>().collect();
                    for (row, vector) in call.iter().zip(flat.chunks(self.width())) {
                        vectors[*row] = vector.to_vec();
                    }
                }
                vectors
            }
            #[cfg(feature = "int8")]
            Engine::Int8(bert) => rows.iter().map(|ids| bert.embed(ids)).collect(),
        }
    }

    /// Gives memory that a device keeps for reuse back to it; what the weights lie in stays.
    pub fn release_memory(&self) {
        if let Engine::Burn { device, .. } = &self.engine {
            device.memory_cleanup();
        }
    }

    /// Bytes its device has reserved in this process, weights and room for activations; `None` where it does not
    /// say.
    pub fn reserved_bytes(&self) -> Option<u64> {
        match &self.engine {
            Engine::Burn { device, .. } => Some(device.memory_pool_usage()?.bytes_reserved),
            #[cfg(feature = "int8")]
            Engine::Int8(_) => None,
        }
    }

    /// The files of this encoder with its options written into the configuration; `None` on the engines that
    /// round what they read, whose files are those they were read from.
    ///
    /// # Errors
    /// When a tensor cannot be read back or a file not written.
    pub fn to_files(&self, precision: Precision) -> Result<Option<EncoderFiles>, EncoderError> {
        match &self.engine {
            Engine::Burn { bert, half: false, .. } => Ok(Some(EncoderFiles {
                config: self.config.to_json()?,
                tokenizer: self.tokens.to_json()?,
                weights: weights::to_bytes(bert, &self.config, precision)?,
            })),
            Engine::Burn { half: true, .. } => Ok(None),
            #[cfg(feature = "int8")]
            Engine::Int8(_) => Ok(None),
        }
    }
}

/// Rounds every weight to 16 bits.
struct ToHalf;

impl ModuleMapper for ToHalf {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.cast(FloatDType::F16))
    }
}
