//! The deep tier: the encoder alone, engine beside engine, at 16 to 254 tokens; the deep path of a decision; and the
//! mean decision time of both tiers over a mix of queries. Each bench first asserts that its result is right.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a bench")]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use artifact::Artifact;
use benches::{artifact, prose, router};
use classifier::Backend;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use encoder::{Encoder, EncoderFiles, EncoderOptions, EngineKind, on_this_thread};
use router::{Ask, At};
use types::{Query, ScoringTier, TierWish};

/// The whole of MiniLM-L6, where `scripts/encoder-deps` has fetched it.
fn minilm() -> Option<EncoderFiles> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/encoders/all-MiniLM-L6-v2");
    let read = |name: &str| std::fs::read(folder.join(name)).ok();
    Some(EncoderFiles {
        config: read("config.json")?,
        tokenizer: read("tokenizer.json")?,
        weights: read("model.safetensors")?,
    })
}

fn ids(length: usize) -> Vec<u32> {
    (0..length).map(|i| ((7919 * (i + 1)) % 30_522) as u32).collect()
}

fn engines(c: &mut Criterion) {
    let Some(files) = minilm() else {
        println!("left out: scripts/encoder-deps fetches the encoder that engines are compared on");
        return;
    };
    let burn = EngineKind::Burn(Backend::Flex.device().unwrap());
    let engines = [
        ("burn flex, 6 layers", 6, burn),
        ("int8, 6 layers", 6, EngineKind::Int8),
        ("int8, 3 layers", 3, EngineKind::Int8),
    ];
    let read = |(name, layers, kind): &(&'static str, usize, EngineKind)| {
        let options = EncoderOptions { layers: Some(*layers), ..EncoderOptions::default() };
        Encoder::read(&files, &options, kind)
            .inspect_err(|e| println!("left out: {name}: {e}"))
            .ok()
            .map(|encoder| (*name, encoder))
    };
    let engines: Vec<(&str, Encoder)> = engines.iter().filter_map(read).collect();
    let mut group = c.benchmark_group("encoder");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    for tokens in [16, 64, 128, 254] {
        let ids = ids(tokens);
        for (name, encoder) in &engines {
            assert!(encoder.embed(&ids).iter().all(|v| v.is_finite()));
            group.bench_function(BenchmarkId::new(*name, tokens), |b| {
                b.iter(|| encoder.embed(black_box(&ids)));
            });
        }
    }
    group.finish();
}

/// Tokenizer, encoder, deep classifier and calibration, as one thread of the server runs them.
fn deep_path(c: &mut Criterion) {
    let loaded = Artifact::load(&artifact(), Backend::Flex).unwrap();
    let tier = loaded.deep().unwrap();
    let pair = &tier.pairs()[0];
    let mut fast = loaded.classifier().scratch();
    let mut scratch = tier.classifier().scratch();
    let mut group = c.benchmark_group("deep path");
    group.sample_size(30).measurement_time(Duration::from_secs(3));
    for tokens in [64, 128, 256] {
        let query = Query::text(prose(tokens));
        let mut decide = || {
            loaded.classifier().read(&query, &mut fast);
            let score = loaded.classifier().win_score(&fast, &pair.calibrator.pair)?;
            tier.read(&query, &tier.vector(&query).ok()?, &mut scratch);
            tier.calibrated(pair, score, &scratch, [])
        };
        assert!(decide().is_some());
        group.bench_function(BenchmarkId::new("decide", tokens), |b| b.iter(&mut decide));
    }
    group.finish();
}

/// The mix: lengths spread as those of the benchmark's prompts are (median 69 tokens, nine tenths below 227), at the
/// default operating point.
fn mix() -> Vec<Query> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/routellm");
    let read = corpus::read(&corpus, &corpus::ReadOptions::default());
    let queries: Vec<Query> =
        read.map(|c| c.examples.into_iter().map(|e| e.query).step_by(31).collect()).unwrap_or_default();
    if !queries.is_empty() {
        return queries;
    }
    println!("without the shared corpora the mix is prose of like lengths");
    (0..200).map(|i| Query::text(prose(20 + (i * 37) % 220))).collect()
}

fn two_tiers(c: &mut Criterion) {
    let router = router().unwrap();
    let ladder = router.info().default_pair.clone().into();
    let queries = mix();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let decide = |query: &Query, tier| {
        let ask = Ask { tier, ..Ask::new(query, &ladder, At::OperatingPoint("default")) };
        runtime.block_on(router.decide(&ask, None)).unwrap()
    };
    let deep = queries.iter().filter(|q| decide(q, TierWish::Auto).scored_by() == ScoringTier::Deep).count();
    let share = deep as f64 / queries.len() as f64;
    println!("{} queries, a share of {share:.3} encoded", queries.len());
    let mut group = c.benchmark_group("two tiers");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    for (name, tier) in [("mean decision", TierWish::Auto), ("fast tier alone", TierWish::FastOnly)] {
        group.bench_function(name, |b| {
            b.iter_custom(|rounds| {
                let start = Instant::now();
                for _ in 0..rounds {
                    queries.iter().for_each(|query| drop(black_box(decide(query, tier))));
                }
                start.elapsed().div_f64(queries.len() as f64)
            });
        });
    }
    group.finish();
}

fn on_one_core(c: &mut Criterion) {
    on_this_thread(|| {
        engines(c);
        deep_path(c);
    });
}

criterion_group!(benches, on_one_core, two_tiers);
criterion_main!(benches);
