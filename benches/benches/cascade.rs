//! Assessing one answer of a cascade: in process at 64 tokens of query and 64 to 1,024 of answer, and through gRPC
//! beside a tonic server that does nothing, in the same run. Each bench first asserts that its result is right.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::v1;
use api::v1::assess_request::{At, Input};
use api::v1::cascade_service_client::CascadeServiceClient;
use api::v1::router_service_client::RouterServiceClient;
use artifact::{CascadeRecord, StageRecord, VerifierArtifact};
use benches::{prose, router, serve_echo, verifier};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use router::{AnswerAt, Cascades, Predicted, Signals, Verdict};
use server::config::Settings;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::transport::Channel;
use types::Query;

const QUERY_TOKENS: usize = 64;
const ANSWER_TOKENS: [usize; 3] = [64, 256, 1_024];
const CASCADE: &str = "bench";

/// The verifier that users get, with a cascade of two of its models.
fn with_cascade(folder: &Path) -> PathBuf {
    let shipped = VerifierArtifact::load(&verifier()).unwrap();
    let stage = |model: &str, abstain_below, accept_above, cost_usd| StageRecord {
        model: model.to_owned(),
        abstain_below,
        accept_above,
        skip_below: 0.0,
        cost_usd,
        latency_s: Some(1.0),
        reach: 1.0,
        escalation_rate: 0.5,
    };
    // Whatever the answer, it is sent on: the dearest way through the rule.
    let stages =
        vec![stage("gpt-4o-mini-2024-07-18", 0.0, 1.0, 0.0002), stage("gpt-4o-2024-08-06", 0.0, 0.0, 0.004)];
    let cascade = CascadeRecord {
        stages,
        objective: "a bench".into(),
        data: String::new(),
        rows: 0,
        created: String::new(),
        command: String::new(),
        measured: BTreeMap::new(),
        certificate: None,
        bound_to: String::new(),
    };
    let mut draft = shipped.draft();
    draft.cascades = [(CASCADE.to_owned(), cascade)].into();
    let at = folder.join("verifier");
    draft.write(&at, |_| vec![]).unwrap();
    at
}

fn in_process(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let cascades = Cascades::load(&with_cascade(folder.path())).unwrap();
    let (query, signals, predicted) =
        (Query::text(prose(QUERY_TOKENS)), Signals::default(), Predicted::new());
    let mut group = c.benchmark_group("cascade");
    for tokens in ANSWER_TOKENS {
        let text = prose(tokens);
        let answer = AnswerAt {
            stage: 0,
            query: &query,
            text: &text,
            signals: &signals,
            slices: &[],
            remaining_s: f64::INFINITY,
            predicted: &predicted,
        };
        let assessed = cascades.assess(CASCADE, &answer).unwrap();
        assert_eq!((assessed.step.verdict, assessed.step.next), (Verdict::Escalate, Some(1)));
        assert!(assessed.judged.of_its_model && assessed.warnings.is_empty());
        assert_eq!(cascades.assess(CASCADE, &answer).unwrap(), assessed);
        group.bench_function(BenchmarkId::new("assess", tokens), |b| {
            b.iter(|| cascades.assess(CASCADE, black_box(&answer)));
        });
    }
    let plan = cascades.plan(CASCADE, f64::INFINITY, &predicted).unwrap();
    assert_eq!((plan.step.next, plan.expected_cost_usd), (Some(0), 0.0002 + 0.5 * 0.004));
    group.bench_function("plan", |b| {
        b.iter(|| cascades.plan(CASCADE, black_box(f64::INFINITY), &predicted));
    });
    group.finish();
}

async fn channel(listener: &TcpListener) -> Channel {
    let address = format!("http://{}", listener.local_addr().unwrap());
    Channel::from_shared(address).unwrap().tcp_nodelay(true).connect_lazy()
}

fn round_trip(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let verifier = with_cascade(folder.path());
    let (mut rung, mut echo) = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let rung = CascadeServiceClient::new(channel(&listener).await);
        let mut settings = Settings { verifier: Some(verifier), ..Settings::default() };
        settings.decision_log.url = Some("none".to_owned());
        let (config, router) = (settings.build().unwrap(), router().unwrap());
        tokio::spawn(async move { server::run(listener, router, &config, std::future::pending()).await });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let echo = RouterServiceClient::new(channel(&listener).await);
        tokio::spawn(serve_echo(listener));
        (rung, echo)
    });
    let request = v1::AssessRequest {
        input: Some(Input::Text(prose(QUERY_TOKENS))),
        answer: prose(256),
        cascade: CASCADE.to_owned(),
        at: Some(At::Stage(0)),
        ..Default::default()
    };
    // As many bytes as an answer to assess.
    let text = prose(QUERY_TOKENS + 256);
    let input = Some(v1::route_request::Input::Text(text));
    let echoed = v1::RouteRequest { input, ..Default::default() };
    let answer = runtime.block_on(rung.assess(request.clone())).unwrap().into_inner();
    assert_eq!((answer.verdict(), answer.next_stage), (v1::CascadeVerdict::Escalate, Some(1)));
    let mut group = c.benchmark_group("grpc cascade");
    group.measurement_time(Duration::from_secs(4));
    group.bench_function("echo", |b| {
        b.iter(|| runtime.block_on(echo.route(echoed.clone())).unwrap());
    });
    group.bench_function("assess", |b| {
        b.iter(|| runtime.block_on(rung.assess(request.clone())).unwrap());
    });
    group.finish();
}

criterion_group!(benches, in_process, round_trip);
criterion_main!(benches);
