//! `training evaluate` as users run it: it says yes where routing pays and no where it does not, and its page
//! needs nothing else.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use corpus::{Example, starter};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

const PRICES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../prices.toml");

fn training(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_training")).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An artifact fitted to the starter corpus, once.
fn artifact() -> &'static Path {
    static FOLDER: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let small = ["--epochs", "8", "--cross-fit", "off", "--starter-rows", "6000"];
        training(&[&["fit", "--out", path.to_str().unwrap()], &small[..]].concat());
        (folder, path)
    });
    path
}

/// The report on fresh rows whose outcomes `change` rewrites: (weak, strong) of starter-small and -large.
fn report(requests_per_month: &str, change: impl FnMut(&Example, f64, f64) -> (f64, f64)) -> (Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("rows.jsonl");
    let ladder = starter::ladder().unwrap();
    let mut examples = starter::generate(3_000, 77);
    let mut change = change;
    for example in &mut examples {
        let outcomes = &example.evidence.outcomes;
        let changed = change(example, outcomes[ladder.cheapest()], outcomes[ladder.top()]);
        example.evidence.outcomes.insert(ladder.cheapest().clone(), changed.0);
        example.evidence.outcomes.insert(ladder.top().clone(), changed.1);
        example.true_win_probability = None;
    }
    corpus::write_jsonl(&examples, &mut File::create(&data).unwrap()).unwrap();
    let out = folder.path().join("report");
    let paths =
        ["-a", artifact().to_str().unwrap(), "-d", data.to_str().unwrap(), "-o", out.to_str().unwrap()];
    let money = ["--prices", PRICES, "--requests-per-month", requests_per_month];
    let said = training(&[&["evaluate"], &paths[..], &money[..]].concat());
    let html = std::fs::read_to_string(out.join("report.html")).unwrap();
    let report: Value = serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
    let answer = report["verdict"]["answer"].as_str().unwrap().replace('_', " ");
    assert!(said.contains(&format!("Should you route? {}", answer.to_uppercase())), "{said}");
    (report, html)
}

fn answer(report: &Value) -> &str {
    report["verdict"]["answer"].as_str().unwrap()
}

/// The words of the reason that says no.
fn no(report: &Value) -> String {
    let reasons = report["verdict"]["reasons"].as_array().unwrap();
    let no = reasons.iter().find(|r| r["standing"] == "no");
    no.map_or(String::new(), |r| r["words"].as_str().unwrap().to_owned())
}

/// Every reason in words.
fn reasons(report: &Value) -> String {
    let reasons = report["verdict"]["reasons"].as_array().unwrap();
    reasons.iter().map(|r| format!("{}: {}\n", r["standing"], r["words"])).collect()
}

const MUCH: &str = "1000000";

#[test]
fn yes_where_routing_pays_on_one_page() {
    let (report, html) = report(MUCH, |_, weak, strong| (weak, strong));
    assert_eq!(answer(&report), "yes", "{:#}", report["verdict"]);
    let sentence = report["headline"]["sentence"].as_str().unwrap();
    assert!(sentence.contains("of strong-only cost, cheap-and-wrong"), "{sentence}");
    assert!(html.contains(sentence) && html.matches("<figure>").count() == 4);
    for outside in ["http://", "https://", "<script", "<link", "@import", "url("] {
        assert!(!html.contains(outside), "{outside}");
    }
    let curve = report["curves"]["classifier"].as_array().unwrap();
    let wrong: Vec<f64> = curve.iter().map(|p| p["cheap_and_wrong_rate"].as_f64().unwrap()).collect();
    assert!(wrong.windows(2).all(|w| w[0] >= w[1]) && wrong.last() == Some(&0.0));
    let by_hand = &report["scorers"]["classifier"]["estimates"]["apgr"];
    assert!(by_hand["lower"].as_f64() < by_hand["value"].as_f64());
    for (name, figure) in report["scorers"]["classifier"]["estimates"].as_object().unwrap() {
        let [lower, value, upper] = ["lower", "value", "upper"].map(|end| figure[end].as_f64().unwrap());
        assert!(lower <= value && value <= upper, "{name}: {value} [{lower}, {upper}]");
    }
}

#[test]
fn no_at_500_requests_a_day() {
    let (report, _) = report("15000", |_, weak, strong| (weak, strong));
    assert_eq!(answer(&report), "no");
    assert!(no(&report).contains("too little traffic"), "{}", no(&report));
}

#[test]
fn no_for_models_that_are_always_equal() {
    let (report, _) = report(MUCH, |_, weak, _| (weak, weak));
    assert_eq!(answer(&report), "no");
    assert!(no(&report).contains("no gap to recover"), "{}", no(&report));
}

#[test]
fn no_for_an_inverted_pair() {
    let (report, _) = report(MUCH, |_, weak, strong| (strong, weak));
    assert_eq!(answer(&report), "no");
    assert!(no(&report).contains("the dearer model is worse"), "{}", no(&report));
}

#[test]
fn no_where_strong_is_only_slightly_better() {
    // Where strong won, weak is right, too, but for every tenth time: a gap there is, but a small one.
    let mut wins = 0;
    let (report, _) = report(MUCH, |_, weak, strong| {
        wins += u32::from(strong > weak);
        if strong > weak && wins % 10 > 0 { (strong, strong) } else { (weak.max(strong), strong.max(weak)) }
    });
    assert_eq!(answer(&report), "no");
}

#[test]
fn no_for_labels_of_pure_noise() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let (report, _) = report(MUCH, |_, _, _| {
        let mut drawn = |p: f64| f64::from(u8::from(rng.random_bool(p)));
        (drawn(0.5), drawn(0.9))
    });
    assert_eq!(answer(&report), "no");
    assert!(no(&report).contains("no better than chance"), "{:#}", report["verdict"]);
}

#[test]
fn no_for_traffic_that_is_uniformly_hard() {
    // Weak is right only where the query is easiest, one time in a hundred.
    let (report, _) = report(MUCH, |example, weak, _| {
        let easy = example.id.bytes().map(u32::from).sum::<u32>() % 100 == 0;
        (if easy { weak } else { 0.0 }, 1.0)
    });
    assert_eq!(answer(&report), "no");
    let reasons = reasons(&report);
    assert!(reasons.contains("the traffic is uniformly hard"), "{reasons}");
    assert!(reasons.contains("no certificate although 3000 labels suffice"), "{reasons}");
}

#[test]
fn no_ratio_over_a_gap_that_is_none() {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let (report, html) = report(MUCH, |_, _, _| {
        let mut drawn = |p: f64| f64::from(u8::from(rng.random_bool(p)));
        (drawn(0.7), drawn(0.7))
    });
    assert_eq!(report["no_gap_to_recover"], true, "{}", report["gap"]);
    for scorer in ["classifier", "prompt_length"] {
        let estimates = report["scorers"][scorer]["estimates"].as_object().unwrap();
        assert!(estimates.contains_key("auroc"));
        assert!(!estimates.keys().any(|k| k.starts_with("apgr") || k.starts_with("cpt")), "{estimates:?}");
    }
    assert!(html.contains("<td>no gap to recover</td>"));
}

#[test]
fn not_yet_where_nobody_said_what_it_costs() {
    let folder = tempfile::tempdir().unwrap();
    let at = artifact().to_str().unwrap();
    let out = folder.path().join("r");
    let args =
        ["evaluate", "-a", at, "--starter-rows", "2000", "--starter-seed", "8", "-o", out.to_str().unwrap()];
    let said = training(&args);
    assert!(said.contains("Should you route? NOT YET") && said.contains("--requests-per-month"), "{said}");
}
