//! The one pass: a query in, three views of it out, into buffers that are used again.

use types::{Query, Role};

use crate::hash::{WordHash, bucket, pair};
use crate::scan::{Class, scan, tail_offset};
use crate::surface::{Counts, SURFACE_LEN, Script};

/// How text becomes features. Saved with the weights: a classifier only understands its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureConfig {
    /// log2 of the rows of the token-vector table, 8 to 24.
    pub token_bits: u32,
    /// Tokens read from the head of the last user turn.
    pub head_tokens: usize,
    /// Tokens read from its tail when it is longer than the head.
    pub tail_tokens: usize,
}

impl Default for FeatureConfig {
    fn default() -> Self {
        Self { token_bits: 14, head_tokens: 768, tail_tokens: 256 }
    }
}

impl FeatureConfig {
    /// The most tokens ever used of one query.
    pub fn max_tokens(&self) -> usize {
        self.head_tokens + self.tail_tokens
    }
}

/// The three views of one query.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Features {
    /// Token buckets, each below `2^token_bits`; at most `max_tokens` of them.
    pub tokens: Vec<u32>,
    /// Distinct hashes of word 1-2-grams, ascending.
    pub ngrams: Vec<u64>,
    /// `1 + ln(count)` of each n-gram, beside `ngrams`.
    pub ngram_counts: Vec<f32>,
    /// The surface row, see [`crate::SURFACE_NAMES`].
    pub surface: [f32; SURFACE_LEN],
    /// Whether text was left unread because the query is longer than the token budget.
    pub truncated: bool,
}

impl Features {
    /// The script that most of the query is written in.
    pub fn script(&self) -> Script {
        Script::of(&self.surface)
    }
}

/// Turns queries into features, reusing its buffers.
#[derive(Debug, Clone)]
pub struct Extractor {
    config: FeatureConfig,
    raw_ngrams: Vec<u64>,
}

impl Extractor {
    /// An extractor with empty buffers.
    pub fn new(config: FeatureConfig) -> Self {
        Self { config, raw_ngrams: Vec::new() }
    }

    /// How this extractor reads text.
    pub fn config(&self) -> &FeatureConfig {
        &self.config
    }

    /// Fills `out` with the features of `query`, overwriting what it held.
    ///
    /// The last user turn is read first (head and tail); what the budget leaves goes to earlier
    /// user turns, newest first. Earlier answers count by size only, the system prompt by size and identity.
    pub fn extract(&mut self, query: &Query, out: &mut Features) {
        self.start(out);
        let mut counts = Counts::default();
        for (role, text) in query.parts() {
            counts.turns += u32::from(role != Role::System);
            match role {
                Role::System => self.system(text, &mut counts),
                Role::User => {}
                Role::Assistant | Role::Tool => counts.context_bytes += text.len(),
            }
        }
        let mut user_turns = query.parts().rev().filter(|(role, _)| *role == Role::User);
        if let Some((_, text)) = user_turns.next() {
            counts.bytes = text.len();
            self.head_and_tail(text, &mut counts, out);
        }
        for (_, text) in user_turns {
            counts.context_bytes += text.len();
            let budget = self.config.max_tokens() - out.tokens.len();
            let end = self.read(text, budget, &mut counts, &mut out.tokens);
            out.truncated |= end < text.len();
        }
        self.finish(&mut counts, out);
    }

    /// Fills `out` with the features of one text, such as an answer: what a query of that text would give.
    pub(crate) fn extract_text(&mut self, text: &str, out: &mut Features) {
        self.start(out);
        let mut counts = Counts::default();
        (counts.turns, counts.bytes) = (1, text.len());
        self.head_and_tail(text, &mut counts, out);
        self.finish(&mut counts, out);
    }

    fn start(&mut self, out: &mut Features) {
        out.tokens.clear();
        out.ngrams.clear();
        out.ngram_counts.clear();
        out.truncated = false;
        self.raw_ngrams.clear();
    }

    fn finish(&mut self, counts: &mut Counts, out: &mut Features) {
        self.count_ngrams(out);
        (counts.ngrams, counts.distinct_ngrams) = (self.raw_ngrams.len(), out.ngrams.len());
        out.surface = counts.row();
    }

    fn system(&mut self, text: &str, counts: &mut Counts) {
        counts.system_bytes += text.len();
        let identity = pair(WordHash::text("system prompt"), WordHash::text(text));
        self.raw_ngrams.push(identity);
    }

    fn head_and_tail(&mut self, text: &str, counts: &mut Counts, out: &mut Features) {
        let head_end = self.read(text, self.config.head_tokens, counts, &mut out.tokens);
        if head_end == text.len() {
            return;
        }
        let tail_start = tail_offset(text, self.config.tail_tokens, head_end);
        // Only white space between head and tail is no cut.
        out.truncated |= !text[head_end..tail_start].trim().is_empty();
        self.read(&text[tail_start..], self.config.tail_tokens, counts, &mut out.tokens);
    }

    fn read(&mut self, text: &str, budget: usize, counts: &mut Counts, tokens: &mut Vec<u32>) -> usize {
        let token_bits = self.config.token_bits;
        let ngrams = &mut self.raw_ngrams;
        let mut previous: Option<u64> = None;
        let mut gap_start = 0;
        scan(text, budget, |token| {
            let start = token.text.as_ptr() as usize - text.as_ptr() as usize;
            counts.gap(&text[gap_start..start]);
            gap_start = start + token.text.len();
            counts.token(&token);
            let word = token.hash;
            tokens.push(bucket(word, token_bits));
            // Single letters and symbols are noise as n-grams (option letters, bullet marks).
            if token.class != Class::Ideograph && token.chars < 2 {
                return;
            }
            ngrams.push(word);
            if let Some(previous) = previous.replace(word) {
                ngrams.push(pair(previous, word));
            }
        })
    }

    fn count_ngrams(&mut self, out: &mut Features) {
        self.raw_ngrams.sort_unstable();
        for run in self.raw_ngrams.chunk_by(|a, b| a == b) {
            out.ngrams.push(run[0]);
            out.ngram_counts.push(if run.len() == 1 { 1.0 } else { 1.0 + (run.len() as f32).ln() });
        }
    }
}
