//! Weights as safetensors: the first byte says whose the rest are. What is read is written as the same bytes each
//! time.

use classifier::{Backend, Classifier, GeneralAxis, NetworkConfig, Verifier, WeightsError};
use features::FeatureConfig;
use types::{ModelName, Query};

/// Sizes of the fixture's network.
fn config() -> NetworkConfig {
    let features = FeatureConfig { token_bits: 8, ..FeatureConfig::default() };
    NetworkConfig { features, latent: 2, token_dim: 4, hidden: 4, ..NetworkConfig::default() }
}

fn models() -> Vec<ModelName> {
    ["small", "large"].into_iter().filter_map(|name| ModelName::new(name).ok()).collect()
}

/// Reads the bytes after the first as those of a `c`lassifier, a `g`eneral axis or a `v`erifier.
pub fn decode(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    match first {
        b'c' => classifier(rest),
        b'g' => axis(rest),
        b'v' => verifier(rest),
        _ => {}
    }
}

fn is_told(error: &WeightsError) {
    assert!(!error.to_string().is_empty());
}

fn classifier(bytes: &[u8]) {
    let Ok(device) = Backend::Flex.device() else { return };
    let read = |bytes: &[u8]| Classifier::from_bytes(bytes, &config(), models(), &device);
    let classifier = match read(bytes) {
        Ok(classifier) => classifier,
        Err(error) => return is_told(&error),
    };
    let mut scratch = classifier.scratch();
    for query in ["", "Where is my parcel?", "\u{0}\u{fffd}🙂"] {
        classifier.read(&Query::text(query), &mut scratch);
        assert_eq!(scratch.latent().len(), config().latent);
        for model in classifier.models() {
            let score = classifier.success_score(&scratch, model);
            assert!(score.is_none_or(|score| score.logit().is_finite()));
        }
    }
    same_again(classifier.to_bytes(), |bytes| read(bytes).and_then(|again| again.to_bytes()));
}

fn axis(bytes: &[u8]) {
    match GeneralAxis::from_bytes(bytes) {
        Ok(axis) => {
            same_again(axis.to_bytes(), |bytes| {
                GeneralAxis::from_bytes(bytes).and_then(|again| again.to_bytes())
            });
        }
        Err(error) => is_told(&error),
    }
}

fn verifier(bytes: &[u8]) {
    let tasks = || vec!["task:gsm".to_owned()];
    let read = |bytes: &[u8]| Verifier::from_bytes(bytes, FeatureConfig::default(), models(), tasks());
    match read(bytes) {
        Ok(verifier) => {
            same_again(verifier.to_bytes(), |bytes| read(bytes).and_then(|again| again.to_bytes()));
        }
        Err(error) => is_told(&error),
    }
}

fn same_again(
    written: Result<Vec<u8>, WeightsError>,
    again: impl FnOnce(&[u8]) -> Result<Vec<u8>, WeightsError>,
) {
    match written {
        Ok(written) => assert_eq!(again(&written).ok().as_ref(), Some(&written)),
        Err(error) => is_told(&error),
    }
}
