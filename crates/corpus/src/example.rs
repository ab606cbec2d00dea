//! One row of evidence: a query and what happened when models answered it.
//! Shape and validity only; files and formats are read by `read`.

use std::collections::BTreeMap;

use types::{ModelName, Query};

use crate::Answer;

/// Who won a pairwise comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Winner {
    /// `model_a`'s answer is better.
    A,
    /// `model_b`'s answer is better.
    B,
    /// Both are equally good.
    Tie,
    /// Both are equally bad.
    TieBothBad,
}

/// One pairwise comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preference {
    /// The first model.
    pub model_a: ModelName,
    /// The second model; never the same as the first.
    pub model_b: ModelName,
    /// Whose answer was better.
    pub winner: Winner,
}

/// What is known about the answers to one query; never empty on both sides.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evidence {
    /// Absolute outcomes: a score in [0, 1] for each model that answered.
    pub outcomes: BTreeMap<ModelName, f64>,
    /// Pairwise preferences.
    pub preferences: Vec<Preference>,
    /// What models wrote, where it was kept: every one of them has an outcome.
    pub answers: BTreeMap<ModelName, Answer>,
}

/// One validated row.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// A name of the row that is unique in its corpus.
    pub id: String,
    /// What was asked.
    pub query: Query,
    /// What happened.
    pub evidence: Evidence,
    /// Sample weight, finite and positive; 1 unless the data says otherwise.
    pub weight: f64,
    /// Tags such as `category:law` or `high_stakes`, sorted, without duplicates.
    pub slices: Vec<String>,
    /// Rows of one group (conversation, template, near-duplicate cluster) never cross a split.
    pub group: Option<String>,
    /// Microseconds since the Unix epoch, UTC.
    pub timestamp_us: Option<i64>,
    /// A fold given by the data (0-based), for protocols that prescribe one.
    pub fold: Option<u32>,
    /// The true win probability of the corpus' strong model, where the data is simulated.
    pub true_win_probability: Option<f64>,
}

impl Example {
    /// Whether the row carries a slice tag.
    pub fn has_slice(&self, tag: &str) -> bool {
        self.slices.iter().any(|s| s == tag)
    }
}
