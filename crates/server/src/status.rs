//! The one place where an error becomes a gRPC status. A wrong request names its field in the `google.rpc.BadRequest`
//! details; one that was refused before any work says why in `google.rpc.ErrorInfo`, and when to try again in
//! `google.rpc.RetryInfo`.

use std::time::Duration;

use router::{AdmissionError, RouteError};
use strategy::Spent;
use thiserror::Error;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::access::Refusal;

/// The domain of the reasons in `google.rpc.ErrorInfo`.
pub(crate) const DOMAIN: &str = "rung";

/// The trailer by which a server tells gRPC's own retries when to come back, milliseconds.
const PUSHBACK: &str = "grpc-retry-pushback-ms";
/// Bytes of a refusal: it goes into the trailers twice, escaped, and clients refuse trailers above 8 KiB.
const LONGEST_TOLD: usize = 600;

/// Why a request was not answered with a decision.
#[derive(Debug, Clone, PartialEq, Error)]
pub(crate) enum RequestError {
    /// A field that does not hold what it should.
    #[error("{field}: {expected}")]
    Invalid { field: &'static str, expected: String },
    /// Turned away before work.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// The caller may not, or not now.
    #[error(transparent)]
    Access(#[from] Refusal),
    /// What the policy leads to cannot be run, and nothing takes its place.
    #[error("policy: {0}")]
    Policy(String),
    /// The budget is spent, and nothing may be called instead.
    #[error("policy: budget spent: {0}")]
    Budget(Spent),
}

impl RequestError {
    /// `expected` may repeat what was sent: as much of it is told as fits into a trailer of any client.
    pub(crate) fn invalid(field: &'static str, expected: impl Into<String>) -> Self {
        let mut expected = expected.into();
        if expected.len() > LONGEST_TOLD {
            expected.truncate(expected.floor_char_boundary(LONGEST_TOLD));
            expected.push_str("...");
        }
        Self::Invalid { field, expected }
    }

    /// A model or pair that the artifact cannot speak of; `field` is where the request named it.
    pub(crate) fn route(error: &RouteError, field: &'static str) -> Self {
        let field = if error.is_about_operating_point() { "operating_point" } else { field };
        Self::invalid(field, error.to_string())
    }

    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Invalid { .. } => Code::InvalidArgument,
            Self::Access(refused) => code(refused),
            Self::Policy(_) => Code::FailedPrecondition,
            Self::Budget(_) => Code::ResourceExhausted,
            // What a queue is in the way of may be done elsewhere or later; for the rest there was no time anyway.
            Self::Admission(refused) if refused.retry_after().is_some() => Code::ResourceExhausted,
            Self::Admission(_) => Code::DeadlineExceeded,
        }
    }

    /// Why, in capitals: what `ErrorInfo` and metrics are told.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "INVALID",
            Self::Admission(refused) => refused.refusal().as_str(),
            Self::Access(refused) => refused.reason(),
            Self::Policy(_) => "POLICY",
            Self::Budget(_) => "BUDGET_SPENT",
        }
    }

    /// When trying again has a chance, where that is known.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Admission(refused) => refused.retry_after(),
            Self::Access(refused) => refused.wait(),
            Self::Invalid { .. } | Self::Policy(_) | Self::Budget(_) => None,
        }
    }

    /// The field that is wrong, where one is.
    pub(crate) fn field(&self) -> &'static str {
        match self {
            Self::Invalid { field, .. } => field,
            Self::Admission(_) | Self::Access(_) | Self::Policy(_) | Self::Budget(_) => "",
        }
    }
}

impl From<RequestError> for Status {
    fn from(error: RequestError) -> Self {
        match &error {
            RequestError::Invalid { field, expected } => {
                let details = ErrorDetails::with_bad_request_violation(*field, expected.clone());
                Self::with_error_details(error.code(), error.to_string(), details)
            }
            RequestError::Admission(_)
            | RequestError::Access(_)
            | RequestError::Policy(_)
            | RequestError::Budget(_) => refused(&error),
        }
    }
}

impl From<Refusal> for Status {
    fn from(refused: Refusal) -> Self {
        RequestError::Access(refused).into()
    }
}

fn code(refused: &Refusal) -> Code {
    match refused {
        Refusal::NoToken
        | Refusal::NotAToken
        | Refusal::WrongToken
        | Refusal::Expired
        | Refusal::UnknownCertificate => Code::Unauthenticated,
        Refusal::Scope { .. } | Refusal::NamesTenant => Code::PermissionDenied,
        Refusal::TenantName => Code::InvalidArgument,
        Refusal::Unknown => Code::Unimplemented,
        Refusal::Rate { .. } | Refusal::Burst { .. } | Refusal::Concurrency { .. } | Refusal::Unread => {
            Code::ResourceExhausted
        }
    }
}

/// A whole millisecond more rather than one less: a caller's timer is no finer, and a little early is refused again.
pub(crate) fn whole_ms(delay: Duration) -> u64 {
    u64::try_from(delay.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX)
}

fn refused(error: &RequestError) -> Status {
    let mut details = ErrorDetails::with_error_info(error.reason(), DOMAIN, []);
    let retry_ms = error.retry_after().map(whole_ms);
    if let Some(ms) = retry_ms {
        details.set_retry_info(Some(Duration::from_millis(ms)));
    }
    let mut status = Status::with_error_details(error.code(), error.to_string(), details);
    if let Some(ms) = retry_ms {
        status.metadata_mut().insert(PUSHBACK, MetadataValue::from(ms));
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_to_machines_why_and_when_to_come_back() {
        let info = |error: RequestError| {
            let status = Status::from(error);
            let (info, retry) = (status.get_details_error_info(), status.get_details_retry_info());
            (status.code(), info.map(|info| info.reason), retry.and_then(|retry| retry.retry_delay))
        };
        let spent = info(RequestError::Budget(Spent::StrongCallsPerMinute { limit: 2 }));
        assert_eq!(spent, (Code::ResourceExhausted, Some("BUDGET_SPENT".to_owned()), None));
        let wait = Duration::from_micros(1_200);
        let rate = info(RequestError::Access(Refusal::Rate { whose: crate::access::Whose::Caller, wait }));
        let whole = Duration::from_millis(2);
        assert_eq!(rate, (Code::ResourceExhausted, Some("RATE_LIMITED".to_owned()), Some(whole)));
        let unknown = info(RequestError::Policy("no such model".into()));
        assert_eq!(unknown, (Code::FailedPrecondition, Some("POLICY".to_owned()), None));
    }
}
