//! Connections that Rung opens of its own: an encoder that is fetched, a judge that is asked, an alarm that is sent.
//! How long a server is waited for, whom TLS trusts, and when another attempt may help; what is said is the caller's.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use serde_json::Value;
use thiserror::Error;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Error};

/// How long a server is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Until it is connected.
    pub connect: Duration,
    /// Until it begins to answer, and between two pieces of the answer.
    pub stall: Duration,
    /// Attempts, at least 1; those after the first only where another may succeed.
    pub attempts: u32,
    /// Before the second attempt; doubled for each further one.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            stall: Duration::from_secs(30),
            attempts: 3,
            pause: Duration::from_secs(1),
        }
    }
}

impl Patience {
    /// Runs attempts until one succeeds, none further may, or there are no more.
    ///
    /// # Errors
    /// What the last attempt gave.
    pub fn attempts<T, E>(
        &self,
        is_passing: impl Fn(&E) -> bool,
        mut attempt: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut pause = self.pause;
        for _ in 1..self.attempts {
            match attempt() {
                Err(error) if is_passing(&error) => std::thread::sleep(pause),
                done => return done,
            }
            pause *= 2;
        }
        attempt()
    }
}

/// TLS with the certificates of the system: mirrors with roots of their own are found there.
pub fn agent(patience: &Patience) -> Agent {
    // A system without any certificate trusts no https address; http needs none.
    let found = rustls_native_certs::load_native_certs().certs;
    let roots: Vec<Certificate<'static>> =
        found.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .user_agent(concat!("rung/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(patience.connect))
        .timeout_recv_response(Some(patience.stall))
        .timeout_per_read(Some(patience.stall))
        .build()
        .into()
}

/// Whether another attempt may succeed.
pub fn is_passing(error: &Error) -> bool {
    matches!(
        error,
        Error::StatusCode(408 | 429 | 500..)
            | Error::Timeout(_)
            | Error::Io(_)
            | Error::Protocol(_)
            | Error::ConnectionFailed
    )
}

/// Why nothing was posted.
#[derive(Debug, Error)]
#[error("{url}: {source}")]
pub struct PostError {
    /// Where to.
    url: String,
    /// What happened.
    source: Box<Error>,
}

/// A place that takes JSON.
#[derive(Debug, Clone)]
pub struct JsonPost {
    agent: Agent,
    url: String,
    bearer: Option<String>,
    patience: Patience,
}

impl JsonPost {
    /// `bearer`: a token for the Authorization header, where one is asked for.
    pub fn to(url: impl Into<String>, bearer: Option<String>, patience: Patience) -> Self {
        Self { agent: agent(&patience), url: url.into(), bearer, patience }
    }

    /// Posts a body, in as many attempts as it takes; the answer as text.
    ///
    /// # Errors
    /// When the server is away or refuses.
    pub fn post(&self, body: &Value) -> Result<String, PostError> {
        let attempt = || {
            let mut request = self.agent.post(&self.url);
            if let Some(token) = &self.bearer {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            request.send_json(body)?.body_mut().read_to_string()
        };
        let done = self.patience.attempts(is_passing, attempt);
        done.map_err(|source| PostError { url: self.url.clone(), source: Box::new(source) })
    }
}
