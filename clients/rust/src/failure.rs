//! What a status means to a caller: refused for good, or not answered, and whether to try again.

use std::error::Error;
use std::time::Duration;

use thiserror::Error;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::decision::Reason;

/// The reason in `google.rpc.ErrorInfo` of a budget that is spent. Another try or the strong model is the last
/// thing that its owner wants.
pub(crate) const BUDGET_SPENT: &str = "BUDGET_SPENT";

/// Rung refuses the request: it is wrong, not allowed, or over budget. The same again is refused again.
#[derive(Debug, Clone, Error)]
#[error("{}: {}", .0.code(), .0.message())]
pub struct Refused(pub Box<Status>);

/// Why a call has no answer.
#[derive(Debug, Clone, Error)]
pub enum CallError {
    /// Refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Not answered.
    #[error("{0}")]
    NotAnswered(Reason),
}

/// A failed attempt.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    Refused(Refused),
    NotAnswered {
        reason: Reason,
        /// Whether the same may go well a moment later.
        retry: bool,
        /// How long the server asks to be left alone.
        retry_after: Option<Duration>,
    },
}

impl Failure {
    pub(crate) fn too_late() -> Self {
        Self::final_because(Reason::TooLate)
    }

    fn final_because(reason: Reason) -> Self {
        Self::NotAnswered { reason, retry: false, retry_after: None }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let message = || status.message().to_owned();
        let again = |reason| {
            let info = status.get_details_retry_info();
            let retry_after = info.and_then(|info| info.retry_delay);
            Self::NotAnswered { reason, retry: true, retry_after }
        };
        match status.code() {
            Code::Unavailable => again(Reason::Unreachable(message())),
            Code::ResourceExhausted => {
                let spent = status.get_details_error_info().is_some_and(|info| info.reason == BUDGET_SPENT);
                if spent {
                    Self::Refused(Refused(Box::new(status)))
                } else {
                    again(Reason::Overloaded(message()))
                }
            }
            // A connection that went as the call began: gRPC's own clients begin it again, tonic leaves it to us.
            Code::Cancelled if is_of_the_connection(&status) => again(Reason::Unreachable(message())),
            // CANCELLED is what tonic, Rung's included, says where the deadline ends a call.
            Code::DeadlineExceeded | Code::Cancelled => Self::too_late(),
            Code::Unknown | Code::Internal | Code::DataLoss | Code::Aborted => {
                Self::final_because(Reason::Broken(message()))
            }
            _ => Self::Refused(Refused(Box::new(status))),
        }
    }
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refused) => Self::Refused(refused),
            Failure::NotAnswered { reason, .. } => Self::NotAnswered(reason),
        }
    }
}

/// Whether the transport failed, and not for want of time.
fn is_of_the_connection(status: &Status) -> bool {
    let mut cause = status.source();
    let of_transport = cause.is_some_and(<dyn Error>::is::<tonic::transport::Error>);
    while let Some(found) = cause {
        if found.is::<tonic::TimeoutExpired>() {
            return false;
        }
        cause = found.source();
    }
    of_transport
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use tonic_types::ErrorDetails;

    fn retried(status: Status) -> Option<Option<Duration>> {
        match Failure::from(status) {
            Failure::NotAnswered { retry: true, retry_after, .. } => Some(retry_after),
            _ => None,
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for code in (1..=16).map(Code::from_i32) {
            let again = matches!(code, Code::Unavailable | Code::ResourceExhausted);
            assert_eq!(retried(Status::new(code, "x")).is_some(), again, "{code:?}");
        }
        let wait = Duration::from_millis(30);
        let details = ErrorDetails::with_retry_info(Some(wait));
        let told = Status::with_error_details(Code::ResourceExhausted, "full", details);
        assert_eq!(retried(told), Some(Some(wait)));
    }

    #[test]
    fn a_spent_budget_and_a_wrong_request_are_refusals() {
        let details = ErrorDetails::with_error_info(BUDGET_SPENT, "rung", HashMap::new());
        let spent = Status::with_error_details(Code::ResourceExhausted, "spent", details);
        assert!(matches!(Failure::from(spent), Failure::Refused(_)));
        for code in [Code::InvalidArgument, Code::Unauthenticated, Code::PermissionDenied, Code::NotFound] {
            assert!(matches!(Failure::from(Status::new(code, "x")), Failure::Refused(_)), "{code:?}");
        }
        assert!(matches!(
            Failure::from(Status::internal("x")),
            Failure::NotAnswered { reason: Reason::Broken(_), retry: false, .. }
        ));
    }
}
