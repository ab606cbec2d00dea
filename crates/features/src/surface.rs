//! Surface features: what the shape of a query says before any word is understood
//! (methods section 10; all O(length), no model).

use crate::scan::{Class, Token};
use crate::words::{CONSTRAINT, REASONING};

/// Number of surface features.
pub const SURFACE_LEN: usize = 27;

/// The surface features in the order of the row, for cards and debugging.
/// Logs are `ln(1 + x)`; shares are of characters or tokens and lie in [0, 1].
pub const SURFACE_NAMES: [&str; SURFACE_LEN] = [
    "log_bytes",
    "log_tokens",
    "log_words",
    "mean_word_chars",
    "long_word_share",
    "digit_token_share",
    "log_numbers",
    "operator_share",
    "log_code_marks",
    "log_math_marks",
    "log_newlines",
    "log_question_marks",
    "log_commas",
    "log_list_items",
    "log_constraint_words",
    "log_reasoning_words",
    "uppercase_word_share",
    "log_roman_numerals",
    "non_ascii_share",
    "ideograph_share",
    "other_script_share",
    "log_quotes",
    "log_turns",
    "log_context_bytes",
    "has_system_prompt",
    "log_system_bytes",
    "distinct_ngram_share",
];

/// The script that most of a text is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Latin, its accents included; also where there are no letters at all.
    Latin,
    /// Han, Hiragana, Katakana or Hangul.
    Ideographs,
    /// Greek, Cyrillic, Arabic, Devanagari and so on.
    Other,
}

impl Script {
    /// A stable lower-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Latin => "latin",
            Self::Ideographs => "ideographs",
            Self::Other => "other",
        }
    }

    /// Read off a surface row: more than half of the words, or a fifth of the tokens for ideographs, each of which is
    /// a token of its own among numbers and punctuation.
    pub(crate) fn of(row: &[f32; SURFACE_LEN]) -> Self {
        let [.., ideographs, others, _, _, _, _, _, _] = row;
        if *ideographs > 0.2 {
            Self::Ideographs
        } else if *others > 0.5 {
            Self::Other
        } else {
            Self::Latin
        }
    }
}

/// Counts kept while scanning; turned into the row at the end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    words: u32,
    word_chars: u32,
    long_words: u32,
    uppercase_words: u32,
    roman: u32,
    numbers: u32,
    operators: u32,
    code_marks: u32,
    math_marks: u32,
    newlines: u32,
    questions: u32,
    commas: u32,
    list_items: u32,
    constraints: u32,
    reasoning: u32,
    non_ascii: u32,
    ideographs: u32,
    other_script: u32,
    quotes: u32,
    tokens: u32,
    after_newline: bool,
    pub(crate) turns: u32,
    pub(crate) bytes: usize,
    pub(crate) context_bytes: usize,
    pub(crate) system_bytes: usize,
    /// Word 1-2-grams, and how many of them are distinct: the type-token ratio of a text.
    pub(crate) ngrams: usize,
    pub(crate) distinct_ngrams: usize,
}

impl Counts {
    /// Notes the newlines in the gap before a token.
    pub(crate) fn gap(&mut self, gap: &str) {
        let newlines = gap.bytes().filter(|b| *b == b'\n').count();
        if newlines > 0 {
            self.newlines += newlines as u32;
            self.after_newline = true;
        }
    }

    pub(crate) fn token(&mut self, token: &Token<'_>) {
        self.tokens += 1;
        let first = token.text.as_bytes()[0];
        let starts_line = std::mem::take(&mut self.after_newline);
        if starts_line && (matches!(first, b'-' | b'*' | b'(') || first.is_ascii_digit()) {
            self.list_items += 1;
        }
        self.non_ascii += u32::from(first >= 0x80);
        match token.class {
            Class::Word if first.is_ascii_digit() => self.numbers += 1,
            Class::Word => self.word(token),
            Class::Ideograph => self.ideographs += 1,
            Class::Symbol => self.symbol(first),
            Class::Space => {}
        }
    }

    fn word(&mut self, token: &Token<'_>) {
        self.words += 1;
        self.word_chars += token.chars;
        self.long_words += u32::from(token.chars >= 9);
        self.constraints += u32::from(CONSTRAINT.binary_search(&token.hash).is_ok());
        self.reasoning += u32::from(REASONING.binary_search(&token.hash).is_ok());
        let bytes = token.text.as_bytes();
        if bytes[0] >= 0xcd {
            // Lead bytes from here on open scripts other than Latin and its accents.
            self.other_script += 1;
        }
        if bytes.len() >= 2 && bytes.iter().all(u8::is_ascii_uppercase) {
            self.uppercase_words += 1;
            self.roman += u32::from(bytes.iter().all(|b| matches!(b, b'I' | b'V' | b'X' | b'L' | b'C')));
        }
    }

    fn symbol(&mut self, byte: u8) {
        match byte {
            b'+' | b'-' | b'*' | b'/' | b'=' | b'<' | b'>' | b'%' => self.operators += 1,
            b'{' | b'}' | b';' | b'`' | b'#' | b'|' => self.code_marks += 1,
            b'\\' | b'$' | b'^' => self.math_marks += 1,
            b'?' => self.questions += 1,
            b',' => self.commas += 1,
            b'"' | b'\'' => self.quotes += 1,
            _ => {}
        }
    }

    /// The row of [`SURFACE_NAMES`]; all values finite.
    pub(crate) fn row(&self) -> [f32; SURFACE_LEN] {
        let log = |count: u32| (count as f32).ln_1p();
        let log_bytes = |bytes: usize| (bytes as f32).ln_1p();
        let share = |part: u32, whole: u32| part as f32 / whole.max(1) as f32;
        [
            log_bytes(self.bytes),
            log(self.tokens),
            log(self.words),
            share(self.word_chars, self.words),
            share(self.long_words, self.words),
            share(self.numbers, self.tokens),
            log(self.numbers),
            share(self.operators, self.tokens),
            log(self.code_marks),
            log(self.math_marks),
            log(self.newlines),
            log(self.questions),
            log(self.commas),
            log(self.list_items),
            log(self.constraints),
            log(self.reasoning),
            share(self.uppercase_words, self.words),
            log(self.roman),
            share(self.non_ascii, self.tokens),
            share(self.ideographs, self.tokens),
            share(self.other_script, self.words),
            log(self.quotes),
            log(self.turns),
            log_bytes(self.context_bytes),
            f32::from(u8::from(self.system_bytes > 0)),
            log_bytes(self.system_bytes),
            self.distinct_ngrams as f32 / self.ngrams.max(1) as f32,
        ]
    }
}
