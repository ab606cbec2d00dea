//! From text to difficulty: the stated formula of the starter corpus. What follows from a
//! difficulty stands in `outcome`.
//!
//! ```text
//! d(q) = -2.90 + 1.90 sqrt(r) + 0.60 sqrt(c) + 0.08 sqrt(w)    [logits]
//! ```
//!
//! counted in the last turn: `r` words that ask for reasoning, `c` words that narrow the answer
//! (the lists of `features::words`, which are English), `w` words. Each term is cut to hundredths,
//! so that the value is the same whole number on every platform.
//!
//! Few and frequent effects on purpose: right or wrong is one bit, and a corpus of twenty thousand
//! rows pins down some dozens of effects to the three hundredths that calibration is tested for,
//! not hundreds. (A difficulty by task family, language and phrase, about 150 effects, left tf-idf
//! logistic regression 0.08 from the truth.)

use features::words;
use types::Query;

/// Hundredths of a logit where nothing is counted.
const BASE: i32 = -290;
/// Hundredths of a logit by count: `coefficient x sqrt(count)`, cut to a whole number.
const REASONING: u32 = 190;
const CONSTRAINT: u32 = 60;
const WORD: u32 = 8;

/// Difficulty of a query in hundredths of a logit.
pub(super) fn hundredths(query: &Query) -> i32 {
    let text = query.parts().next_back().map_or("", |(_, text)| text);
    let (mut reasoning, mut constraint, mut all) = (0_u32, 0_u32, 0_u32);
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()) {
        all += 1;
        reasoning += u32::from(words::asks_for_reasoning(word));
        constraint += u32::from(words::narrows_the_answer(word));
    }
    let counts = [(REASONING, reasoning), (CONSTRAINT, constraint), (WORD, all)];
    let sum: u64 = counts.iter().map(|&(c, n)| (u64::from(c).pow(2) * u64::from(n)).isqrt()).sum();
    BASE.saturating_add(i32::try_from(sum).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i32 {
        hundredths(&Query::text(text))
    }

    #[test]
    fn the_formula_counts_what_it_says() {
        assert_eq!(at(""), BASE);
        assert_eq!(at("Hello"), BASE + 8);
        assert_eq!(at("Prove it"), BASE + 190 + 11, "one demand, two words");
        assert_eq!(at("prove prove prove prove"), BASE + 2 * 190 + 16);
        assert_eq!(at("Only 7 or 12"), BASE + 60 + 16);
    }
}
