//! Continuation tokens: only what the key signed opens, and a payload that is signed and read is written as it was.

use server::fuzzing::{reopened, signed};

const KEY: [u8; 32] = [7; 32];
const OTHER_KEY: [u8; 32] = [8; 32];

/// Takes the bytes for a token, and for the payload of one that is signed.
pub fn decode(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(again) = reopened(&KEY, &text, 0) {
        assert_eq!(again, text, "a token that opens is one that this key sealed");
        assert_eq!(reopened(&OTHER_KEY, &text, 0), None, "and no other opens it");
        assert_eq!(reopened(&KEY, &text, u64::MAX), None, "nor is it good for ever");
    }
    let Some(token) = signed(&KEY, bytes) else { return };
    assert_eq!(reopened(&OTHER_KEY, &token, 0), None);
    if let Some(again) = reopened(&KEY, &token, 0) {
        assert_eq!(again, token, "claims are written as they were read");
    }
}
