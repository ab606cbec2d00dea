//! The file of the user's prices, from the disk and by model name; what is in it and what follows is for `economics`.

use std::path::{Path, PathBuf};

use economics::Upkeep;
use jiff::civil::Date;
use thiserror::Error;
use types::{ModelName, ModelPair};

/// Why prices were refused.
#[derive(Debug, Error)]
pub enum PricesError {
    /// The file could not be read.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file does not say what it should.
    #[error(transparent)]
    Refused(#[from] economics::PricesError),
}

/// The user's prices.
#[derive(Debug, Clone)]
pub struct Prices(economics::Prices);

/// Effective price of one call of both models of a pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairCost {
    /// Of weak, in US dollars.
    pub weak_usd: f64,
    /// Of strong, in US dollars.
    pub strong_usd: f64,
}

impl Prices {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or a key is missing, unknown or of the wrong type.
    pub fn read(file: &Path) -> Result<Self, PricesError> {
        let io = |source| PricesError::Io { file: file.to_owned(), source };
        let text = std::fs::read_to_string(file).map_err(io)?;
        Ok(Self(economics::Prices::parse(&file.display().to_string(), &text)?))
    }

    /// The day on which the prices were true.
    pub fn valid_on(&self) -> Date {
        self.0.valid_on()
    }

    /// Effective price of a typical call of one model, see [`economics::Prices::call_usd`].
    ///
    /// # Errors
    /// When the model has no price or a number is impossible.
    pub fn call_usd(&self, model: &ModelName, traffic_share: f64) -> Result<f64, PricesError> {
        Ok(self.0.call_usd(model.as_str(), traffic_share)?)
    }

    /// Effective price of one call whose answer is there, see [`economics::Prices::answer_usd`].
    ///
    /// # Errors
    /// As [`Self::call_usd`].
    pub fn answer_usd(
        &self,
        model: &ModelName,
        input_tokens: f64,
        output_tokens: f64,
    ) -> Result<f64, PricesError> {
        Ok(self.0.answer_usd(model.as_str(), input_tokens, output_tokens)?)
    }

    /// Both models of a pair, each with an undivided cache.
    ///
    /// # Errors
    /// As [`Self::call_usd`].
    pub fn pair(&self, pair: &ModelPair) -> Result<PairCost, PricesError> {
        Ok(PairCost {
            weak_usd: self.call_usd(pair.weak(), 1.0)?,
            strong_usd: self.call_usd(pair.strong(), 1.0)?,
        })
    }

    /// What routing itself costs, fixed and for each request, where the file says so.
    pub fn upkeep(&self) -> Option<(Upkeep, f64)> {
        self.0.upkeep()
    }

    /// Seconds a call of the model takes, as the file has it; none where it does not say.
    ///
    /// # Errors
    /// When the model is not in the file.
    pub fn latency_s(&self, model: &ModelName) -> Result<Option<f64>, PricesError> {
        Ok(self.0.latency_s(model.as_str())?)
    }
}
