//! Certificates: read from PEM files, checked as a pair, exchanged as a whole. Handshakes are `listen`'s.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::config::TlsFiles;

/// What handshakes are made with.
#[derive(Debug)]
pub(crate) struct Tls {
    /// What is spoken after it is the listener's to say.
    pub(crate) config: Arc<ServerConfig>,
    /// Of the server's certificate, 12 hex digits.
    pub(crate) version: String,
}

impl Tls {
    /// Reads the files and checks that they belong together.
    ///
    /// # Errors
    /// With the file and the reason.
    pub(crate) fn read(files: &TlsFiles, now_s: i64) -> Result<Self, Vec<String>> {
        let chain = certificates(&files.certificate)?;
        let leaf = chain.first().map(Sha256::digest).unwrap_or_default();
        in_time(&files.certificate, &chain, now_s)?;
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
        Ok(Self { config: Arc::new(config), version: hex::encode(&leaf[..6]) })
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
fn in_time(file: &Path, chain: &[CertificateDer<'_>], now_s: i64) -> Result<(), Vec<String>> {
    let Some(leaf) = chain.first() else { return Ok(()) };
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|e| problem(file, e))?;
    let ends = leaf.validity().not_after;
    if ends.timestamp() <= now_s {
        return Err(problem(file, format!("the certificate has expired: {ends}")));
    }
    Ok(())
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
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let named = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(format!("dns:{name}")),
        GeneralName::URI(uri) => Some(format!("uri:{uri}")),
        _ => None,
    });
    named.collect()
}
