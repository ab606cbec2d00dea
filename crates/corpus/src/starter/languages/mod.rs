//! The languages other than English, one file each, all with the same task families. A family's
//! difficulty counts half here, and the language adds an offset.

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

/// The share of a family's English base that counts in another language.
const DAMPING_PERCENT: i32 = 50;

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

/// The families of one language, with the bases that their English namesakes have.
const fn families(phrases: &Phrases) -> [Family; 14] {
    [
        family("factual", -260, phrases.factual),
        family("translation", -190, phrases.translation),
        family("summarising", -200, phrases.summarising),
        family("rewriting", -240, phrases.rewriting),
        family("email", -230, phrases.email),
        family("faq", -310, phrases.faq),
        family("chit_chat", -340, phrases.chit_chat),
        family("cooking", -250, phrases.cooking),
        family("planning", -140, phrases.planning),
        family("arithmetic_story", -130, phrases.arithmetic_story),
        family("code_script", -80, phrases.code_script),
        family("history_comparison", -60, phrases.history_comparison),
        family("contract", 25, phrases.contract),
        family("logic_puzzle", 30, phrases.logic_puzzle),
    ]
}

const fn family(name: &'static str, base: i32, templates: &'static [&'static str]) -> Family {
    Family { name, share: 1, base, framed: true, templates, rules: &[] }
}
