//! A collector that takes OTLP and hands on what it was given.

use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

pub struct Collected {
    pub address: SocketAddr,
    pub spans: mpsc::UnboundedReceiver<Span>,
    pub metrics: mpsc::UnboundedReceiver<Metric>,
}

struct Spans(mpsc::UnboundedSender<Span>);

#[tonic::async_trait]
impl TraceService for Spans {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = request.into_inner().resource_spans.into_iter().flat_map(|of| of.scope_spans);
        spans.flat_map(|of| of.spans).for_each(|span| self.0.send(span).unwrap_or_default());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

struct Metrics(mpsc::UnboundedSender<Metric>);

#[tonic::async_trait]
impl MetricsService for Metrics {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let metrics = request.into_inner().resource_metrics.into_iter().flat_map(|of| of.scope_metrics);
        metrics.flat_map(|of| of.metrics).for_each(|metric| self.0.send(metric).unwrap_or_default());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

/// Listens on a free port for as long as the test runs.
pub async fn collect() -> Collected {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (span, spans) = mpsc::unbounded_channel();
    let (metric, metrics) = mpsc::unbounded_channel();
    let serving = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(Spans(span)))
        .add_service(MetricsServiceServer::new(Metrics(metric)))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serving);
    Collected { address, spans, metrics }
}
