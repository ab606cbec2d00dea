//! What is wrong with a policy, and where: file, line, column and key of each fault.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use types::ModelError;

/// Names this much alike may be the same, mistyped: normalised Damerau-Levenshtein similarity in [0, 1].
const ALIKE: f64 = 0.6;

/// Names that are listed where none is alike.
const MOST_LISTED: usize = 20;

/// Names longer than this are not compared: comparing takes the product of both lengths in time and memory.
const LONGEST_COMPARED: usize = 64;

/// Whether a policy with this problem can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, though hardly as meant.
    Warning,
}

/// A place in a policy file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Path of the key, such as `strategy.chain.cascade` or `rule[2].use`, rules counted from 1; empty for a
    /// fault of syntax.
    pub key: String,
}

/// One thing that is wrong with a policy.
#[derive(Debug, Clone, PartialEq, Error)]
pub struct Problem {
    /// Whether the policy can be used all the same.
    pub severity: Severity,
    /// The file, as the caller named it.
    pub file: Arc<str>,
    /// Where in it.
    pub place: Place,
    /// What is wrong.
    pub fault: Fault,
}

impl fmt::Display for Problem {
    /// `policy.toml:14:11: strategy.chain.cascade: ...`, which editors can follow.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { line, column, key } = &self.place;
        write!(f, "{}:{line}:{column}: ", self.file)?;
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if !key.is_empty() {
            write!(f, "{key}: ")?;
        }
        self.fault.fmt(f)
    }
}

/// What is wrong at a place.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Fault {
    /// The text is not TOML.
    #[error("{0}")]
    Syntax(String),
    /// A key that means nothing here.
    #[error("unknown key{}", hint(nearest.as_deref(), expected))]
    UnknownKey {
        /// The keys there are.
        expected: Vec<String>,
        /// The one that was probably meant.
        nearest: Option<String>,
    },
    /// A key without which the rest says nothing.
    #[error("missing: expected {0}")]
    Missing(&'static str),
    /// A value of another type.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// What was expected.
        expected: &'static str,
        /// The type that was found.
        found: &'static str,
    },
    /// A value out of its range.
    #[error("expected {expected}, found {found}")]
    OutOfRange {
        /// What was expected.
        expected: &'static str,
        /// What was found.
        found: String,
    },
    /// Two keys of which only one can be meant.
    #[error("not together with {0}: one of them says it")]
    Together(&'static str),
    /// Models that make no pair or ladder.
    #[error(transparent)]
    Models(#[from] ModelError),
    /// A name that nothing has.
    #[error("no {what} {name:?}{}", hint(nearest.as_deref(), known))]
    UnknownName {
        /// What was looked for, such as `strategy`.
        what: &'static str,
        /// The name.
        name: String,
        /// Names there are, twenty at most.
        known: Vec<String>,
        /// The one that was probably meant.
        nearest: Option<String>,
    },
    /// Strategies that lead to each other without an end.
    #[error("never ends: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
    /// A strategy that needs an intent where only one that can run at once may stand.
    #[error("{0:?} is semantic: when a strategy has failed, expected one that asks for no intent")]
    FallbackAsksIntent(String),
    /// What is used when a budget is spent could spend on.
    #[error(
        "{0:?} could still call a strong model: expected a strategy of kind model, other than tier strong"
    )]
    SpendsOn(String),
    /// The conditions and the expiry of an earlier rule or override.
    #[error("says when as {earlier} does (line {line}), which comes first")]
    Duplicate {
        /// The earlier one, such as `rule 1`.
        earlier: String,
        /// Its line.
        line: u32,
    },
    /// A rule or override that no query gets to.
    #[error("never used: every query that fits fits {earlier} (line {line}), which comes first")]
    Covered {
        /// The earlier one, such as `rule 1`.
        earlier: String,
        /// Its line.
        line: u32,
    },
    /// Conditions that exclude each other.
    #[error("never used: its conditions exclude each other")]
    Contradiction,
    /// A strategy that nothing leads to.
    #[error("never used: no rule, default, budget or other strategy leads to it")]
    Unreachable,
    /// An override whose time is over.
    #[error("over since {0}: it no longer does anything")]
    Expired(String),
    /// A cascade or a catalogue that calls a model the caller does not have.
    #[error("{what} {name:?} calls model {model:?}, which is not there")]
    CallsUnknown {
        /// `cascade` or `intent`.
        what: &'static str,
        /// Its name.
        name: String,
        /// The model.
        model: String,
    },
    /// A limit of cost over models without a price.
    #[error("no price for {}: {}", .models.join(", "), priced_models(priced))]
    Unpriced {
        /// The models a query may be sent to that have none.
        models: Vec<String>,
        /// The models that have one.
        priced: Vec<String>,
    },
    /// The strong model of the default pair is used where nothing should be spent.
    #[error(
        "{0:?} always calls the strong model of the default pair: nothing is saved once the budget is spent"
    )]
    StrongWhenSpent(String),
}

impl Fault {
    /// A key that means nothing among those `expected`.
    pub(crate) fn unknown_key(key: &str, expected: &[&str]) -> Self {
        let nearest = nearest(key, expected.iter().copied());
        Self::UnknownKey { expected: expected.iter().map(ToString::to_string).collect(), nearest }
    }

    /// A name that nothing has among those `known`.
    pub(crate) fn unknown_name<S: ToString>(
        what: &'static str,
        name: &str,
        known: impl IntoIterator<Item = S>,
    ) -> Self {
        let mut known: Vec<String> = known.into_iter().map(|name| name.to_string()).collect();
        let nearest = nearest(name, known.iter().map(String::as_str));
        known.truncate(MOST_LISTED);
        Self::UnknownName { what, name: name.to_owned(), known, nearest }
    }

    /// Whether a policy with it can be used.
    pub(crate) fn severity(&self) -> Severity {
        match self {
            Self::Covered { .. }
            | Self::Contradiction
            | Self::Unreachable
            | Self::Expired(_)
            | Self::StrongWhenSpent(_) => Severity::Warning,
            _ => Severity::Error,
        }
    }
}

/// What was probably meant, or what there is to choose from.
fn hint(nearest: Option<&str>, known: &[String]) -> String {
    match nearest {
        Some(nearest) => format!("; did you mean {nearest:?}?"),
        None if known.is_empty() => ": there is none".to_owned(),
        None => format!(": there are {}", known.join(", ")),
    }
}

fn priced_models(priced: &[String]) -> String {
    match priced {
        [] => "a limit of cost needs prices, and none are given".to_owned(),
        _ => format!("there are prices for {}", priced.join(", ")),
    }
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let short = |name: &str| name.len() <= LONGEST_COMPARED;
    let known = known.filter(|other| short(name) && short(other));
    let scored = known.map(|other| (strsim::normalized_damerau_levenshtein(name, other), other));
    let best = scored.filter(|(alike, _)| *alike >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, other)| other.to_owned())
}
