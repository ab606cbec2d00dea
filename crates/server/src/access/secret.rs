//! Bearer tokens as text: `rung_ID_SECRET`. The id finds the entry, the secret proves it. Who it belongs to is in
//! `tokens`.
//!
//! A secret has 256 random bits, so one SHA-256 is enough to keep it by: slow hashes exist because people choose
//! passwords that can be guessed, and nobody guesses 256 bits however fast the hash is. A slow one would only let a
//! stranger spend this server's time.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::crypto::ring;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What a token begins with, so that scanners find one that was committed by mistake.
const PREFIX: &str = "rung_";

/// Characters of an id, hex.
const ID_LEN: usize = 16;

/// Characters of a secret: 32 bytes in base64.
const SECRET_LEN: usize = 43;

/// A token as it was presented. Not a word of it is ever printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Presented<'a> {
    pub(crate) id: &'a str,
    secret: &'a str,
}

impl<'a> Presented<'a> {
    /// The parts of a token; none where it is not of the form.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let of_base64 = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        let whole = is_id(id) && secret.len() == SECRET_LEN && secret.bytes().all(of_base64);
        whole.then_some(Self { id, secret })
    }

    pub(crate) fn hash(self) -> SecretHash {
        SecretHash::of(self.secret)
    }
}

fn is_id(id: &str) -> bool {
    id.len() == ID_LEN && id.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

/// The id of a token, 16 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct TokenId(pub(crate) String);

impl std::borrow::Borrow<str> for TokenId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TokenId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if is_id(&text) { Ok(Self(text)) } else { Err("expected 16 hex digits, small ones".into()) }
    }
}

/// What is kept of a secret.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct SecretHash([u8; 32]);

impl SecretHash {
    /// What the secret of an id that nobody has is compared with, so that both refusals take the same time.
    pub(crate) const OF_NOBODY: Self = Self([0; 32]);

    fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// Whether both are the same, in a time that does not tell where they differ.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash")
    }
}

impl TryFrom<String> for SecretHash {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut hash = [0; 32];
        hex::decode_to_slice(&text, &mut hash)
            .map_err(|_| "expected 64 hex digits, as `server token new` prints them".to_owned())?;
        Ok(Self(hash))
    }
}

/// A new token: what its holder gets, and what the server keeps.
pub(crate) struct Minted {
    pub(crate) id: String,
    /// The whole token. Whoever has it is the caller.
    pub(crate) token: String,
    /// Of the secret, hex.
    pub(crate) sha256: String,
}

impl Minted {
    /// Draws a token from the system's randomness; none where the system has none.
    pub(crate) fn draw() -> Option<Self> {
        let random = ring::default_provider().secure_random;
        let (mut id, mut secret) = ([0; ID_LEN / 2], [0; 32]);
        random.fill(&mut id).ok()?;
        random.fill(&mut secret).ok()?;
        let (id, secret) = (hex::encode(id), URL_SAFE_NO_PAD.encode(secret));
        let sha256 = hex::encode(SecretHash::of(&secret).0);
        Some(Self { token: format!("{PREFIX}{id}_{secret}"), id, sha256 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_is_told_from_every_other() {
        let (one, other) = (Minted::draw().unwrap(), Minted::draw().unwrap());
        assert_ne!((&one.id, &one.token, &one.sha256), (&other.id, &other.token, &other.sha256));
        let kept = SecretHash::try_from(one.sha256.clone()).unwrap();
        let presented = Presented::parse(&one.token).unwrap();
        assert_eq!(presented.id, one.id);
        assert!(kept.matches(&presented.hash()));
        assert!(!kept.matches(&Presented::parse(&other.token).unwrap().hash()));
        assert!(!SecretHash::OF_NOBODY.matches(&presented.hash()));
        assert_eq!(format!("{kept:?}"), "SecretHash");
    }

    #[test]
    fn a_secret_may_hold_what_separates_it_from_the_id() {
        let token = format!("rung_0123456789abcdef_{}", "_".repeat(43));
        assert_eq!(Presented::parse(&token).unwrap().id, "0123456789abcdef");
    }

    proptest! {
        #[test]
        fn any_change_of_a_token_is_another_or_none(at in 0_usize..64, to in 0x20_u8..0x7f) {
            let minted = Minted::draw().unwrap();
            let mut bytes = minted.token.clone().into_bytes();
            prop_assume!(bytes[at] != to);
            bytes[at] = to;
            let changed = String::from_utf8(bytes).unwrap();
            let kept = SecretHash::try_from(minted.sha256).unwrap();
            if let Some(presented) = Presented::parse(&changed) {
                prop_assert!(presented.id != minted.id || !kept.matches(&presented.hash()));
            }
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,80}") {
            let _ = Presented::parse(&text);
            let _ = (TokenId::try_from(text.clone()), SecretHash::try_from(text));
        }
    }
}
