//! `training what-if` as users run it: estimates where the log explored, reasons where it did not, and a clear word
//! about every decision that does not count.

use std::path::Path;
use std::process::Command;

use crate::support::{append, decision_at, report, url};
use decision_log::{Batch, DecisionRecord, Outcome, OutcomeRecord};

/// Whether it succeeded, and everything it said.
fn what_if(folder: &Path, thresholds: &[&str]) -> (bool, String) {
    let log = ["what-if".to_owned(), "--decision-log".to_owned(), url(folder)];
    let thresholds = thresholds.iter().flat_map(|t| ["--threshold", t]);
    let models = ["--strong", "large", "--weak", "small"].into_iter().chain(thresholds);
    let run = Command::new(env!("CARGO_BIN_EXE_training")).args(log).args(models).output().unwrap();
    (run.status.success(), String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned())
}

fn usage(of: &DecisionRecord, model: &str) -> OutcomeRecord {
    let (cost_usd, latency_ms, input_tokens, cached_tokens, output_tokens) = Default::default();
    let model = model.to_owned();
    report(
        of,
        "gateway",
        Outcome::Usage { model, cost_usd, latency_ms, input_tokens, cached_tokens, output_tokens },
    )
}

/// Decisions at threshold 0.5, every fifth that would stay on weak explored. Strong is always right, weak as often as
/// the probability says.
fn write(folder: &Path, decisions: usize) {
    let mut batch = Batch::default();
    for i in 0..decisions {
        let p = (i as f64 * 0.618_033_988_75).fract();
        let explored = p < 0.5 && i % 5 == 0;
        let strong = p >= 0.5 || explored;
        let (propensity, reason) = match (p < 0.5, explored) {
            (true, true) => (0.2, "explored"),
            (true, false) => (0.8, "below_threshold"),
            (false, _) => (1.0, "at_or_above_threshold"),
        };
        let decision = DecisionRecord {
            action: if strong { "large" } else { "small" }.into(),
            propensity,
            reason: reason.into(),
            scored_by: if i % 8 == 0 { "deep" } else { "fast" }.into(),
            ..decision_at(1_700_000_000_000_000 + i as i64 * 1_000_000, p)
        };
        let weak_is_right = (i as f64 * 0.754_877_666_25).fract() >= p;
        let up = strong || weak_is_right;
        batch.outcomes.push(report(&decision, "app", Outcome::Thumbs { up }));
        batch.decisions.push(decision);
    }
    let plain = || decision_at(1_700_000_000_000_000, 0.1);
    let own = DecisionRecord { threshold_source: "request".into(), ..plain() };
    let other =
        DecisionRecord { action_set: vec!["small".into(), "middle".into(), "large".into()], ..plain() };
    let failed_over = plain();
    batch.outcomes.push(usage(&failed_over, "large"));
    batch.outcomes.push(report(&failed_over, "app", Outcome::Thumbs { up: true }));
    batch.decisions.extend([own, other, plain(), failed_over]);
    append(folder, &batch);
}

#[test]
fn thresholds_are_judged_where_the_log_explored() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 4_000);
    let (judged, said) = what_if(folder.path(), &["0.3", "0.5", "0.7"]);
    assert!(judged, "{said}");
    assert!(
        said.contains(
            "4000 decisions with an outcome; left out: 1 without, 1 at thresholds of their callers or a policy, 1 of other ladders, \
             1 that another model answered"
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
fn what_cannot_be_told_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (judged, said) = what_if(folder.path(), &["0.5"]);
    assert!(!judged && said.contains("--decision-log sqlite:") && said.contains("unable to open"), "{said}");
    append(
        folder.path(),
        &Batch { decisions: vec![decision_at(1_700_000_000_000_000, 0.2)], outcomes: vec![] },
    );
    let (judged, said) = what_if(folder.path(), &["0.5"]);
    assert!(!judged && said.contains("no decision between large and small has an outcome"), "{said}");
    let few = tempfile::tempdir().unwrap();
    write(few.path(), 40);
    let (judged, said) = what_if(few.path(), &["0.5"]);
    assert!(judged && said.contains("rows of full weight, at least 50 are needed"), "{said}");
    let (judged, said) = what_if(few.path(), &["1.5"]);
    assert!(!judged && said.contains("1.5"), "{said}");
}
