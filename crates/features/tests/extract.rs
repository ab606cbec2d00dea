//! What `Extractor` promises: any text, head and tail with the cut reported, chats by their last
//! turn, the same numbers from a used extractor as from a fresh one, and no allocation per token.
#![allow(clippy::unwrap_used, missing_docs, reason = "helpers of tests")]

use features::{Extractor, FeatureConfig, Features, SURFACE_NAMES};
use proptest::prelude::*;
use types::{Message, Query, Role};

fn read(query: &Query) -> Features {
    let mut out = Features::default();
    Extractor::new(FeatureConfig::default()).extract(query, &mut out);
    out
}

fn text(text: &str) -> Features {
    read(&Query::text(text.to_owned()))
}

fn surface(features: &Features, name: &str) -> f32 {
    features.surface[SURFACE_NAMES.iter().position(|n| *n == name).unwrap()]
}

fn turn(role: Role, content: &str) -> Message {
    Message { role, content: content.to_owned() }
}

#[test]
fn the_three_views_of_one_sentence() {
    let f = text("Prove that 7 > 2 and explain it, without a calculator?");
    assert_eq!(f.tokens.len(), 13);
    let words = ["prove", "that", "and", "explain", "it", "without", "calculator"];
    // Single characters are no n-grams; seven words make six pairs.
    assert_eq!(f.ngrams.len(), words.len() + 6);
    assert_eq!(surface(&f, "log_reasoning_words"), 2f32.ln_1p());
    assert_eq!(surface(&f, "log_constraint_words"), 1f32.ln_1p());
    assert_eq!(surface(&f, "log_numbers"), 2f32.ln_1p());
    assert_eq!(surface(&f, "log_question_marks"), 1f32.ln_1p());
    assert_eq!(surface(&f, "operator_share"), 1.0 / 13.0);
    assert!(!f.truncated);
}

#[test]
fn repetition_lowers_the_share_of_distinct_ngrams() {
    // Four words and three pairs: three and three distinct.
    assert_eq!(surface(&text("one two three one"), "distinct_ngram_share"), 6.0 / 7.0);
    assert_eq!(surface(&text("one two three four"), "distinct_ngram_share"), 1.0);
    assert_eq!(surface(&text(""), "distinct_ngram_share"), 0.0);
}

#[test]
fn counts_of_repeated_words_grow_with_the_logarithm() {
    let f = text("ha ha ha ha");
    let mut counts = f.ngram_counts.clone();
    counts.sort_by(f32::total_cmp);
    assert_eq!(counts, [1.0 + 3f32.ln(), 1.0 + 4f32.ln()], "three pairs, four words");
}

#[test]
fn long_text_is_read_at_both_ends_and_the_cut_is_reported() {
    let config = FeatureConfig::default();
    let words = |n: usize| (0..n).map(|i| format!("w{i}")).collect::<Vec<_>>();
    for (n, truncated) in [(config.max_tokens(), false), (config.max_tokens() + 1, true), (5_000, true)] {
        let words = words(n);
        let f = text(&words.join(" "));
        assert_eq!((f.tokens.len(), f.truncated), (config.max_tokens(), truncated), "{n} words");
        assert_eq!(f.tokens[0], text(&words[0]).tokens[0]);
        assert_eq!(*f.tokens.last().unwrap(), text(&words[n - 1]).tokens[0]);
        assert_eq!(f.tokens[config.head_tokens - 1], text(&words[config.head_tokens - 1]).tokens[0]);
    }
}

#[test]
fn a_chat_is_read_by_its_users_turns_last_one_first() {
    let chat = |reply: &str| {
        let turns = vec![turn(Role::User, "First"), turn(Role::Assistant, reply), turn(Role::User, "Then")];
        read(&Query::chat(turns).unwrap())
    };
    let f = chat("some words nobody asked");
    let alone = |word| text(word).tokens[0];
    assert_eq!(f.tokens, [alone("then"), alone("first")]);
    assert_eq!(surface(&f, "log_turns"), 3f32.ln_1p());
    let other = chat("other words that nobody asked");
    assert_eq!(f.ngrams, other.ngrams, "answers count by size only");
    assert_ne!(surface(&f, "log_context_bytes"), surface(&other, "log_context_bytes"));
}

#[test]
fn a_system_prompt_counts_by_size_and_identity() {
    let with = |system: &str| read(&Query::text("Hi there".to_owned()).with_system(system.to_owned()));
    let (a, b, none) = (with("Be brief."), with("Be exact."), text("Hi there"));
    assert_eq!(a.tokens, none.tokens);
    assert_eq!(a.ngrams.len(), none.ngrams.len() + 1);
    assert_ne!(a.ngrams, b.ngrams);
    assert_eq!(surface(&a, "has_system_prompt"), 1.0);
}

#[test]
fn nothing_is_allocated_once_the_buffers_have_grown() {
    let long = Query::text("why would anybody count 12 words, or more than that? ".repeat(90));
    let mut extractor = Extractor::new(FeatureConfig::default());
    let mut out = Features::default();
    extractor.extract(&long, &mut out);
    assert!(out.tokens.len() > 1_000);
    let counted = allocation_counter::measure(|| extractor.extract(&long, &mut out));
    assert_eq!(counted.count_total, 0);
}

proptest! {
    #[test]
    fn any_text_gives_sound_features(text in any::<String>(), system in prop::option::of(any::<String>())) {
        let query = Query::text(text);
        let query = match system { Some(s) => query.with_system(s), None => query };
        let f = read(&query);
        prop_assert!(f.ngrams.is_sorted_by(|a, b| a < b));
        prop_assert_eq!(f.ngrams.len(), f.ngram_counts.len());
        prop_assert!(f.ngram_counts.iter().all(|c| *c >= 1.0 && c.is_finite()));
        prop_assert!(f.surface.iter().all(|v| v.is_finite() && *v >= 0.0));
        prop_assert!(f.tokens.iter().all(|t| *t < 1 << FeatureConfig::default().token_bits));
    }

    #[test]
    fn a_used_extractor_gives_what_a_fresh_one_gives(first in any::<String>(), second in any::<String>()) {
        let (first, second) = (Query::text(first), Query::text(second));
        let mut extractor = Extractor::new(FeatureConfig::default());
        let mut out = Features::default();
        extractor.extract(&first, &mut out);
        extractor.extract(&second, &mut out);
        prop_assert_eq!(out, read(&second));
    }
}

#[test]
fn a_megabyte_of_anything_is_read() {
    for unit in ["a", "\0", "🙂", "東", " ", "a b ", "\u{301}"] {
        let f = text(&unit.repeat(1_000_000 / unit.len()));
        assert!(f.tokens.len() <= FeatureConfig::default().max_tokens(), "{unit:?}");
    }
}
