//! What is refused and what is warned of: each with its line, its key and what to do, and all at once.

use strategy::{Fault, Program, Severity};

fn problems(text: &str) -> Vec<String> {
    let listed = match Program::parse("policy.toml", text) {
        Ok(program) => program.warnings().to_vec(),
        Err(problems) => {
            assert!(problems.iter().any(|problem| problem.severity == Severity::Error));
            problems
        }
    };
    listed.iter().map(ToString::to_string).collect()
}

/// A policy with a strategy to stand on; what follows begins at line 5.
fn with(text: &str) -> Vec<String> {
    problems(&format!(
        "version = 1\ndefault = \"safe\"\nstrategy.safe.kind = \"model\"\nstrategy.safe.model = \"gpt-4\"\n{text}"
    ))
}

#[test]
fn a_policy_with_little_in_it_is_whole() {
    assert_eq!(with(""), Vec::<String>::new());
}

#[test]
fn everything_is_reported_at_once() {
    let text = r#"version = 2
defualt = "general"
default = "genral"

[strategy.general]
kind = "predictive"
pair = { strong = "gpt-4", weak = "gpt-4" }
ladder = ["a", "b"]
threshold = 1.5
fallback = "intents"

[strategy.chain]
kind = "cascade"
cascade = 7
predictive_shortcut = "yes"

[strategy.intents]
kind = "semantic"
routes = { billing = "cheap", math = "chain" }

[strategy.safe]
kind = "modell"

[[rule]]
when = { slice = [], tenant = "acme" }

[[override]]
tier = "medium"
until = "tomorrow"

[budget]
cost_usd_per_day = -1
strong_calls_per_minute = 1.5
when_spent = "general"
"#;
    assert_eq!(
        problems(text),
        [
            "policy.toml:1:11: version: expected version 1 of the language, found 2",
            "policy.toml:2:1: defualt: unknown key; did you mean \"default\"?",
            "policy.toml:3:11: default: no strategy \"genral\"; did you mean \"general\"?",
            "policy.toml:7:8: strategy.general.pair: model gpt-4 is named twice: the rungs of a ladder are different models",
            "policy.toml:8:10: strategy.general.ladder: not together with pair: one of them says it",
            "policy.toml:9:13: strategy.general.threshold: expected a threshold in [0, 1], found 1.5",
            "policy.toml:10:12: strategy.general.fallback: \"intents\" is semantic: when a strategy has failed, expected one that asks for no intent",
            "policy.toml:14:11: strategy.chain.cascade: expected text, found integer",
            "policy.toml:15:23: strategy.chain.predictive_shortcut: expected true or false, found string",
            "policy.toml:17:1: strategy.intents.otherwise: missing: expected the name of a strategy",
            "policy.toml:19:22: strategy.intents.routes.billing: no strategy \"cheap\": there are chain, general, intents, safe",
            "policy.toml:22:8: strategy.safe.kind: no kind \"modell\"; did you mean \"model\"?",
            "policy.toml:24:1: rule[1].use: missing: expected the name of a strategy",
            "policy.toml:25:18: rule[1].when.slice: expected at least one text, found an empty list",
            "policy.toml:25:22: rule[1].when.tenant: unknown key: there are slice, slice_not, intent, intent_not",
            "policy.toml:28:8: override[1].tier: no tier \"medium\": there are weak, strong",
            "policy.toml:29:9: override[1].until: expected a moment such as \"2026-01-31T18:00:00Z\", found \"tomorrow\"",
            "policy.toml:32:20: budget.cost_usd_per_day: expected US dollars, a finite number of at least 0, found -1",
            "policy.toml:33:27: budget.strong_calls_per_minute: expected a whole number of calls, at most 1000000, found float",
        ]
    );
}

#[test]
fn an_empty_file_says_what_is_missing() {
    assert_eq!(
        problems(""),
        [
            "policy.toml:1:1: default: missing: expected the name of a strategy",
            "policy.toml:1:1: version: missing: expected version 1 of the language",
        ]
    );
}

#[test]
fn a_text_that_is_no_toml_is_refused_with_every_line() {
    let found = problems("version = \n\ndefault = 'x\nname = = 3\nversion = 1\n");
    assert_eq!(
        found.iter().map(|line| line.split(": ").next().unwrap()).collect::<Vec<_>>(),
        ["policy.toml:1:11", "policy.toml:3:13", "policy.toml:4:8", "policy.toml:4:10", "policy.toml:5:1"],
        "{found:?}"
    );
    let twice = with("[strategy.safe]\nkind = \"model\"\n");
    assert_eq!(twice[0], "policy.toml:5:11: duplicate key");
}

#[test]
fn paths_without_an_end_are_refused() {
    let text = r#"
[strategy.a]
kind = "semantic"
otherwise = "b"
[strategy.b]
kind = "semantic"
routes = { x = "c", y = "safe" }
otherwise = "safe"
[strategy.c]
kind = "semantic"
otherwise = "safe"
routes = { z = "a" }
[strategy.d]
kind = "cascade"
cascade = "gsm"
fallback = "d"
"#;
    assert_eq!(
        with(text),
        [
            "policy.toml:16:16: strategy.c.routes.z: never ends: a -> b -> c -> a",
            "policy.toml:20:12: strategy.d.fallback: never ends: d -> d",
        ]
    );
}

#[test]
fn what_is_used_when_a_budget_is_spent_must_save() {
    let text = |spent: &str| {
        format!(
            "strategy.p.kind = \"predictive\"\nstrategy.t.kind = \"model\"\nstrategy.t.tier = \"strong\"\n\
                 budget = {{ strong_calls_per_minute = 5, when_spent = {spent:?} }}\n\
                 rule = [{{ when = {{ slice = \"p\" }}, use = \"p\" }}, {{ when = {{ slice = \"t\" }}, use = \"t\" }}]\n"
        )
    };
    assert_eq!(with(&text("safe")), Vec::<String>::new());
    for name in ["p", "t"] {
        let expected = format!(
            "policy.toml:8:54: budget.when_spent: {name:?} could still call a strong model: expected a strategy of kind model, other than tier strong"
        );
        assert_eq!(with(&text(name)), [expected]);
    }
    assert_eq!(
        with("[budget]\ncost_usd_per_da = 1.0\n"),
        [
            "policy.toml:5:1: budget.cost_usd_per_day: missing: expected it, strong_calls_per_minute or both",
            "policy.toml:5:1: budget.when_spent: missing: expected the name of a strategy of kind model",
            "policy.toml:6:1: budget.cost_usd_per_da: unknown key; did you mean \"cost_usd_per_day\"?",
        ]
    );
}

#[test]
fn what_is_never_used_is_warned_of() {
    let text = r#"
[strategy.idle]
kind = "model"
model = "x"
fallback = "idler"
[strategy.idler]
kind = "model"
model = "y"
[[override]]
when = { slice = "vip" }
model = "x"
until = 2026-01-01T00:00:00Z
[[override]]
when = { slice = "vip" }
model = "x"
until = 2025-12-01T00:00:00+01:00
[[rule]]
when = { slice = ["vip", "beta"] }
use = "safe"
[[rule]]
when = { slice = "beta", intent = "legal" }
use = "safe"
[[rule]]
when = { slice = "x", slice_not = ["x", "y"] }
use = "safe"
"#;
    assert_eq!(
        with(text),
        [
            "policy.toml:6:1: warning: strategy.idle: never used: no rule, default, budget or other strategy leads to it",
            "policy.toml:10:1: warning: strategy.idler: never used: no rule, default, budget or other strategy leads to it",
            "policy.toml:17:1: warning: override[2]: never used: every query that fits fits override 1 (line 13), which comes first",
            "policy.toml:24:1: warning: rule[2]: never used: every query that fits fits rule 1 (line 21), which comes first",
            "policy.toml:27:1: warning: rule[3]: never used: its conditions exclude each other",
        ]
    );
}

#[test]
fn an_override_for_good_covers_rules_and_one_with_an_end_does_not() {
    let text = |until: &str| {
        format!(
            "[[override]]\nmodel = \"x\"\n{until}\n[[rule]]\nwhen = {{ intent = \"legal\" }}\nuse = \"safe\"\n"
        )
    };
    assert_eq!(
        with(&text("")),
        [
            "policy.toml:8:1: warning: rule[1]: never used: every query that fits fits override 1 (line 5), which comes first"
        ]
    );
    assert_eq!(with(&text("until = \"2030-01-01T00:00:00Z\"")), Vec::<String>::new());
}

#[test]
fn rules_that_say_the_same_twice_are_refused() {
    let text = r#"
[[rule]]
when = { slice = ["a", "b"], slice_not = "c" }
use = "safe"
[[rule]]
when = { slice = ["b", "a"], slice_not = ["c", "c"] }
use = "safe"
"#;
    assert_eq!(
        with(text),
        ["policy.toml:9:1: rule[2]: says when as rule 1 does (line 6), which comes first"]
    );
}

#[test]
fn rules_need_conditions_and_names_need_letters() {
    let text = "rule = [{ use = \"safe\" }, { when = {}, use = \" \" }]\n[strategy.\"\"]\nkind = \"model\"\nmodel = \"\"\n\
                [strategy.\"a b\"]\nkind = \"model\"\nmodel = \"x\"\ntier = \"weak\"\n";
    assert_eq!(
        with(text),
        [
            "policy.toml:5:9: rule[1].when: missing: expected conditions; without any, use default",
            "policy.toml:5:36: rule[2].when: expected at least one of slice, slice_not, intent, intent_not, found no condition",
            "policy.toml:5:46: rule[2].use: expected text, found \" \"",
            "policy.toml:6:1: strategy.\"\": expected a name, found \"\"",
            "policy.toml:8:9: strategy.\"\".model: expected text, found \"\"",
            "policy.toml:12:8: strategy.\"a b\".tier: not together with model: one of them says it",
        ]
    );
    assert_eq!(
        with("strategy.x = 3\nrule = 4\noverride = [1]\nbudget = false\n"),
        [
            "policy.toml:5:14: strategy.x: expected a table, found integer",
            "policy.toml:6:8: rule: expected a table under double brackets, found integer",
            "policy.toml:7:13: override[1]: expected a table, found integer",
            "policy.toml:8:10: budget: expected a table, found boolean",
        ]
    );
}

#[test]
fn numbers_out_of_every_range_are_refused() {
    for number in ["nan", "inf", "-inf", "-0.1", "1.1", "9223372036854775808", "0x10"] {
        let found = with(&format!("strategy.p.kind = \"predictive\"\nstrategy.p.threshold = {number}\n"));
        assert!(
            found.iter().any(|f| f.starts_with("policy.toml:6:24: strategy.p.threshold: expected")),
            "{found:?}"
        );
    }
    for number in ["-1", "1000001", "99999999999999999999"] {
        let found =
            with(&format!("budget.when_spent = \"safe\"\nbudget.strong_calls_per_minute = {number}\n"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("policy.toml:6:34: budget.strong_calls_per_minute: expected"),
            "{found:?}"
        );
    }
    let program = Program::parse(
        "p",
        "version = 1\ndefault = \"p\"\nstrategy.p.kind = \"predictive\"\nstrategy.p.threshold = 1\n",
    );
    assert!(program.is_ok());
}

#[test]
fn a_fault_can_be_told_by_machines() {
    let refused = Program::parse("p", "version = 1\ndefault = \"x\"\n").unwrap_err();
    let [problem] = refused.as_slice() else { panic!("{refused:?}") };
    assert_eq!((problem.place.line, problem.place.column, problem.place.key.as_str()), (2, 11, "default"));
    assert!(matches!(&problem.fault, Fault::UnknownName { what: "strategy", known, .. } if known.is_empty()));
}
