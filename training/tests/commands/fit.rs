//! A fit as users run it: the same seed gives the same bytes, an interrupted one is taken up to the
//! same bytes, and calibrated probabilities are near the truth of the starter corpus.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use classifier::{Backend, Classifier, NetworkConfig};
use corpus::{Example, Fractions, Split, starter};
use training::calibrate::HeldOut;
use training::commands::starter_pairs;
use training::fit::{Checkpoints, FitConfig, Observer, Outcome, Prepared, Progress, Silent, fit};
use training::pipeline::models_of;

/// The backend's random source belongs to the process: one fit at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn network() -> NetworkConfig {
    NetworkConfig { latent: 4, token_dim: 8, hidden: 16, ..NetworkConfig::default() }
}

fn data(rows: usize, network: &NetworkConfig) -> (Vec<Example>, Split, Prepared) {
    let mut examples = starter::generate(rows, 1);
    corpus::group_duplicates(&mut examples);
    let fractions = Fractions { fit: 0.65, dev: 0.05, calibrate: 0.15, test: 0.15 };
    let split = corpus::split_by_group(&examples, fractions, 7);
    let pairs = starter_pairs().unwrap();
    let prepared = Prepared::new(&examples, &models_of(&pairs), &pairs, &network.features, 0.0);
    (examples, split, prepared)
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

fn run(
    prepared: &Prepared,
    split: &Split,
    checkpoints: Option<&Checkpoints>,
    stop_at: usize,
) -> (Classifier, Outcome) {
    let interrupt = AtomicBool::new(false);
    let config = FitConfig { epochs: 3, ..FitConfig::default() };
    let device = Backend::Flex.device().unwrap();
    let mut observer = Stop(&interrupt, stop_at);
    let (classifier, report) = fit(
        prepared,
        &split.fit,
        &split.dev,
        &network(),
        &config,
        &device,
        checkpoints,
        &interrupt,
        &mut observer,
    )
    .unwrap();
    (classifier, report.outcome)
}

#[test]
fn the_same_seed_gives_the_same_bytes_even_when_interrupted_and_resumed() {
    let _one = ONE_AT_A_TIME.lock();
    let (_, split, prepared) = data(1_500, &network());
    let (whole, outcome) = run(&prepared, &split, None, usize::MAX);
    assert_eq!(outcome, Outcome::Finished);
    let bytes = whole.to_bytes().unwrap();
    assert!(run(&prepared, &split, None, usize::MAX).0.to_bytes().unwrap() == bytes, "another run");
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(&folder.path().join("fit"));
    // Four steps an epoch: the second epoch is cut in half.
    let (early, outcome) = run(&prepared, &split, Some(&checkpoints), 6);
    assert_eq!(outcome, Outcome::Interrupted);
    assert!(early.to_bytes().unwrap() != bytes, "cut short");
    let (resumed, outcome) = run(&prepared, &split, Some(&checkpoints), usize::MAX);
    assert_eq!(outcome, Outcome::Finished);
    assert!(resumed.to_bytes().unwrap() == bytes, "resumed otherwise");
    assert!(!folder.path().join("fit").exists(), "a finished fit leaves no checkpoint");
}

#[test]
fn calibrated_probabilities_are_three_hundredths_from_the_truth() {
    let _one = ONE_AT_A_TIME.lock();
    let network = NetworkConfig::default();
    let (examples, split, prepared) = data(20_000, &network);
    let device = Backend::Flex.device().unwrap();
    // Wins alone, as the truth counts them, and the penalty this corpus bears best (docs/experiments.md).
    let config = FitConfig { ridge_wide: 40.0, tie_value: 0.0, ..FitConfig::default() };
    let interrupt = AtomicBool::new(false);
    let (classifier, _) =
        fit(&prepared, &split.fit, &split.dev, &network, &config, &device, None, &interrupt, &mut Silent)
            .unwrap();
    let pair = &starter_pairs().unwrap()[0];
    let mut held_out = HeldOut::default();
    held_out.score(&classifier, None, &examples, &split.calibrate, pair);
    let map = held_out.platt().unwrap().map;
    let base_rate = held_out.labels.iter().filter(|y| **y).count() as f64 / held_out.labels.len() as f64;
    let mut scratch = classifier.scratch();
    let (mut error, mut constant_error, mut bias) = (0.0, 0.0, 0.0);
    for example in split.test.iter().map(|r| &examples[*r]) {
        classifier.read(&example.query, &mut scratch);
        let p = map.apply(classifier.win_score(&scratch, pair).unwrap()).get();
        let truth = example.true_win_probability.unwrap();
        error += (p - truth).abs();
        constant_error += (base_rate - truth).abs();
        bias += p - truth;
    }
    let n = split.test.len() as f64;
    println!("mean absolute error {}, of the base rate {}", error / n, constant_error / n);
    assert!(error / n <= 0.03, "{}, the base rate {}", error / n, constant_error / n);
    assert!((bias / n).abs() < 0.05, "calibrated in the large: {}", bias / n);
}
