//! The languages other than English, one file each, all with the same task families.

mod chinese;
mod french;
mod german;
mod italian;
mod japanese;
mod portuguese;
mod spanish;

use super::{Family, Language};

pub(super) const ALL: [&Language; 7] = [
    &german::LANGUAGE,
    &french::LANGUAGE,
    &spanish::LANGUAGE,
    &portuguese::LANGUAGE,
    &italian::LANGUAGE,
    &japanese::LANGUAGE,
    &chinese::LANGUAGE,
];

/// The templates of one language, by family.
struct Phrases {
    factual: &'static [&'static str],
    translation: &'static [&'static str],
    summarising: &'static [&'static str],
    rewriting: &'static [&'static str],
    email: &'static [&'static str],
    faq: &'static [&'static str],
    chit_chat: &'static [&'static str],
    cooking: &'static [&'static str],
    planning: &'static [&'static str],
    arithmetic_story: &'static [&'static str],
    code_script: &'static [&'static str],
    history_comparison: &'static [&'static str],
    contract: &'static [&'static str],
    logic_puzzle: &'static [&'static str],
}

/// The families of one language.
const fn families(phrases: &Phrases) -> [Family; 14] {
    [
        family("factual", phrases.factual),
        family("translation", phrases.translation),
        family("summarising", phrases.summarising),
        family("rewriting", phrases.rewriting),
        family("email", phrases.email),
        family("faq", phrases.faq),
        family("chit_chat", phrases.chit_chat),
        family("cooking", phrases.cooking),
        family("planning", phrases.planning),
        family("arithmetic_story", phrases.arithmetic_story),
        family("code_script", phrases.code_script),
        family("history_comparison", phrases.history_comparison),
        family("contract", phrases.contract),
        family("logic_puzzle", phrases.logic_puzzle),
    ]
}

const fn family(name: &'static str, templates: &'static [&'static str]) -> Family {
    Family { name, share: 1, framed: true, templates, rules: &[] }
}
