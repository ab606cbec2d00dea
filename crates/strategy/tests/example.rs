//! The example of docs/policy.md: what is read from it, and the way of queries through it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};

use strategy::{
    At, Call, Facts, Intent, Inventory, Kind, Leaf, Ledger, Path, Plan, Program, Spent, Step, StepKind,
};
use types::{ModelName, ModelPair, Tier};

const EXAMPLE: &str = include_str!("../examples/policy.toml");
/// Noon of 2026-02-01, before the first override ends.
const FEBRUARY_US: u64 = 1_769_947_200_000_000;
const MARCH_US: u64 = 1_772_323_200_000_000;
const SPENT: Spent = Spent::StrongCallsPerMinute { limit: 100 };

fn example() -> Program {
    Program::parse("policy.toml", EXAMPLE).unwrap()
}

fn slices(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn matched(name: &str) -> Intent<'_> {
    Intent::Matched { name, probability: 0.93, model: None }
}

fn model(name: &str) -> ModelName {
    ModelName::new(name).unwrap()
}

#[track_caller]
fn ready<'a>(program: &'a Program, slices: &'a [String], now_us: u64, intent: Intent<'a>) -> Path<'a> {
    match program.plan(&Facts { slices, now_us, intent }) {
        Plan::Ready(path) => path,
        Plan::NeedsIntent => panic!("needs an intent"),
    }
}

#[test]
fn the_whole_language_is_read() {
    let program = example();
    assert_eq!(program.warnings(), []);
    let read: Vec<_> =
        program.strategies().map(|(name, kind, leaf)| (name, kind, leaf.map(|l| l.to_string()))).collect();
    let leaf = |text: &str| Some(text.to_owned());
    assert_eq!(
        read,
        [
            ("chain", Kind::Cascade, leaf("cascade gsm, predictive shortcut")),
            ("cheap", Kind::Model, leaf("weak model of the default pair")),
            ("general", Kind::Predictive, leaf("predictive, gpt-4/mixtral, operating point default")),
            ("intents", Kind::Semantic, None),
            ("ladder", Kind::Predictive, leaf("predictive, gpt-4/sonnet/mixtral, threshold 0.3")),
            ("safe", Kind::Model, leaf("model gpt-4")),
        ]
    );
    let budget = program.budget().unwrap();
    assert_eq!((budget.cost_usd_per_day, budget.strong_calls_per_minute), (Some(50.0), Some(100)));
    assert!(program.may_need_intent());
    assert_eq!(program.file(), "policy.toml");
}

#[test]
fn the_page_of_the_language_shows_this_example() {
    let page = include_str!("../../../docs/policy.md");
    assert!(
        page.contains(EXAMPLE),
        "docs/policy.md has another policy than crates/strategy/examples/policy.toml"
    );
}

/// What `explain` prints for some queries.
#[test]
fn every_turn_is_explained() {
    let program = example();
    let explain = |carried: &[&str], now_us, intent: Intent<'_>| {
        let carried = slices(carried);
        ready(&program, &carried, now_us, intent).to_string()
    };
    assert_eq!(
        explain(&["vip"], MARCH_US, Intent::Unasked),
        "no rule matched -> general (line 3)\npredictive, gpt-4/mixtral, operating point default"
    );
    assert_eq!(
        explain(&["x", "tenant:acme"], MARCH_US, matched("legal")),
        "rule 1 matched slice tenant:acme, intent legal (p 0.93) -> safe (line 42)\nmodel gpt-4"
    );
    assert_eq!(
        explain(&["internal"], MARCH_US, Intent::BelowFloor),
        "rule 2 matched slice internal, no slice vip, no intent chat -> chain (line 46)\n\
         cascade gsm, predictive shortcut"
    );
    assert_eq!(
        explain(&[], MARCH_US, matched("billing")),
        "rule 3 matched no slice vip -> intents (line 50)\n\
         intent billing (p 0.93) -> cheap (line 29)\nweak model of the default pair"
    );
    assert_eq!(
        explain(&["incident:4711"], FEBRUARY_US, Intent::Unasked),
        "override 1 matched slice incident:4711, until 2026-03-01T00:00:00Z -> strong (line 54)\n\
         strong model of the default pair"
    );
    assert_eq!(
        explain(&["vip", "incident:4711", "frozen"], MARCH_US, Intent::Unasked),
        "override 2 matched slice frozen -> mixtral (line 59)\nmodel mixtral"
    );
    assert_eq!(
        explain(&["beta"], MARCH_US, Intent::Unavailable("the encoder failed")),
        "rule 2 passed over, the intent cannot be told: the encoder failed (line 46)\n\
         rule 3 matched no slice vip -> intents (line 50)\n\
         the intent cannot be told: the encoder failed -> ladder (line 31)\n\
         predictive, gpt-4/sonnet/mixtral, threshold 0.3"
    );
}

#[test]
fn a_semantic_strategy_takes_route_then_model_then_otherwise() {
    let program = example();
    let own = model("travel-7b");
    let with_model = Intent::Matched { name: "travel", probability: 0.8, model: Some(&own) };
    let path = ready(&program, &[], MARCH_US, with_model);
    assert_eq!((path.leaf(), path.strategy()), (Leaf::Model(&own), Some("intents")));
    assert_eq!((path.steps()[1].kind, path.steps()[1].name), (StepKind::Catalogue, "travel-7b"));
    assert_eq!(path.fallbacks().map(|(name, _)| name).collect::<Vec<_>>(), ["ladder", "safe"]);

    let with_both = Intent::Matched { name: "math", probability: 0.8, model: Some(&own) };
    let path = ready(&program, &[], MARCH_US, with_both);
    assert_eq!(path.leaf(), Leaf::Cascade { name: "gsm", predictive_shortcut: true });

    for (intent, reason) in [
        (matched("travel"), "intent travel (p 0.93) has no route and no model of its own: otherwise"),
        (Intent::BelowFloor, "below the floor: otherwise"),
    ] {
        let path = ready(&program, &[], MARCH_US, intent);
        let Step { kind, name, reason: why, line } = &path.steps()[1];
        assert_eq!(
            (*kind, *name, why.to_string().as_str(), *line),
            (StepKind::Otherwise, "general", reason, 30)
        );
    }
}

#[test]
fn the_intent_is_asked_for_only_where_it_matters() {
    let program = example();
    let asks = |carried: &[&str]| {
        let carried = slices(carried);
        let facts = Facts { slices: &carried, now_us: MARCH_US, intent: Intent::Unasked };
        program.plan(&facts) == Plan::NeedsIntent
    };
    assert!(asks(&[]) && asks(&["tenant:acme", "vip"]) && asks(&["beta"]));
    assert!(!asks(&["vip"]) && !asks(&["frozen"]) && !asks(&["beta", "vip"]));
}

#[test]
fn a_failure_goes_down_the_chain_and_no_further() {
    let program = example();
    let Some(Plan::Ready(mut path)) = program.plan_named("chain", Intent::Unasked) else { panic!() };
    assert_eq!(path.to_string(), "asked for by name -> chain (line 20)\ncascade gsm, predictive shortcut");
    assert_eq!(path.fallbacks().map(|(name, _)| name).collect::<Vec<_>>(), ["general", "safe"]);
    assert!(path.fall_back("no verifier is loaded"));
    assert!(path.fall_back(String::from("unknown model mixtral")));
    assert!(!path.fall_back("timeout"));
    assert_eq!(
        path.to_string(),
        "asked for by name -> chain (line 20)\n\
         chain failed: no verifier is loaded -> general (line 24)\n\
         general failed: unknown model mixtral -> safe (line 10)\nmodel gpt-4"
    );
    assert!(program.plan_named("nobody", Intent::Unasked).is_none());
    assert_eq!(program.plan_named("intents", Intent::Unasked), Some(Plan::NeedsIntent));
}

#[test]
fn a_spent_budget_diverts_once_and_says_so() {
    let program = example();
    let vip = slices(&["vip"]);
    let mut path = ready(&program, &vip, MARCH_US, Intent::Unasked);
    assert!(path.asks_budget() && path.divert(SPENT));
    assert_eq!((path.leaf(), path.asks_budget()), (Leaf::Tier(Tier::Weak), false));
    let last = path.steps().last().unwrap();
    assert_eq!(last.to_string(), "budget spent: strong_calls_per_minute (100 in 60 s) -> cheap (line 66)");
    // What it was diverted to fails: its fallback asks again, and a refusal stands.
    assert!(path.fall_back("timeout") && path.asks_budget());
    assert!(!path.divert(SPENT) && !path.fall_back("refused"));
    assert_eq!(path.leaf(), Leaf::Model(&model("gpt-4")));
}

#[test]
fn an_override_is_counted_and_never_refused() {
    let program = example();
    let frozen = slices(&["frozen"]);
    let mut path = ready(&program, &frozen, MARCH_US, Intent::Unasked);
    let before = path.leaf();
    assert!(!path.asks_budget() && path.divert(SPENT) && !path.asks_budget());
    assert_eq!((path.leaf(), path.strategy(), path.fallbacks().count()), (before, None, 0));
    let last = path.steps().last().unwrap().to_string();
    assert_eq!(
        last,
        "budget spent: strong_calls_per_minute (100 in 60 s), but an override forces it -> mixtral (line 66)"
    );
    assert!(!path.fall_back("timeout"));
}

#[test]
fn the_ledger_keeps_the_programs_limits() {
    let program = example();
    let mut ledger = Ledger::new(program.budget().unwrap(), MARCH_US);
    let strong = Call { is_strong: true, expected_cost_usd: 0.01 };
    let admitted = (0..150).filter(|_| ledger.admit(MARCH_US, strong).is_ok()).count();
    assert_eq!(admitted, 100);
    let standing = ledger.standing(MARCH_US);
    assert_eq!((standing.strong_calls_last_minute, standing.refused_for_strong_calls), (100, 50));
    assert!((standing.cost_usd_today - 1.0).abs() < 1e-9);
}

#[test]
fn an_override_that_is_over_is_reported() {
    let program = example();
    assert_eq!(program.expired(MARCH_US - 1), []);
    let over: Vec<String> = program.expired(MARCH_US).iter().map(ToString::to_string).collect();
    assert_eq!(
        over,
        [
            "policy.toml:54:1: warning: override[1]: over since 2026-03-01T00:00:00Z: it no longer does anything"
        ]
    );
}

fn whole_inventory() -> Inventory {
    let pair = |strong, weak| ModelPair::new(model(strong), model(weak)).unwrap();
    let points = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    Inventory {
        models: Some(["gpt-4", "mixtral", "sonnet"].map(model).into()),
        pairs: Some(BTreeMap::from([
            (pair("gpt-4", "mixtral"), points(&["default"])),
            (pair("gpt-4", "sonnet"), points(&[])),
        ])),
        default_pair: Some(pair("gpt-4", "mixtral")),
        cascades: Some(BTreeMap::from([("gsm".to_owned(), vec![model("mixtral"), model("gpt-4")])])),
        priced: Some(["gpt-4", "mixtral", "sonnet"].map(model).into()),
        intents: Some(["billing", "legal", "math", "contracts", "chat"].map(|i| (i.to_owned(), None)).into()),
    }
}

#[test]
fn what_the_policy_names_is_looked_for() {
    let program = example();
    assert_eq!(program.check(&whole_inventory()), []);
    assert_eq!(program.check(&Inventory::default()), [], "what is not known is not looked for");
    let mut poorer = whole_inventory();
    poorer.pairs = Some(
        whole_inventory().pairs.unwrap().into_keys().map(|pair| (pair, BTreeSet::new())).take(1).collect(),
    );
    poorer.cascades = Some(BTreeMap::from([("gsm8k".to_owned(), vec![])]));
    let own = Some(model("travel-7b"));
    poorer.intents = Some(
        [("legal", None), ("bills", None), ("chats", None), ("travel", own)]
            .map(|(i, m)| (i.to_owned(), m))
            .into(),
    );
    let problems: Vec<String> = program.check(&poorer).iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            r#"policy.toml:9:19: strategy.general.operating_point: no operating point "default": there is none"#,
            r#"policy.toml:15:10: strategy.ladder.ladder: no calibrated pair "gpt-4/sonnet": there are gpt-4/mixtral"#,
            r#"policy.toml:22:11: strategy.chain.cascade: no tuned cascade "gsm"; did you mean "gsm8k"?"#,
            r#"policy.toml:27:1: strategy.intents: intent "travel" calls model "travel-7b", which is not there"#,
            r#"policy.toml:29:22: strategy.intents.routes.billing: no intent "billing": there are bills, chats, legal, travel"#,
            r#"policy.toml:29:54: strategy.intents.routes.math: no intent "math": there are bills, chats, legal, travel"#,
            r#"policy.toml:43:52: rule[1].when.intent[2]: no intent "contracts": there are bills, chats, legal, travel"#,
            r#"policy.toml:47:72: rule[2].when.intent_not: no intent "chat"; did you mean "chats"?"#,
        ]
    );
}

#[test]
fn models_that_are_not_there_are_named_once() {
    let text = "version = 1\ndefault = \"a\"\n[strategy.a]\nkind = \"predictive\"\npair = { strong = \"gpt4\", weak = \"mixtral\" }\n\
                [strategy.b]\nkind = \"model\"\nmodel = \"gpt-4\"\n[strategy.c]\nkind = \"cascade\"\ncascade = \"gsm\"\n\
                [budget]\ncost_usd_per_day = 1\nwhen_spent = \"b\"\n[[rule]]\nwhen = { slice = \"s\" }\nuse = \"c\"\n";
    let program = Program::parse("p", text).unwrap();
    let mut inventory = whole_inventory();
    inventory.models = Some(["gpt-4", "mixtral"].map(model).into());
    inventory.cascades = Some(BTreeMap::from([("gsm".to_owned(), vec![model("sonnet")])]));
    let problems: Vec<String> = program.check(&inventory).iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "p:5:8: strategy.a.pair: no model \"gpt4\"; did you mean \"gpt-4\"?",
            "p:11:11: strategy.c.cascade: cascade \"gsm\" calls model \"sonnet\", which is not there",
            "p:14:14: warning: budget.when_spent: \"b\" always calls the strong model of the default pair: \
             nothing is saved once the budget is spent",
        ]
    );
}

#[test]
fn without_models_a_predictive_strategy_takes_what_there_is() {
    let text = "version = 1\ndefault = \"a\"\n[strategy.a]\nkind = \"predictive\"\n";
    let program = Program::parse("p", text).unwrap();
    let Plan::Ready(path) = program.plan(&Facts { slices: &[], now_us: 0, intent: Intent::Unasked }) else {
        panic!()
    };
    assert_eq!(path.leaf(), Leaf::Predictive { ladder: None, at: At::OperatingPoint("default") });
    assert!(!program.may_need_intent());
    let mut inventory = whole_inventory();
    assert_eq!(program.check(&inventory), []);
    inventory.pairs = Some(BTreeMap::new());
    let problems: Vec<String> = program.check(&inventory).iter().map(ToString::to_string).collect();
    assert_eq!(problems, ["p:3:1: strategy.a: no calibrated pair \"gpt-4/mixtral\": there is none"]);
}

#[test]
fn a_limit_of_cost_needs_the_price_of_every_model_that_may_be_called() {
    let program = example();
    let mut inventory = whole_inventory();
    inventory.priced = Some([model("mixtral")].into());
    let told = |inventory: &Inventory| -> Vec<String> {
        program.check(inventory).iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        told(&inventory),
        [
            "policy.toml:64:20: budget.cost_usd_per_day: no price for gpt-4, sonnet: there are prices for mixtral"
        ]
    );
    inventory.priced = Some(BTreeSet::new());
    let said = told(&inventory);
    assert!(
        said[0].ends_with(
            "no price for gpt-4, mixtral, sonnet: a limit of cost needs prices, and none are given"
        )
    );
    inventory.priced = None;
    assert!(told(&inventory).is_empty());
}

#[test]
fn a_shortcut_needs_the_odds_of_the_last_model_over_the_first() {
    let text = "version = 1\ndefault = \"c\"\n[strategy.c]\nkind = \"cascade\"\ncascade = \"gsm\"\npredictive_shortcut = true\n";
    let program = Program::parse("p", text).unwrap();
    let mut inventory = whole_inventory();
    assert_eq!(program.check(&inventory), []);
    let told =
        |inventory: &Inventory| program.check(inventory).iter().map(ToString::to_string).collect::<Vec<_>>();
    inventory.cascades = Some([("gsm".to_owned(), vec![model("sonnet"), model("gpt-4")])].into());
    assert_eq!(
        told(&inventory),
        ["p:5:11: strategy.c.cascade: no operating point \"default\": there is none"]
    );
    inventory.pairs = Some(BTreeMap::new());
    assert_eq!(
        told(&inventory),
        ["p:5:11: strategy.c.cascade: no calibrated pair \"gpt-4/sonnet\": there is none"]
    );
    inventory.cascades = Some([("gsm".to_owned(), vec![model("gpt-4")])].into());
    assert_eq!(told(&inventory), Vec::<String>::new(), "a chain of one has no beginning to skip");
}
