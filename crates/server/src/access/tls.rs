//! Certificates: read from PEM files, checked as a pair, exchanged as a whole. Handshakes are `listen`'s.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use webpki::{EndEntityCert, KeyUsage};

use crate::config::TlsFiles;

/// What handshakes are made with.
#[derive(Debug)]
pub(crate) struct Tls {
    /// What is spoken after it is the listener's to say.
    pub(crate) config: Arc<ServerConfig>,
    /// Of the server's certificate, 12 hex digits.
    pub(crate) version: String,
    /// When that ends, seconds since 1970.
    pub(crate) ends: Option<i64>,
}

impl Tls {
    /// Reads the files and checks that they belong together.
    ///
    /// # Errors
    /// With the file and the reason.
    pub(crate) fn read(files: &TlsFiles, now: UnixTime) -> Result<Self, Vec<String>> {
        let chain = certificates(&files.certificate)?;
        let leaf = chain.first().map(Sha256::digest).unwrap_or_default();
        in_time(&files.certificate, &chain, now)?;
        let ends = chain.first().and_then(|leaf| ended(&EndEntityCert::try_from(leaf).ok()?, END_OF_TIME));
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| problem(&files.key, e))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| problem(&files.certificate, e))?;
        let builder = match &files.client_ca {
            Some(file) => builder.with_client_cert_verifier(verifier(file, provider)?),
            None => builder.with_no_client_auth(),
        };
        let pair = |e| {
            let reason = format!("does not go with {}: {e}", files.certificate.display());
            problem(&files.key, reason)
        };
        let config = builder.with_single_cert(chain, key).map_err(pair)?;
        Ok(Self { config: Arc::new(config), version: hex::encode(&leaf[..6]), ends })
    }
}

fn problem(file: &Path, reason: impl std::fmt::Display) -> Vec<String> {
    vec![format!("{}: {reason}", file.display())]
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Vec<String>> {
    let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if found.is_empty() => Err(problem(file, "expected a certificate in PEM, found none")),
        Ok(found) => Ok(found),
        Err(error) => Err(problem(file, error)),
    }
}

/// Nobody accepts a certificate whose time is over: the one in force may still be good.
fn in_time(file: &Path, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Vec<String>> {
    let Some(leaf) = chain.first() else { return Ok(()) };
    let leaf = EndEntityCert::try_from(leaf).map_err(|e| problem(file, e))?;
    let Some(ended) = ended(&leaf, now) else { return Ok(()) };
    let ended = Timestamp::from_second(ended).map(|ended| ended.to_string()).unwrap_or_default();
    Err(problem(file, format!("the certificate has expired: {ended}")))
}

/// A time at which every certificate has ended.
const END_OF_TIME: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(i64::MAX as u64));

/// When a certificate ended, seconds since 1970, where it has by `now`. The server trusts nobody here, so verifying it
/// fails: what matters is whether it fails for the time.
fn ended(certificate: &EndEntityCert<'_>, now: UnixTime) -> Option<i64> {
    match certificate.verify_for_usage(&[], &[], &[], now, KeyUsage::server_auth(), None, None) {
        Err(webpki::Error::CertExpired { not_after, .. }) => i64::try_from(not_after.as_secs()).ok(),
        _ => None,
    }
}

fn verifier(
    file: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, Vec<String>> {
    let mut roots = RootCertStore::empty();
    for root in certificates(file)? {
        roots.add(root).map_err(|e| problem(file, e))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|e| problem(file, e))
}

/// The alternative names of a certificate, as entries of the tokens' file write them. It was verified before.
pub(crate) fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return Vec::new() };
    let dns = certificate.valid_dns_names().map(|name| format!("dns:{name}"));
    dns.chain(certificate.valid_uri_names().map(|uri| format!("uri:{uri}"))).collect()
}
