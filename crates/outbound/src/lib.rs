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

/// Why nothing was posted. Paths and queries of webhooks are secrets: only the server is named.
#[derive(Debug, Error)]
#[error("{server}: {source}")]
pub struct PostError {
    /// Where to, without the path.
    server: String,
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
        done.map_err(|source| PostError { server: server_of(&self.url), source: Box::new(source) })
    }
}

/// Scheme and host of an address.
fn server_of(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    if scheme.is_empty() { host.to_owned() } else { format!("{scheme}://{host}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_secret_is_not_told() {
        for (url, told) in [
            ("https://hooks.example/services/T0/SECRET", "https://hooks.example"),
            ("https://user:SECRET@host:8443/x?token=SECRET", "https://host:8443"),
            ("http://host?token=SECRET", "http://host"),
            ("host/SECRET", "host"),
        ] {
            assert_eq!(server_of(url), told);
        }
        let patience = Patience { attempts: 2, pause: Duration::from_millis(1), ..Patience::default() };
        let refused = JsonPost::to("http://127.0.0.1:1/SECRET", None, patience).post(&Value::Null);
        let refused = refused.map_err(|e| e.to_string()).err().unwrap_or_default();
        assert!(refused.starts_with("http://127.0.0.1:1: ") && !refused.contains("SECRET"), "{refused}");
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let patience = Patience { attempts: 3, pause: Duration::from_millis(1), ..Patience::default() };
        let tries = |passing: bool| {
            let mut tries = 0;
            let _: Result<(), ()> = patience.attempts(
                |()| passing,
                || {
                    tries += 1;
                    Err(())
                },
            );
            tries
        };
        assert_eq!((tries(true), tries(false)), (3, 1));
    }
}
