//! The features of a text: its words and symbols, pairs of neighbours, and the character n-grams of its words, which
//! let `invoices` and `invoice` meet.

use features::each_token;
use features::hash::{WordHash, pair};

use super::concepts::each_subject;
use crate::text::{MOST_TOKENS, is_word};

/// Lengths of character n-grams, the marks at both ends of a word counted.
const GRAMS: std::ops::RangeInclusive<usize> = 3..=5;

/// A word is cut here: no word of a language is longer.
const MOST_CHARS: usize = 32;

/// How much the subject of a word counts beside the word itself.
const SUBJECT: f32 = 3.0;

/// How much a pair of words counts beside a word.
const PAIR: f32 = 0.5;

/// How much all n-grams of a word together count beside the word.
const GRAMS_OF_WORD: f32 = 0.5;

/// Kinds of features, which never meet.
const NUMBER: u64 = WordHash::text("any number");
const START: u64 = WordHash::text("start of text");

/// Calls `visit` with the hash and the amount of each feature, in reading order.
pub(super) fn each_feature(text: &str, mut visit: impl FnMut(u64, f32)) {
    let mut previous = START;
    let mut chars: Vec<char> = Vec::with_capacity(MOST_CHARS);
    each_token(text, MOST_TOKENS, |token, hash| {
        let number = token.bytes().all(|byte| byte.is_ascii_digit());
        // Which number it is hardly ever tells an intent, that it is one often does.
        let word = if number { NUMBER } else { hash };
        visit(word, 1.0);
        visit(pair(previous, word), PAIR);
        previous = word;
        if number || !is_word(token) {
            return;
        }
        chars.clear();
        chars.push('<');
        chars.extend(token.chars().flat_map(char::to_lowercase).take(MOST_CHARS));
        each_subject(&chars[1..], |subject| visit(subject, SUBJECT));
        chars.push('>');
        if chars.len() > 4 {
            grams(&chars, &mut visit);
        }
    });
}

fn grams(chars: &[char], visit: &mut impl FnMut(u64, f32)) {
    let count: usize = GRAMS.map(|n| (chars.len() + 1).saturating_sub(n)).sum();
    let amount = GRAMS_OF_WORD / (count as f32).sqrt();
    for n in GRAMS {
        for gram in chars.windows(n) {
            let hash = gram.iter().fold(WordHash::new().byte(n as u8), |hash, c| hash.char(*c));
            visit(hash.finish(), amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(text: &str) -> Vec<u64> {
        let mut out = Vec::new();
        each_feature(text, |hash, _| out.push(hash));
        out
    }

    #[test]
    fn forms_of_a_word_share_n_grams_and_numbers_are_alike() {
        let (one, many) = (features("invoice"), features("Invoices"));
        let shared = one.iter().filter(|hash| many.contains(hash)).count();
        assert!(shared > one.len() / 2 && shared < one.len(), "{shared} of {}", one.len());
        assert_eq!(features("12"), features("7"));
        assert_ne!(features("x 12"), features("12 x"));
        assert!(features(&"word ".repeat(10_000)).len() < 20 * MOST_TOKENS);
    }

    #[test]
    fn the_n_grams_of_a_word_weigh_less_than_the_word() {
        let mut squares = 0.0;
        each_feature("xylograph", |_, amount| squares += amount * amount);
        // The word, its pair with the start, and its n-grams.
        assert!((squares - (1.0 + 0.25 + 0.25f32)).abs() < 1e-5, "{squares}");
    }
}
