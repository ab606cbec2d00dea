//! `training advise` as users run it: the example gives an answer, little traffic and a dearer model that is no better
//! mean "do not route", and a log of the server is enough to judge predictive routing.

use crate::support::{append, decision_at, url};
use decision_log::{Batch, DecisionRecord};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const PRICES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../prices.toml");
const WORKLOAD: &str = include_str!("../../../workload.toml");

fn training(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_training")).args(args).output().unwrap()
}

/// What is said of a workload file of this text, and the JSON beside it.
fn advice(folder: &Path, workload: &str) -> (String, Value) {
    let (file, json) = (folder.join("workload.toml"), folder.join("advice.json"));
    std::fs::write(&file, workload).unwrap();
    let paths = ["--workload", file.to_str().unwrap(), "--json", json.to_str().unwrap()];
    let output = training(&[&["advise", "--prices", PRICES], &paths[..]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (said, serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap())
}

fn refusal(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn changed(from: &str, to: &str) -> String {
    assert!(WORKLOAD.contains(from), "{from}");
    WORKLOAD.replace(from, to)
}

fn strategy<'a>(advice: &'a Value, name: &str) -> &'a Value {
    advice["strategies"].as_array().unwrap().iter().find(|s| s["name"] == name).unwrap()
}

#[test]
fn the_example_is_advised_with_numbers_that_come_out_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let (said, advice) = advice(folder.path(), WORKLOAD);
    // Calls: weak (600 x 0.1 + 300 x 0.4) / 1e6 = 0.00018, strong (600 x 3 + 300 x 15) / 1e6 = 0.0063 USD.
    let cost = |name: &str| strategy(&advice, name)["usd_per_request"].as_f64().unwrap();
    let expected = [
        ("predictive", 0.00005 + 0.63 * 0.00018 + 0.37 * 0.0063),
        ("cascade", 0.00018 + 0.00002 + 0.42 * 0.0063),
        ("semantic", 0.000002 + 0.3 * 0.00018 + 0.7 * 0.0063),
    ];
    for (name, usd) in expected {
        assert!((cost(name) - usd).abs() < 1e-12, "{name}: {}", cost(name));
    }
    let predictive = strategy(&advice, "predictive");
    let net = 33_000.0 * 30.0 * (0.0063 - expected[0].1) - 1_100.0;
    assert!((predictive["net_usd_per_month"].as_f64().unwrap() - net).abs() < 1e-6);
    assert_eq!(predictive["latency_p99_s"].as_f64().unwrap(), 2.8001);
    assert!((strategy(&advice, "cascade")["latency_p99_s"].as_f64().unwrap() - 3.45).abs() < 1e-12);
    assert_eq!(advice["answer"], "predictive");
    assert!(said.contains("Advice: predictive") && said.contains("breaks even with strong"), "{said}");
    assert!(said.contains("prices valid on"), "{said}");
}

#[test]
fn do_not_route_where_it_does_not_pay() {
    let folder = tempfile::tempdir().unwrap();
    let (said, little) =
        advice(folder.path(), &changed("requests_per_day = 33000", "requests_per_day = 500"));
    assert_eq!(little["answer"], "do not route");
    assert!(said.contains("below its break-even") && said.contains("use strong for everything"), "{said}");
    let (said, inverted) = advice(folder.path(), &changed("weak = 0.726", "weak = 0.97"));
    assert_eq!(inverted["answer"], "do not route");
    assert!(
        said.contains("the dearer model is no better") && said.contains("use weak for everything"),
        "{said}"
    );
    let (_, enough) = advice(folder.path(), &changed("weak = 0.726", "weak = 0.93"));
    assert_eq!(enough["answer"], "do not route", "weak alone keeps the floor");
    // What errors cost decides where they are worth something: 0.046 of them at one dollar.
    let dear = changed("# value_per_correct_usd = 0.01", "value_per_correct_usd = 1.0");
    let (_, advice) = advice(folder.path(), &dear);
    assert!(strategy(&advice, "predictive")["net_usd_per_month"].as_f64().unwrap() < 0.0);
    assert_eq!(advice["answer"], "do not route");
}

#[test]
fn limits_and_break_evens_are_held_against_each_strategy() {
    let folder = tempfile::tempdir().unwrap();
    let (said, slow) =
        advice(folder.path(), &changed("# max_latency_p99_s = 5.0", "max_latency_p99_s = 3.0"));
    assert!(
        said.contains("not cascade: it p99 latency 3.45 s")
            || said.contains("p99 latency 3.45 s is above 3 s")
    );
    assert_eq!(slow["answer"], "predictive");
    let (said, dear) = advice(folder.path(), &changed("escalation_rate = 0.42", "escalation_rate = 0.98"));
    assert!(said.contains("warning: the cascade costs"), "{said}");
    assert!(strategy(&dear, "cascade")["cost_fraction"].as_f64().unwrap() > 1.0);
    let alone = WORKLOAD.split("[cascade]").next().unwrap();
    let (said, _) = advice(folder.path(), alone);
    assert!(said.contains("cascade: not described") && said.contains("semantic: not described"), "{said}");
}

#[test]
fn a_limit_needs_latencies_to_be_held() {
    let folder = tempfile::tempdir().unwrap();
    let (prices, file) = (folder.path().join("prices.toml"), folder.path().join("w.toml"));
    let text = std::fs::read_to_string(PRICES).unwrap().replace("latency_s = 2.8\n", "");
    std::fs::write(&prices, text).unwrap();
    std::fs::write(&file, changed("# max_latency_p99_s = 5.0", "max_latency_p99_s = 5.0")).unwrap();
    let paths = ["--prices", prices.to_str().unwrap(), "--workload", file.to_str().unwrap()];
    let error = refusal(&training(&[&["advise"], &paths[..]].concat()));
    assert!(error.contains("no latency_s of starter-large"), "{error}");
}

#[test]
fn mistakes_in_a_workload_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w.toml");
    let refused = |text: &str| {
        std::fs::write(&file, text).unwrap();
        refusal(&training(&["advise", "--prices", PRICES, "--workload", file.to_str().unwrap()]))
    };
    let error = refused(&changed("requests_per_day", "request_per_day"));
    assert!(
        error.contains("w.toml") && error.contains("request_per_day") && error.contains("line"),
        "{error}"
    );
    let error = refused(&changed("strong_call_rate = 0.37", "strong_call_rate = 37"));
    assert!(error.contains("predictive.strong_call_rate is 37, expected a share"), "{error}");
    let error = refused(&changed("strong = \"starter-large\"", "strong = \"gpt-9\""));
    assert!(error.contains("no price for gpt-9"), "{error}");
    assert!(!training(&["advise", "--prices", PRICES]).status.success(), "some source is needed");
}

/// A decision as the server logs it.
fn decided(hour: i64, model: &str, p: f64) -> DecisionRecord {
    let start: jiff::Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
    DecisionRecord { action: model.into(), ..decision_at(start.as_microsecond() + hour * 3_600_000_000, p) }
}

#[test]
fn a_log_of_the_server_is_enough() {
    let advised = |decisions: Vec<DecisionRecord>| {
        let folder = tempfile::tempdir().unwrap();
        append(folder.path(), &Batch { decisions, outcomes: vec![] });
        let log = url(folder.path());
        let models = ["--strong", "starter-large", "--weak", "starter-small"];
        training(&[&["advise", "--prices", PRICES, "--decision-log", &log][..], &models].concat())
    };
    let decisions: Vec<DecisionRecord> = (0..=240)
        .map(|hour| match hour % 4 {
            0 => decided(hour, "starter-large", 0.7),
            _ => decided(hour, "starter-small", 0.04),
        })
        .collect();
    let output = advised(decisions.clone());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    // 241 decisions in ten days, 61 strong, 180 x 0.04 expected to be wrong.
    assert!(said.contains("241 decisions over 10.00 days, 0.253 of them strong"), "{said}");
    assert!(said.contains("0.030 kept on weak") && said.contains("24 requests a day"), "{said}");
    assert!(said.contains("Advice: do not route") && said.contains("below its break-even"), "{said}");

    let error = refusal(&advised(vec![]));
    assert!(error.contains("holds no decision"), "{error}");
    let error = refusal(&training(&["advise", "--prices", PRICES, "--decision-log", "sqlite:x.db"]));
    assert!(error.contains("which models?"), "{error}");
    let error = refusal(&advised(vec![decided(0, "starter-large", 0.5), decided(0, "starter-small", 0.1)]));
    assert!(error.contains("at least an hour is needed"), "{error}");
    let third = decided(0, "starter-medium", 0.2);
    let output = advised([decisions, vec![third]].concat());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 decisions for other models") && said.contains("0.253 of them strong"), "{said}");
}
