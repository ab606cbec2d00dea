//! Keyed fingerprints of queries: equal for equal queries, and no dictionary of likely prompts finds out which one it
//! was without the key.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;
use types::Query;

const KEY_BYTES: usize = 32;

/// Why there is no key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file could not be read or made.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("{}: expected {} hex digits of a key, as `openssl rand -hex 32` prints them", .0.display(), 2 * KEY_BYTES)]
    Malformed(PathBuf),
}

/// Reads a key of 32 bytes from a file of 64 hex digits.
///
/// # Errors
/// When the file cannot be read or holds something else.
pub fn read_key(file: &Path) -> Result<[u8; KEY_BYTES], KeyError> {
    let text = fs::read_to_string(file).map_err(|source| KeyError::Io { file: file.to_owned(), source })?;
    let key = hex::decode(text.trim()).ok().and_then(|key| key.try_into().ok());
    key.ok_or_else(|| KeyError::Malformed(file.to_owned()))
}

/// A secret of 32 bytes; replicas that write to one store share it.
#[derive(Clone)]
pub struct FingerprintKey(Hmac<Sha256>);

impl std::fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FingerprintKey")
    }
}

impl FingerprintKey {
    /// Reads the key of a file, 64 hex digits.
    ///
    /// # Errors
    /// When the file cannot be read or holds something else.
    pub fn read(file: &Path) -> Result<Self, KeyError> {
        let key = read_key(file)?;
        Hmac::new_from_slice(&key).map(Self).map_err(|_| KeyError::Malformed(file.to_owned()))
    }

    /// The key of a file, which is made, for its owner's eyes only, where there is none.
    ///
    /// # Errors
    /// As [`FingerprintKey::read`], or when it cannot be made.
    pub fn read_or_make(file: &Path) -> Result<Self, KeyError> {
        let io = |source| KeyError::Io { file: file.to_owned(), source };
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
            Ok(mut made) => {
                // Two version 4 ids: 244 random bits of the system.
                let key = format!("{}{}\n", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
                made.write_all(key.as_bytes()).and_then(|()| made.sync_all()).map_err(io)?;
            }
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(io(e)),
        }
        Self::read(file)
    }

    /// The first 128 bits, hex, of HMAC-SHA256 (RFC 2104) over roles and texts, each with its length.
    pub fn fingerprint(&self, query: &Query) -> String {
        let mut mac = self.0.clone();
        for (role, text) in query.parts() {
            mac.update(role.as_str().as_bytes());
            mac.update(&(text.len() as u64).to_le_bytes());
            mac.update(text.as_bytes());
        }
        hex::encode(&mac.finalize().into_bytes()[..16])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("fingerprint.key");
        let query = Query::text("hello");
        let first = FingerprintKey::read_or_make(&file).unwrap().fingerprint(&query);
        assert_eq!(FingerprintKey::read_or_make(&file).unwrap().fingerprint(&query), first);
        assert_eq!(first.len(), 32);
        let other = folder.path().join("other.key");
        assert_ne!(FingerprintKey::read_or_make(&other).unwrap().fingerprint(&query), first);
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        for text in ["", "abc", &"g".repeat(64), &"0".repeat(62), "ü".repeat(32).as_str()] {
            fs::write(&file, text).unwrap();
            let error = FingerprintKey::read(&file).unwrap_err().to_string();
            assert!(error.contains("key: expected 64 hex digits"), "{error}");
        }
    }

    /// By Python's hmac, over "user", the length in eight bytes and the text.
    #[test]
    fn golden_fingerprint() {
        let key = FingerprintKey(Hmac::new_from_slice(&[7; KEY_BYTES]).unwrap());
        const GOLDEN: &str = "7924f6d8bf79d3b0ed92f12a93b2c4d7";
        assert_eq!(key.fingerprint(&Query::text("Prove it.")), GOLDEN);
        assert_ne!(key.fingerprint(&Query::text("Prove it").with_system(".")), GOLDEN);
    }
}
