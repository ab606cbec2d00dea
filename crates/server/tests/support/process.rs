//! The served binary as a process of its own, with its memory, and a caller that behaves while others do not.

use std::error::Error as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use api::v1;
use api::v1::route_request::Input;
use api::v1::router_service_client::RouterServiceClient;
use rustls::ClientConfig;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;
use tonic::Code;
use tonic::transport::Channel;

use super::access::secure;

/// Waits until a process that logs JSON serves: its address, and what it logs next.
pub async fn serving(child: &mut Child) -> (String, Lines<BufReader<ChildStderr>>) {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    loop {
        let line = lines.next_line().await.unwrap().expect("the server ended before it served");
        let line: serde_json::Value = serde_json::from_str(&line).expect(&line);
        if line["fields"]["message"] == "serving" {
            return (line["fields"]["address"].as_str().unwrap().to_owned(), lines);
        }
    }
}

/// A server in a process of its own; dropped, it is killed.
pub struct Process {
    child: Child,
    pub address: String,
    /// What it has logged since.
    pub lines: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Process {
    /// Starts the binary on a free port.
    pub async fn start(artifact: &Path, args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_server"))
            .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--decision-log", "none"])
            .arg("--artifact")
            .arg(artifact)
            .args(args)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (address, mut from) = serving(&mut child).await;
        let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        tokio::spawn(async move {
            while let Ok(Some(line)) = from.next_line().await {
                kept.lock().unwrap().push(line);
            }
        });
        Self { child, address, lines }
    }

    /// Kilobytes in memory now.
    pub fn resident_kb(&self) -> u64 {
        let pid = self.child.id().expect("the server has ended");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Files that it has open.
    pub fn files(&self) -> usize {
        let pid = self.child.id().expect("the server has ended");
        std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
    }
}

/// A caller that asks the same again and again, and has to be answered the same.
pub struct Honest {
    answered: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    asking: JoinHandle<()>,
}

fn question() -> v1::RouteRequest {
    v1::RouteRequest { input: Some(Input::Text("What is 2 + 2?".into())), ..Default::default() }
}

impl Honest {
    pub async fn begin(address: &str, config: Option<&Arc<ClientConfig>>) -> Self {
        let channel = match config {
            Some(config) => secure(address, config).await.unwrap(),
            None => Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap(),
        };
        let mut client = RouterServiceClient::new(channel);
        let expected = client.route(question()).await.unwrap().into_inner();
        let (answered, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (Arc::clone(&answered), Arc::clone(&over));
        let asking = tokio::spawn(async move {
            while !end.load(Ordering::Relaxed) {
                // Generous: it is there so that a server that hangs fails the test.
                let asked = tokio::time::timeout(Duration::from_secs(60), client.route(question())).await;
                let answer = match asked.expect("an honest caller was left waiting") {
                    Ok(answer) => answer.into_inner(),
                    // The connection went as the call began: gRPC's own clients begin it again, tonic's does not.
                    Err(status) if status.code() == Code::Cancelled && status.source().is_some() => continue,
                    Err(status) => panic!("{status}"),
                };
                assert_eq!(answer.win_probability, expected.win_probability);
                assert_eq!(answer.model, expected.model);
                count.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        Self { answered, over, asking }
    }

    /// Waits for so many more answers, however long they take.
    pub async fn hears(&self, more: u64) {
        let until = self.answered.load(Ordering::Relaxed) + more;
        while self.answered.load(Ordering::Relaxed) < until && !self.asking.is_finished() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Fails where a call of it failed.
    pub async fn end(self) {
        self.hears(20).await;
        self.over.store(true, Ordering::Relaxed);
        self.asking.await.unwrap();
    }
}
