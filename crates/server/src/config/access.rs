//! Who may call and how much a stranger may cost: certificates, tokens, bounds of connections. What is safe is the
//! default: a listener that other machines reach needs tokens and TLS, or a word that it does not.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use super::{ConfigError, at_least};

/// Settings of access, `[access]` in the file.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessSettings {
    /// The server's certificate and what leads to its root, PEM; read again when it changes.
    #[arg(long, env = "RUNG_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's key, PEM.
    #[arg(long, env = "RUNG_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Clients have to show a certificate of one of these authorities, PEM.
    #[arg(long, env = "RUNG_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// Who may call (TOML; `server token new` makes entries); read again when it changes.
    #[arg(long, env = "RUNG_TOKENS", value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    /// Callers without a token may route, report outcomes and read, from other machines too; never administer.
    #[arg(long, env = "RUNG_ALLOW_ANONYMOUS", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub allow_anonymous: Option<bool>,
    /// Tokens may cross the network unencrypted, where something else encrypts it.
    #[arg(long, env = "RUNG_ALLOW_PLAINTEXT", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub allow_plaintext: Option<bool>,
    /// Connections of a listener at most; more are closed at once. 10000 by default.
    #[arg(long, env = "RUNG_MAX_CONNECTIONS", value_name = "CONNECTIONS")]
    pub max_connections: Option<usize>,
    /// The same of one address; not limited by default, because balancers and proxies are one address.
    #[arg(long, env = "RUNG_MAX_CONNECTIONS_PER_PEER", value_name = "CONNECTIONS")]
    pub max_connections_per_peer: Option<usize>,
    /// Milliseconds for a TLS handshake, and then for the first bytes of HTTP: 5000 by default.
    #[arg(long, env = "RUNG_HANDSHAKE_TIMEOUT_MS", value_name = "MILLISECONDS")]
    pub handshake_timeout_ms: Option<u64>,
    /// Seconds after which a connection is asked to go, so that balancers spread callers anew and a certificate that
    /// was taken back ends; never by default.
    #[arg(long, env = "RUNG_MAX_CONNECTION_AGE_S", value_name = "SECONDS")]
    pub max_connection_age_s: Option<u64>,
    /// Seconds it may take to go: 30 by default.
    #[arg(long, env = "RUNG_MAX_CONNECTION_AGE_GRACE_S", value_name = "SECONDS")]
    pub max_connection_age_grace_s: Option<u64>,
    /// Seconds in which a request has to be received and answered, streams excepted: 60 by default.
    #[arg(long, env = "RUNG_REQUEST_TIMEOUT_S", value_name = "SECONDS")]
    pub request_timeout_s: Option<u64>,
    /// Bytes of requests that may be half received, all callers together: 64 MiB by default.
    #[arg(long, env = "RUNG_MAX_UNREAD_BYTES", value_name = "BYTES")]
    pub max_unread_bytes: Option<usize>,
}

/// A checked configuration of access.
#[derive(Debug, Clone)]
pub struct AccessConfig {
    /// The certificates, where connections are encrypted.
    pub tls: Option<TlsFiles>,
    /// Who may call, where it is asked.
    pub tokens: Option<PathBuf>,
    /// Whether callers without a token are let in.
    pub allow_anonymous: bool,
    /// Whether tokens may cross the network unencrypted.
    pub allow_plaintext: bool,
    /// Bounds of a listener's connections.
    pub connections: ConnectionLimits,
    /// In which a call is received and answered, streams excepted.
    pub request_timeout: Duration,
    /// Bytes of requests that may be half received.
    pub max_unread_bytes: usize,
}

/// Where the certificates are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's chain, PEM, its own certificate first.
    pub certificate: PathBuf,
    /// The key of the first certificate, PEM.
    pub key: PathBuf,
    /// Whose certificates clients have to show, PEM; none: clients show none.
    pub client_ca: Option<PathBuf>,
}

/// Bounds of a listener's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// At once.
    pub most: usize,
    /// Of one address at once.
    pub per_peer: Option<usize>,
    /// For a handshake, and then for the first bytes.
    pub handshake: Duration,
    /// After which a connection is asked to go.
    pub age: Option<Duration>,
    /// How long that may take.
    pub grace: Duration,
}

impl AccessSettings {
    /// These settings where they are set, `below` where they are not.
    pub(super) fn over(self, below: Self) -> Self {
        Self {
            tls_cert: self.tls_cert.or(below.tls_cert),
            tls_key: self.tls_key.or(below.tls_key),
            tls_client_ca: self.tls_client_ca.or(below.tls_client_ca),
            tokens: self.tokens.or(below.tokens),
            allow_anonymous: self.allow_anonymous.or(below.allow_anonymous),
            allow_plaintext: self.allow_plaintext.or(below.allow_plaintext),
            max_connections: self.max_connections.or(below.max_connections),
            max_connections_per_peer: self.max_connections_per_peer.or(below.max_connections_per_peer),
            handshake_timeout_ms: self.handshake_timeout_ms.or(below.handshake_timeout_ms),
            max_connection_age_s: self.max_connection_age_s.or(below.max_connection_age_s),
            max_connection_age_grace_s: self.max_connection_age_grace_s.or(below.max_connection_age_grace_s),
            request_timeout_s: self.request_timeout_s.or(below.request_timeout_s),
            max_unread_bytes: self.max_unread_bytes.or(below.max_unread_bytes),
        }
    }

    /// Checks every value, and whether these listeners are safe to open.
    pub(super) fn build(
        self,
        listen: SocketAddr,
        admin_listen: Option<SocketAddr>,
    ) -> Result<AccessConfig, ConfigError> {
        let seconds = |key, set: Option<u64>, otherwise| {
            let value = usize::try_from(set.unwrap_or(otherwise)).unwrap_or(usize::MAX);
            at_least(key, value, 1, "at least 1").map(|seconds| Duration::from_secs(seconds as u64))
        };
        let counted =
            |key, set: Option<usize>| set.map(|set| at_least(key, set, 1, "at least 1")).transpose();
        let handshake = self.handshake_timeout_ms.unwrap_or(5_000);
        let handshake = usize::try_from(handshake).unwrap_or(usize::MAX);
        let age = self.max_connection_age_s;
        let connections = ConnectionLimits {
            most: counted("max_connections", self.max_connections)?.unwrap_or(10_000),
            per_peer: counted("max_connections_per_peer", self.max_connections_per_peer)?,
            handshake: Duration::from_millis(
                at_least("handshake_timeout_ms", handshake, 1, "at least 1")? as u64
            ),
            age: age.map(|_| seconds("max_connection_age_s", age, 1)).transpose()?,
            grace: seconds("max_connection_age_grace_s", self.max_connection_age_grace_s, 30)?,
        };
        let config = AccessConfig {
            tls: tls(self.tls_cert, self.tls_key, self.tls_client_ca)?,
            tokens: self.tokens,
            allow_anonymous: self.allow_anonymous.unwrap_or(false),
            allow_plaintext: self.allow_plaintext.unwrap_or(false),
            connections,
            request_timeout: seconds("request_timeout_s", self.request_timeout_s, 60)?,
            max_unread_bytes: at_least(
                "max_unread_bytes",
                self.max_unread_bytes.unwrap_or(64 << 20),
                1 << 16,
                "at least 65536",
            )?,
        };
        config.may_listen(listen)?;
        admin_listen.map_or(Ok(()), |address| config.may_administer(address))?;
        Ok(config)
    }
}

fn tls(
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    client_ca: Option<PathBuf>,
) -> Result<Option<TlsFiles>, ConfigError> {
    let missing = |key, found: &str| {
        Err(ConfigError::Value { key, expected: "a file beside it", found: format!("{found} alone") })
    };
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key, client_ca })),
        (Some(_), None) => missing("tls_key", "tls_cert"),
        (None, Some(_)) => missing("tls_cert", "tls_key"),
        (None, None) if client_ca.is_some() => missing("tls_cert, tls_key", "tls_client_ca"),
        (None, None) => Ok(None),
    }
}

impl AccessConfig {
    /// Whether somebody has to say who they are.
    fn asks_who(&self) -> bool {
        self.tokens.is_some() || self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some())
    }

    /// Whether decisions may be served on an address.
    ///
    /// # Errors
    /// Where other machines reach it, and nobody there has to say who they are, or says it unencrypted; the way out is
    /// told.
    pub fn may_listen(&self, address: SocketAddr) -> Result<(), ConfigError> {
        if address.ip().is_loopback() {
            return Ok(());
        }
        if !self.asks_who() && !self.allow_anonymous {
            return Err(ConfigError::Unsafe(format!(
                "listen: {address} can be reached from other machines, and nobody there would have to say who they \
                 are. Give --tokens FILE (`server token new` makes entries) or --tls-client-ca FILE, listen on \
                 127.0.0.1, or say --allow-anonymous"
            )));
        }
        self.encrypted("listen", address)
    }

    /// Whether administration may be served on an address.
    ///
    /// # Errors
    /// Where nobody would have to say who they are, or says it unencrypted; the way out is told.
    pub(crate) fn may_administer(&self, address: SocketAddr) -> Result<(), ConfigError> {
        if self.tokens.is_none() {
            return Err(ConfigError::Unsafe(
                "admin_listen: whoever administers has to say who they are. Give --tokens FILE with an entry of scope \
                 admin: `server token new --name operator --scope admin` makes one"
                    .into(),
            ));
        }
        if address.ip().is_loopback() { Ok(()) } else { self.encrypted("admin_listen", address) }
    }

    fn encrypted(&self, key: &str, address: SocketAddr) -> Result<(), ConfigError> {
        if self.tokens.is_none() || self.tls.is_some() || self.allow_plaintext {
            return Ok(());
        }
        Err(ConfigError::Unsafe(format!(
            "{key}: tokens that are sent to {address} could be read on the way. Give --tls-cert FILE --tls-key FILE, or \
             say --allow-plaintext where something else encrypts the network"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(settings: AccessSettings, listen: &str, admin: Option<&str>) -> Result<AccessConfig, String> {
        let admin = admin.map(|admin| admin.parse().unwrap());
        settings.build(listen.parse().unwrap(), admin).map_err(|error| error.to_string())
    }

    #[test]
    fn what_others_reach_is_refused_until_it_is_safe_or_said() {
        let plain = AccessSettings::default;
        let tokens = || AccessSettings { tokens: Some("tokens.toml".into()), ..plain() };
        let tls = |settings| AccessSettings {
            tls_cert: Some("cert.pem".into()),
            tls_key: Some("key.pem".into()),
            ..settings
        };
        assert!(built(plain(), "127.0.0.1:1", None).is_ok() && built(plain(), "[::1]:1", None).is_ok());
        for address in ["0.0.0.0:1", "[::]:1", "10.1.2.3:1"] {
            let refused = built(plain(), address, None).unwrap_err();
            assert!(refused.contains("--tokens") && refused.contains("--allow-anonymous"), "{refused}");
            let refused = built(tokens(), address, None).unwrap_err();
            assert!(refused.contains("--tls-cert") && refused.contains("--allow-plaintext"), "{refused}");
            assert!(built(tls(plain()), address, None).is_err(), "encrypted, but anybody");
            assert!(built(tls(tokens()), address, None).is_ok());
            let said = AccessSettings { allow_anonymous: Some(true), ..plain() };
            assert!(built(said, address, None).is_ok());
            let said = AccessSettings { allow_plaintext: Some(true), ..tokens() };
            assert!(built(said, address, None).is_ok());
            let mutual = AccessSettings { tls_client_ca: Some("ca.pem".into()), ..tls(plain()) };
            assert!(built(mutual, address, None).is_ok());
        }
    }

    #[test]
    fn administration_needs_tokens_and_on_the_network_encryption() {
        let tokens = || AccessSettings { tokens: Some("tokens.toml".into()), ..AccessSettings::default() };
        let anonymous = AccessSettings { allow_anonymous: Some(true), ..AccessSettings::default() };
        let refused = built(anonymous, "127.0.0.1:1", Some("127.0.0.1:2")).unwrap_err();
        assert!(refused.contains("--scope admin"), "{refused}");
        assert!(built(tokens(), "127.0.0.1:1", Some("127.0.0.1:2")).is_ok());
        let refused = built(tokens(), "127.0.0.1:1", Some("0.0.0.0:2")).unwrap_err();
        assert!(refused.starts_with("admin_listen: ") && refused.contains("--tls-cert"), "{refused}");
    }

    #[test]
    fn values_are_checked_by_name() {
        let refused = |settings| built(settings, "127.0.0.1:1", None).unwrap_err();
        let plain = AccessSettings::default;
        let half = refused(AccessSettings { tls_cert: Some("cert.pem".into()), ..plain() });
        assert_eq!(half, "tls_key: expected a file beside it, found tls_cert alone");
        let none = refused(AccessSettings { max_connections: Some(0), ..plain() });
        assert_eq!(none, "max_connections: expected at least 1, found 0");
        let never = refused(AccessSettings { max_connection_age_s: Some(0), ..plain() });
        assert_eq!(never, "max_connection_age_s: expected at least 1, found 0");
        let below = AccessSettings { max_connections: Some(5), request_timeout_s: Some(7), ..plain() };
        let over = AccessSettings { max_connections: Some(9), ..plain() }.over(below);
        let config = built(over, "127.0.0.1:1", None).unwrap();
        assert_eq!((config.connections.most, config.request_timeout.as_secs()), (9, 7));
    }
}
