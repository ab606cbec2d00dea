//! From a bound listener to a served, drained end.

use std::net::SocketAddr;
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
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic_health::ServingStatus;

use crate::cascade;
use crate::config::{Config, ConfigError, DecisionLogConfig};
use crate::front;
use crate::listen::incoming;
use crate::monitors::{Monitors, MonitorsService, Stop, Watcher};
use crate::outcomes::Outcomes;
use crate::program::Programs;
use crate::record::Recorder;
use crate::rollout::{Admin, Rollouts};
use crate::service::Service;

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
    /// The address of Envoy's external processing protocol.
    #[error("external processing on {address}: {source}")]
    ExtProc {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The address of administration.
    #[error("administration on {address}: {source}")]
    Administration {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Serves until `shutdown` resolves, then refuses new work, reports NOT_SERVING, lets work in flight finish within the
/// drain timeout, and writes the decision log out.
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
    let programs = Programs::load(config, router.info(), cascade::load(config)?)?;
    run_with(listener, router, programs, config, shutdown).await
}

/// The same with a policy that was loaded before.
pub(crate) async fn run_with(
    listener: TcpListener,
    router: Arc<Router>,
    programs: Programs,
    config: &Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let programs = Arc::new(programs);
    let recorder = recorder(config, listener.local_addr().ok())?;
    let rollouts = rollouts(router, config);
    let memory = recorder.as_ref().zip(config.decision_log.as_ref());
    let memory = memory
        .map(|(recorder, log)| Memory::start(recorder, log, config, &rollouts, &programs))
        .transpose()?;
    let service = Service::new(Arc::clone(&rollouts), Arc::clone(&programs), config, recorder);
    let watching = programs.watch(Arc::clone(&rollouts));
    let matching = service.matching().server(config.max_request_bytes);
    let cascades = programs
        .chains()
        .map(|chains| cascade::service(chains, config, service.admission(), Arc::clone(&rollouts)));
    let both = [CompressionEncoding::Gzip, CompressionEncoding::Zstd];
    let draining = watch::Sender::new(false);
    let (health, health_service) = tonic_health::server::health_reporter();
    let mut front =
        front::serve(config, service.clone(), health_service.clone(), draining.subscribe()).await?;
    let mut routes = RouterServiceServer::new(service).max_decoding_message_size(config.max_request_bytes);
    for encoding in both {
        routes = routes.accept_compressed(encoding).send_compressed(encoding);
    }
    let served = served(config, memory.is_some(), cascades.is_some());
    for name in &served {
        health.set_service_status(name, ServingStatus::Serving).await;
    }
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let stopped = |mut draining: watch::Receiver<bool>| async move {
        // A sender that is gone is the end as well.
        let _ = draining.wait_for(|over| *over).await;
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
        .serve_with_incoming_shutdown(incoming(listener), stopped(draining.subscribe()));
    let administration = administration(config, rollouts, stopped(draining.subscribe())).await?;
    tokio::pin!(serving, shutdown);
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = &mut shutdown => {
            tracing::info!("draining");
            for name in served.iter().chain(&[""]) {
                health.set_service_status(name, ServingStatus::NotServing).await;
            }
            draining.send_replace(true);
            let both = async {
                let ended = serving.await;
                let _ = (&mut front).await;
                ended
            };
            tokio::time::timeout(config.drain_timeout, both).await.unwrap_or_else(|_| {
                tracing::warn!(timeout_ms = config.drain_timeout.as_millis() as u64, "drain timed out");
                Ok(())
            })
        }
    };
    draining.send_replace(true);
    administration.abort();
    front.abort();
    watching.abort();
    if let Some(memory) = memory {
        memory.close(config.drain_timeout).await;
    }
    Ok(ended?)
}

/// The services whose health is told.
fn served(config: &Config, remembers: bool, cascades: bool) -> Vec<&'static str> {
    let all = [
        (true, router_service_server::SERVICE_NAME),
        (config.program.catalogue.is_some(), semantic_service_server::SERVICE_NAME),
        (remembers, outcome_service_server::SERVICE_NAME),
        (remembers, monitor_service_server::SERVICE_NAME),
        (cascades, cascade_service_server::SERVICE_NAME),
    ];
    all.into_iter().filter_map(|(there, name)| there.then_some(name)).collect()
}

pub(crate) fn builder() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .max_concurrent_streams(Some(1_024))
}

/// Serves administration on a listener of its own, where one is configured.
async fn administration(
    config: &Config,
    rollouts: Arc<Rollouts>,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> Result<JoinHandle<()>, ServeError> {
    let Some(address) = config.admin_listen else { return Ok(tokio::spawn(async {})) };
    let bind = |source| ServeError::Administration { address, source };
    let listener = TcpListener::bind(address).await.map_err(bind)?;
    tracing::info!(address = %listener.local_addr().map_err(bind)?, "administration");
    let serving = builder()
        .add_service(AdminServiceServer::new(Admin(rollouts)))
        .serve_with_incoming_shutdown(incoming(listener), stopped);
    Ok(tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "administration ended");
        }
    }))
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
    ) -> Result<Self, ServeError> {
        let log = Arc::clone(&recorder.log);
        let horizon = log_config.horizon;
        let (max_batch, programs) = (config.max_batch, Arc::clone(programs));
        let outcomes = Outcomes { log: Arc::clone(&log), horizon, max_batch, programs };
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
            monitors: MonitorServiceServer::new(MonitorsService(monitors)),
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
    let programs = Arc::new(Programs::load(config, router.info(), cascade::load(config)?)?);
    Ok(Service::new(rollouts(router, config), programs, config, recorder(config, None)?))
}

fn rollouts(router: Arc<Router>, config: &Config) -> Arc<Rollouts> {
    let log_url = config.decision_log.as_ref().map(|log| log.options.url.clone());
    Arc::new(Rollouts::new(router, config.router_options(), config.sticky_label.clone(), log_url))
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
