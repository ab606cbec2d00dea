//! Spans of RPCs whose trace is sampled: by their caller (W3C trace context), or here for a share of those that bring
//! none. What a decision came to is told as attributes; no text, no label and no name that a caller made up ever is.

use std::time::SystemTime;

use http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span, SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tokio::time::Instant;
use uuid::Uuid;

use super::export::SpanPush;
use super::instruments::resource;
use super::metrics::{Decided, Stage};
use super::names::Point;
use super::requests::CODES;

/// Decisions of a batch or a stream that its span tells of; the rest are counted there.
const MOST_EVENTS: u32 = 64;

/// Begins spans.
#[derive(Debug)]
pub(crate) struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    /// Share of the RPCs without a trace of their own that begin one.
    share: f64,
}

/// The span of an RPC.
#[derive(Debug, Clone)]
pub(crate) struct Traced {
    context: Context,
    tracer: SdkTracer,
}

/// How a decision is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The RPC is about it alone: attributes of its span, and a span for each stage.
    Alone,
    /// It is one of several: an event.
    Item,
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

impl Traces {
    /// Spans go to `push`.
    pub(super) fn new(push: SpanPush, share: f64) -> Self {
        let provider = SdkTracerProvider::builder()
            .with_span_processor(push)
            .with_resource(resource())
            .with_max_events_per_span(MOST_EVENTS)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share))))
            .build();
        let tracer = provider.tracer("rung");
        Self { provider, tracer, share }
    }

    /// The span of an RPC; none where it is not sampled, which most are not and which costs next to nothing.
    pub(super) fn begin(&self, headers: &HeaderMap, method: &str) -> Option<Traced> {
        let parent = headers.get("traceparent");
        let unsampled = parent.is_some_and(|parent| parent.as_bytes().ends_with(b"-00"));
        if unsampled || (parent.is_none() && self.share <= 0.0) {
            return None;
        }
        let above = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
        let builder =
            self.tracer.span_builder(method.to_owned()).with_kind(SpanKind::Server).with_attributes([
                KeyValue::new("rpc.system.name", "grpc"),
                KeyValue::new("rpc.method", method.to_owned()),
            ]);
        let span = self.tracer.build_with_context(builder, &above);
        let sampled = span.span_context().is_sampled();
        sampled.then(|| Traced { context: above.with_span(span), tracer: self.tracer.clone() })
    }

    /// Exports what is not exported yet and ends; blocks until then.
    pub(super) fn end(&self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

impl Traced {
    /// The RPC has ended.
    pub(super) fn end(&self, code: usize) {
        let span = self.context.span();
        span.set_attribute(KeyValue::new("rpc.response.status_code", CODES[code]));
        // Of a server only these are errors: the others are a caller's own.
        if matches!(
            CODES[code],
            "UNKNOWN" | "DEADLINE_EXCEEDED" | "UNIMPLEMENTED" | "INTERNAL" | "UNAVAILABLE" | "DATA_LOSS"
        ) {
            span.set_attribute(KeyValue::new("error.type", CODES[code]));
            span.set_status(Status::error(""));
        }
        span.end();
    }

    /// What a decision came to.
    pub(crate) fn decided(&self, decided: &Decided<'_>, id: Uuid, policy: Option<&str>, shape: Shape) {
        let span = self.context.span();
        let attributes = attributes(decided, id, policy);
        if shape == Shape::Item {
            return span.add_event("decision", attributes);
        }
        span.set_attributes(attributes);
        let (now, wall) = (Instant::now(), SystemTime::now());
        let at = |instant: Instant| wall.checked_sub(now.saturating_duration_since(instant)).unwrap_or(wall);
        for (stage, begun, ended) in decided.times.stages().filter(|(stage, ..)| *stage != Stage::Whole) {
            let builder = self.tracer.span_builder(stage.as_str()).with_start_time(at(begun));
            self.tracer.build_with_context(builder, &self.context).end_with_timestamp(at(ended));
        }
    }
}

fn attributes(decided: &Decided<'_>, id: Uuid, policy: Option<&str>) -> Vec<KeyValue> {
    let decision = &decided.routed.decision;
    let point = match decided.point {
        Point::Named(name) => name.to_owned(),
        Point::Request => "request".to_owned(),
        Point::Policy => "policy".to_owned(),
        Point::Given => "given".to_owned(),
    };
    let mut attributes = vec![
        KeyValue::new("rung.decision_id", id.to_string()),
        KeyValue::new("rung.model", decision.model.as_str().to_owned()),
        KeyValue::new("rung.tier", decision.tier.as_str()),
        KeyValue::new("rung.reason", decision.reason.as_str()),
        KeyValue::new("rung.operating_point", point),
        KeyValue::new("rung.threshold", decision.threshold.get()),
        KeyValue::new("rung.win_probability", decision.win_probability.get()),
        KeyValue::new("rung.interval_lower", decision.interval.lower().get()),
        KeyValue::new("rung.interval_upper", decision.interval.upper().get()),
        KeyValue::new("rung.scored_by", decided.routed.scored_by().as_str()),
        KeyValue::new("rung.scored_by_reason", decided.routed.tier_reason.as_str()),
        KeyValue::new("rung.input_tokens_used", i64::from(decided.routed.tokens_used)),
        KeyValue::new("rung.artifact.name", decided.info.name.clone()),
        KeyValue::new("rung.artifact.version", decided.info.version.clone()),
    ];
    attributes.extend(policy.map(|version| KeyValue::new("rung.policy.version", version.to_owned())));
    attributes
}
