//! What the caller knows of how an answer came about: why it ended, how sure its tokens were, what other answers to the
//! same query say.

use std::collections::HashMap;

use super::ending::{final_answer, number};
use super::{flag, log};

/// Why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// It was done.
    Stop,
    /// It ran out of tokens.
    Length,
    /// A filter cut it off.
    ContentFilter,
    /// It calls a tool.
    ToolCalls,
}

impl FinishReason {
    /// The name on wires and in data, as in the OpenAI API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ContentFilter => "content_filter",
            Self::ToolCalls => "tool_calls",
        }
    }

    /// The reason of a name; `None` for any other text.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Stop, Self::Length, Self::ContentFilter, Self::ToolCalls]
            .into_iter()
            .find(|reason| reason.as_str() == name)
    }
}

/// What is known beside the text. Everything may be missing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Signals {
    /// Why the model stopped.
    pub finish_reason: Option<FinishReason>,
    /// Mean log-probability of the answer's tokens, at most 0.
    pub mean_log_probability: Option<f64>,
    /// The least of them, at most 0.
    pub least_log_probability: Option<f64>,
    /// How much more probable the first token was than the second best in its place, in [0, 1].
    pub first_margin: Option<f64>,
    /// Other answers to the same query: further samples, or other models'.
    pub other_answers: Vec<String>,
    /// The chance of an acceptable answer as a router saw it from the query alone, in [0, 1]; it need not be calibrated,
    /// only the same router's that the verifier was fitted with.
    pub predicted_success: Option<f64>,
    /// Cosine of the vectors that an encoder gives of query and answer, in [-1, 1]; of the same encoder always.
    pub similarity: Option<f64>,
}

/// Predictions are held within this logit: beyond it they say no more.
const FARTHEST_LOGIT: f64 = 8.0;

/// Names of the signals, for cards and warnings.
pub const SIGNAL_NAMES: [&str; 5] =
    ["finish_reason", "log_probability", "other_answers", "predicted_success", "similarity"];

impl Signals {
    /// Which of [`SIGNAL_NAMES`] are supplied.
    pub fn supplied(&self) -> [bool; SIGNAL_NAMES.len()] {
        [
            self.finish_reason.is_some(),
            self.knows_log_probability(),
            !self.other_answers.is_empty(),
            self.predicted_success.is_some(),
            self.similarity.is_some(),
        ]
    }

    fn knows_log_probability(&self) -> bool {
        self.mean_log_probability.is_some()
            || self.least_log_probability.is_some()
            || self.first_margin.is_some()
    }

    pub(super) fn row(&self, answer: &str, row: &mut Vec<f32>) {
        let is = |reason| flag(self.finish_reason == Some(reason));
        // Probabilities below e^-20 say no more than that the token was improbable.
        let bounded = |value: Option<f64>| value.unwrap_or_default().clamp(-20.0, 0.0) as f32;
        row.extend([
            flag(self.finish_reason.is_some()),
            is(FinishReason::Stop),
            is(FinishReason::Length),
            is(FinishReason::ContentFilter),
            flag(self.knows_log_probability()),
            bounded(self.mean_log_probability),
            bounded(self.least_log_probability),
            self.first_margin.unwrap_or_default().clamp(0.0, 1.0) as f32,
        ]);
        let agreement = agreement(answer, &self.other_answers);
        row.extend([
            flag(agreement.is_some()),
            agreement.map_or(0.0, |agreement| agreement.own_share as f32),
            log(self.other_answers.len()),
        ]);
        let logit = |p: f64| (p / (1.0 - p)).ln().clamp(-FARTHEST_LOGIT, FARTHEST_LOGIT);
        row.extend([
            flag(self.predicted_success.is_some()),
            self.predicted_success.map_or(0.0, |p| logit(p.clamp(0.0, 1.0)) as f32),
            flag(self.similarity.is_some()),
            self.similarity.map_or(0.0, |cosine| cosine.clamp(-1.0, 1.0) as f32),
        ]);
    }
}

/// How far answers to one query agree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// Share of the other answers that come down to the same final answer as this one, in [0, 1].
    pub own_share: f64,
    /// Share of all answers that the most frequent final answer has.
    pub top_share: f64,
    /// Entropy of the final answers in nats; 0 where all agree.
    pub entropy: f64,
}

/// How far an answer and others to the same query agree, by their final answers: numbers are compared as numbers,
/// other text without case and surrounding space (methods section 6, agreement). `None` without others.
pub fn agreement(answer: &str, others: &[String]) -> Option<Agreement> {
    if others.is_empty() {
        return None;
    }
    let own = normalised(final_answer(answer).text);
    let mut votes: HashMap<String, usize> = HashMap::from([(own.clone(), 1)]);
    for other in others {
        *votes.entry(normalised(final_answer(other).text)).or_default() += 1;
    }
    let all = (others.len() + 1) as f64;
    let mut counts: Vec<usize> = votes.values().copied().collect();
    // Sums of floats depend on their order, and that of a map on nothing.
    counts.sort_unstable();
    let entropy = counts.iter().map(|count| *count as f64 / all).map(|p| -p * p.ln()).sum();
    let own_share = (votes.get(&own).copied().unwrap_or(1) - 1) as f64 / others.len() as f64;
    let top_share = counts.last().copied().unwrap_or_default() as f64 / all;
    Some(Agreement { own_share, top_share, entropy })
}

/// A final answer by which others are recognised as the same.
fn normalised(text: &str) -> String {
    match number(text) {
        Some(number) => number.to_string(),
        None => text.trim().to_lowercase(),
    }
}
