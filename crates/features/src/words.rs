//! Two short English word lists with a meaning for difficulty (methods section 10). Matched in
//! lower case, whole words only.

use crate::hash::WordHash;

/// Words that ask for reasoning rather than recall.
pub(crate) const REASONING: [u64; 28] = sorted([
    "prove",
    "proof",
    "derive",
    "justify",
    "explain",
    "compute",
    "calculate",
    "determine",
    "analyze",
    "compare",
    "why",
    "suppose",
    "assume",
    "optimal",
    "algorithm",
    "theorem",
    "evaluate",
    "step",
    "estimate",
    "solve",
    "integral",
    "probability",
    "induction",
    "complexity",
    "design",
    "debug",
    "rigorous",
    "rigorously",
]);

/// Words that narrow what a good answer may be.
pub(crate) const CONSTRAINT: [u64; 16] = sorted([
    "must", "only", "exactly", "except", "not", "each", "every", "without", "least", "most", "never", "all",
    "none", "both", "unless", "neither",
]);

/// Whether a word asks for reasoning rather than recall; its case does not count.
pub fn asks_for_reasoning(word: &str) -> bool {
    REASONING.binary_search(&lower_hash(word)).is_ok()
}

/// Whether a word narrows what a good answer may be; its case does not count.
pub fn narrows_the_answer(word: &str) -> bool {
    CONSTRAINT.binary_search(&lower_hash(word)).is_ok()
}

fn lower_hash(word: &str) -> u64 {
    word.chars().flat_map(char::to_lowercase).fold(WordHash::new(), WordHash::char).finish()
}

/// The hashes of words, ascending.
const fn sorted<const N: usize>(words: [&str; N]) -> [u64; N] {
    let mut hashes = [0; N];
    let mut i = 0;
    while i < N {
        let hash = WordHash::text(words[i]);
        let mut j = i;
        while j > 0 && hashes[j - 1] > hash {
            hashes[j] = hashes[j - 1];
            j -= 1;
        }
        hashes[j] = hash;
        i += 1;
    }
    hashes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_known_in_any_case_and_only_whole() {
        assert!(asks_for_reasoning("Prove") && asks_for_reasoning("WHY"));
        assert!(!asks_for_reasoning("proven") && !asks_for_reasoning("only") && !asks_for_reasoning(""));
        assert!(narrows_the_answer("Only") && !narrows_the_answer("prove"));
    }
}
