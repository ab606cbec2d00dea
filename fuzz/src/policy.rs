//! `policy.toml`: whatever is read has a leaf at the end of every walk, and whatever is refused is refused at places
//! of the text.

use std::collections::{BTreeMap, BTreeSet};

use strategy::{Call, Facts, Intent, Inventory, Ledger, Path, Plan, Problem, Program, Severity, Spent};
use types::{ModelName, ModelPair};

/// Reads a policy, compares it with an inventory and walks it.
pub fn decode(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Program::parse("policy.toml", &text) {
        Err(problems) => {
            assert!(problems.iter().any(|problem| problem.severity == Severity::Error));
            are_inside(&text, &problems);
        }
        Ok(program) => {
            assert!(program.warnings().iter().all(|problem| problem.severity == Severity::Warning));
            are_inside(&text, program.warnings());
            are_inside(&text, &program.check(&Inventory::default()));
            are_inside(&text, &program.check(&inventory()));
            are_inside(&text, &program.expired(u64::MAX));
            walk(&program);
            spend(&program);
        }
    }
}

/// A caller that has nothing of what the policy may name.
fn inventory() -> Inventory {
    let model = |name: &str| ModelName::new(name).ok();
    let pair = model("big").zip(model("small")).and_then(|(strong, weak)| ModelPair::new(strong, weak).ok());
    let points = BTreeSet::from(["default".to_owned()]);
    Inventory {
        models: Some(["big", "small"].into_iter().filter_map(model).collect()),
        pairs: Some(pair.clone().into_iter().map(|pair| (pair, points.clone())).collect()),
        default_pair: pair,
        cascades: Some(BTreeMap::from([("default".to_owned(), model("small").into_iter().collect())])),
        priced: Some(BTreeSet::new()),
        intents: Some(BTreeMap::from([("billing".to_owned(), None), ("legal".to_owned(), model("huge"))])),
    }
}

fn are_inside(text: &str, problems: &[Problem]) {
    let lines: Vec<&str> = text.split('\n').collect();
    for problem in problems {
        let line = lines.get((problem.place.line as usize).wrapping_sub(1));
        let width = line.map(|line| line.chars().count());
        let inside = width.is_some_and(|width| (1..=width + 1).contains(&(problem.place.column as usize)));
        assert!(inside, "a place outside of the text: {problem}");
        assert!(!problem.fault.to_string().is_empty(), "no word on what is wrong: {problem}");
        assert!(problem.to_string().starts_with("policy.toml:"), "{problem}");
    }
}

/// Every strategy by name, and a query of every kind by rules.
fn walk(program: &Program) {
    let strategies = program.strategies().count();
    let own = ModelName::new("own").ok();
    let matched = |model| Intent::Matched { name: "billing", probability: 0.5, model };
    let failed = Intent::Unavailable("no encoder");
    let intents = [Intent::Unasked, Intent::BelowFloor, failed, matched(None), matched(own.as_ref())];
    let slices = [Vec::new(), vec!["tenant:acme".to_owned(), "vip".to_owned()]];
    for intent in intents {
        let by_rule = slices
            .iter()
            .flat_map(|slices| [0, u64::MAX].map(|now_us| program.plan(&Facts { slices, now_us, intent })));
        let by_name = program.strategies().filter_map(|(name, ..)| program.plan_named(name, intent));
        for plan in by_rule.chain(by_name) {
            match plan {
                Plan::NeedsIntent => assert!(intent == Intent::Unasked && program.may_need_intent()),
                Plan::Ready(path) => run_to_the_end(path, strategies),
            }
        }
    }
}

/// Every leaf fails and every call is refused.
fn run_to_the_end(mut path: Path<'_>, strategies: usize) {
    assert!(path.steps().iter().all(|step| step.line > 0) && !path.steps().is_empty());
    for turns in 0.. {
        assert!(turns <= 2 * strategies, "a path that never ends: {path}");
        let diverted = path.asks_budget() && path.divert(Spent::StrongCallsPerMinute { limit: 3 });
        if !diverted && !path.fall_back("failed") {
            break;
        }
    }
    assert!(!path.to_string().is_empty());
}

/// A ledger never admits more than its limits.
fn spend(program: &Program) {
    let Some(budget) = program.budget() else { return };
    let mut ledger = Ledger::new(budget, 0);
    for call in 0..20u32 {
        let asked = Call { is_strong: call % 2 == 0, expected_cost_usd: f64::from(call) };
        if let Ok(admitted) = ledger.admit(u64::from(call), asked) {
            ledger.charge(admitted, asked.expected_cost_usd);
        }
        let standing = ledger.standing(u64::from(call));
        // What is reserved and charged again may differ in its last bit.
        assert!(
            standing.cost_usd_per_day.is_none_or(|limit| standing.cost_usd_today <= limit * (1.0 + 1e-9))
        );
        let strong = standing.strong_calls_last_minute;
        assert!(standing.strong_calls_per_minute.is_none_or(|limit| strong <= limit));
    }
}
