//! The trust anchor: RouteLLM's published protocol on its own published answers, scored by nothing but
//! prompt length, must give the figures that its code gives. Reads the shared corpora, which are not
//! part of the repository; without them it says so and passes, unless they are required.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test's own reader: a malformed corpus should fail it on the spot"
)]

use evaluation::routing::{RoutingCurve, full_sweep, routellm_curve};
use flate2::read::GzDecoder;
use serde_json::Value;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

const STRONG: &str = "gpt-4-1106-preview";
const WEAK: &str = "mistralai/Mixtral-8x7B-Instruct-v0.1";

/// One benchmark: prompt lengths and what each model scored.
#[derive(Default)]
struct Benchmark {
    lengths: Vec<f64>,
    weak: Vec<f64>,
    strong: Vec<f64>,
}

fn corpus() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("RUNG_SHARED").map_or_else(beside, PathBuf::from);
    let folder = shared.join("data/routellm");
    if folder.is_dir() {
        return Some(folder);
    }
    let set = |name: &str, value: &str| std::env::var(name).is_ok_and(|v| v == value);
    assert!(
        !(set("CI", "true") && set("RUNG_REQUIRE_SHARED", "1")),
        "the shared corpora are required, but {} is no folder",
        folder.display()
    );
    println!("skipped: no shared corpora (set RUNG_SHARED to their folder)");
    None
}

fn lines(path: &Path) -> impl Iterator<Item = Value> {
    let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    BufReader::new(GzDecoder::new(file)).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

/// The rows of each task, contaminated ones dropped.
fn read(folder: &Path) -> HashMap<String, Benchmark> {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let mut scores: HashMap<(String, String), f64> = HashMap::new();
    for row in lines(&folder.join("outcomes.jsonl.gz")) {
        scores.insert((text(&row, "prompt_id"), text(&row, "model")), row["score"].as_f64().unwrap());
    }
    let mut tasks: HashMap<String, Benchmark> = HashMap::new();
    for row in lines(&folder.join("prompts.jsonl.gz")).filter(|row| row["contaminated"] != Value::Bool(true))
    {
        let of = |model: &str| scores[&(text(&row, "id"), model.to_owned())];
        let task = tasks.entry(text(&row, "task")).or_default();
        task.lengths.push(text(&row, "prompt").chars().count() as f64);
        task.weak.push(of(WEAK));
        task.strong.push(of(STRONG));
    }
    tasks
}

fn thousandths(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[test]
fn prompt_length_gives_the_published_figures() {
    let Some(folder) = corpus() else { return };
    let tasks = read(&folder);
    // Rows and mean scores say whether the rows are right, APGR whether the measure is.
    let expected = [("mmlu", 14_037, 0.680915, 0.805870, 0.584), ("gsm8k", 1_307, 0.637337, 0.857689, 0.599)];
    for (task, rows, weak_mean, strong_mean, apgr) in expected {
        let rows_of = &tasks[task];
        assert_eq!(rows_of.lengths.len(), rows, "{task}");
        let curve: RoutingCurve = routellm_curve(&rows_of.lengths, &rows_of.weak, &rows_of.strong).unwrap();
        assert!((curve.weak_mean() - weak_mean).abs() < 1e-6, "{task}: {}", curve.weak_mean());
        assert!((curve.strong_mean() - strong_mean).abs() < 1e-6, "{task}: {}", curve.strong_mean());
        let sweep = full_sweep(&rows_of.lengths, &rows_of.weak, &rows_of.strong).unwrap();
        println!("{task}: APGR {:.6} (full sweep {:.6})", curve.apgr(), sweep.apgr());
        assert_eq!(thousandths(curve.apgr()), apgr, "{task}: {}", curve.apgr());
        // Eleven points stand in for thousands: close, not equal.
        assert!((curve.apgr() - sweep.apgr()).abs() < 0.005, "{task}: {}", sweep.apgr());
    }
}
