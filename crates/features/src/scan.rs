//! Where tokens begin and end: runs of letters and digits, single ideographs, single symbols.
//! Long text is scanned from its head and from its tail; what lies between is not read.

use crate::hash::WordHash;

/// What a character is to the tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Space,
    Word,
    Ideograph,
    Symbol,
}

impl Class {
    /// Words run on; everything else stands alone.
    fn runs(self) -> bool {
        self == Self::Word
    }
}

const ASCII: [Class; 128] = {
    let mut table = [Class::Symbol; 128];
    let mut i = 0;
    while i < 128 {
        let byte = i as u8;
        table[i] = if byte.is_ascii_alphanumeric() || byte == b'_' {
            Class::Word
        } else if byte <= b' ' || byte == 0x7f {
            Class::Space
        } else {
            Class::Symbol
        };
        i += 1;
    }
    table
};

pub(crate) fn class(c: char) -> Class {
    if c.is_ascii() {
        return ASCII[c as usize];
    }
    match c as u32 {
        // Hiragana, Katakana, CJK ideographs and their extensions: no spaces between words.
        0x3040..=0x30ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x20000..=0x323af => {
            Class::Ideograph
        }
        // Combining marks belong to the word they sit on.
        0x0300..=0x036f | 0x0900..=0x0dff => Class::Word,
        _ if c.is_alphanumeric() => Class::Word,
        _ if c.is_whitespace() || c.is_control() => Class::Space,
        _ => Class::Symbol,
    }
}

/// One token as the scan sees it.
pub(crate) struct Token<'a> {
    pub(crate) class: Class,
    /// Hash of the lower-cased text.
    pub(crate) hash: u64,
    pub(crate) text: &'a str,
    /// Length in characters.
    pub(crate) chars: u32,
}

/// Calls `visit` for each token of `text` until `budget` tokens were seen.
/// Returns the byte offset behind the last one, or the length of the text when it ran out.
pub(crate) fn scan<'a>(text: &'a str, budget: usize, mut visit: impl FnMut(Token<'a>)) -> usize {
    let mut rest = text.char_indices().peekable();
    let mut seen = 0;
    while let Some((start, first)) = rest.next() {
        let kind = class(first);
        if kind == Class::Space {
            continue;
        }
        if seen == budget {
            return start;
        }
        let mut hash = lower(WordHash::new(), first);
        let (mut end, mut chars) = (start + first.len_utf8(), 1);
        if kind.runs() {
            while let Some((at, c)) = rest.next_if(|(_, c)| class(*c) == kind) {
                hash = lower(hash, c);
                end = at + c.len_utf8();
                chars += 1;
            }
        }
        seen += 1;
        visit(Token { class: kind, hash: hash.finish(), text: &text[start..end], chars });
    }
    text.len()
}

/// Calls `visit` with the text of each of the first `budget` tokens and with its hash, in which case does not
/// count: words and numbers, single ideographs, single symbols, in reading order.
pub fn each_token<'a>(text: &'a str, budget: usize, mut visit: impl FnMut(&'a str, u64)) {
    scan(text, budget, |token| visit(token.text, token.hash));
}

/// The byte offset at which the last `count` tokens of `text` begin, never before `floor`.
pub(crate) fn tail_offset(text: &str, count: usize, floor: usize) -> usize {
    let mut offset = text.len();
    let mut seen = 0;
    let mut right = Class::Space;
    for (at, c) in text[floor..].char_indices().rev() {
        let kind = class(c);
        if kind != Class::Space && !(kind.runs() && kind == right) {
            if seen == count {
                return offset;
            }
            seen += 1;
        }
        if kind != Class::Space {
            offset = floor + at;
        }
        right = kind;
    }
    floor
}

fn lower(hash: WordHash, c: char) -> WordHash {
    if c.is_ascii() {
        return hash.byte(c.to_ascii_lowercase() as u8);
    }
    c.to_lowercase().fold(hash, WordHash::char)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tokens(text: &str) -> Vec<&str> {
        let mut out = Vec::new();
        scan(text, usize::MAX, |t| out.push(t.text));
        out
    }

    #[test]
    fn words_numbers_ideographs_and_symbols() {
        assert_eq!(tokens("Don't pay 30€, größer!"), ["Don", "'", "t", "pay", "30", "€", ",", "größer", "!"]);
        assert_eq!(tokens("東京へ行く"), ["東", "京", "へ", "行", "く"]);
        assert_eq!(tokens("x1=2"), ["x1", "=", "2"]);
        assert_eq!(tokens(" \n\0"), [""; 0]);
    }

    #[test]
    fn case_does_not_change_a_hash() {
        let hash = |text| {
            let mut out = Vec::new();
            scan(text, usize::MAX, |t| out.push(t.hash));
            out
        };
        assert_eq!(hash("GRÖSSE Straße"), hash("grösse straße"));
        assert_ne!(hash("a b"), hash("b a"));
    }

    proptest! {
        #[test]
        fn head_and_tail_meet_at_token_boundaries(text in "\\PC{0,200}", cut in 0usize..60) {
            let all = tokens(&text);
            let offset = tail_offset(&text, cut, 0);
            let tail = tokens(&text[offset..]);
            prop_assert_eq!(&all[all.len().saturating_sub(cut)..], &tail[..]);
            let mut head = Vec::new();
            let end = scan(&text, cut, |t| head.push(t.text));
            prop_assert_eq!(&all[..all.len().min(cut)], &head[..]);
            prop_assert_eq!(&all[all.len().min(cut)..], &tokens(&text[end..])[..]);
        }
    }
}
