//! Continuation tokens: where a query stands in a cascade, signed, so that callers carry it and the server remembers
//! nothing. Pure but for reading the key: time and randomness are arguments. Which token was used already is in
//! `replay`.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision_log::KeyError;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;
use types::Query;

/// Bytes of a signature.
const MAC_LEN: usize = 32;

/// The layout below. A token of another version is not read.
const VERSION: u8 = 1;

/// No honest token is longer, encoded.
const LONGEST: usize = 1_024;

/// What a keyed hash over a text is good for: to see that it is the same text.
pub(crate) type Fingerprint = [u8; 16];

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum TokenError {
    /// It was not made by this server or one with the same key, or was altered.
    #[error(
        "expected a token as PlanCascade or Assess gave it: this one was altered, or signed with another key"
    )]
    Malformed,
    /// Its time is over.
    #[error("the token has expired: plan the cascade again")]
    Expired,
    /// It belongs to another query.
    #[error("the token belongs to another query")]
    OtherQuery,
    /// It belongs to another cascade.
    #[error("the token belongs to another cascade than `cascade` names")]
    OtherCascade,
    /// Another stage's answer is expected.
    #[error("the token expects the answer of another stage than `at` names")]
    OtherStage,
    /// Another verifier was served when it was made.
    #[error("the token was made with another version of the verifier: plan the cascade again")]
    OtherVerifier,
    /// The cascade was tuned anew since.
    #[error("the cascade was tuned anew since the token was made: plan it again")]
    Retuned,
    /// It was used already.
    #[error("the token came with another answer before: the first verdict stands")]
    Reused,
}

impl TokenError {
    /// The reason in `google.rpc.ErrorInfo`.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "TOKEN_MALFORMED",
            Self::Expired => "TOKEN_EXPIRED",
            Self::OtherQuery => "TOKEN_OF_OTHER_QUERY",
            Self::OtherCascade => "TOKEN_OF_OTHER_CASCADE",
            Self::OtherStage => "TOKEN_OF_OTHER_STAGE",
            Self::OtherVerifier => "TOKEN_OF_OTHER_VERIFIER",
            Self::Retuned => "TOKEN_OF_EARLIER_TUNING",
            Self::Reused => "TOKEN_REUSED",
        }
    }
}

/// Where a query stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Claims {
    /// Of this token alone.
    pub(crate) id: [u8; 16],
    /// When it was made, milliseconds since 1970.
    pub(crate) issued_ms: u64,
    /// From then on it is refused.
    pub(crate) expires_ms: u64,
    /// When the query has to be answered; none: no end.
    pub(crate) deadline_ms: Option<u64>,
    /// Whose answer is expected.
    pub(crate) stage: u8,
    /// What the query has cost so far.
    pub(crate) cost_usd: f64,
    /// Of the query.
    pub(crate) query: Fingerprint,
    /// Of the cascade as it was tuned.
    pub(crate) tuning: Fingerprint,
    /// Version of the verifier.
    pub(crate) verifier: String,
    /// Name of the cascade.
    pub(crate) cascade: String,
}

/// A secret of 32 bytes; replicas behind one address share it.
#[derive(Clone)]
pub(crate) struct TokenKey(Hmac<Sha256>);

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey")
    }
}

impl TokenKey {
    /// The key of a file, 64 hex digits.
    pub(crate) fn read(file: &Path) -> Result<Self, KeyError> {
        let key = decision_log::read_key(file)?;
        Self::new(&key).ok_or_else(|| KeyError::Malformed(file.to_owned()))
    }

    /// A key that dies with the process: version 4 ids, 122 random bits of the system each.
    pub(crate) fn of_this_process() -> Self {
        let mut key = [0; 64];
        for part in key.chunks_exact_mut(16) {
            part.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        }
        Self(Hmac::new(&key.into()))
    }

    /// The key of some bytes; HMAC takes any.
    pub(crate) fn new(key: &[u8]) -> Option<Self> {
        Hmac::new_from_slice(key).ok().map(Self)
    }

    /// A keyed hash over some texts, each with its length, for one purpose.
    pub(crate) fn fingerprint<'a>(
        &self,
        purpose: &'a str,
        texts: impl IntoIterator<Item = &'a [u8]>,
    ) -> Fingerprint {
        let mut mac = self.0.clone();
        for text in std::iter::once(purpose.as_bytes()).chain(texts) {
            mac.update(&(text.len() as u64).to_le_bytes());
            mac.update(text);
        }
        let full: [u8; MAC_LEN] = mac.finalize().into_bytes().into();
        let mut short = Fingerprint::default();
        short.iter_mut().zip(full).for_each(|(short, full)| *short = full);
        short
    }

    /// The fingerprint of a query.
    pub(crate) fn query(&self, query: &Query) -> Fingerprint {
        let parts = query.parts().flat_map(|(role, text)| [role.as_str().as_bytes(), text.as_bytes()]);
        self.fingerprint("query", parts)
    }

    /// The token of some claims.
    pub(crate) fn seal(&self, claims: &Claims) -> String {
        self.sign(claims.to_bytes())
    }

    /// A payload, whatever it holds, with its signature.
    pub(crate) fn sign(&self, mut payload: Vec<u8>) -> String {
        let signature = self.signing(&payload).finalize().into_bytes();
        payload.extend_from_slice(&signature);
        URL_SAFE_NO_PAD.encode(payload)
    }

    /// The claims of a token that this key signed and that is still good at `now_ms`.
    pub(crate) fn open(&self, token: &str, now_ms: u64) -> Result<Claims, TokenError> {
        if token.len() > LONGEST {
            return Err(TokenError::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| TokenError::Malformed)?;
        let (payload, signature) = bytes.split_last_chunk::<MAC_LEN>().ok_or(TokenError::Malformed)?;
        // In constant time: how much of a guess is right must not show.
        self.signing(payload).verify_slice(signature).map_err(|_| TokenError::Malformed)?;
        let claims = Claims::from_bytes(payload).ok_or(TokenError::Malformed)?;
        if now_ms >= claims.expires_ms { Err(TokenError::Expired) } else { Ok(claims) }
    }

    /// Signatures and fingerprints are of different purposes: neither can be passed off as the other.
    fn signing(&self, payload: &[u8]) -> Hmac<Sha256> {
        const PURPOSE: &[u8] = b"rung continuation token";
        let mut mac = self.0.clone();
        mac.update(&(PURPOSE.len() as u64).to_le_bytes());
        mac.update(PURPOSE);
        mac.update(payload);
        mac
    }
}

impl Claims {
    /// Version, numbers in little endian, then verifier and cascade, each behind its length.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, self.stage];
        bytes.extend_from_slice(&self.id);
        bytes.extend_from_slice(&self.issued_ms.to_le_bytes());
        bytes.extend_from_slice(&self.expires_ms.to_le_bytes());
        bytes.extend_from_slice(&self.deadline_ms.unwrap_or(u64::MAX).to_le_bytes());
        bytes.extend_from_slice(&self.cost_usd.to_le_bytes());
        bytes.extend_from_slice(&self.query);
        bytes.extend_from_slice(&self.tuning);
        for text in [&self.verifier, &self.cascade] {
            // Names are checked when the cascades are loaded: none is longer than that.
            let len = u8::try_from(text.len()).unwrap_or(u8::MAX);
            bytes.push(len);
            bytes.extend(text.bytes().take(usize::from(len)));
        }
        bytes
    }

    /// `None`: the bytes are of no token.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let [version] = take(&mut rest)?;
        let [stage] = take(&mut rest)?;
        if version != VERSION {
            return None;
        }
        let id = take(&mut rest)?;
        let issued_ms = u64::from_le_bytes(take(&mut rest)?);
        let expires_ms = u64::from_le_bytes(take(&mut rest)?);
        let deadline_ms = Some(u64::from_le_bytes(take(&mut rest)?)).filter(|ms| *ms != u64::MAX);
        let cost_usd = Some(f64::from_le_bytes(take(&mut rest)?)).filter(|c| c.is_finite() && *c >= 0.0)?;
        let (query, tuning) = (take(&mut rest)?, take(&mut rest)?);
        let (verifier, cascade) = (text(&mut rest)?, text(&mut rest)?);
        rest.is_empty().then_some(Self {
            id,
            issued_ms,
            expires_ms,
            deadline_ms,
            stage,
            cost_usd,
            query,
            tuning,
            verifier,
            cascade,
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

fn text(rest: &mut &[u8]) -> Option<String> {
    let [len] = take(rest)?;
    let (taken, left) = rest.split_at_checked(usize::from(len))?;
    *rest = left;
    String::from_utf8(taken.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(byte: u8) -> TokenKey {
        TokenKey::new(&[byte; 32]).unwrap()
    }

    fn claims() -> Claims {
        Claims {
            id: [9; 16],
            issued_ms: 1_000,
            expires_ms: 2_000,
            deadline_ms: Some(5_000),
            stage: 1,
            cost_usd: 0.25,
            query: key(1).query(&Query::text("hello")),
            tuning: [3; 16],
            verifier: "4fd022504f6e".into(),
            cascade: "default".into(),
        }
    }

    #[test]
    fn a_token_is_read_as_it_was_sealed_until_it_expires() {
        let token = key(1).seal(&claims());
        assert_eq!(key(1).open(&token, 1_999), Ok(claims()));
        assert_eq!(key(1).open(&token, 2_000), Err(TokenError::Expired));
        assert_eq!(key(2).open(&token, 1_500), Err(TokenError::Malformed), "another key");
        let endless = Claims { deadline_ms: None, ..claims() };
        assert_eq!(key(1).open(&key(1).seal(&endless), 1_500), Ok(endless));
        assert!(token.len() < 220, "{}", token.len());
    }

    #[test]
    fn a_token_altered_anywhere_is_refused() {
        let token = key(1).seal(&claims());
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            let altered = URL_SAFE_NO_PAD.encode(altered);
            assert_eq!(key(1).open(&altered, 1_500), Err(TokenError::Malformed), "byte {at}");
        }
        for cut in 0..token.len() {
            assert_eq!(key(1).open(&token[..cut], 1_500), Err(TokenError::Malformed));
        }
        assert_eq!(key(1).open(&"A".repeat(4_000), 1_500), Err(TokenError::Malformed));
    }

    #[test]
    fn a_signed_payload_that_is_none_is_refused() {
        let sealed = |payload: &[u8]| key(1).open(&key(1).sign(payload.to_vec()), 1_500);
        let payload = claims().to_bytes();
        assert_eq!(sealed(&payload), Ok(claims()));
        let mut newer = payload.clone();
        newer[0] = VERSION + 1;
        let longer = [payload.as_slice(), &[0]].concat();
        for bad in [&newer, &longer, &payload[..payload.len() - 1].to_vec(), &vec![]] {
            assert_eq!(sealed(bad), Err(TokenError::Malformed));
        }
        let costly = Claims { cost_usd: f64::NAN, ..claims() };
        assert_eq!(sealed(&costly.to_bytes()), Err(TokenError::Malformed));
    }

    #[test]
    fn fingerprints_tell_texts_roles_and_purposes_apart() {
        let of = |query: Query| key(1).query(&query);
        let plain = of(Query::text("hello"));
        assert_eq!(of(Query::text("hello")), plain);
        assert_ne!(of(Query::text("hello ")), plain);
        assert_ne!(of(Query::text("").with_system("hello")), plain);
        assert_ne!(key(2).query(&Query::text("hello")), plain);
        let parts = |texts: &[&'static str]| key(1).fingerprint("a", texts.iter().map(|t| t.as_bytes()));
        assert_ne!(parts(&["ab", "c"]), parts(&["a", "bc"]));
        assert_ne!(key(1).fingerprint("b", []), parts(&[]));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(token in "\\PC*", bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(key(1).open(&token, 0), Err(TokenError::Malformed));
            prop_assert!(key(1).open(&URL_SAFE_NO_PAD.encode(&bytes), 0).is_err());
            let _ = Claims::from_bytes(&bytes);
        }

        #[test]
        fn any_claims_survive_the_way(
            id in any::<[u8; 16]>(), times in any::<[u32; 3]>(), stage in any::<u8>(), cost_usd in 0.0..1e6f64,
            cascade in "\\PC{0,60}",
        ) {
            let [issued_ms, expires_ms, deadline_ms] = times.map(u64::from);
            let deadline_ms = Some(deadline_ms);
            let sent = Claims { id, issued_ms, expires_ms, deadline_ms, stage, cost_usd, cascade, ..claims() };
            prop_assert_eq!(Claims::from_bytes(&sent.to_bytes()), Some(sent));
        }
    }
}
