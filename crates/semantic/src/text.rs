//! Text as the catalogue compares it: the terms it consists of, and what makes two texts the same one.

use features::each_token;

/// The most tokens read of one text: what a query is about is said by then, and no query may take for ever.
pub(crate) const MOST_TOKENS: usize = 512;

/// Hashes of the words of a text in reading order; case and punctuation do not count.
pub(crate) fn terms(text: &str, out: &mut Vec<u64>) {
    out.clear();
    each_token(text, MOST_TOKENS, |token, hash| {
        if is_word(token) {
            out.push(hash);
        }
    });
}

/// Whether a token is a word, a number or an ideograph rather than a symbol.
pub(crate) fn is_word(token: &str) -> bool {
    token.chars().next().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// What makes two texts the same exemplar: their words in lower case; of text without words, its symbols.
pub(crate) fn normalised(text: &str) -> String {
    let joined = |words: bool| {
        let mut out = String::new();
        each_token(text, usize::MAX, |token, _| {
            if !words || is_word(token) {
                if !out.is_empty() {
                    out.push(' ');
                }
                out.extend(token.chars().flat_map(char::to_lowercase));
            }
        });
        out
    };
    let words = joined(true);
    if words.is_empty() { joined(false) } else { words }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_space_and_punctuation_make_no_other_exemplar() {
        assert_eq!(normalised("  Why was I\tcharged TWICE?! "), "why was i charged twice");
        assert_eq!(normalised(" :) "), ": )");
        assert_ne!(normalised("x + 1"), normalised("x + 2"));
        let (mut a, mut b) = (Vec::new(), Vec::new());
        terms("Fix, the bug!", &mut a);
        terms("fix THE bug", &mut b);
        assert_eq!((a.len(), &a), (3, &b));
    }
}
