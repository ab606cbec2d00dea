//! What can happen to a verifier's folder on disk: each damage is a typed error that names the file, and thresholds of
//! another verifier are refused.
#![allow(clippy::unwrap_used, missing_docs, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use artifact::{
    AnswerCalibrator, ArtifactError, CascadeRecord, StageRecord, VERIFIER_FORMAT_VERSION, VerifierArtifact,
    VerifierData, VerifierDraft, VerifierManifest, VerifierMetrics,
};
use calibration::{Bounds, Calibrator, Knot, Map, PlattScaling, VennAbers};
use classifier::{
    AnswerGiven, NgramTable, Standard, UsualLengths, VERIFIER_DENSE_LEN, Verifier, WideWeights,
};
use features::FeatureConfig;
use features::answer::Signals;
use types::{ModelName, Query};

const FILES: [&str; 5] =
    ["verifier.safetensors", "calibrator.json", "probes.json", "MODEL_CARD.md", "manifest.json"];

fn model(name: &str) -> ModelName {
    ModelName::new(name).unwrap()
}

/// A verifier that likes long answers.
fn verifier() -> Verifier {
    let wide = |weight| WideWeights {
        ngrams: NgramTable::new(vec![3, 8], vec![1.0, 2.0]).unwrap(),
        weights: vec![weight, -weight],
    };
    let mut shared = vec![0.0; VERIFIER_DENSE_LEN + 1];
    shared[VERIFIER_DENSE_LEN - 1] = 1.0;
    Verifier {
        features: FeatureConfig::default(),
        models: vec![model("small"), model("large")],
        lengths: UsualLengths { tasks: vec!["task:gsm".into()], mean: vec![4.5; 6], deviation: vec![1.0; 6] },
        standard: Standard { mean: vec![0.0; VERIFIER_DENSE_LEN], scale: vec![1.0; VERIFIER_DENSE_LEN] },
        query: wide(0.5),
        answer: wide(0.25),
        shared,
        by_model: vec![0.0; 2 * (VERIFIER_DENSE_LEN + 1)],
    }
}

fn calibrator(intercept: f64) -> AnswerCalibrator {
    let bounds = |lower, upper| Bounds { lower, upper };
    let knot = Knot { score: 0.5, at: bounds(0.25, 0.5), above: bounds(0.5, 0.75) };
    let venn_abers = VennAbers::new(bounds(0.125, 0.25), vec![knot]).unwrap();
    let map = Map::Platt(PlattScaling::new(1.0, intercept).unwrap());
    let calibrator = Calibrator::new(map, venn_abers);
    AnswerCalibrator { calibrator, log_losses: BTreeMap::new(), rows: 40, positives: 21 }
}

fn stage(name: &str, abstain_below: f64, accept_above: f64) -> StageRecord {
    StageRecord {
        model: name.into(),
        abstain_below,
        accept_above,
        skip_below: 0.0,
        cost_usd: 0.25,
        latency_s: None,
        reach: 1.0,
        escalation_rate: 0.5,
    }
}

fn cascade(bound_to: &str) -> CascadeRecord {
    CascadeRecord {
        stages: vec![stage("small", 0.125, 0.75), stage("large", 0.25, 0.25)],
        objective: "a test".into(),
        data: "none".into(),
        rows: 40,
        created: "2026-01-01T00:00:00Z".into(),
        command: String::new(),
        measured: BTreeMap::new(),
        certificate: None,
        bound_to: bound_to.into(),
    }
}

fn draft(verifier: &Verifier, cascade: Option<CascadeRecord>) -> VerifierDraft<'_> {
    let data = VerifierData {
        fingerprint: "none".into(),
        sources: vec!["a test".into()],
        queries: 20,
        answers: 40,
        folds: 2,
    };
    VerifierDraft {
        name: "test".into(),
        created: "2026-01-01T00:00:00Z".into(),
        verifier,
        pooled: calibrator(0.0),
        by_model: [(model("small"), calibrator(0.5))].into(),
        signals: vec!["finish_reason".into()],
        router: None,
        training: serde_json::Value::Null,
        data,
        metrics: VerifierMetrics::default(),
        cascades: cascade.into_iter().map(|cascade| ("default".to_owned(), cascade)).collect(),
    }
}

fn write(folder: &Path, bound_to: &str) -> VerifierManifest {
    let verifier = verifier();
    let card = |_: &VerifierManifest| vec![("MODEL_CARD.md".to_owned(), b"# test\n".to_vec())];
    draft(&verifier, Some(cascade(bound_to))).write(folder, card).unwrap()
}

fn judged(artifact: &VerifierArtifact, name: &str, text: &str) -> (f64, bool) {
    let (query, signals) = (Query::text("What is 17 * 23?"), Signals::default());
    let model = model(name);
    let given = AnswerGiven { query: &query, model: &model, text, signals: &signals, slices: &[] };
    let judged = artifact.judge(&given, &mut artifact.verifier().scratch()).unwrap();
    let (lower, upper) = (judged.interval.lower().get(), judged.interval.upper().get());
    assert!(lower <= judged.probability.get() && judged.probability.get() <= upper);
    (judged.probability.get(), judged.of_its_model)
}

#[test]
fn what_is_written_is_loaded_and_judges_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a");
    let manifest = write(&at, "");
    let loaded = VerifierArtifact::load(&at).unwrap();
    assert_eq!(loaded.manifest(), &manifest);
    assert_eq!(manifest.cascades["default"].bound_to, manifest.version, "filled in when it is written");
    assert_eq!(manifest.cascades["default"], cascade(&manifest.version));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no staging folder is left behind");
    let again = folder.path().join("again");
    let rewritten = loaded.draft().write(&again, |_| vec![]).unwrap();
    assert_eq!((&rewritten.version, &rewritten.cascades), (&manifest.version, &manifest.cascades));
    let copy = VerifierArtifact::load(&again).unwrap();
    for (name, own) in [("small", true), ("large", false), ("stranger", false)] {
        let (long, of_its_model) = judged(&loaded, name, &"word ".repeat(200));
        assert_eq!(of_its_model, own, "{name}");
        assert!(long > judged(&loaded, name, "no").0, "{name}");
        assert_eq!(judged(&copy, name, "no").0.to_bits(), judged(&loaded, name, "no").0.to_bits());
    }
}

#[test]
fn every_byte_of_every_file_counts() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a");
    write(&at, "");
    for name in FILES {
        let file = at.join(name);
        let whole = fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        for byte in 0..whole.len() {
            damaged[byte] ^= 1;
            fs::write(&file, &damaged).unwrap();
            let refused = VerifierArtifact::load(&at);
            assert!(refused.is_err(), "byte {byte} of {name}");
            damaged[byte] ^= 1;
        }
        fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        let error = VerifierArtifact::load(&at).unwrap_err();
        assert!(error.to_string().contains(name), "cut short: {error}");
        fs::remove_file(&file).unwrap();
        assert!(VerifierArtifact::load(&at).is_err(), "missing {name}");
        fs::write(&file, &whole).unwrap();
    }
    assert!(VerifierArtifact::load(&at).is_ok(), "whole again");
}

#[test]
fn a_cascade_of_another_verifier_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a");
    let manifest = write(&at, "0123456789ab");
    let error = VerifierArtifact::load(&at).unwrap_err();
    assert!(matches!(error, ArtifactError::Invalid { field: "cascades", .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("0123456789ab") && text.contains(&manifest.version), "{text}");
    assert!(text.contains("training cascade tune"), "{text}");
    let verifier = verifier();
    let empty = CascadeRecord { stages: vec![], ..cascade("") };
    draft(&verifier, Some(empty)).write(&at, |_| vec![]).unwrap();
    let text = VerifierArtifact::load(&at).unwrap_err().to_string();
    assert!(text.contains("default has no stage"), "{text}");
}

#[test]
fn other_formats_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a");
    let refused = |version: u32| {
        write(&at, "");
        let file = at.join("manifest.json");
        let known = format!("\"verifier_format_version\": {VERIFIER_FORMAT_VERSION}");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(&known));
        let other = format!("\"verifier_format_version\": {version},\n  \"unheard_of\": 3");
        fs::write(&file, text.replace(&known, &other)).unwrap();
        VerifierArtifact::load(&at).unwrap_err()
    };
    let (newer, older) = (VERIFIER_FORMAT_VERSION + 1, VERIFIER_FORMAT_VERSION - 1);
    let error = refused(newer);
    assert!(matches!(error, ArtifactError::NewerFormat { found, .. } if found == newer), "{error}");
    let error = refused(older);
    assert!(matches!(error, ArtifactError::OlderFormat { found, .. } if found == older), "{error}");
    assert!(matches!(VerifierArtifact::load(folder.path()), Err(ArtifactError::NotAVerifier(_))));
    fs::write(folder.path().join("manifest.json"), "{\"format_version\": 4}").unwrap();
    assert!(matches!(VerifierArtifact::load(folder.path()), Err(ArtifactError::NotAVerifier(_))));
}

/// The whole verifier that the fuzz targets `verifier` and `weights` tamper with, and their seeds of it.
#[test]
#[ignore = "writes into fuzz/"]
fn fixtures_of_fuzzing_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("verifier");
    let verifier = verifier();
    draft(&verifier, Some(cascade(""))).write(&at, |_| Vec::new()).unwrap();
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    for (target, name, seed) in [
        ("verifier", "manifest.json", "m"),
        ("verifier", "manifest.json", "M"),
        ("verifier", "verifier.safetensors", "w"),
        ("verifier", "calibrator.json", "c"),
        ("verifier", "probes.json", "p"),
        ("weights", "verifier.safetensors", "v"),
    ] {
        let bytes = fs::read(at.join(name)).unwrap();
        let (fixtures, seeds) = (fuzz.join("fixtures/verifier"), fuzz.join("seeds").join(target));
        fs::create_dir_all(&fixtures).unwrap();
        fs::create_dir_all(&seeds).unwrap();
        fs::write(fixtures.join(name), &bytes).unwrap();
        fs::write(seeds.join(format!("{seed}-{name}")), [seed.as_bytes(), &bytes].concat()).unwrap();
    }
}
