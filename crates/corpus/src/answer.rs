//! What a model answered, with what is known of how: the type, and its form in JSONL.

use features::answer::{FinishReason, Signals};
use serde::{Deserialize, Serialize};

use crate::record::{FieldError, field};

/// One model's answer to a query.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// What it wrote.
    pub text: String,
    /// How it came about, as far as that is known.
    pub signals: Signals,
    /// What the call cost, at least 0, where known.
    pub cost_usd: Option<f64>,
    /// How long it took, at least 0, where known.
    pub latency_s: Option<f64>,
}

/// An answer in a line of JSONL; only its text must be there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerRecord {
    text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    finish_reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mean_log_probability: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    least_log_probability: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_margin: Option<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    other_answers: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    predicted_success: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    similarity: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cost_usd: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    latency_s: Option<f64>,
}

impl AnswerRecord {
    /// Checks every field; `at` names the answer in errors.
    pub(crate) fn answer(self, at: &str) -> Result<Answer, FieldError> {
        let within = |name: &str, value: Option<f64>, expected: &str, good: fn(f64) -> bool| match value
            .filter(|value| !good(*value))
        {
            Some(found) => Err(field(&format!("{at}.{name}"), format!("expected {expected}, found {found}"))),
            None => Ok(value),
        };
        let log = |value: f64| value.is_finite() && value <= 0.0;
        let amount = |value: f64| value.is_finite() && value >= 0.0;
        let finish_reason = self.finish_reason.map(|name| {
            FinishReason::parse(&name).ok_or_else(|| {
                let expected = format!("expected stop, length, content_filter or tool_calls, found {name:?}");
                field(&format!("{at}.finish_reason"), expected)
            })
        });
        let logs = "a log-probability, at most 0";
        let signals = Signals {
            finish_reason: finish_reason.transpose()?,
            mean_log_probability: within("mean_log_probability", self.mean_log_probability, logs, log)?,
            least_log_probability: within("least_log_probability", self.least_log_probability, logs, log)?,
            first_margin: within("first_margin", self.first_margin, "a number in [0, 1]", |value| {
                (0.0..=1.0).contains(&value)
            })?,
            other_answers: self.other_answers,
            predicted_success: within(
                "predicted_success",
                self.predicted_success,
                "a probability in [0, 1]",
                |value| (0.0..=1.0).contains(&value),
            )?,
            similarity: within("similarity", self.similarity, "a cosine in [-1, 1]", |value| {
                (-1.0..=1.0).contains(&value)
            })?,
        };
        Ok(Answer {
            text: self.text,
            signals,
            cost_usd: within("cost_usd", self.cost_usd, "a finite amount of at least 0", amount)?,
            latency_s: within("latency_s", self.latency_s, "a finite time of at least 0", amount)?,
        })
    }
}

impl From<&Answer> for AnswerRecord {
    fn from(answer: &Answer) -> Self {
        let Answer { text, signals, cost_usd, latency_s } = answer.clone();
        Self {
            text,
            finish_reason: signals.finish_reason.map(|reason| reason.as_str().to_owned()),
            mean_log_probability: signals.mean_log_probability,
            least_log_probability: signals.least_log_probability,
            first_margin: signals.first_margin,
            other_answers: signals.other_answers,
            predicted_success: signals.predicted_success,
            similarity: signals.similarity,
            cost_usd,
            latency_s,
        }
    }
}
