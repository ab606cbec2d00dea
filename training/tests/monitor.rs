//! `training monitor` as users run it: silent on traffic that stays what it was, loud with direction and date when the
//! queries or what comes of them change.
#![allow(clippy::unwrap_used, missing_docs, reason = "helpers of tests")]

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

/// Whether it succeeded, and everything it said.
fn monitor(folder: &Path, more: &[&str]) -> (bool, String) {
    let [log, labels] = ["rung.log", "labels.jsonl"].map(|name| folder.join(name));
    let files = ["monitor", "--decision-log", log.to_str().unwrap(), "--labels", labels.to_str().unwrap()];
    let args = files.into_iter().chain(["--strong", "large", "--weak", "small"]).chain(more.iter().copied());
    let run = Command::new(env!("CARGO_BIN_EXE_training")).args(args).output().unwrap();
    (run.status.success(), String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned())
}

/// 6,000 decisions, one a minute, every second labelled. From the 4,000th on, log odds are shifted by `shift` and
/// probabilities squeezed by `squeeze`.
fn write(folder: &Path, shift: f64, squeeze: f64) {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let (mut log, mut labels) = (String::new(), String::new());
    let start: jiff::Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
    for i in 0..6_000 {
        let changed = i >= 4_000;
        let p = (0.05 + 0.7 * rng.random::<f64>()) * if changed { squeeze } else { 1.0 };
        let odds = p / (1.0 - p) * if changed { shift.exp() } else { 1.0 };
        let id = format!("d-{i}");
        let fields = json!({
            "message": "decided", "decision_id": id, "model": if p >= 0.4 { "large" } else { "small" },
            "propensity": 1.0, "reason": "below_threshold", "rungs": 2, "win_probability": p,
        });
        let time = start + jiff::SignedDuration::from_mins(i);
        writeln!(log, "{}", json!({"timestamp": time.to_string(), "fields": fields})).unwrap();
        let better = rng.random_bool(odds / (1.0 + odds));
        if i % 2 == 0 {
            writeln!(labels, "{}", json!({"decision_id": id, "strong_better": better})).unwrap();
        }
    }
    fs::write(folder.join("rung.log"), log).unwrap();
    fs::write(folder.join("labels.jsonl"), labels).unwrap();
}

#[test]
fn what_stays_is_silent_and_what_changes_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 0.0, 1.0);
    let (silent, said) = monitor(folder.path(), &["--fail-on-alarm"]);
    assert!(silent && !said.contains("ALARM"), "{said}");
    assert!(said.contains("8 windows of 500 against the first 2000, 0 alarms"), "{said}");
    assert!(said.contains("3000 of 6000 decisions labelled, 0 alarms"), "{said}");

    write(folder.path(), 0.9, 1.0);
    let (silent, said) = monitor(folder.path(), &["--fail-on-alarm"]);
    assert!(!silent && said.contains("calibration: strong wins more often than said"), "{said}");
    assert!(!said.contains("ALARM, distribution"), "{said}");
    // The 2,001st label is of the 4,000th decision, on the third of November.
    let heard = said.split("heard at label ").nth(1).unwrap().split_once(' ').unwrap();
    assert!((2_001..2_200).contains(&heard.0.parse::<u32>().unwrap()), "{said}");
    assert!(heard.1.starts_with("(2026-11-03T"), "{said}");

    write(folder.path(), 0.0, 0.6);
    let (told, said) = monitor(folder.path(), &[]);
    assert!(told && said.contains("ALARM, distribution: window 5 from 2026-11-03T18:40:00Z"), "{said}");
    assert!(!said.contains("ALARM, calibration"), "{said}");
}

#[test]
fn what_cannot_be_watched_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 0.0, 1.0);
    for (more, expected) in [
        (["--reference", "5900"], "fewer than a reference of 5900 and a window of 500"),
        (["--false-alarm-rate", "0"], "--false-alarm-rate: expected between 0 and 1, found 0"),
        (["--average-run-length", "0.5"], "expected above 1"),
        (["--reference", "5"], "5 numbers, at least 10 are needed"),
    ] {
        let (told, said) = monitor(folder.path(), &more);
        assert!(!told && said.contains(expected), "{said}");
    }
    fs::write(folder.path().join("labels.jsonl"), "{\"decision_id\": \"d-1\", \"strong_better\": 1}\n")
        .unwrap();
    let (told, said) = monitor(folder.path(), &[]);
    assert!(!told && said.contains("labels.jsonl: line 1: "), "{said}");
}
