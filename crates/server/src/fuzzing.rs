//! The private decoders by plain values, for fuzz targets and property tests, and nothing else: each function is one
//! call. Built for tests and with the cargo feature `fuzzing`, which no served binary has.

use std::time::Duration;

use api::v1;
use decision_log::OutcomeRecord;
use router::ArtifactInfo;
use types::{Ladder, Query};

use crate::access::Tokens;
use crate::cascade::convert::{Answered, planned_query};
use crate::cascade::token::TokenKey;
use crate::status::RequestError;
use crate::{convert, outcomes};

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The field of the request.
    pub field: &'static str,
    /// All of it in words.
    pub message: String,
}

impl From<RequestError> for Refused {
    fn from(error: RequestError) -> Self {
        Self { field: error.field(), message: error.to_string() }
    }
}

/// What a request to route asks, and among which models.
///
/// # Errors
/// As the service refuses it.
pub fn route(request: v1::RouteRequest, info: &ArtifactInfo) -> Result<(Query, Ladder), Refused> {
    let asked = convert::asked(request, info)?;
    Ok((asked.query, asked.ladder))
}

/// The query of a plan.
///
/// # Errors
/// As the service refuses it.
pub fn plan(request: v1::PlanCascadeRequest) -> Result<Query, Refused> {
    Ok(planned_query(request.input, request.system)?)
}

/// The query and the slices of an answer.
///
/// # Errors
/// As the service refuses it.
pub fn assess(request: v1::AssessRequest) -> Result<(Query, Vec<String>), Refused> {
    let answered = Answered::new(request)?;
    Ok((answered.query, answered.slices))
}

/// A report as it would be logged at a moment.
///
/// # Errors
/// As the service refuses it.
pub fn outcome(request: v1::ReportOutcomeRequest, now_us: i64) -> Result<OutcomeRecord, Refused> {
    let (record, _) = outcomes::understood(request, Duration::MAX, now_us)?;
    Ok(record)
}

/// Which state of a file of tokens it is, read beside itself as on a reload.
///
/// # Errors
/// With everything that is wrong, each with its line.
pub fn tokens(text: &str) -> Result<String, Vec<String>> {
    let before = Tokens::parse(text, None)?;
    Ok(Tokens::parse(text, Some(&before))?.version().to_owned())
}

/// The claims of a token that opens, sealed again; nothing where it does not.
pub fn reopened(key: &[u8], token: &str, now_ms: u64) -> Option<String> {
    let key = TokenKey::new(key)?;
    Some(key.seal(&key.open(token, now_ms).ok()?))
}

/// A payload as a token that this key signed, whatever it holds.
pub fn signed(key: &[u8], payload: &[u8]) -> Option<String> {
    Some(TokenKey::new(key)?.sign(payload.to_vec()))
}

#[cfg(test)]
mod tests;
