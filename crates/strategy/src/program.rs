//! A policy that was read and found whole: strategies by number, everything they name resolved.

use std::fmt;
use std::sync::Arc;

use types::{Ladder, ModelName, Threshold, Tier};

use crate::when::When;
use crate::{Leaf, Place, Problem};

/// The ways of routing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// By the calibrated win probability of a pair or ladder.
    Predictive,
    /// By a tuned chain of models with a verifier between them.
    Cascade,
    /// By the intent of a catalogue, to another strategy or the intent's own model.
    Semantic,
    /// Always to one model.
    Model,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Predictive, Self::Cascade, Self::Semantic, Self::Model];

    /// The name in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Predictive => "predictive",
            Self::Cascade => "cascade",
            Self::Semantic => "semantic",
            Self::Model => "model",
        }
    }

    /// The kind of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What a predictive strategy compares the win probability with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum At<'a> {
    /// A threshold of the policy's own.
    Threshold(Threshold),
    /// A named operating point of the artifact, for the ladder's top over its cheapest rung.
    OperatingPoint(&'a str),
}

/// Limits and what is used beyond them.
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    /// US dollars a UTC day, at least 0.
    pub cost_usd_per_day: Option<f64>,
    /// Strong calls in any 60 seconds, at most [`Budget::MOST_STRONG_CALLS`].
    pub strong_calls_per_minute: Option<u32>,
    pub(crate) when_spent: Goto,
    /// Where the limit of cost stands.
    pub(crate) cost_place: Option<Place>,
}

impl Budget {
    /// The greatest limit of strong calls a minute: the moment of each is remembered.
    pub const MOST_STRONG_CALLS: u32 = 1_000_000;
}

/// A validated policy. Its strategies lead to an end whatever the facts are.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    pub(crate) file: Arc<str>,
    /// By name.
    pub(crate) strategies: Vec<Strategy>,
    pub(crate) overrides: Vec<Override>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) default: Goto,
    pub(crate) budget: Option<Budget>,
    pub(crate) warnings: Vec<Problem>,
}

/// Where a key leads: a strategy's number and the key's place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Goto {
    pub(crate) to: usize,
    pub(crate) place: Place,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Strategy {
    pub(crate) name: Box<str>,
    pub(crate) place: Place,
    pub(crate) body: Body,
    pub(crate) fallback: Option<Goto>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    /// Routes in the order of their intents.
    Semantic { routes: Vec<(Box<str>, Goto)>, otherwise: Goto },
    /// Nothing further is chosen.
    Run(Run),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Run {
    /// With the places of the models and of what their probability is compared with.
    Predictive {
        ladder: Option<Ladder>,
        models: Place,
        at: Point,
        point: Place,
    },
    Cascade {
        name: Box<str>,
        predictive_shortcut: bool,
        place: Place,
    },
    Model {
        fixed: Fixed,
        place: Place,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Point {
    Threshold(Threshold),
    Named(Box<str>),
}

/// Intents that conditions name, and where.
pub(crate) type Intents = Vec<(Box<str>, Place)>;

/// A model that is given.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fixed {
    Model(ModelName),
    /// Of the artifact's default pair.
    Tier(Tier),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Override {
    pub(crate) when: When,
    pub(crate) intents: Intents,
    /// Microseconds since 1970 from which on it no longer holds, and how that was written.
    pub(crate) until: Option<(u64, String)>,
    pub(crate) target: Fixed,
    pub(crate) target_place: Place,
    pub(crate) place: Place,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub(crate) when: When,
    pub(crate) intents: Intents,
    pub(crate) to: Goto,
    pub(crate) place: Place,
}

impl Strategy {
    pub(crate) fn kind(&self) -> Kind {
        match self.body {
            Body::Semantic { .. } => Kind::Semantic,
            Body::Run(Run::Predictive { .. }) => Kind::Predictive,
            Body::Run(Run::Cascade { .. }) => Kind::Cascade,
            Body::Run(Run::Model { .. }) => Kind::Model,
        }
    }

    /// What is run; nothing where another strategy is chosen first.
    pub(crate) fn leaf(&self) -> Option<Leaf<'_>> {
        match &self.body {
            Body::Semantic { .. } => None,
            Body::Run(run) => Some(run.leaf()),
        }
    }
}

impl Run {
    pub(crate) fn leaf(&self) -> Leaf<'_> {
        match self {
            Self::Predictive { ladder, at, .. } => {
                Leaf::Predictive { ladder: ladder.as_ref(), at: at.borrowed() }
            }
            Self::Cascade { name, predictive_shortcut, .. } => {
                Leaf::Cascade { name, predictive_shortcut: *predictive_shortcut }
            }
            Self::Model { fixed, .. } => fixed.leaf(),
        }
    }
}

impl Point {
    fn borrowed(&self) -> At<'_> {
        match self {
            Self::Threshold(threshold) => At::Threshold(*threshold),
            Self::Named(name) => At::OperatingPoint(name),
        }
    }
}

impl Fixed {
    pub(crate) fn leaf(&self) -> Leaf<'_> {
        match self {
            Self::Model(model) => Leaf::Model(model),
            Self::Tier(tier) => Leaf::Tier(*tier),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Model(model) => model.as_str(),
            Self::Tier(tier) => tier.as_str(),
        }
    }
}

impl Program {
    /// The file it was read from, as the caller named it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What was found that is hardly meant: strategies, rules and overrides that are never used.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// The limits, where there are any.
    pub fn budget(&self) -> Option<&Budget> {
        self.budget.as_ref()
    }

    /// Names and kinds of the strategies and what each runs: nothing for a semantic one, which leads to others.
    pub fn strategies(&self) -> impl Iterator<Item = (&str, Kind, Option<Leaf<'_>>)> {
        self.strategies.iter().map(|strategy| (&*strategy.name, strategy.kind(), strategy.leaf()))
    }

    /// Whether any query's intent may be asked for: without a catalogue such a policy is of little use.
    pub fn may_need_intent(&self) -> bool {
        let guards = self.overrides.iter().map(|o| &o.when).chain(self.rules.iter().map(|r| &r.when));
        let semantic = |strategy: &Strategy| strategy.kind() == Kind::Semantic;
        guards.into_iter().any(When::asks_intent) || self.strategies.iter().any(semantic)
    }

    /// Numbers of strategies come from this program's own reading, so each has its strategy.
    pub(crate) fn strategy(&self, number: usize) -> &Strategy {
        &self.strategies[number]
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
