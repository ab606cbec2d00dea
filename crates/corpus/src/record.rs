//! The JSONL form of an example and the way there and back. One object per line; unknown fields are
//! refused, since a misspelt one would be evidence lost.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use types::{Body, Message, ModelName, Query, Role};

use crate::answer::AnswerRecord;
use crate::{Evidence, Example, Preference, Winner};

/// A field that does not hold what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldError {
    pub(crate) field: String,
    pub(crate) expected: String,
}

pub(crate) fn field(field: &str, expected: impl Into<String>) -> FieldError {
    FieldError { field: field.to_owned(), expected: expected.into() }
}

/// A line of JSONL.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Record {
    /// Unique in its corpus; file and line when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// Plain text; this or `messages`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) query: Option<String>,
    /// A chat, oldest turn first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) messages: Option<Vec<MessageRecord>>,
    /// A system prompt beside either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) system: Option<String>,
    /// Score in [0, 1] by model.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) outcomes: BTreeMap<String, f64>,
    /// What models wrote.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) answers: BTreeMap<String, AnswerRecord>,
    /// Pairwise preferences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) preferences: Vec<PreferenceRecord>,
    /// Sample weight above 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) weight: Option<f64>,
    /// Tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) slices: Vec<String>,
    /// Conversation or template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<String>,
    /// RFC 3339, or seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timestamp: Option<Timestamp>,
    /// A prescribed fold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fold: Option<u32>,
    /// The truth, where simulated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) true_win_probability: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageRecord {
    pub(crate) role: String,
    pub(crate) content: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PreferenceRecord {
    pub(crate) model_a: String,
    pub(crate) model_b: String,
    pub(crate) winner: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Timestamp {
    Text(String),
    Seconds(f64),
}

impl Timestamp {
    /// Microseconds since the Unix epoch.
    pub(crate) fn micros(&self) -> Result<i64, FieldError> {
        let bad = |found: String| {
            field("timestamp", format!("expected RFC 3339 or seconds since the epoch, found {found}"))
        };
        match self {
            Self::Seconds(s) => {
                // As far as years have four digits: what is kept must be writable.
                let stamp = jiff::Timestamp::from_microsecond((s * 1e6).round() as i64);
                let stamp = stamp.ok().filter(|_| s.is_finite());
                stamp.map(jiff::Timestamp::as_microsecond).ok_or_else(|| bad(s.to_string()))
            }
            Self::Text(text) => {
                let stamp = text.parse::<jiff::Timestamp>().or_else(|_| us_style(text));
                stamp.map(jiff::Timestamp::as_microsecond).map_err(|_| bad(format!("{text:?}")))
            }
        }
    }
}

/// `07/02/2023, 21:28:40`, taken as UTC.
fn us_style(text: &str) -> Result<jiff::Timestamp, jiff::Error> {
    let local = jiff::civil::DateTime::strptime("%m/%d/%Y, %H:%M:%S", text)?;
    Ok(local.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp())
}

pub(crate) fn model(name: &str, at: &str) -> Result<ModelName, FieldError> {
    ModelName::new(name).map_err(|_| field(at, "expected a model name, found an empty one"))
}

pub(crate) fn score(value: f64, at: &str) -> Result<f64, FieldError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    Err(field(at, format!("expected a score in [0, 1], found {value}")))
}

impl Record {
    /// Checks every field. `id` is used when the record has none.
    pub(crate) fn example(self, id: String) -> Result<Example, FieldError> {
        let query = query(self.query, self.messages, self.system)?;
        let mut evidence = Evidence::default();
        for (name, value) in self.outcomes {
            let at = format!("outcomes.{name}");
            if evidence.outcomes.insert(model(&name, &at)?, score(value, &at)?).is_some() {
                return Err(field(&at, "expected one score of a model, found it twice, but for white space"));
            }
        }
        evidence.preferences =
            self.preferences.iter().map(PreferenceRecord::preference).collect::<Result<_, _>>()?;
        if evidence == Evidence::default() {
            return Err(field("outcomes", "expected outcomes or preferences, found neither"));
        }
        for (name, record) in self.answers {
            let at = format!("answers.{name}");
            let model = model(&name, &at)?;
            if !evidence.outcomes.contains_key(&model) {
                return Err(field(&at, "expected an outcome of the same model, found none"));
            }
            if evidence.answers.insert(model, record.answer(&at)?).is_some() {
                return Err(field(
                    &at,
                    "expected one answer of a model, found it twice, but for white space",
                ));
            }
        }
        let weight = self.weight.unwrap_or(1.0);
        if !(weight.is_finite() && weight > 0.0) {
            return Err(field("weight", format!("expected a finite number above 0, found {weight}")));
        }
        let truth = self.true_win_probability.map(|p| score(p, "true_win_probability")).transpose()?;
        let mut slices = self.slices;
        slices.sort();
        slices.dedup();
        Ok(Example {
            id: self.id.unwrap_or(id),
            query,
            evidence,
            weight,
            slices,
            group: self.group,
            timestamp_us: self.timestamp.map(|t| t.micros()).transpose()?,
            fold: self.fold,
            true_win_probability: truth,
        })
    }
}

fn query(
    text: Option<String>,
    messages: Option<Vec<MessageRecord>>,
    system: Option<String>,
) -> Result<Query, FieldError> {
    let query = match (text, messages) {
        (Some(text), None) => Query::text(text),
        (None, Some(messages)) => {
            let turn = |(i, m): (usize, MessageRecord)| {
                let role = Role::parse(&m.role).ok_or_else(|| {
                    let expected = format!("expected system, user, assistant or tool, found {:?}", m.role);
                    field(&format!("messages[{i}].role"), expected)
                })?;
                Ok(Message { role, content: m.content })
            };
            let turns = messages.into_iter().enumerate().map(turn).collect::<Result<Vec<_>, FieldError>>()?;
            Query::chat(turns).map_err(|e| field("messages", e.to_string()))?
        }
        _ => return Err(field("query", "expected either query or messages")),
    };
    Ok(match system {
        Some(system) => query.with_system(system),
        None => query,
    })
}

impl PreferenceRecord {
    fn preference(&self) -> Result<Preference, FieldError> {
        let (model_a, model_b) = (model(&self.model_a, "model_a")?, model(&self.model_b, "model_b")?);
        if model_a == model_b {
            return Err(field(
                "model_b",
                format!("expected another model than model_a, found {model_b} twice"),
            ));
        }
        let winner = match self.winner.as_str() {
            "a" | "model_a" => Winner::A,
            "b" | "model_b" => Winner::B,
            "tie" => Winner::Tie,
            "tie_bothbad" | "tie (bothbad)" => Winner::TieBothBad,
            other => {
                return Err(field("winner", format!("expected a, b, tie or tie_bothbad, found {other:?}")));
            }
        };
        Ok(Preference { model_a, model_b, winner })
    }
}

impl From<&Example> for Record {
    fn from(example: &Example) -> Self {
        let (mut query, mut messages) = (None, None);
        match example.query.body() {
            Body::Text(text) => query = Some(text.clone()),
            Body::Messages(turns) => {
                let turn = |m: &Message| MessageRecord {
                    role: m.role.as_str().to_owned(),
                    content: m.content.clone(),
                };
                messages = Some(turns.iter().map(turn).collect());
            }
        }
        let preference = |p: &Preference| PreferenceRecord {
            model_a: p.model_a.as_str().to_owned(),
            model_b: p.model_b.as_str().to_owned(),
            winner: match p.winner {
                Winner::A => "a",
                Winner::B => "b",
                Winner::Tie => "tie",
                Winner::TieBothBad => "tie_bothbad",
            }
            .to_owned(),
        };
        let stamp =
            |us: i64| jiff::Timestamp::from_microsecond(us).ok().map(|t| Timestamp::Text(t.to_string()));
        let evidence = &example.evidence;
        Self {
            id: Some(example.id.clone()),
            query,
            messages,
            system: example.query.system().map(str::to_owned),
            outcomes: evidence.outcomes.iter().map(|(m, s)| (m.as_str().to_owned(), *s)).collect(),
            answers: evidence.answers.iter().map(|(m, a)| (m.as_str().to_owned(), a.into())).collect(),
            preferences: evidence.preferences.iter().map(preference).collect(),
            weight: (example.weight != 1.0).then_some(example.weight),
            slices: example.slices.clone(),
            group: example.group.clone(),
            timestamp: example.timestamp_us.and_then(stamp),
            fold: example.fold,
            true_win_probability: example.true_win_probability,
        }
    }
}
