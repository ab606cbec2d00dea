//! The one place where an error becomes a gRPC status. A wrong request names its field in the
//! `google.rpc.BadRequest` details.

use router::{AdmissionError, RouteError};
use strategy::Spent;
use thiserror::Error;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

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
            Self::Policy(_) => Code::FailedPrecondition,
            Self::Admission(AdmissionError::QueueFull { .. }) | Self::Budget(_) => Code::ResourceExhausted,
            Self::Admission(AdmissionError::DeadlineExceeded) => Code::DeadlineExceeded,
        }
    }

    /// The field that is wrong, where one is.
    pub(crate) fn field(&self) -> &'static str {
        match self {
            Self::Invalid { field, .. } => field,
            Self::Admission(_) | Self::Policy(_) | Self::Budget(_) => "",
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
            RequestError::Admission(_) | RequestError::Policy(_) | RequestError::Budget(_) => {
                Self::new(error.code(), error.to_string())
            }
        }
    }
}
