//! Every RPC from its head to its last byte: counted by method and code, timed, and a span where its trace is sampled. This
//! is the outermost layer, so that what the others refuse is seen too.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, BoundHistogram, BoundUpDownCounter, Counter};
use pin_project_lite::pin_project;
use prost::Message;
use prost_types::FileDescriptorSet;
use tokio::time::Instant;
use tonic::Code;
use tower::{Layer, Service};

use super::catalogue as of;
use super::instruments::Instruments;
use super::metrics::SECONDS;
use super::names::OTHER;
use super::traces::{Traced, Traces};

/// Names of gRPC's codes, by number.
pub(super) const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// One method's numbers.
#[derive(Debug)]
pub(super) struct Method {
    /// `rung.v1.RouterService/Route`.
    pub(super) name: String,
    ended: Counter<u64>,
    by_code: [OnceLock<BoundCounter<u64>>; CODES.len()],
    duration: BoundHistogram<f64>,
    in_flight: BoundUpDownCounter<i64>,
}

/// All methods there are; a path that is none counts as `other`.
#[derive(Debug)]
pub(super) struct Requests {
    by_path: HashMap<String, Arc<Method>>,
    other: Arc<Method>,
}

impl Requests {
    pub(super) fn new(make: &Instruments) -> Self {
        let ended = make.counter(of::REQUESTS);
        let (duration, in_flight) =
            (make.histogram(of::REQUEST_DURATION, &SECONDS), make.up_down(of::REQUESTS_IN_FLIGHT));
        let method = |name: String| {
            let label = [KeyValue::new("method", name.clone())];
            Arc::new(Method {
                ended: ended.clone(),
                by_code: std::array::from_fn(|_| OnceLock::new()),
                duration: duration.bind(&label),
                in_flight: in_flight.bind(&label),
                name,
            })
        };
        let by_path = methods().into_iter().map(|name| (format!("/{name}"), method(name))).collect();
        Self { by_path, other: method(OTHER.to_owned()) }
    }

    fn method(&self, path: &str) -> Arc<Method> {
        Arc::clone(self.by_path.get(path).unwrap_or(&self.other))
    }
}

/// Every method that can be served, as the descriptors name them.
fn methods() -> Vec<String> {
    let sets = [
        api::v1::FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    // Descriptors are part of the program: what cannot be read here cannot be served either.
    let files =
        sets.into_iter().filter_map(|set| FileDescriptorSet::decode(set).ok()).flat_map(|set| set.file);
    files
        .flat_map(|file| {
            let package = file.package.clone().unwrap_or_default();
            file.service.into_iter().flat_map(move |service| {
                let service_name = format!("{package}.{}", service.name.as_deref().unwrap_or_default());
                let named = move |method: prost_types::MethodDescriptorProto| {
                    format!("{service_name}/{}", method.name.unwrap_or_default())
                };
                service.method.into_iter().map(named)
            })
        })
        .collect()
}

/// An RPC under way; it ends once, at the latest when it is dropped.
#[derive(Debug)]
struct Call {
    method: Arc<Method>,
    begun: Instant,
    traced: Option<Traced>,
    over: bool,
}

impl Call {
    fn end(&mut self, code: usize) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let method = &self.method;
        let code = CODES.get(code).map_or(Code::Unknown as usize, |_| code);
        let counter = method.by_code[code].get_or_init(|| {
            let labels = [KeyValue::new("method", method.name.clone()), KeyValue::new("code", CODES[code])];
            method.ended.bind(&labels)
        });
        counter.add(1);
        method.duration.record(self.begun.elapsed().as_secs_f64());
        method.in_flight.add(-1);
        if let Some(traced) = self.traced.take() {
            traced.end(code);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // Nobody waits for the rest of it.
        self.end(Code::Cancelled as usize);
    }
}

/// The code that headers or trailers carry.
fn code(headers: &HeaderMap) -> Option<usize> {
    let text = headers.get("grpc-status")?.to_str().ok();
    Some(text.and_then(|text| text.parse().ok()).unwrap_or(Code::Unknown as usize))
}

/// Puts the observer around a service.
#[derive(Debug, Clone)]
pub(crate) struct ObserveLayer {
    pub(super) requests: Arc<Requests>,
    pub(super) traces: Option<Arc<Traces>>,
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe { inner, layer: self.clone() }
    }
}

/// A service that is observed.
#[derive(Debug, Clone)]
pub(crate) struct Observe<S> {
    inner: S,
    layer: ObserveLayer,
}

impl<S, B, R> Service<Request<B>> for Observe<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<Observed<R>>;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let method = self.layer.requests.method(request.uri().path());
        method.in_flight.add(1);
        let traced =
            self.layer.traces.as_ref().and_then(|traces| traces.begin(request.headers(), &method.name));
        if let Some(traced) = &traced {
            request.extensions_mut().insert(traced.clone());
        }
        let call = Call { method, begun: Instant::now(), traced, over: false };
        Answering { answer: self.inner.call(request), call: Some(call) }
    }
}

pin_project! {
    /// An answer that is waited for.
    pub(crate) struct Answering<F> {
        #[pin]
        answer: F,
        call: Option<Call>,
    }
}

impl<F, R, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<Observed<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.answer.poll(cx));
        let mut call = this.call.take();
        Poll::Ready(match answer {
            Ok(response) => {
                if let (Some(call), Some(code)) = (&mut call, code(response.headers())) {
                    call.end(code);
                }
                Ok(response.map(|body| Observed { body, call }))
            }
            Err(error) => {
                if let Some(call) = &mut call {
                    call.end(Code::Unknown as usize);
                }
                Err(error)
            }
        })
    }
}

pin_project! {
    /// The body of an answer, whose trailers say how it ended.
    pub(crate) struct Observed<R> {
        #[pin]
        body: R,
        call: Option<Call>,
    }
}

impl<R: Body> Body for Observed<R> {
    type Data = R::Data;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<R::Data>, R::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        let ended = match &frame {
            None => Some(Code::Unknown as usize),
            Some(Err(_)) => Some(Code::Internal as usize),
            Some(Ok(frame)) => {
                frame.trailers_ref().map(|trailers| code(trailers).unwrap_or(Code::Unknown as usize))
            }
        };
        if let (Some(code), Some(mut call)) = (ended, this.call.take_if(|_| ended.is_some())) {
            call.end(code);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_methods_are_known_by_their_paths() {
        let methods = methods();
        for name in [
            "rung.v1.RouterService/Route",
            "rung.v1.AdminService/Promote",
            "grpc.health.v1.Health/Check",
            "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        ] {
            assert!(methods.iter().any(|method| method == name), "{name} is not among {methods:?}");
        }
    }

    #[test]
    fn a_code_is_read_where_there_is_one() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", value.parse().unwrap());
            code(&headers)
        };
        assert_eq!(
            (with("0"), with("8"), with("x"), code(&HeaderMap::new())),
            (Some(0), Some(8), Some(2), None)
        );
        for (number, code) in CODES.iter().enumerate() {
            let name = format!("{:?}", Code::from_i32(number as i32)).to_uppercase();
            assert_eq!(code.replace('_', ""), name);
        }
    }
}
