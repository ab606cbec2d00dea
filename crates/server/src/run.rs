//! From a bound listener to a served, drained end.

use std::sync::Arc;
use std::time::Duration;

use api::v1::FILE_DESCRIPTOR_SET;
use api::v1::outcome_service_server::OutcomeServiceServer;
use api::v1::router_service_server::RouterServiceServer;
use decision_log::{DecisionLog, FingerprintKey};
use router::{Admission, Router};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;

use crate::config::{Config, DecisionLogConfig};
use crate::listen::incoming;
use crate::outcomes::Outcomes;
use crate::record::Recorder;
use crate::service::{Limits, Service};

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
}

/// Serves until `shutdown` resolves, then refuses new work, reports NOT_SERVING, and lets work in
/// flight finish within the drain timeout.
///
/// # Errors
/// When the transport or reflection fails.
pub async fn run(
    listener: TcpListener,
    router: Arc<Router>,
    config: &Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let admission = Arc::new(Admission::new(config.decision_slots, config.queue));
    let recorder = config.decision_log.as_ref().map(|log| recorder(log, &listener)).transpose()?;
    let log = recorder.as_ref().map(|recorder| Arc::clone(&recorder.log));
    let outcomes = config.decision_log.as_ref().zip(log.clone()).map(|(log_config, log)| {
        let outcomes = Outcomes { log, horizon: log_config.horizon, max_batch: config.max_batch };
        OutcomeServiceServer::new(outcomes).max_decoding_message_size(config.max_request_bytes)
    });
    let service = Service::new(router, admission, Limits { max_batch: config.max_batch }, recorder);
    let both = [CompressionEncoding::Gzip, CompressionEncoding::Zstd];
    let mut routes = RouterServiceServer::new(service).max_decoding_message_size(config.max_request_bytes);
    for encoding in both {
        routes = routes.accept_compressed(encoding).send_compressed(encoding);
    }
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<RouterServiceServer<Service>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let draining = Arc::new(Notify::new());
    let stop = draining.clone();
    let serving = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .max_concurrent_streams(Some(1_024))
        .add_service(routes)
        .add_optional_service(outcomes)
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .serve_with_incoming_shutdown(incoming(listener), async move { stop.notified().await });
    tokio::pin!(serving, shutdown);
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = &mut shutdown => {
            tracing::info!("draining");
            health.set_not_serving::<RouterServiceServer<Service>>().await;
            health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
            draining.notify_one();
            tokio::time::timeout(config.drain_timeout, serving).await.unwrap_or_else(|_| {
                tracing::warn!(timeout_ms = config.drain_timeout.as_millis() as u64, "drain timed out");
                Ok(())
            })
        }
    };
    if let Some(log) = log {
        let counts = log.close(config.drain_timeout).await;
        tracing::info!(
            stored = counts.stored,
            spooled = counts.spooled,
            dropped = counts.dropped,
            "decision log closed"
        );
    }
    Ok(ended?)
}

/// Opens the decision log; this server is named after its machine and address.
fn recorder(config: &DecisionLogConfig, listener: &TcpListener) -> Result<Recorder, ServeError> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let address = listener.local_addr().map(|a| a.to_string()).unwrap_or_default();
    let log = DecisionLog::open(config.options.clone())?;
    let key = match &config.key_file {
        Some(file) => FingerprintKey::read(file)?,
        None => FingerprintKey::read_or_make(&config.options.spool.join("fingerprint.key"))?,
    };
    let replica = format!("{}/{address}", host.trim()).into();
    Ok(Recorder { log: Arc::new(log), key, replica, prompts: config.prompts })
}
