//! One decision in process, whole and step by step, at 16 to 1,024 tokens. Each bench first asserts
//! that its result is right.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::hint::black_box;
use std::time::Duration;

use artifact::Artifact;
use benches::{artifact, prose, router};
use calibration::Calibrated;
use classifier::Backend;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use features::{Extractor, FeatureConfig, Features};
use policy::Stakes;
use router::{Ask, At};
use types::{ModelName, Query, RungEvidence, ScoringTier, Threshold, WinProbability};

const TOKENS: [usize; 4] = [16, 64, 256, 1_024];

fn steps(c: &mut Criterion) {
    let loaded = Artifact::load(&artifact(), Backend::Flex).unwrap();
    let calibrator = &loaded.calibrators()[0];
    let mut group = c.benchmark_group("steps");
    for tokens in TOKENS {
        let query = Query::text(prose(tokens));
        let mut extractor = Extractor::new(FeatureConfig::default());
        let mut features = Features::default();
        extractor.extract(&query, &mut features);
        assert_eq!(features.tokens.len(), tokens);
        group.bench_function(BenchmarkId::new("features", tokens), |b| {
            b.iter(|| extractor.extract(black_box(&query), &mut features));
        });
        let mut scratch = loaded.classifier().scratch();
        loaded.classifier().read(&query, &mut scratch);
        assert!(loaded.classifier().win_score(&scratch, &calibrator.pair).is_some());
        group.bench_function(BenchmarkId::new("features and forward", tokens), |b| {
            b.iter(|| loaded.classifier().read(black_box(&query), &mut scratch));
        });
    }
    let mut scratch = loaded.classifier().scratch();
    loaded.classifier().read(&Query::text(prose(64)), &mut scratch);
    let score = loaded.classifier().win_score(&scratch, &calibrator.pair).unwrap();
    let calibrated = calibrator.calibrator.apply(score, 0.0);
    assert_eq!(loaded.calibrated(&scratch, calibrator, []), Some(calibrated));
    group.bench_function("calibrate", |b| b.iter(|| calibrator.calibrator.apply(black_box(score), 0.0)));
    let threshold = Threshold::new(0.5).unwrap();
    let Calibrated { score, win_probability: p, interval } = calibrated;
    let rung = || RungEvidence {
        model: ModelName::new("weak").unwrap(),
        score,
        win_probability: p,
        interval,
        scored_by: ScoringTier::Fast,
        fast_win_probability: p,
    };
    let top = ModelName::new("strong").unwrap();
    assert_eq!(policy::decide(&top, rung(), [], threshold, Stakes::Ordinary).win_probability, p);
    group.bench_function("decide", |b| {
        b.iter(|| policy::decide(&top, rung(), [], black_box(threshold), Stakes::Ordinary));
    });
    group.finish();
}

fn whole(c: &mut Criterion) {
    let router = router().unwrap();
    let ladder = router.info().default_pair.clone().into();
    let threshold = Threshold::new(0.5).unwrap();
    let mut group = c.benchmark_group("decision");
    for tokens in TOKENS {
        let query = Query::text(prose(tokens));
        let ask = Ask::new(&query, &ladder, At::Threshold(threshold));
        let routed = router.route(&ask).unwrap();
        assert_eq!((routed.tokens_used as usize, routed.truncated), (tokens, false));
        assert!(WinProbability::new(routed.decision.win_probability.get()).is_ok());
        group.bench_function(BenchmarkId::new("route", tokens), |b| {
            b.iter(|| router.route(black_box(&ask)));
        });
    }
    group.finish();
}

fn load(c: &mut Criterion) {
    let folder = artifact();
    assert!(!Artifact::load(&folder, Backend::Flex).unwrap().calibrators().is_empty());
    let mut group = c.benchmark_group("artifact");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    group.bench_function("load", |b| b.iter(|| Artifact::load(black_box(&folder), Backend::Flex)));
    group.finish();
}

criterion_group!(benches, steps, whole, load);
criterion_main!(benches);
