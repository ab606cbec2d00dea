//! An answer beside its query as numbers: what a verifier reads (methods section 6). The same two views as a query has,
//! n-grams and surface features, and a row of marks: how it ends, whether it refuses, hedges or stops in the
//! middle, whether its format holds, how it overlaps with the query, and what the caller knows of how it came about.
//! No weights live here.

mod ending;
mod format;
mod marks;
mod signals;

pub use ending::{Ending, final_answer};
pub use signals::{Agreement, FinishReason, SIGNAL_NAMES, Signals, agreement};

use types::{Query, Role};

use crate::scan::{Class, scan};
use crate::surface::SURFACE_LEN;
use crate::{Extractor, FeatureConfig, Features};
use format::Format;
use marks::{MARK_KINDS, Marks};

/// Tokens of an answer whose numbers and words are compared with the query's.
const OVERLAP_TOKENS: usize = 4_096;

/// Number of features in a row of [`AnswerFeatures::row`].
pub const ANSWER_LEN: usize = ANSWER_NAMES.len();

/// The features of an answer in the order of the row. Logs are `ln(1 + x)`, shares lie in [0, 1], flags are 0 or 1; a
/// signal that was not supplied is 0 beside a flag that says so.
pub const ANSWER_NAMES: [&str; 48] = [
    "empty",
    "ends_with_final_answer",
    "final_answer_is_option",
    "final_answer_is_number",
    "final_answer_is_text",
    "final_option_offered",
    "final_answers_stated",
    "log_bytes_before_final_answer",
    "log_refusals",
    "log_hedges",
    "log_corrections",
    "log_no_option_fits",
    "log_approximations",
    "log_steps",
    "ends_in_the_middle",
    "most_repeated_line_share",
    "json_wanted",
    "json_holds",
    "json_broken",
    "code_wanted",
    "code_present",
    "brackets_balanced",
    "fence_open",
    "number_wanted",
    "number_present",
    "unit_wanted",
    "unit_present",
    "query_ngrams_covered",
    "answer_ngrams_from_query",
    "query_numbers_covered",
    "answer_numbers_from_query",
    "names_covered",
    "log_length_ratio",
    "finish_known",
    "finish_stop",
    "finish_length",
    "finish_filtered",
    "log_probability_known",
    "mean_log_probability",
    "least_log_probability",
    "first_margin",
    "agreement_known",
    "agreement_share",
    "log_other_answers",
    "predicted_success_known",
    "predicted_success_logit",
    "similarity_known",
    "similarity",
];

/// An answer beside its query.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AnswerFeatures {
    /// The query, as the router reads it.
    pub query: Features,
    /// The answer's text, read the same way.
    pub answer: Features,
    /// See [`ANSWER_NAMES`]; all values finite.
    pub row: Vec<f32>,
}

/// The dense features of an answer beside its query: surface of the query, surface of the answer, and
/// [`AnswerFeatures::row`], side by side.
pub fn dense<'a>(
    query: &'a Features,
    answer: &'a Features,
    row: &'a [f32],
) -> impl Iterator<Item = f32> + 'a {
    query.surface.iter().chain(&answer.surface).chain(row).copied()
}

/// How many they are.
pub const ANSWER_DENSE_LEN: usize = 2 * SURFACE_LEN + ANSWER_LEN;

/// Turns answers into features, reusing its buffers.
#[derive(Debug, Clone)]
pub struct AnswerReader {
    extractor: Extractor,
    marks: Marks,
    words: Overlap,
}

/// Words and numbers of both sides.
#[derive(Debug, Clone, Default)]
struct Overlap {
    query_numbers: Vec<u64>,
    query_names: Vec<u64>,
    answer_numbers: Vec<u64>,
    answer_words: Vec<u64>,
}

impl AnswerReader {
    /// A reader with empty buffers.
    pub fn new(config: FeatureConfig) -> Self {
        Self { extractor: Extractor::new(config), marks: Marks::new(), words: Overlap::default() }
    }

    /// Fills `out` with the features of an answer to a query.
    pub fn read(&mut self, query: &Query, answer: &str, signals: &Signals, out: &mut AnswerFeatures) {
        self.extractor.extract(query, &mut out.query);
        self.answer(query, answer, signals, out);
    }

    /// The same for a further answer to the query read last into `out`.
    pub fn answer(&mut self, query: &Query, answer: &str, signals: &Signals, out: &mut AnswerFeatures) {
        self.extractor.extract_text(answer, &mut out.answer);
        let asked = last_user_turn(query);
        self.words.read(asked, answer);
        out.row.clear();
        let ending = final_answer(answer);
        endings(asked, answer, &ending, &mut out.row);
        let counts = self.marks.count(answer);
        out.row.extend(MARK_KINDS.map(|kind| log(counts[kind as usize])));
        out.row.push(flag(format::ends_in_the_middle(answer)));
        out.row.push(format::most_repeated_line_share(answer));
        Format::of(asked, answer, out.query.surface[6] > 0.0).row(&mut out.row);
        let (common, of_query, of_answer) =
            (common(&out.query.ngrams, &out.answer.ngrams), out.query.ngrams.len(), out.answer.ngrams.len());
        out.row.extend([share(common, of_query), share(common, of_answer)]);
        self.words.row(&mut out.row);
        out.row.push(out.answer.surface[0] - out.query.surface[0]);
        signals.row(answer, &mut out.row);
        debug_assert_eq!(out.row.len(), ANSWER_LEN);
    }
}

fn last_user_turn(query: &Query) -> &str {
    query.parts().rev().find(|(role, _)| *role == Role::User).map_or("", |(_, text)| text)
}

fn endings(asked: &str, answer: &str, ending: &Ending<'_>, row: &mut Vec<f32>) {
    let trimmed = answer.trim_end();
    let rest = trimmed.len().saturating_sub(ending.end);
    let stated = ending.stated > 0;
    let kind = |wanted: bool| flag(stated && wanted);
    row.extend([
        flag(trimmed.is_empty()),
        kind(rest <= 3),
        kind(ending.is_option()),
        kind(ending.is_number()),
        kind(!ending.is_option() && !ending.is_number()),
        kind(ending.is_option() && offers(asked, ending.text)),
        log(ending.stated),
        (ending.start as f32).ln_1p(),
    ]);
}

/// Whether a question lists an option letter, as in "B) ..." or "(B)" or "B.".
fn offers(asked: &str, option: &str) -> bool {
    let Some(letter) = option.bytes().next() else { return false };
    let bytes = asked.as_bytes();
    let alone = |i: usize| i.checked_sub(1).is_none_or(|before| !bytes[before].is_ascii_alphanumeric());
    let listed = |(i, byte): (usize, &u8)| {
        byte.eq_ignore_ascii_case(&letter)
            && alone(i)
            && bytes.get(i + 1).is_some_and(|next| matches!(next, b')' | b'.' | b':'))
    };
    bytes.iter().enumerate().any(listed)
}

impl Overlap {
    fn read(&mut self, asked: &str, answer: &str) {
        for list in
            [&mut self.query_numbers, &mut self.query_names, &mut self.answer_numbers, &mut self.answer_words]
        {
            list.clear();
        }
        let mut first = true;
        scan(asked, OVERLAP_TOKENS, |token| {
            let byte = token.text.as_bytes()[0];
            match token.class {
                Class::Word if byte.is_ascii_digit() => self.query_numbers.push(token.hash),
                // The first word of a sentence is written large whatever it is.
                Class::Word if byte.is_ascii_uppercase() && !first && token.chars > 1 => {
                    self.query_names.push(token.hash);
                }
                _ => {}
            }
            first = matches!(byte, b'.' | b'?' | b'!' | b':');
        });
        scan(answer, OVERLAP_TOKENS, |token| match token.class {
            Class::Word if token.text.as_bytes()[0].is_ascii_digit() => self.answer_numbers.push(token.hash),
            Class::Word => self.answer_words.push(token.hash),
            _ => {}
        });
        for list in
            [&mut self.query_numbers, &mut self.query_names, &mut self.answer_numbers, &mut self.answer_words]
        {
            list.sort_unstable();
            list.dedup();
        }
    }

    fn row(&self, row: &mut Vec<f32>) {
        let numbers = common(&self.query_numbers, &self.answer_numbers);
        row.extend([
            share(numbers, self.query_numbers.len()),
            share(numbers, self.answer_numbers.len()),
            share(common(&self.query_names, &self.answer_words), self.query_names.len()),
        ]);
    }
}

/// How many hashes two ascending lists have in common.
fn common(a: &[u64], b: &[u64]) -> usize {
    let (mut i, mut j, mut both) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                both += 1;
                i += 1;
                j += 1;
            }
        }
    }
    both
}

fn share(part: usize, whole: usize) -> f32 {
    part as f32 / whole.max(1) as f32
}

fn flag(set: bool) -> f32 {
    f32::from(u8::from(set))
}

fn log(count: usize) -> f32 {
    (count as f32).ln_1p()
}

#[cfg(test)]
mod tests;
