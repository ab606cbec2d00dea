//! Plain HTTP for those who operate the server: `/metrics` for Prometheus, `/healthz` for who restarts it, `/readyz` for who
//! sends it callers. It answers nobody unless an address is given, and tells nothing of queries.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::Metrics;
use crate::health::Health;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// What is told here.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Arc<Health>,
}

/// Serves for as long as it is polled.
pub(crate) async fn serve(listener: TcpListener, told: Told) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .with_state(told);
    axum::serve(listener, routes).await
}

async fn metrics(State(told): State<Told>, headers: HeaderMap) -> Response {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let open = accepted.flat_map(|value| value.split(',')).any(wants_open_metrics);
    // Gathering reads every series under its lock: not on the threads that answer callers.
    let text =
        tokio::task::spawn_blocking(
            move || {
                if open { told.metrics.open_metrics() } else { told.metrics.text() }
            },
        );
    match text.await {
        Ok(Ok(text)) => ([(CONTENT_TYPE, if open { OPEN_METRICS } else { TEXT })], text).into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        Err(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "reading the metrics was interrupted\n").into_response()
        }
    }
}

/// Whether one of the types that a client accepts is OpenMetrics; Prometheus prefers it wherever it lists it.
fn wants_open_metrics(accepted: &str) -> bool {
    let mut parts = accepted.split(';').map(str::trim);
    parts.next() == Some("application/openmetrics-text") && !parts.any(|part| part == "q=0")
}

async fn ready(State(told): State<Told>) -> Response {
    let reasons = told.health.reasons();
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    let reasons: Vec<&str> = reasons.iter().map(|reason| reason.as_str()).collect();
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", reasons.join(", "))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_who_asks() {
        assert!(wants_open_metrics("application/openmetrics-text;version=1.0.0;q=0.8"));
        assert!(wants_open_metrics(" application/openmetrics-text"));
        assert!(!wants_open_metrics("application/openmetrics-text; q=0"));
        assert!(!wants_open_metrics("text/plain;version=0.0.4") && !wants_open_metrics("*/*"));
    }
}
