//! What a server under load is given to trust and to show: a certificate authority, its certificate, its tokens. They
//! lie in a folder behind a symbolic link, as Kubernetes mounts secrets, so that all of them change at once.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Characters of the secret of a token.
const SECRET_LEN: usize = 43;
/// Characters of its id.
const ID_LEN: usize = 16;

/// An authority and what it has signed.
pub(crate) struct Credentials {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    /// The file of the authority's certificate.
    pub(crate) ca: PathBuf,
    /// A token that is good for routing and reading, whatever else changes.
    pub(crate) token: String,
    /// Its entry in the server's file.
    entry: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("ca", &self.ca).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Makes everything anew in `folder/secrets`.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority of a load test");
        let key = KeyPair::generate()?;
        let ca = folder.join("ca.pem");
        fs::write(&ca, params.self_signed(&key)?.pem())?;
        let (token, entry) = token("load");
        let issuer = Issuer::new(params, key);
        let made = Self { folder: folder.to_owned(), issuer, ca, token, entry };
        made.renew(Renewed::Both)?;
        Ok(made)
    }

    /// Replaces the certificate, the tokens or both at one stroke. The token of the callers stays good; a second one is
    /// new each time, and told.
    pub(crate) fn renew(&self, what: Renewed) -> Result<String> {
        let link = self.folder.join("secrets");
        let next = self.folder.join(format!("secrets-{}", Uuid::now_v7()));
        fs::create_dir(&next)?;
        let keep = |name: &str| fs::copy(link.join(name), next.join(name)).context(name.to_owned());
        if what == Renewed::Tokens {
            keep("cert.pem")?;
            keep("key.pem")?;
        } else {
            let key = KeyPair::generate()?;
            let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
            let mut params = CertificateParams::new(names)?;
            params.use_authority_key_identifier_extension = true;
            fs::write(next.join("cert.pem"), params.signed_by(&key, &self.issuer)?.pem())?;
            fs::write(next.join("key.pem"), key.serialize_pem())?;
        }
        let (second, entry) = token("second");
        if what == Renewed::Certificate {
            keep("tokens.toml")?;
        } else {
            fs::write(next.join("tokens.toml"), format!("{}\n{entry}", self.entry))?;
        }
        point(&link, &next)?;
        Ok(second)
    }
}

/// What is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewed {
    Certificate,
    Tokens,
    Both,
}

/// Makes a symbolic link lead elsewhere at one stroke, whether or not it is there.
pub(crate) fn point(link: &Path, to: &Path) -> Result<()> {
    let aside = link.with_extension(Uuid::now_v7().simple().to_string());
    symlink(to, &aside)?;
    fs::rename(&aside, link).with_context(|| link.display().to_string())
}

/// A new token and its entry in a server's file.
fn token(name: &str) -> (String, String) {
    let random = [Uuid::new_v4(), Uuid::new_v4()].map(|uuid| uuid.simple().to_string()).concat();
    let (secret, id) = (&random[..SECRET_LEN], &Uuid::new_v4().simple().to_string()[..ID_LEN]);
    let sha256 = hex::encode(Sha256::digest(secret.as_bytes()));
    let entry = format!(
        "[[token]]\nname = \"{name}\"\nid = \"{id}\"\nsha256 = \"{sha256}\"\nscopes = [\"route\", \"read\"]\n"
    );
    (format!("rung_{id}_{secret}"), entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_renewed_changes_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let credentials = Credentials::make(folder.path()).unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join("secrets").join(name)).unwrap();
        let before = (read("cert.pem"), read("tokens.toml"));
        credentials.renew(Renewed::Certificate).unwrap();
        assert!(read("cert.pem") != before.0 && read("tokens.toml") == before.1);
        let certificate = read("cert.pem");
        let second = credentials.renew(Renewed::Tokens).unwrap();
        assert!(read("cert.pem") == certificate && read("tokens.toml") != before.1);
        let id = second.split('_').nth(1).unwrap();
        assert!(read("tokens.toml").contains(id) && !read("tokens.toml").contains(&second));
        assert!(read("tokens.toml").contains(&credentials.entry));
    }
}
