//! Random policies, structured and broken: they are read or refused and nothing else, every walk through one that was
//! read ends, and cycles are found exactly where a walk finds them.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use strategy::{Facts, Fault, Intent, Inventory, Path, Plan, Problem, Program, Spent};
use types::ModelName;

const EXAMPLE: &str = include_str!("../examples/policy.toml");
const POLICIES: usize = 10_000;
const INTENTS: [&str; 3] = ["legal", "math", "chat"];
const SLICES: [&str; 3] = ["vip", "tenant:acme", "beta"];

fn pick<'a>(rng: &mut impl Rng, among: &[&'a str]) -> &'a str {
    among[rng.random_range(0..among.len())]
}

/// A policy of mostly right shape whose strategies lead anywhere, now and then to nobody or with a key too many.
fn random_policy(rng: &mut impl Rng) -> String {
    let strategies = rng.random_range(1..7);
    let name = |rng: &mut ChaCha8Rng| match rng.random_range(0..40) {
        0 => "nobody".to_owned(),
        _ => format!("s{}", rng.random_range(0..strategies)),
    };
    let rng = &mut ChaCha8Rng::seed_from_u64(rng.random());
    let mut text = format!("version = 1\ndefault = {:?}\n", name(rng));
    for i in 0..strategies {
        let _ = writeln!(text, "[strategy.s{i}]");
        text.push_str(match rng.random_range(0..6) {
            0 => "kind = \"predictive\"\nthreshold = 0.5\n",
            1 => "kind = \"predictive\"\nladder = [\"a\", \"b\", \"c\"]\n",
            2 => "kind = \"cascade\"\ncascade = \"gsm\"\n",
            3 => "kind = \"model\"\nmodel = \"a\"\n",
            _ => "kind = \"semantic\"\n",
        });
        if text.ends_with("\"semantic\"\n") {
            let (routed, otherwise) = (name(rng), name(rng));
            let _ = writeln!(
                text,
                "routes = {{ {} = {routed:?} }}\notherwise = {otherwise:?}",
                pick(rng, &INTENTS)
            );
        }
        if rng.random_bool(0.3) {
            let _ = writeln!(text, "fallback = {:?}", name(rng));
        }
    }
    for _ in 0..rng.random_range(0..4) {
        let conditions =
            [("slice", &SLICES), ("slice_not", &SLICES), ("intent", &INTENTS), ("intent_not", &INTENTS)];
        let (key, values) = conditions[rng.random_range(0..4)];
        let when = format!("{key} = {:?}", [pick(rng, values), pick(rng, values)]);
        let _ = match rng.random_bool(0.8) {
            true => writeln!(text, "[[rule]]\nwhen = {{ {when} }}\nuse = {:?}", name(rng)),
            false => writeln!(text, "[[override]]\nwhen = {{ {when} }}\nmodel = \"a\""),
        };
    }
    if rng.random_bool(0.3) {
        let _ = writeln!(text, "[budget]\nstrong_calls_per_minute = 3\nwhen_spent = {:?}", name(rng));
    }
    if rng.random_bool(0.05) {
        text.push_str("surprise = 1\n");
    }
    text
}

/// The example with some bytes changed, doubled or taken away.
fn mutated(rng: &mut impl Rng) -> String {
    let mut bytes = EXAMPLE.as_bytes().to_vec();
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(0..bytes.len());
        let until = (at + rng.random_range(1..12)).min(bytes.len());
        match rng.random_range(0..4) {
            0 => bytes[at] = rng.random(),
            1 => bytes[at] = b"\"[]{}=.,\n# 09a_-"[rng.random_range(0..16)],
            2 => drop(bytes.drain(at..until)),
            _ => {
                let copy = bytes[at..until].to_vec();
                let to = rng.random_range(0..bytes.len());
                bytes.splice(to..to, copy);
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn intents(model: &ModelName) -> Vec<Intent<'_>> {
    let matched = |name| [None, Some(model)].map(|model| Intent::Matched { name, probability: 0.9, model });
    let told = INTENTS.into_iter().chain(["billing", "unheard"]).flat_map(matched);
    told.chain([Intent::Unasked, Intent::BelowFloor, Intent::Unavailable("no catalogue")]).collect()
}

/// Walks every way there is through a program that was read, and runs each to its end.
fn walk_everywhere(program: &Program) {
    let own = ModelName::new("own").unwrap();
    let strategies = program.strategies().count();
    for bits in 0..8 {
        let slices: Vec<String> =
            (0..3).filter(|i| bits >> i & 1 == 1).map(|i| SLICES[i].to_owned()).collect();
        for intent in intents(&own) {
            let plan = program.plan(&Facts { slices: &slices, now_us: 0, intent });
            let named = program.strategies().map(|(name, ..)| program.plan_named(name, intent).unwrap());
            for plan in named.chain([plan]) {
                match plan {
                    Plan::NeedsIntent => assert!(intent == Intent::Unasked && program.may_need_intent()),
                    Plan::Ready(path) => run_to_the_end(path, strategies),
                }
            }
        }
    }
}

/// Every leaf fails and every call is refused.
fn run_to_the_end(mut path: Path<'_>, strategies: usize) {
    assert!(!path.steps().is_empty() && path.steps().iter().all(|step| step.line > 0));
    assert!(path.fallbacks().count() < strategies.max(1), "no strategy comes twice");
    let spent = Spent::StrongCallsPerMinute { limit: 3 };
    let promised: Vec<_> = path.fallbacks().map(|(_, leaf)| leaf).collect();
    let mut kept = path.clone();
    for leaf in promised {
        assert!(kept.fall_back("failed") && kept.leaf() == leaf);
    }
    assert!(!kept.fall_back("failed"), "the chain is as long as promised");
    for turns in 0.. {
        assert!(turns <= 2 * strategies, "{path}");
        let diverted = path.asks_budget() && path.divert(spent);
        if !diverted && !path.fall_back("failed") {
            break;
        }
    }
    assert!(!path.to_string().is_empty());
}

fn places_are_inside(text: &str, problems: &[Problem]) {
    for problem in problems {
        let line = text.split('\n').nth(problem.place.line as usize - 1);
        let width = line.unwrap_or_else(|| panic!("{problem} in {text}")).chars().count();
        assert!((1..=width + 1).contains(&(problem.place.column as usize)), "{problem} in {text}");
        assert!(!problem.to_string().is_empty());
    }
}

/// How many of some policies are read; none does anything but be read or refused.
fn read_or_refused(mut policy: impl FnMut() -> String) -> usize {
    let mut read = 0;
    for _ in 0..POLICIES {
        let text = policy();
        match Program::parse("p", &text) {
            Ok(program) => {
                places_are_inside(&text, program.warnings());
                places_are_inside(&text, &program.check(&Inventory::default()));
                walk_everywhere(&program);
                read += 1;
            }
            Err(problems) => {
                assert!(!problems.is_empty(), "{text}");
                places_are_inside(&text, &problems);
            }
        }
    }
    read
}

#[test]
fn random_policies_are_read_or_refused_and_every_walk_ends() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let read = read_or_refused(|| random_policy(&mut rng));
    println!("{read} of {POLICIES} random policies are read");
    assert!(read > POLICIES / 20 && read < POLICIES);
}

#[test]
fn broken_examples_are_read_or_refused_and_every_walk_ends() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let read = read_or_refused(|| mutated(&mut rng));
    println!("{read} of {POLICIES} broken examples are read");
    assert!(read > POLICIES / 100 && read < POLICIES);
}

#[test]
fn any_text_is_refused_cleanly() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let read = read_or_refused(|| {
        let length = rng.random_range(0..60);
        (0..length).map(|_| char::from(rng.random_range(0..128u8))).collect()
    });
    assert_eq!(read, 0);
    for deep in ["[", "{a=", "a.", "\"", "[[a]]\n"] {
        let refused = Program::parse("p", &deep.repeat(50_000)).unwrap_err();
        assert!(!refused.is_empty());
    }
}

/// Semantic strategies that lead to each other by `edges`; the last of `strategies` is a model.
fn graph(strategies: usize, edges: &[Vec<usize>]) -> String {
    let mut text = "version = 1\ndefault = \"s0\"\n".to_owned();
    for (i, to) in edges.iter().enumerate() {
        let _ = writeln!(text, "[strategy.s{i}]\nkind = \"semantic\"\notherwise = \"s{}\"", to[0]);
        let routes: Vec<String> = to[1..].iter().map(|to| format!("to{to} = \"s{to}\"")).collect();
        let _ = writeln!(text, "routes = {{ {} }}", routes.join(", "));
    }
    let _ = writeln!(text, "[strategy.s{}]\nkind = \"model\"\nmodel = \"m\"", strategies - 1);
    text
}

/// Whether some walk takes more steps than there are strategies.
fn walks_for_ever(edges: &[Vec<usize>], strategies: usize) -> bool {
    let mut at: BTreeSet<usize> = (0..strategies).collect();
    for _ in 0..strategies {
        at = at.iter().filter_map(|on| edges.get(*on)).flatten().copied().collect();
    }
    !at.is_empty()
}

#[test]
fn cycles_are_found_exactly_where_a_walk_does_not_end() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let mut endless = 0;
    for _ in 0..3_000 {
        let strategies = rng.random_range(2..9);
        // Mostly towards the end, so that about half of the graphs have a cycle.
        let edges: Vec<Vec<usize>> = (0..strategies - 1)
            .map(|i| {
                let mut to = BTreeSet::new();
                for _ in 0..rng.random_range(1..4) {
                    let from = if rng.random_bool(0.1) { 0 } else { i + 1 };
                    to.insert(rng.random_range(from..strategies));
                }
                to.into_iter().collect()
            })
            .collect();
        let expected = walks_for_ever(&edges, strategies);
        endless += usize::from(expected);
        match Program::parse("p", &graph(strategies, &edges)) {
            Ok(program) => {
                assert!(!expected);
                walk_everywhere(&program);
            }
            Err(problems) => {
                assert!(expected, "{problems:?}");
                problems.iter().for_each(|problem| is_a_cycle(problem, &edges));
            }
        }
    }
    assert!((500..2_500).contains(&endless), "{endless}");
}

fn is_a_cycle(problem: &Problem, edges: &[Vec<usize>]) {
    let Fault::Cycle(names) = &problem.fault else { panic!("{problem}") };
    let numbers: Vec<usize> = names.iter().map(|name| name[1..].parse().unwrap()).collect();
    assert!(numbers.len() > 1 && numbers.first() == numbers.last(), "{problem}");
    assert!(numbers.windows(2).all(|turn| edges[turn[0]].contains(&turn[1])), "{problem}");
}
