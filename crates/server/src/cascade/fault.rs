//! Why a question about a cascade was not answered, as a gRPC status. What is wrong with a token is told by reason in
//! `google.rpc.ErrorInfo`, of the domain `rung`.

use std::collections::HashMap;

use router::CascadeError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::token::TokenError;
use crate::status::{DOMAIN, RequestError};

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The request.
    Request(RequestError),
    /// Its token.
    Token(TokenError),
    /// The verifier, which no caller can help.
    Internal(String),
}

impl From<RequestError> for Fault {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<TokenError> for Fault {
    fn from(error: TokenError) -> Self {
        Self::Token(error)
    }
}

impl From<CascadeError> for Fault {
    fn from(error: CascadeError) -> Self {
        let field = match error {
            CascadeError::Unknown { .. } => "cascade",
            CascadeError::NoSuchModel { .. } => "model",
            CascadeError::NoSuchStage { .. } => "stage",
            CascadeError::NoScore | CascadeError::Rule(_) => return Self::Internal(error.to_string()),
        };
        Self::Request(RequestError::invalid(field, error.to_string()))
    }
}

impl TokenError {
    /// Wrong tokens are the request's fault; those that were right are the state's.
    fn code(self) -> Code {
        match self {
            Self::Malformed | Self::OtherQuery | Self::OtherCascade | Self::OtherStage => {
                Code::InvalidArgument
            }
            Self::Expired | Self::OtherVerifier | Self::Retuned => Code::FailedPrecondition,
            Self::Reused => Code::AlreadyExists,
        }
    }
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Request(error) => error.into(),
            Fault::Token(error) => {
                let mut details = ErrorDetails::with_error_info(error.reason(), DOMAIN, HashMap::new());
                if error.code() == Code::InvalidArgument {
                    details.add_bad_request_violation("token", error.to_string());
                }
                Self::with_error_details(error.code(), format!("token: {error}"), details)
            }
            Fault::Internal(reason) => Self::internal(reason),
        }
    }
}
