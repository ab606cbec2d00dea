//! A small trained artifact and a real server on a free port.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::expect_used,
    reason = "shared by test binaries that use different parts"
)]

pub mod access;
pub mod callers;
pub mod cascade;
pub mod collector;
pub mod deep;
pub mod guarded;
pub mod process;
pub mod scrape;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use api::v1::router_service_client::RouterServiceClient;
use corpus::{Fractions, starter};
use router::{Backend, Router, RouterOptions};
use server::config::{Config, Settings};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use training::calibrate::{Calibration, CrossFit};
use training::fit::{FitConfig, Silent};
use training::pipeline::{Evidence, Plan, train, write};

/// The folder of an artifact trained on a small starter corpus, once per test binary.
pub fn artifact() -> PathBuf {
    static FOLDER: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    FOLDER.get_or_init(|| trained(5, usize::MAX)).1.clone()
}

/// Another one.
pub fn other_artifact() -> PathBuf {
    static FOLDER: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    FOLDER.get_or_init(|| trained(6, usize::MAX)).1.clone()
}

/// One that knows the default pair alone.
pub fn lean_artifact() -> PathBuf {
    static FOLDER: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    FOLDER.get_or_init(|| trained(7, 1)).1.clone()
}

fn trained(seed: u64, pairs: usize) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let artifact = folder.path().join("small");
    let mut examples = starter::generate(1_500, seed);
    corpus::group_duplicates(&mut examples);
    let plan = Plan {
        name: "small".into(),
        pairs: training::commands::starter_pairs().unwrap().into_iter().take(pairs).collect(),
        network: classifier_config(),
        fit: FitConfig { epochs: 3, ..FitConfig::default() },
        prior: None,
        cross_fit: CrossFit::Off,
        calibration: Calibration::default(),
        high_stakes: vec!["high_stakes".into()],
        backends: [(starter::ladder().unwrap().cheapest().clone(), identity())].into(),
        fractions: Fractions { fit: 0.6, dev: 0.1, calibrate: 0.15, test: 0.15 },
        backend: Backend::Flex,
        checkpoints: None,
        truth_pair: None,
        deep: None,
        command: "a test".into(),
    };
    let trained = train(&examples, &plan, &AtomicBool::new(false), &mut Silent, &mut |_| {}).unwrap();
    let evidence = Evidence {
        examples: &examples,
        sources: vec!["starter corpus".into()],
        simulated: true,
        benchmark: None,
    };
    write(&trained, &evidence, &plan, &artifact).unwrap();
    (folder, artifact)
}

fn classifier_config() -> training::NetworkConfig {
    training::NetworkConfig { latent: 4, token_dim: 8, hidden: 16, ..Default::default() }
}

/// A router over [`artifact`].
pub fn router() -> Arc<Router> {
    Arc::new(Router::load(&artifact(), &RouterOptions::default()).unwrap())
}

/// A running server; dropped, it stops.
pub struct Running {
    pub address: String,
    pub stop: Option<oneshot::Sender<()>>,
    pub served: JoinHandle<Result<(), server::ServeError>>,
}

/// Serves on a free port.
pub async fn serve(settings: Settings) -> Running {
    serve_router(router(), settings).await
}

/// Serves this router on a free port.
pub async fn serve_router(router: Arc<Router>, mut settings: Settings) -> Running {
    settings.decision_log.url.get_or_insert_with(|| "none".to_owned());
    let config: Config = settings.build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(async move {
        server::run(listener, router, &config, async {
            let _ = stopped.await;
        })
        .await
    });
    Running { address, stop: Some(stop), served }
}

impl Running {
    pub async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    /// Drains it and waits for its end.
    pub async fn end(mut self) {
        drop(self.stop.take());
        self.served.await.unwrap().unwrap();
    }

    pub async fn client(&self) -> RouterServiceClient<Channel> {
        RouterServiceClient::connect(format!("http://{}", self.address)).await.unwrap()
    }
}

/// Settings that log to a SQLite file of a folder.
pub fn logging(folder: &std::path::Path) -> Settings {
    let mut settings = Settings::default();
    settings.decision_log.url = Some(log_url(folder));
    settings.decision_log.spool = Some(folder.join("spool"));
    settings.decision_log.flush_ms = Some(5);
    settings.monitoring.every_ms = Some(20);
    settings
}

pub fn log_url(folder: &std::path::Path) -> String {
    format!("sqlite:{}/log.db", folder.display())
}

/// Every decision of a log with what was reported of it, by id.
pub async fn logged(url: String) -> std::collections::BTreeMap<String, decision_log::Joined> {
    let read = move || {
        let mut all = std::collections::BTreeMap::new();
        decision_log::read(&url, std::time::Duration::from_secs(3_600), &mut |joined| {
            all.insert(joined.decision.decision_id.to_string(), joined);
        })
        .unwrap();
        all
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

/// What answered under the name of the small model when its outcomes were made.
pub fn identity() -> types::BackendIdentity {
    types::BackendIdentity::parse("vllm/0.11.2/bf16").unwrap()
}
