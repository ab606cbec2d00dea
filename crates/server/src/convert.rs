//! Wire messages to domain values and back; every refusal names the request field.

use api::v1;
use router::{ArtifactInfo, Routed};
use types::{
    Decision, Ladder, Message, ModelError, ModelName, ModelPair, Query, Role, Threshold, ThresholdSource,
    Tier,
};

use crate::status::RequestError;

/// A request understood.
pub(crate) struct Asked {
    pub(crate) query: Query,
    pub(crate) ladder: Ladder,
    /// The field that named the models, for errors about them.
    pub(crate) models_field: &'static str,
    pub(crate) threshold: Threshold,
    pub(crate) source: ThresholdSource,
}

const DEFAULT_POINT: &str = "default";

pub(crate) fn asked(request: v1::RouteRequest, info: &ArtifactInfo) -> Result<Asked, RequestError> {
    let query = query(request.input, request.system)?;
    let (ladder, models_field) = ladder(request.models, info)?;
    let (threshold, source) = threshold(request.at, info)?;
    Ok(Asked { query, ladder, models_field, threshold, source })
}

fn query(input: Option<v1::route_request::Input>, system: Option<String>) -> Result<Query, RequestError> {
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

fn threshold(
    at: Option<v1::route_request::At>,
    info: &ArtifactInfo,
) -> Result<(Threshold, ThresholdSource), RequestError> {
    use v1::route_request::At;
    let name = match at {
        Some(At::Threshold(value)) => {
            let threshold =
                Threshold::new(value).map_err(|e| RequestError::invalid("threshold", e.to_string()))?;
            return Ok((threshold, ThresholdSource::Request));
        }
        Some(At::OperatingPoint(name)) => name,
        None => DEFAULT_POINT.to_owned(),
    };
    match info.operating_points.get(&name) {
        Some(threshold) => Ok((*threshold, ThresholdSource::OperatingPoint(name))),
        None => {
            let known: Vec<&str> = info.operating_points.keys().map(String::as_str).collect();
            let expected = format!("expected one of {}, found {name:?}", known.join(", "));
            Err(RequestError::invalid("operating_point", expected))
        }
    }
}

pub(crate) fn response(
    routed: Routed,
    source: &ThresholdSource,
    info: &ArtifactInfo,
    request_id: String,
    decision_time_us: f64,
) -> v1::RouteResponse {
    let Decision { model, tier, win_probability, interval, threshold, reason, evidence } = routed.decision;
    let tier = match tier {
        Tier::Weak => v1::Tier::Weak,
        Tier::Strong => v1::Tier::Strong,
    };
    let evidence = evidence.into_iter().map(|rung| v1::RungEvidence {
        model: rung.model.as_str().to_owned(),
        win_probability: rung.win_probability.get(),
        interval_lower: rung.interval.lower().get(),
        interval_upper: rung.interval.upper().get(),
    });
    v1::RouteResponse {
        decision_id: uuid::Uuid::now_v7().to_string(),
        request_id,
        tier: tier.into(),
        model: model.as_str().to_owned(),
        win_probability: win_probability.get(),
        interval_lower: interval.lower().get(),
        interval_upper: interval.upper().get(),
        threshold: threshold.get(),
        threshold_source: match source {
            ThresholdSource::Request => "request".to_owned(),
            ThresholdSource::OperatingPoint(name) => format!("operating_point:{name}"),
        },
        reason: reason.as_str().to_owned(),
        evidence: evidence.collect(),
        artifact: info.name.clone(),
        artifact_version: info.version.clone(),
        calibrator_version: info.calibrator_version.clone(),
        input_tokens_used: routed.tokens_used,
        input_truncated: routed.truncated,
        decision_time_us,
        simulated: info.simulated,
    }
}

pub(crate) fn info(info: &ArtifactInfo) -> v1::GetInfoResponse {
    let pair = |pair: &ModelPair| v1::Pair {
        strong: pair.strong().as_str().to_owned(),
        weak: pair.weak().as_str().to_owned(),
    };
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
        operating_points: info.operating_points.iter().map(|(n, t)| (n.clone(), t.get())).collect(),
    }
}
