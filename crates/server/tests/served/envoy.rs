//! A real Envoy with deploy/envoy/envoy.yaml between a caller and two upstreams: easy and hard queries reach different
//! ones, and no header of a caller changes that. Envoy comes from scripts/deploy-deps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::{Running, serve_router};
use router::{Router, RouterOptions};
use server::config::Settings;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

const EASY: &str = "Translate hello to French.";
const HARD: &str = "Find the degree of the field extension Q(sqrt(2), sqrt(3), sqrt(18)) over Q.";
/// Generous: two cores are shared with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn envoy() -> Option<PathBuf> {
    if std::env::var_os("RUNG_NO_CLIENTS").is_some() {
        println!("left out: Envoy (RUNG_NO_CLIENTS)");
        return None;
    }
    let envoy = root().join("target/deploy/bin/envoy");
    if !envoy.exists() {
        let missing = "Envoy is not installed: run scripts/deploy-deps";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{missing}");
        println!("left out: {missing}");
        return None;
    }
    Some(envoy)
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Head and body of an HTTP/1.1 message that tells its length, or ends with its connection.
async fn message(stream: &mut (impl AsyncRead + Unpin)) -> Option<(String, Vec<u8>)> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(read[..end].to_vec()).ok()?;
    let mut body = read.split_off(end + 4);
    let length = header(&head, "content-length").and_then(|value| value.parse::<usize>().ok());
    let chunked = header(&head, "transfer-encoding").is_some();
    let whole = |body: &[u8]| match length {
        Some(length) => body.len() >= length,
        None => chunked && body.ends_with(b"0\r\n\r\n"),
    };
    while !whole(&body) && stream.read_buf(&mut body).await.ok()? > 0 {}
    Some((head, if chunked { joined(&body)? } else { body }))
}

/// What chunks say together: Envoy sends a body that was changed so.
fn joined(mut chunks: &[u8]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let line = chunks.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&chunks[..line]).ok()?, 16).ok()?;
        if length == 0 {
            return Some(all);
        }
        all.extend(chunks.get(line + 2..line + 2 + length)?);
        chunks = chunks.get(line + 2 + length + 2..)?;
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.trim().to_owned())
}

/// An upstream that answers its name, and what it was sent.
async fn upstream(name: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Some((head, body)) = message(&mut stream).await else { return };
                let seen = serde_json::json!({
                    "upstream": name,
                    "head": head,
                    "body": String::from_utf8_lossy(&body),
                });
                let seen = seen.to_string();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{seen}",
                    seen.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    port
}

/// What came back of a request.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: serde_json::Value,
}

impl Answer {
    fn upstream(&self) -> &str {
        self.body["upstream"].as_str().unwrap_or_default()
    }

    /// What the upstream saw under a header's name.
    fn seen(&self, name: &str) -> Option<String> {
        header(self.body["head"].as_str()?, name)
    }
}

/// Rung, Envoy before it and two upstreams behind that.
struct Gateway {
    port: u16,
    server: Running,
    _envoy: Child,
    folder: tempfile::TempDir,
}

impl Gateway {
    async fn start(envoy: &Path, mut settings: Settings) -> Self {
        let router = Router::load(&root().join("models/default"), &RouterOptions::default()).unwrap();
        let (port, ext_proc) = (free_port(), free_port());
        settings.ext_proc.listen = Some(([127, 0, 0, 1], ext_proc).into());
        // Two busy cores must not make a test late.
        settings.ext_proc.timeout_ms = Some(30_000);
        let server = serve_router(Arc::new(router), settings).await;
        let (strong, weak) = (upstream("strong").await, upstream("weak").await);
        let replacements = BTreeMap::from([
            ("address: 0.0.0.0, port_value: 8080", format!("address: 127.0.0.1, port_value: {port}")),
            (
                "address: 127.0.0.1, port_value: 9901",
                format!("address: 127.0.0.1, port_value: {}", free_port()),
            ),
            ("address: rung, port_value: 50053", format!("address: 127.0.0.1, port_value: {ext_proc}")),
            ("address: strong-model, port_value: 8000", format!("address: 127.0.0.1, port_value: {strong}")),
            ("address: weak-model, port_value: 8000", format!("address: 127.0.0.1, port_value: {weak}")),
            ("message_timeout: 0.25s", "message_timeout: 40s".to_owned()),
            ("            timeout: 1s", "            timeout: 60s".to_owned()),
        ]);
        let mut config = std::fs::read_to_string(root().join("deploy/envoy/envoy.yaml")).unwrap();
        for (from, to) in replacements {
            assert!(config.contains(from), "envoy.yaml holds {from:?} no more");
            config = config.replace(from, &to);
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("envoy.yaml");
        std::fs::write(&file, config).unwrap();
        let log = std::fs::File::create(folder.path().join("envoy.log")).unwrap();
        let envoy = Command::new(envoy)
            .arg("-c")
            .arg(&file)
            .args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"])
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let gateway = Self { port, server, _envoy: envoy, folder };
        gateway.ready().await;
        gateway
    }

    /// Until Envoy listens and has found Rung well.
    async fn ready(&self) {
        let start = Instant::now();
        loop {
            let answer = self.try_post("/v1/chat/completions", &[], &chat(EASY)).await;
            if answer.is_some_and(|answer| answer.status == 200) {
                return;
            }
            let log = || std::fs::read_to_string(self.folder.path().join("envoy.log"));
            assert!(start.elapsed() < PATIENCE, "Envoy is not ready: {:?}", log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.try_post(path, headers, body).await.unwrap()
    }

    async fn try_post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Option<Answer> {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: models\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        let (mut answer, mut question) = stream.split();
        // What is too long is answered before it is read to its end.
        let (answer, _) = tokio::join!(message(&mut answer), question.write_all(request.as_bytes()));
        let (head, body) = answer?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let body = serde_json::from_slice(&body).unwrap_or_default();
        Some(Answer { status, head, body })
    }
}

fn chat(text: &str) -> String {
    serde_json::json!({"model": "auto", "messages": [{"role": "user", "content": text}]}).to_string()
}

#[tokio::test]
async fn easy_and_hard_queries_reach_different_upstreams() {
    let Some(envoy) = envoy() else { return };
    let mut settings = Settings::default();
    settings.ext_proc.rewrite_model = Some(true);
    let gateway = Gateway::start(&envoy, settings).await;
    let (strong, weak) = ("gemini-1.5-pro-002", "Meta-Llama-3.1-8B-Instruct");
    for (text, upstream, model) in [(EASY, "weak", weak), (HARD, "strong", strong)] {
        let smuggled = [
            ("x-rung-model", if upstream == "weak" { strong } else { weak }),
            ("x-rung-fallback", "no"),
            ("x-rung-label-tenant", "acme"),
            ("authorization", "Bearer upstream-key"),
        ];
        let answer = gateway.post("/v1/chat/completions", &smuggled, &chat(text)).await;
        assert_eq!((answer.status, answer.upstream()), (200, upstream), "{answer:?}");
        assert_eq!(answer.seen("x-rung-model").as_deref(), Some(model));
        assert_eq!(answer.seen("x-rung-tier").as_deref(), Some(upstream));
        assert_eq!((answer.seen("x-rung-fallback"), answer.seen("x-rung-label-tenant")), (None, None));
        assert_eq!(answer.seen("authorization").as_deref(), Some("Bearer upstream-key"));
        let odds: f64 = answer.seen("x-rung-win-probability").unwrap().parse().unwrap();
        assert!((0.0..=1.0).contains(&odds));
        // The caller can report outcomes of the same decision.
        assert_eq!(header(&answer.head, "x-rung-decision-id"), answer.seen("x-rung-decision-id"));
        let sent = chat(text).replace("\"auto\"", &format!("\"{model}\""));
        assert_eq!(answer.body["body"], sent.as_str(), "the body with another model, all of it");
    }
    // A threshold of the caller's own is obeyed: at 0 everything is worth the strong model.
    let all = [("x-rung-threshold", "0")];
    assert_eq!(gateway.post("/v1/chat/completions", &all, &chat(EASY)).await.upstream(), "strong");
    let refused = gateway.post("/v1/chat/completions", &[], "no json").await;
    assert_eq!((refused.status, refused.body["error"]["code"].as_str()), (400, Some("rung_not_json")));
    assert_eq!(header(&refused.head, "x-rung-refused").as_deref(), Some("not_json"));
    let long = gateway.post("/v1/chat/completions", &[], &chat(&"x".repeat(2 << 20))).await;
    assert_eq!(long.status, 413);
    // What has nothing to route does not wait for Rung, and smuggles nothing either.
    let aside = gateway.post("/v1/models", &[("x-rung-tier", "strong")], "no json").await;
    assert_eq!((aside.upstream(), aside.seen("x-rung-tier")), ("weak", None));
    gateway.server.end().await;
}

#[tokio::test]
async fn what_cannot_be_routed_passes_to_the_fallback_with_a_mark() {
    let Some(envoy) = envoy() else { return };
    let mut settings = Settings::default();
    settings.ext_proc.fallback_model = Some("Meta-Llama-3.1-8B-Instruct".into());
    let gateway = Gateway::start(&envoy, settings).await;
    let passed = gateway.post("/v1/completions", &[], "no json").await;
    assert_eq!((passed.status, passed.upstream()), (200, "weak"));
    assert_eq!(passed.seen("x-rung-fallback").as_deref(), Some("not_json"));
    assert_eq!(header(&passed.head, "x-rung-fallback").as_deref(), Some("not_json"));
    assert_eq!(passed.body["body"], "no json");
    let routed = gateway.post("/v1/responses", &[], &serde_json::json!({"input": HARD}).to_string()).await;
    assert_eq!((routed.upstream(), routed.seen("x-rung-fallback")), ("strong", None));
    gateway.server.end().await;
}
