//! The final answer of an answer: what is said to be it, or what comes last. Says nothing about whether it is right.

/// What an answer comes down to, and where it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending<'a> {
    /// The final answer, trimmed of brackets, quotes and markup; empty for an empty answer.
    pub text: &'a str,
    /// Where it begins, in bytes.
    pub start: usize,
    /// Where it ends, in bytes.
    pub end: usize,
    /// How often the answer says that a final answer follows; 0: the last number or line was taken.
    pub stated: usize,
}

impl Ending<'_> {
    /// A single letter from A to T: an option of a list.
    pub fn is_option(&self) -> bool {
        matches!(self.text.as_bytes(), [letter] if matches!(letter.to_ascii_uppercase(), b'A'..=b'T'))
    }

    /// A number, with or without thousands separators, currency or percent.
    pub fn is_number(&self) -> bool {
        number(self.text).is_some()
    }
}

/// What comes before a final answer, in lower case.
const CUES: [&str; 7] =
    ["answer is", "answer:", "\"answer\":", "\\boxed{", "####", "final answer", "correct option is"];

/// Finds the final answer of a text: behind the last cue such as "the answer is", `\boxed{`, `"answer":` or `####`;
/// without one the last number, and without that the last line.
pub fn final_answer(text: &str) -> Ending<'_> {
    let mut stated = 0;
    let mut behind = None;
    for (at, c) in text.char_indices() {
        if !matches!(c, 'a' | 'A' | '"' | '\\' | '#' | 'f' | 'F' | 'c' | 'C') {
            continue;
        }
        let cue = CUES.iter().find(|cue| starts_with(&text.as_bytes()[at..], cue.as_bytes()));
        if let Some(cue) = cue {
            stated += 1;
            behind = Some(at + cue.len());
        }
    }
    if let Some(ending) = behind.and_then(|from| stated_behind(text, from, stated)) {
        return ending;
    }
    last_number(text).unwrap_or_else(|| last_line(text))
}

fn starts_with(bytes: &[u8], lower: &[u8]) -> bool {
    bytes.len() >= lower.len() && bytes[..lower.len()].eq_ignore_ascii_case(lower)
}

fn decoration(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '(' | ')' | '[' | ']' | '{' | '}' | '*' | '"' | '\'' | '`' | ':' | '$' | '\\')
}

/// The piece behind a cue: up to the end of its line or sentence, without decoration.
fn stated_behind(text: &str, from: usize, stated: usize) -> Option<Ending<'_>> {
    let rest = &text[from..];
    let skipped = rest.len() - rest.trim_start_matches(decoration).len();
    let piece = &rest[skipped..];
    let mut end = piece.len();
    let mut chars = piece.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, c)| *c);
        let closes = matches!(c, '\n' | '"' | '}' | ')' | ']')
            || (matches!(c, '.' | ',' | ';') && next.is_none_or(char::is_whitespace));
        if closes {
            end = at;
            break;
        }
    }
    let piece = piece[..end].trim_end_matches(|c: char| decoration(c) || c == '.');
    let start = from + skipped;
    (!piece.is_empty()).then(|| Ending { text: piece, start, end: start + piece.len(), stated })
}

fn last_number(text: &str) -> Option<Ending<'_>> {
    let bytes = text.as_bytes();
    let end = bytes.iter().rposition(u8::is_ascii_digit)? + 1;
    let of_number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b',');
    let mut start = end - bytes[..end].iter().rev().take_while(|byte| of_number(byte)).count();
    while !bytes[start].is_ascii_digit() {
        start += 1;
    }
    if start > 0 && bytes[start - 1] == b'-' {
        start -= 1;
    }
    Some(Ending { text: &text[start..end], start, end, stated: 0 })
}

fn last_line(text: &str) -> Ending<'_> {
    let trimmed = text.trim_end();
    let start = trimmed.rfind('\n').map_or(0, |at| at + 1);
    let line = &trimmed[start..];
    let start = start + (line.len() - line.trim_start().len());
    Ending { text: &trimmed[start..], start, end: trimmed.len(), stated: 0 }
}

/// The number a text is: thousands separators, currency and percent signs and a trailing point do not count.
pub(super) fn number(text: &str) -> Option<f64> {
    let bare = text.trim().trim_end_matches('.');
    let bare = bare.trim_start_matches(['$', '€', '£']).trim_end_matches(['%', '$', '€', '£']).trim();
    if !bare.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let parsed: Option<f64> =
        if bare.contains(',') { bare.replace(',', "").parse().ok() } else { bare.parse().ok() };
    parsed.filter(|number| number.is_finite())
}
