//! Stored forms of domain values and the way back. Domain types know no storage format.

use std::collections::BTreeMap;

use calibration::{
    Adjustment, BetaCalibration, Bounds, CalibrationError, Calibrator, Knot, Map, PiecewiseLinear,
    PlattScaling, TemperatureScaling, VennAbers,
};
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
    /// Length of the encoder's vector; 0: none.
    embedding: usize,
}

impl From<&NetworkConfig> for NetworkRecord {
    fn from(config: &NetworkConfig) -> Self {
        let FeatureConfig { token_bits, head_tokens, tail_tokens } = config.features;
        let NetworkConfig { latent, token_dim, hidden, dropout, embedding, .. } = *config;
        Self { token_bits, head_tokens, tail_tokens, latent, token_dim, hidden, dropout, embedding }
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
        if sizes.iter().any(|s| !(1..=1 << 16).contains(s)) || self.tail_tokens.max(self.embedding) > 1 << 16
        {
            return Err(
                "latent, token_dim, hidden, head_tokens, tail_tokens, embedding: expected at most 65536",
            );
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err("dropout: expected [0, 1)");
        }
        let features = FeatureConfig {
            token_bits: self.token_bits,
            head_tokens: self.head_tokens,
            tail_tokens: self.tail_tokens,
        };
        let Self { latent, token_dim, hidden, dropout, embedding, .. } = *self;
        Ok(NetworkConfig { features, latent, token_dim, hidden, dropout, embedding })
    }
}

/// `calibrator.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CalibratorRecord {
    pub(crate) calibrators: Vec<PairCalibratorRecord>,
    /// Of the deep tier, where there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) deep: Vec<DeepPairRecord>,
}

/// How the deep tier reads one pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeepPairRecord {
    /// Weights of the fast and of the deep score in the stacked one.
    pub(crate) stack: [f64; 2],
    /// Offsets of the band around the fast probability's logit.
    pub(crate) band: [f64; 2],
    /// Of the stacked score.
    pub(crate) calibrator: PairCalibratorRecord,
}

/// One pair's calibrator and the rows behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PairCalibratorRecord {
    pub(crate) pair: PairRecord,
    pub(crate) map: MapRecord,
    pub(crate) venn_abers: StepsRecord,
    /// Slope and intercept on the calibrated logit, where outcomes since the fit have moved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) adjustment: Option<[f64; 2]>,
    /// Corrections on the logit by slice.
    pub(crate) slices: BTreeMap<String, f64>,
    /// Cross-validated log loss of each method that was tried.
    pub(crate) log_losses: BTreeMap<String, f64>,
    /// Rows behind the map and how many of them strong won.
    pub(crate) rows: usize,
    pub(crate) positives: usize,
    /// Folds of the cross-fit whose held-out scores were used; 0: a held-out split.
    pub(crate) cross_fit_folds: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum MapRecord {
    Platt { slope: f64, intercept: f64 },
    Temperature { beta: f64 },
    Beta { a: f64, b: f64, c: f64 },
    Isotonic { knots: Vec<(f64, f64)>, rows: usize },
    CentredIsotonic { knots: Vec<(f64, f64)>, rows: usize },
    VennAbers,
}

impl From<&Map> for MapRecord {
    fn from(map: &Map) -> Self {
        match map {
            Map::Platt(map) => Self::Platt { slope: map.slope(), intercept: map.intercept() },
            Map::Temperature(map) => Self::Temperature { beta: map.beta() },
            Map::Beta(map) => {
                let [a, b, c] = map.parameters();
                Self::Beta { a, b, c }
            }
            Map::Isotonic(map) => Self::Isotonic { knots: map.knots().to_vec(), rows: map.rows() },
            Map::CentredIsotonic(map) => {
                Self::CentredIsotonic { knots: map.knots().to_vec(), rows: map.rows() }
            }
            Map::VennAbers => Self::VennAbers,
        }
    }
}

impl MapRecord {
    pub(crate) fn map(self) -> Result<Map, CalibrationError> {
        Ok(match self {
            Self::Platt { slope, intercept } => Map::Platt(PlattScaling::new(slope, intercept)?),
            Self::Temperature { beta } => Map::Temperature(TemperatureScaling::new(beta)?),
            Self::Beta { a, b, c } => Map::Beta(BetaCalibration::new(a, b, c)?),
            Self::Isotonic { knots, rows } => Map::Isotonic(PiecewiseLinear::new(knots, rows)?),
            Self::CentredIsotonic { knots, rows } => Map::CentredIsotonic(PiecewiseLinear::new(knots, rows)?),
            Self::VennAbers => Map::VennAbers,
        })
    }
}

/// The Venn-Abers bounds: `[lower, upper]` below the first knot, then
/// `[score, lower at, upper at, lower above, upper above]` for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepsRecord {
    below: [f64; 2],
    knots: Vec<[f64; 5]>,
}

impl From<&VennAbers> for StepsRecord {
    fn from(steps: &VennAbers) -> Self {
        let below = steps.below();
        let knot = |k: &Knot| [k.score, k.at.lower, k.at.upper, k.above.lower, k.above.upper];
        Self { below: [below.lower, below.upper], knots: steps.knots().iter().map(knot).collect() }
    }
}

impl StepsRecord {
    pub(crate) fn steps(&self) -> Result<VennAbers, CalibrationError> {
        let bounds = |lower, upper| Bounds { lower, upper };
        let knot = |k: &[f64; 5]| Knot { score: k[0], at: bounds(k[1], k[2]), above: bounds(k[3], k[4]) };
        VennAbers::new(bounds(self.below[0], self.below[1]), self.knots.iter().map(knot).collect())
    }
}

impl PairCalibratorRecord {
    /// The calibrator without its pair, which has errors of its own.
    pub(crate) fn calibrator(&self) -> Result<Calibrator, CalibrationError> {
        let fitted = Calibrator::new(self.map.clone().map()?, self.venn_abers.steps()?);
        match self.adjustment {
            None => Ok(fitted),
            Some([slope, intercept]) => fitted.adjusted(Adjustment::new(slope, intercept)?),
        }
    }
}

/// `probes.json`: fixed queries with the probability each calibrated pair gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProbeRecord {
    /// By pair in the order of `calibrator.json`, then by query.
    pub(crate) win_probabilities: Vec<Vec<f64>>,
    /// The same of the deep tier, where there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) deep: Vec<Vec<f64>>,
}
