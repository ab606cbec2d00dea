//! The scorer against the network it wraps: one query at a time gives what a batch gives, bytes give
//! the same scorer back, and any text gets a finite score.
#![allow(clippy::unwrap_used, missing_docs, reason = "helpers of tests")]

use burn::tensor::{Device, Distribution, Tensor};
use classifier::{Abilities, Backend, Batch, Classifier, Network, NetworkConfig, NgramTable};
use features::{Extractor, Features};
use proptest::prelude::*;
use types::{ModelName, ModelPair, Query};

const TEXTS: [&str; 6] = [
    "What is the capital of France?",
    "Prove that the square root of 2 is irrational, step by step, without contradiction.",
    "東京の天気は？",
    "",
    "fn main() { println!(\"{}\", 1 + 1); }",
    "no no no no no yes",
];

fn extracted(text: &str) -> Features {
    let mut out = Features::default();
    Extractor::new(NetworkConfig::default().features).extract(&Query::text(text.to_owned()), &mut out);
    out
}

fn models() -> Vec<ModelName> {
    ["small", "medium", "large"].map(|name| ModelName::new(name).unwrap()).to_vec()
}

fn parts(device: &Device) -> (NetworkConfig, Network, Abilities, NgramTable) {
    device.seed(3);
    let config = NetworkConfig::default();
    let rows: Vec<Features> = TEXTS.iter().map(|t| extracted(t)).collect();
    let ngrams = NgramTable::fit(rows.iter().map(|f| f.ngrams.as_slice()), 1, 1_000);
    let mut network = config.init(ngrams.len(), device);
    // Fresh tables are silent; these speak.
    let noise = |rows, width| Tensor::random([rows, width], Distribution::Normal(0.0, 0.5), device);
    network.wide.weight = burn::module::Param::from_tensor(noise(ngrams.len(), config.latent));
    network.output.weight = burn::module::Param::from_tensor(noise(config.hidden, config.latent));
    let abilities = Abilities::init(config.latent, 3, device);
    (config, network, abilities, ngrams)
}

fn classifier() -> Classifier {
    let device = Backend::Flex.device().unwrap();
    let (config, network, abilities, ngrams) = parts(&device);
    Classifier::new(config, network, abilities, ngrams, models(), device)
}

fn pair(strong: &str, weak: &str) -> ModelPair {
    ModelPair::new(ModelName::new(strong).unwrap(), ModelName::new(weak).unwrap()).unwrap()
}

fn score(classifier: &Classifier, text: &str, pair: &ModelPair) -> f64 {
    let mut scratch = classifier.scratch();
    classifier.read(&Query::text(text.to_owned()), &mut scratch);
    classifier.win_score(&scratch, pair).unwrap().logit()
}

#[test]
fn one_query_at_a_time_gives_what_a_padded_batch_gives() {
    let device = Backend::Flex.device().unwrap();
    let (config, network, abilities, ngrams) = parts(&device);
    let rows: Vec<Features> = TEXTS.iter().map(|t| extracted(t)).collect();
    let batch = Batch::new(&rows.iter().collect::<Vec<_>>(), &ngrams, &device);
    let latent = network.forward(&batch);
    let strengths: Vec<f64> = abilities.preferences(latent.clone()).into_data().iter::<f64>().collect();
    let successes: Vec<f64> = abilities.success_logits(latent).into_data().iter::<f64>().collect();
    let classifier = Classifier::new(config, network, abilities, ngrams, models(), device);
    let mut scratch = classifier.scratch();
    for (i, text) in TEXTS.iter().enumerate() {
        classifier.read(&Query::text((*text).to_owned()), &mut scratch);
        let win = classifier.win_score(&scratch, &pair("large", "small")).unwrap().logit();
        let expected = strengths[i * 3 + 2] - strengths[i * 3];
        assert!((win - expected).abs() < 1e-5, "{text:?}: {win}, in a batch {expected}");
        let success = classifier.success_score(&scratch, &models()[1]).unwrap().logit();
        assert!((success - successes[i * 3 + 1]).abs() < 1e-5, "{text:?}");
    }
}

#[test]
fn bytes_give_the_same_scorer_back_and_the_same_bytes() {
    let first = classifier();
    let bytes = first.to_bytes().unwrap();
    let device = Backend::Flex.device().unwrap();
    let second = Classifier::from_bytes(&bytes, first.config(), models(), &device).unwrap();
    assert_eq!(second.to_bytes().unwrap(), bytes);
    for text in TEXTS {
        let p = pair("large", "medium");
        assert_eq!(score(&first, text, &p).to_bits(), score(&second, text, &p).to_bits());
    }
}

#[test]
fn bytes_that_do_not_fit_are_refused_by_tensor() {
    let whole = classifier();
    let bytes = whole.to_bytes().unwrap();
    let device = Backend::Flex.device().unwrap();
    let refused = |bytes: &[u8], config: &NetworkConfig, models: Vec<ModelName>| {
        Classifier::from_bytes(bytes, config, models, &device).unwrap_err().to_string()
    };
    let wider = NetworkConfig { hidden: 64, ..NetworkConfig::default() };
    let text = refused(&bytes, &wider, models());
    assert!(text.contains("network.hidden.weight"), "{text}");
    let text = refused(&bytes, whole.config(), models()[..2].to_vec());
    assert!(text.contains("abilities.success"), "{text}");
    let text = refused(&bytes[..bytes.len() - 9], whole.config(), models());
    assert!(text.contains("safetensors"), "{text}");
    let mut poisoned = bytes.clone();
    let last = poisoned.len() - 4;
    poisoned[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    let text = refused(&poisoned, whole.config(), models());
    assert!(text.contains("not finite") || text.contains("tensor"), "{text}");
}

#[test]
fn a_used_scratch_gives_the_bits_of_a_fresh_one() {
    let classifier = classifier();
    let p = pair("large", "small");
    let mut scratch = classifier.scratch();
    for text in TEXTS.iter().chain(TEXTS.iter().rev()) {
        classifier.read(&Query::text((*text).to_owned()), &mut scratch);
        let used = classifier.win_score(&scratch, &p).unwrap().logit();
        assert_eq!(used.to_bits(), score(&classifier, text, &p).to_bits(), "{text:?}");
    }
}

#[test]
fn a_pair_turned_around_changes_the_sign_of_the_difference_and_strangers_have_none() {
    let classifier = classifier();
    let mut scratch = classifier.scratch();
    classifier.read(&Query::text(TEXTS[1].to_owned()), &mut scratch);
    let [ab, ba] = [pair("large", "small"), pair("small", "large")]
        .map(|p| classifier.win_score(&scratch, &p).unwrap().logit());
    assert!((ab + ba).abs() < 1e-6, "no ties were learned here: {ab} {ba}");
    assert!(classifier.win_score(&scratch, &pair("large", "stranger")).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_text_gets_a_score(text in any::<String>()) {
        let classifier = classifier();
        prop_assert!(score(&classifier, &text, &pair("large", "small")).is_finite());
    }
}
