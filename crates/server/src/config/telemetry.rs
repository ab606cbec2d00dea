//! Configuration of what is told of a running server: the HTTP listener, the collector, traces, and when too much fallback
//! makes it unready.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use super::{ConfigError, at_least};
use crate::health::FallbackLimit;

/// Settings of telemetry, `[telemetry]` in the file.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetrySettings {
    /// Address of plain HTTP with /metrics (Prometheus), /healthz and /readyz, such as 127.0.0.1:9464; not served where none
    /// is given.
    #[arg(long, env = "RUNG_HTTP_LISTEN")]
    pub http_listen: Option<SocketAddr>,
    /// Collector that takes OTLP over gRPC, such as http://127.0.0.1:4317; nothing is pushed where none is given. Headers:
    /// OTEL_EXPORTER_OTLP_HEADERS.
    #[arg(long, env = "RUNG_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Milliseconds between two pushes of metrics; 15000 by default.
    #[arg(long, env = "RUNG_OTLP_INTERVAL_MS", value_name = "MILLISECONDS")]
    pub otlp_interval_ms: Option<u64>,
    /// Share of the requests without a trace of their own that begin one; 0 by default: those that callers sampled.
    #[arg(long, env = "RUNG_TRACE_SAMPLE", value_name = "SHARE")]
    pub trace_sample: Option<f64>,
    /// Slices that metrics tell apart, beside those that the artifact and the monitors name; all others count as `other`.
    #[arg(long, env = "RUNG_METRICS_SLICE", value_delimiter = ',', value_name = "TAG")]
    #[serde(default)]
    pub metrics_slice: Vec<String>,
    /// Share of fallback and degraded decisions from which this server is not ready, in (0, 1]; never where none is given.
    #[arg(long, env = "RUNG_UNREADY_FALLBACK_SHARE", value_name = "SHARE")]
    pub unready_fallback_share: Option<f64>,
    /// Milliseconds that this share is taken over; 30000 by default.
    #[arg(long, env = "RUNG_UNREADY_FALLBACK_WINDOW_MS", value_name = "MILLISECONDS")]
    pub unready_fallback_window_ms: Option<u64>,
    /// Decisions in this time below which the share says nothing; 100 by default.
    #[arg(long, env = "RUNG_UNREADY_FALLBACK_LEAST", value_name = "DECISIONS")]
    pub unready_fallback_least: Option<usize>,
    /// Not ready either while the decision log drops decisions.
    #[arg(long, env = "RUNG_UNREADY_LOG", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub unready_log: Option<bool>,
}

/// Checked configuration of telemetry.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// Where HTTP is served.
    pub http_listen: Option<SocketAddr>,
    /// The collector.
    pub otlp_endpoint: Option<String>,
    /// Between two pushes of metrics, at least 1 ms.
    pub otlp_interval: Duration,
    /// Share of the requests without a trace that begin one, in [0, 1].
    pub trace_sample: f64,
    /// Slices that metrics tell apart.
    pub slices: Vec<String>,
    /// What share of fallback is too much.
    pub(crate) fallback_limit: Option<FallbackLimit>,
    /// What it is a share of, at least 10 ms.
    pub fallback_window: Duration,
    /// Whether a log that drops decisions is a reason not to be ready.
    pub unready_log: bool,
}

impl TelemetrySettings {
    /// These settings where they are set, `below` where they are not.
    pub(super) fn over(self, below: Self) -> Self {
        let slices = if self.metrics_slice.is_empty() { below.metrics_slice } else { self.metrics_slice };
        Self {
            http_listen: self.http_listen.or(below.http_listen),
            otlp_endpoint: self.otlp_endpoint.or(below.otlp_endpoint),
            otlp_interval_ms: self.otlp_interval_ms.or(below.otlp_interval_ms),
            trace_sample: self.trace_sample.or(below.trace_sample),
            metrics_slice: slices,
            unready_fallback_share: self.unready_fallback_share.or(below.unready_fallback_share),
            unready_fallback_window_ms: self.unready_fallback_window_ms.or(below.unready_fallback_window_ms),
            unready_fallback_least: self.unready_fallback_least.or(below.unready_fallback_least),
            unready_log: self.unready_log.or(below.unready_log),
        }
    }

    /// Checks every value. `slices`: those that the monitors watch.
    pub(super) fn build(self, slices: &[String]) -> Result<TelemetryConfig, ConfigError> {
        let share = |key, value: f64, from_0: bool| {
            let within = value <= 1.0 && (value > 0.0 || (from_0 && value == 0.0));
            let expected = if from_0 { "a share in [0, 1]" } else { "a share in (0, 1]" };
            if within {
                Ok(value)
            } else {
                Err(ConfigError::Value { key, expected, found: value.to_string() })
            }
        };
        let least = |key, set: Option<u64>, otherwise, least: usize, expected| {
            let set = usize::try_from(set.unwrap_or(otherwise)).unwrap_or(usize::MAX);
            Ok(Duration::from_millis(at_least(key, set, least, expected)? as u64))
        };
        let limit = self.unready_fallback_share.map(|value| share("unready_fallback_share", value, false));
        let decisions = self.unready_fallback_least.unwrap_or(100);
        let decisions = at_least("unready_fallback_least", decisions, 1, "at least 1")? as u64;
        let mut declared = self.metrics_slice;
        declared.extend_from_slice(slices);
        Ok(TelemetryConfig {
            http_listen: self.http_listen,
            otlp_endpoint: self.otlp_endpoint.map(endpoint).transpose()?,
            otlp_interval: least("otlp_interval_ms", self.otlp_interval_ms, 15_000, 1, "at least 1")?,
            trace_sample: share("trace_sample", self.trace_sample.unwrap_or(0.0), true)?,
            slices: declared,
            fallback_limit: limit.transpose()?.map(|share| FallbackLimit { share, least: decisions }),
            fallback_window: least(
                "unready_fallback_window_ms",
                self.unready_fallback_window_ms,
                30_000,
                10,
                "at least 10",
            )?,
            unready_log: self.unready_log.unwrap_or(false),
        })
    }
}

/// A collector's address: with a scheme and a host, or nothing would be said until the first push fails.
fn endpoint(text: String) -> Result<String, ConfigError> {
    let known = text.parse::<http::Uri>().ok().filter(|uri| {
        uri.host().is_some_and(|host| !host.is_empty()) && matches!(uri.scheme_str(), Some("http" | "https"))
    });
    if known.is_some() {
        return Ok(text);
    }
    Err(ConfigError::Value {
        key: "otlp_endpoint",
        expected: "http://HOST:PORT or https://HOST:PORT",
        found: text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let plain = TelemetrySettings::default;
        let refused = |settings: TelemetrySettings| settings.build(&[]).unwrap_err().to_string();
        let sample = TelemetrySettings { trace_sample: Some(1.5), ..plain() };
        assert_eq!(refused(sample), "trace_sample: expected a share in [0, 1], found 1.5");
        let sample = TelemetrySettings { trace_sample: Some(f64::NAN), ..plain() };
        assert_eq!(refused(sample), "trace_sample: expected a share in [0, 1], found NaN");
        let share = TelemetrySettings { unready_fallback_share: Some(0.0), ..plain() };
        assert_eq!(refused(share), "unready_fallback_share: expected a share in (0, 1], found 0");
        let window = TelemetrySettings { unready_fallback_window_ms: Some(3), ..plain() };
        assert_eq!(refused(window), "unready_fallback_window_ms: expected at least 10, found 3");
        for wrong in ["collector:4317", "ftp://collector", "http://", "not a url"] {
            let settings = TelemetrySettings { otlp_endpoint: Some(wrong.into()), ..plain() };
            assert!(refused(settings).starts_with("otlp_endpoint: expected http://HOST:PORT"), "{wrong}");
        }
    }

    #[test]
    fn slices_of_the_monitors_are_told_apart() {
        let settings = TelemetrySettings { metrics_slice: vec!["tenant:7".into()], ..Default::default() };
        let built = settings.build(&["category:law".to_owned()]).unwrap();
        assert_eq!(built.slices, ["tenant:7", "category:law"]);
        assert!(built.fallback_limit.is_none() && built.trace_sample == 0.0);
    }
}
