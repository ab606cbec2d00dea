//! What the benches share: prompts of a given length, the artifact under test, an echo server. The load client is in `load`.

pub mod load;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::v1;
use api::v1::router_service_server::{RouterService, RouterServiceServer};
use router::{Router, RouterError, RouterOptions};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

/// The artifact that users get.
pub fn artifact() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/default")
}

/// The verifier that users get.
pub fn verifier() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/verifier")
}

/// The folder of build products: a bench lies in `<target>/release/deps`.
pub fn target() -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    here.ancestors().nth(3).unwrap_or(Path::new("target")).to_owned()
}

/// Peak resident memory of a process in MiB; `None` where there is no `/proc`.
pub fn resident_mib(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let kib: f64 =
        status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

/// A router over [`artifact`].
///
/// # Errors
/// When the artifact is refused.
pub fn router() -> Result<Arc<Router>, RouterError> {
    Ok(Arc::new(Router::load(&artifact(), &RouterOptions::default())?))
}

/// English prose of exactly `tokens` tokens as the features count them, without repeated sentences.
pub fn prose(tokens: usize) -> String {
    const SUBJECTS: [&str; 8] = [
        "The committee",
        "Our supplier",
        "A student",
        "The engine",
        "Her report",
        "This theorem",
        "The court",
        "A patient",
    ];
    const VERBS: [&str; 7] =
        ["reviewed", "questioned", "measured", "postponed", "explained", "compared", "ignored"];
    const OBJECTS: [&str; 9] = [
        "the annual budget",
        "every assumption",
        "an unusual result",
        "the second clause",
        "several invoices",
        "the boundary conditions",
        "a competing offer",
        "the missing signature",
        "its own figures",
    ];
    const ENDS: [&str; 5] = ["in March", "without delay", "for good reasons", "twice", "at length"];
    let mut words: Vec<&str> = Vec::new();
    let mut i = 0usize;
    while words.len() < tokens {
        let parts = [SUBJECTS[i % 8], VERBS[(i / 3) % 7], OBJECTS[(i * 5) % 9], ENDS[(i / 2) % 5]];
        words.extend(parts.iter().flat_map(|part| part.split(' ')));
        i += 1;
    }
    words[..tokens].join(" ")
}

/// Answers at once with a response of ordinary size: what tonic costs by itself.
#[derive(Debug, Default)]
pub struct Echo;

#[tonic::async_trait]
impl RouterService for Echo {
    async fn route(&self, request: Request<v1::RouteRequest>) -> Result<Response<v1::RouteResponse>, Status> {
        Ok(Response::new(v1::RouteResponse {
            decision_id: "0190a000-0000-7000-8000-000000000000".to_owned(),
            request_id: request.into_inner().request_id,
            model: "starter-small".to_owned(),
            threshold_source: "operating_point:default".to_owned(),
            reason: "below_threshold".to_owned(),
            artifact_version: "000000000000".to_owned(),
            calibrator_version: "000000000000".to_owned(),
            ..v1::RouteResponse::default()
        }))
    }

    async fn route_batch(
        &self,
        _: Request<v1::RouteBatchRequest>,
    ) -> Result<Response<v1::RouteBatchResponse>, Status> {
        Err(Status::unimplemented("the echo knows Route only"))
    }

    type RouteStreamStream =
        std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<v1::RouteItem, Status>> + Send>>;

    async fn route_stream(
        &self,
        _: Request<Streaming<v1::RouteRequest>>,
    ) -> Result<Response<Self::RouteStreamStream>, Status> {
        Err(Status::unimplemented("the echo knows Route only"))
    }

    async fn get_info(
        &self,
        _: Request<v1::GetInfoRequest>,
    ) -> Result<Response<v1::GetInfoResponse>, Status> {
        Err(Status::unimplemented("the echo knows Route only"))
    }
}

/// Serves the echo until the listener's runtime ends, with `TCP_NODELAY` like the real server.
///
/// # Errors
/// When the transport fails.
pub async fn serve_echo(listener: TcpListener) -> Result<(), tonic::transport::Error> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tonic::transport::Server::builder()
        .add_service(RouterServiceServer::new(Echo))
        .serve_with_incoming(incoming)
        .await
}
