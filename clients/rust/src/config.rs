//! How Rung is reached, what a call may take, and what is done without it. Checked once, when a client is made.

use std::fmt;
use std::time::Duration;

use thiserror::Error;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::decision::Fallback;

/// TLS: whom to trust, and who we are.
#[derive(Clone, Default)]
pub struct Tls {
    /// Authorities that sign the server's certificate, PEM; those of the system when absent.
    pub ca: Option<Vec<u8>>,
    /// Our certificate and its key, PEM, where the server asks for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// The name in the server's certificate, where it is another than that of the address.
    pub server_name: Option<String>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys stay out of logs.
        let identity = self.identity.is_some();
        f.debug_struct("Tls")
            .field("identity", &identity)
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// When a call that was not answered is made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Attempts of a call, the first one included; 1: none but that.
    pub attempts: u32,
    /// The longest wait before the second attempt; it doubles with each. The wait is anything up to it.
    pub first_backoff: Duration,
    /// The longest wait of all.
    pub longest_backoff: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 3,
            first_backoff: Duration::from_millis(5),
            longest_backoff: Duration::from_millis(25),
        }
    }
}

/// How Rung is reached, what a call may take, and what is done without it.
#[derive(Clone)]
pub struct Config {
    pub(crate) address: String,
    pub(crate) fallback: Fallback,
    pub(crate) tls: Option<Tls>,
    pub(crate) token: Option<String>,
    pub(crate) tenant: Option<String>,
    pub(crate) plaintext_token: bool,
    pub(crate) deadline: Duration,
    pub(crate) report_deadline: Duration,
    pub(crate) retry: Retry,
    pub(crate) hedge_after: Option<Duration>,
}

/// Why a configuration makes no client.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It is not host and port, or the certificates are not PEM.
    #[error("{address}: {reason}")]
    Endpoint {
        /// As given.
        address: String,
        /// What is wrong.
        reason: String,
    },
    /// It cannot stand in a header.
    #[error("the {0} holds what a header cannot")]
    Header(&'static str),
    /// Whoever listens on the way could use it.
    #[error("a token over plain text to {0}: give TLS, or allow it where the way is safe")]
    PlaintextToken(String),
    /// No call could succeed.
    #[error("{0} must be above 0")]
    Zero(&'static str),
}

impl Config {
    /// Rung at `host:port`, without TLS; decisions within 50 ms, reports within 2 s, three attempts, no hedging.
    #[must_use]
    pub fn new(address: impl Into<String>, fallback: Fallback) -> Self {
        Self {
            address: address.into(),
            fallback,
            tls: None,
            token: None,
            tenant: None,
            plaintext_token: false,
            deadline: Duration::from_millis(50),
            report_deadline: Duration::from_secs(2),
            retry: Retry::default(),
            hedge_after: None,
        }
    }

    /// Speaks TLS.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sends this bearer token.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Names the tenant that is asked for, where the token may speak for several.
    #[must_use]
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Sends the token without TLS to other machines too: where a proxy beside us encrypts.
    #[must_use]
    pub fn allow_plaintext_token(mut self) -> Self {
        self.plaintext_token = true;
        self
    }

    /// What a decision or a verdict may take, all attempts together.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// What a report may take: Rung answers it once it is on disk.
    #[must_use]
    pub fn report_deadline(mut self, deadline: Duration) -> Self {
        self.report_deadline = deadline;
        self
    }

    /// When to try again.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Asks for a decision a second time, once, when there is no answer after so long; the first answer counts. It
    /// costs the server work: worth it where several replicas answer and few are slow.
    #[must_use]
    pub fn hedge_after(mut self, after: Duration) -> Self {
        self.hedge_after = Some(after);
        self
    }

    pub(crate) fn endpoint(&self) -> Result<Endpoint, ConfigError> {
        let fail = |reason: String| ConfigError::Endpoint { address: self.address.clone(), reason };
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{}", self.address));
        let endpoint = endpoint.map_err(|error| fail(error.to_string()))?;
        let uri = endpoint.uri();
        if uri.port().is_none() || uri.path() != "/" || uri.query().is_some() {
            return Err(fail("not host:port".into()));
        }
        for (what, value) in [("the deadline", self.deadline), ("the report deadline", self.report_deadline)]
        {
            if value.is_zero() {
                return Err(ConfigError::Zero(what));
            }
        }
        if self.retry.attempts == 0 {
            return Err(ConfigError::Zero("the number of attempts"));
        }
        let Some(tls) = &self.tls else {
            let here = matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
            if self.token.is_some() && !self.plaintext_token && !here {
                return Err(ConfigError::PlaintextToken(self.address.clone()));
            }
            return Ok(endpoint);
        };
        endpoint.tls_config(tls.config()).map_err(|error| fail(error.to_string()))
    }

    /// The headers of every call.
    pub(crate) fn headers(&self) -> Result<Vec<(&'static str, MetadataValue<Ascii>)>, ConfigError> {
        let mut headers = Vec::new();
        if let Some(token) = &self.token {
            let value = format!("Bearer {token}").parse::<MetadataValue<Ascii>>();
            let mut value = value.map_err(|_| ConfigError::Header("token"))?;
            value.set_sensitive(true);
            headers.push(("authorization", value));
        }
        if let Some(tenant) = &self.tenant {
            headers.push(("x-rung-tenant", tenant.parse().map_err(|_| ConfigError::Header("tenant"))?));
        }
        Ok(headers)
    }
}

impl Tls {
    fn config(&self) -> ClientTlsConfig {
        let mut config = ClientTlsConfig::new();
        config = match &self.ca {
            Some(ca) => config.ca_certificate(Certificate::from_pem(ca)),
            None => config.with_native_roots(),
        };
        if let Some((certificate, key)) = &self.identity {
            config = config.identity(Identity::from_pem(certificate, key));
        }
        if let Some(name) = &self.server_name {
            config = config.domain_name(name);
        }
        config
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token stays out of logs.
        f.debug_struct("Config")
            .field("address", &self.address)
            .field("fallback", &self.fallback)
            .field("tls", &self.tls)
            .field("token", &self.token.is_some())
            .field("tenant", &self.tenant)
            .field("deadline", &self.deadline)
            .field("retry", &self.retry)
            .field("hedge_after", &self.hedge_after)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(address: &str) -> Config {
        Config::new(address, Fallback::strong("big"))
    }

    #[test]
    fn what_cannot_work_is_refused_at_once() {
        assert!(config("127.0.0.1:50051").endpoint().is_ok());
        for wrong in ["", "localhost", "http://localhost:1", "localhost:1/path", "a b:1"] {
            let error = config(wrong).endpoint().unwrap_err();
            assert!(matches!(error, ConfigError::Endpoint { .. }), "{wrong}: {error}");
        }
        let zero = config("localhost:1").deadline(Duration::ZERO).endpoint().unwrap_err();
        assert_eq!(zero.to_string(), "the deadline must be above 0");
        let none = Retry { attempts: 0, ..Retry::default() };
        assert!(matches!(config("localhost:1").retry(none).endpoint(), Err(ConfigError::Zero(_))));
        let bad = Tls {
            ca: Some(b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n".to_vec()),
            ..Tls::default()
        };
        assert!(config("localhost:1").tls(bad).endpoint().is_err());
        assert!(matches!(config("localhost:1").token("a\nb").headers(), Err(ConfigError::Header("token"))));
    }

    #[test]
    fn a_token_needs_a_safe_way_and_is_not_shown() {
        let away = config("rung.example:50051").token("rung_app_secret");
        assert!(matches!(away.endpoint(), Err(ConfigError::PlaintextToken(_))));
        assert!(away.clone().allow_plaintext_token().endpoint().is_ok());
        assert!(config("localhost:50051").token("rung_app_secret").endpoint().is_ok());
        assert!(config("[::1]:50051").token("rung_app_secret").endpoint().is_ok());
        assert!(!format!("{away:?} {:?}", away.headers().unwrap()).contains("secret"));
        let tls = Tls { identity: Some((b"c".to_vec(), b"topsecret".to_vec())), ..Tls::default() };
        assert!(!format!("{:?}", away.tls(tls)).contains("topsecret"));
    }
}
