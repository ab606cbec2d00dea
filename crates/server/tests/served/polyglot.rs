//! The clients of `clients/` against the real server: all read one number, bit for bit; their own tests pass;
//! README's quick starts run as they stand there; each speaks TLS with a token.

/// README's quick start in Rust lives in an example of the client.
#[path = "../../../../clients/rust/examples/quickstart.rs"]
#[allow(dead_code, reason = "its main is not called here")]
mod quickstart;

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use crate::support::callers::{go, installed, printed, python, root, run};
use crate::support::guarded::{self, TENANT, TOKEN};
use crate::support::{Running, cascade, logging, serve};
use api::v1;
use api::v1::report_outcome_request::Outcome;
use api::v1::route_request::Input;
use rung_client::{Answer, CallError, Cascaded, Client, Config, Decision, Fallback, Question, Tls};
use server::config::Settings;
use tonic::Code;

const TEXT: &str = "Übersetze: prove √2 ∉ ℚ, then list 3 uses. 東京";
/// Long enough for any machine: no test waits for it to pass.
const LONG: Duration = Duration::from_secs(20);

fn client(address: &str) -> Client {
    let config = Config::new(address, Fallback::strong("big-model"));
    Client::new(config.deadline(LONG).report_deadline(LONG)).unwrap()
}

fn win_probability(output: &Output) -> f64 {
    let text = printed(output);
    let json: serde_json::Value = serde_json::from_str(text.trim()).unwrap_or_else(|e| panic!("{e}: {text}"));
    json["win_probability"].as_f64().unwrap_or_else(|| panic!("no decision: {text}"))
}

/// What the examples in Python, with threads and with asyncio, and in Node print.
async fn examples(address: &str, environment: &[(&str, &str)]) -> [Output; 3] {
    let (root, arguments) = (root(), |script| [script, address, TEXT]);
    let asyncio = [environment, &[("RUNG_ASYNC", "1")]].concat();
    [
        run(python(), &arguments("clients/python/examples/route.py"), environment, &root).await,
        run(python(), &arguments("clients/python/examples/route.py"), &asyncio, &root).await,
        run("node", &arguments("clients/node/examples/route.mjs"), environment, &root).await,
    ]
}

#[tokio::test]
async fn all_languages_read_one_number() {
    let server = serve(Settings::default()).await;
    let request = v1::RouteRequest { input: Some(Input::Text(TEXT.into())), ..Default::default() };
    let rust = server.client().await.route(request).await.unwrap().into_inner().win_probability;
    let routed = client(&server.address).route(TEXT).await.unwrap();
    assert_eq!(routed.routed().unwrap().win_probability.to_bits(), rust.to_bits());
    if !installed() {
        return;
    }
    for output in examples(&server.address, &[]).await {
        assert_eq!(win_probability(&output).to_bits(), rust.to_bits());
    }
    if let Some(go) = go() {
        let output = run(go, &[&server.address, TEXT], &[], &root()).await;
        assert_eq!(win_probability(&output).to_bits(), rust.to_bits());
    }
}

#[tokio::test]
async fn the_rust_client_meets_the_real_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(logging(folder.path())).await;
    let client = client(&server.address);
    assert!(!client.info().await.unwrap().artifact.is_empty());
    let batch = client.route_batch(["a", "b"].map(Question::from)).await.unwrap();
    let Ok(Decision::Routed(decision)) = &batch[0] else { panic!("{batch:?}") };
    let report = v1::ReportOutcomeRequest {
        decision_id: decision.decision_id.clone(),
        source: "app".into(),
        observed_us: None,
        outcome: Some(Outcome::Thumbs(v1::Thumbs { up: true })),
    };
    for status in [v1::OutcomeStatus::Recorded, v1::OutcomeStatus::Duplicate] {
        assert_eq!(client.report_outcome(report.clone()).await.unwrap().status(), status);
    }
    let nothing = v1::RouteRequest::default();
    assert_eq!(client.route(nothing).await.unwrap_err().0.code(), Code::InvalidArgument);
    let error = client.match_intent(v1::MatchRequest::default()).await.unwrap_err();
    assert!(matches!(error, CallError::Refused(_)), "this server has no catalogue: {error}");
    server.end().await;
    let gone = client.route(TEXT).await.unwrap();
    assert_eq!((gone.model(), gone.fallback().unwrap().reason.name()), ("big-model", "unreachable"));
}

#[tokio::test]
async fn the_rust_client_goes_through_a_cascade() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(cascade::settings(folder.path())).await;
    let answer = |length: usize| async move { Ok::<_, String>(Answer::from(cascade::bytes(length))) };
    let calling = |model: String| {
        answer(match model.as_str() {
            "small" => 100,
            "medium" => 60,
            _ => 1_000,
        })
    };
    let ended = client(&server.address).cascade(cascade::planning(), calling).await.unwrap();
    let Cascaded::Accepted { answer: accepted, verdict } = ended else { panic!("{ended:?}") };
    assert_eq!((accepted.text.len(), verdict.model.as_str()), (1_000, "large"));
    let ended = client(&server.address).cascade(cascade::planning(), |_| answer(1)).await.unwrap();
    assert!(matches!(ended, Cascaded::Abstained { last: Some(_) }), "{ended:?}");
}

/// A server that logs, and one with a verifier.
async fn two_servers(folder: &Path) -> (Running, Running) {
    (serve(logging(folder)).await, serve(cascade::settings(folder)).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_clients_own_tests_pass() {
    if !installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (server, cascading) = two_servers(folder.path()).await;
    let addresses = [("RUNG_ADDRESS", &*server.address), ("RUNG_CASCADE_ADDRESS", &*cascading.address)];
    let arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider"];
    let said = printed(&run(python(), &arguments, &addresses, &root().join("clients/python")).await);
    assert!(said.contains(" passed") && !said.contains("skipped"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_clients_own_tests_pass() {
    if !installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (server, cascading) = two_servers(folder.path()).await;
    let addresses = [("RUNG_ADDRESS", &*server.address), ("RUNG_CASCADE_ADDRESS", &*cascading.address)];
    let tests = ["attempts", "double", "server"].map(|name| format!("test/{name}.test.mjs"));
    let arguments = ["--test", "--test-reporter=tap", &tests[0], &tests[1], &tests[2]];
    let said = printed(&run("node", &arguments, &addresses, &root().join("clients/node")).await);
    assert!(said.contains("# skipped 0") && !said.contains("# pass 0"), "{said}");
}

#[tokio::test]
async fn every_client_shows_a_certificate_and_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let guarded = guarded::serve(folder.path()).await;
    let pem = |path: &str| std::fs::read(path).unwrap();
    let tls = Tls {
        ca: Some(pem(&guarded.ca)),
        identity: Some((pem(&guarded.certificate), pem(&guarded.key))),
        server_name: None,
    };
    let config = Config::new(&guarded.address, Fallback::strong("big-model")).deadline(LONG).tls(tls.clone());
    let known = Client::new(config.clone().token(TOKEN).tenant(TENANT)).unwrap();
    assert_eq!(known.route(TEXT).await.unwrap().routed().unwrap().win_probability, 0.125);
    let refused = Client::new(config.clone().token("rung_app_other")).unwrap().route(TEXT).await.unwrap_err();
    assert_eq!(refused.0.code(), Code::Unauthenticated);
    let stranger = Client::new(config.tls(Tls { identity: None, ..tls })).unwrap().route(TEXT).await.unwrap();
    assert!(stranger.fallback().is_some(), "without a certificate there is no connection");
    if !installed() {
        return;
    }
    let files =
        [("RUNG_CA", &*guarded.ca), ("RUNG_CERT", &*guarded.certificate), ("RUNG_KEY", &*guarded.key)];
    let named = [&files[..], &[("RUNG_TOKEN", TOKEN), ("RUNG_TENANT", TENANT)]].concat();
    for output in examples(&guarded.address, &named).await {
        assert_eq!(win_probability(&output), 0.125);
    }
    let wrong = [&files[..], &[("RUNG_TOKEN", "rung_app_other"), ("RUNG_TENANT", TENANT)]].concat();
    for output in examples(&guarded.address, &wrong).await {
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains("UNAUTHENTICATED"), "{error}");
    }
}

/// README's block in a language that names a client.
fn readme(language: &str) -> String {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let section = readme.split("grpcurl (reflection is on):").nth(1).expect("README has the quick starts");
    let block = section.split(&format!("```{language}\n")).nth(1).expect("README has one per language");
    block.split("```").next().unwrap().to_owned()
}

/// Lines without their indentation.
fn lines(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn readmes_quick_starts_run() {
    let server = serve(Settings::default()).await;
    let here = |text: &str| text.replace("127.0.0.1:50051", &server.address);
    let model = client(&server.address).route("Where is my parcel?").await.unwrap().model().to_owned();
    let example = std::fs::read_to_string(root().join("clients/rust/examples/quickstart.rs")).unwrap();
    let shown = readme("rust").replace("\"127.0.0.1:50051\"", "address");
    assert!(lines(&example).contains(&lines(&shown)), "README shows another quick start in Rust: {shown}");
    // The first call opens the connection; the one that counts is within README's 50 ms on any machine that is
    // not asleep.
    let asked = async || quickstart::ask(&server.address).await.unwrap();
    until(&model, asked).await;
    let example = std::fs::read_to_string(root().join("clients/go/main.go")).unwrap();
    assert!(lines(&example).contains(&lines(&readme("go"))), "README shows another quick start in Go");
    if !installed() {
        return;
    }
    let root = root();
    let code = here(&readme("python"));
    until(&model, async || printed(&run(python(), &["-c", &code], &[], &root).await)).await;
    let code = here(&readme("js"));
    let folder = root.join("clients/node");
    let arguments = ["--input-type=module", "--eval", &code];
    until(&model, async || printed(&run("node", &arguments, &[], &folder).await)).await;
}

/// Runs a quick start until it prints the server's decision: its deadline is README's, which a busy machine may
/// miss.
async fn until(model: &str, mut run: impl AsyncFnMut() -> String) {
    for _ in 0..20 {
        let said = run().await;
        if said.starts_with(model) {
            return;
        }
        assert!(said.starts_with("big-model"), "neither the decision nor the fallback: {said}");
    }
    panic!("never a decision of the server");
}
