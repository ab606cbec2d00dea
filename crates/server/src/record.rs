//! A decision as it is written down.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use decision_log::{
    DecisionLog, DecisionRecord, Evidence, FeatureSummary, FingerprintKey, POLICY_RECORD_VERSION,
    PolicyRecord, RECORD_VERSION, Rollout, clean,
};
use router::{ArtifactInfo, Routed};
use types::{Body, Query, Reason};
use uuid::Uuid;

use crate::convert::Asked;

/// Writes decisions down.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    pub(crate) log: Arc<DecisionLog>,
    pub(crate) key: FingerprintKey,
    /// Names this server among its replicas.
    pub(crate) replica: Arc<str>,
    pub(crate) prompts: bool,
}

/// What is known of a decision beside what was routed.
pub(crate) struct Circumstances<'a> {
    pub(crate) id: Uuid,
    pub(crate) rollout: Rollout,
    pub(crate) shadow_of: Option<Uuid>,
    pub(crate) request_id: &'a str,
    pub(crate) labels: &'a HashMap<String, String>,
    pub(crate) info: &'a ArtifactInfo,
    pub(crate) time_us: f64,
    /// The way through the policy, where one decided.
    pub(crate) policy: Option<PolicyRecord>,
}

impl Recorder {
    /// Hands a decision to the log.
    pub(crate) async fn record(&self, routed: &Routed, asked: &Asked, of: Circumstances<'_>) {
        self.log.decision(self.written(routed, asked, of)).await;
    }

    fn written(&self, routed: &Routed, asked: &Asked, of: Circumstances<'_>) -> DecisionRecord {
        let decision = &routed.decision;
        // A model that nothing is known of stands alone: no rung was looked at.
        let rungs = if decision.evidence.is_empty() {
            std::slice::from_ref(&decision.model)
        } else {
            asked.ladder.rungs()
        };
        let evidence = decision.evidence.iter().map(|rung| Evidence {
            model: rung.model.as_str().to_owned(),
            score: rung.score.logit(),
            win_probability: rung.win_probability.get(),
            interval_lower: rung.interval.lower().get(),
            interval_upper: rung.interval.upper().get(),
            scored_by: rung.scored_by.as_str().to_owned(),
            fast_win_probability: rung.fast_win_probability.get(),
        });
        let labels = of.labels.iter().map(|(key, value)| (clean(key.clone()), clean(value.clone())));
        DecisionRecord {
            version: if of.policy.is_some() { POLICY_RECORD_VERSION } else { RECORD_VERSION },
            decision_id: of.id,
            shadow_of: of.shadow_of,
            time_us: now_us(),
            replica: self.replica.as_ref().to_owned(),
            request_id: clean(of.request_id.to_owned()),
            rollout: of.rollout,
            artifact: of.info.name.clone(),
            artifact_version: of.info.version.clone(),
            calibrator_version: of.info.calibrator_version.clone(),
            threshold_source: asked.source.to_wire(),
            fingerprint: self.key.fingerprint(&asked.query),
            features: FeatureSummary {
                tokens: routed.tokens_used,
                bytes: u32::try_from(asked.query.byte_len()).unwrap_or(u32::MAX),
                turns: u32::try_from(asked.query.parts().count()).unwrap_or(u32::MAX),
                script: routed.script.as_str().to_owned(),
                truncated: routed.truncated,
            },
            action_set: rungs.iter().map(|model| model.as_str().to_owned()).collect(),
            action: decision.model.as_str().to_owned(),
            policy_action: decision.policy_model.as_str().to_owned(),
            propensity: decision.propensity,
            tier: decision.tier.as_str().to_owned(),
            reason: decision.reason.as_str().to_owned(),
            win_probability: decision.win_probability.get(),
            interval_lower: decision.interval.lower().get(),
            interval_upper: decision.interval.upper().get(),
            threshold: decision.threshold.get(),
            evidence: evidence.collect(),
            scored_by: routed.scored_by().as_str().to_owned(),
            scored_by_reason: routed.tier_reason.as_str().to_owned(),
            labels: labels.collect(),
            slices: asked.slices.iter().cloned().map(clean).collect(),
            high_stakes: decision.reason == Reason::HighStakes,
            decision_time_us: of.time_us,
            prompt: self.prompts.then(|| clean(prompt(&asked.query))),
            policy: of.policy,
        }
    }
}

/// The text of a plain query; of a chat, or where there is a system prompt, a line of the corpus with every turn.
fn prompt(query: &Query) -> String {
    match (query.system(), query.body()) {
        (None, Body::Text(text)) => text.clone(),
        _ => corpus_line(query),
    }
}

fn corpus_line(query: &Query) -> String {
    let turns =
        query.parts().map(|(role, content)| serde_json::json!({"role": role.as_str(), "content": content}));
    serde_json::json!({"messages": turns.collect::<Vec<_>>()}).to_string()
}

/// Microseconds since 1970, UTC.
pub(crate) fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
