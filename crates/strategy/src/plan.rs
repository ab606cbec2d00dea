//! The walk from a query's facts to what is run for it: overrides, rules, default, then strategy by strategy. One
//! allocation; nothing is put into words before somebody asks.

use types::ModelName;

use crate::path::Budgeted;
use crate::program::{Body, Goto};
use crate::when::Verdict;
use crate::{Leaf, Path, Program, Step, StepKind, Why};

/// Steps that a path has room for before it allocates again.
const USUAL_STEPS: usize = 4;

/// What is known of a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Facts<'a> {
    /// Slices it belongs to, such as `tenant:acme`.
    pub slices: &'a [String],
    /// Microseconds since 1970, UTC.
    pub now_us: u64,
    /// What it is about.
    pub intent: Intent<'a>,
}

/// What a query is about, by a catalogue of intents.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Intent<'a> {
    /// Not asked for yet: it costs an embedding, and most policies get by without.
    Unasked,
    /// One of the catalogue.
    Matched {
        /// Its name.
        name: &'a str,
        /// How probable it is, in [0, 1].
        probability: f64,
        /// The model the catalogue gives it, where it does.
        model: Option<&'a ModelName>,
    },
    /// Asked for; none of the catalogue reaches the floor.
    BelowFloor,
    /// Asked for in vain, for this reason.
    Unavailable(&'a str),
}

/// The outcome of a walk.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum Plan<'a> {
    /// It depends on the intent: ask for it and plan again with anything but [`Intent::Unasked`].
    NeedsIntent,
    /// What to run, and why.
    Ready(Path<'a>),
}

enum Found<T> {
    NeedsIntent,
    This(T),
    Nothing,
}

impl Program {
    /// Walks to what is run for a query: the first override that holds, else the first rule that matches, else the
    /// default. [`Plan::NeedsIntent`] only for [`Intent::Unasked`].
    pub fn plan<'a>(&'a self, facts: &Facts<'a>) -> Plan<'a> {
        let mut steps = Vec::with_capacity(USUAL_STEPS);
        match self.forced(facts, &mut steps) {
            Found::NeedsIntent => return Plan::NeedsIntent,
            Found::This(leaf) => {
                return Plan::Ready(Path::new(self, steps, leaf, None, Budgeted::Forced));
            }
            Found::Nothing => {}
        }
        let goto = match self.matched(facts, &mut steps) {
            Found::NeedsIntent => return Plan::NeedsIntent,
            Found::This(goto) => goto,
            Found::Nothing => {
                steps.push(self.turn(StepKind::Default, Why::NoRule, &self.default));
                &self.default
            }
        };
        self.walk(goto.to, facts.intent, steps)
    }

    /// Walks from a strategy that the caller names, past overrides and rules. Nothing where no strategy has this name.
    pub fn plan_named<'a>(&'a self, name: &str, intent: Intent<'a>) -> Option<Plan<'a>> {
        let number = self.strategies.iter().position(|strategy| *strategy.name == *name)?;
        let mut steps = Vec::with_capacity(USUAL_STEPS);
        let strategy = self.strategy(number);
        let (name, line) = (&*strategy.name, strategy.place.line);
        steps.push(Step { kind: StepKind::Asked, name, reason: Why::ByName, line });
        Some(self.walk(number, intent, steps))
    }

    fn forced<'a>(&'a self, facts: &Facts<'a>, steps: &mut Vec<Step<'a>>) -> Found<Leaf<'a>> {
        for (i, forced) in self.overrides.iter().enumerate() {
            if forced.until.as_ref().is_some_and(|(until, _)| facts.now_us >= *until) {
                continue;
            }
            let (number, name, line) = (i + 1, forced.target.as_str(), forced.place.line);
            match forced.when.judge(facts.slices, facts.intent) {
                Verdict::Fails => {}
                Verdict::NeedsIntent => return Found::NeedsIntent,
                Verdict::Undecided(failure) => {
                    let reason = Why::Undecided { what: "override", number, failure };
                    steps.push(Step { kind: StepKind::PassedOver, name, reason, line });
                }
                Verdict::Holds(grounds) => {
                    let until = forced.until.as_ref().map(|(_, written)| written.as_str());
                    let reason = Why::Forced { number, grounds, until };
                    steps.push(Step { kind: StepKind::Override, name, reason, line });
                    return Found::This(forced.target.leaf());
                }
            }
        }
        Found::Nothing
    }

    fn matched<'a>(&'a self, facts: &Facts<'a>, steps: &mut Vec<Step<'a>>) -> Found<&'a Goto> {
        for (i, rule) in self.rules.iter().enumerate() {
            let (number, name, line) = (i + 1, &*self.strategy(rule.to.to).name, rule.place.line);
            match rule.when.judge(facts.slices, facts.intent) {
                Verdict::Fails => {}
                Verdict::NeedsIntent => return Found::NeedsIntent,
                Verdict::Undecided(failure) => {
                    let reason = Why::Undecided { what: "rule", number, failure };
                    steps.push(Step { kind: StepKind::PassedOver, name, reason, line });
                }
                Verdict::Holds(grounds) => {
                    let reason = Why::Matched { number, grounds };
                    steps.push(Step { kind: StepKind::Rule, name, reason, line });
                    return Found::This(&rule.to);
                }
            }
        }
        Found::Nothing
    }

    /// From strategy to strategy until one can be run. Ends, because no strategy leads back to itself.
    fn walk<'a>(&'a self, mut at: usize, intent: Intent<'a>, mut steps: Vec<Step<'a>>) -> Plan<'a> {
        loop {
            let strategy = self.strategy(at);
            let (routes, otherwise) = match &strategy.body {
                Body::Run(run) => return self.ready(steps, run.leaf(), at),
                Body::Semantic { routes, otherwise } => (routes, otherwise),
            };
            at = match intent {
                Intent::Unasked => return Plan::NeedsIntent,
                Intent::Matched { name, probability, model } => {
                    let found = routes.binary_search_by(|(intent, _)| (**intent).cmp(name));
                    let reason = Why::Recognised { intent: name, probability };
                    if let Ok(found) = found {
                        let (_, goto) = &routes[found];
                        steps.push(self.turn(StepKind::Intent, reason, goto));
                        goto.to
                    } else if let Some(model) = model {
                        let (name, line) = (model.as_str(), strategy.place.line);
                        steps.push(Step { kind: StepKind::Catalogue, name, reason, line });
                        return self.ready(steps, Leaf::Model(model), at);
                    } else {
                        let reason = Why::NoRoute { intent: name, probability };
                        steps.push(self.turn(StepKind::Otherwise, reason, otherwise));
                        otherwise.to
                    }
                }
                Intent::BelowFloor => {
                    steps.push(self.turn(StepKind::Otherwise, Why::BelowFloor, otherwise));
                    otherwise.to
                }
                Intent::Unavailable(failure) => {
                    let (kind, goto) = match &strategy.fallback {
                        Some(fallback) => (StepKind::Fallback, fallback),
                        None => (StepKind::Otherwise, otherwise),
                    };
                    steps.push(self.turn(kind, Why::NoIntent(failure), goto));
                    goto.to
                }
            };
        }
    }

    fn turn<'a>(&'a self, kind: StepKind, reason: Why<'a>, goto: &'a Goto) -> Step<'a> {
        Step { kind, name: &self.strategy(goto.to).name, reason, line: goto.place.line }
    }

    fn ready<'a>(&'a self, steps: Vec<Step<'a>>, leaf: Leaf<'a>, strategy: usize) -> Plan<'a> {
        Plan::Ready(Path::new(self, steps, leaf, Some(strategy), Budgeted::Asks))
    }
}
