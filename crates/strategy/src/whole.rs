//! What can be said of a policy only as a whole: that every path ends, that everything is used, that what saves
//! money does.

use types::Tier;

use crate::program::{Body, Fixed, Goto, Override, Rule, Run, Strategy};
use crate::report::Report;
use crate::when::When;
use crate::{Budget, Fault, Place, Problem, Program};

/// A policy as far as it could be read: nothing where there was a fault, which is reported.
pub(crate) struct Draft {
    /// Of the strategies, by number.
    pub(crate) names: Vec<String>,
    pub(crate) default: Option<Goto>,
    pub(crate) overrides: Vec<Option<Override>>,
    pub(crate) rules: Vec<Option<Rule>>,
    /// Nothing where there is no budget.
    pub(crate) budget: Option<Option<Budget>>,
    pub(crate) strategies: Vec<Option<Strategy>>,
}

/// A key by which one strategy leads to another.
pub(crate) struct Edge {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) place: Place,
}

impl Draft {
    /// The program, unless an error was reported.
    pub(crate) fn finish(self, report: Report<'_>) -> Result<Program, Vec<Problem>> {
        let (file, refused) = (report.file.clone(), report.has_errors());
        let problems = report.into_problems();
        let strategies = self.strategies.into_iter().collect::<Option<Vec<_>>>();
        let overrides = self.overrides.into_iter().collect::<Option<Vec<_>>>();
        let rules = self.rules.into_iter().collect::<Option<Vec<_>>>();
        match (strategies, overrides, rules, self.default) {
            (Some(strategies), Some(overrides), Some(rules), Some(default)) if !refused => {
                let budget = self.budget.flatten();
                Ok(Program { file, strategies, overrides, rules, default, budget, warnings: problems })
            }
            _ => Err(problems),
        }
    }
}

/// Reports what is wrong with the whole.
pub(crate) fn check(draft: &Draft, edges: &[Edge], report: &mut Report<'_>) {
    cycles(&draft.names, edges, report);
    spending(draft, report);
    guards(draft, report);
    // What leads where is not known as long as something could not be read.
    if !report.has_errors() {
        unreachable(draft, edges, report);
    }
}

/// Every edge that closes a cycle, found by a walk in depth that keeps its own stack.
fn cycles(names: &[String], edges: &[Edge], report: &mut Report<'_>) {
    let mut out: Vec<Vec<&Edge>> = names.iter().map(|_| Vec::new()).collect();
    for edge in edges {
        out[edge.from].push(edge);
    }
    let mut done = vec![false; names.len()];
    for start in 0..names.len() {
        // The strategies being walked, each with how many of its edges were followed.
        let mut walk = vec![(start, 0)];
        while let Some((at, followed)) = walk.pop() {
            if done[at] {
                continue;
            }
            let Some(edge) = out[at].get(followed) else {
                done[at] = true;
                continue;
            };
            walk.push((at, followed + 1));
            if let Some(begin) = walk.iter().position(|(on, _)| *on == edge.to) {
                let around = walk[begin..].iter().map(|(on, _)| *on).chain([edge.to]);
                let around = around.map(|on| names[on].clone()).collect();
                report.add(edge.place.clone(), Fault::Cycle(around));
            } else {
                walk.push((edge.to, 0));
            }
        }
    }
}

/// What is used when the budget is spent must not spend it further.
fn spending(draft: &Draft, report: &mut Report<'_>) {
    let Some(Some(budget)) = &draft.budget else { return };
    let Some(Some(strategy)) = draft.strategies.get(budget.when_spent.to) else { return };
    let saves = match &strategy.body {
        Body::Run(Run::Model { fixed, .. }) => *fixed != Fixed::Tier(Tier::Strong),
        _ => false,
    };
    if !saves {
        report.add(budget.when_spent.place.clone(), Fault::SpendsOn(strategy.name.to_string()));
    }
}

/// Conditions of an override or a rule.
struct Guard<'a> {
    name: String,
    when: &'a When,
    /// Microseconds since 1970; overrides only.
    until: Option<u64>,
    place: &'a Place,
}

/// Overrides and rules that no query gets to.
fn guards(draft: &Draft, report: &mut Report<'_>) {
    let overrides = numbered(&draft.overrides).map(|(number, o)| {
        let (name, until) = (format!("override {number}"), o.until.as_ref().map(|until| until.0));
        Guard { name, when: &o.when, until, place: &o.place }
    });
    let rules = numbered(&draft.rules).map(|(number, r)| {
        let name = format!("rule {number}");
        Guard { name, when: &r.when, until: None, place: &r.place }
    });
    let all: Vec<Guard<'_>> = overrides.chain(rules).collect();
    let overrides = draft.overrides.iter().flatten().count();
    for (i, guard) in all.iter().enumerate() {
        if guard.when.contradicts() {
            report.add(guard.place.clone(), Fault::Contradiction);
            continue;
        }
        // One that holds longer than those after it, as one without an end does.
        let lasts = |e: &Guard<'_>| e.until.is_none_or(|end| guard.until.is_some_and(|until| until <= end));
        let Some(by) = all[..i].iter().position(|e| lasts(e) && e.when.covers(guard.when)) else { continue };
        let (earlier, line) = (all[by].name.clone(), all[by].place.line);
        let alike = (by < overrides) == (i < overrides) && all[by].until == guard.until;
        let same = alike && guard.when.covers(all[by].when);
        let fault = if same { Fault::Duplicate { earlier, line } } else { Fault::Covered { earlier, line } };
        report.add(guard.place.clone(), fault);
    }
}

/// Counted from 1; one that could not be read keeps its number.
fn numbered<T>(items: &[Option<T>]) -> impl Iterator<Item = (usize, &T)> {
    items.iter().enumerate().filter_map(|(i, item)| Some((i + 1, item.as_ref()?)))
}

fn unreachable(draft: &Draft, edges: &[Edge], report: &mut Report<'_>) {
    let mut reached = vec![false; draft.names.len()];
    let rules = draft.rules.iter().flatten().map(|rule| &rule.to);
    let budget = draft.budget.iter().flatten().map(|budget| &budget.when_spent);
    let mut open: Vec<usize> = draft.default.iter().chain(rules).chain(budget).map(|goto| goto.to).collect();
    while let Some(at) = open.pop() {
        if !std::mem::replace(&mut reached[at], true) {
            open.extend(edges.iter().filter(|edge| edge.from == at).map(|edge| edge.to));
        }
    }
    for strategy in draft.strategies.iter().flatten().zip(reached).filter(|(_, reached)| !reached) {
        report.add(strategy.0.place.clone(), Fault::Unreachable);
    }
}
