//! `workload.toml`: what a user says of the traffic, the models and the strategies, for `training advise`.
//! Reading and checking only; what follows from it is worked out in `advice`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;
use types::{ModelName, ModelPair};

/// Why a workload was refused.
#[derive(Debug, Error)]
pub enum WorkloadError {
    /// The file could not be read.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what it should be; the text names key and line.
    #[error("{}: {reason}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Key, line and expectation.
        reason: String,
    },
    /// A number out of its range.
    #[error("{}: {key} is {value}, expected {expected}", file.display())]
    Impossible {
        /// The file.
        file: PathBuf,
        /// The key.
        key: &'static str,
        /// What was given.
        value: f64,
        /// What is possible.
        expected: &'static str,
    },
}

/// A described workload.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// The dearer model, as `prices.toml` spells it.
    pub strong: String,
    /// The cheaper model.
    pub weak: String,
    /// Traffic.
    pub requests_per_day: f64,
    /// What a correct answer is worth; without, only the quality floor speaks for quality.
    #[serde(default)]
    pub value_per_correct_usd: f64,
    /// Share of strong's quality that must be kept.
    #[serde(default = "quality_floor")]
    pub quality_floor: f64,
    /// The p99 of a request's latency must not exceed this.
    pub max_latency_p99_s: Option<f64>,
    /// Mean scores of the models alone.
    pub quality: Quality,
    /// Routing before the answer.
    pub predictive: Option<Predictive>,
    /// Escalating after the answer.
    pub cascade: Option<Cascade>,
    /// Routing by intent.
    pub semantic: Option<Semantic>,
}

fn quality_floor() -> f64 {
    0.95
}

/// Mean scores in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// Of strong for every request.
    pub strong: f64,
    /// Of weak for every request.
    pub weak: f64,
}

/// What `training threshold` or `training evaluate` measured at an operating point.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predictive {
    /// Share of the requests that go strong.
    pub strong_call_rate: f64,
    /// Mean score of the models they go to.
    pub quality: f64,
    /// Time of a decision.
    #[serde(default)]
    pub decision_s: f64,
}

/// A chain of at least two models.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cascade {
    /// Mean score of the answers that are accepted in the end.
    pub quality: f64,
    /// First stage first.
    pub stages: Vec<CascadeStage>,
}

/// One model of a chain with the verifier behind it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CascadeStage {
    /// As `prices.toml` spells it.
    pub model: String,
    /// Share of its answers that are sent on; of the last stage none is.
    #[serde(default)]
    pub escalation_rate: f64,
    /// Judging an answer.
    #[serde(default)]
    pub verifier_usd: f64,
    /// Time of that.
    #[serde(default)]
    pub verifier_s: f64,
}

/// Requests of known intents go to weak, the rest to strong.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Semantic {
    /// Share of the requests that match a route which weak handles.
    pub matched_share: f64,
    /// Mean score over all requests.
    pub quality: f64,
    /// Matching a request.
    #[serde(default)]
    pub decision_usd: f64,
    /// Time of that.
    #[serde(default)]
    pub decision_s: f64,
}

impl Workload {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// When it cannot be read, a key is missing, unknown or of the wrong type, or a number is impossible.
    pub fn read(file: &Path) -> Result<Self, WorkloadError> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| WorkloadError::Io { file: file.to_owned(), source })?;
        let workload: Self = toml::from_str(&text)
            .map_err(|e| WorkloadError::Malformed { file: file.to_owned(), reason: e.to_string() })?;
        let bad =
            |key, value, expected| WorkloadError::Impossible { file: file.to_owned(), key, value, expected };
        let impossible = workload.shares().into_iter().find(|(_, share)| !(0.0..=1.0).contains(share));
        if let Some((key, value)) = impossible {
            return Err(bad(key, value, "a share in [0, 1]"));
        }
        let negative =
            workload.amounts().into_iter().find(|(_, amount)| !(amount.is_finite() && *amount >= 0.0));
        if let Some((key, value)) = negative {
            return Err(bad(key, value, "a finite number of at least 0"));
        }
        if workload.cascade.as_ref().is_some_and(|c| c.stages.len() < 2) {
            return Err(bad("cascade.stages", 1.0, "at least two stages"));
        }
        workload.pair().map_err(|reason| WorkloadError::Malformed { file: file.to_owned(), reason })?;
        Ok(workload)
    }

    /// The two models.
    ///
    /// # Errors
    /// In words, when a name is empty or both are the same.
    pub fn pair(&self) -> Result<ModelPair, String> {
        let name = |key: &str, name: &str| ModelName::new(name).map_err(|e| format!("{key}: {e}"));
        ModelPair::new(name("strong", &self.strong)?, name("weak", &self.weak)?).map_err(|e| e.to_string())
    }

    fn shares(&self) -> Vec<(&'static str, f64)> {
        let mut all = vec![("quality.strong", self.quality.strong), ("quality.weak", self.quality.weak)];
        if let Some(p) = &self.predictive {
            all.extend([
                ("predictive.strong_call_rate", p.strong_call_rate),
                ("predictive.quality", p.quality),
            ]);
        }
        if let Some(c) = &self.cascade {
            all.push(("cascade.quality", c.quality));
            all.extend(c.stages.iter().map(|s| ("cascade.stages.escalation_rate", s.escalation_rate)));
        }
        if let Some(s) = &self.semantic {
            all.extend([("semantic.matched_share", s.matched_share), ("semantic.quality", s.quality)]);
        }
        all
    }

    fn amounts(&self) -> Vec<(&'static str, f64)> {
        let mut all = vec![
            ("requests_per_day", self.requests_per_day),
            ("value_per_correct_usd", self.value_per_correct_usd),
            ("quality_floor", self.quality_floor),
            ("max_latency_p99_s", self.max_latency_p99_s.unwrap_or(0.0)),
        ];
        all.extend(self.predictive.iter().map(|p| ("predictive.decision_s", p.decision_s)));
        for stage in self.cascade.iter().flat_map(|c| &c.stages) {
            all.extend([
                ("cascade.stages.verifier_usd", stage.verifier_usd),
                ("cascade.stages.verifier_s", stage.verifier_s),
            ]);
        }
        if let Some(s) = &self.semantic {
            all.extend([("semantic.decision_usd", s.decision_usd), ("semantic.decision_s", s.decision_s)]);
        }
        all
    }
}
