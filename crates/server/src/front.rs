//! The listener for Envoy: the same decisions, asked for in Envoy's external processing protocol. What a message of it
//! means lives in `ext-proc`.

use std::sync::Arc;

use api::v1::router_service_server::RouterService;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic_health::pb::health_server::{Health, HealthServer};

use crate::access::{Access, Door};
use crate::config::Config;
use crate::drain::Drain;
use crate::listen;
use crate::run::ServeError;
use crate::telemetry::ObserveLayer;

/// Serves Envoy, where an address is configured, until it drains; health is told beside it, so that Envoy can ask where it
/// sends its requests. Envoy is a caller like any other: it shows a token where callers have to.
pub(crate) async fn serve(
    config: &Config,
    router: impl RouterService + Clone,
    health: HealthServer<impl Health>,
    access: &Arc<Access>,
    observe: ObserveLayer,
    drain: Drain,
) -> Result<Option<JoinHandle<()>>, ServeError> {
    let Some(front) = &config.ext_proc else { return Ok(None) };
    let bind = |source| ServeError::ExtProc { address: front.listen, source };
    let listener = TcpListener::bind(front.listen).await.map_err(bind)?;
    tracing::info!(address = %listener.local_addr().map_err(bind)?, "external processing");
    let serving = access
        .http2(Door::Public)
        .layer(observe)
        .layer(access.gate())
        .add_service(ext_proc::service(router, front.options.clone()))
        .add_service(health)
        .serve_with_incoming_shutdown(listen::public(listener, access)?, drain.begun());
    Ok(Some(tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "external processing ended");
        }
    })))
}
