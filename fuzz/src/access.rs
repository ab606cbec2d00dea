//! The file of tokens, certificates and tenants: a file that holds is read anew beside itself, a refusal says on which
//! lines and repeats nothing as long as a hash or a secret.

/// Characters from which on a word may be a secret.
const SECRET: usize = 32;

/// Reads the bytes as a file of tokens.
pub fn decode(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match server::fuzzing::tokens(text) {
        Ok(version) => assert_eq!(version.len(), 12),
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                assert!(problem.strip_prefix("line ").is_some_and(|rest| rest.contains(": ")), "{problem}");
                let mut words = problem.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'));
                assert!(words.all(|word| word.len() < SECRET), "{problem}");
            }
        }
    }
}
