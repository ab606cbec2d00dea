//! `prices.toml`: what the user pays, with the date it was true. Nothing is priced in code, and the text is read by
//! whoever has the file.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Deserialize;
use thiserror::Error;

use crate::error::amount;
use crate::{CacheUse, Call, EconomicsError, Price, Upkeep};

/// Why prices were refused.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PricesError {
    /// The file is not what it should be; the text names key and line.
    #[error("{file}: {reason}")]
    Malformed {
        /// The file, as the caller named it.
        file: String,
        /// Key, line and expectation.
        reason: String,
    },
    /// A model without a price.
    #[error("{file}: no price for {model}: add [models.{model:?}]; there are {}", known.join(", "))]
    UnknownModel {
        /// The file, as the caller named it.
        file: String,
        /// The model asked for.
        model: String,
        /// The models there are.
        known: Vec<String>,
    },
    /// A number of `[upkeep]` that is impossible.
    #[error("{file}: upkeep: {source}")]
    Upkeep {
        /// The file, as the caller named it.
        file: String,
        /// Field and expectation.
        source: EconomicsError,
    },
    /// A number that is impossible.
    #[error("{file}: model {model}: {source}")]
    Impossible {
        /// The file, as the caller named it.
        file: String,
        /// The model.
        model: String,
        /// Field and expectation.
        source: EconomicsError,
    },
}

/// The user's prices.
#[derive(Debug, Clone)]
pub struct Prices {
    file: String,
    record: PricesRecord,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PricesRecord {
    valid_on: Date,
    call: CallRecord,
    models: BTreeMap<String, ModelRecord>,
    #[serde(default)]
    upkeep: Option<UpkeepRecord>,
}

/// What routing itself costs.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct UpkeepRecord {
    monthly_usd: f64,
    setup_usd: f64,
    router_usd_per_request: f64,
}

/// A typical call, in tokens of one reference tokenizer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct CallRecord {
    input_tokens: f64,
    output_tokens: f64,
    #[serde(default)]
    cached_prefix_share: f64,
    #[serde(default)]
    cache_reads_per_write: f64,
    #[serde(default)]
    batch_share: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelRecord {
    input_usd_per_million_tokens: f64,
    output_usd_per_million_tokens: f64,
    #[serde(default = "one")]
    cache_read_multiplier: f64,
    #[serde(default = "one")]
    cache_write_multiplier: f64,
    #[serde(default = "one")]
    batch_multiplier: f64,
    #[serde(default = "one")]
    tokenizer_inflation: f64,
    #[serde(default = "one")]
    verbosity: f64,
    #[serde(default)]
    reasoning_per_output_token: f64,
    /// Seconds a call takes, for the latency of strategies.
    latency_s: Option<f64>,
}

impl UpkeepRecord {
    fn check(&self) -> Result<(), EconomicsError> {
        amount("monthly_usd", self.monthly_usd)?;
        amount("setup_usd", self.setup_usd)?;
        amount("router_usd_per_request", self.router_usd_per_request)?;
        Ok(())
    }
}

fn one() -> f64 {
    1.0
}

impl Prices {
    /// Reads the text of a file, which errors call `file`.
    ///
    /// # Errors
    /// When a key is missing, unknown or of the wrong type, or an upkeep is no amount.
    pub fn parse(file: &str, text: &str) -> Result<Self, PricesError> {
        let malformed =
            |e: toml::de::Error| PricesError::Malformed { file: file.to_owned(), reason: e.to_string() };
        let record: PricesRecord = toml::from_str(text).map_err(malformed)?;
        if let Some(upkeep) = &record.upkeep {
            upkeep.check().map_err(|source| PricesError::Upkeep { file: file.to_owned(), source })?;
        }
        Ok(Self { file: file.to_owned(), record })
    }

    /// The models that have a price, by name.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.record.models.keys().map(String::as_str)
    }

    /// The day on which the prices were true.
    pub fn valid_on(&self) -> Date {
        self.record.valid_on
    }

    /// Effective price of a typical call of one model, in US dollars, with `traffic_share` of the traffic
    /// (a model that gets half of it finds less of the prefix cache warm).
    ///
    /// # Errors
    /// When the model has no price or a number is impossible.
    pub fn call_usd(&self, model: &str, traffic_share: f64) -> Result<f64, PricesError> {
        let CallRecord { input_tokens, output_tokens, .. } = self.record.call;
        self.usd(model, traffic_share, (input_tokens, output_tokens), self.model(model)?.verbosity)
    }

    /// Effective price of one call whose answer is there: what it wrote is known, so the model's verbosity is not
    /// counted again. Tokens are those of the reference tokenizer.
    ///
    /// # Errors
    /// As [`Self::call_usd`].
    pub fn answer_usd(&self, model: &str, input_tokens: f64, output_tokens: f64) -> Result<f64, PricesError> {
        self.usd(model, 1.0, (input_tokens, output_tokens), 1.0)
    }

    fn usd(
        &self,
        model: &str,
        traffic_share: f64,
        (input_tokens, output_tokens): (f64, f64),
        verbosity: f64,
    ) -> Result<f64, PricesError> {
        let ModelRecord {
            input_usd_per_million_tokens,
            output_usd_per_million_tokens,
            cache_read_multiplier,
            cache_write_multiplier,
            batch_multiplier,
            tokenizer_inflation,
            reasoning_per_output_token,
            ..
        } = *self.model(model)?;
        let price = Price {
            input_usd_per_million_tokens,
            output_usd_per_million_tokens,
            cache_read_multiplier,
            cache_write_multiplier,
            batch_multiplier,
        };
        let of = &self.record.call;
        let whole =
            CacheUse { prefix_share: of.cached_prefix_share, reads_per_write: of.cache_reads_per_write };
        let cost = whole.split(traffic_share).and_then(|cache| {
            let call = Call {
                tokenizer_inflation,
                verbosity,
                reasoning_per_output_token,
                cache,
                batch_share: of.batch_share,
                ..Call::plain(input_tokens, output_tokens)
            };
            call.cost_usd(&price)
        });
        cost.map_err(|source| self.impossible(model, source))
    }

    /// What routing itself costs, fixed and for each request, where the file says so.
    pub fn upkeep(&self) -> Option<(Upkeep, f64)> {
        let UpkeepRecord { monthly_usd, setup_usd, router_usd_per_request } = self.record.upkeep?;
        Some((Upkeep { monthly_usd, setup_usd }, router_usd_per_request))
    }

    /// Seconds a call of the model takes, as the file has it; none where it does not say.
    ///
    /// # Errors
    /// When the model is not in the file, or that is no time.
    pub fn latency_s(&self, model: &str) -> Result<Option<f64>, PricesError> {
        let latency_s = self.model(model)?.latency_s.map(|seconds| amount("latency_s", seconds));
        latency_s.transpose().map_err(|source| self.impossible(model, source))
    }

    fn impossible(&self, model: &str, source: EconomicsError) -> PricesError {
        PricesError::Impossible { file: self.file.clone(), model: model.to_owned(), source }
    }

    fn model(&self, model: &str) -> Result<&ModelRecord, PricesError> {
        let models = &self.record.models;
        models.get(model).ok_or_else(|| PricesError::UnknownModel {
            file: self.file.clone(),
            model: model.to_owned(),
            known: models.keys().cloned().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices(text: &str) -> Result<Prices, PricesError> {
        Prices::parse("prices.toml", text)
    }

    const TEXT: &str = "
valid_on = \"2026-11-01\"
[call]
input_tokens = 2000
output_tokens = 400
[models.big]
input_usd_per_million_tokens = 1
output_usd_per_million_tokens = 5
[models.small]
input_usd_per_million_tokens = 0.1
output_usd_per_million_tokens = 0.4
";

    #[test]
    fn prices_are_read_and_mistakes_named() {
        let read = prices(TEXT).unwrap();
        let (big, small) = (read.call_usd("big", 1.0).unwrap(), read.call_usd("small", 1.0).unwrap());
        assert!((big - 0.004).abs() < 1e-12 && (small - 0.00036).abs() < 1e-12);
        assert_eq!(read.models().collect::<Vec<_>>(), ["big", "small"]);
        assert_eq!(read.valid_on().to_string(), "2026-11-01");
        let error = read.call_usd("huge", 1.0).unwrap_err().to_string();
        assert!(error.contains("prices.toml: no price for huge") && error.contains("big, small"), "{error}");
        let error = prices(&TEXT.replace("[call]", "[call]\nfee = 3")).unwrap_err().to_string();
        assert!(error.contains("fee") && error.contains("line"), "{error}");
        let error = prices(&TEXT.replace("valid_on = \"2026-11-01\"", "")).unwrap_err().to_string();
        assert!(error.contains("valid_on"), "{error}");
        let negative = prices(&TEXT.replace("= 0.4", "= -0.4")).unwrap();
        let error = negative.call_usd("small", 1.0).unwrap_err().to_string();
        assert!(error.contains("model small: output_usd_per_million_tokens is -0.4"), "{error}");
        let endless = prices(&TEXT.replace("= 0.4", "= 1e308\nverbosity = 1e9\nlatency_s = -1")).unwrap();
        let error = endless.call_usd("small", 1.0).unwrap_err().to_string();
        assert!(error.contains("model small: cost of a call is inf"), "{error}");
        let error = endless.latency_s("small").unwrap_err().to_string();
        assert!(error.contains("model small: latency_s is -1"), "{error}");
        let upkeep = "[upkeep]\nmonthly_usd = nan\nsetup_usd = 0\nrouter_usd_per_request = 0\n";
        let error = prices(&format!("{TEXT}{upkeep}")).unwrap_err().to_string();
        assert!(error.contains("prices.toml: upkeep: monthly_usd is NaN"), "{error}");
    }
}
