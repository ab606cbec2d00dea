//! Routing by intent against catalogues of up to 20,000 exemplars, whole and step by step, and what it takes to build
//! one. Each bench first asserts that its result is right.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use semantic::{Ask, Catalogue, Embed, FitOptions, Matcher, Scorer, Scratch, SearchScratch, StaticEmbedder};

const EXEMPLARS: [usize; 3] = [250, 2_500, 20_000];

const QUERY: &str = "why is there a second charge on my card?";

fn fixture() -> Catalogue {
    let text = include_str!("../../crates/semantic/fixtures/intents.toml");
    Catalogue::from_toml(text, "intents.toml").unwrap()
}

/// The fixture's exemplars over and over, each time with another word behind them, as a catalogue in JSONL.
fn jsonl(exemplars: usize) -> String {
    let (small, mut lines) = (fixture(), String::from("{\"settings\": {\"floor_alpha\": 0.1}}\n"));
    let texts: Vec<(usize, &str)> = small.exemplars().collect();
    for (i, (route, text)) in texts.iter().cycle().take(exemplars).enumerate() {
        let other = &small.off_topic()[i * 7 % small.off_topic().len()];
        let utterance = format!("{text} {}", other.rsplit(' ').next().unwrap_or_default());
        let line = serde_json::json!({ "route": small.routes()[*route].name, "utterance": utterance });
        writeln!(lines, "{line}").unwrap();
    }
    for query in small.off_topic() {
        writeln!(lines, "{}", serde_json::json!({ "off_topic": query })).unwrap();
    }
    lines
}

fn catalogue(exemplars: usize) -> Arc<Catalogue> {
    Arc::new(Catalogue::from_jsonl(&jsonl(exemplars), "large.jsonl").unwrap())
}

fn scorer(catalogue: Arc<Catalogue>) -> Scorer {
    let embedder = Arc::new(StaticEmbedder::fit(&catalogue));
    Scorer::new(catalogue, embedder).unwrap()
}

fn matching(c: &mut Criterion) {
    let mut group = c.benchmark_group("semantic");
    for exemplars in EXEMPLARS {
        let matcher = Matcher::without_encoder(catalogue(exemplars), &FitOptions::default()).unwrap();
        let mut scratch = Scratch::default();
        let found = matcher.match_query(Ask::Text(QUERY), &mut scratch).unwrap();
        assert_eq!(found.best.map(|best| best.route.name.as_str()), Some("billing"));
        group.bench_function(BenchmarkId::new("match", exemplars), |b| {
            b.iter(|| matcher.match_query(black_box(Ask::Text(QUERY)), &mut scratch).is_ok());
        });
    }
    let embedder = StaticEmbedder::fit(&fixture());
    let mut vector = Vec::new();
    embedder.embed(QUERY, &mut vector);
    assert!((vector.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
    group.bench_function("embed", |b| b.iter(|| embedder.embed(black_box(QUERY), &mut vector)));
    let scorer = scorer(catalogue(20_000));
    let index = scorer.index().unwrap();
    let vector = scorer.vector(Ask::Text(QUERY)).unwrap();
    let mut scratch = SearchScratch::default();
    let nearest = index.nearest(&vector, 10, &mut scratch).unwrap();
    assert!(nearest.len() == 10 && nearest.windows(2).all(|pair| pair[0].similarity >= pair[1].similarity));
    group.bench_function("ten nearest of 20000", |b| {
        b.iter(|| index.nearest(black_box(&vector), 10, &mut scratch));
    });
    group.finish();
}

fn building(c: &mut Criterion) {
    let text = jsonl(20_000);
    let parsed = Arc::new(Catalogue::from_jsonl(&text, "large.jsonl").unwrap());
    assert_eq!(parsed.exemplar_count(), 20_000);
    let mut group = c.benchmark_group("semantic, build");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    group
        .bench_function("parse 20000", |b| b.iter(|| Catalogue::from_jsonl(black_box(&text), "large.jsonl")));
    assert_eq!(scorer(parsed.clone()).index().map(semantic::Index::len), Some(20_000));
    group.bench_function("embed and index 20000", |b| b.iter(|| scorer(parsed.clone())));
    group.bench_function("with odds and thresholds 20000", |b| {
        b.iter(|| Matcher::without_encoder(parsed.clone(), &FitOptions::default()));
    });
    group.finish();
}

criterion_group!(benches, matching, building);
criterion_main!(benches);
