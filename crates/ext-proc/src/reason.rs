//! Why a request was not routed, as a header, as an HTTP answer and as words; and what ends a stream that does not
//! speak the protocol.

use std::time::Duration;

use thiserror::Error;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Why there is no decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The request has no body.
    NoBody,
    /// The body is not JSON in UTF-8.
    NotJson,
    /// The body holds nothing that a person or a program asks.
    NoText,
    /// The body is longer than what is read.
    BodyTooLong,
    /// The body is compressed.
    Encoded,
    /// A field or a header does not hold what it should.
    Invalid,
    /// The router is busy, or its budget is spent.
    Overloaded,
    /// The decision would have come too late.
    Deadline,
    /// The router failed.
    Failed,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::NoBody,
        Self::NotJson,
        Self::NoText,
        Self::BodyTooLong,
        Self::Encoded,
        Self::Invalid,
        Self::Overloaded,
        Self::Deadline,
        Self::Failed,
    ];

    /// The word in headers and error bodies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoBody => "no_body",
            Self::NotJson => "not_json",
            Self::NoText => "no_text",
            Self::BodyTooLong => "body_too_long",
            Self::Encoded => "encoded",
            Self::Invalid => "invalid",
            Self::Overloaded => "overloaded",
            Self::Deadline => "deadline",
            Self::Failed => "failed",
        }
    }

    /// The HTTP status of a refusal.
    pub fn http_status(self) -> u16 {
        match self {
            Self::NoBody | Self::NotJson | Self::NoText | Self::Invalid => 400,
            Self::BodyTooLong => 413,
            Self::Encoded => 415,
            Self::Overloaded => 429,
            Self::Failed => 503,
            Self::Deadline => 504,
        }
    }

    /// The kind of error as OpenAI's clients know it.
    pub(crate) fn error_type(self) -> &'static str {
        match self.http_status() {
            429 => "rate_limit_error",
            503 | 504 => "server_error",
            _ => "invalid_request_error",
        }
    }
}

/// A request that was not routed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub(crate) struct Unrouted {
    pub(crate) reason: Reason,
    /// In words, for the caller.
    pub(crate) message: String,
    /// When to ask again, where the router says so.
    pub(crate) retry_after: Option<Duration>,
}

impl Unrouted {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry_after: None }
    }
}

impl From<Status> for Unrouted {
    fn from(status: Status) -> Self {
        let reason = match status.code() {
            Code::InvalidArgument => Reason::Invalid,
            Code::ResourceExhausted => Reason::Overloaded,
            Code::DeadlineExceeded | Code::Cancelled => Reason::Deadline,
            _ => Reason::Failed,
        };
        let message = match reason {
            // What went wrong inside is for the log, not for callers.
            Reason::Failed => format!("the router failed: {}", status.code()),
            _ => status.message().to_owned(),
        };
        let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
        Self { reason, message, retry_after }
    }
}

/// What the data plane did that ends the stream: a matter of its configuration, not of one request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ProtocolError {
    /// A mode in which the body cannot be read whole, or headers can no longer be changed.
    #[error("request_body_mode is {0}: expected BUFFERED or BUFFERED_PARTIAL")]
    BodyMode(&'static str),
    /// Answers would be ignored.
    #[error("observability_mode is on: a decision that is ignored is not made")]
    Observing,
    /// Not what comes next.
    #[error("expected {expected}, found {found}")]
    OutOfOrder { expected: &'static str, found: &'static str },
}

impl From<ProtocolError> for Status {
    fn from(error: ProtocolError) -> Self {
        let code = match error {
            ProtocolError::BodyMode(_) | ProtocolError::Observing => Code::FailedPrecondition,
            ProtocolError::OutOfOrder { .. } => Code::InvalidArgument,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn reasons_are_distinct_words() {
        let mut words: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Reason::ALL.len());
    }

    #[test]
    fn a_busy_router_says_when_to_come_back() {
        let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(1_500)));
        let status = Status::with_error_details(Code::ResourceExhausted, "busy", details);
        let unrouted = Unrouted::from(status);
        assert_eq!(unrouted.reason, Reason::Overloaded);
        assert_eq!(unrouted.retry_after, Some(Duration::from_millis(1_500)));
    }

    #[test]
    fn what_went_wrong_inside_stays_inside() {
        let unrouted = Unrouted::from(Status::internal("postgres://rung:secret@db/rung is away"));
        assert_eq!(unrouted.reason, Reason::Failed);
        assert!(!unrouted.message.contains("secret"), "{unrouted}");
    }
}
