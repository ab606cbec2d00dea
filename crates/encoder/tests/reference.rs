//! The encoder against vectors computed by ONNX Runtime (`reference/onnx_bert.py`): a small checkpoint of
//! random weights always, MiniLM where it was fetched.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

#[cfg(feature = "wgpu")]
use classifier::Adapter;
use classifier::Backend;
use encoder::{Encoder, EncoderError, EncoderFiles, EncoderOptions, EngineKind, Pooling, Precision};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference")
}

fn files(folder: &Path) -> EncoderFiles {
    let read = |name: &str| fs::read(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    EncoderFiles {
        config: read("config.json"),
        tokenizer: read("tokenizer.json"),
        weights: read("model.safetensors"),
    }
}

fn tiny() -> EncoderFiles {
    files(&folder().join("tiny"))
}

fn on(files: &EncoderFiles, backend: Backend) -> Encoder {
    let device = backend.device().unwrap();
    Encoder::read(files, &EncoderOptions::default(), &EngineKind::Burn(device)).unwrap()
}

/// The ids of `token_ids` in `onnx_bert.py`.
fn ids(length: usize, vocabulary: usize) -> Vec<u32> {
    (0..length).map(|i| ((7919 * (i + 1)) % vocabulary) as u32).collect()
}

fn figures(name: &str) -> BTreeMap<String, Vec<f32>> {
    serde_json::from_slice(&fs::read(folder().join(name)).unwrap()).unwrap()
}

fn agrees(encoder: &Encoder, figures: &str) {
    for (length, expected) in self::figures(figures) {
        let ids = ids(length.parse().unwrap(), encoder.config().shape.vocabulary);
        let found = encoder.embed(&ids);
        assert_eq!(found.len(), expected.len());
        let worst = found.iter().zip(&expected).map(|(f, e)| (f - e).abs()).fold(0.0, f32::max);
        assert!(worst <= 1e-4, "{figures} at {length} tokens: off by {worst}");
    }
}

fn backends() -> Vec<Backend> {
    let mut backends = vec![Backend::Flex];
    if cfg!(feature = "ndarray") {
        backends.push(Backend::Ndarray);
    }
    #[cfg(feature = "wgpu")]
    backends.push(Backend::Wgpu(Adapter::Default));
    backends
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn every_backend_agrees_with_onnx_runtime() {
    for backend in backends() {
        agrees(&on(&tiny(), backend), "tiny.json");
    }
}

/// The folder that `scripts/encoder-deps` fills; where CI runs, its absence is an error.
fn minilm() -> Option<EncoderFiles> {
    let folder = std::env::var_os("RUNG_ENCODER").map(PathBuf::from).unwrap_or_else(|| {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/encoders/all-MiniLM-L6-v2")
    });
    if folder.join("model.safetensors").exists() {
        return Some(files(&folder));
    }
    assert!(std::env::var_os("CI").is_none(), "{} is empty: run scripts/encoder-deps", folder.display());
    eprintln!("left out: no encoder in {}; scripts/encoder-deps fetches it", folder.display());
    None
}

#[test]
fn minilm_agrees_with_onnx_runtime() {
    let Some(files) = minilm() else { return };
    for backend in backends() {
        agrees(&on(&files, backend), "minilm.json");
    }
}

#[cfg(feature = "int8")]
#[test]
fn eight_bits_stay_close_to_thirty_two() {
    let mut checked = vec![(tiny(), 0.98)];
    checked.extend(minilm().map(|files| (files, 0.985)));
    for (files, least) in checked {
        let full = on(&files, Backend::Flex);
        let int8 = match Encoder::read(&files, &EncoderOptions::default(), &EngineKind::Int8) {
            Err(EncoderError::NoInt8(why)) => {
                eprintln!("left out: {why}");
                return;
            }
            read => read.unwrap(),
        };
        for length in [1, 16, 64, 200] {
            let ids = ids(length, full.config().shape.vocabulary);
            let (a, b) = (full.embed(&ids), int8.embed(&ids));
            let cosine = cosine(&a, &b);
            assert!(cosine > least, "at {length} tokens: cosine {cosine}");
            assert_eq!(int8.embed_batch(&[&ids, &ids])[1], b, "a batch gives the bits of its rows");
        }
    }
}

#[test]
fn padding_changes_nothing_beyond_rounding() {
    for pooling in [Pooling::Mean, Pooling::Cls, Pooling::Attention] {
        let options = EncoderOptions { pooling: Some(pooling), ..EncoderOptions::default() };
        for backend in backends() {
            let engine = EngineKind::Burn(backend.device().unwrap());
            let encoder = Encoder::read(&tiny(), &options, &engine).unwrap();
            let (short, long) = (ids(5, 64), ids(40, 64));
            let batch = encoder.embed_batch(&[&short, &long]);
            for (row, alone) in batch.iter().zip([encoder.embed(&short), encoder.embed(&long)]) {
                let worst = row.iter().zip(&alone).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst < 2e-5, "{pooling:?} on {backend}: off by {worst}");
            }
        }
    }
}

/// Half precision is within 2e-2 of ONNX Runtime, relative to the vector's length.
#[cfg(feature = "wgpu")]
#[test]
fn half_precision_is_close_where_the_adapter_has_it_and_refused_elsewhere() {
    let backend = Backend::Wgpu(Adapter::Default);
    let device = backend.device().unwrap();
    let mut checked = vec![(tiny(), "tiny.json")];
    checked.extend(minilm().map(|files| (files, "minilm.json")));
    for (files, name) in checked {
        let half = EngineKind::BurnHalf(device.clone());
        let encoder = match Encoder::read(&files, &EncoderOptions::default(), &half) {
            Err(EncoderError::NoHalf(_)) => {
                eprintln!(
                    "this adapter has no 16-bit floats: refused, and served in 32 bits unless asked for"
                );
                assert_eq!(backend.half_pays(), Ok(false));
                return;
            }
            read => read.unwrap(),
        };
        assert!(encoder.describe().starts_with("burn in 16 bits"), "{}", encoder.describe());
        assert_eq!(encoder.to_files(Precision::Full).unwrap(), None, "rounded weights are not written");
        let length = |vector: &[f32]| vector.iter().map(|v| v * v).sum::<f32>().sqrt();
        let off = |found: &[f32], expected: &[f32]| {
            let off: Vec<f32> = found.iter().zip(expected).map(|(f, e)| f - e).collect();
            length(&off) / length(expected)
        };
        let figures = figures(name);
        let all: Vec<Vec<u32>> = figures
            .keys()
            .map(|length| ids(length.parse().unwrap(), encoder.config().shape.vocabulary))
            .collect();
        let padded = encoder.embed_batch(&all.iter().map(Vec::as_slice).collect::<Vec<_>>());
        for ((ids, expected), padded) in all.iter().zip(figures.values()).zip(&padded) {
            let (alone, padded) = (off(&encoder.embed(ids), expected), off(padded, expected));
            eprintln!("{name}, {} tokens: off by {alone} alone, by {padded} in a batch", ids.len());
            assert!(alone < 2e-2 && padded < 2e-2, "{name}, {} tokens: {alone}, {padded}", ids.len());
        }
    }
}

/// What was reserved for the largest call is enough for every other, in whatever order they come.
#[cfg(feature = "wgpu")]
#[test]
fn memory_on_a_device_is_bounded_by_the_largest_call() {
    let encoder = on(&tiny(), Backend::Wgpu(Adapter::Default));
    let most = encoder.config().head_tokens + encoder.config().tail_tokens + 2;
    let long = ids(most, 64);
    let call = |rows: usize, tokens: usize| drop(encoder.embed_batch(&vec![&long[..tokens]; rows]));
    call(8_192 / most, most);
    call(8_192 / most, most);
    let reserved = encoder.reserved_bytes().unwrap();
    for step in 0..16 {
        // Far more than a call may hold, and sizes that never repeat.
        call(1 + (step * 29) % 80, 1 + (step * 37) % most);
    }
    let after = encoder.reserved_bytes().unwrap();
    eprintln!("{reserved} bytes after the largest call, {after} after the others");
    assert!(after <= 2 * reserved, "{reserved} bytes after the largest call, {after} after the others");
    encoder.release_memory();
    assert!(encoder.reserved_bytes().unwrap() <= after);
}

#[test]
fn a_written_encoder_reads_back() {
    let encoder = on(&tiny(), Backend::Flex);
    let ids = ids(30, 64);
    let expected = encoder.embed(&ids);
    for (precision, least) in [(Precision::Full, 1.0), (Precision::Half, 0.99999), (Precision::Int8, 0.999)] {
        let files = encoder.to_files(precision).unwrap().unwrap();
        let again = on(&files, Backend::Flex);
        assert_eq!(again.config(), encoder.config());
        let cosine = cosine(&again.embed(&ids), &expected);
        assert!(cosine >= least - 1e-6, "{precision:?}: cosine {cosine}");
        // What was rounded once is not rounded further.
        let twice = again.to_files(precision).unwrap().unwrap();
        assert_eq!(on(&twice, Backend::Flex).embed(&ids), again.embed(&ids), "{precision:?}");
    }
}

#[test]
fn four_bit_words_are_a_third_of_the_size_and_close() {
    let Some(files) = minilm() else { return };
    let full = on(&files, Backend::Flex);
    let small = full.to_files(Precision::Int4Words).unwrap().unwrap();
    assert!(small.weights.len() * 4 < files.weights.len(), "{}", small.weights.len());
    let again = on(&small, Backend::Flex);
    let ids = ids(64, 30_522);
    let cosine = cosine(&again.embed(&ids), &full.embed(&ids));
    assert!(cosine > 0.98, "cosine {cosine}");
    let twice = again.to_files(Precision::Int4Words).unwrap().unwrap();
    assert_eq!(on(&twice, Backend::Flex).embed(&ids), again.embed(&ids), "rounded once, not further");
}

#[test]
fn fewer_layers_are_the_first_of_them() {
    let device = Backend::Flex.device().unwrap();
    let cut = EncoderOptions { layers: Some(1), ..EncoderOptions::default() };
    let cut = Encoder::read(&tiny(), &cut, &EngineKind::Burn(device)).unwrap();
    let files = cut.to_files(Precision::Full).unwrap().unwrap();
    assert!(files.weights.len() < tiny().weights.len());
    let ids = ids(12, 64);
    assert_eq!(on(&files, Backend::Flex).embed(&ids), cut.embed(&ids));
    assert_ne!(on(&tiny(), Backend::Flex).embed(&ids), cut.embed(&ids));
}

#[test]
fn long_texts_keep_their_head_and_their_tail() {
    let options = EncoderOptions { head_tokens: Some(3), tail_tokens: Some(2), ..EncoderOptions::default() };
    let engine = EngineKind::Burn(Backend::Flex.device().unwrap());
    let encoder = Encoder::read(&tiny(), &options, &engine).unwrap();
    let tokens = encoder.tokens();
    let ids = |text: &str| tokens.ids(text).unwrap();
    let whole = ids("prove that the prime");
    assert_eq!(whole.len(), 6, "published padding and truncation are off: {whole:?}");
    let cut = ids("prove that the prime is open when the");
    assert_eq!(cut.len(), 7);
    assert_eq!(cut[..4], ids("prove that the")[..4]);
    assert_eq!(cut[4..], ids("when the")[1..]);
    assert!(tokens.is_full(&cut) && !tokens.is_full(&whole));
    let story = format!("prove that the {} when the", "prime is ".repeat(10_000));
    assert_eq!(ids(&story), cut, "ends of a very long text are read without the middle");
    assert_eq!(ids("").len(), 2);
    assert!(encoder.embed(&ids("")).iter().all(|v| v.is_finite()));
}

#[test]
fn a_broken_checkpoint_is_refused_by_name() {
    let read = |files: &EncoderFiles| {
        let engine = EngineKind::Burn(Backend::Flex.device().unwrap());
        Encoder::read(files, &EncoderOptions::default(), &engine).unwrap_err().to_string()
    };
    let mut cut = tiny();
    cut.weights.truncate(1_000);
    assert!(read(&cut).starts_with("model.safetensors: not a readable"));
    let mut other = tiny();
    other.config =
        String::from_utf8(other.config).unwrap().replace("\"vocab_size\": 64", "\"vocab_size\": 65").into();
    assert!(read(&other).contains("expected shape [65, 16], found shape [64, 16]"), "{}", read(&other));
    other.config =
        String::from_utf8(other.config).unwrap().replace("\"vocab_size\": 65", "\"vocab_size\": 6").into();
    assert!(
        read(&other).starts_with("tokenizer.json: a token of id 57, but the word table has 6"),
        "{}",
        read(&other)
    );
    let mut garbage = tiny();
    garbage.tokenizer = b"{".to_vec();
    assert!(read(&garbage).starts_with("tokenizer.json"));
    let mut nan = tiny();
    let end = nan.weights.len();
    nan.weights[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(read(&nan).contains("not finite"));
}

#[cfg(not(feature = "int8"))]
#[test]
fn without_the_feature_eight_bits_are_refused() {
    let refused = Encoder::read(&tiny(), &EncoderOptions::default(), &EngineKind::Int8);
    assert!(matches!(refused, Err(EncoderError::NoInt8(_))));
}

#[cfg(feature = "int8")]
#[test]
fn the_int8_engine_has_no_files_of_its_own() -> Result<(), EncoderError> {
    match Encoder::read(&tiny(), &EncoderOptions::default(), &EngineKind::Int8) {
        Err(EncoderError::NoInt8(why)) => eprintln!("left out: {why}"),
        int8 => assert_eq!(int8?.to_files(Precision::Int8)?, None),
    }
    Ok(())
}
