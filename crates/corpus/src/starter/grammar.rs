//! The generating grammar: how a template with slots becomes one text. The words live in the
//! tables beside this file; which template is drawn, and what the text means, does not matter here.
//!
//! A template is plain text with marks:
//!
//! | mark | becomes |
//! |---|---|
//! | `{rule}` | one alternative of that rule, expanded in turn |
//! | `{rule@x}` | the same, and the same text again wherever `{rule@x}` recurs in this row |
//! | `{rule*2..5}` | two to five expansions, joined by spaces |
//! | `{3..90}`, `{3..90@x}` | a whole number of that range, both ends included |
//! | `[[a\|b\|]]` | one of the alternatives, which may be empty |
//! | `{a}`, `{A}` | `a` or `an` (`A` or `An`), by the letter that follows |
//!
//! Any other brace is text, so code and JSON need no escapes.

use super::dice::Dice;

/// A named list of alternatives.
pub(super) type Rule = (&'static str, &'static [&'static str]);

/// Stands for `{a}` until the word behind it is known; no table holds these two characters.
const ARTICLE: [(char, &str); 2] = [('\u{1}', "a"), ('\u{2}', "A")];
/// Deeper than any table nests; a rule that refers to itself stops here.
const DEPTH_MAX: u32 = 24;

/// What stands between braces.
enum Mark<'t> {
    Number { low: u32, high: u32, tag: Option<&'t str> },
    Slot { rule: &'t str, tag: Option<&'t str>, repeat: (u32, u32) },
    Article(char),
}

/// One row in the making: the text, and what was chosen on the way.
pub(super) struct Writer<'d> {
    dice: &'d mut Dice,
    scopes: Vec<&'static [Rule]>,
    memory: Vec<(&'static str, String)>,
    depth: u32,
    skeleton: u64,
    missing: Option<String>,
}

impl<'d> Writer<'d> {
    /// A writer that looks rules up in `scopes`, first match wins.
    pub(super) fn new(dice: &'d mut Dice, scopes: Vec<&'static [Rule]>) -> Self {
        let skeleton = 0xcbf2_9ce4_8422_2325;
        Self { dice, scopes, memory: Vec::new(), depth: 0, skeleton, missing: None }
    }

    /// Expands a template.
    pub(super) fn expand(&mut self, template: &'static str) -> String {
        let mut text = String::new();
        self.write(template, &mut text);
        settle_articles(&text)
    }

    /// Expands a rule by its name.
    pub(super) fn expand_rule(&mut self, rule: &'static str) -> String {
        let mut text = String::new();
        self.write_rule(rule, &mut text);
        settle_articles(&text)
    }

    /// Draws below `n` and lets the choice shape the skeleton.
    pub(super) fn choose(&mut self, n: usize) -> usize {
        let choice = self.dice.below(n);
        self.note(choice);
        choice
    }

    /// A fingerprint (64-bit FNV-1a) of every choice that shapes the text; words and numbers picked
    /// from a plain list do not count, so rows that differ only in those share it.
    pub(super) fn skeleton(&self) -> u64 {
        self.skeleton
    }

    /// The first rule or mark that the tables do not know; the tests demand that there is none.
    #[cfg(test)]
    pub(super) fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    fn note(&mut self, choice: usize) {
        for byte in (choice as u64).to_le_bytes() {
            self.skeleton = (self.skeleton ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn write(&mut self, template: &'static str, out: &mut String) {
        let mut rest = template;
        while let Some(at) = rest.find(['{', '[']) {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(inside) = choice_body(rest) {
                let options = split_options(inside);
                let picked = self.choose(options.len());
                self.write(options[picked], out);
                rest = &rest[inside.len() + 4..];
            } else if let Some((mark, length)) = parse_mark(rest) {
                self.write_mark(&mark, out);
                rest = &rest[length..];
            } else {
                out.push_str(&rest[..1]);
                rest = &rest[1..];
            }
        }
        out.push_str(rest);
    }

    fn write_mark(&mut self, mark: &Mark<'static>, out: &mut String) {
        match *mark {
            Mark::Article(placeholder) => out.push(placeholder),
            Mark::Number { low, high, tag } => {
                self.remembered(tag, out, |writer, out| {
                    let span = (high - low) as usize + 1;
                    out.push_str(&(low as usize + writer.dice.below(span)).to_string());
                });
            }
            Mark::Slot { rule, tag, repeat: (low, high) } => {
                // The number of repetitions is a length, not a shape: it stays out of the skeleton.
                let times = low as usize + self.dice.below((high - low) as usize + 1);
                self.remembered(tag, out, |writer, out| {
                    for i in 0..times {
                        if i > 0 {
                            out.push(' ');
                        }
                        writer.write_rule(rule, out);
                    }
                });
            }
        }
    }

    fn remembered(
        &mut self,
        tag: Option<&'static str>,
        out: &mut String,
        write: impl FnOnce(&mut Self, &mut String),
    ) {
        let Some(tag) = tag else { return write(self, out) };
        if let Some((_, text)) = self.memory.iter().find(|(known, _)| *known == tag) {
            out.push_str(text);
            return;
        }
        let mut text = String::new();
        write(self, &mut text);
        out.push_str(&text);
        self.memory.push((tag, text));
    }

    fn write_rule(&mut self, rule: &'static str, out: &mut String) {
        let found = self.scopes.iter().flat_map(|scope| scope.iter()).find(|(name, _)| *name == rule);
        let Some(&(_, options)) = found.filter(|_| self.depth < DEPTH_MAX) else {
            self.missing.get_or_insert_with(|| rule.to_owned());
            return;
        };
        let plain = options.iter().all(|option| !option.contains('{') && !option.contains("[["));
        let picked = if plain { self.dice.below(options.len()) } else { self.choose(options.len()) };
        self.depth += 1;
        self.write(options[picked], out);
        self.depth -= 1;
    }
}

/// The inside of `[[...]]` at the start of `text`, nested pairs included.
fn choice_body(text: &str) -> Option<&str> {
    if !text.starts_with("[[") {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("[[") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("]]") {
            depth -= 1;
            if depth == 0 {
                return Some(&text[2..at]);
            }
            at += 2;
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    None
}

/// Splits at the bars which are not inside a nested choice.
fn split_options(inside: &str) -> Vec<&str> {
    let (mut options, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (at, character) in inside.char_indices() {
        match character {
            '[' => depth += 1,
            ']' => depth -= 1,
            '|' if depth == 0 => {
                options.push(&inside[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    options.push(&inside[start..]);
    options
}

/// The mark at the start of `text` and its length in bytes, or `None` where the brace is text.
fn parse_mark(text: &str) -> Option<(Mark<'_>, usize)> {
    let inside = text.strip_prefix('{')?.split('}').next()?;
    let length = inside.len() + 2;
    if text.len() < length {
        return None;
    }
    let (head, tag) = match inside.split_once('@') {
        Some((head, tag)) => (head, Some(tag)),
        None => (inside, None),
    };
    let mark = if let Some(&(placeholder, _)) = ARTICLE.iter().find(|(_, article)| *article == head) {
        Mark::Article(placeholder)
    } else if head.starts_with(|c: char| c.is_ascii_digit()) {
        let (low, high) = parse_range(head)?;
        Mark::Number { low, high, tag }
    } else {
        let (rule, repeat) = match head.split_once('*') {
            Some((rule, range)) => (rule, parse_range(range)?),
            None => (head, (1, 1)),
        };
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if rule.is_empty() || !rule.chars().all(is_name) {
            return None;
        }
        Mark::Slot { rule, tag, repeat }
    };
    Some((mark, length))
}

/// `low..high`, with `low <= high`.
fn parse_range(text: &str) -> Option<(u32, u32)> {
    let (low, high) = text.split_once("..")?;
    let range = (low.parse().ok()?, high.parse().ok()?);
    (range.0 <= range.1).then_some(range)
}

/// Replaces the stand-ins of `{a}` and `{A}` by the article that fits the next letter.
fn settle_articles(text: &str) -> String {
    let mut settled = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        let Some(&(_, article)) = ARTICLE.iter().find(|(placeholder, _)| *placeholder == character) else {
            settled.push(character);
            continue;
        };
        settled.push_str(article);
        let next = text[at + 1..].chars().find(|c| c.is_alphanumeric());
        if next.is_some_and(|c| "aeioAEIO8".contains(c)) {
            settled.push('n');
        }
    }
    settled
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &[Rule] = &[
        ("fruit", &["apple", "pear"]),
        ("deed", &["slice {a} {fruit@f}", "peel {a} {fruit@f}"]),
        ("loop", &["{loop}"]),
    ];

    fn expand(template: &'static str, seed: u64) -> (String, u64, bool) {
        let mut dice = Dice::new(seed, 0);
        let mut writer = Writer::new(&mut dice, vec![RULES]);
        let text = writer.expand(template);
        (text, writer.skeleton(), writer.missing().is_some())
    }

    #[test]
    fn marks_become_words_and_numbers() {
        for seed in 0..40 {
            let (text, _, missing) =
                expand("{A} {fruit@f}: {deed*2..2}, {7..8@n} = {7..8@n}[[!|?[[!|]]]] a[i]", seed);
            assert!(!missing);
            let fruit = if text.contains("apple") { "n apple" } else { " pear" };
            assert_eq!(text.matches(fruit.trim()).count(), 3, "{text}");
            assert!(text.starts_with(&format!("A{fruit}")), "{text}");
            assert!(text.contains("7 = 7") || text.contains("8 = 8"), "{text}");
            assert!(text.ends_with("! a[i]") || text.ends_with("? a[i]"), "{text}");
        }
    }

    #[test]
    fn other_braces_are_text() {
        for text in ["{\"a\": [1, 2]}", "{", "fn f() { x }", "{}", "[[", "{9..1}"] {
            let leaked: &'static str = Box::leak(text.to_owned().into_boxed_str());
            assert_eq!(expand(leaked, 1).0, text);
        }
    }

    #[test]
    fn words_and_numbers_leave_the_skeleton_alone_but_choices_shape_it() {
        let words: Vec<u64> = (0..20).map(|seed| expand("{fruit} {1..900}", seed).1).collect();
        assert!(words.iter().all(|s| *s == words[0]));
        let mut shapes: Vec<u64> = (0..20).map(|seed| expand("[[a|b]] {deed}", seed).1).collect();
        shapes.sort_unstable();
        shapes.dedup();
        assert_eq!(shapes.len(), 4);
    }

    #[test]
    fn unknown_and_endless_rules_are_reported() {
        assert!(expand("{nowhere}", 0).2);
        assert!(expand("{loop}", 0).2);
    }
}
