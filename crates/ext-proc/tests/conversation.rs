//! The protocol as a data plane speaks it, over a real connection, with a double in the place of the router.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::v1;
use api::v1::route_request::{At, Input};
use api::v1::router_service_server::RouterService;
use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue};
use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode;
use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_client::ExternalProcessorClient;
use envoy_types::pb::envoy::service::ext_proc::v3::{
    CommonResponse, HttpBody, HttpHeaders, HttpTrailers, ImmediateResponse, ProcessingRequest,
    ProcessingResponse, ProtocolConfiguration, body_mutation, processing_request, processing_response,
};
use ext_proc::{HeaderText, Options, service};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status, Streaming};

/// A router that answers what it is told to and remembers what it was asked.
#[derive(Clone)]
struct Double {
    answer: Arc<dyn Fn() -> Result<v1::RouteResponse, Status> + Send + Sync>,
    delay: Duration,
    asked: Arc<Mutex<Vec<v1::RouteRequest>>>,
}

#[tonic::async_trait]
impl RouterService for Double {
    async fn route(&self, request: Request<v1::RouteRequest>) -> Result<Response<v1::RouteResponse>, Status> {
        assert!(request.metadata().contains_key("grpc-timeout"), "a decision has a deadline");
        self.asked.lock().unwrap().push(request.into_inner());
        tokio::time::sleep(self.delay).await;
        (self.answer)().map(Response::new)
    }

    async fn route_batch(
        &self,
        _: Request<v1::RouteBatchRequest>,
    ) -> Result<Response<v1::RouteBatchResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    type RouteStreamStream = tokio_stream::Empty<Result<v1::RouteItem, Status>>;

    async fn route_stream(
        &self,
        _: Request<Streaming<v1::RouteRequest>>,
    ) -> Result<Response<Self::RouteStreamStream>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn get_info(
        &self,
        _: Request<v1::GetInfoRequest>,
    ) -> Result<Response<v1::GetInfoResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}

fn strong() -> Result<v1::RouteResponse, Status> {
    Ok(v1::RouteResponse {
        decision_id: "d-1".into(),
        tier: v1::Tier::Strong.into(),
        model: "big".into(),
        win_probability: 0.75,
        ..v1::RouteResponse::default()
    })
}

fn options() -> Options {
    Options {
        fallback_model: None,
        rewrite_model: false,
        timeout: Duration::from_secs(30),
        max_body_bytes: 4_096,
    }
}

fn passing() -> Options {
    Options { fallback_model: Some(HeaderText::new("cheap").unwrap()), ..options() }
}

/// A served processor and the double behind it.
struct Front {
    client: ExternalProcessorClient<Channel>,
    double: Double,
}

async fn front(
    options: Options,
    answer: impl Fn() -> Result<v1::RouteResponse, Status> + Send + Sync + 'static,
) -> Front {
    delayed(options, Duration::ZERO, answer).await
}

async fn delayed(
    options: Options,
    delay: Duration,
    answer: impl Fn() -> Result<v1::RouteResponse, Status> + Send + Sync + 'static,
) -> Front {
    let double = Double { answer: Arc::new(answer), delay, asked: Arc::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = Server::builder()
        .add_service(service(double.clone(), options))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serving);
    let client = ExternalProcessorClient::connect(format!("http://{address}")).await.unwrap();
    Front { client, double }
}

impl Front {
    /// Every answer to these messages, and how the stream ended.
    async fn say(
        &mut self,
        messages: Vec<ProcessingRequest>,
    ) -> (Vec<ProcessingResponse>, Result<(), Status>) {
        let mut answers = match self.client.process(tokio_stream::iter(messages)).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return (Vec::new(), Err(status)),
        };
        let mut all = Vec::new();
        loop {
            match answers.message().await {
                Ok(Some(answer)) => all.push(answer),
                Ok(None) => return (all, Ok(())),
                Err(status) => return (all, Err(status)),
            }
        }
    }

    /// What became of one request of headers and body.
    async fn request(&mut self, given: &[(&str, &str)], body: &[u8]) -> Seen {
        let (answers, ended) = self.say(vec![headers(given), whole_body(body)]).await;
        ended.unwrap();
        Seen::of(&answers)
    }

    fn asked(&self) -> Vec<v1::RouteRequest> {
        self.double.asked.lock().unwrap().clone()
    }
}

fn header_map(given: &[(&str, &str)]) -> HeaderMap {
    let header = |(key, value): &(&str, &str)| HeaderValue {
        key: (*key).to_owned(),
        raw_value: value.as_bytes().to_vec(),
        ..HeaderValue::default()
    };
    HeaderMap { headers: given.iter().map(header).collect() }
}

fn message(request: processing_request::Request) -> ProcessingRequest {
    ProcessingRequest { request: Some(request), ..ProcessingRequest::default() }
}

fn headers(given: &[(&str, &str)]) -> ProcessingRequest {
    headers_in(given, BodySendMode::Buffered, false)
}

fn headers_in(given: &[(&str, &str)], mode: BodySendMode, end_of_stream: bool) -> ProcessingRequest {
    let headers = Some(header_map(given));
    let headers = HttpHeaders { headers, end_of_stream, ..HttpHeaders::default() };
    let config = ProtocolConfiguration { request_body_mode: mode.into(), ..Default::default() };
    ProcessingRequest {
        protocol_config: Some(config),
        ..message(processing_request::Request::RequestHeaders(headers))
    }
}

fn body(body: &[u8], end_of_stream: bool) -> ProcessingRequest {
    let sent = HttpBody { body: body.to_vec(), end_of_stream, ..HttpBody::default() };
    message(processing_request::Request::RequestBody(sent))
}

fn whole_body(text: &[u8]) -> ProcessingRequest {
    body(text, true)
}

/// What Envoy would have done with the request.
#[derive(Debug, Default)]
struct Seen {
    set: BTreeMap<String, String>,
    removed: Vec<String>,
    body: Option<Vec<u8>>,
    refused: Option<ImmediateResponse>,
}

impl Seen {
    fn of(answers: &[ProcessingResponse]) -> Self {
        let mut seen = Self::default();
        for answer in answers {
            match answer.response.clone().unwrap() {
                processing_response::Response::RequestHeaders(headers) => {
                    seen.common(headers.response.unwrap());
                }
                processing_response::Response::RequestBody(body) => seen.common(body.response.unwrap()),
                processing_response::Response::ImmediateResponse(answer) => seen.refused = Some(answer),
                other => panic!("{other:?}"),
            }
        }
        seen
    }

    fn common(&mut self, common: CommonResponse) {
        assert!(common.clear_route_cache, "the route is chosen by what the headers say now");
        let headers = common.header_mutation.unwrap();
        for name in headers.remove_headers {
            self.set.remove(&name);
            self.removed.push(name);
        }
        for header in headers.set_headers.into_iter().map(|option| option.header.unwrap()) {
            self.set.insert(header.key, String::from_utf8(header.raw_value).unwrap());
        }
        if let Some(body_mutation::Mutation::Body(body)) = common.body_mutation.and_then(|body| body.mutation)
        {
            self.body = Some(body);
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.set.get(name).map(String::as_str)
    }

    /// Status, reason and message of the answer to the caller.
    fn refusal(&self) -> (i32, String, String) {
        let answer = self.refused.as_ref().expect("a refusal");
        let error: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let text = |key: &str| error["error"][key].as_str().unwrap().to_owned();
        (answer.status.unwrap().code, text("code"), text("message"))
    }
}

const CHAT: &[u8] = br#"{"model": "auto", "messages": [{"role": "user", "content": "Prove it."}]}"#;

/// Headers, body, and the status and the reason it comes to.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [u8], i32, &'a str);

#[tokio::test]
async fn a_decision_becomes_headers() {
    let mut front = front(options(), strong).await;
    let given = [
        (":path", "/v1/chat/completions"),
        ("x-request-id", "r-7"),
        ("x-rung-label-tenant", "acme"),
        ("x-rung-operating-point", "cautious"),
    ];
    let seen = front.request(&given, CHAT).await;
    assert_eq!(seen.header("x-rung-model"), Some("big"));
    assert_eq!(seen.header("x-rung-decision-id"), Some("d-1"));
    assert_eq!(seen.header("x-rung-tier"), Some("strong"));
    assert_eq!(seen.header("x-rung-win-probability"), Some("0.75"));
    assert_eq!((seen.header("x-rung-fallback"), seen.body.is_none()), (None, true));
    let asked = &front.asked()[0];
    assert_eq!((asked.request_id.as_str(), asked.labels["tenant"].as_str()), ("r-7", "acme"));
    assert_eq!(asked.at, Some(At::OperatingPoint("cautious".into())));
    let Some(Input::Chat(chat)) = &asked.input else { panic!("{asked:?}") };
    assert_eq!(chat.messages[0].content, "Prove it.");
}

#[tokio::test]
async fn what_a_caller_smuggles_is_taken_off_before_the_body_is_read() {
    let mut front = front(passing(), strong).await;
    let given = [("x-rung-model", "cheap"), ("x-rung-tier", "weak"), ("x-rung-secret", "1")];
    let (answers, _) = front.say(vec![headers(&given), whole_body(CHAT)]).await;
    let first = Seen::of(&answers[..1]);
    for name in ["x-rung-model", "x-rung-tier", "x-rung-secret", "x-rung-fallback", "x-rung-decision-id"] {
        assert!(first.removed.iter().any(|removed| removed == name), "{name}");
    }
    assert!(first.set.is_empty(), "{first:?}");
    assert_eq!(Seen::of(&answers).header("x-rung-model"), Some("big"));
}

#[tokio::test]
async fn nothing_of_the_response_is_asked_for() {
    let mut front = front(options(), strong).await;
    let (answers, ended) = front.say(vec![headers(&[]), whole_body(CHAT), whole_body(CHAT)]).await;
    let mode = answers[0].mode_override.unwrap();
    assert_eq!(mode.request_body_mode, i32::from(BodySendMode::Buffered));
    assert_eq!(mode.response_header_mode().as_str_name(), "SKIP");
    assert_eq!(mode.response_body_mode(), BodySendMode::None);
    // The stream ends with the decision: what comes after it is not read.
    assert_eq!((answers.len(), ended.is_ok(), front.asked().len()), (2, true, 1));
}

#[tokio::test]
async fn what_cannot_be_routed_is_refused_or_passes_with_a_mark() {
    let long = format!(r#"{{"prompt": "{}"}}"#, "x".repeat(5_000));
    let gzip: &[(&str, &str)] = &[("content-encoding", "gzip")];
    let threshold: &[(&str, &str)] = &[("x-rung-threshold", "much")];
    let cases: [Case<'_>; 6] = [
        (&[], b"not json", 400, "not_json"),
        (&[], b"{\"prompt\": \"\xff\"}", 400, "not_json"),
        (&[], br#"{"prompt": [1, 2]}"#, 400, "no_text"),
        (&[], long.as_bytes(), 413, "body_too_long"),
        (gzip, CHAT, 415, "encoded"),
        (threshold, CHAT, 400, "invalid"),
    ];
    let (mut refusing, mut lenient) = (front(options(), strong).await, front(passing(), strong).await);
    for (given, body, status, reason) in cases {
        let refusal = refusing.request(given, body).await.refusal();
        assert_eq!((refusal.0, refusal.1), (status, format!("rung_{reason}")));
        let passed = lenient.request(given, body).await;
        assert!(passed.refused.is_none());
        assert_eq!(passed.header("x-rung-fallback"), Some(reason));
        assert_eq!(passed.header("x-rung-model"), Some("cheap"));
        assert_eq!(passed.header("x-rung-decision-id"), None);
    }
    assert!(refusing.asked().is_empty() && lenient.asked().is_empty());
    let (answers, ended) = lenient.say(vec![headers_in(&[], BodySendMode::Buffered, true)]).await;
    assert!(ended.is_ok());
    assert_eq!(Seen::of(&answers).header("x-rung-fallback"), Some("no_body"));
}

#[tokio::test]
async fn a_router_that_cannot_decide_is_told_apart() {
    let failures = [
        (Status::resource_exhausted("all 2 slots are busy"), 429, "overloaded"),
        (Status::invalid_argument("operating_point: unknown"), 400, "invalid"),
        (Status::deadline_exceeded("late"), 504, "deadline"),
        (Status::internal("boom at 10.0.0.7"), 503, "failed"),
    ];
    for (failure, status, reason) in failures {
        let answer = failure.clone();
        let refusal = front(options(), move || Err(answer.clone())).await.request(&[], CHAT).await.refusal();
        assert_eq!((refusal.0, refusal.1), (status, format!("rung_{reason}")));
        assert!(!refusal.2.contains("10.0.0.7"), "{}", refusal.2);
        let passed = front(passing(), move || Err(failure.clone())).await.request(&[], CHAT).await;
        assert_eq!(passed.header("x-rung-fallback"), Some(reason));
    }
    let hasty = Options { timeout: Duration::from_millis(5), ..options() };
    let never = Duration::from_secs(3_600);
    let refusal = delayed(hasty, never, strong).await.request(&[], CHAT).await.refusal();
    assert_eq!(refusal.1, "rung_deadline");
    let wish = [("x-rung-deadline-ms", "5")];
    let refusal = delayed(options(), never, strong).await.request(&wish, CHAT).await.refusal();
    assert_eq!(refusal.1, "rung_deadline");
}

#[tokio::test]
async fn the_model_is_written_into_the_body_where_that_is_wished_for() {
    let mut front = front(Options { rewrite_model: true, ..passing() }, strong).await;
    let seen = front.request(&[], CHAT).await;
    let expected = String::from_utf8_lossy(CHAT).replace("\"auto\"", "\"big\"");
    assert_eq!(String::from_utf8(seen.body.unwrap()).unwrap(), expected);
    assert_eq!(seen.set.get("content-length"), None, "chunks have no length");
    let told = front.request(&[("content-length", "77")], CHAT).await;
    assert_eq!(told.header("content-length"), Some(told.body.as_ref().unwrap().len().to_string().as_str()));
    // What passes is for the fallback's model, as far as the body could be read.
    let passed = front.request(&[], br#"{"model": "auto", "prompt": ""}"#).await;
    assert_eq!(passed.body.unwrap(), br#"{"model": "cheap", "prompt": ""}"#);
    assert!(front.request(&[], b"not json").await.body.is_none());
}

#[tokio::test]
async fn a_body_that_was_cut_off_is_too_long_and_one_with_trailers_is_not() {
    let mut front = front(options(), strong).await;
    let partial = || headers_in(&[], BodySendMode::BufferedPartial, false);
    let (answers, ended) = front.say(vec![partial(), body(&CHAT[..40], false)]).await;
    assert!(ended.is_ok());
    assert_eq!(Seen::of(&answers).refusal().1, "rung_body_too_long");
    let (answers, _) = front.say(vec![partial(), body(CHAT, false)]).await;
    assert_eq!(Seen::of(&answers).header("x-rung-model"), Some("big"));
    // Buffered, the body is whole even where trailers follow.
    let (answers, _) = front.say(vec![headers(&[]), body(&CHAT[..40], false)]).await;
    assert_eq!(Seen::of(&answers).refusal().1, "rung_not_json");
}

#[tokio::test]
async fn a_data_plane_that_does_not_speak_the_protocol_is_told_so() {
    let mut front = front(passing(), strong).await;
    let trailers = || message(processing_request::Request::RequestTrailers(HttpTrailers::default()));
    let late = || message(processing_request::Request::ResponseHeaders(HttpHeaders::default()));
    let modes =
        [BodySendMode::None, BodySendMode::Streamed, BodySendMode::FullDuplexStreamed, BodySendMode::Grpc];
    for mode in modes {
        let (answers, ended) = front.say(vec![headers_in(&[], mode, false), body(b"{", false)]).await;
        let status = ended.unwrap_err();
        assert_eq!((answers.len(), status.code()), (0, Code::FailedPrecondition));
        assert!(status.message().contains(mode.as_str_name()), "{status}");
    }
    let observing = ProcessingRequest { observability_mode: true, ..headers(&[]) };
    let orders = [
        (vec![whole_body(CHAT)], 0, Code::InvalidArgument),
        (vec![headers(&[]), headers(&[])], 1, Code::InvalidArgument),
        (vec![headers(&[]), trailers()], 1, Code::InvalidArgument),
        (vec![late()], 0, Code::InvalidArgument),
        (vec![ProcessingRequest::default()], 0, Code::InvalidArgument),
        (vec![observing], 0, Code::FailedPrecondition),
        // Beyond what is decoded at all.
        (vec![headers(&[]), whole_body(&vec![b'x'; 1 << 20])], 1, Code::OutOfRange),
    ];
    for (messages, answered, code) in orders {
        let (answers, ended) = front.say(messages).await;
        assert_eq!((answers.len(), ended.unwrap_err().code()), (answered, code));
    }
    let (answers, ended) = front.say(vec![headers(&[])]).await;
    assert_eq!((answers.len(), ended.is_ok()), (1, true), "a caller who hangs up is no error");
    // And the next request is served as ever.
    assert_eq!(front.request(&[], CHAT).await.header("x-rung-model"), Some("big"));
}

#[tokio::test]
async fn an_old_data_plane_that_does_not_tell_its_mode_is_not_told_another() {
    let mut front = front(options(), strong).await;
    let silent = ProcessingRequest { protocol_config: None, ..headers(&[]) };
    let (answers, ended) = front.say(vec![silent, whole_body(CHAT)]).await;
    assert!(ended.is_ok() && answers[0].mode_override.is_none());
    assert_eq!(Seen::of(&answers).header("x-rung-model"), Some("big"));
}
