//! Telemetry that is pushed to a collector (OTLP over gRPC). It must never be felt by callers: spans wait in a queue with an
//! end, what does not fit is dropped and counted, and a collector that is away costs nothing but a warning.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter as ExportSpans, SpanProcessor,
};

use super::TelemetryError;
use super::catalogue::SPANS;
use super::instruments::Instruments;

/// Spans that may wait.
const QUEUE: usize = 4_096;

/// Spans of one export.
const BATCH: usize = 512;

/// How long a span waits for others.
const DELAY: Duration = Duration::from_secs(1);

/// How long a collector may take for an export.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where metrics are pushed, and how often.
pub(super) struct MetricPush {
    pub(super) exporter: MetricExporter,
    pub(super) every: Duration,
}

impl MetricPush {
    /// To the collector at an address. Headers are those of OTEL_EXPORTER_OTLP_HEADERS.
    pub(super) fn new(endpoint: &str, every: Duration) -> Result<Self, TelemetryError> {
        let builder = MetricExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(PATIENCE);
        let exporter = builder.build().map_err(|error| TelemetryError::Exporter(error.to_string()))?;
        Ok(Self { exporter, every })
    }
}

/// What became of spans.
#[derive(Debug, Default)]
pub(super) struct SpanCounts {
    waiting: AtomicUsize,
    exported: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    /// The last export failed.
    away: AtomicBool,
}

impl SpanCounts {
    pub(super) fn read_by(self: &Arc<Self>, make: &Instruments) {
        let counts = Arc::clone(self);
        make.read(SPANS, move |hear| {
            for (fate, counter) in
                [("exported", &counts.exported), ("failed", &counts.failed), ("dropped", &counts.dropped)]
            {
                hear(counter.load(Ordering::Relaxed) as f64, &[KeyValue::new("fate", fate)]);
            }
        });
    }
}

/// The queue of spans.
#[derive(Debug)]
pub(super) struct SpanPush {
    queue: BatchSpanProcessor,
    counts: Arc<SpanCounts>,
}

impl SpanPush {
    /// To the collector at an address; has to be made on a runtime, whose connection it is.
    pub(super) fn new(endpoint: &str, counts: Arc<SpanCounts>) -> Result<Self, TelemetryError> {
        let builder = SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(PATIENCE);
        let exporter = builder.build().map_err(|error| TelemetryError::Exporter(error.to_string()))?;
        Ok(Self::over(exporter, counts))
    }

    fn over<E: ExportSpans + 'static>(exporter: E, counts: Arc<SpanCounts>) -> Self {
        // What waits, what is being exported and what was not counted off yet: the queue itself never refuses.
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE + 2 * BATCH)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let exporter = Counted { exporter, counts: Arc::clone(&counts) };
        Self { queue: BatchSpanProcessor::builder(exporter).with_batch_config(config).build(), counts }
    }
}

impl SpanProcessor for SpanPush {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.queue.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.counts.waiting.fetch_add(1, Ordering::AcqRel) >= QUEUE {
            self.counts.waiting.fetch_sub(1, Ordering::AcqRel);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.queue.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.queue.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.queue.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.queue.set_resource(resource);
    }
}

/// An exporter that says what became of what it was given.
#[derive(Debug)]
struct Counted<E> {
    exporter: E,
    counts: Arc<SpanCounts>,
}

impl<E: ExportSpans> ExportSpans for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let (spans, counts) = (batch.len(), &self.counts);
        let done = self.exporter.export(batch).await;
        counts.waiting.fetch_sub(spans, Ordering::AcqRel);
        let counter = if done.is_ok() { &counts.exported } else { &counts.failed };
        counter.fetch_add(spans as u64, Ordering::Relaxed);
        // Told when it changes, not every second.
        match (&done, counts.away.swap(done.is_err(), Ordering::AcqRel)) {
            (Err(error), false) => {
                tracing::warn!(%error, "spans cannot be exported: they are counted and dropped");
            }
            (Ok(()), true) => tracing::info!("spans are exported again"),
            (Ok(()), false) | (Err(_), true) => {}
        }
        done
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Tracer, TracerProvider};
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;

    /// A collector that answers once it is told to.
    #[derive(Debug)]
    struct Stuck(Arc<tokio::sync::Semaphore>);

    impl ExportSpans for Stuck {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            self.0.acquire().await.unwrap().forget();
            Ok(())
        }
    }

    #[test]
    fn spans_that_do_not_fit_are_dropped_and_counted() {
        let (gate, counts) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::<SpanCounts>::default());
        let push = SpanPush::over(Stuck(Arc::clone(&gate)), Arc::clone(&counts));
        let provider = SdkTracerProvider::builder().with_span_processor(push).build();
        let tracer = provider.tracer("test");
        for _ in 0..QUEUE + 100 {
            drop(tracer.start("span"));
        }
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!((read(&counts.dropped), read(&counts.exported)), (100, 0));
        gate.add_permits(QUEUE);
        provider.shutdown().unwrap();
        assert_eq!((read(&counts.dropped), read(&counts.exported)), (100, QUEUE as u64));
        assert_eq!(counts.waiting.load(Ordering::Relaxed), 0);
    }
}
