//! A decision: Rung's, or the application's own for when there is none.

use std::fmt;

use api::v1::{RouteResponse, Tier};

/// The model that is called when Rung does not decide. Strong, unless the application names a weak one in so many
/// words: what Rung cannot judge must not silently become cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    pub(crate) model: String,
    pub(crate) tier: Tier,
}

impl Fallback {
    /// The strong model, by name.
    #[must_use]
    pub fn strong(model: impl Into<String>) -> Self {
        Self { model: model.into(), tier: Tier::Strong }
    }

    /// A weak model, by name: cheaper, and at nobody's odds.
    #[must_use]
    pub fn weak(model: impl Into<String>) -> Self {
        Self { model: model.into(), tier: Tier::Weak }
    }

    pub(crate) fn because(&self, reason: Reason) -> FallbackDecision {
        FallbackDecision { model: self.model.clone(), tier: self.tier, reason }
    }
}

/// Why Rung did not decide.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Nobody answers there, or the server is going.
    Unreachable(String),
    /// No answer within the deadline.
    TooLate,
    /// The server has more to do than it can.
    Overloaded(String),
    /// The server or the connection broke.
    Broken(String),
}

impl Reason {
    /// One word, for a counter: `unreachable`, `too_late`, `overloaded` or `broken`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::TooLate => "too_late",
            Self::Overloaded(_) => "overloaded",
            Self::Broken(_) => "broken",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLate => f.write_str(self.name()),
            Self::Unreachable(said) | Self::Overloaded(said) | Self::Broken(said) => {
                write!(f, "{}: {said}", self.name())
            }
        }
    }
}

/// What the application does without a decision of Rung.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FallbackDecision {
    /// The model to call.
    pub model: String,
    /// Strong, unless configured otherwise.
    pub tier: Tier,
    /// Why.
    pub reason: Reason,
}

/// Which model to call, and whose word that is.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Rung's, with its odds and evidence.
    Routed(Box<RouteResponse>),
    /// The application's own.
    Fallback(FallbackDecision),
}

impl Decision {
    /// The model to call.
    #[must_use]
    pub fn model(&self) -> &str {
        match self {
            Self::Routed(response) => &response.model,
            Self::Fallback(fallback) => &fallback.model,
        }
    }

    /// Rung's answer, where it decided.
    #[must_use]
    pub fn routed(&self) -> Option<&RouteResponse> {
        match self {
            Self::Routed(response) => Some(response),
            Self::Fallback(_) => None,
        }
    }

    /// Why it did not, where it did not.
    #[must_use]
    pub fn fallback(&self) -> Option<&FallbackDecision> {
        match self {
            Self::Routed(_) => None,
            Self::Fallback(fallback) => Some(fallback),
        }
    }
}
