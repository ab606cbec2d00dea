//! The served process and its log when it is killed, and under a load: what was answered is in the log but for what a
//! SIGKILL takes, at most the queue and a batch.
//!
//! `RUNG_FAULTS_FULL=1` makes the load last as long as `docs/reliability.md` says.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::process::serving;
use crate::support::{artifact, log_url, logged, logging, serve};
use api::v1;
use api::v1::route_request::Input;
use api::v1::router_service_client::RouterServiceClient;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// Records that may wait and that are written together: what a SIGKILL takes at most.
const QUEUE: usize = 64;
const BATCH: usize = 32;

/// The served binary, logging to a folder, and its address.
async fn process(folder: &Path) -> (Child, String) {
    let (queue, batch) = (QUEUE.to_string(), BATCH.to_string());
    let mut child = Command::new(env!("CARGO_BIN_EXE_server"))
        .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--log-when-full", "block"])
        .args(["--log-queue", &queue, "--log-batch", &batch, "--log-flush-ms", "20", "--decision-log"])
        .arg(log_url(folder))
        .arg("--log-spool")
        .arg(folder.join("spool"))
        .arg("--artifact")
        .arg(artifact())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (address, mut lines) = serving(&mut child).await;
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, address)
}

fn request(i: usize) -> v1::RouteRequest {
    v1::RouteRequest { input: Some(Input::Text(format!("question {i}"))), ..Default::default() }
}

/// Callers that ask as fast as they are answered, until the server is gone; ids of answers.
fn callers(address: &str, n: usize) -> mpsc::UnboundedReceiver<String> {
    let (sender, answered) = mpsc::unbounded_channel();
    for caller in 0..n {
        let (sender, address) = (sender.clone(), format!("http://{address}"));
        tokio::spawn(async move {
            let Ok(mut client) = RouterServiceClient::connect(address).await else { return };
            for i in 0.. {
                let Ok(answer) = client.route(request(caller * 1_000_000 + i)).await else { return };
                if sender.send(answer.into_inner().decision_id).is_err() {
                    return;
                }
            }
        });
    }
    answered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_take_no_more_than_they_may() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(50);
    let (mut answered, mut worst, mut lost) = (BTreeSet::new(), 0, 0);
    for _ in 0..50 {
        let (mut child, address) = process(folder.path()).await;
        let mut ids = callers(&address, 4);
        tokio::time::sleep(Duration::from_millis(rng.random_range(5..150))).await;
        child.kill().await.unwrap();
        let mut of_run = BTreeSet::new();
        while let Some(id) = ids.recv().await {
            of_run.insert(id);
        }
        // The next server finds the log as this one left it.
        let (mut next, _) = process(folder.path()).await;
        next.kill().await.unwrap();
        let log = logged(log_url(folder.path())).await;
        let missing = of_run.iter().filter(|id| !log.contains_key(*id)).count();
        assert!(missing <= QUEUE + BATCH, "{missing} of {} are missing", of_run.len());
        (worst, lost) = (worst.max(missing), lost + missing);
        answered.extend(of_run);
    }
    let log = logged(log_url(folder.path())).await;
    let found = answered.iter().filter(|id| log.contains_key(*id)).count();
    eprintln!(
        "50 SIGKILLs: {} decisions answered, {found} logged, {lost} lost, {worst} by one kill at most ({} may be)",
        answered.len(),
        QUEUE + BATCH
    );
    assert_eq!(found + lost, answered.len(), "what one kill left is not lost by a later one");
    assert!(answered.len() > 5_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_server_has_logged_every_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, address) = process(folder.path()).await;
    let mut ids = callers(&address, 4);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
    let ended = tokio::time::timeout(Duration::from_secs(30), child.wait()).await.unwrap().unwrap();
    assert!(ended.success(), "{ended:?}");
    let mut answered = Vec::new();
    while let Some(id) = ids.recv().await {
        answered.push(id);
    }
    let log = logged(log_url(folder.path())).await;
    assert!(answered.len() > 100 && answered.iter().all(|id| log.contains_key(id)));
}

/// 5,000 decisions a second in batches of fifty, for as long as it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_is_logged_whole() {
    const RATE: usize = 5_000;
    const BATCH: usize = 50;
    let seconds = if std::env::var_os("RUNG_FAULTS_FULL").is_some() { 60 } else { 3 };
    let folder = tempfile::tempdir().unwrap();
    let mut settings = logging(folder.path());
    settings.decision_log.flush_ms = None;
    settings.monitoring.every_ms = None;
    let server = serve(settings).await;
    let mut client = server.client().await;
    let (start, mut answered) = (Instant::now(), 0);
    let mut tick = tokio::time::interval(Duration::from_secs_f64(BATCH as f64 / RATE as f64));
    for batch in 0..seconds * RATE / BATCH {
        tick.tick().await;
        let requests = (0..BATCH).map(|i| request(batch * BATCH + i)).collect();
        let items = client.route_batch(v1::RouteBatchRequest { requests }).await.unwrap().into_inner().items;
        answered += items
            .iter()
            .filter(|item| matches!(item.result, Some(v1::route_item::Result::Response(_))))
            .count();
    }
    let took = start.elapsed();
    drop(client);
    server.end().await;
    let log = logged(log_url(folder.path())).await;
    eprintln!(
        "load: {answered} decisions in {:.1} s ({:.0} a second), {} logged, {} lost",
        took.as_secs_f64(),
        answered as f64 / took.as_secs_f64(),
        log.len(),
        answered - log.len()
    );
    assert_eq!((answered, log.len()), (seconds * RATE, seconds * RATE));
}
