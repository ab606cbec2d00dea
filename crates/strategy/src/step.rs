//! The turns of a path, each with its reason: values while a query waits, words once somebody asks.

use std::borrow::Cow;
use std::fmt;

use crate::{Grounds, Spent};

/// What kind of turn a path took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StepKind {
    /// An override forced a model.
    Override,
    /// The first rule that matched.
    Rule,
    /// A rule or override was passed over because the intent it speaks of cannot be told.
    PassedOver,
    /// No rule matched.
    Default,
    /// The strategy was asked for by name.
    Asked,
    /// A semantic strategy led to the strategy of an intent.
    Intent,
    /// A semantic strategy led to the model that the catalogue gives an intent.
    Catalogue,
    /// A semantic strategy knew nothing better.
    Otherwise,
    /// The budget is spent.
    Budget,
    /// A strategy failed.
    Fallback,
}

impl StepKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Override,
        Self::Rule,
        Self::PassedOver,
        Self::Default,
        Self::Asked,
        Self::Intent,
        Self::Catalogue,
        Self::Otherwise,
        Self::Budget,
        Self::Fallback,
    ];

    /// A stable snake-case name for logs and wires.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Override => "override",
            Self::Rule => "rule",
            Self::PassedOver => "passed_over",
            Self::Default => "default",
            Self::Asked => "asked",
            Self::Intent => "intent",
            Self::Catalogue => "catalogue",
            Self::Otherwise => "otherwise",
            Self::Budget => "budget",
            Self::Fallback => "fallback",
        }
    }
}

/// One turn of a path.
#[derive(Debug, Clone, PartialEq)]
pub struct Step<'a> {
    /// What kind of turn it is.
    pub kind: StepKind,
    /// Where it leads, or would have led: the name of a strategy; of a model or tier for an override and for a
    /// catalogue's own model.
    pub name: &'a str,
    /// Why; its `Display` is the reason in words.
    pub reason: Why<'a>,
    /// The line of the policy that says so, from 1; 0 where none does.
    pub line: u32,
}

impl fmt::Display for Step<'_> {
    /// `rule 2 matched slice tenant:acme -> safe (line 32)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)?;
        if self.kind != StepKind::PassedOver {
            write!(f, " -> {}", self.name)?;
        }
        if self.line > 0 { write!(f, " (line {})", self.line) } else { Ok(()) }
    }
}

/// Why a path took a turn.
#[derive(Debug, Clone, PartialEq)]
pub enum Why<'a> {
    /// The conditions of an override hold.
    Forced {
        /// Which, from 1.
        number: usize,
        /// What made them hold.
        grounds: Grounds<'a>,
        /// When the override ends, as the policy writes it.
        until: Option<&'a str>,
    },
    /// The conditions of a rule hold.
    Matched {
        /// Which, from 1.
        number: usize,
        /// What made them hold.
        grounds: Grounds<'a>,
    },
    /// The conditions speak of an intent, and it cannot be told.
    Undecided {
        /// `rule` or `override`.
        what: &'static str,
        /// Which, from 1.
        number: usize,
        /// Why it cannot be told.
        failure: &'a str,
    },
    /// No rule matched.
    NoRule,
    /// The caller named the strategy.
    ByName,
    /// The intent that was recognised.
    Recognised {
        /// Its name.
        intent: &'a str,
        /// How probable it is, in [0, 1].
        probability: f64,
    },
    /// The intent has neither a route nor a model of its own.
    NoRoute {
        /// Its name.
        intent: &'a str,
        /// How probable it is, in [0, 1].
        probability: f64,
    },
    /// No intent reaches the floor of the catalogue.
    BelowFloor,
    /// The intent cannot be told, for this reason.
    NoIntent(&'a str),
    /// A limit of the budget.
    Spent(Spent),
    /// A limit of the budget that an override does not heed.
    SpentButForced(Spent),
    /// What failed, in the caller's words.
    Failed {
        /// The strategy.
        strategy: &'a str,
        /// What happened.
        failure: Cow<'a, str>,
    },
}

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forced { number, grounds, until } => {
                write!(f, "override {number} matched {grounds}")?;
                until.map_or(Ok(()), |until| write!(f, ", until {until}"))
            }
            Self::Matched { number, grounds } => write!(f, "rule {number} matched {grounds}"),
            Self::Undecided { what, number, failure } => {
                write!(f, "{what} {number} passed over, the intent cannot be told: {failure}")
            }
            Self::NoRule => f.write_str("no rule matched"),
            Self::ByName => f.write_str("asked for by name"),
            Self::Recognised { intent, probability } => write!(f, "intent {intent} (p {probability:.2})"),
            Self::NoRoute { intent, probability } => {
                write!(
                    f,
                    "intent {intent} (p {probability:.2}) has no route and no model of its own: otherwise"
                )
            }
            Self::BelowFloor => f.write_str("below the floor: otherwise"),
            Self::NoIntent(failure) => write!(f, "the intent cannot be told: {failure}"),
            Self::Spent(spent) => write!(f, "budget spent: {spent}"),
            Self::SpentButForced(spent) => write!(f, "budget spent: {spent}, but an override forces it"),
            Self::Failed { strategy, failure } => write!(f, "{strategy} failed: {failure}"),
        }
    }
}
