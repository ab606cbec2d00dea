//! A match against 20,000 exemplars without an encoder, and a decision through a policy beside the same decision
//! without one. An iteration is one match or one decision, without the wire.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::path::Path;
use std::sync::Arc;

use api::v1;
use api::v1::route_request::Input;
use api::v1::router_service_server::RouterService;
use benches::{prose, router};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use semantic::{Ask, Catalogue, FitOptions, Matcher, Scratch};
use server::config::Settings;
use tokio::runtime::Runtime;
use tonic::Request;

const EXEMPLARS: usize = 20_000;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The fixture's exemplars over and over, each time with another word behind them, as a hundred routes.
fn large() -> Arc<Catalogue> {
    let text = std::fs::read_to_string(root().join("crates/semantic/fixtures/intents.toml")).unwrap();
    let small = Catalogue::from_toml(&text, "intents.toml").unwrap();
    let exemplars: Vec<_> = small.exemplars().collect();
    let mut lines = String::from("{\"settings\": {\"floor_alpha\": 0.1}}\n");
    let mut push = |line: serde_json::Value| lines.push_str(&format!("{line}\n"));
    for (i, (route, text)) in exemplars.iter().cycle().take(EXEMPLARS).enumerate() {
        let name = format!("{}-{}", small.routes()[*route].name, i / exemplars.len() % 10);
        let other = &small.off_topic()[i * 7 % small.off_topic().len()];
        let last = other.rsplit(' ').next().unwrap_or_default();
        push(serde_json::json!({ "route": name, "utterance": format!("{text} {last}") }));
    }
    for text in small.off_topic() {
        push(serde_json::json!({ "off_topic": text }));
    }
    let catalogue = Catalogue::from_jsonl(&lines, "large.jsonl").unwrap();
    assert_eq!(catalogue.exemplar_count(), EXEMPLARS);
    Arc::new(catalogue)
}

fn matching(c: &mut Criterion) {
    let matcher = Matcher::without_encoder(large(), &FitOptions::default()).unwrap();
    let mut scratch = Scratch::default();
    let mut group = c.benchmark_group("semantic");
    for (name, query) in
        [("short", "why was I charged twice for my plan".to_owned()), ("100 tokens", prose(100))]
    {
        group.bench_function(BenchmarkId::new("match_20000", name), |b| {
            b.iter(|| matcher.match_query(Ask::Text(&query), &mut scratch).unwrap().score);
        });
    }
    group.finish();
}

fn service(policy: bool) -> impl RouterService + Clone {
    let mut settings = Settings { no_deep: Some(true), ..Settings::default() };
    settings.decision_log.url = Some("none".to_owned());
    if policy {
        settings.policy = Some(root().join("benches/policy.toml"));
        settings.catalogue = Some(root().join("crates/semantic/fixtures/intents.toml"));
        settings.prices = Some(root().join("examples/prices.toml"));
    }
    server::in_process(router().unwrap(), &settings.build().unwrap()).unwrap()
}

/// Without a policy; by a rule on a label; by the query's intent. All three compare the same odds.
fn policies(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let (plain, governed) = (service(false), service(true));
    let request = |label: &str| v1::RouteRequest {
        input: Some(Input::Text(prose(100))),
        labels: [("bench".to_owned(), label.to_owned())].into(),
        tier: v1::TierWish::FastOnly.into(),
        ..Default::default()
    };
    let mut group = c.benchmark_group("policy");
    group.bench_function("plain", |b| {
        b.iter(|| runtime.block_on(plain.route(Request::new(request("plain")))).unwrap());
    });
    for (name, steps) in [("rule", 1), ("intent", 2)] {
        let answer = runtime.block_on(governed.route(Request::new(request(name)))).unwrap().into_inner();
        assert_eq!((answer.path.len(), answer.evidence.len()), (steps, 1));
        group.bench_function(name, |b| {
            b.iter(|| runtime.block_on(governed.route(Request::new(request(name)))).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, matching, policies);
criterion_main!(benches);
