//! What the metrics of one decision cost where it is made: counters, histograms, stages; alone, and while another thread
//! records too. An iteration is one decision.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use benches::{prose, router};
use criterion::{Criterion, criterion_group, criterion_main};
use decision_log::Rollout;
use router::{Ask, At, Router};
use server::config::Settings;
use server::telemetry::{Decided, Metrics, Point, Times};
use types::{Ladder, ModelName, Query};

/// A decision as the server counts it, again and again.
struct Counting {
    metrics: Metrics,
    router: Router,
    routed: router::Routed,
    ladder: Ladder,
    costs_usd: BTreeMap<ModelName, f64>,
    slices: Vec<String>,
}

impl Counting {
    fn new() -> Self {
        let mut settings = Settings::default();
        settings.telemetry.metrics_slice = vec!["tenant:7".into()];
        let config = settings.build().unwrap();
        let router = router().unwrap();
        let router = std::sync::Arc::into_inner(router).unwrap();
        let ladder: Ladder = router.info().default_pair.clone().into();
        let query = Query::text(prose(64));
        let routed = router.route(&Ask::new(&query, &ladder, At::OperatingPoint("default"))).unwrap();
        let costs_usd = ladder.rungs().iter().map(|model| (model.clone(), 0.001)).collect();
        let metrics = Metrics::new(&config.telemetry, []).unwrap();
        Self { metrics, router, routed, ladder, costs_usd, slices: vec!["tenant:7".into(), "made:up".into()] }
    }

    fn count(&self) {
        let now = tokio::time::Instant::now;
        let (admitted, converted, read) = (now(), now(), now());
        let (decided, recorded) = (now(), now());
        self.metrics.decided(&Decided {
            routed: &self.routed,
            top: self.ladder.top(),
            info: self.router.info(),
            point: Point::Named("default"),
            slices: &self.slices,
            rollout: Rollout::Incumbent,
            fell_back: false,
            costs_usd: &self.costs_usd,
            times: Times {
                arrived: Some(admitted),
                admitted,
                converted,
                read,
                decided,
                recorded,
                waited: false,
            },
        });
    }

    fn counted(&self, iterations: u64) -> Duration {
        let start = Instant::now();
        (0..iterations).for_each(|_| self.count());
        start.elapsed()
    }
}

fn of_a_decision(c: &mut Criterion) {
    let counting = Counting::new();
    counting.count();
    let text = counting.metrics.text().unwrap();
    assert!(text.contains("rung_decisions_by_slice_total{slice=\"other\""), "{text}");
    let mut group = c.benchmark_group("telemetry");
    group.bench_function("decision", |b| b.iter_custom(|iterations| counting.counted(iterations)));
    group.bench_function("decision_beside_another", |b| {
        b.iter_custom(|iterations| {
            let over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        counting.count();
                    }
                });
                let time = counting.counted(iterations);
                over.store(true, Ordering::Relaxed);
                time
            })
        });
    });
    group.bench_function("scrape", |b| b.iter(|| counting.metrics.text().unwrap()));
    group.finish();
}

criterion_group!(benches, of_a_decision);
criterion_main!(benches);
