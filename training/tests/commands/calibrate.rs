//! `training calibrate` as users run it: a swapped backend is calibrated anew on a few dozen outcomes, a new model
//! joins the ladder, thresholds of the old calibrator are served no more, and the other pairs keep their bits.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::run::{refusal, text, training};
use artifact::Artifact;
use classifier::Backend;
use corpus::{Example, starter};
use evaluation::{auroc, mean_absolute_error};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use router::{Router, RouterError, RouterOptions};
use types::{BackendIdentity, ModelName, ModelPair};

fn model(name: &str) -> ModelName {
    ModelName::new(name).unwrap()
}

fn fitted(folder: &Path) -> PathBuf {
    let at = folder.join("a");
    let small = ["--epochs", "8", "--cross-fit", "off", "--starter-rows", "6000"];
    text(&training(&[&["fit", "--out", at.to_str().unwrap()], &small[..]].concat()));
    at
}

/// Fresh rows of the starter corpus, changed and written as JSONL.
fn rows(folder: &Path, name: &str, count: usize, seed: u64, change: impl FnMut(&mut Example)) -> PathBuf {
    let mut examples = starter::generate(count, seed);
    examples.iter_mut().for_each(change);
    let file = folder.join(name);
    corpus::write_jsonl(&examples, &mut File::create(&file).unwrap()).unwrap();
    file
}

/// Probabilities of a pair on fresh rows, with the truth `truth` of each.
fn probabilities(at: &Path, pair: &ModelPair, examples: &[Example]) -> Vec<f64> {
    let artifact = Artifact::load(at, Backend::Flex).unwrap();
    let calibrator = artifact.calibrators().iter().find(|c| c.pair == *pair).unwrap();
    let mut scratch = artifact.classifier().scratch();
    let mut of = |e: &Example| {
        artifact.classifier().read(&e.query, &mut scratch);
        artifact.calibrated(&scratch, calibrator, []).unwrap().win_probability.get()
    };
    examples.iter().map(&mut of).collect()
}

#[test]
fn a_quantised_backend_is_calibrated_anew_on_a_few_dozen_outcomes() {
    let folder = tempfile::tempdir().unwrap();
    let at = fitted(folder.path());
    let a = at.to_str().unwrap();
    let (weak, strong) = (model("starter-small"), model("starter-large"));
    // Behind its new backend the small model fails four in ten of what it used to get right.
    let quantised = |seed| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        move |e: &mut Example| {
            let outcomes = &mut e.evidence.outcomes;
            let kept = if rng.random_bool(0.4) { 0.0 } else { outcomes[&model("starter-small")] };
            outcomes.insert(model("starter-small"), kept);
            outcomes.remove(&model("starter-medium"));
        }
    };
    let few = rows(folder.path(), "few.jsonl", 80, 31, quantised(1));
    let floor = ["threshold", "-a", a, "--starter-rows", "2000", "--starter-seed", "9", "--name", "floor"];
    text(&training(&[&floor[..], &["--quality-floor", "0.9"]].concat()));
    let others = ModelPair::new(strong.clone(), model("starter-medium")).unwrap();
    let fresh = starter::generate(2_000, 99);
    let before = probabilities(&at, &others, &fresh);
    let manifest = std::fs::read(at.join("manifest.json")).unwrap();

    let calibrate =
        ["calibrate", "-a", a, "-d", few.to_str().unwrap(), "--served-by", "starter-small=vllm/0.12/int4"];
    let said = text(&training(&[&calibrate[..], &["--dry-run"]].concat()));
    assert!(said.contains("nothing was written") && said.contains("was off"), "{said}");
    assert_eq!(std::fs::read(at.join("manifest.json")).unwrap(), manifest);
    let said = text(&training(&calibrate));
    assert!(said.contains("starter-large/starter-medium: no row has outcomes of both"), "{said}");
    assert!(
        said.contains("operating point floor") && said.contains("training threshold --name floor"),
        "{said}"
    );

    // The mean probability is now what happens behind the new backend; the other pair kept its bits.
    let pair = ModelPair::new(strong.clone(), weak.clone()).unwrap();
    let mut served = fresh.clone();
    served.iter_mut().for_each(quantised(2));
    let won = |e: &Example| e.evidence.outcomes[&strong] > e.evidence.outcomes[&weak];
    let rate = served.iter().filter(|e| won(e)).count() as f64 / served.len() as f64;
    let after = probabilities(&at, &pair, &served);
    let mean = after.iter().sum::<f64>() / after.len() as f64;
    // Eighty rows know a rate to within two standard errors of 0.055.
    assert!((mean - rate).abs() < 0.12, "{mean} {rate}");
    assert_eq!(probabilities(&at, &others, &fresh), before);

    // The threshold of the old calibrator is served no more until it is selected again.
    let refused = Router::load(&at, &RouterOptions::default()).unwrap_err();
    assert!(
        matches!(&refused, RouterError::StaleOperatingPoint { name, .. } if name == "floor"),
        "{refused}"
    );
    let more = rows(folder.path(), "more.jsonl", 500, 41, quantised(3));
    let again =
        ["threshold", "-a", a, "-d", more.to_str().unwrap(), "--name", "floor", "--quality-floor", "0.9"];
    text(&training(&again));
    let mut options = RouterOptions::default();
    options.backends.insert(weak.clone(), BackendIdentity::parse("vllm/0.12/int4").unwrap());
    assert!(Router::load(&at, &options).is_ok());
    options.backends.insert(weak, BackendIdentity::parse("vllm/0.12/bf16").unwrap());
    assert!(matches!(Router::load(&at, &options), Err(RouterError::ForeignBackend { .. })));
    let card = std::fs::read_to_string(at.join("MODEL_CARD.md")).unwrap();
    assert!(
        card.contains("Not measured since it was calibrated") && card.contains("vllm/0.12/int4"),
        "{card}"
    );
}

#[test]
fn a_model_joins_the_ladder_without_retraining() {
    let folder = tempfile::tempdir().unwrap();
    let at = fitted(folder.path());
    let a = at.to_str().unwrap();
    let old = ModelPair::new(model("starter-large"), model("starter-small")).unwrap();
    let fresh = starter::generate(3_000, 98);
    let before = probabilities(&at, &old, &fresh);
    // A new model that answers as the large one does, under a name the artifact does not know.
    let under_new_name = |e: &mut Example| {
        let score = e.evidence.outcomes[&model("starter-large")];
        e.evidence.outcomes.insert(model("newcomer"), score);
        e.evidence.outcomes.remove(&model("starter-large"));
    };
    let few = rows(folder.path(), "few.jsonl", 90, 32, under_new_name);
    let join = ["calibrate", "-a", a, "--strong", "newcomer", "--weak", "starter-small", "-d"];
    let said = text(&training(&[&join[..], &[few.to_str().unwrap()]].concat()));
    assert!(said.contains("newcomer joins: its abilities are fitted to 90 rows"), "{said}");

    // What is said of the others keeps its bits and its thresholds: the artifact is served as it is.
    assert_eq!(probabilities(&at, &old, &fresh), before);
    let router = Router::load(&at, &RouterOptions::default()).unwrap();
    assert!(router.info().models.contains(&model("newcomer")));
    let pair = ModelPair::new(model("newcomer"), model("starter-small")).unwrap();
    assert!(router.info().operating_points.iter().any(|p| p.name == "default" && p.pair == pair));

    // The newcomer is as good as the large model, so its truth is known: near it on average, and ranked.
    let found = probabilities(&at, &pair, &fresh);
    let truth: Vec<f64> = fresh.iter().map(|e| e.true_win_probability.unwrap()).collect();
    let error = mean_absolute_error(&found, &truth).unwrap();
    let known = mean_absolute_error(&before, &truth).unwrap();
    assert!(error < known + 0.06, "{error}, for the pair that was trained {known}");
    let labels: Vec<bool> = fresh
        .iter()
        .map(|e| e.evidence.outcomes[&model("starter-large")] > e.evidence.outcomes[&model("starter-small")])
        .collect();
    let (found, known) = (auroc(&found, &labels).unwrap(), auroc(&before, &labels).unwrap());
    assert!(found > known - 0.1 && found > 0.6, "{found}, for the pair that was trained {known}");
}

#[test]
fn too_few_rows_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let at = fitted(folder.path());
    let a = at.to_str().unwrap();
    let few = rows(folder.path(), "few.jsonl", 20, 33, |_| {});
    let refused = refusal(&training(&["calibrate", "-a", a, "-d", few.to_str().unwrap()]));
    assert!(
        refused.contains("at least 30 are needed") && refused.contains("starter-large/starter-small"),
        "{refused}"
    );
    let strangers =
        ["calibrate", "-a", a, "-d", few.to_str().unwrap(), "--strong", "gone", "--weak", "starter-small"];
    let refused = refusal(&training(&strangers));
    assert!(refused.contains("gone is new to this artifact and appears in 0 rows"), "{refused}");
    // The rows of the fit: only those the classifier was not fitted on are taken.
    let own = ["calibrate", "-a", a, "--starter-rows", "6000"];
    let said = text(&training(&own));
    assert!(said.contains("calibrate rows are used"), "{said}");
}
