//! The served binary as operations see it: time from start to first answer, resident memory, and
//! latency at a steady thousand requests a second. Criterion times closures; these are of a process
//! and of single requests, so they are taken here and left in `target/process.json` for the report.
#![allow(missing_docs, clippy::print_stdout, reason = "a bench")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::v1;
use api::v1::route_request::Input;
use api::v1::router_service_client::RouterServiceClient;
use benches::{artifact, prose, resident_mib, serve_echo, target};
use hdrhistogram::Histogram;
use tokio::net::TcpListener;
use tonic::transport::Channel;

type Client = RouterServiceClient<Channel>;

const PER_SECOND: u64 = 1_000;
const PROMPT_TOKENS: usize = 100;
const LONGEST_START: Duration = Duration::from_secs(30);

struct Server {
    child: Child,
    /// Where its log is; gone when it is.
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn main() -> Result<()> {
    let short = std::env::args().any(|arg| arg == "--test");
    let (starts, seconds) = if short { (1, 1) } else { (7, 10) };
    let binary = built_server()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let mut cold_ms: Vec<f64> = Vec::new();
    let mut running = None;
    for _ in 0..starts {
        drop(running.take());
        let (server, client, elapsed) = runtime.block_on(start(&binary))?;
        cold_ms.push(1e3 * elapsed.as_secs_f64());
        running = Some((server, client));
    }
    cold_ms.sort_by(f64::total_cmp);
    let (server, client) = running.context("no start was measured")?;
    let echo = runtime.block_on(echo())?;
    let route = runtime.block_on(steady(&client, seconds))?;
    let resident = resident_mib(server.child.id());
    let echo = runtime.block_on(steady(&echo, seconds))?;
    let us = |h: &Histogram<u64>, q: f64| h.value_at_quantile(q) as f64 / 1e3;
    let report = serde_json::json!({
        "cold_start_ms_median": cold_ms[cold_ms.len() / 2],
        "cold_starts": starts,
        "resident_mib": resident,
        "requests_per_second": PER_SECOND,
        "seconds": seconds,
        "route_us": {"p50": us(&route, 0.5), "p99": us(&route, 0.99)},
        "echo_us": {"p50": us(&echo, 0.5), "p99": us(&echo, 0.99)},
    });
    println!("{report:#}");
    if !short {
        std::fs::write(target().join("process.json"), report.to_string())?;
    }
    Ok(())
}

fn built_server() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(["build", "--quiet", "--release", "-p", "server"]).status()?;
    ensure!(status.success(), "the server does not build");
    Ok(target().join("release").join(format!("server{}", std::env::consts::EXE_SUFFIX)))
}

fn request() -> v1::RouteRequest {
    v1::RouteRequest { input: Some(Input::Text(prose(PROMPT_TOKENS))), ..Default::default() }
}

async fn connect(address: &str) -> Result<Client> {
    let channel = Channel::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
    Ok(RouterServiceClient::new(channel.connect().await?))
}

/// Starts the server and waits for its first answer; the time is from spawning to that answer.
async fn start(binary: &Path) -> Result<(Server, Client, Duration)> {
    let address = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.to_string();
    let begun = Instant::now();
    let mut command = Command::new(binary);
    command.args(["serve", "--listen", &address, "--artifact"]).arg(artifact());
    // As it is served: with its log, in a folder that goes with it.
    let folder = tempfile::tempdir()?;
    let log = format!("sqlite:{}/log.db", folder.path().display());
    command.args(["--decision-log", &log, "--log-spool"]).arg(folder.path().join("spool"));
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let server = Server { child, _folder: folder };
    while begun.elapsed() < LONGEST_START {
        if let Ok(mut client) = connect(&address).await {
            let answer = client.route(request()).await?.into_inner();
            let elapsed = begun.elapsed();
            ensure!(answer.input_tokens_used == PROMPT_TOKENS as u32 && !answer.model.is_empty());
            return Ok((server, client, elapsed));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    anyhow::bail!("no answer after {LONGEST_START:?}")
}

async fn echo() -> Result<Client> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(serve_echo(listener));
    connect(&address).await
}

/// Nanoseconds from sending to answer at [`PER_SECOND`], whether or not earlier answers are back.
async fn steady(client: &Client, seconds: u64) -> Result<Histogram<u64>> {
    let histogram = Arc::new(Mutex::new(Histogram::<u64>::new(3)?));
    let mut tick = tokio::time::interval(Duration::from_secs(1) / PER_SECOND as u32);
    let mut callers = Vec::new();
    for _ in 0..PER_SECOND * seconds {
        tick.tick().await;
        let (mut client, histogram) = (client.clone(), histogram.clone());
        callers.push(tokio::spawn(async move {
            let request = request();
            let sent = Instant::now();
            client.route(request).await?;
            let nanos = sent.elapsed().as_nanos() as u64;
            histogram.lock().unwrap_or_else(std::sync::PoisonError::into_inner).record(nanos)?;
            anyhow::Ok(())
        }));
    }
    for caller in callers {
        caller.await??;
    }
    let measured = histogram.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    ensure!(measured.len() == PER_SECOND * seconds, "every request is measured");
    Ok(measured)
}
