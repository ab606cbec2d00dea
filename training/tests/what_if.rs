//! `training what-if` as users run it: estimates where the log explored, reasons where it did not, and a clear word
//! about every decision and outcome that does not count.
#![allow(clippy::unwrap_used, missing_docs, reason = "helpers of tests")]

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

/// Whether it succeeded, and everything it said.
fn what_if(folder: &Path, thresholds: &[&str]) -> (bool, String) {
    let [log, outcomes] = ["rung.log", "outcomes.jsonl"].map(|name| folder.join(name));
    let files =
        ["what-if", "--decision-log", log.to_str().unwrap(), "--outcomes", outcomes.to_str().unwrap()];
    let thresholds = thresholds.iter().flat_map(|t| ["--threshold", t]);
    let args = files.into_iter().chain(["--strong", "large", "--weak", "small"]).chain(thresholds);
    let run = Command::new(env!("CARGO_BIN_EXE_training")).args(args).output().unwrap();
    (run.status.success(), String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned())
}

/// Decisions at threshold 0.5, every fifth that would stay on weak explored. Strong is always right, weak as often as
/// the probability says.
fn write(folder: &Path, decisions: usize) {
    let (mut log, mut outcomes) = (String::from("a crash prints what it likes\n"), String::new());
    for i in 0..decisions {
        let p = (i as f64 * 0.618_033_988_75).fract();
        let explored = p < 0.5 && i % 5 == 0;
        let strong = p >= 0.5 || explored;
        let (propensity, reason) = match (p < 0.5, explored) {
            (true, true) => (0.2, "explored"),
            (true, false) => (0.8, "below_threshold"),
            (false, _) => (1.0, "at_or_above_threshold"),
        };
        let fields = json!({
            "message": "decided", "decision_id": format!("d-{i}"), "model": if strong { "large" } else { "small" },
            "policy_model": if p < 0.5 { "small" } else { "large" }, "propensity": propensity, "reason": reason,
            "rungs": 2, "win_probability": p, "threshold": 0.5, "scored_by": if i % 8 == 0 { "deep" } else { "fast" }, "threshold_source": "operating_point:default",
        });
        writeln!(log, "{}", json!({"timestamp": "2026-11-02T10:00:00Z", "level": "INFO", "fields": fields}))
            .unwrap();
        let weak_is_right = (i as f64 * 0.754_877_666_25).fract() >= p;
        writeln!(
            outcomes,
            "{}",
            json!({"decision_id": format!("d-{i}"), "score": u8::from(strong || weak_is_right)})
        )
        .unwrap();
    }
    for (id, more) in [
        ("own", json!({"threshold_source": "request"})),
        ("other", json!({"rungs": 3})),
        ("silent", json!({})),
    ] {
        let mut fields = json!({
            "message": "decided", "decision_id": id, "model": "small", "propensity": 0.8, "reason": "below_threshold",
            "rungs": 2, "win_probability": 0.1, "threshold_source": "operating_point:default",
        });
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        writeln!(log, "{}", json!({"timestamp": "2026-11-02T10:00:00Z", "fields": fields})).unwrap();
    }
    let old = json!({"message": "decided", "model": "small", "win_probability": 0.1});
    writeln!(log, "{}", json!({"timestamp": "2026-11-02T10:00:00Z", "fields": old})).unwrap();
    outcomes.push_str("{\"decision_id\": \"unheard-of\", \"score\": 1}\n");
    fs::write(folder.join("rung.log"), log).unwrap();
    fs::write(folder.join("outcomes.jsonl"), outcomes).unwrap();
}

#[test]
fn thresholds_are_judged_where_the_log_explored() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 4_000);
    let (judged, said) = what_if(folder.path(), &["0.3", "0.5", "0.7"]);
    assert!(judged, "{said}");
    assert!(
        said.contains(
            "4000 decisions with an outcome; left out: 1 without, 1 at thresholds of their callers, 1 of other ladders, \
             1 without a propensity; 1 outcomes of none of these"
        ),
        "{said}"
    );
    let line = |of: &str| said.lines().find(|line| line.starts_with(of)).unwrap().to_owned();
    let score = |of: &str| line(of).split_whitespace().nth(2).unwrap().parse::<f64>().unwrap();
    // Weak is kept on p below t, and wrong there with probability p.
    assert!((score("0.3") - (1.0 - 0.3_f64.powi(2) / 2.0)).abs() < 0.02, "{said}");
    assert!((score("0.5") - (1.0 - 0.5_f64.powi(2) / 2.0)).abs() < 0.02, "{said}");
    assert!(said.contains("500 of them were scored by the deep tier"), "{said}");
    assert!(line("0.7").contains("800 to weak that were never explored that way"), "{said}");
}

#[test]
fn bad_lines_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let outcomes = |text: &str| {
        write(folder.path(), 60);
        fs::write(folder.path().join("outcomes.jsonl"), text).unwrap();
        what_if(folder.path(), &["0.5"])
    };
    for (text, expected) in [
        ("\n{\"decision_id\": \"d-1\"}\n", "outcomes.jsonl: line 2: missing field `score`"),
        ("{\"decision_id\": \"d-1\", \"score\": 1.5}\n", "line 1: score: 1.5 is not in [0, 1]"),
        (
            "{\"decision_id\": \"d-1\", \"score\": 1}\n{\"decision_id\": \"d-1\", \"score\": 0}\n",
            "line 2: 0.0 for decision d-1, but 1.0 before",
        ),
        ("", "no decision between large and small has an outcome"),
    ] {
        let (judged, said) = outcomes(text);
        assert!(!judged && said.contains(expected), "{said}");
    }
    let (judged, said) = outcomes("{\"decision_id\": \"d-1\", \"score\": 1}\n");
    assert!(judged && said.contains("1 rows of full weight, at least 50 are needed"), "{said}");
    let (judged, said) = what_if(folder.path(), &["1.5"]);
    assert!(!judged && said.contains("1.5"), "{said}");
}
