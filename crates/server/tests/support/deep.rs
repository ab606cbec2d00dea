//! The small artifact with a deep tier over a tiny encoder of random weights: enough to see which tier spoke.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use artifact::{Artifact, DeepDraft, DeepPair, DeepTier, PairCalibrator, read_encoder};
use calibration::{Band, Calibrator, Map, PlattScaling};
use classifier::{Abilities, Backend, Classifier, NetworkConfig, NgramTable};
use encoder::{EncoderFiles, EncoderOptions};
use router::{Router, RouterOptions};
use server::config::Settings;

use super::Running;

/// Its folder, written once per test binary.
pub fn artifact() -> PathBuf {
    static FOLDER: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let write = || {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("deep");
        let fast = Artifact::load(&super::artifact(), Backend::Flex).unwrap();
        let tier = tier(&fast);
        let mut draft = fast.draft();
        // Selected for the fast tier alone: bound anew, since the test asks about tiers and not about thresholds.
        for point in draft.operating_points.values_mut().flat_map(|by_pair| by_pair.values_mut()) {
            point.bound_to.clear();
        }
        let (encoder_source, choices) = (String::new(), Default::default());
        draft.deep = Some(DeepDraft {
            tier: &tier,
            pairs: tier.pairs().to_vec(),
            encoder_source,
            coverage: 0.9,
            choices,
        });
        draft.write(&at, |_| Vec::new()).unwrap();
        (folder, at)
    };
    FOLDER.get_or_init(write).1.clone()
}

/// Length of the deep classifier's latent vector.
const LATENT: usize = 2;

/// A deep tier that knows the default pair alone.
fn tier(fast: &Artifact) -> DeepTier {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../encoder/tests/reference/tiny");
    let read = |name| fs::read(tiny.join(name)).unwrap();
    let files = EncoderFiles {
        config: read("config.json"),
        tokenizer: read("tokenizer.json"),
        weights: read("model.safetensors"),
    };
    let encoder = read_encoder(&files, &EncoderOptions::default(), Backend::Flex.into()).unwrap();
    let config = NetworkConfig {
        latent: LATENT,
        token_dim: 4,
        hidden: 4,
        embedding: encoder.width(),
        ..NetworkConfig::default()
    };
    let device = Backend::Flex.device().unwrap();
    let ngrams = NgramTable::fit(std::iter::once(&[3u64, 5, 8][..]), 1, 8);
    let models = fast.classifier().models().to_vec();
    let (network, abilities) =
        (config.init(ngrams.len(), &device), Abilities::init(LATENT, models.len(), &device));
    let silent = Classifier::new(config.clone(), network, abilities, ngrams, models.clone(), device.clone());
    let weights = with_a_read_out(silent.to_bytes().unwrap(), encoder.width());
    let classifier = Classifier::from_bytes(&weights, &config, models, &device).unwrap();
    let of_pair = fast.calibrators().iter().find(|c| c.pair == *fast.default_pair()).unwrap();
    let map = Map::Platt(PlattScaling::new(1.3, 0.2).unwrap());
    let venn_abers = of_pair.calibrator.venn_abers().clone();
    let calibrator = PairCalibrator { calibrator: Calibrator::new(map, venn_abers), ..of_pair.clone() };
    let pair = DeepPair { stack: [0.6, 0.7], band: Band::new(-0.8, 0.9).unwrap(), calibrator };
    DeepTier::new(encoder, files, classifier, vec![pair])
}

/// A fresh network reads nothing off the encoder's vector: weights of both signs in the place of its zeros.
fn with_a_read_out(mut safetensors: Vec<u8>, vector: usize) -> Vec<u8> {
    let (length, rest) = safetensors.split_first_chunk::<8>().unwrap();
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&rest[..length]).unwrap();
    let offsets = &header["network.linear"]["data_offsets"];
    let at = |end: usize| 8 + length + usize::try_from(offsets[end].as_u64().unwrap()).unwrap();
    let (weights, _) = safetensors[at(0)..at(1)].as_chunks_mut::<4>();
    // The rows of the vector are the last.
    for (i, weight) in weights.iter_mut().rev().take(vector * LATENT).enumerate() {
        *weight = (((i * 37 % 11) as f32 - 5.0) / 8.0).to_le_bytes();
    }
    safetensors
}

/// A router over [`artifact`] with the deep tier as the settings have it.
pub fn router(settings: &Settings) -> Arc<Router> {
    let deep = settings.clone().build().unwrap().deep;
    Arc::new(Router::load(&artifact(), &RouterOptions { deep, ..RouterOptions::default() }).unwrap())
}

/// Serves it on a free port.
pub async fn serve(settings: Settings) -> Running {
    super::serve_router(router(&settings), settings).await
}

/// Settings under which the encoder is never too late.
pub fn patient() -> Settings {
    Settings { deep_deadline_ms: Some(600_000), ..Settings::default() }
}
