//! Real drift: GPT-4 and GPT-3.5 from March to June 2023 (the shared corpus `llmdrift`). What each model got right in
//! March, by task, is the probability that is said; the monitors must hear that June is another model, and must keep
//! silent where time is shuffled. Reads the shared corpora, which are not part of the repository; without them it says
//! so and passes, unless they are required.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test's own reader: a malformed corpus should fail it on the spot"
)]

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use monitoring::ShiryaevRoberts;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use types::WinProbability;

/// Log odds that probabilities of 75 rows a task may be off by.
const TOLERANCE: f64 = 0.2;

/// A task and whether the answer was right.
type Answer = (String, bool);

fn folder() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("RUNG_SHARED").map_or_else(beside, PathBuf::from);
    let folder = shared.join("data/llmdrift");
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("RUNG_REQUIRE_SHARED").is_none(), "{} is not there", folder.display());
    println!("skipped: no shared corpora (set RUNG_SHARED to their folder)");
    None
}

fn lines(file: PathBuf) -> impl Iterator<Item = Value> {
    let reader = BufReader::new(GzDecoder::new(File::open(file).unwrap()));
    reader.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

/// Answers by model.
fn answers(folder: &Path) -> HashMap<String, Vec<Answer>> {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap().to_owned();
    let tasks: HashMap<String, String> =
        lines(folder.join("prompts.jsonl.gz")).map(|p| (text(&p, "id"), text(&p, "category"))).collect();
    let mut by_model: HashMap<String, Vec<Answer>> = HashMap::new();
    for outcome in lines(folder.join("outcomes.jsonl.gz")) {
        let task = tasks[&text(&outcome, "prompt_id")].clone();
        let right = outcome["score"].as_f64().unwrap() >= 0.5;
        by_model.entry(text(&outcome, "model")).or_default().push((task, right));
    }
    by_model
}

/// The probability of a right answer by task, with half a row of either kind added.
fn said(rows: &[Answer]) -> HashMap<String, WinProbability> {
    let mut counts: HashMap<String, (f64, f64)> = HashMap::new();
    for (task, right) in rows {
        let (of, n) = counts.entry(task.clone()).or_insert((0.5, 1.0));
        *of += f64::from(u8::from(*right));
        *n += 1.0;
    }
    counts.into_iter().map(|(task, (of, n))| (task, WinProbability::new(of / n).unwrap())).collect()
}

/// Observations until the alarm, and the shift it tells of.
fn alarm(said: &HashMap<String, WinProbability>, stream: &[Answer], limit: f64) -> Option<(u64, f64)> {
    let mut detector = ShiryaevRoberts::new(limit, TOLERANCE);
    stream
        .iter()
        .filter_map(|(task, right)| Some((said.get(task)?, *right)))
        .find_map(|(p, right)| detector.update(*p, right))
        .map(|alarm| (alarm.at, alarm.shift))
}

#[test]
fn june_is_heard_and_shuffled_time_is_not() {
    const REPLAYS: u64 = 1_000;
    /// A stream of some 500 answers crosses this by chance with probability 500/20,000 at most.
    const LIMIT: f64 = 20_000.0;
    let Some(folder) = folder() else { return };
    let all = answers(&folder);
    for (march, june) in [("gpt-4-0314", "gpt-4-0613"), ("gpt-3.5-turbo-0301", "gpt-3.5-turbo-0613")] {
        let (march, june) = (&all[march], &all[june]);
        let (mut late, mut early, mut false_alarms, mut worst) = (0, 0, 0, 0);
        for seed in 0..REPLAYS {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (mut before, mut after) = (march.clone(), june.clone());
            before.shuffle(&mut rng);
            after.shuffle(&mut rng);
            let (reference, rest) = before.split_at(before.len() / 2);
            let replay: Vec<Answer> = rest.iter().chain(&after).cloned().collect();
            match alarm(&said(reference), &replay, LIMIT) {
                Some((at, _)) if at <= rest.len() as u64 => early += 1,
                Some((at, _)) => worst = worst.max(at - rest.len() as u64),
                None => late += 1,
            }
            let mut shuffled: Vec<Answer> = march.iter().chain(june).cloned().collect();
            shuffled.shuffle(&mut rng);
            let (reference, rest) = shuffled.split_at(shuffled.len() / 2);
            false_alarms += u64::from(alarm(&said(reference), rest, LIMIT).is_some());
        }
        println!(
            "{} rows of March, {} of June: heard at the latest {worst} outcomes into June, never in {late}, before it \
             in {early} of {REPLAYS} replays; {false_alarms} alarms of {REPLAYS} with time shuffled",
            march.len(),
            june.len()
        );
        assert!(late == 0 && worst <= 300, "{late} unheard, {worst} outcomes");
        // 1,050 answers, or half of them before June, cross the limit with probability 5.25 % or 2.6 % at most.
        assert!(early <= 26 && false_alarms <= 52, "{early} early, {false_alarms} false");
    }
}
