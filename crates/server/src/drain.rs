//! The end of service as streams hear of it. A stream may last for days, and a server that waited for its end would
//! never stop: once the drain has begun, a stream ends before its next message.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::Status;

/// Hears that the drain has begun.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drain(Option<watch::Receiver<bool>>);

impl Drain {
    /// The drain, and what begins it.
    pub(crate) fn new() -> (watch::Sender<bool>, Self) {
        let (begins, begun) = watch::channel(false);
        (begins, Self(Some(begun)))
    }

    /// A drain that never begins.
    pub(crate) fn never() -> Self {
        Self::default()
    }

    /// Returns once it has begun.
    pub(crate) async fn begun(self) {
        let Some(mut begun) = self.0 else { return std::future::pending().await };
        // A sender that is gone is the end as well.
        let _ = begun.wait_for(|begun| *begun).await;
    }

    /// The stream as long as the drain has not begun; then it ends with UNAVAILABLE, which tells callers to go on
    /// elsewhere: a clean end would say that everything they sent was seen to.
    pub(crate) fn ends<S>(&self, stream: S) -> Ends<S> {
        Ends { stream, begun: Box::pin(self.clone().begun()), over: false }
    }
}

/// A stream that ends with the drain.
pub(crate) struct Ends<S> {
    stream: S,
    begun: Pin<Box<dyn Future<Output = ()> + Send>>,
    over: bool,
}

impl<T, S: Stream<Item = Result<T, Status>> + Unpin> Stream for Ends<S> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        if self.begun.as_mut().poll(cx).is_ready() {
            self.over = true;
            let said = "this server is draining: open another stream and send again what was not answered";
            return Poll::Ready(Some(Err(Status::unavailable(said))));
        }
        let next = Pin::new(&mut self.stream).poll_next(cx);
        self.over = matches!(next, Poll::Ready(None));
        next
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;
    use tonic::Code;

    use super::*;

    #[tokio::test]
    async fn a_stream_that_is_never_at_its_end_ends_with_the_drain() {
        let (begins, drain) = Drain::new();
        let mut endless = drain.ends(tokio_stream::iter(0..).map(Ok::<_, Status>));
        assert_eq!(endless.next().await.unwrap().unwrap(), 0);
        let mut silent = drain.ends(tokio_stream::pending::<Result<(), Status>>());
        let heard = tokio::spawn(async move { (silent.next().await, silent.next().await) });
        begins.send_replace(true);
        assert_eq!(endless.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
        assert!(endless.next().await.is_none());
        let (first, second) = heard.await.unwrap();
        assert_eq!(first.unwrap().unwrap_err().code(), Code::Unavailable);
        assert!(second.is_none());
    }

    #[tokio::test]
    async fn without_a_drain_it_ends_by_itself() {
        let mut short = Drain::never().ends(tokio_stream::iter([Ok::<_, Status>(1)]));
        assert_eq!(short.next().await.unwrap().unwrap(), 1);
        assert!(short.next().await.is_none());
    }
}
