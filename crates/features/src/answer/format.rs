//! Whether the format of an answer holds: JSON that parses, brackets that balance, a number and a unit where they are
//! asked for, an end that is one.

use super::{flag, share};

/// What a query wants of the format, and what the answer gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    json_wanted: bool,
    json: Json,
    code_wanted: bool,
    fences: usize,
    balanced: bool,
    number_wanted: bool,
    number_present: bool,
    unit_wanted: bool,
    unit_present: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Json {
    Absent,
    Holds,
    Broken,
}

/// Words that ask for an amount.
const AMOUNTS: [&str; 8] =
    ["how many", "how much", "what is the value", "calculate", "compute", "how long", "how far", "find the"];

/// Units by which an answer may be told to be one, with a space or a digit before them.
const UNITS: [&str; 24] = [
    "km", "cm", "mm", "kg", "mph", "percent", "%", "$", "dollars", "hours", "minutes", "seconds", "days",
    "years", "meters", "miles", "feet", "inches", "grams", "liters", "joules", "volts", "degrees", "watts",
];

const CODE: [&str; 8] =
    ["function", "python", "javascript", "write code", "sql", "implement", "script", "write a program"];

impl Format {
    /// `numbers`: whether the query holds any.
    pub(super) fn of(asked: &str, answer: &str, numbers: bool) -> Self {
        let unit_wanted = UNITS.iter().any(|unit| contains(asked, unit));
        Self {
            json_wanted: contains(asked, "json"),
            json: json(answer),
            code_wanted: CODE.iter().any(|word| contains(asked, word)),
            fences: answer.matches("```").count(),
            balanced: balanced(answer),
            number_wanted: numbers && AMOUNTS.iter().any(|words| contains(asked, words)),
            number_present: answer.bytes().any(|byte| byte.is_ascii_digit()),
            unit_wanted,
            unit_present: unit_wanted
                && UNITS.iter().any(|unit| contains(asked, unit) && contains(answer, unit)),
        }
    }

    pub(super) fn row(&self, row: &mut Vec<f32>) {
        row.extend(
            [
                self.json_wanted,
                self.json == Json::Holds,
                self.json == Json::Broken,
                self.code_wanted,
                self.fences > 0,
                self.balanced,
                self.fences % 2 == 1,
                self.number_wanted,
                self.number_present,
                self.unit_wanted,
                self.unit_present,
            ]
            .map(flag),
        );
    }
}

/// Whether a text holds another, which is in lower case, in any case.
fn contains(text: &str, lower: &str) -> bool {
    let (text, lower) = (text.as_bytes(), lower.as_bytes());
    let Some(first) = lower.first() else { return true };
    let upper = first.to_ascii_uppercase();
    let mut from = 0;
    while let Some(at) = memchr::memchr2(*first, upper, &text[from..]) {
        let here = from + at;
        if text[here..].get(..lower.len()).is_some_and(|piece| piece.eq_ignore_ascii_case(lower)) {
            return true;
        }
        from = here + 1;
    }
    false
}

/// The outermost braces of an answer, read as JSON.
fn json(answer: &str) -> Json {
    let (Some(open), Some(close)) = (answer.find('{'), answer.rfind('}')) else {
        return if answer.contains("```json") { Json::Broken } else { Json::Absent };
    };
    // Braces of sets and code are no attempt at JSON.
    let attempt = answer[open..].trim_start_matches('{').trim_start().starts_with('"');
    if !attempt {
        return Json::Absent;
    }
    let text = answer.get(open..=close).unwrap_or_default();
    if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() { Json::Holds } else { Json::Broken }
}

/// Whether every bracket is closed by its kind, in order.
fn balanced(text: &str) -> bool {
    let mut open = Vec::new();
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => open.push(byte),
            b')' | b']' | b'}' => {
                let opener = if byte == b')' { b'(' } else { byte - 2 };
                // Lists are often numbered with a closing bracket alone.
                if open.last() == Some(&opener) {
                    open.pop();
                } else if byte != b')' {
                    return false;
                }
            }
            _ => {}
        }
    }
    open.is_empty()
}

/// Whether a text stops where no sentence, list or block would.
pub(super) fn ends_in_the_middle(text: &str) -> bool {
    let last = text.trim_end().chars().next_back();
    last.is_some_and(|c| {
        c.is_alphanumeric() || matches!(c, ',' | '(' | '[' | '{' | '=' | '+' | '-' | ':' | '<')
    })
}

/// The share of its lines that the most frequent line of at least eight characters has, of those with two or more.
pub(super) fn most_repeated_line_share(text: &str) -> f32 {
    let mut lines: Vec<&str> = text.lines().map(str::trim).filter(|line| line.len() >= 8).collect();
    lines.sort_unstable();
    let most = lines.chunk_by(|a, b| a == b).map(<[&str]>::len).max().unwrap_or_default();
    if most < 2 { 0.0 } else { share(most, lines.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_holds_breaks_or_is_not_there() {
        assert_eq!(json("Here:\n```json\n{\"a\": [1, 2]}\n```"), Json::Holds);
        assert_eq!(json("{\"a\": 1,}"), Json::Broken);
        assert_eq!(json("```json\n\"a\": 1"), Json::Broken);
        assert_eq!(json("the set {1, 2}"), Json::Absent);
        assert_eq!(json("} {"), Json::Absent);
        assert_eq!(json("} {\"x"), Json::Broken);
    }

    #[test]
    fn brackets_close_by_kind_and_lists_may_be_numbered() {
        for good in ["", "f(x[0]) {}", "1) one 2) two", "a (b) c"] {
            assert!(balanced(good), "{good}");
        }
        for bad in ["f(x", "[1, 2", "x]", "(]", "{"] {
            assert!(!balanced(bad), "{bad}");
        }
    }

    #[test]
    fn an_end_in_the_middle_is_seen() {
        assert!(ends_in_the_middle("and so we") && ends_in_the_middle("x = "));
        assert!(!ends_in_the_middle("Done.") && !ends_in_the_middle("```\n") && !ends_in_the_middle(""));
        assert!(
            (most_repeated_line_share("loop again\nloop again\nloop again\nsomething") - 0.75).abs() < 1e-6
        );
        assert_eq!(most_repeated_line_share("one line here\nother line"), 0.0);
    }
}
