//! The one place where an error becomes a gRPC status. A wrong request names its field in the
//! `google.rpc.BadRequest` details; a spent budget, which no retry and no dearer model should follow, has a reason in
//! `google.rpc.ErrorInfo`.

use std::collections::HashMap;

use router::{AdmissionError, RouteError};
use strategy::Spent;
use thiserror::Error;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of the reasons in `google.rpc.ErrorInfo`.
pub(crate) const DOMAIN: &str = "rung";

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
    pub(crate) fn invalid(field: &'static str, expected: impl Into<String>) -> Self {
        Self::Invalid { field, expected: expected.into() }
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

    /// One word for machines, where the code does not say enough.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Budget(_) => "BUDGET_SPENT",
            Self::Invalid { .. } | Self::Admission(_) | Self::Policy(_) => "",
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
            RequestError::Budget(_) => {
                let details = ErrorDetails::with_error_info(error.reason(), DOMAIN, HashMap::new());
                Self::with_error_details(error.code(), error.to_string(), details)
            }
            RequestError::Admission(_) | RequestError::Policy(_) => {
                Self::new(error.code(), error.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_budget_says_so_to_machines() {
        let status = Status::from(RequestError::Budget(Spent::StrongCallsPerMinute { limit: 2 }));
        let info = status.get_details_error_info().unwrap();
        assert_eq!((status.code(), info.reason.as_str()), (Code::ResourceExhausted, "BUDGET_SPENT"));
        let other = Status::from(RequestError::Policy("no such model".into()));
        assert!(other.get_details_error_info().is_none());
    }
}
