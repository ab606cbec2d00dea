//! The conversation with Envoy about one HTTP request: its headers, its body, one decision, and the end of the stream,
//! so that nothing of the response is sent here.

use std::pin::Pin;
use std::time::Duration;

use api::v1::router_service_server::RouterService;
use api::v1::{RouteRequest, RouteResponse};
use futures_util::stream::{self, Stream};
use thiserror::Error;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Response, Status, Streaming};

use crate::body::{self, Asked, Call, ModelPlace};
use crate::head::{Head, stripped};
use crate::mutation::{self, NewBody, Phase, fits_a_header};
use crate::reason::{ProtocolError, Reason, Unrouted};
use crate::wire::{
    BodySendMode, ExternalProcessor, ExternalProcessorServer, HttpBody, HttpHeaders, ProcessingRequest,
    ProcessingResponse, processing_request,
};

/// What a message may weigh beside a body of the largest size: headers, attributes and metadata.
const BESIDE_THE_BODY: usize = 256 << 10;

/// Text that the value of a header can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderText(String);

/// Text that no header can carry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected visible ASCII, found {0:?}")]
pub struct NotAHeader(pub String);

impl HeaderText {
    /// # Errors
    /// When it is empty, padded, or holds anything but visible ASCII and spaces.
    pub fn new(text: &str) -> Result<Self, NotAHeader> {
        if fits_a_header(text) { Ok(Self(text.to_owned())) } else { Err(NotAHeader(text.to_owned())) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How requests are processed.
#[derive(Debug, Clone)]
pub struct Options {
    /// The model of requests that cannot be routed, which then pass, marked; without one they are refused.
    pub fallback_model: Option<HeaderText>,
    /// Write the model into the body too.
    pub rewrite_model: bool,
    /// How long a decision may take at most.
    pub timeout: Duration,
    /// Bytes of a body that are read.
    pub max_body_bytes: usize,
}

/// Answers Envoy by asking a router.
#[derive(Debug, Clone)]
pub struct Processor<S> {
    router: S,
    options: Options,
}

/// The gRPC service of a [`Processor`], with its limit of what a message may weigh.
pub fn service<S: RouterService + Clone>(
    router: S,
    options: Options,
) -> ExternalProcessorServer<Processor<S>> {
    let heaviest = options.max_body_bytes.saturating_add(BESIDE_THE_BODY);
    ExternalProcessorServer::new(Processor { router, options }).max_decoding_message_size(heaviest)
}

#[tonic::async_trait]
impl<S: RouterService + Clone> ExternalProcessor for Processor<S> {
    type ProcessStream = Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send>>;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let (metadata, extensions, messages) = request.into_parts();
        let envelope = Envelope { metadata, extensions };
        let exchange = Exchange { processor: self.clone(), envelope, messages, awaited: Awaited::Headers };
        let answers = stream::unfold(Some(exchange), |exchange| async { exchange?.answer().await });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// What travels with a call beside its message: who asks, and the trace it belongs to.
struct Envelope {
    metadata: MetadataMap,
    extensions: Extensions,
}

/// The message that comes next.
enum Awaited {
    Headers,
    Body { head: Head, mode: Option<BodySendMode> },
}

/// A body that could be read.
struct Sent<'a> {
    body: &'a [u8],
    /// Where its model stands.
    place: ModelPlace,
    /// The headers tell its length.
    has_length: bool,
}

/// One stream, which is one HTTP request.
struct Exchange<S> {
    processor: Processor<S>,
    envelope: Envelope,
    messages: Streaming<ProcessingRequest>,
    awaited: Awaited,
}

impl<S: RouterService + Clone> Exchange<S> {
    /// The answer to the next message, and the exchange where it goes on.
    async fn answer(mut self) -> Option<(Result<ProcessingResponse, Status>, Option<Self>)> {
        let message = match self.messages.message().await {
            Ok(message) => message?,
            Err(status) => return Some((Err(status), None)),
        };
        match self.step(message).await {
            Ok((response, Some(awaited))) => Some((Ok(response), Some(Self { awaited, ..self }))),
            Ok((response, None)) => Some((Ok(response), None)),
            Err(error) => {
                tracing::warn!(%error, "the data plane is configured in a way that cannot be served");
                Some((Err(error.into()), None))
            }
        }
    }

    async fn step(
        &mut self,
        message: ProcessingRequest,
    ) -> Result<(ProcessingResponse, Option<Awaited>), ProtocolError> {
        use processing_request::Request::{RequestBody, RequestHeaders};
        if message.observability_mode {
            return Err(ProtocolError::Observing);
        }
        let awaited = std::mem::replace(&mut self.awaited, Awaited::Headers);
        match (awaited, message.request) {
            (Awaited::Headers, Some(RequestHeaders(headers))) => {
                let mode = body_mode(message.protocol_config.map(|config| config.request_body_mode))?;
                Ok(self.processor.headers(&headers, mode))
            }
            (Awaited::Body { head, mode }, Some(RequestBody(sent))) => {
                Ok((self.processor.body(head, mode, &sent, &self.envelope).await, None))
            }
            (awaited, found) => {
                let expected = match awaited {
                    Awaited::Headers => "request_headers",
                    Awaited::Body { .. } => "request_body",
                };
                Err(ProtocolError::OutOfOrder { expected, found: name(found.as_ref()) })
            }
        }
    }
}

impl<S: RouterService> Processor<S> {
    fn headers(
        &self,
        headers: &HttpHeaders,
        mode: Option<BodySendMode>,
    ) -> (ProcessingResponse, Option<Awaited>) {
        let stripped = stripped(headers);
        let head = Head::read(headers).and_then(|head| match (headers.end_of_stream, head.encoded) {
            (true, _) => Err(Unrouted::new(Reason::NoBody, "the request has no body")),
            (_, true) => Err(Unrouted::new(Reason::Encoded, "body: expected no content-encoding")),
            (false, false) => Ok(head),
        });
        match head {
            Ok(head) => (mutation::send_body(stripped, mode), Some(Awaited::Body { head, mode })),
            Err(unrouted) => (self.unrouted(Phase::Headers, stripped, &unrouted, None), None),
        }
    }

    async fn body(
        &self,
        head: Head,
        mode: Option<BodySendMode>,
        sent: &HttpBody,
        envelope: &Envelope,
    ) -> ProcessingResponse {
        let whole = sent.end_of_stream || mode == Some(BodySendMode::Buffered);
        let call = if sent.body.len() > self.options.max_body_bytes {
            let most = format!("body: expected at most {} bytes", self.options.max_body_bytes);
            Err(Unrouted::new(Reason::BodyTooLong, most))
        } else {
            body::read(&sent.body, whole)
        };
        let Call { model: place, asked } = match call {
            Ok(call) => call,
            Err(unrouted) => return self.unrouted(Phase::Body, Vec::new(), &unrouted, None),
        };
        let sent = Sent { body: &sent.body, place, has_length: head.has_length };
        let decided = match asked {
            Ok(asked) => self.decide(head, asked, envelope).await,
            Err(unrouted) => Err(unrouted),
        };
        let changed = decided.and_then(|response| {
            let body = self.rewritten(&sent, &response.model);
            mutation::decided(Phase::Body, &response, body)
        });
        changed.unwrap_or_else(|unrouted| self.unrouted(Phase::Body, Vec::new(), &unrouted, Some(&sent)))
    }

    async fn decide(&self, head: Head, asked: Asked, envelope: &Envelope) -> Result<RouteResponse, Unrouted> {
        let timeout = head.deadline.map_or(self.options.timeout, |wish| wish.min(self.options.timeout));
        let Head { labels, at, request_id, .. } = head;
        let (input, system) = (Some(asked.input), asked.system);
        let request = RouteRequest { request_id, input, system, at, labels, ..RouteRequest::default() };
        let (metadata, extensions) = (envelope.metadata.clone(), envelope.extensions.clone());
        let mut request = Request::from_parts(metadata, extensions, request);
        request.set_timeout(timeout);
        match tokio::time::timeout(timeout, self.router.route(request)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(status.into()),
            Err(_) => Err(Unrouted::new(Reason::Deadline, "no decision in time")),
        }
    }

    fn rewritten(&self, sent: &Sent<'_>, model: &str) -> Option<NewBody> {
        let Sent { body, place, has_length } = sent;
        let bytes = || body::with_model(body, place, model);
        self.options.rewrite_model.then(|| NewBody { bytes: bytes(), has_length: *has_length })
    }

    /// Lets the request pass, marked, or answers it; `sent` is the body, where it could be read.
    fn unrouted(
        &self,
        phase: Phase,
        stripped: Vec<String>,
        unrouted: &Unrouted,
        sent: Option<&Sent<'_>>,
    ) -> ProcessingResponse {
        let passes = self.options.fallback_model.is_some();
        tracing::debug!(reason = unrouted.reason.as_str(), %unrouted, passes, "not routed");
        let Some(model) = &self.options.fallback_model else { return mutation::refused(unrouted) };
        let body = sent.and_then(|sent| self.rewritten(sent, model.as_str()));
        mutation::passed(phase, stripped, model.as_str(), unrouted.reason, body)
    }
}

/// The mode in which the body comes; an old data plane does not tell.
fn body_mode(told: Option<i32>) -> Result<Option<BodySendMode>, ProtocolError> {
    match told.map(BodySendMode::try_from) {
        None => Ok(None),
        Some(Ok(mode @ (BodySendMode::Buffered | BodySendMode::BufferedPartial))) => Ok(Some(mode)),
        Some(Ok(mode)) => Err(ProtocolError::BodyMode(mode.as_str_name())),
        Some(Err(_)) => Err(ProtocolError::BodyMode("unknown")),
    }
}

fn name(found: Option<&processing_request::Request>) -> &'static str {
    use processing_request::Request as Message;
    match found {
        None => "nothing",
        Some(Message::RequestHeaders(_)) => "request_headers",
        Some(Message::RequestBody(_)) => "request_body",
        Some(Message::RequestTrailers(_)) => "request_trailers",
        Some(Message::ResponseHeaders(_)) => "response_headers",
        Some(Message::ResponseBody(_)) => "response_body",
        Some(Message::ResponseTrailers(_)) => "response_trailers",
    }
}
