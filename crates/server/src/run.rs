//! From a bound listener to a served, drained end.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use api::v1::FILE_DESCRIPTOR_SET;
use api::v1::admin_service_server::AdminServiceServer;
use api::v1::cascade_service_server;
use api::v1::monitor_service_server::{self, MonitorServiceServer};
use api::v1::outcome_service_server::{self, OutcomeServiceServer};
use api::v1::router_service_server::{self, RouterService, RouterServiceServer};
use api::v1::semantic_service_server;
use decision_log::{DecisionLog, FingerprintKey};
use router::Router;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::cascade;
use crate::config::{Config, ConfigError, DecisionLogConfig};
use crate::drain::Drain;
use crate::listen::incoming;
use crate::monitors::{Monitors, MonitorsService, Stop, Watcher};
use crate::outcomes::Outcomes;
use crate::program::{Loaded, Programs, Version};
use crate::record::Recorder;
use crate::reload::{ArtifactFolder, Reloads, Stamp, artifact_stamp};
use crate::rollout::{Admin, Rollouts};
use crate::service::Service;
use crate::systemd;

/// Why serving ended other than by a signal.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The transport failed.
    #[error("serving: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The descriptors of the API could not be served.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The decision log could not be opened.
    #[error(transparent)]
    Log(#[from] decision_log::Refusal),
    /// The key of the decision log.
    #[error("key of the decision log: {0}")]
    Key(#[from] decision_log::KeyError),
    /// The policy, the catalogue or the prices.
    #[error(transparent)]
    Program(#[from] ConfigError),
    /// The verifier or a cascade of it.
    #[error("verifier: {0}")]
    Verifier(#[from] router::CascadesError),
    /// A name that no token can carry.
    #[error("cascade {0:?}: expected a name of at most 255 bytes")]
    CascadeName(String),
    /// The key of continuation tokens.
    #[error("key of continuation tokens: {0}")]
    TokenKey(decision_log::KeyError),
    /// The address of administration.
    #[error("administration on {address}: {source}")]
    Administration {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What is served, and what the files said before they were read.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) router: Arc<Router>,
    pub(crate) artifact: Stamp,
    pub(crate) program: Loaded,
}

/// Where connections come from.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) grpc: TcpListener,
    /// Administration, where it is served.
    pub(crate) admin: Option<TcpListener>,
}

impl Listeners {
    /// Administration on the address of the configuration, unless a socket for it is there already.
    pub(crate) async fn new(
        grpc: TcpListener,
        admin: Option<TcpListener>,
        config: &Config,
    ) -> Result<Self, ServeError> {
        let admin = match (admin, config.admin_listen) {
            (None, Some(address)) => {
                let bind = |source| ServeError::Administration { address, source };
                Some(TcpListener::bind(address).await.map_err(bind)?)
            }
            (admin, _) => admin,
        };
        Ok(Self { grpc, admin })
    }
}

/// Serves until `shutdown` resolves, then reports NOT_SERVING, answers on for the drain delay, refuses new work, lets work
/// in flight finish within the drain timeout, and writes the decision log out.
///
/// # Errors
/// When the transport or reflection fails, the verifier, the policy or what it needs is refused, or the decision log or
/// the address of administration cannot be had.
pub async fn run(
    listener: TcpListener,
    router: Arc<Router>,
    config: &Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let artifact = artifact_stamp(&config.artifact);
    let program = Loaded::read(config, router.info(), cascade::load(config)?)?;
    let listeners = Listeners::new(listener, None, config).await?;
    // Nobody sends: a sender that is gone asks for nothing.
    let (_, reload) = mpsc::channel(1);
    run_with(listeners, Served { router, artifact, program }, config, shutdown, reload).await
}

/// The same with what was loaded before; files are looked at at once whenever `reload` has a message.
pub(crate) async fn run_with(
    listeners: Listeners,
    served: Served,
    config: &Config,
    shutdown: impl Future<Output = ()>,
    reload: mpsc::Receiver<()>,
) -> Result<(), ServeError> {
    let Listeners { grpc: listener, admin } = listeners;
    let recorder = recorder(config, listener.local_addr().ok())?;
    let (rollouts, programs, reloads) = changing(served, config);
    let (drains, drain) = Drain::new();
    let memory = recorder.as_ref().zip(config.decision_log.as_ref());
    let memory = memory
        .map(|(recorder, log)| Memory::start(recorder, log, config, &rollouts, &programs, &drain))
        .transpose()?;
    let service = Service::new(Arc::clone(&rollouts), Arc::clone(&programs), config, recorder, drain.clone());
    let matching = service.matching().server(config.max_request_bytes);
    let chains = programs.current().chains.clone();
    let cascades =
        chains.map(|chains| cascade::service(chains, config, service.admission(), Arc::clone(&rollouts)));
    let both = [CompressionEncoding::Gzip, CompressionEncoding::Zstd];
    let mut routes = RouterServiceServer::new(service).max_decoding_message_size(config.max_request_bytes);
    for encoding in both {
        routes = routes.accept_compressed(encoding).send_compressed(encoding);
    }
    let (health, health_service) = tonic_health::server::health_reporter();
    let health = Health { reporter: health, of: served_names(config, memory.is_some(), cascades.is_some()) };
    health.is(ServingStatus::Serving).await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let serving = builder()
        .add_service(routes)
        .add_service(matching)
        .add_optional_service(memory.as_ref().map(|memory| memory.outcomes.clone()))
        .add_optional_service(memory.as_ref().map(|memory| memory.monitors.clone()))
        .add_optional_service(cascades)
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .serve_with_incoming_shutdown(incoming(listener), drain.clone().begun());
    let administration = admin.map(|listener| {
        let admin = Admin { rollouts: Arc::clone(&rollouts), reloads: Arc::clone(&reloads) };
        administration(listener, admin, drain.clone().begun())
    });
    systemd::ready(&reloads.status());
    let background = [tokio::spawn(reloads.watch(reload)), tokio::spawn(systemd::watchdog())];
    tokio::pin!(serving, shutdown);
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = &mut shutdown => drained(serving, &drains, health, config).await,
    };
    drains.send_replace(true);
    background.iter().chain(&administration).for_each(JoinHandle::abort);
    if let Some(memory) = memory {
        memory.close(config.drain_timeout).await;
    }
    Ok(ended?)
}

/// Health, and the services it speaks of.
struct Health {
    reporter: HealthReporter,
    of: Vec<&'static str>,
}

impl Health {
    async fn is(&self, status: ServingStatus) {
        for name in self.of.iter().chain(&[""]) {
            self.reporter.set_service_status(name, status).await;
        }
    }

    /// Ends the streams of those who watch it.
    async fn end(mut self) {
        for name in self.of.iter().chain(&[""]) {
            self.reporter.clear_service_status(name).await;
        }
    }
}

/// The end of serving once it is asked for: not ready, but answering; then draining, for as long as that may take.
async fn drained(
    mut serving: Pin<&mut impl Future<Output = Result<(), tonic::transport::Error>>>,
    drains: &watch::Sender<bool>,
    health: Health,
    config: &Config,
) -> Result<(), tonic::transport::Error> {
    tracing::info!(delay_ms = config.drain_delay.as_millis() as u64, "draining");
    systemd::stopping();
    health.is(ServingStatus::NotServing).await;
    // Balancers that have heard of it send nothing new; those that have not are answered.
    if let Ok(ended) = tokio::time::timeout(config.drain_delay, &mut serving).await {
        return ended;
    }
    drains.send_replace(true);
    // Whoever watches health has heard the last of it.
    health.end().await;
    tokio::time::timeout(config.drain_timeout, serving).await.unwrap_or_else(|_| {
        let timeout_ms = config.drain_timeout.as_millis() as u64;
        tracing::warn!(timeout_ms, "drain timed out: what is in flight is cut off");
        Ok(())
    })
}

/// What may change while the server runs, and what has it changed.
fn changing(served: Served, config: &Config) -> (Arc<Rollouts>, Arc<Programs>, Arc<Reloads>) {
    let Served { router, artifact, program } = served;
    let rollouts = rollouts(router, Arc::clone(&program.version), config);
    let (programs, stamp) = Programs::new(program, Arc::clone(&rollouts));
    let programs = Arc::new(programs);
    let mut reloads = Reloads::new(config.program.reload);
    let folder = config.artifact.clone();
    let folder = ArtifactFolder { folder, rollouts: Arc::clone(&rollouts), programs: Arc::clone(&programs) };
    // The policy is held against the artifact.
    reloads.add(Arc::new(folder), artifact);
    reloads.add(Arc::clone(&programs) as _, stamp);
    (rollouts, programs, Arc::new(reloads))
}

/// The services whose health is told.
fn served_names(config: &Config, remembers: bool, cascades: bool) -> Vec<&'static str> {
    let all = [
        (true, router_service_server::SERVICE_NAME),
        (config.program.catalogue.is_some(), semantic_service_server::SERVICE_NAME),
        (remembers, outcome_service_server::SERVICE_NAME),
        (remembers, monitor_service_server::SERVICE_NAME),
        (cascades, cascade_service_server::SERVICE_NAME),
    ];
    all.into_iter().filter_map(|(there, name)| there.then_some(name)).collect()
}

fn builder() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .max_concurrent_streams(Some(1_024))
}

/// Serves administration on a listener of its own.
fn administration(
    listener: TcpListener,
    admin: Admin,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "administration");
    }
    let serving = builder()
        .add_service(AdminServiceServer::new(admin))
        .serve_with_incoming_shutdown(incoming(listener), stopped);
    tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "administration ended");
        }
    })
}

/// What there is where decisions are logged: the services of outcomes and monitors, and the threads behind them.
struct Memory {
    outcomes: OutcomeServiceServer<Outcomes>,
    monitors: MonitorServiceServer<MonitorsService>,
    log: Arc<DecisionLog>,
    stop: Arc<Stop>,
    /// Hears that the monitors have ended.
    watched: oneshot::Receiver<()>,
}

impl Memory {
    fn start(
        recorder: &Recorder,
        log_config: &DecisionLogConfig,
        config: &Config,
        rollouts: &Arc<Rollouts>,
        programs: &Arc<Programs>,
        drain: &Drain,
    ) -> Result<Self, ServeError> {
        let log = Arc::clone(&recorder.log);
        let horizon = log_config.horizon;
        let (max_batch, programs, drain) = (config.max_batch, Arc::clone(programs), drain.clone());
        let outcomes = Outcomes { log: Arc::clone(&log), horizon, max_batch, programs, drain: drain.clone() };
        let (monitors, stop) = (Arc::new(Monitors::new(Arc::clone(&log))), Arc::new(Stop::default()));
        let mut monitoring = config.monitoring.clone();
        let high_stakes = rollouts.info().high_stakes.clone();
        monitoring.watch.slices.extend(high_stakes);
        monitoring.watch.slices.sort();
        monitoring.watch.slices.dedup();
        let watcher = Watcher {
            url: log_config.options.url.clone(),
            config: monitoring,
            horizon,
            monitors: Arc::clone(&monitors),
            rollouts: Arc::clone(rollouts),
            stop: Arc::clone(&stop),
        };
        let watched = watcher.start().map_err(decision_log::Refusal::Thread)?;
        Ok(Self {
            outcomes: OutcomeServiceServer::new(outcomes).max_decoding_message_size(config.max_request_bytes),
            monitors: MonitorServiceServer::new(MonitorsService { monitors, drain }),
            log,
            stop,
            watched,
        })
    }

    /// Writes the log out, then lets the monitors look at it a last time.
    async fn close(self, patience: Duration) {
        let counts = self.log.close(patience).await;
        tracing::info!(
            stored = counts.stored,
            spooled = counts.spooled,
            dropped = counts.dropped,
            "decision log closed"
        );
        self.stop.now();
        if tokio::time::timeout(patience, self.watched).await.is_err() {
            tracing::warn!("the monitors did not end in time");
        }
    }
}

/// The router's service without a listener, for programs that link it and for benches; nothing watches its log or the
/// files of its policy.
///
/// # Errors
/// When the policy or what it needs is refused, or the decision log cannot be had.
pub fn in_process(
    router: Arc<Router>,
    config: &Config,
) -> Result<impl RouterService + Clone + use<>, ServeError> {
    let program = Loaded::read(config, router.info(), cascade::load(config)?)?;
    let rollouts = rollouts(router, Arc::clone(&program.version), config);
    let (programs, _) = Programs::new(program, Arc::clone(&rollouts));
    Ok(Service::new(rollouts, Arc::new(programs), config, recorder(config, None)?, Drain::never()))
}

fn rollouts(router: Arc<Router>, program: Arc<Version>, config: &Config) -> Arc<Rollouts> {
    let log_url = config.decision_log.as_ref().map(|log| log.options.url.clone());
    let sticky_label = config.sticky_label.clone();
    Arc::new(Rollouts::new(router, program, config.router_options(), sticky_label, log_url))
}

/// Opens the decision log, where there is one; this server is named after its machine and address.
fn recorder(config: &Config, address: Option<SocketAddr>) -> Result<Option<Recorder>, ServeError> {
    let Some(config) = &config.decision_log else { return Ok(None) };
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let address = address.map_or_else(|| "in process".to_owned(), |address| address.to_string());
    let log = DecisionLog::open(config.options.clone())?;
    let key = match &config.key_file {
        Some(file) => FingerprintKey::read(file)?,
        None => FingerprintKey::read_or_make(&config.options.spool.join("fingerprint.key"))?,
    };
    let replica = format!("{}/{address}", host.trim()).into();
    Ok(Some(Recorder { log: Arc::new(log), key, replica, prompts: config.prompts }))
}
