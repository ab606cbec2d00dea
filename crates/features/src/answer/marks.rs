//! Phrases that say something about an answer as a whole, whatever it is about. English, in any case.

use aho_corasick::{AhoCorasick, AhoCorasickBuilder};

/// Kinds of phrases, in the order of the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// The model declines.
    Refusal,
    /// It is not sure.
    Hedge,
    /// It takes something back.
    Correction,
    /// What it found is not among what was offered.
    NoOptionFits,
    /// It rounds.
    Approximation,
    /// It goes step by step.
    Step,
}

pub(super) const MARK_KINDS: [Mark; 6] =
    [Mark::Refusal, Mark::Hedge, Mark::Correction, Mark::NoOptionFits, Mark::Approximation, Mark::Step];

const PHRASES: &[(Mark, &[&str])] = &[
    (
        Mark::Refusal,
        &[
            "i cannot",
            "i can't",
            "i can not",
            "i'm unable",
            "i am unable",
            "i'm not able",
            "i am not able",
            "as an ai",
            "as a language model",
            "i won't",
            "i'm sorry",
            "i am sorry",
            "i apologize",
            "cannot assist",
            "can't assist",
            "cannot provide",
            "unable to determine",
            "cannot be determined",
            "not enough information",
            "insufficient information",
        ],
    ),
    (
        Mark::Hedge,
        &[
            "might",
            "perhaps",
            "probably",
            "possibly",
            "likely",
            "i think",
            "i believe",
            "it seems",
            "appears to",
            "not sure",
            "uncertain",
            "assuming",
            "assume",
            "suggests",
            "could be",
            "may be",
            "presumably",
            "it depends",
            "unclear",
            "ambiguous",
        ],
    ),
    (
        Mark::Correction,
        &[
            "wait,",
            "let me re",
            "let's re",
            "however",
            "actually",
            "mistake",
            "on second thought",
            "correction",
            "re-evaluate",
            "reconsider",
            "recalculate",
            "my error",
            "apologies",
            "there seems to be",
            "there appears to be",
        ],
    ),
    (
        Mark::NoOptionFits,
        &[
            "none of the",
            "not listed",
            "closest",
            "not one of the",
            "not match",
            "doesn't match",
            "no option",
            "not among",
            "best option",
            "best answer",
            "most appropriate",
            "not in the options",
            "not directly",
            "nearest option",
        ],
    ),
    (
        Mark::Approximation,
        &["approximately", "approx", "roughly", "about ", "≈", "rounded", "rounding", "estimate"],
    ),
    (
        Mark::Step,
        &["first,", "step", "next,", "then,", "finally", "therefore", "thus", "hence", "because", "so,"],
    ),
];

/// Finds every phrase in one pass.
#[derive(Debug, Clone)]
pub(super) struct Marks {
    phrases: Option<AhoCorasick>,
    kinds: Vec<Mark>,
}

impl Marks {
    pub(super) fn new() -> Self {
        let all = || PHRASES.iter().flat_map(|(kind, phrases)| phrases.iter().map(|phrase| (*kind, *phrase)));
        let phrases =
            AhoCorasickBuilder::new().ascii_case_insensitive(true).build(all().map(|(_, phrase)| phrase));
        // A few hundred bytes of patterns are within every limit the builder has; a test builds them.
        Self { phrases: phrases.ok(), kinds: all().map(|(kind, _)| kind).collect() }
    }

    /// How often each kind occurs, by [`MARK_KINDS`].
    pub(super) fn count(&self, text: &str) -> [usize; MARK_KINDS.len()] {
        let mut counts = [0; MARK_KINDS.len()];
        for found in self.phrases.iter().flat_map(|phrases| phrases.find_iter(text)) {
            counts[self.kinds[found.pattern().as_usize()] as usize] += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_found_in_any_case() {
        let marks = Marks::new();
        let counts =
            marks.count("I'm sorry, I CANNOT help. Perhaps approximately 3; none of the options fit.");
        let of = |kind: Mark| counts[kind as usize];
        assert_eq!((of(Mark::Refusal), of(Mark::Hedge), of(Mark::Approximation)), (2, 1, 1));
        assert_eq!((of(Mark::NoOptionFits), of(Mark::Correction)), (1, 0));
        assert_eq!(marks.count(""), [0; 6]);
    }
}
