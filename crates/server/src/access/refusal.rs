//! Why a call was not let in. What is said helps an honest caller and tells a dishonest one nothing: a wrong secret and
//! an id that nobody has are the same refusal. `status` makes the gRPC statuses.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use super::scope::Scopes;

/// Whose limit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    Caller,
    Tenant,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Caller => "this caller",
            Self::Tenant => "the tenant",
        })
    }
}

/// Why a call, or a query of it, was refused.
#[derive(Debug, Clone, PartialEq, Error)]
pub(crate) enum Refusal {
    /// Nothing was shown.
    #[error("expected metadata `authorization: Bearer rung_ID_SECRET`, found none")]
    NoToken,
    /// Something else was shown, or more than one thing.
    #[error("expected one `authorization: Bearer rung_ID_SECRET`, found something else")]
    NotAToken,
    /// An id that nobody has, or a wrong secret: which of both is not said.
    #[error("the token is none of this server's: it is wrong or was taken back")]
    WrongToken,
    /// Its time is over. Only who knows the secret hears it.
    #[error("the token has expired: ask for a new one")]
    Expired,
    /// A verified certificate that no entry names.
    #[error("no entry of the server's names this client certificate, and no token was shown")]
    UnknownCertificate,
    /// The caller may do something else.
    #[error("expected a token of scope {needed}, found one of scope {held}")]
    Scope { needed: Scopes, held: Scopes },
    /// It speaks for its own tenant alone.
    #[error("this caller may not name the tenant: leave out `x-rung-tenant`")]
    NamesTenant,
    /// A name no tenant can have.
    #[error("x-rung-tenant: expected 1 to 128 visible ASCII characters")]
    TenantName,
    /// Too many in a time.
    #[error("the rate of {whose} is used up")]
    Rate { whose: Whose, wait: Duration },
    /// More at once than ever is there.
    #[error("{asked} queries at once are more than the burst of {whose}, {burst}: send fewer together")]
    Burst { whose: Whose, asked: u32, burst: u32 },
    /// Too many at once.
    #[error("{whose} has {limit} calls under way already")]
    Concurrency { whose: Whose, limit: u32 },
    /// A method that nobody is let into, because it is not known.
    #[error("no such method")]
    Unknown,
    /// The requests that are half received take all the room there is.
    #[error("too much of too many requests is half received")]
    Unread,
}

impl Refusal {
    /// A stable name of the reason, in capitals as `ErrorInfo` has them.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NoToken => "TOKEN_MISSING",
            Self::NotAToken | Self::WrongToken => "TOKEN_INVALID",
            Self::Expired => "TOKEN_EXPIRED",
            Self::UnknownCertificate => "CERTIFICATE_UNKNOWN",
            Self::Scope { .. } => "SCOPE_MISSING",
            Self::NamesTenant => "TENANT_NOT_ITS_OWN",
            Self::TenantName => "TENANT_NAME",
            Self::Rate { .. } => "RATE_LIMITED",
            Self::Burst { .. } => "BURST_EXCEEDED",
            Self::Concurrency { .. } => "CONCURRENCY_LIMITED",
            Self::Unknown => "METHOD_UNKNOWN",
            Self::Unread => "REQUESTS_UNREAD",
        }
    }

    /// How long to wait before it is worth another try; none where waiting does not help.
    pub(crate) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Rate { wait, .. } => Some(*wait),
            // When a call of somebody's ends is not known: long enough not to be asked in a loop.
            Self::Concurrency { .. } | Self::Unread => Some(Duration::from_millis(100)),
            _ => None,
        }
    }
}
