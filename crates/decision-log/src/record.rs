//! What is written down: one record per decision, one per report of what came of it. Both are append-only, carry their
//! version, and are the only types here that know a storage format.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

/// The layout of the records.
pub const RECORD_VERSION: u16 = 1;

/// The layout of a decision that carries [`DecisionRecord::policy`], which older builds do not read.
pub const POLICY_RECORD_VERSION: u16 = 2;

/// Longest source of an outcome, name of a judge and of a model, bytes.
const LONGEST_NAME: usize = 200;

/// What a decision was for while an artifact is being introduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rollout {
    /// The artifact in charge answered.
    #[default]
    Incumbent,
    /// The candidate answered.
    Canary,
    /// The candidate decided and nobody was answered with it.
    Shadow,
}

impl Rollout {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Incumbent, Self::Canary, Self::Shadow];

    /// A stable snake-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incumbent => "incumbent",
            Self::Canary => "canary",
            Self::Shadow => "shadow",
        }
    }

    /// The one of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rollout| rollout.as_str() == name)
    }
}

/// A decision with everything it rested on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionRecord {
    /// [`RECORD_VERSION`], or [`POLICY_RECORD_VERSION`].
    pub version: u16,
    /// UUIDv7; of a shadow decision its own.
    pub decision_id: Uuid,
    /// The decision that was answered, for a shadow beside it.
    pub shadow_of: Option<Uuid>,
    /// Microseconds since 1970, UTC.
    pub time_us: i64,
    /// Which server.
    pub replica: String,
    /// As the caller sent it.
    pub request_id: String,
    /// What the decision was for.
    pub rollout: Rollout,
    /// Name of the artifact.
    pub artifact: String,
    /// Hash prefix over weights and calibrator.
    pub artifact_version: String,
    /// Hash prefix of the calibrator.
    pub calibrator_version: String,
    /// Where the threshold comes from: `request`, `operating_point:NAME`, `policy` (a number of the policy's own), or
    /// `none` where a policy names the model.
    pub threshold_source: String,
    /// Keyed hash of the query, hex: equal for equal queries, says nothing without the key.
    pub fingerprint: String,
    /// What the query looked like.
    pub features: FeatureSummary,
    /// Models of the ladder, cheapest first.
    pub action_set: Vec<String>,
    /// The model served.
    pub action: String,
    /// The model the policy chose.
    pub policy_action: String,
    /// How probable the action was, in (0, 1].
    pub propensity: f64,
    /// `weak` or `strong`.
    pub tier: String,
    /// Why, as in the answer; `explored` where it is not the policy's.
    pub reason: String,
    /// What decided, in [0, 1]; nothing where there is no evidence (then 0), and only what is known where a policy
    /// names the model.
    pub win_probability: f64,
    /// Venn-Abers interval around it.
    pub interval_lower: f64,
    /// Its upper end.
    pub interval_upper: f64,
    /// What it was compared with: in [0, 1], or the next number above 1, which is never reached. Where a policy names
    /// the model, the number that gives this decision whatever the probability: 0 for strong, the latter for weak.
    pub threshold: f64,
    /// Every rung below the top, cheapest first.
    pub evidence: Vec<Evidence>,
    /// `fast` or `deep`.
    pub scored_by: String,
    /// Why that tier, as in the answer.
    pub scored_by_reason: String,
    /// Labels of the request.
    pub labels: BTreeMap<String, String>,
    /// The slices they are.
    pub slices: Vec<String>,
    /// A slice of high stakes decided.
    pub high_stakes: bool,
    /// Time of the decision, microseconds.
    pub decision_time_us: f64,
    /// The query, where the operator keeps it.
    pub prompt: Option<String>,
    /// The way through the policy, where one decided; records of version 1 have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyRecord>,
}

/// The way of a query through a policy.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRecord {
    /// Hash prefix of the policy's text.
    pub version: String,
    /// The strategy that decided; none where an override did.
    pub strategy: Option<String>,
    /// The intent, where it was asked for and recognised.
    pub intent: Option<String>,
    /// How probable that intent is, in [0, 1].
    pub intent_probability: Option<f64>,
    /// A strategy failed and another took its place.
    pub fallback: bool,
    /// The limit, as the policy spells it, that a strong call would have exceeded: the query was diverted, went weak
    /// anyway, or an override went past the limit.
    pub spent: Option<String>,
    /// The cascade that was begun.
    pub cascade: Option<String>,
}

/// What a query looked like, without a word of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSummary {
    /// Tokens that were read.
    pub tokens: u32,
    /// Bytes of all turns.
    pub bytes: u32,
    /// Turns of the chat.
    pub turns: u32,
    /// The script most letters are of, such as `latin`.
    pub script: String,
    /// The middle was not read.
    pub truncated: bool,
}

/// What was known of one rung below the top.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The cheaper model.
    pub model: String,
    /// Raw score that was calibrated, log odds.
    pub score: f64,
    /// P(the top's answer is strictly better), in [0, 1].
    pub win_probability: f64,
    /// Venn-Abers interval around it.
    pub interval_lower: f64,
    /// Its upper end.
    pub interval_upper: f64,
    /// `fast` or `deep`.
    pub scored_by: String,
    /// What the fast tier says.
    pub fast_win_probability: f64,
}

/// A report of what came of a decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutcomeRecord {
    /// See [`RECORD_VERSION`].
    pub version: u16,
    /// The decision.
    pub decision_id: Uuid,
    /// Who says so; a source reports once on a decision.
    pub source: String,
    /// When it was observed, microseconds since 1970, UTC.
    pub time_us: i64,
    /// What it says.
    pub outcome: Outcome,
}

/// What came of a decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// Graded answers.
    Graded {
        /// Scores in [0, 1] by model.
        scores: BTreeMap<String, f64>,
    },
    /// Somebody compared the answers of both models.
    Preference {
        /// Strong's share: 1 is strong's answer, 0 weak's, 0.5 a tie.
        strong: f64,
    },
    /// A user's thumb.
    Thumbs {
        /// Up.
        up: bool,
    },
    /// The user asked the same again.
    Resubmission,
    /// A person took over.
    HumanEscalation,
    /// A model compared the answers of both.
    Judge {
        /// The model that judged.
        judge: String,
        /// Strong's share over both orders, in [0, 1].
        strong: f64,
    },
    /// What the call took, from whoever made it.
    Usage {
        /// The model that answered in the end, after fallbacks.
        model: String,
        /// Price of the call.
        cost_usd: Option<f64>,
        /// Time of the call.
        latency_ms: Option<f64>,
        /// Tokens of the prompt.
        input_tokens: Option<u64>,
        /// Those of them that came from the provider's cache.
        cached_tokens: Option<u64>,
        /// Tokens of the answer.
        output_tokens: Option<u64>,
    },
}

/// Why a report was refused.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{field}: {expected}")]
pub struct OutcomeError {
    /// The field, as reports spell it.
    pub field: &'static str,
    /// What should be there.
    pub expected: String,
}

impl OutcomeError {
    /// A field and what should be there.
    pub fn new(field: &'static str, expected: impl Into<String>) -> Self {
        Self { field, expected: expected.into() }
    }
}

impl Outcome {
    /// A stable snake-case name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Graded { .. } => "graded",
            Self::Preference { .. } => "preference",
            Self::Thumbs { .. } => "thumbs",
            Self::Resubmission => "resubmission",
            Self::HumanEscalation => "human_escalation",
            Self::Judge { .. } => "judge",
            Self::Usage { .. } => "usage",
        }
    }

    /// Whether the served answer was acceptable, in [0, 1], for `model`, the one served; `None` where the report does
    /// not say. A missing report is no success.
    pub fn acceptable(&self, model: &str) -> Option<f64> {
        match self {
            Self::Graded { scores } => scores.get(model).copied(),
            Self::Thumbs { up } => Some(f64::from(u8::from(*up))),
            Self::Resubmission | Self::HumanEscalation => Some(0.0),
            Self::Preference { .. } | Self::Judge { .. } | Self::Usage { .. } => None,
        }
    }
}

impl OutcomeRecord {
    /// Checks every number and name, and makes text fit for every store.
    ///
    /// # Errors
    /// When one is out of range; the field is named.
    pub fn checked(mut self) -> Result<Self, OutcomeError> {
        self.source = name("source", &self.source)?;
        match &mut self.outcome {
            Outcome::Graded { scores } => {
                if scores.is_empty() {
                    return Err(OutcomeError::new("graded.scores", "expected a score of at least one model"));
                }
                let checked = scores.iter().map(|(model, score)| {
                    Ok((name("graded.scores", model)?, share("graded.scores", *score)?))
                });
                *scores = checked.collect::<Result<_, _>>()?;
            }
            Outcome::Preference { strong } => _ = share("preference.strong", *strong)?,
            Outcome::Judge { judge, strong } => {
                share("judge.strong", *strong)?;
                *judge = name("judge.judge", judge)?;
            }
            Outcome::Usage { model, cost_usd, latency_ms, .. } => {
                *model = name("usage.model", model)?;
                for (field, value) in [("usage.cost_usd", cost_usd), ("usage.latency_ms", latency_ms)] {
                    if let Some(bad) = value.filter(|v| !v.is_finite() || *v < 0.0) {
                        return Err(OutcomeError::new(
                            field,
                            format!("expected a number of at least 0, found {bad}"),
                        ));
                    }
                }
            }
            Outcome::Thumbs { .. } | Outcome::Resubmission | Outcome::HumanEscalation => {}
        }
        Ok(self)
    }
}

fn share(field: &'static str, value: f64) -> Result<f64, OutcomeError> {
    let within = (0.0..=1.0).contains(&value);
    within
        .then_some(value)
        .ok_or_else(|| OutcomeError::new(field, format!("expected a number in [0, 1], found {value}")))
}

fn name(field: &'static str, text: &str) -> Result<String, OutcomeError> {
    // As it is kept, which may be longer than it came.
    let kept = clean(text.to_owned());
    if kept.is_empty() || kept.len() > LONGEST_NAME {
        let expected = format!("expected 1 to {LONGEST_NAME} bytes, found {}", kept.len());
        return Err(OutcomeError::new(field, expected));
    }
    Ok(kept)
}

/// Text without NUL, which PostgreSQL does not hold.
pub fn clean(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

/// When a decision was made, microseconds since 1970, as its id says; `None` for an id that is no UUIDv7.
pub fn time_of(id: Uuid) -> Option<i64> {
    if id.get_version_num() != 7 {
        return None;
    }
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    i64::try_from(seconds).ok()?.checked_mul(1_000_000)?.checked_add(i64::from(nanos / 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn report(outcome: Outcome) -> OutcomeRecord {
        let decision_id = Uuid::now_v7();
        OutcomeRecord { version: RECORD_VERSION, decision_id, source: "users".into(), time_us: 1, outcome }
    }

    #[test]
    fn a_report_out_of_range_names_its_field() {
        let graded = |score: f64| Outcome::Graded { scores: [("small".to_owned(), score)].into() };
        let usage = |cost| Outcome::Usage {
            model: "small".into(),
            cost_usd: Some(cost),
            latency_ms: None,
            input_tokens: None,
            cached_tokens: None,
            output_tokens: None,
        };
        for (outcome, field) in [
            (graded(1.5), "graded.scores"),
            (graded(f64::NAN), "graded.scores"),
            (Outcome::Graded { scores: BTreeMap::new() }, "graded.scores"),
            (Outcome::Preference { strong: -0.1 }, "preference.strong"),
            (Outcome::Judge { judge: String::new(), strong: 0.5 }, "judge.judge"),
            (usage(-1.0), "usage.cost_usd"),
            (usage(f64::INFINITY), "usage.cost_usd"),
        ] {
            assert_eq!(report(outcome).checked().unwrap_err().field, field);
        }
        let nameless = OutcomeRecord { source: String::new(), ..report(graded(0.5)) };
        assert_eq!(nameless.checked().unwrap_err().field, "source");
        let nul = OutcomeRecord { source: "a\0b".into(), ..report(graded(1.0)) }.checked().unwrap();
        assert_eq!(nul.source, "a\u{fffd}b");
        // What replaces a NUL is longer, and what is kept has the bound.
        let grows = OutcomeRecord { source: "\0".repeat(LONGEST_NAME), ..report(graded(1.0)) };
        assert_eq!(grows.checked().unwrap_err().field, "source");
    }

    #[test]
    fn a_decision_without_a_policy_is_written_as_it_always_was() {
        let text = r#"{"version":1,"decision_id":"00000000-0000-0000-0000-000000000000","shadow_of":null,"time_us":1,
            "replica":"a","request_id":"","rollout":"incumbent","artifact":"a","artifact_version":"1",
            "calibrator_version":"1","threshold_source":"request","fingerprint":"00","features":{"tokens":1,"bytes":1,
            "turns":1,"script":"latin","truncated":false},"action_set":["small","large"],"action":"small",
            "policy_action":"small","propensity":1.0,"tier":"weak","reason":"below_threshold","win_probability":0.1,
            "interval_lower":0.0,"interval_upper":0.2,"threshold":0.5,"evidence":[],"scored_by":"fast",
            "scored_by_reason":"no_deep_tier","labels":{},"slices":[],"high_stakes":false,"decision_time_us":1.0,
            "prompt":null}"#;
        let old: DecisionRecord = serde_json::from_str(text).unwrap();
        assert_eq!(old.policy, None);
        let written = serde_json::to_value(&old).unwrap();
        assert_eq!(written, serde_json::from_str::<serde_json::Value>(text).unwrap());
        let policy =
            PolicyRecord { strategy: Some("safe".into()), fallback: true, ..PolicyRecord::default() };
        let new = DecisionRecord { version: POLICY_RECORD_VERSION, policy: Some(policy), ..old };
        let text = serde_json::to_string(&new).unwrap();
        assert_eq!(serde_json::from_str::<DecisionRecord>(&text).unwrap(), new);
    }

    #[test]
    fn an_id_says_when() {
        let id = Uuid::now_v7();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
        assert!((now as i64 - time_of(id).unwrap()).abs() < 5_000_000);
        assert_eq!(time_of(Uuid::nil()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_report_or_an_error(text in ".{0,200}") {
            if let Ok(record) = serde_json::from_str::<OutcomeRecord>(&text) {
                let _ = record.checked();
            }
        }
    }
}
