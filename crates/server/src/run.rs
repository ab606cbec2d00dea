//! From bound listeners to a served, drained end.

mod memory;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use api::v1::FILE_DESCRIPTOR_SET;
use api::v1::admin_service_server::AdminServiceServer;
use api::v1::cascade_service_server;
use api::v1::monitor_service_server;
use api::v1::outcome_service_server;
use api::v1::router_service_server::{self, RouterService, RouterServiceServer};
use api::v1::semantic_service_server;
use router::{Admission, Router};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tonic::codec::CompressionEncoding;

use crate::access::{Access, Door};
use crate::cascade;
use crate::config::{Config, ConfigError};
use crate::drain::Drain;
use crate::front;
use crate::health::{Health, Unready};
use crate::listen::{self, Connection};
use crate::program::{Loaded, Programs, Version};
use crate::reload::{ArtifactFolder, Reloads, Stamp, artifact_stamp};
use crate::rollout::{Admin, Rollouts};
use crate::service::Service;
use crate::systemd;
use crate::telemetry::{Metrics, ObserveLayer, Sources, Telemetry, TelemetryError};
use memory::{Memory, recorder};

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
    /// Metrics, traces or plain HTTP.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The address of Envoy's external processing protocol.
    #[error("external processing on {address}: {source}")]
    ExtProc {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The address of administration.
    #[error("administration on {address}: {source}")]
    Administration {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// What is served, and what the files said before they were read.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) router: Arc<Router>,
    pub(crate) artifact: Stamp,
    pub(crate) program: Loaded,
    pub(crate) access: Arc<Access>,
}

/// Where connections come from.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) grpc: TcpListener,
    /// Administration, where it is served.
    pub(crate) admin: Option<TcpListener>,
    /// Metrics and health over plain HTTP, where they are.
    pub(crate) http: Option<TcpListener>,
}

impl Listeners {
    /// Administration and plain HTTP on the addresses of the configuration, unless a socket for them is there already.
    pub(crate) async fn new(
        grpc: TcpListener,
        admin: Option<TcpListener>,
        http: Option<TcpListener>,
        config: &Config,
    ) -> Result<Self, ServeError> {
        let admin = match (admin, config.admin_listen) {
            (None, Some(address)) => {
                let bind = |source| ServeError::Administration { address, source };
                Some(TcpListener::bind(address).await.map_err(bind)?)
            }
            (admin, _) => admin,
        };
        let http = match (http, config.telemetry.http_listen) {
            (None, Some(address)) => {
                let bind = |source| TelemetryError::Http { address, source };
                Some(TcpListener::bind(address).await.map_err(bind)?)
            }
            (http, _) => http,
        };
        Ok(Self { grpc, admin, http })
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
    let access = Access::open(&config.access)?;
    let artifact = artifact_stamp(&config.artifact);
    let program = Loaded::read(config, router.info(), cascade::load(config)?)?;
    let listeners = Listeners::new(listener, None, None, config).await?;
    // Nobody sends: a sender that is gone asks for nothing.
    let (_, reload) = mpsc::channel(1);
    let served = Served { router, artifact, program, access };
    run_with(listeners, served, config, shutdown, reload).await
}

/// The same with what was loaded before; files are looked at at once whenever `reload` has a message.
pub(crate) async fn run_with(
    listeners: Listeners,
    served: Served,
    config: &Config,
    shutdown: impl Future<Output = ()>,
    reload: mpsc::Receiver<()>,
) -> Result<(), ServeError> {
    let (telemetry, access) = (Telemetry::new(config)?, Arc::clone(&served.access));
    let Listeners { grpc, admin, http } = listeners;
    let recorder = recorder(config, grpc.local_addr().ok())?;
    let connections = listen::public(grpc, &access)?;
    let admin = admin.map(|listener| listen::administration(listener, &access)).transpose()?;
    let (rollouts, programs, reloads) = changing(served, config, telemetry.metrics());
    let (drains, drain) = Drain::new();
    let memory = Memory::start(recorder.as_ref(), config, &rollouts, &programs, &drain, telemetry.metrics())?;
    let (of, through) = (Arc::clone(&rollouts), Arc::clone(&programs));
    let service = Service::new(of, through, config, recorder, drain.clone(), telemetry.metrics());
    let (matching, admission) = (service.matching().server(config.max_request_bytes), service.admission());
    let chains = programs.current().chains.clone();
    let cascades = chains.map(|chains| {
        cascade::service(chains, config, Arc::clone(&admission), Arc::clone(&rollouts), telemetry.metrics())
    });
    let names = served_names(config, memory.is_some(), cascades.is_some());
    let (health, health_service) = Health::new(names).await;
    telemetry.metrics().watch(sources(&rollouts, &programs, &health, admission, &access, memory.as_ref()));
    let (envoys, health_of_front) = (service.clone(), health_service.clone());
    let mut front =
        front::serve(config, envoys, health_of_front, &access, telemetry.layer(), drain.clone()).await?;
    let serving = access
        .http2(Door::Public)
        .layer(telemetry.layer())
        .layer(access.gate())
        .add_service(compressed(service, config))
        .add_service(matching)
        .add_optional_service(memory.as_ref().map(|memory| memory.outcomes.clone()))
        .add_optional_service(memory.as_ref().map(|memory| memory.monitors.clone()))
        .add_optional_service(cascades)
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .serve_with_incoming_shutdown(connections, drain.clone().begun());
    let administration = admin.map(|connections| {
        let admin = Admin { rollouts: Arc::clone(&rollouts), reloads: Arc::clone(&reloads) };
        administration(connections, &access, telemetry.layer(), admin, drain.clone().begun())
    });
    let http = http.map(|listener| telemetry.serve_http(listener, Arc::clone(&health)));
    let heeding = heed(&health, &telemetry, config, memory.as_ref());
    // Artifact, policy and log are read and warm, and every address is had.
    health.set(Unready::Starting, false).await;
    systemd::ready(&reloads.status());
    let background = [tokio::spawn(reloads.watch(reload)), tokio::spawn(systemd::watchdog()), heeding];
    let both = async {
        let ended = serving.await;
        if let Some(front) = &mut front {
            // What it has to say it has said in the log.
            let _ = front.await;
        }
        ended
    };
    let ended = until_drained(both, shutdown, config, &health, &drains).await;
    drains.send_replace(true);
    background.iter().chain(&administration).chain(&front).for_each(JoinHandle::abort);
    tracing::info!(events = ?access.counts.events(), "at the door");
    if let Some(memory) = memory {
        memory.close(config.drain_timeout).await;
    }
    // Whoever scrapes may do so to the end.
    http.iter().for_each(JoinHandle::abort);
    telemetry.close(config.drain_timeout).await;
    Ok(ended?)
}

/// Serves until `shutdown`, and then for as long as the drain may take.
async fn until_drained<E>(
    serving: impl Future<Output = Result<(), E>>,
    shutdown: impl Future<Output = ()>,
    config: &Config,
    health: &Health,
    drains: &watch::Sender<bool>,
) -> Result<(), E> {
    tokio::pin!(serving, shutdown);
    tokio::select! {
        ended = &mut serving => return ended,
        () = &mut shutdown => {}
    }
    tracing::info!(delay_ms = config.drain_delay.as_millis() as u64, "draining");
    systemd::stopping();
    health.set(Unready::Draining, true).await;
    // Balancers that have heard of it send nothing new; those that have not are answered.
    if let Ok(ended) = tokio::time::timeout(config.drain_delay, &mut serving).await {
        return ended;
    }
    drains.send_replace(true);
    // Whoever watches health has heard the last of it: their streams, too, have to end.
    health.forget().await;
    tokio::time::timeout(config.drain_timeout, serving).await.unwrap_or_else(|_| {
        let timeout_ms = config.drain_timeout.as_millis() as u64;
        tracing::warn!(timeout_ms, "drain timed out: what is in flight is cut off");
        Ok(())
    })
}

fn compressed(service: Service, config: &Config) -> RouterServiceServer<Service> {
    let mut routes = RouterServiceServer::new(service).max_decoding_message_size(config.max_request_bytes);
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        routes = routes.accept_compressed(encoding).send_compressed(encoding);
    }
    routes
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// What may change while the server runs, and what has it changed.
fn changing(
    served: Served,
    config: &Config,
    metrics: Arc<Metrics>,
) -> (Arc<Rollouts>, Arc<Programs>, Arc<Reloads>) {
    let Served { router, artifact, program, access } = served;
    let rollouts = rollouts(router, Arc::clone(&program.version), config);
    let (programs, stamp) = Programs::new(program, Arc::clone(&rollouts));
    let programs = Arc::new(programs);
    let mut reloads = Reloads::new(config.program.reload, metrics);
    let folder = config.artifact.clone();
    let folder = ArtifactFolder { folder, rollouts: Arc::clone(&rollouts), programs: Arc::clone(&programs) };
    // The policy is held against the artifact.
    reloads.add(Arc::new(folder), artifact);
    reloads.add(Arc::clone(&programs) as _, stamp);
    for (what, stamp) in access.reloadables() {
        reloads.add(what, stamp);
    }
    (rollouts, programs, Arc::new(reloads))
}

/// Where the numbers are that are read when somebody asks.
fn sources(
    rollouts: &Arc<Rollouts>,
    programs: &Arc<Programs>,
    health: &Arc<Health>,
    admission: Arc<Admission>,
    access: &Arc<Access>,
    memory: Option<&Memory>,
) -> Sources {
    Sources {
        admission,
        access: Arc::clone(access),
        rollouts: Arc::clone(rollouts),
        programs: Arc::clone(programs),
        health: Arc::clone(health),
        log: memory.map(|memory| Arc::clone(&memory.log)),
        monitors: memory.map(|memory| Arc::clone(&memory.watched_by)),
    }
}

/// Lets what becomes of decisions decide whether this server is ready.
fn heed(
    health: &Arc<Health>,
    telemetry: &Telemetry,
    config: &Config,
    memory: Option<&Memory>,
) -> JoinHandle<()> {
    let log = memory.filter(|_| config.telemetry.unready_log).map(|memory| Arc::clone(&memory.log));
    let window = Arc::clone(&telemetry.metrics().window);
    health.watch(window, config.telemetry.fallback_limit, log)
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

/// Serves administration on a listener of its own.
fn administration(
    connections: impl Stream<Item = io::Result<Connection>> + Send + Unpin + 'static,
    access: &Arc<Access>,
    observe: ObserveLayer,
    admin: Admin,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let serving = access
        .http2(Door::Admin)
        .layer(observe)
        .layer(access.gate())
        .add_service(AdminServiceServer::new(admin))
        .serve_with_incoming_shutdown(connections, stopped);
    tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "administration ended");
        }
    })
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
    let (recorder, metrics) = (recorder(config, None)?, Telemetry::silent(config)?.metrics());
    Ok(Service::new(rollouts, Arc::new(programs), config, recorder, Drain::never(), metrics))
}

fn rollouts(router: Arc<Router>, program: Arc<Version>, config: &Config) -> Arc<Rollouts> {
    let log_url = config.decision_log.as_ref().map(|log| log.options.url.clone());
    let sticky_label = config.sticky_label.clone();
    Arc::new(Rollouts::new(router, program, config.router_options(), sticky_label, log_url))
}
