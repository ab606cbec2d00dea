//! Wire messages to domain values and back; every refusal names the request field.

use api::v1;
use router::{ArtifactInfo, At, PointInfo, Routed};
use types::{Decision, Ladder, Message, ModelError, ModelName, ModelPair, Query, Role, Threshold, Tier};

use crate::status::RequestError;

/// A request understood.
pub(crate) struct Asked {
    pub(crate) query: Query,
    pub(crate) ladder: Ladder,
    /// The field that named the models, for errors about them.
    pub(crate) models_field: &'static str,
    pub(crate) source: Source,
    pub(crate) slices: Vec<String>,
}

/// Where the threshold of a request comes from.
pub(crate) enum Source {
    Request(Threshold),
    OperatingPoint(String),
}

impl Source {
    pub(crate) fn at(&self) -> At<'_> {
        match self {
            Self::Request(threshold) => At::Threshold(*threshold),
            Self::OperatingPoint(name) => At::OperatingPoint(name),
        }
    }

    fn to_wire(&self) -> String {
        match self {
            Self::Request(_) => "request".to_owned(),
            Self::OperatingPoint(name) => format!("operating_point:{name}"),
        }
    }
}

const DEFAULT_POINT: &str = "default";

pub(crate) fn asked(request: v1::RouteRequest, info: &ArtifactInfo) -> Result<Asked, RequestError> {
    let query = query(request.input, request.system)?;
    let (ladder, models_field) = ladder(request.models, info)?;
    let source = source(request.at)?;
    let slices = request.labels.iter().map(|(key, value)| slice(key, value)).collect();
    Ok(Asked { query, ladder, models_field, source, slices })
}

/// A label as the slice that training data would tag it with.
fn slice(key: &str, value: &str) -> String {
    if value.is_empty() || value == "true" { key.to_owned() } else { format!("{key}:{value}") }
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

fn source(at: Option<v1::route_request::At>) -> Result<Source, RequestError> {
    use v1::route_request::At as Wire;
    match at {
        Some(Wire::Threshold(value)) => {
            let threshold = Threshold::new(value);
            threshold.map(Source::Request).map_err(|e| RequestError::invalid("threshold", e.to_string()))
        }
        Some(Wire::OperatingPoint(name)) => Ok(Source::OperatingPoint(name)),
        None => Ok(Source::OperatingPoint(DEFAULT_POINT.to_owned())),
    }
}

pub(crate) fn response(
    routed: Routed,
    source: &Source,
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
        warnings: info.warnings.clone(),
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

pub(crate) fn info(info: &ArtifactInfo) -> v1::GetInfoResponse {
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
    }
}
