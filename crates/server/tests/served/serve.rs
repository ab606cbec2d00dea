//! The real server on a free port, asked by the real client.

use std::time::Duration;

use crate::support::{artifact, router, serve};
use api::v1;
use api::v1::route_item::Result as Item;
use api::v1::route_request::{At, Input, Models};
use api::v1::router_service_client::RouterServiceClient;
use proptest::prelude::*;
use server::config::Settings;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_types::StatusExt;
use types::{Query, Threshold};

fn text(text: &str) -> v1::RouteRequest {
    v1::RouteRequest { input: Some(Input::Text(text.into())), ..Default::default() }
}

fn multi_thread<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(3)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

#[tokio::test]
async fn a_query_is_routed_with_everything_it_rests_on() {
    let server = serve(Settings::default()).await;
    let mut client = server.client().await;
    let mut request = text("Prove that the square root of two is irrational.");
    request.request_id = "r-1".into();
    request.at = Some(At::Threshold(0.25));
    let decision = client.route(request.clone()).await.unwrap().into_inner();
    let info = client.get_info(v1::GetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(decision.request_id, "r-1");
    assert_eq!(decision.artifact_version, info.artifact_version);
    assert!(decision.simulated && info.simulated);
    let strong = decision.win_probability >= 0.25;
    assert_eq!(decision.tier == v1::Tier::Strong as i32, strong);
    let pair = info.default_pair.unwrap();
    assert_eq!(decision.model, if strong { pair.strong } else { pair.weak });
    assert_eq!((decision.threshold, decision.threshold_source.as_str()), (0.25, "request"));
    assert_eq!(decision.input_tokens_used, 10);
    let again = client.route(text("hi")).await.unwrap().into_inner();
    assert_eq!(again.threshold_source, "operating_point:default");
    assert!(again.decision_id > decision.decision_id, "UUIDv7 rises with time");
    request.models = Some(Models::Ladder(v1::Ladder { models: info.models.clone() }));
    // The classifier lists its models pair by pair; as a ladder large is on top.
    let ladder = ["starter-small", "starter-medium", "starter-large"].map(String::from).to_vec();
    request.models = Some(Models::Ladder(v1::Ladder { models: ladder }));
    let decision = client.route(request).await.unwrap().into_inner();
    assert_eq!(decision.evidence.len(), 2);
}

#[tokio::test]
async fn batch_and_stream_equal_single_to_the_last_bit() {
    let server = serve(Settings::default()).await;
    let mut client = server.client().await;
    let long = "word ".repeat(3_000);
    let texts = ["", "hi", "Wie spät ist es?", "🙂", "a\0b", long.as_str(), "x = y + 3; solve for x"];
    let requests: Vec<_> = texts.iter().map(|t| text(t)).collect();
    let mut singles = Vec::new();
    for request in &requests {
        singles.push(client.route(request.clone()).await.unwrap().into_inner().win_probability.to_bits());
    }
    let bits = |item: v1::RouteItem| match item.result {
        Some(Item::Response(response)) => response.win_probability.to_bits(),
        other => panic!("{other:?}"),
    };
    let batch = v1::RouteBatchRequest { requests: requests.clone() };
    let batch = client.route_batch(batch).await.unwrap().into_inner();
    assert_eq!(batch.items.into_iter().map(bits).collect::<Vec<_>>(), singles);
    let mut stream = client.route_stream(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let mut streamed = Vec::new();
    while let Some(item) = stream.message().await.unwrap() {
        streamed.push(bits(item));
    }
    assert_eq!(streamed, singles);
}

#[tokio::test]
async fn a_wrong_request_names_its_field() {
    let server = serve(Settings { max_batch: Some(2), ..Settings::default() }).await;
    let mut client = server.client().await;
    let with = |edit: fn(&mut v1::RouteRequest)| {
        let mut request = text("hi");
        edit(&mut request);
        request
    };
    let pair =
        |strong: &str, weak: &str| Some(Models::Pair(v1::Pair { strong: strong.into(), weak: weak.into() }));
    let mut unknown = text("hi");
    unknown.models = pair("gpt-9", "starter-small");
    let mut same = text("hi");
    same.models = pair("starter-small", "starter-small");
    let mut uncalibrated = text("hi");
    uncalibrated.models = pair("starter-small", "starter-large");
    let cases = [
        ("input", with(|r| r.input = None)),
        ("chat.messages", with(|r| r.input = Some(Input::Chat(v1::Chat { messages: vec![] })))),
        (
            "chat.messages.role",
            with(|r| {
                let message = v1::Message { role: "robot".into(), content: "hi".into() };
                r.input = Some(Input::Chat(v1::Chat { messages: vec![message] }));
            }),
        ),
        ("threshold", with(|r| r.at = Some(At::Threshold(f64::NAN)))),
        ("threshold", with(|r| r.at = Some(At::Threshold(1.5)))),
        ("operating_point", with(|r| r.at = Some(At::OperatingPoint("cheap".into())))),
        ("ladder.models", with(|r| r.models = Some(Models::Ladder(v1::Ladder { models: vec!["a".into()] })))),
        ("pair.strong", with(|r| r.models = Some(Models::Pair(v1::Pair::default())))),
        ("pair", unknown),
        ("pair", same),
        ("pair", uncalibrated),
    ];
    for (field, request) in cases {
        let status = client.route(request.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        let details = status.get_details_bad_request().unwrap();
        assert_eq!(details.field_violations[0].field, field, "{status:?}");
        let batch = v1::RouteBatchRequest { requests: vec![request, text("fine")] };
        let items = client.route_batch(batch).await.unwrap().into_inner().items;
        assert!(matches!(&items[0].result, Some(Item::Error(e)) if e.field == field));
        assert!(matches!(&items[1].result, Some(Item::Response(_))), "a bad query spoils no other");
    }
    let batch = v1::RouteBatchRequest { requests: vec![text("hi"); 3] };
    let status = client.route_batch(batch).await.unwrap_err();
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "requests");
}

#[tokio::test]
async fn limits_and_deadlines_are_typed_answers() {
    let server = serve(Settings { max_request_bytes: Some(4_096), ..Settings::default() }).await;
    let mut client = server.client().await;
    let status = client.route(text(&"x".repeat(5_000))).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    let mut late = Request::new(text("hi"));
    late.metadata_mut().insert("grpc-timeout", "0n".parse().unwrap());
    let status = client.route(late).await.unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    assert!(client.route(text("still here")).await.is_ok());
}

#[test]
fn overload_is_told_and_never_hangs() {
    multi_thread(async {
        let settings = Settings {
            decision_slots: Some(1),
            queue: Some(1),
            max_request_bytes: Some(64 << 20),
            ..Settings::default()
        };
        let server = serve(settings).await;
        let client = server.client().await;
        let long = text(&"a long and winding question ".repeat(200));
        let batch = v1::RouteBatchRequest { requests: vec![long; 500] };
        let calls: Vec<_> = (0..24)
            .map(|_| {
                let (mut client, batch) = (client.clone(), batch.clone());
                tokio::spawn(async move { client.route_batch(batch).await.map_err(|s| s.code()) })
            })
            .collect();
        let (mut served, mut refused) = (0, 0);
        for call in calls {
            match call.await.unwrap() {
                Ok(answer) => {
                    served += 1;
                    assert_eq!(answer.into_inner().items.len(), 500);
                }
                Err(code) => {
                    refused += 1;
                    assert_eq!(code, Code::ResourceExhausted);
                }
            }
        }
        assert!(served >= 2 && refused >= 1, "served {served}, refused {refused}");
        assert!(server.client().await.route(text("hi")).await.is_ok(), "slots are free again");
    });
}

#[tokio::test]
async fn health_and_drain() {
    let mut server = serve(Settings::default()).await;
    let channel = tonic::transport::Channel::from_shared(format!("http://{}", server.address)).unwrap();
    let mut health = HealthClient::new(channel.connect().await.unwrap());
    let ask = HealthCheckRequest { service: "rung.v1.RouterService".into() };
    let status = health.check(ask).await.unwrap().into_inner().status();
    assert_eq!(status, ServingStatus::Serving);
    let mut client = server.client().await;
    let (send, requests) = tokio::sync::mpsc::channel(4);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut stream = client.route_stream(requests).await.unwrap().into_inner();
    send.send(text("before")).await.unwrap();
    assert!(stream.message().await.unwrap().is_some());
    let watched = HealthCheckRequest { service: "rung.v1.RouterService".into() };
    let mut watching = health.watch(watched).await.unwrap().into_inner();
    assert_eq!(watching.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    server.stop.take().unwrap().send(()).unwrap();
    // A stream that nobody ends would keep the server for ever: it ends before its next message, and says why.
    let ended = stream.message().await.unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    assert!(ended.message().contains("draining"), "{ended:?}");
    while let Ok(Some(told)) = watching.message().await {
        assert_eq!(told.status(), ServingStatus::NotServing);
    }
    drop((send, stream, client, health));
    server.served.await.unwrap().unwrap();
    assert!(RouterServiceClient::connect(format!("http://{}", server.address)).await.is_err());
}

#[tokio::test]
async fn both_compressions_work_both_ways() {
    let server = serve(Settings::default()).await;
    let plain = server.client().await.route(text("hello there")).await.unwrap().into_inner().win_probability;
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut client = server.client().await.send_compressed(encoding).accept_compressed(encoding);
        let answer = client.route(text("hello there")).await.unwrap();
        assert!(answer.metadata().contains_key("grpc-encoding"));
        assert_eq!(answer.into_inner().win_probability.to_bits(), plain.to_bits());
    }
}

#[tokio::test]
async fn reflection_lists_the_service() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let server = serve(Settings::default()).await;
    let channel = tonic::transport::Channel::from_shared(format!("http://{}", server.address)).unwrap();
    let mut client = ServerReflectionClient::new(channel.connect().await.unwrap());
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = client.server_reflection_info(tokio_stream::iter([ask])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    let names: Vec<&str> = list.service.iter().map(|s| s.name.as_str()).collect();
    assert!(
        names.contains(&"rung.v1.RouterService") && names.contains(&"grpc.health.v1.Health"),
        "{names:?}"
    );
}

#[tokio::test]
async fn garbage_and_silent_callers_hurt_nobody() {
    let server = serve(Settings::default()).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(tokio::net::TcpStream::connect(&server.address).await.unwrap());
    }
    for garbage in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4_096], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x01"]
    {
        let mut socket = tokio::net::TcpStream::connect(&server.address).await.unwrap();
        let _ = socket.write_all(garbage).await;
    }
    assert!(server.client().await.route(text("hi")).await.is_ok());
}

#[tokio::test]
async fn a_killed_server_is_a_status_not_a_hang() {
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_server"))
        .args(["serve", "--listen", "127.0.0.1:0", "--decision-log", "none", "--artifact"])
        .arg(artifact())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = loop {
        let line = log.next_line().await.unwrap().expect("the server says where it listens");
        let plain: String = line.replace("\u{1b}[3m", "").replace("\u{1b}[0m", "").replace("\u{1b}[2m", "");
        if let Some((_, rest)) = plain.split_once("address=") {
            break rest.split_whitespace().next().unwrap().to_owned();
        }
    };
    let mut client = RouterServiceClient::connect(format!("http://{address}")).await.unwrap();
    let (send, requests) = tokio::sync::mpsc::channel(4);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut stream = client.route_stream(requests).await.unwrap().into_inner();
    send.send(text("one")).await.unwrap();
    assert!(stream.message().await.unwrap().is_some());
    child.kill().await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(30), stream.message()).await;
    assert!(ended.expect("a status, not a hang").is_err());
}

#[tokio::test]
async fn high_stakes_go_strong_and_every_answer_carries_its_interval() {
    let server = serve(Settings::default()).await;
    let mut client = server.client().await;
    let mut request = text("hi");
    request.at = Some(At::Threshold(1.0));
    let plain = client.route(request.clone()).await.unwrap().into_inner();
    assert_eq!((plain.tier, plain.reason.as_str()), (v1::Tier::Weak as i32, "below_threshold"));
    assert!(plain.interval_lower <= plain.win_probability && plain.win_probability <= plain.interval_upper);
    assert!(plain.interval_lower < plain.interval_upper && plain.warnings.is_empty());
    request.labels = [("high_stakes".to_owned(), "true".to_owned())].into();
    let guarded = client.route(request).await.unwrap().into_inner();
    assert_eq!((guarded.tier, guarded.reason.as_str()), (v1::Tier::Strong as i32, "high_stakes"));
    assert_eq!(guarded.win_probability, plain.win_probability);
}

#[tokio::test]
async fn another_backend_is_refused_or_served_with_a_warning() {
    let small = types::ModelName::new("starter-small").unwrap();
    let swapped = types::BackendIdentity::parse("vllm/0.11.2/fp8").unwrap();
    let mut options = router::RouterOptions::default();
    options.backends.insert(small.clone(), crate::support::identity());
    assert!(router::Router::load(&artifact(), &options).unwrap().info().warnings.is_empty());
    options.backends.insert(small, swapped);
    let refused = router::Router::load(&artifact(), &options).unwrap_err().to_string();
    assert!(refused.contains("vllm/0.11.2/fp8") && refused.contains("vllm/0.11.2/bf16"), "{refused}");
    assert!(refused.contains("training calibrate"), "{refused}");
    options.allow_foreign_backends = true;
    let router = router::Router::load(&artifact(), &options).unwrap();
    let server = crate::support::serve_router(std::sync::Arc::new(router), Settings::default()).await;
    let answer = server.client().await.route(text("hi")).await.unwrap().into_inner();
    assert_eq!(answer.warnings, [refused]);
}

#[tokio::test]
async fn a_wrong_configuration_exits_64_and_names_key_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rung.toml");
    std::fs::write(&file, "queue = 4\nlisten_on = \"here\"\n").unwrap();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_server"));
    let output = command.arg("serve").arg("--config").arg(&file).output().await.unwrap();
    assert_eq!(output.status.code(), Some(64));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("listen_on") && error.contains("line 2"), "{error}");
}

#[test]
fn any_text_gets_a_decision() {
    let router = router();
    let ladder = router.info().default_pair.clone().into();
    let threshold = Threshold::new(0.5).unwrap();
    let decide = |text: &str| {
        let query = Query::text(text);
        router.route(&router::Ask::new(&query, &ladder, router::At::Threshold(threshold))).unwrap()
    };
    let million = "🙂 word, 東京 ".repeat(50_000);
    assert!(decide(&million).truncated);
    for text in ["", "\0\0\0", "🙂🙂🙂", "\u{202e}\u{feff}", &"a".repeat(1 << 20), &" ".repeat(1 << 20)]
    {
        let p = decide(text).decision.win_probability.get();
        assert!((0.0..=1.0).contains(&p));
    }
    proptest!(|(text in "\\PC*")| {
        let p = decide(&text).decision.win_probability.get();
        prop_assert!((0.0..=1.0).contains(&p));
    });
}
