//! The same fit on every backend this build carries: the same weights within rounding, so that what
//! is trained on one can be served on another.

use std::sync::atomic::AtomicBool;

use classifier::{Adapter, Backend, Classifier, NetworkConfig};
use corpus::{Fractions, starter};
use training::commands::starter_pairs;
use training::fit::{FitConfig, Prepared, Silent, fit};
use training::pipeline::models_of;

/// Scores of twenty queries after a short fit without dropout. Initial weights are drawn by the
/// backend, whose random numbers differ: what is compared is weights moved from flex to the other.
fn scores(classifier: &Classifier) -> Vec<f64> {
    let pair = &starter_pairs().unwrap()[0];
    let mut scratch = classifier.scratch();
    let score = |e: &corpus::Example| {
        classifier.read(&e.query, &mut scratch);
        classifier.win_score(&scratch, pair).unwrap().logit()
    };
    starter::generate(20, 9).iter().map(score).collect()
}

fn trained(backend: Backend, epochs: usize) -> (Classifier, f64) {
    let examples = starter::generate(600, 2);
    let fractions = Fractions { fit: 0.8, dev: 0.2, calibrate: 0.0, test: 0.0 };
    let split = corpus::split_by_group(&examples, fractions, 7);
    let pairs = starter_pairs().unwrap();
    let network = NetworkConfig { latent: 4, token_dim: 8, hidden: 16, ..NetworkConfig::default() };
    let prepared = Prepared::new(&examples, &models_of(&pairs), &pairs, &network.features, 0.0);
    let config = FitConfig { epochs, batch_rows: 128, ..FitConfig::default() };
    let device = backend.device().unwrap();
    let interrupt = AtomicBool::new(false);
    let (classifier, report) =
        fit(&prepared, &split.fit, &split.dev, &network, &config, &device, None, &interrupt, &mut Silent)
            .unwrap();
    (classifier, report.best_dev_loss)
}

fn agrees_with_flex(backend: Backend) {
    let (flex, flex_loss) = trained(Backend::Flex, 2);
    let device = backend.device().unwrap();
    let bytes = flex.to_bytes().unwrap();
    let moved = Classifier::from_bytes(&bytes, flex.config(), flex.models().to_vec(), &device).unwrap();
    for (here, there) in scores(&flex).iter().zip(scores(&moved)) {
        assert!((here - there).abs() < 1e-4, "{here} on flex, {there} on {backend}");
    }
    let (_, loss) = trained(backend, 2);
    assert!((loss - flex_loss).abs() < 0.1, "dev loss {flex_loss} on flex, {loss} on {backend}");
}

#[test]
fn ndarray_agrees_with_flex() {
    agrees_with_flex(Backend::Ndarray);
}

#[cfg(feature = "wgpu")]
#[test]
fn wgpu_agrees_with_flex() {
    agrees_with_flex(Backend::Wgpu(Adapter::Default));
}
