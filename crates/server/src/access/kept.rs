//! Certificates and tokens as things that can be read again while the server runs.

use std::path::PathBuf;
use std::sync::Arc;

use super::Access;
use crate::reload::{Reloadable, Stamp};

/// Something of the door that is read from files.
#[derive(Debug)]
pub(crate) struct Kept {
    access: Arc<Access>,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// The server's certificate and the authorities of clients.
    Certificates,
    /// Who may call.
    Tokens,
}

/// How the files were before they were read.
#[derive(Debug)]
pub(super) struct Stamps {
    certificates: Stamp,
    tokens: Stamp,
}

impl Stamps {
    pub(super) fn of(config: &crate::config::AccessConfig) -> Self {
        Self {
            certificates: Stamp::of(What::Certificates.files(config)),
            tokens: Stamp::of(What::Tokens.files(config)),
        }
    }
}

impl What {
    /// Every file it is read from; none where it is not configured.
    fn files(self, config: &crate::config::AccessConfig) -> Vec<PathBuf> {
        let of_tls = |tls: &crate::config::TlsFiles| {
            [Some(&tls.certificate), Some(&tls.key), tls.client_ca.as_ref()]
                .into_iter()
                .flatten()
                .cloned()
                .collect()
        };
        match self {
            Self::Certificates => config.tls.as_ref().map(of_tls).unwrap_or_default(),
            Self::Tokens => config.tokens.iter().cloned().collect(),
        }
    }
}

impl Access {
    /// What of this door is configured, each with how its files were when they were read.
    pub(crate) fn reloadables(self: &Arc<Self>) -> Vec<(Arc<dyn Reloadable>, Stamp)> {
        let both =
            [(What::Certificates, &self.read_from.certificates), (What::Tokens, &self.read_from.tokens)];
        let configured = both.into_iter().filter(|(what, _)| !what.files(&self.config).is_empty());
        let kept = |(what, stamp): (What, &Stamp)| {
            (Arc::new(Kept { access: Arc::clone(self), what }) as Arc<dyn Reloadable>, stamp.clone())
        };
        configured.map(kept).collect()
    }
}

impl Reloadable for Kept {
    fn name(&self) -> &'static str {
        match self.what {
            What::Certificates => "certificates",
            What::Tokens => "tokens",
        }
    }

    fn version(&self) -> String {
        let version = match self.what {
            What::Certificates => self.access.tls.as_ref().map(|tls| tls.load().version.clone()),
            What::Tokens => self.access.tokens.as_ref().map(|tokens| tokens.load().version().to_owned()),
        };
        version.unwrap_or_default()
    }

    fn stamp(&self) -> Stamp {
        Stamp::of(self.what.files(&self.access.config))
    }

    fn reload(&self) -> Result<String, Vec<String>> {
        match self.what {
            What::Certificates => self.access.reload_certificates(),
            What::Tokens => self.access.reload_tokens(),
        }
    }
}
