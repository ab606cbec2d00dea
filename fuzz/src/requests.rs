//! Requests as bytes of protobuf, and what the services understand of them: the first byte says which message the
//! rest is. A query is never longer than its bytes, and a refusal names a field.

use api::v1;
use decision_log::OutcomeRecord;
use prost::Message;
use router::{ArtifactInfo, Exploration};
use server::fuzzing::{Refused, assess, outcome, plan, route};
use types::{ModelName, ModelPair, Query};

/// Late enough for every id that tells the time.
const NOW_US: i64 = i64::MAX / 4;

/// What fits into the trailers of an answer.
const LONGEST_TOLD: usize = 700;

/// Reads the bytes after the first as the message that the first names: `r`oute, a `b`atch of those, `p`lan of a
/// cascade, an `a`nswer to assess, an `o`utcome.
pub fn decode(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    match first {
        b'r' => each(v1::RouteRequest::decode(rest), |request| routed(request, rest.len())),
        b'b' => each(v1::RouteBatchRequest::decode(rest), |batch| {
            batch.requests.into_iter().for_each(|request| routed(request, rest.len()));
        }),
        b'p' => each(v1::PlanCascadeRequest::decode(rest), |request| is_query(plan(request), rest.len())),
        b'a' => each(v1::AssessRequest::decode(rest), |request| {
            let labels = request.labels.len();
            let understood = assess(request).map(|(query, slices)| {
                assert!(slices.is_sorted() && slices.len() == labels);
                query
            });
            is_query(understood, rest.len());
        }),
        b'o' => each(v1::ReportOutcomeRequest::decode(rest), |request| match outcome(request, NOW_US) {
            Ok(record) => is_kept(record),
            Err(refused) => is_told(&refused),
        }),
        _ => {}
    }
}

/// What is no message never reaches a service.
fn each<M: Message + Default>(message: Result<M, prost::DecodeError>, then: impl FnOnce(M)) {
    if let Ok(message) = message {
        assert!(M::decode(message.encode_to_vec().as_slice()).is_ok());
        then(message);
    }
}

fn is_told(refused: &Refused) {
    let named = !refused.field.is_empty() && refused.message.starts_with(refused.field);
    assert!(named && refused.message.len() > refused.field.len() + 2, "{refused:?}");
    assert!(
        refused.message.len() <= LONGEST_TOLD,
        "a refusal repeats what was sent: {} bytes",
        refused.message.len()
    );
}

fn is_query(understood: Result<Query, Refused>, most: usize) {
    match understood {
        Ok(query) => assert!(query.byte_len() <= most),
        Err(refused) => is_told(&refused),
    }
}

fn routed(request: v1::RouteRequest, most: usize) {
    let Some(info) = info() else { return };
    let named = request.models.is_some();
    let understood = route(request, &info).map(|(query, ladder)| {
        assert!(ladder.rungs().len() >= 2 && (named || *ladder.top() == *info.default_pair.strong()));
        query
    });
    is_query(understood, most);
}

fn info() -> Option<ArtifactInfo> {
    let (strong, weak) = (ModelName::new("big").ok()?, ModelName::new("small").ok()?);
    let pair = ModelPair::new(strong.clone(), weak.clone()).ok()?;
    Some(ArtifactInfo {
        name: "fuzz".to_owned(),
        version: "0".to_owned(),
        calibrator_version: "0".to_owned(),
        default_pair: pair.clone(),
        pairs: vec![pair],
        models: vec![strong, weak],
        operating_points: Vec::new(),
        high_stakes: Vec::new(),
        warnings: Vec::new(),
        simulated: true,
        created: String::new(),
        deep_pairs: Vec::new(),
        exploration: Exploration::default(),
    })
}

/// A report that was accepted is accepted again, and is written as it is read.
fn is_kept(record: OutcomeRecord) {
    assert_eq!(record.clone().checked().as_ref(), Ok(&record));
    let text = serde_json::to_string(&record).unwrap_or_default();
    assert_eq!(serde_json::from_str(&text).ok(), Some(record));
}
