//! What a running server tells those who keep it running: metrics for Prometheus and a collector, traces, plain HTTP. The
//! catalogue says what there is; the OpenTelemetry SDK is the one source behind both ways out. Whether the server is ready
//! is decided in `health`, what is wrong with the traffic in `monitors`.

mod catalogue;
mod export;
mod http;
mod instruments;
mod metrics;
mod names;
mod requests;
mod scraped;
mod traces;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::health::Health;
use export::{MetricPush, SpanCounts, SpanPush};
use traces::Traces;

pub use catalogue::{CATALOGUE, Kind, Spec};
pub use metrics::{Decided, Metrics, Times};
pub use names::Point;
pub(crate) use requests::ObserveLayer;
pub(crate) use scraped::Sources;
pub(crate) use traces::{Shape, Traced};

/// Why nothing can be told.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The instruments could not be made or read.
    #[error("metrics: {0}")]
    Metrics(String),
    /// What pushes to the collector could not be made.
    #[error("otlp_endpoint: {0}")]
    Exporter(String),
    /// The address of plain HTTP.
    #[error("HTTP on {address}: {source}")]
    Http {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Metrics and traces of a server with the ways they go out.
#[derive(Debug, Clone)]
pub(crate) struct Telemetry {
    metrics: Arc<Metrics>,
    traces: Option<Arc<Traces>>,
}

impl Telemetry {
    /// For a server that listens; has to be made on a runtime, which the connections to a collector need.
    pub(crate) fn new(config: &Config) -> Result<Self, TelemetryError> {
        let of = &config.telemetry;
        let endpoint = of.otlp_endpoint.as_deref();
        let push = endpoint.map(|endpoint| MetricPush::new(endpoint, of.otlp_interval)).transpose()?;
        let metrics = Metrics::pushing(of, served(config), push)?;
        let traces = match endpoint {
            Some(endpoint) => {
                let counts = Arc::<SpanCounts>::default();
                counts.read_by(&metrics.instruments);
                Some(Arc::new(Traces::new(SpanPush::new(endpoint, counts)?, of.trace_sample)))
            }
            None => None,
        };
        Ok(Self { metrics: Arc::new(metrics), traces })
    }

    /// Counts, and tells nobody of its own accord.
    pub(crate) fn silent(config: &Config) -> Result<Self, TelemetryError> {
        Ok(Self { metrics: Arc::new(Metrics::new(&config.telemetry, served(config))?), traces: None })
    }

    pub(crate) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// The outermost layer of every listener.
    pub(crate) fn layer(&self) -> ObserveLayer {
        ObserveLayer { requests: Arc::clone(&self.metrics.requests), traces: self.traces.clone() }
    }

    /// Serves plain HTTP until the task is aborted.
    pub(crate) fn serve_http(&self, listener: TcpListener, health: Arc<Health>) -> JoinHandle<()> {
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, "metrics and health over HTTP");
        }
        let told = http::Told { metrics: self.metrics(), health };
        tokio::spawn(async move {
            if let Err(error) = http::serve(listener, told).await {
                tracing::error!(%error, "metrics and health over HTTP ended");
            }
        })
    }

    /// Pushes what was not pushed yet, for `patience` at most. On a thread of its own: a collector that does not answer must
    /// not keep the process.
    pub(crate) async fn close(self, patience: Duration) {
        let (ended, end) = tokio::sync::oneshot::channel();
        let work = move || {
            if let Some(traces) = &self.traces {
                traces.end();
            }
            self.metrics.instruments.end();
            let _ = ended.send(());
        };
        let started = std::thread::Builder::new().name("telemetry-end".to_owned()).spawn(work);
        if started.is_err() || tokio::time::timeout(patience, end).await.is_err() {
            tracing::warn!("the last metrics and spans may not have been pushed");
        }
    }
}

/// Models that may be served though the artifact does not know them.
fn served(config: &Config) -> impl Iterator<Item = String> + use<> {
    config.backends.keys().map(|model| model.as_str().to_owned()).collect::<Vec<_>>().into_iter()
}
