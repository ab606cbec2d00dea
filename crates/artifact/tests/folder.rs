//! What can happen to a folder on disk: each damage is a typed error that names the file, and a
//! failed write leaves the old artifact whole.
#![allow(clippy::unwrap_used, missing_docs, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use artifact::{
    Artifact, ArtifactError, CalibrationRecord, DataSummary, DeepDraft, DeepPair, DeepTier, Draft,
    EncoderPlace, EncoderPrecision, FORMAT_VERSION, Interval, Manifest, Metrics, OperatingPoint,
    PairCalibrator, Splits, read_encoder,
};
use calibration::{Band, Bounds, Calibrator, Knot, Map, PlattScaling, SliceOffsets, VennAbers};
use classifier::{Abilities, Backend, Classifier, GeneralAxis, NetworkConfig, NgramTable};
use corpus::starter;
use encoder::{EncoderFiles, EncoderOptions};
use features::{FeatureConfig, SURFACE_LEN};
use sha2::{Digest, Sha256};
use types::ModelPair;

fn pair() -> ModelPair {
    let ladder = starter::ladder().unwrap();
    ModelPair::new(ladder.top().clone(), ladder.cheapest().clone()).unwrap()
}

/// Venn-Abers bounds with one step.
fn steps() -> VennAbers {
    let bounds = |lower, upper| Bounds { lower, upper };
    let knot = Knot { score: 0.5, at: bounds(0.2, 0.4), above: bounds(0.3, 0.6) };
    VennAbers::new(bounds(0.1, 0.3), vec![knot]).unwrap()
}

fn write(folder: &Path, slope: f64) -> Result<Manifest, ArtifactError> {
    let features = FeatureConfig { token_bits: 8, ..FeatureConfig::default() };
    let config = NetworkConfig { features, latent: 2, token_dim: 4, hidden: 4, ..NetworkConfig::default() };
    let device = Backend::Flex.device().unwrap();
    let ngrams: [&[u64]; 1] = [&[3, 5, 8]];
    let ngrams = NgramTable::fit(ngrams.into_iter(), 1, 8);
    let ngrams_of_axis = NgramTable::new(vec![2, 7], vec![1.0, 1.5]).unwrap();
    let (network, abilities) = (config.init(ngrams.len(), &device), Abilities::init(2, 2, &device));
    let models = vec![pair().weak().clone(), pair().strong().clone()];
    let classifier = Classifier::new(config, network, abilities, ngrams, models, device);
    let map = Map::Platt(PlattScaling::new(slope, -0.5).unwrap());
    let calibrators = vec![PairCalibrator {
        pair: pair(),
        calibrator: Calibrator::new(map, steps()),
        slices: SliceOffsets::new([("category:law".to_owned(), 0.25)]),
        log_losses: BTreeMap::new(),
        rows: 40,
        positives: 9,
        cross_fit_folds: 0,
        origin: CalibrationRecord::default(),
    }];
    let axis = GeneralAxis {
        ngrams: ngrams_of_axis,
        wide: vec![0.5, -0.5],
        surface_mean: vec![0.0; SURFACE_LEN],
        surface_scale: vec![1.0; SURFACE_LEN],
        surface: vec![0.25; SURFACE_LEN],
    };
    let draft = Draft {
        general: Some(&axis),
        deep: None,
        name: "test".into(),
        created: "2026-01-01T00:00:00Z".into(),
        simulated: true,
        classifier: &classifier,
        calibrators,
        default_pair: pair(),
        operating_points: BTreeMap::new(),
        high_stakes: vec![],
        training: serde_json::Value::Null,
        data: DataSummary {
            fingerprint: String::new(),
            sources: vec![],
            rows: 0,
            splits: Splits { fit: 0, dev: 0, calibrate: 0, test: 0 },
        },
        metrics: Metrics { pairs: vec![], zero_shot: vec![] },
    };
    draft.write(folder, |_| vec![("MODEL_CARD.md".into(), b"# test\n".to_vec())])
}

fn load(folder: &Path) -> Result<Artifact, ArtifactError> {
    Artifact::load(folder, Backend::Flex)
}

fn edit(file: &Path, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(file).unwrap();
    fs::write(file, change(text)).unwrap();
}

#[test]
fn what_is_written_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a");
    let manifest = write(&at, 1.0).unwrap();
    let artifact = load(&at).unwrap();
    assert_eq!(artifact.manifest(), &manifest);
    let axis = artifact.general().unwrap();
    assert_eq!((axis.wide.as_slice(), axis.surface[0]), (&[0.5, -0.5][..], 0.25));
    assert_eq!((artifact.default_pair(), artifact.calibrators()[0].rows), (&pair(), 40));
    let entries = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(entries, 1, "no staging folder is left behind");
}

#[test]
fn every_damage_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a");
    for name in [
        "weights.safetensors",
        "calibrator.json",
        "probes.json",
        "general.safetensors",
        "MODEL_CARD.md",
        "manifest.json",
    ] {
        write(&at, 1.0).unwrap();
        let file = at.join(name);
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        let error = load(&at).unwrap_err();
        assert!(error.to_string().contains(name), "cut short: {error}");
        fs::remove_file(&file).unwrap();
        assert!(load(&at).is_err(), "missing {name}");
    }
    write(&at, 1.0).unwrap();
    edit(&at.join("manifest.json"), |t| t.replace("\"simulated\": true", "\"simulated\": false"));
    assert!(
        matches!(load(&at), Err(ArtifactError::WrongHash { file, .. }) if file.ends_with("manifest.json"))
    );
    write(&at, 1.0).unwrap();
    let (known, newer, older) = (FORMAT_VERSION, FORMAT_VERSION + 1, FORMAT_VERSION - 1);
    let field = |version: u32| format!("\"format_version\": {version}");
    edit(&at.join("manifest.json"), |t| {
        t.replace(&field(known), &format!("{},\n  \"new\": 3", field(newer)))
    });
    let error = load(&at).unwrap_err();
    assert!(
        matches!(error, ArtifactError::NewerFormat { found, known: k, .. } if found == newer && k == known)
    );
    write(&at, 1.0).unwrap();
    edit(&at.join("manifest.json"), |t| t.replace(&field(known), &field(older)));
    let error = load(&at).unwrap_err();
    assert!(matches!(error, ArtifactError::OlderFormat { found, .. } if found == older), "{error}");
    assert!(matches!(load(folder.path()), Err(ArtifactError::NotAnArtifact(_))));
}

#[test]
fn a_failed_write_leaves_the_old_artifact_whole() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a");
    let old = write(&at, 1.0).unwrap();
    // A file where the previous artifact is to be put aside, below a name that cannot be a folder.
    let below_a_file = at.join("manifest.json").join("nested");
    assert!(matches!(write(&below_a_file, 2.0), Err(ArtifactError::Io { .. })));
    assert_eq!(load(&at).unwrap().manifest(), &old);
    let new = write(&at, 2.0).unwrap();
    assert_ne!(new.calibrator_version, old.calibrator_version);
    assert_eq!(load(&at).unwrap().manifest(), &new);
}

/// The weights of a classifier over vectors of the tiny encoder.
fn deep_weights() -> (NetworkConfig, Vec<u8>) {
    let config =
        NetworkConfig { latent: 2, token_dim: 4, hidden: 4, embedding: 16, ..NetworkConfig::default() };
    let device = Backend::Flex.device().unwrap();
    let ngrams = NgramTable::fit(std::iter::once(&[3u64, 5, 8][..]), 1, 8);
    let (network, abilities) = (config.init(ngrams.len(), &device), Abilities::init(2, 2, &device));
    let models = vec![pair().weak().clone(), pair().strong().clone()];
    let classifier = Classifier::new(config.clone(), network, abilities, ngrams, models, device);
    (config, classifier.to_bytes().unwrap())
}

/// A deep tier over the tiny encoder whose band reaches so far up.
fn deep_tier((config, weights): &(NetworkConfig, Vec<u8>), fast: &Artifact, upper: f64) -> DeepTier {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../encoder/tests/reference/tiny");
    let read = |name| fs::read(tiny.join(name)).unwrap();
    let files = EncoderFiles {
        config: read("config.json"),
        tokenizer: read("tokenizer.json"),
        weights: read("model.safetensors"),
    };
    let encoder = read_encoder(&files, &EncoderOptions::default(), Backend::Flex.into()).unwrap();
    let (models, device) = (fast.classifier().models().to_vec(), Backend::Flex.device().unwrap());
    let classifier = Classifier::from_bytes(weights, config, models, &device).unwrap();
    let band = Band::new(-0.5, upper).unwrap();
    let pair = DeepPair { stack: [0.4, 0.6], band, calibrator: fast.calibrators()[0].clone() };
    DeepTier::new(encoder, files, classifier, vec![pair])
}

fn write_deep(fast: &Artifact, tier: Option<&DeepTier>, folder: &Path) -> Artifact {
    let mut draft = fast.draft();
    let choices = BTreeMap::new();
    draft.deep = tier.map(|tier| DeepDraft {
        tier,
        pairs: tier.pairs().to_vec(),
        encoder_source: "a test".into(),
        coverage: 0.9,
        choices,
    });
    let point = OperatingPoint {
        low: 0.4,
        high: 0.4,
        probability_of_low: 1.0,
        objective: "a test".into(),
        data: String::new(),
        split: String::new(),
        rows: 40,
        created: String::new(),
        measured: BTreeMap::new(),
        certificate: None,
        labels_needed: None,
        certified_slices: BTreeMap::new(),
        accuracy_curve: vec![],
        bound_to: String::new(),
    };
    draft.operating_points.insert("default".into(), [(pair().to_string(), point)].into());
    draft.write(folder, |_| vec![]).unwrap();
    load(folder).unwrap()
}

#[test]
fn a_deep_tier_is_loaded_as_written_and_not_with_one_byte_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, at) = (folder.path().join("plain"), folder.path().join("deep"));
    write(&plain, 1.0).unwrap();
    let fast = load(&plain).unwrap();
    assert!(fast.deep().is_none());
    let tier = deep_tier(&deep_weights(), &fast, 0.5);
    let deep = write_deep(&fast, Some(&tier), &at);
    let loaded = deep.deep().unwrap();
    assert_eq!((loaded.pairs(), loaded.files()), (tier.pairs(), tier.files()));
    assert_eq!(loaded.pair(&pair()), Some(&tier.pairs()[0]));
    let again = deep.draft().write(&folder.path().join("again"), |_| vec![]).unwrap();
    assert_eq!(again.version, deep.manifest().version, "loading and writing changes nothing");
    for name in ["encoder.safetensors", "encoder.json", "tokenizer.json", "deep.safetensors"] {
        let file = at.join(name);
        let whole = fs::read(&file).unwrap();
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&file, bytes).unwrap();
        let refused = load(&at).unwrap_err();
        assert!(
            matches!(&refused, ArtifactError::WrongHash { file, .. } if file.ends_with(name)),
            "{refused}"
        );
        fs::write(&file, whole).unwrap();
    }
    assert!(load(&at).is_ok());
    let without = Artifact::load_on(&at, Backend::Flex, None).unwrap();
    assert!(without.deep().is_none() && without.manifest().deep.is_some());
    assert_eq!(without.binding(&pair()), deep.binding(&pair()), "thresholds stay bound to both tiers");
    let half = EncoderPlace { backend: Backend::Flex, precision: EncoderPrecision::Half };
    let refused = read_encoder(tier.files(), &EncoderOptions::default(), half).unwrap_err();
    assert!(refused.to_string().starts_with("flex does not compute in 16-bit floats"), "{refused}");
}

#[test]
fn thresholds_are_bound_to_the_deep_tier_they_were_selected_with() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    write(&plain, 1.0).unwrap();
    let (fast, weights) = (load(&plain).unwrap(), deep_weights());
    let bound = |tier: Option<&DeepTier>, name: &str| {
        let artifact = write_deep(&fast, tier, &folder.path().join(name));
        let point = artifact.manifest().operating_points["default"][&pair().to_string()].bound_to.clone();
        assert_eq!(artifact.binding(&pair()), Some(point.as_str()));
        point
    };
    let narrow = bound(Some(&deep_tier(&weights, &fast, 0.5)), "narrow");
    assert_eq!(narrow, bound(Some(&deep_tier(&weights, &fast, 0.5)), "narrow-again"));
    assert_ne!(narrow, bound(Some(&deep_tier(&weights, &fast, 0.6)), "wider"), "another band");
    assert_ne!(narrow, bound(Some(&deep_tier(&deep_weights(), &fast, 0.5)), "other"), "another network");
    assert_ne!(narrow, bound(None, "alone"), "no deep tier");
}

/// A network that wants a vector where the fast tier has none would fail in the middle of a query.
#[test]
fn a_fast_tier_that_reads_vectors_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a");
    write(&at, 1.0).unwrap();
    edit(&at.join("manifest.json"), |text| {
        let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        manifest["network"]["embedding"] = 3.into();
        let mut manifest: Manifest = serde_json::from_value(manifest).unwrap();
        manifest.sha256.clear();
        let bare = format!("{}\n", serde_json::to_string_pretty(&manifest).unwrap());
        manifest.sha256 = Sha256::digest(bare).iter().map(|byte| format!("{byte:02x}")).collect();
        serde_json::to_string_pretty(&manifest).unwrap()
    });
    let refused = load(&at).unwrap_err().to_string();
    assert!(refused.contains("manifest.json") && refused.contains("network.embedding"), "{refused}");
}

/// The whole artifact that the fuzz targets `artifact` and `weights` tamper with, and their seeds of it.
#[test]
#[ignore = "writes into fuzz/"]
fn fixtures_of_fuzzing_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let (first, at) = (folder.path().join("first"), folder.path().join("artifact"));
    write(&first, 1.0).unwrap();
    let artifact = load(&first).unwrap();
    let mut draft = artifact.draft();
    let strong_call_rate = Interval { value: 0.5, lower: 0.4, upper: 0.6 };
    let point = OperatingPoint {
        low: 0.25,
        high: 0.5,
        probability_of_low: 0.5,
        objective: "strong-call-rate 0.5".into(),
        data: "none".into(),
        split: "calibrate".into(),
        rows: 40,
        created: "2026-01-01T00:00:00Z".into(),
        measured: [("strong_call_rate".to_owned(), strong_call_rate)].into(),
        certificate: None,
        labels_needed: Some(7),
        certified_slices: BTreeMap::new(),
        accuracy_curve: Vec::new(),
        bound_to: String::new(),
    };
    draft.operating_points = [("default".to_owned(), [(pair().to_string(), point)].into())].into();
    draft.high_stakes = vec!["category:law".into()];
    draft.write(&at, |_| Vec::new()).unwrap();
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    for (name, letters) in [
        ("manifest.json", "mM"),
        ("weights.safetensors", "wW"),
        ("calibrator.json", "cC"),
        ("general.safetensors", "g"),
        ("probes.json", "p"),
    ] {
        let bytes = fs::read(at.join(name)).unwrap();
        fs::create_dir_all(fuzz.join("fixtures/artifact")).unwrap();
        fs::write(fuzz.join("fixtures/artifact").join(name), &bytes).unwrap();
        for letter in letters.chars() {
            seed(&fuzz, "artifact", &format!("{letter}-{name}"), letter, &bytes);
        }
        match name {
            "weights.safetensors" => seed(&fuzz, "weights", "classifier", 'c', &bytes),
            "general.safetensors" => seed(&fuzz, "weights", "general-axis", 'g', &bytes),
            _ => {}
        }
    }
}

fn seed(fuzz: &Path, target: &str, name: &str, letter: char, bytes: &[u8]) {
    let folder = fuzz.join("seeds").join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), [&[letter as u8], bytes].concat()).unwrap();
}
