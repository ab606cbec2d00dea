//! The embedded starter corpus: prompts from a seeded grammar of our own, with simulated outcomes
//! of three models whose true probabilities are known. No file is read and no real model is asked,
//! so a bare clone can train, calibrate and serve, and calibration can be tested against the truth.
//!
//! # How a row is made
//! 1. A language and one of its task families are drawn by weight; a template of the family is
//!    expanded (`grammar`), and now and then put into a chat or behind a system prompt.
//! 2. The difficulty of the row is read off its last turn: words that ask for reasoning or narrow
//!    the answer, and length (`difficulty` states the formula). Nothing that is not in the text
//!    counts, so the truth of any row can be recomputed from it.
//! 3. The difficulty gives each model's success probability and the win probability of
//!    `starter-large` over `starter-small` (`outcome` states the formulas); right or wrong (1 or 0)
//!    is drawn once per model, independently given the query.
//!
//! The same seed gives the same bytes on every platform, and a longer corpus begins with the rows
//! of a shorter one.

mod dice;
mod difficulty;
mod english;
mod grammar;
mod languages;
mod outcome;
mod shared;

use std::collections::{BTreeMap, BTreeSet};

use types::{Ladder, Message, ModelError, ModelName, Query, Role};

use crate::{Evidence, Example};
use dice::Dice;
use grammar::{Rule, Writer};
use outcome::Truth;

/// Rows of a corpus when nobody says otherwise.
pub const DEFAULT_ROWS: usize = 6_000;

/// The three simulated models, cheapest first: the weak one, the middle rung and the strong one.
pub const MODELS: [&str; 3] = ["starter-small", "starter-medium", "starter-large"];

/// What has to stand wherever the corpus, or anything trained on it, is shown.
pub const DISCLAIMER: &str =
    "simulated: for trying the pipeline and testing calibration against the truth, not for production";

/// How often a text that was already drawn (but for its digits) is drawn anew before it is kept.
const REDRAWS_MAX: usize = 12;
/// Streams of the seed: texts and outcomes do not disturb one another.
const TEXT_STREAM: u64 = 0;
const OUTCOME_STREAM: u64 = 1;

/// One kind of task in one language.
struct Family {
    name: &'static str,
    /// Relative frequency within the language.
    share: u32,
    /// Whether a chat history or a system prompt may be put around it.
    framed: bool,
    templates: &'static [&'static str],
    rules: &'static [Rule],
}

/// One language with its families and its vocabulary.
struct Language {
    code: &'static str,
    /// Relative frequency.
    share: u32,
    families: &'static [&'static [Family]],
    rules: &'static [&'static [Rule]],
}

/// A text and where it came from.
struct Draft {
    language: &'static str,
    family: &'static str,
    template: usize,
    skeleton: u64,
    query: Query,
}

/// The ladder of the simulated models, `starter-small` first.
///
/// # Errors
/// None in practice: the three names are valid and different.
pub fn ladder() -> Result<Ladder, ModelError> {
    Ladder::new(model_names()?)
}

/// `rows` examples of a seed. Each has a 0/1 outcome for each of [`MODELS`], the true win
/// probability of `starter-large` over `starter-small`, the slices `family:..`, `language:..` and
/// `simulated`, and as group the template instance: rows that differ only in words and numbers
/// picked from plain lists share it.
pub fn generate(rows: usize, seed: u64) -> Vec<Example> {
    let names = model_names().unwrap_or_default();
    let (mut words, mut outcomes) = (Dice::new(seed, TEXT_STREAM), Dice::new(seed, OUTCOME_STREAM));
    let mut seen = BTreeSet::new();
    (1..=rows)
        .map(|row| {
            let mut drawn = draft(&mut words);
            for _ in 0..REDRAWS_MAX {
                if !seen.contains(&without_digits(&drawn.query)) {
                    break;
                }
                drawn = draft(&mut words);
            }
            seen.insert(without_digits(&drawn.query));
            to_example(row, drawn, &names, &mut outcomes)
        })
        .collect()
}

fn model_names() -> Result<Vec<ModelName>, ModelError> {
    MODELS.iter().map(|name| ModelName::new(name)).collect()
}

fn languages() -> [&'static Language; 8] {
    let [de, fr, es, pt, it, ja, zh] = languages::ALL;
    [&english::LANGUAGE, de, fr, es, pt, it, ja, zh]
}

/// Draws language, family, template and frame.
fn draft(dice: &mut Dice) -> Draft {
    let languages = languages();
    let language = languages[dice.weighted(languages.iter().map(|l| l.share))];
    let families: Vec<&'static Family> = language.families.iter().flat_map(|group| group.iter()).collect();
    let family = families[dice.weighted(families.iter().map(|f| f.share))];
    let mut writer = Writer::new(dice, scopes(language, family));
    let template = writer.choose(family.templates.len());
    let request = writer.expand(family.templates[template]);
    let query = if family.framed { frame(&mut writer, request) } else { Query::text(request) };
    Draft { language: language.code, family: family.name, template, skeleton: writer.skeleton(), query }
}

/// Where a family's slots are looked up, nearest first.
fn scopes(language: &Language, family: &Family) -> Vec<&'static [Rule]> {
    let mut scopes = vec![family.rules];
    scopes.extend(language.rules);
    scopes.push(shared::RULES);
    scopes
}

/// Puts the request as it is (most often), behind a system prompt, or at the end of a chat.
fn frame(writer: &mut Writer<'_>, request: String) -> Query {
    let user = |content| Message { role: Role::User, content };
    match writer.choose(10) {
        0 => Query::text(request).with_system(writer.expand_rule("system")),
        1 => {
            let opening = user(writer.expand_rule("opening"));
            let reply = Message { role: Role::Assistant, content: writer.expand_rule("reply") };
            let turns = vec![opening, reply, user(request.clone())];
            Query::chat(turns).unwrap_or_else(|_| Query::text(request))
        }
        2 => {
            let system = Message { role: Role::System, content: writer.expand_rule("system") };
            Query::chat(vec![system, user(request.clone())]).unwrap_or_else(|_| Query::text(request))
        }
        _ => Query::text(request),
    }
}

fn to_example(row: usize, draft: Draft, names: &[ModelName], outcomes: &mut Dice) -> Example {
    let Draft { language, family, template, skeleton, query } = draft;
    let truth = Truth::at(difficulty::hundredths(&query));
    let scores = truth.draw(outcomes).map(|right| if right { 1.0 } else { 0.0 });
    let outcomes: BTreeMap<ModelName, f64> = names.iter().cloned().zip(scores).collect();
    Example {
        id: format!("starter-{row:06}"),
        query,
        evidence: Evidence { outcomes, ..Evidence::default() },
        weight: 1.0,
        slices: vec![format!("family:{family}"), format!("language:{language}"), "simulated".to_owned()],
        group: Some(format!("starter-{language}-{family}-{template}-{skeleton:016x}")),
        timestamp_us: None,
        fold: None,
        true_win_probability: Some(truth.win),
    }
}

/// All turns of a query, digits left out.
fn without_digits(query: &Query) -> String {
    query.parts().flat_map(|(_, text)| text.chars().filter(|c| !c.is_ascii_digit()).chain(['\n'])).collect()
}

#[cfg(test)]
mod tests;
