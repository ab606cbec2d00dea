//! Wire messages to domain values and back; every refusal names the request field.

use api::v1;
use router::{ArtifactInfo, Ask, At, Exploration, PointInfo, Routed, Router, TierCounts};
use types::{
    Decision, Ladder, Message, ModelError, ModelName, ModelPair, Query, Role, Threshold, Tier, TierReason,
    TierWish,
};
use uuid::Uuid;

use crate::status::RequestError;
use crate::telemetry::Point;

/// A request understood.
pub(crate) struct Asked {
    pub(crate) query: Query,
    pub(crate) ladder: Ladder,
    /// The field that named the models, for errors about them.
    pub(crate) models_field: &'static str,
    pub(crate) source: Source,
    pub(crate) slices: Vec<String>,
    pub(crate) tier: TierWish,
}

impl Asked {
    /// `key`: what a retry has in common with the first try.
    pub(crate) fn ask<'a>(&'a self, key: &'a str) -> Ask<'a> {
        let at = self.source.at();
        Ask { slices: &self.slices, key, tier: self.tier, ..Ask::new(&self.query, &self.ladder, at) }
    }
}

/// Where the threshold of a request comes from.
pub(crate) enum Source {
    Request(Threshold),
    OperatingPoint(String),
    /// A number of the policy's own.
    Policy(Threshold),
    /// Nothing was compared: this gives the decision whatever the odds.
    Given(Threshold),
}

impl Source {
    pub(crate) fn at(&self) -> At<'_> {
        match self {
            Self::Request(threshold) | Self::Policy(threshold) | Self::Given(threshold) => {
                At::Threshold(*threshold)
            }
            Self::OperatingPoint(name) => At::OperatingPoint(name),
        }
    }

    /// The same for metrics and traces.
    pub(crate) fn point(&self) -> Point<'_> {
        match self {
            Self::Request(_) => Point::Request,
            Self::OperatingPoint(name) => Point::Named(name),
            Self::Policy(_) => Point::Policy,
            Self::Given(_) => Point::Given,
        }
    }

    pub(crate) fn to_wire(&self) -> String {
        match self {
            Self::Request(_) => "request".to_owned(),
            Self::OperatingPoint(name) => format!("operating_point:{name}"),
            Self::Policy(_) => "policy".to_owned(),
            Self::Given(_) => "none".to_owned(),
        }
    }
}

impl Default for Source {
    fn default() -> Self {
        Self::OperatingPoint(DEFAULT_POINT.to_owned())
    }
}

const DEFAULT_POINT: &str = "default";

/// What is to be known of an answer after the encoder's device was lost.
pub(crate) const DEVICE_LOST: &str = "the encoder's device was lost: until the server is restarted the deep tier runs \
                                      on the CPU, or not at all";

pub(crate) fn asked(request: v1::RouteRequest, info: &ArtifactInfo) -> Result<Asked, RequestError> {
    let tier = tier_wish(request.tier)?;
    let query = query(request.input, request.system)?;
    let (ladder, models_field) = ladder(request.models, info)?;
    let source = source(request.at)?;
    let slices = request.labels.iter().map(|(key, value)| slice(key, value)).collect();
    Ok(Asked { query, ladder, models_field, source, slices, tier })
}

fn tier_wish(wish: i32) -> Result<TierWish, RequestError> {
    match v1::TierWish::try_from(wish) {
        Ok(v1::TierWish::Auto) => Ok(TierWish::Auto),
        Ok(v1::TierWish::FastOnly) => Ok(TierWish::FastOnly),
        Ok(v1::TierWish::DeepAlways) => Ok(TierWish::DeepAlways),
        Err(_) => Err(RequestError::invalid("tier", format!("expected 0, 1 or 2, found {wish}"))),
    }
}

/// A label as the slice that training data would tag it with.
pub(crate) fn slice(key: &str, value: &str) -> String {
    if value.is_empty() || value == "true" { key.to_owned() } else { format!("{key}:{value}") }
}

pub(crate) fn query(
    input: Option<v1::route_request::Input>,
    system: Option<String>,
) -> Result<Query, RequestError> {
    use v1::route_request::Input;
    let query = match input {
        None => return Err(RequestError::invalid("input", "expected text or chat, found neither")),
        Some(Input::Text(text)) => Query::text(text),
        Some(Input::Chat(chat)) => {
            let turns = chat.messages.into_iter().map(message).collect::<Result<Vec<_>, _>>()?;
            Query::chat(turns).map_err(|e| RequestError::invalid("chat.messages", e.to_string()))?
        }
    };
    Ok(match system {
        Some(system) => query.with_system(system),
        None => query,
    })
}

fn message(message: v1::Message) -> Result<Message, RequestError> {
    let role = Role::parse(&message.role).ok_or_else(|| {
        let expected = format!("expected system, user, assistant or tool, found {:?}", message.role);
        RequestError::invalid("chat.messages.role", expected)
    })?;
    Ok(Message { role, content: message.content })
}

fn ladder(
    models: Option<v1::route_request::Models>,
    info: &ArtifactInfo,
) -> Result<(Ladder, &'static str), RequestError> {
    use v1::route_request::Models;
    match models {
        None => Ok((info.default_pair.clone().into(), "models")),
        Some(Models::Pair(pair)) => {
            let named = |name: &str, field| {
                ModelName::new(name).map_err(|e| RequestError::invalid(field, e.to_string()))
            };
            let (strong, weak) = (named(&pair.strong, "pair.strong")?, named(&pair.weak, "pair.weak")?);
            let pair =
                ModelPair::new(strong, weak).map_err(|e| RequestError::invalid("pair", e.to_string()))?;
            Ok((pair.into(), "pair"))
        }
        Some(Models::Ladder(ladder)) => {
            let bad = |e: ModelError| RequestError::invalid("ladder.models", e.to_string());
            let models = ladder.models.iter().map(|m| ModelName::new(m)).collect::<Result<Vec<_>, _>>();
            Ok((Ladder::new(models.map_err(bad)?).map_err(bad)?, "ladder.models"))
        }
    }
}

fn source(at: Option<v1::route_request::At>) -> Result<Source, RequestError> {
    use v1::route_request::At as Wire;
    match at {
        Some(Wire::Threshold(value)) => {
            let threshold = Threshold::new(value);
            threshold.map(Source::Request).map_err(|e| RequestError::invalid("threshold", e.to_string()))
        }
        Some(Wire::OperatingPoint(name)) => Ok(Source::OperatingPoint(name)),
        None => Ok(Source::default()),
    }
}

/// What an answer is called.
pub(crate) struct Named {
    pub(crate) decision_id: Uuid,
    /// As sent.
    pub(crate) request_id: String,
}

pub(crate) fn response(
    routed: Routed,
    source: &Source,
    info: &ArtifactInfo,
    named: Named,
    decision_time_us: f64,
) -> v1::RouteResponse {
    let scored_by = routed.scored_by();
    let lost = routed.device_lost.then(|| DEVICE_LOST.to_owned());
    let Decision {
        model,
        policy_model,
        propensity,
        tier,
        win_probability,
        interval,
        fast_win_probability,
        threshold,
        reason,
        evidence,
    } = routed.decision;
    let tier = match tier {
        Tier::Weak => v1::Tier::Weak,
        Tier::Strong => v1::Tier::Strong,
    };
    let evidence = evidence.into_iter().map(|rung| v1::RungEvidence {
        model: rung.model.as_str().to_owned(),
        win_probability: rung.win_probability.get(),
        interval_lower: rung.interval.lower().get(),
        interval_upper: rung.interval.upper().get(),
        scored_by: rung.scored_by.as_str().to_owned(),
        fast_win_probability: rung.fast_win_probability.get(),
    });
    v1::RouteResponse {
        decision_id: named.decision_id.to_string(),
        request_id: named.request_id,
        tier: tier.into(),
        model: model.as_str().to_owned(),
        win_probability: win_probability.get(),
        interval_lower: interval.lower().get(),
        interval_upper: interval.upper().get(),
        threshold: threshold.get(),
        threshold_source: source.to_wire(),
        reason: reason.as_str().to_owned(),
        evidence: evidence.collect(),
        artifact: info.name.clone(),
        artifact_version: info.version.clone(),
        calibrator_version: info.calibrator_version.clone(),
        input_tokens_used: routed.tokens_used,
        input_truncated: routed.truncated,
        decision_time_us,
        simulated: info.simulated,
        warnings: info.warnings.iter().cloned().chain(lost).collect(),
        scored_by: scored_by.as_str().to_owned(),
        scored_by_reason: routed.tier_reason.as_str().to_owned(),
        fast_win_probability: fast_win_probability.get(),
        propensity,
        policy_model: policy_model.as_str().to_owned(),
        // The way through a policy is told by whoever walked it.
        ..v1::RouteResponse::default()
    }
}

fn pair(pair: &ModelPair) -> v1::Pair {
    v1::Pair { strong: pair.strong().as_str().to_owned(), weak: pair.weak().as_str().to_owned() }
}

fn point(point: &PointInfo) -> v1::OperatingPoint {
    v1::OperatingPoint {
        name: point.name.clone(),
        pair: Some(pair(&point.pair)),
        low: point.threshold.low().get(),
        high: point.threshold.high().get(),
        probability_of_low: point.threshold.probability_of_low(),
        objective: point.objective.clone(),
        certified: point.certified,
        certified_slices: point.certified_slices.clone(),
    }
}

fn counters(counts: &TierCounts) -> v1::TierCounters {
    let seen = counts.decisions.iter().filter(|(_, decisions)| *decisions > 0);
    let decisions = seen.map(|(reason, decisions)| v1::TierCount {
        scored_by: reason.tier().as_str().to_owned(),
        scored_by_reason: reason.as_str().to_owned(),
        decisions: *decisions,
    });
    v1::TierCounters {
        decisions: decisions.collect(),
        batches: counts.batches,
        batched_rows: counts.batched_rows,
        queue_full: counts.of(TierReason::QueueFull),
        deadline: counts.of(TierReason::DeadlineTooNear),
        skipped: counts.skipped,
        device_lost: counts.device_lost,
    }
}

pub(crate) fn info(router: &Router, policy: Option<v1::Policy>) -> v1::GetInfoResponse {
    let (info, engine) = (router.info(), router.deep_engine());
    v1::GetInfoResponse {
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
        artifact: info.name.clone(),
        artifact_version: info.version.clone(),
        calibrator_version: info.calibrator_version.clone(),
        created: info.created.clone(),
        simulated: info.simulated,
        default_pair: Some(pair(&info.default_pair)),
        pairs: info.pairs.iter().map(pair).collect(),
        models: info.models.iter().map(|m| m.as_str().to_owned()).collect(),
        operating_points: info.operating_points.iter().map(point).collect(),
        high_stakes: info.high_stakes.clone(),
        warnings: info.warnings.clone(),
        deep_tier: engine.is_some(),
        deep_engine: engine.unwrap_or_default(),
        tier_counters: Some(counters(&router.tier_counts())),
        deep_pairs: info.deep_pairs.iter().map(pair).collect(),
        exploration: exploration(info.exploration),
        policy,
    }
}

fn exploration(exploration: Exploration) -> Option<v1::Exploration> {
    let (dearer, cheaper) = (exploration.dearer(), exploration.cheaper());
    (exploration != Exploration::NONE).then_some(v1::Exploration { dearer, cheaper })
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{ProbabilityInterval, Reason, RungEvidence, Score, ScoringTier, WinProbability};

    fn info() -> ArtifactInfo {
        let [strong, weak] = ["large", "small"].map(|name| ModelName::new(name).unwrap());
        ArtifactInfo {
            name: "a".into(),
            version: "1".into(),
            manifest_sha256: "0".into(),
            calibrator_version: "2".into(),
            default_pair: ModelPair::new(strong, weak).unwrap(),
            pairs: vec![],
            models: vec![],
            operating_points: vec![],
            high_stakes: vec![],
            slices: vec![],
            warnings: vec!["known".into()],
            simulated: false,
            created: String::new(),
            deep_pairs: vec![],
            exploration: Exploration::NONE,
        }
    }

    #[test]
    fn an_answer_says_that_the_device_was_lost_and_what_each_tier_said() {
        let (info, [fast, deep]) = (info(), [0.4, 0.6].map(|p| WinProbability::new(p).unwrap()));
        let interval = ProbabilityInterval::ordered(fast, deep);
        let threshold = Threshold::new(0.5).unwrap();
        let routed = |device_lost| {
            let evidence = RungEvidence {
                model: info.default_pair.weak().clone(),
                score: Score::new(0.0).unwrap(),
                win_probability: deep,
                interval,
                scored_by: ScoringTier::Deep,
                fast_win_probability: fast,
            };
            let decision = Decision {
                model: info.default_pair.strong().clone(),
                policy_model: info.default_pair.strong().clone(),
                propensity: 1.0,
                tier: Tier::Strong,
                win_probability: deep,
                interval,
                fast_win_probability: fast,
                threshold,
                reason: Reason::AtOrAboveThreshold,
                evidence: vec![evidence],
            };
            let tier_reason = TierReason::Straddles;
            let script = router::Script::Latin;
            Routed { decision, tokens_used: 1, truncated: false, script, tier_reason, device_lost }
        };
        let answer = |lost| {
            let named = Named { decision_id: Uuid::nil(), request_id: String::new() };
            response(routed(lost), &Source::Request(threshold), &info, named, 1.0)
        };
        assert_eq!(answer(false).warnings, ["known"]);
        assert_eq!(answer(true).warnings, ["known", DEVICE_LOST]);
        let answer = answer(true);
        assert_eq!((answer.scored_by.as_str(), answer.scored_by_reason.as_str()), ("deep", "straddles"));
        assert_eq!((answer.win_probability, answer.fast_win_probability), (0.6, 0.4));
        assert_eq!(
            (answer.evidence[0].scored_by.as_str(), answer.evidence[0].fast_win_probability),
            ("deep", 0.4)
        );
    }
}
