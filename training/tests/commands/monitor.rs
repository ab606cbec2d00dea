//! `training monitor` as users run it: silent on traffic that stays what it was, loud with direction and date when the
//! queries or what comes of them change.

use std::path::Path;
use std::process::Command;

use crate::support::{append, decision_at, report, url};
use decision_log::{Batch, Outcome};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Whether it succeeded, and everything it said.
fn monitor(folder: &Path, more: &[&str]) -> (bool, String) {
    let log = ["monitor".to_owned(), "--decision-log".to_owned(), url(folder)];
    let run = Command::new(env!("CARGO_BIN_EXE_training")).args(log).args(more).output().unwrap();
    (run.status.success(), String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned())
}

/// 6,000 decisions, one a minute from the first of November, every second labelled. From the 4,000th on, log odds are
/// shifted by `shift` and probabilities squeezed by `squeeze`.
fn log(shift: f64, squeeze: f64) -> tempfile::TempDir {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let start: jiff::Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
    let mut batch = Batch::default();
    for i in 0..6_000 {
        let changed = i >= 4_000;
        let p = (0.05 + 0.7 * rng.random::<f64>()) * if changed { squeeze } else { 1.0 };
        let odds = p / (1.0 - p) * if changed { f64::exp(shift) } else { 1.0 };
        let decision = decision_at(start.as_microsecond() + i * 60_000_000, p);
        let strong = f64::from(u8::from(rng.random_bool(odds / (1.0 + odds))));
        if i % 2 == 0 {
            batch.outcomes.push(report(&decision, "desk", Outcome::Preference { strong }));
        }
        batch.decisions.push(decision);
    }
    let folder = tempfile::tempdir().unwrap();
    append(folder.path(), &batch);
    folder
}

#[test]
fn what_stays_is_silent_and_what_changes_is_heard() {
    let quiet = log(0.0, 1.0);
    let (silent, said) = monitor(quiet.path(), &["--fail-on-alarm"]);
    assert!(silent && !said.contains("ALARM"), "{said}");
    assert!(said.contains("large/small all: 6000 decisions") && said.contains("3000 labels"), "{said}");
    assert!(said.contains("3000 of 6000 have been reported on"), "{said}");
    assert!(said.contains("8 windows compared with the first 2000") && !said.contains("OFF"), "{said}");

    let broken = log(0.9, 1.0);
    let (silent, said) = monitor(broken.path(), &["--fail-on-alarm"]);
    assert!(!silent && said.contains("ALARM calibration of large/small at 2026-11-03T"), "{said}");
    assert!(said.contains("strong wins more often than said") && said.contains("OFF"), "{said}");
    assert!(!said.contains("ALARM probability"), "{said}");

    let squeezed = log(0.0, 0.6);
    let (told, said) = monitor(squeezed.path(), &[]);
    assert!(told && said.contains("ALARM probability_psi of large/small at 2026-11-04T"), "{said}");
    assert!(said.contains("since 2026-11-03T18:40:00Z"), "{said}");
    assert!(!said.contains("ALARM calibration"), "{said}");
    let (_, said) = monitor(squeezed.path(), &["--strong-call-rate", "0.36"]);
    assert!(said.contains("ALARM strong_call_rate") && said.contains("less often"), "{said}");
}

#[test]
fn what_cannot_be_watched_is_refused() {
    let quiet = log(0.0, 1.0);
    for (more, expected) in [
        (["--windows-per-false-alarm", "0.5"], "expected above 1"),
        (["--labels-per-false-alarm", "1"], "expected above 1"),
        (["--reference", "5"], "--reference: expected at least 10, found 5"),
    ] {
        let (told, said) = monitor(quiet.path(), &more);
        assert!(!told && said.contains(expected), "{said}");
    }
    let (told, said) = monitor(quiet.path(), &["--reference", "5990"]);
    assert!(told && said.contains("0 windows compared"), "{said}");
    let empty = tempfile::tempdir().unwrap();
    append(empty.path(), &Batch::default());
    let (told, said) = monitor(empty.path(), &[]);
    assert!(!told && said.contains("the log holds no decision"), "{said}");
}
