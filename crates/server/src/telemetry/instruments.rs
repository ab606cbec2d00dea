//! Instruments made from the catalogue, and the registry that a scrape reads.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter, MeterProvider, UpDownCounter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use prometheus::{Registry, TextEncoder};

use super::catalogue::{Kind, Spec};
use super::{TelemetryError, export::MetricPush};

/// What hears of a number that is read when it is asked for.
pub(super) type Hear<'a> = &'a mut dyn FnMut(f64, &[KeyValue]);

/// Makes instruments, and holds what collects them.
#[derive(Debug)]
pub(super) struct Instruments {
    provider: SdkMeterProvider,
    meter: Meter,
    registry: Registry,
}

impl Instruments {
    /// What a scrape reads and, where there is somebody to push to, what is pushed.
    pub(super) fn new(push: Option<MetricPush>) -> Result<Self, TelemetryError> {
        let registry = Registry::new();
        let scraped = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_units()
            .without_target_info()
            .scope_info_enabled(false)
            .build()
            .map_err(|error| TelemetryError::Metrics(error.to_string()))?;
        #[cfg(target_os = "linux")]
        registry
            .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
            .map_err(|error| TelemetryError::Metrics(error.to_string()))?;
        let mut builder = SdkMeterProvider::builder().with_resource(resource()).with_reader(scraped);
        if let Some(MetricPush { exporter, every }) = push {
            builder = builder.with_reader(PeriodicReader::builder(exporter).with_interval(every).build());
        }
        let provider = builder.build();
        let meter = provider.meter("rung");
        Ok(Self { provider, meter, registry })
    }

    pub(super) fn counter(&self, spec: Spec) -> Counter<u64> {
        self.meter.u64_counter(spec.instrument()).with_description(spec.help).build()
    }

    pub(super) fn amount(&self, spec: Spec) -> Counter<f64> {
        self.meter.f64_counter(spec.instrument()).with_description(spec.help).build()
    }

    pub(super) fn up_down(&self, spec: Spec) -> UpDownCounter<i64> {
        self.meter.i64_up_down_counter(spec.instrument()).with_description(spec.help).build()
    }

    pub(super) fn histogram(&self, spec: Spec, boundaries: &[f64]) -> Histogram<f64> {
        let builder = self.meter.f64_histogram(spec.instrument()).with_description(spec.help);
        builder.with_boundaries(boundaries.to_vec()).build()
    }

    /// A number that is read whenever somebody asks for it.
    pub(super) fn read(&self, spec: Spec, read: impl Fn(Hear<'_>) + Send + Sync + 'static) {
        let name = spec.instrument();
        match spec.kind {
            Kind::Counter => {
                let builder = self.meter.f64_observable_counter(name).with_description(spec.help);
                builder.with_callback(move |to| read(&mut |value, labels| to.observe(value, labels))).build();
            }
            Kind::Gauge | Kind::Histogram => {
                let builder = self.meter.f64_observable_gauge(name).with_description(spec.help);
                builder.with_callback(move |to| read(&mut |value, labels| to.observe(value, labels))).build();
            }
        }
    }

    /// Everything as Prometheus reads it.
    pub(super) fn text(&self) -> Result<String, TelemetryError> {
        let families = self.registry.gather();
        TextEncoder::new()
            .encode_to_string(&families)
            .map_err(|error| TelemetryError::Metrics(error.to_string()))
    }

    /// Pushes what is not pushed yet and ends; blocks until then.
    pub(super) fn end(&self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(%error, "the last metrics were not pushed");
        }
    }
}

/// Who is speaking: `rung` and its version, and what OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME say.
pub(super) fn resource() -> Resource {
    let builder = Resource::builder();
    let named = std::env::var_os("OTEL_SERVICE_NAME").is_some();
    let builder = if named { builder } else { builder.with_service_name("rung") };
    builder.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))).build()
}

/// The same numbers as OpenMetrics has them: names of counter families are without `_total`, and there is an end.
pub(super) fn open_metrics(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    // Whether a family is a counter is told after its help.
    let mut lines = text.lines().peekable();
    let is_counter = |line: &str| line.starts_with("# TYPE ") && line.ends_with("_total counter");
    while let Some(line) = lines.next() {
        let counter = is_counter(line)
            || (line.starts_with("# HELP ") && lines.peek().is_some_and(|next| is_counter(next)));
        if counter {
            out.push_str(&line.replacen("_total ", " ", 1));
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    out.push_str("# EOF\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_names_families_of_counters_without_their_suffix() {
        let text = "# HELP a_total All _total things\n# TYPE a_total counter\na_total{b=\"c\"} 3\n\
                    # HELP d_total A gauge\n# TYPE d_total gauge\nd_total 1\n";
        let expected = "# HELP a All _total things\n# TYPE a counter\na_total{b=\"c\"} 3\n\
                        # HELP d_total A gauge\n# TYPE d_total gauge\nd_total 1\n# EOF\n";
        assert_eq!(open_metrics(text), expected);
    }
}
