//! The layer in front of the services: who calls is asked before a body is read, a call holds its permits until its
//! answer is over, and a handler that panics costs its own call alone. The bounds of HTTP/2 are here too.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::body::Body;
use tonic::transport::Server;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::caller::Permits;
use super::counts::Counts;
use super::unread::Metered;
use super::{Access, Door, Refusal};
use crate::config::AccessConfig;

/// Streams of one connection at once. hyper's own bound is 200; callers of ours share one channel among many tasks, and
/// a stream that waits costs a few KiB.
const STREAMS: u32 = 1_024;

/// Bytes a peer may send ahead of what is read, of one connection and of one stream: hyper's 1 MiB for both would let
/// a single stream starve the others; a request is a few KiB.
const CONNECTION_WINDOW: u32 = 1 << 20;
const STREAM_WINDOW: u32 = 256 << 10;

/// Bytes of one request's headers: hyper's default of 16 KiB, said here so that it stays. What honest callers send is
/// below 1 KiB.
const HEADERS: u32 = 16 << 10;

/// Streams that were opened and reset before they were looked at (rapid reset, CVE-2023-44487), and streams reset for
/// mistakes of the peer (CVE-2025-8671); a connection that has more is closed. The first is h2's default, the second
/// well below hyper's 1,024: no honest client comes near either.
const PENDING_RESETS: usize = 20;
const ERROR_RESETS: usize = 128;

/// Between two signs of life.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// After which a peer that does not answer a sign of life is gone.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// A server with bounds on what one peer may cost.
pub(super) fn http2(config: &AccessConfig, door: Door) -> Server {
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(Some(STREAMS))
        .initial_connection_window_size(Some(CONNECTION_WINDOW))
        .initial_stream_window_size(Some(STREAM_WINDOW))
        .http2_max_header_list_size(Some(HEADERS))
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS))
        .http2_max_local_error_reset_streams(Some(ERROR_RESETS));
    // tonic asks a connection to go at its age only where it is given no grace; `listen` ends it after the grace.
    let server = match config.connections.age {
        Some(age) => server.max_connection_age(age),
        None => server,
    };
    match door {
        Door::Public => server.timeout(config.request_timeout),
        // An artifact that is loaded takes as long as it takes.
        Door::Admin => server,
    }
}

/// Puts a [`Guarded`] in front of services.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<Access>);

impl Gate {
    pub(super) fn new(access: Arc<Access>) -> Self {
        Self(access)
    }
}

impl<S> Layer<S> for Gate {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, access: Arc::clone(&self.0) }
    }
}

/// Services with somebody at the door.
#[derive(Debug, Clone)]
pub(crate) struct Guarded<S> {
    inner: S,
    access: Arc<Access>,
}

impl<S, B> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
{
    type Response = Response<Answer<B>>;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let counts = Arc::clone(&self.access.counts);
        let permits = match self.access.admit(&request) {
            Ok(None) => None,
            Ok(Some((caller, permits))) => {
                tracing::trace!(caller = caller.name(), tenant = caller.tenant(), "called");
                request.extensions_mut().insert(caller);
                Some(permits)
            }
            Err(refused) => {
                refused.count(&counts);
                return Answering { inner: Inner::Refused { status: refused.into() }, permits: None, counts };
            }
        };
        let metered =
            |body| Body::new(Metered::new(body, Arc::clone(&self.access.room), Arc::clone(&counts)));
        let request = request.map(metered);
        let inner = match catch_unwind(AssertUnwindSafe(|| self.inner.call(request))) {
            Ok(answering) => Inner::Called { answering },
            Err(_) => Inner::Refused { status: panicked(&counts) },
        };
        Answering { inner, permits, counts }
    }
}

impl Refusal {
    fn count(&self, counts: &Counts) {
        match self {
            Self::NoToken | Self::NotAToken | Self::WrongToken | Self::Expired | Self::UnknownCertificate => {
                counts.unauthenticated.add();
            }
            Self::Scope { .. } | Self::NamesTenant => counts.permission.add(),
            Self::Rate { .. } | Self::Burst { .. } => counts.rate.add(),
            Self::Concurrency { .. } => counts.concurrency.add(),
            Self::Unread => counts.unread.add(),
            Self::TenantName | Self::Unknown => {}
        }
    }
}

/// What a caller hears of a panic. Its message is not repeated: it may quote a prompt.
fn panicked(counts: &Counts) -> Status {
    counts.panics.add();
    tracing::error!("a handler panicked: its call is answered INTERNAL, the others go on");
    Status::new(Code::Internal, "the server made a mistake with this call; others are not affected")
}

pin_project! {
    /// A call under way.
    pub(crate) struct Answering<F> {
        #[pin]
        inner: Inner<F>,
        permits: Option<Permits>,
        counts: Arc<Counts>,
    }
}

pin_project! {
    #[project = InnerPinned]
    enum Inner<F> {
        Called { #[pin] answering: F },
        Refused { status: Status },
    }
}

impl<F, B, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Answer<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let status = match this.inner.project() {
            InnerPinned::Refused { status } => status.clone(),
            InnerPinned::Called { answering } => {
                match catch_unwind(AssertUnwindSafe(|| answering.poll(cx))) {
                    Ok(answered) => {
                        let response = ready!(answered)?;
                        let (permits, counts) = (this.permits.take(), Arc::clone(this.counts));
                        let answer = |body| Answer { body: Some(body), permits, counts };
                        return Poll::Ready(Ok(response.map(answer)));
                    }
                    Err(_) => panicked(this.counts),
                }
            }
        };
        let counts = Arc::clone(this.counts);
        Poll::Ready(Ok(status.into_http::<()>().map(|()| Answer { body: None, permits: None, counts })))
    }
}

pin_project! {
    /// The body of an answer; its call is under way until it is over.
    pub(crate) struct Answer<B> {
        #[pin]
        body: Option<B>,
        permits: Option<Permits>,
        counts: Arc<Counts>,
    }
}

impl<B> http_body::Body for Answer<B>
where
    B: http_body::Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut this = self.project();
        let Some(body) = this.body.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        match catch_unwind(AssertUnwindSafe(|| body.poll_frame(cx))) {
            Ok(Poll::Ready(None)) => {
                *this.permits = None;
                Poll::Ready(None)
            }
            Ok(frame) => frame,
            Err(_) => {
                this.body.set(None);
                *this.permits = None;
                let mut trailers = HeaderMap::new();
                // The text is ours: it is a header's value.
                let _ = panicked(this.counts).add_header(&mut trailers);
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::{ServiceExt, service_fn};

    use super::*;
    use crate::config::Settings;

    /// A body that panics when it is asked for its second frame.
    struct Breaks(u8);

    impl http_body::Body for Breaks {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            self.0 += 1;
            assert!(self.0 < 2, "in the middle of an answer");
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"answer")))))
        }
    }

    fn access() -> Arc<Access> {
        Access::open(&Settings::default().build().unwrap().access).unwrap()
    }

    fn request() -> Request<Body> {
        Request::builder().uri("/rung.v1.RouterService/Route").body(Body::empty()).unwrap()
    }

    fn status(headers: &HeaderMap) -> Code {
        Status::from_header_map(headers).unwrap().code()
    }

    #[tokio::test]
    async fn a_panic_before_or_in_a_handler_is_internal_for_its_call() {
        let access = access();
        let at_once = |_: Request<Body>| -> std::future::Ready<Result<Response<Breaks>, Infallible>> {
            panic!("before the future")
        };
        let later = |_: Request<Body>| async {
            tokio::task::yield_now().await;
            if true {
                panic!("in the future");
            }
            Ok::<Response<Breaks>, Infallible>(Response::new(Breaks(0)))
        };
        let answer =
            Gate::new(Arc::clone(&access)).layer(service_fn(at_once)).oneshot(request()).await.unwrap();
        assert_eq!(status(answer.headers()), Code::Internal);
        let answer =
            Gate::new(Arc::clone(&access)).layer(service_fn(later)).oneshot(request()).await.unwrap();
        assert_eq!(status(answer.headers()), Code::Internal);
        assert!(http_body::Body::is_end_stream(answer.body()));
        assert_eq!(access.counts.panics.get(), 2);
    }

    #[tokio::test]
    async fn a_panic_in_the_middle_of_an_answer_ends_it_with_a_status() {
        let access = access();
        let service = service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Breaks(0))) });
        let answer = Gate::new(Arc::clone(&access)).layer(service).oneshot(request()).await.unwrap();
        let mut body = Box::pin(answer.into_body());
        let mut next =
            async || std::future::poll_fn(|cx| http_body::Body::poll_frame(body.as_mut(), cx)).await;
        assert_eq!(next().await.unwrap().unwrap().into_data().unwrap(), "answer");
        let trailers = next().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(status(&trailers), Code::Internal);
        assert!(next().await.is_none());
        assert_eq!(access.counts.panics.get(), 1);
    }
}
