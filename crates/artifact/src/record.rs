//! Stored forms of domain values and the way back. Domain types know no storage format.

use calibration::{CalibrationError, PlattScaling};
use classifier::NetworkConfig;
use features::FeatureConfig;
use serde::{Deserialize, Serialize};
use types::{ModelError, ModelName, ModelPair};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PairRecord {
    pub(crate) strong: String,
    pub(crate) weak: String,
}

impl From<&ModelPair> for PairRecord {
    fn from(pair: &ModelPair) -> Self {
        Self { strong: pair.strong().as_str().to_owned(), weak: pair.weak().as_str().to_owned() }
    }
}

impl PairRecord {
    pub(crate) fn pair(&self) -> Result<ModelPair, ModelError> {
        ModelPair::new(ModelName::new(&self.strong)?, ModelName::new(&self.weak)?)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NetworkRecord {
    token_bits: u32,
    head_tokens: usize,
    tail_tokens: usize,
    latent: usize,
    token_dim: usize,
    hidden: usize,
    dropout: f64,
}

impl From<&NetworkConfig> for NetworkRecord {
    fn from(config: &NetworkConfig) -> Self {
        let FeatureConfig { token_bits, head_tokens, tail_tokens } = config.features;
        let NetworkConfig { latent, token_dim, hidden, dropout, .. } = *config;
        Self { token_bits, head_tokens, tail_tokens, latent, token_dim, hidden, dropout }
    }
}

impl NetworkRecord {
    /// The configuration, or the field that no network can have.
    pub(crate) fn config(&self) -> Result<NetworkConfig, &'static str> {
        let table = 8..=24;
        if !table.contains(&self.token_bits) {
            return Err("token_bits: expected 8 to 24");
        }
        let sizes = [self.latent, self.token_dim, self.hidden, self.head_tokens];
        if sizes.iter().any(|s| !(1..=1 << 16).contains(s)) || self.tail_tokens > 1 << 16 {
            return Err("latent, token_dim, hidden, head_tokens, tail_tokens: expected 1 to 65536");
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err("dropout: expected [0, 1)");
        }
        let features = FeatureConfig {
            token_bits: self.token_bits,
            head_tokens: self.head_tokens,
            tail_tokens: self.tail_tokens,
        };
        let Self { latent, token_dim, hidden, dropout, .. } = *self;
        Ok(NetworkConfig { features, latent, token_dim, hidden, dropout })
    }
}

/// `calibrator.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CalibratorRecord {
    pub(crate) method: Method,
    pub(crate) maps: Vec<MapRecord>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Method {
    Platt,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MapRecord {
    pub(crate) pair: PairRecord,
    pub(crate) slope: f64,
    pub(crate) intercept: f64,
    /// Rows behind the map and how many of them strong won.
    pub(crate) rows: usize,
    pub(crate) positives: usize,
    /// Folds of the cross-fit whose held-out scores were used; 0: a held-out split.
    pub(crate) cross_fit_folds: usize,
}

impl MapRecord {
    pub(crate) fn map(&self) -> Result<PlattScaling, CalibrationError> {
        PlattScaling::new(self.slope, self.intercept)
    }
}

/// `probes.json`: fixed queries with the probability each calibrated pair gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProbeRecord {
    /// By pair in the order of `calibrator.json`, then by query.
    pub(crate) win_probabilities: Vec<Vec<f64>>,
}
