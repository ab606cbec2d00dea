//! Encoders that are moved: only what is to move does, it learns what a frozen one cannot say, a run that was cut
//! short ends with the same bits, a student learns its teacher, and no label that was seen calibrates.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use classifier::{Backend, NetworkConfig};
use corpus::{Example, Split, starter};
use encoder::{Encoder, EncoderFiles, EncoderOptions, EngineKind, Pooling, Precision, encoder_text};
use training::calibrate::HeldOut;
use training::commands::starter_pairs;
use training::deep::embed;
use training::encoder_source::{self, Pins};
use training::fit::{Checkpoints, FitConfig, FitReport, Observer, Outcome, Prepared, Progress, Silent, fit};
use training::pipeline::{FRACTIONS, models_of};
use training::tune::{DistilConfig, FineTuneConfig, Prompts, distil, fine_tune};
use types::Query;

/// The backend's random source belongs to the process: one fit at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/encoder/tests/reference/tiny")
}

/// The small checkpoint of random weights, reading few tokens.
fn encoder(pooling: Pooling) -> Encoder {
    let options = EncoderOptions {
        pooling: Some(pooling),
        head_tokens: Some(22),
        tail_tokens: Some(0),
        ..Default::default()
    };
    let device = Backend::Flex.device().unwrap();
    Encoder::read(
        &encoder_source::read(&tiny(), &Pins::default()).unwrap(),
        &options,
        &EngineKind::Burn(device),
    )
    .unwrap()
}

fn files(encoder: &Encoder) -> EncoderFiles {
    encoder.to_files(Precision::Full).unwrap().unwrap()
}

fn split(examples: &[Example]) -> Split {
    corpus::split_by_group(examples, FRACTIONS, 7)
}

/// Interrupts after a number of steps.
struct Stop<'a>(&'a AtomicBool, usize);

impl Observer for Stop<'_> {
    fn progress(&mut self, progress: &Progress) {
        if progress.step == self.1 {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

fn tuned(
    from: &Encoder,
    examples: &[Example],
    config: &FineTuneConfig,
    checkpoints: Option<&Checkpoints>,
    stop_at: usize,
) -> (Encoder, FitReport) {
    let interrupt = AtomicBool::new(false);
    let pairs = starter_pairs().unwrap();
    let mut stop = Stop(&interrupt, stop_at);
    fine_tune(from, examples, &pairs, &split(examples), config, checkpoints, &interrupt, &mut stop).unwrap()
}

/// Texts whose first and last letter together, and neither alone, say whether strong wins.
fn exclusive_or(rows: usize) -> Vec<Example> {
    let pair = &starter_pairs().unwrap()[0];
    let mut examples = starter::generate(rows, 3);
    let letters: Vec<char> = ('e'..='z').collect();
    for (i, example) in examples.iter_mut().enumerate() {
        let (first, last) = (i % 2 == 0, i / 2 % 2 == 0);
        let (k, l) = (letters[i / 4 % 22], letters[i / 88 % 22]);
        let (p, q) = (if first { 'a' } else { 'b' }, if last { 'c' } else { 'd' });
        example.query = Query::text(format!("{p} {k} {l} {q}"));
        example.evidence.preferences.clear();
        example.evidence.outcomes.insert(pair.strong().clone(), 1.0);
        example.evidence.outcomes.insert(pair.weak().clone(), f64::from(u8::from(first == last)));
        example.group = None;
    }
    examples
}

/// AUROC on the test rows of a ridge regression on the encoder's vectors.
fn ranks(encoder: &Encoder, examples: &[Example]) -> f64 {
    let (pairs, split) = (starter_pairs().unwrap(), split(examples));
    let network = NetworkConfig { embedding: encoder.width(), ..NetworkConfig::default() };
    let mut data = Prepared::new(examples, &models_of(&pairs), &pairs, &network.features, 0.5);
    data.embeddings = Some(embed(encoder, examples).unwrap());
    let config = FitConfig { epochs: 0, most_ngrams: 0, ridge_embedded: 10.0, ..FitConfig::default() };
    let device = Backend::Flex.device().unwrap();
    let go = AtomicBool::new(false);
    let (classifier, _) =
        fit(&data, &split.fit, &split.dev, &network, &config, &device, None, &go, &mut Silent).unwrap();
    let mut held_out = HeldOut::default();
    held_out.score(&classifier, data.embeddings.as_deref(), examples, &split.test, &pairs[0]);
    let scores: Vec<f64> = held_out.scores.iter().map(|s| s.logit()).collect();
    evaluation::auroc(&scores, &held_out.labels).unwrap()
}

#[test]
fn tuned_layers_learn_what_a_frozen_encoder_cannot_say() {
    let _alone = alone();
    let (frozen, examples) = (encoder(Pooling::Mean), exclusive_or(1_600));
    let config = FineTuneConfig {
        layers: 2,
        epochs: 12,
        learning_rate: 5e-3,
        head_learning_rate: 1e-2,
        patience: 12,
        head: FitConfig { ridge_embedded: 10.0, ..FineTuneConfig::default().head },
        ..FineTuneConfig::default()
    };
    let (tuned, report) = tuned(&frozen, &examples, &config, None, usize::MAX);
    let (before, after) = (ranks(&frozen, &examples), ranks(&tuned, &examples));
    println!("AUROC {before} frozen, {after} tuned; {report:?}");
    assert!(report.best_dev_loss < 0.5 * report.first_dev_loss, "{report:?}");
    assert!(before < 0.75 && after > 0.95, "AUROC {before} frozen, {after} tuned");
}

#[test]
fn only_what_is_to_move_moves_and_a_resumed_run_ends_with_the_same_bits() {
    let _alone = alone();
    let (frozen, examples) = (encoder(Pooling::Attention), starter::generate(1_200, 1));
    let config = FineTuneConfig { epochs: 3, learning_rate: 1e-4, patience: 3, ..FineTuneConfig::default() };
    let (whole, report) = tuned(&frozen, &examples, &config, None, usize::MAX);
    assert_eq!(report.outcome, Outcome::Finished);
    assert!(report.best_epoch > 1, "the run must have something to resume for: {report:?}");
    assert!(report.best_dev_loss < report.first_dev_loss, "{report:?}");
    let ((before, _), (after, _)) = (frozen.bert().unwrap(), whole.bert().unwrap());
    let same =
        |a: &burn::nn::Linear, b: &burn::nn::Linear| a.weight.val().into_data() == b.weight.val().into_data();
    assert_eq!(before.words.weight.val().into_data(), after.words.weight.val().into_data());
    assert_eq!(before.norm.gamma.val().into_data(), after.norm.gamma.val().into_data());
    assert!(same(&before.layers[0].narrow, &after.layers[0].narrow), "a frozen layer moved");
    assert!(
        !same(&before.layers[1].query, &after.layers[1].query),
        "attention of the tuned layer did not move"
    );
    assert!(!same(&before.layers[1].narrow, &after.layers[1].narrow), "the tuned layer did not move");
    let query = after.pooling_query.as_ref().unwrap().val().into_data();
    assert!(query.iter::<f32>().any(|v| v != 0.0), "the pooling did not move");

    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(&folder.path().join("run"));
    // About 25 steps an epoch: the second epoch is cut in half.
    let (early, cut) = tuned(&frozen, &examples, &config, Some(&checkpoints), 38);
    assert_eq!((cut.outcome, cut.best_epoch), (Outcome::Interrupted, 1), "the best so far is kept");
    assert!(cut.best_dev_loss < cut.first_dev_loss);
    assert!(files(&early) != files(&frozen) && files(&early) != files(&whole));
    let (resumed, again) = tuned(&frozen, &examples, &config, Some(&checkpoints), usize::MAX);
    assert_eq!(again, report);
    assert!(files(&resumed) == files(&whole), "resumed otherwise");
    assert!(!folder.path().join("run").exists(), "a finished run leaves no checkpoint");
}

/// The share of the variance of `targets` that a linear map of `inputs` explains on the rows from `n` on, fitted by
/// least squares with a weak penalty on those before.
fn explained(inputs: &[Vec<f32>], targets: &[Vec<f32>], n: usize) -> f64 {
    let with_one = |v: &Vec<f32>| v.iter().map(|v| f64::from(*v)).chain([1.0]).collect();
    let rows: Vec<Vec<f64>> = inputs.iter().map(with_one).collect();
    let (mut left, mut total) = (0.0, 0.0);
    for column in 0..targets[0].len() {
        let y: Vec<f64> = targets.iter().map(|target| f64::from(target[column])).collect();
        let mean = y[..n].iter().sum::<f64>() / n as f64;
        // Coordinate descent: few columns, and no solver is needed here.
        let mut weights = vec![0.0; rows[0].len()];
        let mut residual = y[..n].to_vec();
        for _ in 0..200 {
            for (j, weight) in weights.iter_mut().enumerate() {
                let (mut along, mut square) = (-1e-3 * *weight, 1e-3);
                for (row, r) in rows[..n].iter().zip(&residual) {
                    along += row[j] * r;
                    square += row[j] * row[j];
                }
                let step = along / square;
                *weight += step;
                rows[..n].iter().zip(&mut residual).for_each(|(row, r)| *r -= step * row[j]);
            }
        }
        for (row, y) in rows.iter().zip(&y).skip(n) {
            let predicted: f64 = row.iter().zip(&weights).map(|(x, w)| x * w).sum();
            left += (y - predicted).powi(2);
            total += (y - mean).powi(2);
        }
    }
    1.0 - left / total
}

#[test]
fn a_student_gives_what_its_teacher_gives() {
    let _alone = alone();
    let teacher = encoder(Pooling::Mean);
    let texts: Vec<String> = starter::generate(1_100, 1).iter().map(|e| encoder_text(&e.query)).collect();
    let (seen, held) = texts.split_at(800);
    let prompts = Prompts { fit: &seen[..700], dev: &seen[700..] };
    let student = |epochs| {
        let config = DistilConfig {
            width: 12,
            heads: 3,
            epochs,
            batch_rows: 16,
            learning_rate: 1e-2,
            patience: 20,
            ..DistilConfig::default()
        };
        let go = AtomicBool::new(false);
        distil(&teacher, prompts, &config, None, &go, &mut Silent).unwrap()
    };
    let (untrained, _, _) = student(0);
    let (trained, report, on_dev) = student(15);
    assert!(report.best_dev_loss < 0.75 * report.first_dev_loss, "{report:?}");
    // What is written is read like any other checkpoint.
    let device = Backend::Flex.device().unwrap();
    let read =
        Encoder::read(&files(&trained), &EncoderOptions::default(), &EngineKind::Burn(device)).unwrap();
    assert_eq!((read.width(), read.config().shape.layers), (12, 2));
    let of = |encoder: &Encoder| {
        let vectors = |texts: &[String]| encoder.embed_texts(texts).unwrap();
        [vectors(&seen[..700]), vectors(held)].concat()
    };
    let targets = of(&teacher);
    let (before, after) = (explained(&of(&untrained), &targets, 700), explained(&of(&read), &targets, 700));
    println!("explained: {before} untrained, {after} trained; {on_dev} on the dev texts by its own map");
    assert!(after > 0.5 && 1.0 - after < 0.8 * (1.0 - before), "{before} untrained, {after} trained");
}

fn training(args: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_training")).args(args).current_dir(folder).output().unwrap()
}

#[test]
fn labels_that_an_encoder_has_seen_do_not_calibrate() {
    let folder = tempfile::tempdir().unwrap();
    let rows = ["--starter-rows", "2500"];
    let said = |args: &[&str]| {
        let output = training(args, folder.path());
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned() + &errors)
    };
    let tiny = tiny();
    let tune = ["fine-tune", "--encoder", tiny.to_str().unwrap(), "--epochs", "1", "--out", "tuned"];
    let (done, text) = said(&[&tune[..], &rows].concat());
    assert!(done && text.contains("epoch 1: dev loss"), "{text}");
    let config = std::fs::read_to_string(folder.path().join("tuned/config.json")).unwrap();
    assert!(config.contains("tuned_on"), "{config}");

    let fit = [&["fit", "--encoder", "tuned", "--epochs", "0", "--out", "model"], &rows[..]].concat();
    let refused = |more: &[&str], because: &str| {
        let (done, text) = said(&[&fit[..], more].concat());
        assert!(!done && text.contains(because), "{more:?}: {text}");
    };
    refused(&["--seed", "8"], "tuned on the labels of other rows");
    refused(&["--starter-seed", "2"], "tuned on the labels of other rows");
    refused(&["--cross-fit", "5"], "no cross-fitted score");
    let (done, text) =
        said(&[&["cross-validate", "--encoder", "tuned", "--epochs", "0"], &rows[..]].concat());
    assert!(!done && text.contains("rows of every fold"), "{text}");
    let (done, text) =
        said(&[&["fine-tune", "--encoder", "tuned", "--seed", "8", "--out", "x"], &rows[..]].concat());
    assert!(!done && text.contains("tuned on other rows before"), "{text}");

    // 375 rows to calibrate on would be scarce otherwise: with a frozen encoder they are cross-fitted.
    let (done, text) = said(&fit);
    assert!(done && !text.contains("cross-fitting"), "{text}");

    // Two artifacts are compared on rows that neither has seen.
    let plain = |seed: &str| {
        let fit = ["fit", "--epochs", "0", "--cross-fit", "off", "--out", "plain", "--seed", seed];
        let (done, text) = said(&[&fit[..], &rows].concat());
        assert!(done, "{text}");
        said(&[&["evaluate", "-a", "model", "--against", "plain"], &rows[..]].concat())
    };
    let (done, text) = plain("7");
    assert!(done && text.contains("deep tier alone: APGR") && text.contains("difference"), "{text}");
    let (done, text) = plain("8");
    assert!(!done && text.contains("trained on rows that would be measured"), "{text}");

    let elsewhere = ["--encoder-tuned-elsewhere", "--starter-seed", "2"];
    let (done, text) = said(&[&fit[..], &elsewhere].concat());
    assert!(done && text.contains("cross-fitting"), "{text}");
}
