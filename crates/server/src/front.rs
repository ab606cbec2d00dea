//! The listener for Envoy: the same decisions, asked for in Envoy's external processing protocol. What a message of it
//! means lives in `ext-proc`.

use api::v1::router_service_server::RouterService;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic_health::pb::health_server::{Health, HealthServer};

use crate::config::Config;
use crate::listen::incoming;
use crate::run::{ServeError, builder};

/// Serves Envoy, where an address is configured, until `draining` says so; health is told beside it, so that Envoy can
/// ask where it sends its requests.
pub(crate) async fn serve(
    config: &Config,
    router: impl RouterService + Clone,
    health: HealthServer<impl Health>,
    mut draining: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, ServeError> {
    let Some(front) = &config.ext_proc else { return Ok(tokio::spawn(async {})) };
    let bind = |source| ServeError::ExtProc { address: front.listen, source };
    let listener = TcpListener::bind(front.listen).await.map_err(bind)?;
    tracing::info!(address = %listener.local_addr().map_err(bind)?, "external processing");
    let serving = builder()
        .add_service(ext_proc::service(router, front.options.clone()))
        .add_service(health)
        .serve_with_incoming_shutdown(incoming(listener), async move {
            // A sender that is gone is the end as well.
            let _ = draining.wait_for(|over| *over).await;
        });
    Ok(tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "external processing ended");
        }
    }))
}
