//! Where a walk led: what is run, what comes next when that fails or may not be paid for, and every turn so far.

use std::borrow::Cow;
use std::fmt;

use types::{Ladder, ModelName, Tier};

use crate::program::Goto;
use crate::{At, Program, Spent, Step, StepKind, Why};

/// What is run at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Leaf<'a> {
    /// Compare the calibrated win probability with a threshold.
    Predictive {
        /// The models; the request's own or the artifact's default pair where absent.
        ladder: Option<&'a Ladder>,
        /// What the probability is compared with.
        at: At<'a>,
    },
    /// Run a tuned cascade.
    Cascade {
        /// Its name.
        name: &'a str,
        /// Whether a predictive decision may skip the beginning of the chain.
        predictive_shortcut: bool,
    },
    /// Call this model.
    Model(&'a ModelName),
    /// Call the model of this tier of the artifact's default pair.
    Tier(Tier),
}

/// What to run for a query, what if that fails, and the reasons.
///
/// Whoever runs it asks the ledger before every call where [`Path::asks_budget`] says so, and only counts it otherwise.
/// [`Path::divert`] answers a refusal and [`Path::fall_back`] a failure; both say no in the end, so that every query is
/// served or refused after finitely many calls.
#[derive(Debug, Clone, PartialEq)]
pub struct Path<'a> {
    program: &'a Program,
    steps: Vec<Step<'a>>,
    leaf: Leaf<'a>,
    /// Whose fallback comes next; none behind an override.
    strategy: Option<usize>,
    budgeted: Budgeted,
}

/// How a path stands to the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Budgeted {
    /// Its calls are admitted or refused.
    Asks,
    /// An override: counted, never refused.
    Forced,
    /// It was diverted, to what runs when nothing else may.
    Diverted,
    /// What it was diverted to has failed: admitted or refused, and not diverted again.
    DivertedInVain,
}

impl<'a> Path<'a> {
    pub(crate) fn new(
        program: &'a Program,
        steps: Vec<Step<'a>>,
        leaf: Leaf<'a>,
        strategy: Option<usize>,
        budgeted: Budgeted,
    ) -> Self {
        Self { program, steps, leaf, strategy, budgeted }
    }

    /// Every turn, in order; at least one.
    pub fn steps(&self) -> &[Step<'a>] {
        &self.steps
    }

    /// What to run.
    pub fn leaf(&self) -> Leaf<'a> {
        self.leaf
    }

    /// The strategy that says so; none behind an override.
    pub fn strategy(&self) -> Option<&'a str> {
        self.strategy.map(|number| &*self.program.strategy(number).name)
    }

    /// Whether the ledger may refuse its calls: not those of an override, nor those of the budget's own `when_spent`.
    pub fn asks_budget(&self) -> bool {
        matches!(self.budgeted, Budgeted::Asks | Budgeted::DivertedInVain)
    }

    /// What [`Path::fall_back`] would lead to, in order, with the names of the strategies. Finite.
    pub fn fallbacks(&self) -> impl Iterator<Item = (&'a str, Leaf<'a>)> {
        let program = self.program;
        let next = move |number: usize| program.strategy(number).fallback.as_ref().map(|goto| goto.to);
        let chain = std::iter::successors(self.strategy.and_then(next), move |number| next(*number));
        chain.filter_map(move |number| {
            let strategy = program.strategy(number);
            Some((&*strategy.name, strategy.leaf()?))
        })
    }

    /// Goes on with the fallback, because what was to run has failed: an unknown model, an error, a refusal by the
    /// budget after it was diverted. No where there is none: the failure is the answer.
    #[must_use]
    pub fn fall_back(&mut self, failure: impl Into<Cow<'a, str>>) -> bool {
        let Some(strategy) = self.strategy.map(|number| self.program.strategy(number)) else { return false };
        let Some(goto) = &strategy.fallback else { return false };
        let reason = Why::Failed { strategy: &strategy.name, failure: failure.into() };
        if self.budgeted == Budgeted::Diverted {
            self.budgeted = Budgeted::DivertedInVain;
        }
        self.go(StepKind::Fallback, reason, goto)
    }

    /// Goes on with what the budget says is used when it is spent. No, and the refusal stands, where that has failed
    /// before. An override stays what it is, and its steps say that the budget was spent.
    #[must_use]
    pub fn divert(&mut self, spent: Spent) -> bool {
        let Some(budget) = &self.program.budget else { return false };
        match self.budgeted {
            Budgeted::Asks => {
                self.budgeted = Budgeted::Diverted;
                self.go(StepKind::Budget, Why::Spent(spent), &budget.when_spent)
            }
            Budgeted::Forced => {
                let name = self.steps.last().map_or("", |step| step.name);
                let (reason, line) = (Why::SpentButForced(spent), budget.when_spent.place.line);
                self.steps.push(Step { kind: StepKind::Budget, name, reason, line });
                true
            }
            Budgeted::Diverted | Budgeted::DivertedInVain => false,
        }
    }

    fn go(&mut self, kind: StepKind, reason: Why<'a>, goto: &'a Goto) -> bool {
        let strategy = self.program.strategy(goto.to);
        let Some(leaf) = strategy.leaf() else { return false };
        self.steps.push(Step { kind, name: &strategy.name, reason, line: goto.place.line });
        (self.leaf, self.strategy) = (leaf, Some(goto.to));
        true
    }
}

impl fmt::Display for Leaf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Predictive { ladder, at } => {
                match ladder {
                    Some(ladder) => {
                        let rungs: Vec<&str> = ladder.rungs().iter().rev().map(ModelName::as_str).collect();
                        write!(f, "predictive, {}, ", rungs.join("/"))?;
                    }
                    None => f.write_str("predictive, default pair, ")?,
                }
                match at {
                    At::Threshold(threshold) => write!(f, "threshold {}", threshold.get()),
                    At::OperatingPoint(name) => write!(f, "operating point {name}"),
                }
            }
            Self::Cascade { name, predictive_shortcut: false } => write!(f, "cascade {name}"),
            Self::Cascade { name, predictive_shortcut: true } => {
                write!(f, "cascade {name}, predictive shortcut")
            }
            Self::Model(model) => write!(f, "model {model}"),
            Self::Tier(tier) => write!(f, "{} model of the default pair", tier.as_str()),
        }
    }
}

impl fmt::Display for Path<'_> {
    /// The turns line by line, then what is run.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        write!(f, "{}", self.leaf)
    }
}
