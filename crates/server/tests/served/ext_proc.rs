//! Envoy's protocol against the real server: the decision is the one that a caller of `Route` gets, it is logged, and
//! what cannot be routed is told apart.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::support::access::{bearer, token};
use crate::support::{Running, log_url, logged, logging, serve};
use api::v1;
use api::v1::route_request::{At, Input};
use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue};
use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode;
use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_client::ExternalProcessorClient;
use envoy_types::pb::envoy::service::ext_proc::v3::{
    HttpBody, HttpHeaders, ProcessingRequest, ProcessingResponse, ProtocolConfiguration, processing_request,
    processing_response,
};
use server::config::Settings;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response};

/// Headers, body, and the status and the reason it comes to.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [u8], i32, &'a str);

struct Fronted {
    server: Running,
    channel: Channel,
}

async fn fronted(mut settings: Settings) -> Fronted {
    let free: SocketAddr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    settings.ext_proc.listen = Some(free);
    // Two busy cores must not make a test late.
    settings.ext_proc.timeout_ms = Some(60_000);
    let server = serve(settings).await;
    let endpoint = Channel::from_shared(format!("http://{free}")).unwrap();
    let channel = loop {
        match endpoint.connect().await {
            Ok(channel) => break channel,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    Fronted { server, channel }
}

fn headers(given: &[(&str, &str)]) -> ProcessingRequest {
    let header = |(key, value): &(&str, &str)| HeaderValue {
        key: (*key).to_owned(),
        raw_value: value.as_bytes().to_vec(),
        ..HeaderValue::default()
    };
    let headers = Some(HeaderMap { headers: given.iter().map(header).collect() });
    let headers = HttpHeaders { headers, ..HttpHeaders::default() };
    let config =
        ProtocolConfiguration { request_body_mode: BodySendMode::Buffered.into(), ..Default::default() };
    ProcessingRequest {
        protocol_config: Some(config),
        request: Some(processing_request::Request::RequestHeaders(headers)),
        ..ProcessingRequest::default()
    }
}

fn body(body: &[u8]) -> ProcessingRequest {
    let body = HttpBody { body: body.to_vec(), end_of_stream: true, ..HttpBody::default() };
    let request = Some(processing_request::Request::RequestBody(body));
    ProcessingRequest { request, ..ProcessingRequest::default() }
}

/// The headers that an upstream would see, or the reason and status of a refusal.
fn told(answer: ProcessingResponse) -> Result<BTreeMap<String, String>, (i32, String)> {
    let set = match answer.response.unwrap() {
        processing_response::Response::RequestBody(body) => body.response.unwrap().header_mutation.unwrap(),
        processing_response::Response::RequestHeaders(head) => {
            head.response.unwrap().header_mutation.unwrap()
        }
        processing_response::Response::ImmediateResponse(answer) => {
            return Err((answer.status.unwrap().code, answer.details));
        }
        other => panic!("{other:?}"),
    };
    let set = set.set_headers.into_iter().map(|option| option.header.unwrap());
    Ok(set.map(|header| (header.key, String::from_utf8(header.raw_value).unwrap())).collect())
}

impl Fronted {
    async fn say(&self, messages: Vec<ProcessingRequest>) -> Result<Vec<ProcessingResponse>, Status> {
        let mut client = ExternalProcessorClient::new(self.channel.clone());
        let mut answers = client.process(tokio_stream::iter(messages)).await?.into_inner();
        let mut all = Vec::new();
        while let Some(answer) = answers.message().await? {
            all.push(answer);
        }
        Ok(all)
    }

    /// The last word about one request.
    async fn request(
        &self,
        given: &[(&str, &str)],
        text: &[u8],
    ) -> Result<BTreeMap<String, String>, (i32, String)> {
        told(self.say(vec![headers(given), body(text)]).await.unwrap().pop().unwrap())
    }
}

fn chat(text: &str) -> Vec<u8> {
    serde_json::json!({"model": "auto", "messages": [{"role": "user", "content": text}]})
        .to_string()
        .into_bytes()
}

#[tokio::test]
async fn envoy_hears_what_a_caller_of_route_hears_and_it_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    let front = fronted(logging(folder.path())).await;
    let mut client = front.server.client().await;
    let mut ids = Vec::new();
    for (i, text) in ["hi", "Prove that √2 is irrational, step by step."].into_iter().enumerate() {
        let turn = v1::Message { role: "user".into(), content: text.into() };
        let asked = v1::RouteRequest {
            input: Some(Input::Chat(v1::Chat { messages: vec![turn] })),
            at: Some(At::Threshold(0.4)),
            labels: [("tenant".to_owned(), "acme".to_owned())].into(),
            ..Default::default()
        };
        let expected = client.route(asked).await.unwrap().into_inner();
        let id = format!("http-{i}");
        let given =
            [("x-request-id", id.as_str()), ("x-rung-threshold", "0.4"), ("x-rung-label-tenant", "acme")];
        let seen = front.request(&given, &chat(text)).await.unwrap();
        assert_eq!(seen["x-rung-model"], expected.model);
        let odds: f64 = seen["x-rung-win-probability"].parse().unwrap();
        assert_eq!(odds.to_bits(), expected.win_probability.to_bits());
        assert_eq!(seen["x-rung-tier"], if expected.tier() == v1::Tier::Strong { "strong" } else { "weak" });
        ids.push((seen["x-rung-decision-id"].clone(), id));
    }
    front.server.end().await;
    let log = logged(log_url(folder.path())).await;
    for (decision, request) in ids {
        let record = &log[&decision].decision;
        assert_eq!(record.request_id, request);
        assert_eq!(record.labels["tenant"], "acme");
    }
}

#[tokio::test]
async fn what_the_server_refuses_says_why_and_the_next_request_is_served() {
    let settings = Settings::default();
    let front = fronted(settings).await;
    let unknown: &[(&str, &str)] = &[("x-rung-operating-point", "no such point")];
    let far: &[(&str, &str)] = &[("x-rung-threshold", "1.5")];
    let late: &[(&str, &str)] = &[("x-rung-deadline-ms", "0")];
    let role = br#"{"messages": [{"role": "root", "content": "x"}, {"role": "user", "content": "y"}]}"#;
    let deep = format!("{{\"prompt\": {}", "[".repeat(1 << 19)).into_bytes();
    let long = chat(&"x".repeat(1 << 20));
    let cases: [Case<'_>; 8] = [
        (unknown, &chat("x"), 400, "rung_invalid"),
        (far, &chat("x"), 400, "rung_invalid"),
        (late, &chat("x"), 504, "rung_deadline"),
        (&[], role, 400, "rung_invalid"),
        (&[], &deep, 400, "rung_not_json"),
        (&[], &long, 413, "rung_body_too_long"),
        (&[], b"\xc3\x28", 400, "rung_not_json"),
        (&[], b"", 400, "rung_not_json"),
    ];
    for (given, text, status, reason) in cases {
        assert_eq!(front.request(given, text).await, Err((status, reason.to_owned())));
    }
    // More than is decoded, and phases in the wrong order, end their stream alone.
    let flood = front.say(vec![headers(&[]), body(&vec![b'x'; 8 << 20])]).await;
    assert_eq!(flood.unwrap_err().code(), Code::OutOfRange);
    assert_eq!(front.say(vec![body(b"{}")]).await.unwrap_err().code(), Code::InvalidArgument);
    assert!(front.request(&[], &chat("hi")).await.unwrap().contains_key("x-rung-model"));
    front.server.end().await;
}

#[tokio::test]
async fn a_fallback_passes_with_a_mark_and_health_is_told_where_envoy_asks() {
    let mut settings = Settings::default();
    settings.ext_proc.fallback_model = Some("house-model".into());
    let front = fronted(settings).await;
    let passed = front.request(&[("x-rung-model", "smuggled")], b"no json").await.unwrap();
    let expected = [("x-rung-fallback", "not_json"), ("x-rung-model", "house-model")];
    assert_eq!(passed, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    let request = HealthCheckRequest { service: String::new() };
    let health = HealthClient::new(front.channel.clone()).check(request).await.unwrap().into_inner();
    assert_eq!(health.status(), health_check_response::ServingStatus::Serving);
    front.server.end().await;
}

#[tokio::test]
async fn envoy_needs_a_token_like_any_caller() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let envoy = token(&file, &["--name", "envoy", "--scope", "route"]);
    let reader = token(&file, &["--name", "reader", "--scope", "read"]);
    let mut settings = Settings::default();
    settings.access.tokens = Some(file);
    let front = fronted(settings).await;
    let unknown = front.say(vec![headers(&[])]).await.unwrap_err();
    assert_eq!(unknown.code(), Code::Unauthenticated, "{unknown:?}");
    let ask = |token: &str| {
        let mut client = ExternalProcessorClient::with_interceptor(front.channel.clone(), bearer(token));
        async move {
            let asked = tokio_stream::iter(vec![headers(&[]), body(&chat("hello"))]);
            let mut answers = client.process(asked).await?.into_inner();
            let mut last = None;
            while let Some(answer) = answers.message().await? {
                last = Some(answer);
            }
            Ok::<_, Status>(last.unwrap())
        }
    };
    let forbidden = ask(&reader).await.unwrap_err();
    assert_eq!(forbidden.code(), Code::PermissionDenied, "{forbidden:?}");
    assert!(told(ask(&envoy).await.unwrap()).is_ok());
}
