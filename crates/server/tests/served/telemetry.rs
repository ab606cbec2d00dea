//! What a running server tells: counts that are exactly what was asked, spans under their callers', readiness that fallback
//! takes away and gives back, and no label that a caller made up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::support::collector::{Collected, collect};
use crate::support::scrape::{Scrape, free, get};
use crate::support::{deep, logging, serve};
use api::v1;
use api::v1::outcome_service_client::OutcomeServiceClient;
use api::v1::report_outcome_request::Outcome;
use api::v1::route_item::Result as Item;
use api::v1::route_request::Input;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use server::config::Settings;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const ROUTE: &str = "rung.v1.RouterService/Route";

/// The trace and the span of a caller, sampled.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// Longer than any of these takes on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

fn request(i: usize) -> v1::RouteRequest {
    v1::RouteRequest {
        input: Some(Input::Text(format!("question number {i}, please"))),
        ..Default::default()
    }
}

fn scraped(mut settings: Settings) -> (Settings, SocketAddr) {
    let address = free();
    settings.telemetry.http_listen = Some(address);
    (settings, address)
}

/// Waits until a condition holds of what is looked at.
async fn until<T, F: Future<Output = T>>(look: impl Fn() -> F, holds: impl Fn(&T) -> bool) -> T {
    let waiting = async {
        loop {
            let found = look().await;
            if holds(&found) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap()
}

/// Decisions by tier, reason and model.
type Counted = BTreeMap<(String, String, String), f64>;

fn count(counted: &mut Counted, answer: &v1::RouteResponse) {
    let tier = v1::Tier::try_from(answer.tier).unwrap();
    let tier = tier.as_str_name().trim_start_matches("TIER_").to_lowercase();
    *counted.entry((tier, answer.reason.clone(), answer.model.clone())).or_default() += 1.0;
}

/// A sum of series: their name, labels that they have, and what it is.
type Expected<'a> = (&'a str, &'a [(&'a str, &'a str)], f64);

/// What was asked in the first test.
const ASKED: &[Expected<'_>] = &[
    ("rung_requests_total", &[("method", ROUTE), ("code", "OK")], 7.0),
    ("rung_requests_total", &[("method", ROUTE), ("code", "INVALID_ARGUMENT")], 3.0),
    ("rung_requests_total", &[("method", "rung.v1.RouterService/RouteBatch")], 1.0),
    ("rung_requests_total", &[("method", "rung.v1.RouterService/RouteStream"), ("code", "OK")], 1.0),
    ("rung_request_duration_seconds_count", &[("method", ROUTE)], 10.0),
    ("rung_refused_total", &[("reason", "INVALID")], 4.0),
    ("rung_decisions_total", &[], 15.0),
    ("rung_decisions_total", &[("operating_point", "default")], 15.0),
    ("rung_decisions_scored_total", &[("scored_by", "fast"), ("scored_by_reason", "no_deep_tier")], 15.0),
    ("rung_decisions_by_rollout_total", &[("rollout", "incumbent")], 15.0),
    ("rung_decisions_by_slice_total", &[], 0.0),
    ("rung_fallback_decisions_total", &[], 0.0),
    ("rung_win_probability_count", &[("scored_by", "fast")], 15.0),
    ("rung_interval_width_count", &[], 15.0),
    // A batch is admitted as a whole.
    ("rung_stage_duration_seconds_count", &[("stage", "admission")], 12.0),
    ("rung_stage_duration_seconds_count", &[("stage", "whole")], 15.0),
    ("rung_stage_duration_seconds_count", &[("stage", "encoder")], 0.0),
    ("rung_outcomes_total", &[("status", "recorded")], 1.0),
    ("rung_outcomes_total", &[("status", "duplicate")], 1.0),
    ("rung_outcomes_total", &[("status", "conflict")], 1.0),
    ("rung_outcomes_total", &[("status", "invalid")], 1.0),
    ("rung_log_store_up", &[], 1.0),
    ("rung_log_records_total", &[("fate", "dropped")], 0.0),
    ("rung_artifact_info", &[("role", "incumbent")], 1.0),
    ("rung_rollout_stage", &[("stage", "none")], 1.0),
    ("rung_ready", &[], 1.0),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_tells_exactly_what_was_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (settings, http) = scraped(logging(folder.path()));
    let server = serve(settings).await;
    let (mut client, mut counted) = (server.client().await, Counted::new());
    let mut last = String::new();
    for i in 0..7 {
        let answer = client.route(request(i)).await.unwrap().into_inner();
        count(&mut counted, &answer);
        last = answer.decision_id;
    }
    for _ in 0..3 {
        let refused = client.route(v1::RouteRequest::default()).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    let requests = (10..14).map(request).chain([v1::RouteRequest::default()]).collect();
    let batch = client.route_batch(v1::RouteBatchRequest { requests }).await.unwrap().into_inner();
    let stream = client.route_stream(tokio_stream::iter((20..24).map(request))).await.unwrap();
    let mut stream = stream.into_inner();
    let mut items = batch.items;
    while let Some(item) = stream.message().await.unwrap() {
        items.push(item);
    }
    for item in items {
        if let Some(Item::Response(answer)) = item.result {
            count(&mut counted, &answer);
        }
    }
    report(&server, &last).await;
    // An RPC has ended once its trailers were written, a moment after its caller has read them.
    let ended = |scrape: &Scrape| scrape.sum("rung_requests_in_flight", &[]) == 0.0;
    let scrape = until(|| Scrape::of(http), ended).await;
    let told: Counted = counted
        .keys()
        .map(|of| {
            let (tier, reason, model) = of;
            let labels = [("tier", tier.as_str()), ("reason", reason.as_str()), ("model", model.as_str())];
            (of.clone(), scrape.sum("rung_decisions_total", &labels))
        })
        .collect();
    assert_eq!(told, counted);
    exactly(&scrape, ASKED);
    server.end().await;
}

fn exactly(scrape: &Scrape, expected: &[Expected<'_>]) {
    for (name, labels, value) in expected {
        assert_eq!(scrape.sum(name, labels), *value, "{name}{labels:?}");
    }
}

/// A report, the same again, another in its place, and one about nothing.
async fn report(server: &crate::support::Running, decision_id: &str) {
    let mut client = OutcomeServiceClient::new(server.channel().await);
    for up in [true, true, false] {
        let outcome = Some(Outcome::Thumbs(v1::Thumbs { up }));
        let report = v1::ReportOutcomeRequest {
            decision_id: decision_id.to_owned(),
            source: "test".into(),
            outcome,
            ..Default::default()
        };
        client.report_outcome(report).await.unwrap();
    }
    client.report_outcome(v1::ReportOutcomeRequest::default()).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_types_are_what_prometheus_expects() {
    let (settings, http) = scraped(Settings::default());
    let server = serve(settings).await;
    server.client().await.route(request(0)).await.unwrap();
    let (status, head, text) = get(http, "/metrics", "text/plain").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(text.contains("# TYPE rung_decisions_total counter\n") && !text.contains("# EOF"));
    let (_, head, text) =
        get(http, "/metrics", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5").await;
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(text.contains("# TYPE rung_decisions counter\n") && text.ends_with("# EOF\n"));
    assert_eq!(get(http, "/healthz", "*/*").await.0, 200);
    assert_eq!(get(http, "/readyz", "*/*").await.0, 200);
    assert_eq!(get(http, "/", "*/*").await.0, 404);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_callers_make_up_make_no_series() {
    let (mut settings, http) = scraped(Settings::default());
    settings.telemetry.metrics_slice = vec!["tenant:known".into()];
    let server = serve(settings).await;
    let mut client = server.client().await;
    let labelled = |i: usize, key: String, value: String| v1::RouteRequest {
        labels: [(key, value), ("tenant".into(), "known".into())].into(),
        request_id: format!("made-up-{i}"),
        ..request(i)
    };
    let ask = async |client: &mut v1::router_service_client::RouterServiceClient<_>, from: usize| {
        for i in from..from + 200 {
            client.route(labelled(i, format!("made-up-{i}"), format!("\"}}\n{i}"))).await.unwrap();
            let mut wrong = request(i);
            wrong.at = Some(v1::route_request::At::OperatingPoint(format!("made-up-{i}")));
            client.route(wrong).await.unwrap_err();
        }
    };
    ask(&mut client, 0).await;
    let path = http::uri::PathAndQuery::from_static("/made.up.Service/Method");
    let mut other = tonic::client::Grpc::new(server.channel().await);
    other.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<v1::GetInfoRequest, v1::GetInfoResponse>::default();
    let refused = other.unary(Request::new(v1::GetInfoRequest {}), path, codec).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    let before = until(|| Scrape::of(http), |s| s.sum("rung_requests_in_flight", &[]) == 0.0).await;
    ask(&mut client, 1_000).await;
    let after = until(|| Scrape::of(http), |s| s.sum("rung_requests_in_flight", &[]) == 0.0).await;
    let slices = after.labels("rung_decisions_by_slice_total", "slice");
    // The artifact and the configuration name one each; the third is everybody else.
    assert_eq!(slices, BTreeSet::from(["high_stakes", "other", "tenant:known"].map(str::to_owned)));
    exactly(
        &after,
        &[
            ("rung_decisions_by_slice_total", &[("slice", "other")], 400.0),
            ("rung_decisions_by_slice_total", &[("slice", "tenant:known")], 400.0),
            ("rung_requests_total", &[("method", "other"), ("code", "UNIMPLEMENTED")], 1.0),
        ],
    );
    let names = |scrape: &Scrape| scrape.series.keys().cloned().collect::<BTreeSet<_>>();
    let new: Vec<_> = names(&after).difference(&names(&before)).cloned().collect();
    // A second round of other texts may meet a combination of tier and reason that the first did not.
    assert!(
        new.iter()
            .all(|series| series.name == "rung_decisions_total" || series.name.ends_with("slice_total"))
    );
    for series in names(&after) {
        assert!(!format!("{series:?}").contains("made"), "{series:?}");
    }
    server.end().await;
}

fn text(span: &Span, key: &str) -> Option<String> {
    let value = span.attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value?;
    match value {
        Value::StringValue(text) => Some(text),
        other => Some(format!("{other:?}")),
    }
}

fn sampled(request: v1::RouteRequest) -> Request<v1::RouteRequest> {
    let mut request = Request::new(request);
    request.metadata_mut().insert("traceparent", format!("00-{TRACE}-{CALLER}-01").parse().unwrap());
    request.metadata_mut().insert("tracestate", "vendor=1".parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_lie_under_their_callers_and_metrics_are_pushed() {
    let Collected { address, mut spans, mut metrics } = collect().await;
    let mut settings = Settings::default();
    settings.telemetry.otlp_endpoint = Some(format!("http://{address}"));
    settings.telemetry.otlp_interval_ms = Some(50);
    let server = serve(settings).await;
    let mut client = server.client().await;
    // Neither is sampled: nobody asked for it.
    client.route(request(0)).await.unwrap();
    let mut unsampled = Request::new(request(1));
    unsampled.metadata_mut().insert("traceparent", format!("00-{TRACE}-{CALLER}-00").parse().unwrap());
    client.route(unsampled).await.unwrap();
    let answer = client.route(sampled(request(2))).await.unwrap().into_inner();
    client.route(sampled(v1::RouteRequest::default())).await.unwrap_err();
    let decisions = |metric: &opentelemetry_proto::tonic::metrics::v1::Metric| match &metric.data {
        Some(Data::Sum(sum)) if metric.name == "rung_decisions" => !sum.data_points.is_empty(),
        _ => false,
    };
    tokio::time::timeout(PATIENCE, async { while !decisions(&metrics.recv().await.unwrap()) {} })
        .await
        .unwrap();
    // Its end pushes what was not pushed.
    server.end().await;
    let mut all = Vec::new();
    while let Ok(span) = spans.try_recv() {
        all.push(span);
    }
    let (of_rpcs, stages): (Vec<&Span>, Vec<&Span>) = all.iter().partition(|span| span.name == ROUTE);
    assert_eq!(of_rpcs.len(), 2, "{all:#?}");
    for span in &of_rpcs {
        assert_eq!(
            (hex::encode(&span.trace_id), hex::encode(&span.parent_span_id)),
            (TRACE.into(), CALLER.into())
        );
        assert_eq!((span.kind, span.trace_state.as_str()), (2, "vendor=1"));
        assert_eq!(text(span, "rpc.method").unwrap(), ROUTE);
    }
    let decided = of_rpcs.iter().find(|span| text(span, "rung.decision_id").is_some()).unwrap();
    assert_eq!(text(decided, "rung.decision_id").unwrap(), answer.decision_id);
    assert_eq!(text(decided, "rung.model").unwrap(), answer.model);
    assert_eq!(text(decided, "rung.artifact.version").unwrap(), answer.artifact_version);
    assert_eq!(text(decided, "rpc.response.status_code").unwrap(), "OK");
    let refused = of_rpcs.iter().find(|span| text(span, "rung.decision_id").is_none()).unwrap();
    assert_eq!(text(refused, "rpc.response.status_code").unwrap(), "INVALID_ARGUMENT");
    let names: BTreeSet<&str> = stages.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["admission", "convert", "fast", "record"]));
    for stage in stages {
        assert_eq!(stage.parent_span_id, decided.span_id);
        assert!(stage.start_time_unix_nano <= stage.end_time_unix_nano);
    }
    assert!(!format!("{all:?}").contains("please"), "no text of a query leaves by a span");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_of_a_batch_are_events_and_a_share_of_the_others_is_sampled() {
    let Collected { address, mut spans, .. } = collect().await;
    let mut settings = Settings::default();
    settings.telemetry.otlp_endpoint = Some(format!("http://{address}"));
    settings.telemetry.trace_sample = Some(1.0);
    let server = serve(settings).await;
    let requests = (0..100).map(request).collect();
    server.client().await.route_batch(v1::RouteBatchRequest { requests }).await.unwrap();
    server.end().await;
    let span = spans.recv().await.unwrap();
    assert_eq!(span.name, "rung.v1.RouterService/RouteBatch");
    assert!(span.parent_span_id.is_empty());
    assert_eq!((span.events.len(), span.dropped_events_count), (64, 36));
    assert_eq!(span.events[0].name, "decision");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_is_not_felt() {
    let (mut settings, http) = scraped(Settings::default());
    // A port that takes connections and says nothing is worse than a closed one.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    settings.telemetry.otlp_endpoint = Some(format!("http://{}", silent.local_addr().unwrap()));
    settings.telemetry.otlp_interval_ms = Some(20);
    settings.telemetry.trace_sample = Some(1.0);
    settings.drain_timeout_ms = Some(2_000);
    let server = serve(settings).await;
    let mut client = server.client().await;
    // More spans than may wait: five for each decision.
    for i in 0..2_000 {
        client.route(request(i)).await.unwrap();
    }
    let dropped = |scrape: &Scrape| scrape.sum("rung_trace_spans_total", &[("fate", "dropped")]) > 0.0;
    let scrape = until(|| Scrape::of(http), dropped).await;
    exactly(
        &scrape,
        &[
            ("rung_requests_total", &[("method", ROUTE), ("code", "OK")], 2_000.0),
            ("rung_trace_spans_total", &[("fate", "exported")], 0.0),
        ],
    );
    server.end().await;
}

async fn health(client: &mut HealthClient<tonic::transport::Channel>) -> ServingStatus {
    client.check(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner().status()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fallback_takes_readiness_away_and_calm_gives_it_back() {
    let (mut settings, http) = scraped(deep::patient());
    // The encoder is too late for everybody.
    settings.deep_deadline_ms = Some(0);
    settings.telemetry.unready_fallback_share = Some(0.5);
    settings.telemetry.unready_fallback_window_ms = Some(500);
    settings.telemetry.unready_fallback_least = Some(20);
    let server = deep::serve(settings).await;
    let (mut client, mut checks) = (server.client().await, HealthClient::new(server.channel().await));
    assert_eq!(health(&mut checks).await, ServingStatus::Serving);
    let fallen = v1::RouteRequest { tier: v1::TierWish::DeepAlways.into(), ..request(0) };
    let answer = client.route(fallen.clone()).await.unwrap().into_inner();
    assert_eq!(answer.scored_by_reason, "deadline_too_near");
    let unready = async {
        while get(http, "/readyz", "*/*").await.0 == 200 {
            for _ in 0..20 {
                client.route(fallen.clone()).await.unwrap();
            }
        }
    };
    tokio::time::timeout(PATIENCE, unready).await.unwrap();
    // It serves who comes all the same. Nobody does any more: there is nothing left to be unready for.
    let (status, _, why) = get(http, "/readyz", "*/*").await;
    if status != 200 {
        assert_eq!(why, "not ready: fallback\n");
    }
    until(|| get(http, "/readyz", "*/*"), |(status, ..)| *status == 200).await;
    assert_eq!(health(&mut checks).await, ServingStatus::Serving);
    let scrape = Scrape::of(http).await;
    let fallback = scrape.sum("rung_fallback_decisions_total", &[("cause", "deadline_too_near")]);
    assert!(fallback >= 20.0 && fallback == scrape.sum("rung_decisions_total", &[]), "{fallback}");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_drains_is_not_ready() {
    let (settings, http) = scraped(Settings::default());
    let mut server = serve(settings).await;
    let mut client = server.client().await;
    // A stream that is open holds the drain.
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    sender.send(request(0)).await.unwrap();
    let mut answers = client.route_stream(requests).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    drop(server.stop.take());
    let (_, _, why) = until(|| get(http, "/readyz", "*/*"), |(status, ..)| *status == 503).await;
    assert_eq!(why, "not ready: draining\n");
    assert_eq!(get(http, "/healthz", "*/*").await.0, 200);
    drop(sender);
    server.end().await;
}
