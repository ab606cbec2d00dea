//! `training threshold` as users run it: every objective writes what it says, a dry run writes
//! nothing, and a threshold behind whose back the calibrator changed is refused.

use std::path::Path;
use std::process::{Command, Output};

use artifact::{Artifact, OperatingPoint};
use classifier::Backend;
use router::{Router, RouterError, RouterOptions};

fn training(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_training")).args(args).output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn fit(folder: &Path, rows: &str) {
    let out = folder.to_str().unwrap();
    let small =
        ["--epochs", "2", "--latent", "4", "--token-dim", "8", "--hidden", "16", "--cross-fit", "off"];
    text(&training(&[&["fit", "--starter-rows", rows, "--out", out], &small[..]].concat()));
}

/// The default pair's point of a name.
fn point(folder: &Path, name: &str) -> OperatingPoint {
    let artifact = Artifact::load(folder, Backend::Flex).unwrap();
    artifact.manifest().operating_points[name][&artifact.default_pair().to_string()].clone()
}

#[test]
fn every_objective_becomes_an_operating_point() {
    let folder = tempfile::tempdir().unwrap();
    let artifact = folder.path().join("a");
    fit(&artifact, "4000");
    let at = artifact.to_str().unwrap();
    // Rows of another seed: none of them was trained on.
    let fresh = ["threshold", "-a", at, "--starter-rows", "3000", "--starter-seed", "9"];
    let prices = concat!(env!("CARGO_MANIFEST_DIR"), "/../prices.toml");
    let select = |name: &str, objective: &[&str]| {
        let said = text(&training(&[&fresh[..], &["--name", name], objective].concat()));
        (said, point(&artifact, name))
    };

    let (_, rate) = select("rate", &["--strong-call-rate", "0.37"]);
    assert!((rate.measured["strong_call_rate"].value - 0.37).abs() < 1e-9);
    let (_, floor) = select("floor", &["--quality-floor", "0.95", "--prices", prices]);
    assert!((floor.measured["quality_retained"].value - 0.95).abs() < 1e-9);
    assert!(floor.measured["cost_fraction"].value < 1.0);
    let (said, budget) = select("budget", &["--error-budget", "0.05"]);
    assert!(budget.measured["strong_call_rate"].value < 1.0 && budget.certificate.is_none());
    accuracy_curve(&artifact, &said, &budget);
    let (_, cost) = select("cost", &["--cost-budget", "0.003", "--prices", prices]);
    let strong_usd = (600.0 * 3.0 + 300.0 * 15.0) / 1e6;
    assert!(cost.measured["cost_fraction"].value * strong_usd <= 0.003 + 1e-12);
    let (_, value) = select("value", &["--value-per-correct-usd", "0", "--prices", prices]);
    assert_eq!(value.measured["strong_call_rate"].value, 0.0);
    let (said, proof) = select("proof", &["--max-cheap-and-wrong", "0.1", "--confidence", "0.9"]);
    let certificate = proof.certificate.clone().unwrap();
    assert!(certificate.upper_bound <= 0.1 && certificate.p_value <= 0.1 && certificate.tested == proof.rows);
    assert!(said.contains("with confidence 0.900"), "{said}");
    let (said, none) = select("none", &["--max-cheap-and-wrong", "0.0005"]);
    assert!(none.labels_needed.unwrap() > 10_000 && none.measured["strong_call_rate"].value == 1.0);
    assert!(said.contains("more labels"), "{said}");

    // The same data as the fit: only its test split is used.
    let said =
        text(&training(&["threshold", "-a", at, "--starter-rows", "4000", "--strong-call-rate", "0.5"]));
    assert!(said.contains("took no part"), "{said}");
    assert_eq!(point(&artifact, "default").split, "test");

    let before = std::fs::read(artifact.join("manifest.json")).unwrap();
    let said = text(&training(&[&fresh[..], &["--strong-call-rate", "0.2", "--dry-run"]].concat()));
    assert!(said.contains("→") && said.contains("nothing was written"), "{said}");
    assert_eq!(std::fs::read(artifact.join("manifest.json")).unwrap(), before);
    let unpriced = training(&[&fresh[..], &["--cost-budget", "0.003"]].concat());
    assert!(!unpriced.status.success());
    assert!(String::from_utf8_lossy(&unpriced.stderr).contains("give the prices"));
    let two = training(&[&fresh[..], &["--cost-budget", "1", "--strong-call-rate", "0.2"]].concat());
    assert_eq!(two.status.code(), Some(2), "one objective at a time");
}

/// The curve an error budget was read off: printed, drawn, and crossing the budget where the threshold is.
fn accuracy_curve(artifact: &Path, said: &str, budget: &OperatingPoint) {
    let curve = &budget.accuracy_curve;
    assert_eq!(curve.iter().map(|b| b.rows).sum::<usize>(), budget.rows);
    let strong = curve.iter().map(|b| b.strong * b.rows as f64).sum::<f64>() / budget.rows as f64;
    for bucket in curve {
        let within = bucket.routed.value >= strong - 0.05 - 1e-9;
        // Whole buckets below the threshold stay within the budget.
        assert!(bucket.probability.1 >= budget.high || within, "{bucket:?}");
        assert!(bucket.weak.lower <= bucket.weak.value && bucket.weak.value <= bucket.weak.upper);
    }
    let last = curve.last().unwrap();
    assert!(last.routed.value < strong - 0.05, "with everything on weak the budget is spent");
    assert_eq!(said.matches('◄').count(), 1, "{said}");
    let card = std::fs::read_to_string(artifact.join("MODEL_CARD.md")).unwrap();
    assert!(card.contains("accuracy-curve-budget-1.svg"));
    let svg = std::fs::read_to_string(artifact.join("accuracy-curve-budget-1.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains(&format!("threshold {:.4}", budget.high)), "{svg}");
}

#[test]
fn a_threshold_of_another_calibrator_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a");
    fit(&at, "2000");
    let options = RouterOptions::default();
    assert!(Router::load(&at, &options).is_ok());
    // The same weights with another calibrator for the default pair, its thresholds carried over.
    let loaded = Artifact::load(&at, Backend::Flex).unwrap();
    let mut draft = loaded.draft();
    let other = draft.calibrators[1].calibrator.clone();
    draft.calibrators[0].calibrator = other;
    draft.write(&at, |_| Vec::new()).unwrap();
    let refused = Router::load(&at, &options).unwrap_err();
    assert!(
        matches!(&refused, RouterError::StaleOperatingPoint { name, .. } if name == "default"),
        "{refused}"
    );
    assert!(refused.to_string().contains("training threshold"));
    // Selecting again on fresh rows mends it.
    let args = ["threshold", "-a", at.to_str().unwrap(), "--starter-seed", "4", "--starter-rows", "500"];
    text(&training(&[&args[..], &["--strong-call-rate", "0.5"]].concat()));
    assert!(Router::load(&at, &options).is_ok());
}
