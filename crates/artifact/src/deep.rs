//! The deep tier of an artifact: an encoder, a classifier over its vector, and for each pair how fast and deep
//! score are stacked, calibrated as one, and how far the result may lie from the fast tier's probability.

use std::sync::Arc;

use calibration::{Band, Calibrated};
use classifier::{Backend, BackendError, Classifier, Scratch};
use encoder::{Encoder, EncoderError, EncoderFiles, EncoderOptions, EngineKind, encoder_text};
use types::{ModelPair, Query, Score, WinProbability};

use crate::PairCalibrator;

/// How the deep tier reads one pair.
#[derive(Debug, Clone, PartialEq)]
pub struct DeepPair {
    /// Weights of the fast and of the deep win score; their sum is what the calibrator maps.
    pub stack: [f64; 2],
    /// Where the deep probability is expected around the fast one.
    pub band: Band,
    /// Of the stacked score.
    pub calibrator: PairCalibrator,
}

/// Encoder, classifier and pairs.
#[derive(Debug)]
pub struct DeepTier {
    encoder: Arc<Encoder>,
    files: Arc<EncoderFiles>,
    classifier: Classifier,
    pairs: Vec<DeepPair>,
}

impl DeepTier {
    /// Puts trained parts together; `encoder` is the one read from `files`.
    pub fn new(encoder: Encoder, files: EncoderFiles, classifier: Classifier, pairs: Vec<DeepPair>) -> Self {
        Self { encoder: Arc::new(encoder), files: Arc::new(files), classifier, pairs }
    }

    /// The encoder; shared, so that threads of its own may hold it.
    pub fn encoder(&self) -> &Arc<Encoder> {
        &self.encoder
    }

    /// The files it was read from.
    pub fn files(&self) -> &Arc<EncoderFiles> {
        &self.files
    }

    /// The classifier over features and the encoder's vector.
    pub fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// How each pair is read.
    pub fn pairs(&self) -> &[DeepPair] {
        &self.pairs
    }

    /// How a pair is read; `None` where the deep tier does not know it: the fast tier decides alone.
    pub fn pair(&self, pair: &ModelPair) -> Option<&DeepPair> {
        self.pairs.iter().find(|p| p.calibrator.pair == *pair)
    }

    /// The vector of a query.
    ///
    /// # Errors
    /// When the tokenizer fails on its text.
    pub fn vector(&self, query: &Query) -> Result<Vec<f32>, EncoderError> {
        Ok(self.encoder.embed(&self.encoder.tokens().ids(&encoder_text(query))?))
    }

    /// Reads a query with its vector into `scratch`, which is one of [`DeepTier::classifier`].
    pub fn read(&self, query: &Query, vector: &[f32], scratch: &mut Scratch) {
        self.classifier.read_embedded(query, vector, scratch);
    }

    /// The stacked score of a pair for the query read last, given the fast tier's score of it.
    pub fn score(&self, pair: &DeepPair, fast: Score, scratch: &Scratch) -> Option<Score> {
        let deep = self.classifier.win_score(scratch, &pair.calibrator.pair)?;
        stacked(pair.stack, fast, deep)
    }

    /// The calibrated probability of that score.
    pub fn calibrated<'a>(
        &self,
        pair: &DeepPair,
        fast: Score,
        scratch: &Scratch,
        slices: impl IntoIterator<Item = &'a str>,
    ) -> Option<Calibrated> {
        let score = self.score(pair, fast, scratch)?;
        Some(pair.calibrator.calibrator.apply(score, pair.calibrator.slices.of(slices)))
    }
}

impl DeepPair {
    /// What thresholds of the two tiers together compare with: the deep probability, held within the band around
    /// the fast one.
    ///
    /// The encoder runs only where the band straddles the threshold, so the decision is the fast tier's below
    /// and above the band and the deep tier's inside: the same as comparing this one number with the threshold,
    /// whatever the threshold is.
    pub fn held(&self, fast: WinProbability, deep: WinProbability) -> WinProbability {
        self.band.hold(fast, deep)
    }
}

/// A weighted sum of the tiers' scores.
pub fn stacked(stack: [f64; 2], fast: Score, deep: Score) -> Option<Score> {
    Score::new(stack[0] * fast.logit() + stack[1] * deep.logit()).ok()
}

/// How wide the floats are that an encoder on a GPU computes in; what it hands out is 32 bits wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EncoderPrecision {
    /// 16 bits where that pays ([`Backend::half_pays`]), else 32.
    #[default]
    Auto,
    /// 32 bits.
    Full,
    /// 16 bits.
    Half,
}

impl EncoderPrecision {
    /// Parses `auto`, `full` or `half`; `None` for any other text.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "full" => Some(Self::Full),
            "half" => Some(Self::Half),
            _ => None,
        }
    }
}

/// Where an encoder computes, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EncoderPlace {
    /// Where.
    pub backend: Backend,
    /// In which floats, where that is a GPU.
    pub precision: EncoderPrecision,
}

impl From<Backend> for EncoderPlace {
    fn from(backend: Backend) -> Self {
        Self { backend, precision: EncoderPrecision::Auto }
    }
}

/// Reads an encoder on the engine that serves a place: 8 bits on the CPU where the build and the processor have
/// them, burn everywhere else.
///
/// # Errors
/// When the files are refused, or the backend or half precision on it is not to be had.
pub fn read_encoder(
    files: &EncoderFiles,
    options: &EncoderOptions,
    place: EncoderPlace,
) -> Result<Encoder, ReadEncoderError> {
    let EncoderPlace { backend, precision } = place;
    let half = match precision {
        EncoderPrecision::Full => false,
        EncoderPrecision::Auto => backend.half_pays()?,
        EncoderPrecision::Half if backend.is_gpu() => true,
        EncoderPrecision::Half => return Err(EncoderError::NoHalf(backend.to_string()).into()),
    };
    if backend == Backend::Flex {
        match Encoder::read(files, options, &EngineKind::Int8) {
            Err(EncoderError::NoInt8(_)) => {}
            read => return Ok(read?),
        }
    }
    let device = backend.device()?;
    let kind = if half { EngineKind::BurnHalf(device) } else { EngineKind::Burn(device) };
    Ok(Encoder::read(files, options, &kind)?)
}

/// Why an encoder could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadEncoderError {
    /// A file was refused, or its engine is not to be had.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The backend is not to be had.
    #[error(transparent)]
    Backend(#[from] BackendError),
}
