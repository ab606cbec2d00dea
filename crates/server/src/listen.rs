//! Accepted connections: bounded in number, encrypted where certificates are configured, and given a time in which they
//! have to say something. Who is let in once a call is made is `access`'s.
//!
//! tonic ignores its own `tcp_nodelay` when it is handed a stream of connections, so the flag is set here, on each
//! socket: without it small answers wait for Nagle's algorithm.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use crate::access::{Access, Counts, names};
use crate::config::{ConfigError, ConnectionLimits};

/// TLS handshakes at once. Each is some KiB and half a millisecond of a core; a silent peer holds one until its time
/// is over, and what comes beyond is closed.
const HANDSHAKES: usize = 1_024;

/// Connections that are ready and not yet taken up.
const READY: usize = 64;

/// Bytes with which HTTP/2 begins, and more than the shortest request of HTTP/1.1: before them, hyper has no timer.
const PREFACE: usize = 24;

/// How long nothing is accepted when the process is out of file descriptors: asking at once would only spin.
const OUT_OF_FILES: Duration = Duration::from_millis(50);

/// What gRPC is spoken in.
const GRPC: &[&str] = &["h2"];

/// The connections on which decisions are asked for.
///
/// # Errors
/// Where the listener, whoever made it, is open to more than the configuration allows.
pub(crate) fn public(
    listener: TcpListener,
    access: &Arc<Access>,
) -> Result<impl Stream<Item = io::Result<Connection>> + Send + Unpin + use<>, ConfigError> {
    if let Ok(address) = listener.local_addr() {
        access.config().may_listen(address)?;
    }
    Ok(grpc(listener, access))
}

/// The connections on which this server is administered.
///
/// # Errors
/// Where nobody may administer, or what is said there could be read on the way.
pub(crate) fn administration(
    listener: TcpListener,
    access: &Arc<Access>,
) -> Result<impl Stream<Item = io::Result<Connection>> + Send + Unpin + use<>, ConfigError> {
    if let Ok(address) = listener.local_addr() {
        access.may_administer(address)?;
        tracing::info!(%address, "administration");
    }
    Ok(grpc(listener, access))
}

/// The connections of a listener of gRPC.
pub(crate) fn grpc(
    listener: TcpListener,
    access: &Arc<Access>,
) -> impl Stream<Item = io::Result<Connection>> + Send + Unpin + use<> {
    incoming(listener, Arc::clone(access), GRPC)
}

/// The connections of a listener, ready to be spoken on in one of these protocols, as ALPN names them. Dropped, the
/// listener is closed.
pub(crate) fn incoming(
    listener: TcpListener,
    access: Arc<Access>,
    protocols: &'static [&'static str],
) -> impl Stream<Item = io::Result<Connection>> + Send + Unpin + use<> {
    let (ready, connections) = mpsc::channel(READY);
    let slots = Slots::new(access.config().connections, Arc::clone(&access.counts));
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    tokio::spawn(Accepting { access, protocols, slots, ready, handshakes }.run(listener));
    ReceiverStream::new(connections)
}

/// Accepts until nobody takes connections any more.
struct Accepting {
    access: Arc<Access>,
    protocols: &'static [&'static str],
    slots: Arc<Slots>,
    ready: mpsc::Sender<io::Result<Connection>>,
    handshakes: Arc<Semaphore>,
}

impl Accepting {
    async fn run(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.ready.closed() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, address)) => self.take(socket, address.ip()).await,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted for a moment");
                    tokio::time::sleep(OUT_OF_FILES).await;
                }
            }
        }
    }

    async fn take(&self, socket: TcpStream, peer: IpAddr) {
        let counts = &self.access.counts;
        let Some(slot) = Slot::take(&self.slots, peer) else { return counts.connections_refused.add() };
        if socket.set_nodelay(true).is_err() {
            return;
        }
        let limits = self.access.config().connections;
        let Some(tls) = self.access.handshake() else {
            counts.connections_accepted.add();
            let connection = Connection::new(Io::Plain(socket), Peer { certificate: None }, slot, limits);
            let _ = self.ready.send(Ok(connection)).await;
            return;
        };
        let Ok(permit) = Arc::clone(&self.handshakes).try_acquire_owned() else {
            return counts.connections_refused.add();
        };
        let mut tls = ServerConfig::clone(&tls);
        tls.alpn_protocols = self.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let (access, ready, tls) =
            (Arc::clone(&self.access), self.ready.clone(), TlsAcceptor::from(Arc::new(tls)));
        tokio::spawn(async move {
            let made = timeout(limits.handshake, tls.accept(socket)).await;
            drop(permit);
            let counts = &access.counts;
            match made {
                Ok(Ok(stream)) => {
                    counts.connections_accepted.add();
                    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                    let certificate = shown.map(|shown| names(shown).into());
                    let stream = Io::Tls(Box::new(stream));
                    let connection = Connection::new(stream, Peer { certificate }, slot, limits);
                    let _ = ready.send(Ok(connection)).await;
                }
                Ok(Err(error)) => {
                    counts.handshakes_failed.add();
                    tracing::debug!(%error, %peer, "TLS handshake");
                }
                Err(_) => counts.handshakes_timed_out.add(),
            }
        });
    }
}

/// Whether an error of `accept` is about the connection that was to be accepted, and not about the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Places for connections of one listener: administration is not locked out by whoever fills the public one.
#[derive(Debug)]
struct Slots {
    limits: ConnectionLimits,
    counts: Arc<Counts>,
    open: AtomicUsize,
    by_peer: Mutex<HashMap<IpAddr, usize>>,
}

impl Slots {
    fn new(limits: ConnectionLimits, counts: Arc<Counts>) -> Arc<Self> {
        Arc::new(Self { limits, counts, open: AtomicUsize::new(0), by_peer: Mutex::default() })
    }

    /// One more of a peer; whether there is room.
    fn of_peer(&self, peer: IpAddr) -> bool {
        let Some(most) = self.limits.per_peer else { return true };
        let mut by_peer = self.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        let open = by_peer.entry(peer).or_default();
        let room = *open < most;
        *open += usize::from(room);
        room
    }
}

/// The place of one connection, free again when it is dropped.
#[derive(Debug)]
struct Slot {
    slots: Arc<Slots>,
    peer: IpAddr,
}

impl Slot {
    fn take(slots: &Arc<Slots>, peer: IpAddr) -> Option<Self> {
        // One task accepts: nobody takes a place in between.
        if slots.open.load(Ordering::Relaxed) >= slots.limits.most || !slots.of_peer(peer) {
            return None;
        }
        slots.open.fetch_add(1, Ordering::Relaxed);
        slots.counts.connections_open.add();
        Some(Self { slots: Arc::clone(slots), peer })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.open.fetch_sub(1, Ordering::Relaxed);
        self.slots.counts.connections_open.take();
        if self.slots.limits.per_peer.is_some() {
            let mut by_peer = self.slots.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
            let left = by_peer.get_mut(&self.peer).map(|open| {
                *open = open.saturating_sub(1);
                *open
            });
            // What is not there takes no memory.
            if left == Some(0) {
                by_peer.remove(&self.peer);
            }
        }
    }
}

/// Who is at the other end of a connection; in the extensions of its requests.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// The alternative names of a client's certificate that was verified.
    pub(crate) certificate: Option<Arc<[String]>>,
}

/// A connection that was accepted and, where certificates are configured, encrypted.
#[derive(Debug)]
pub(crate) struct Connection {
    io: Io,
    peer: Peer,
    _slot: Slot,
    /// Bytes that are still to come before the peer counts as one that speaks.
    unsaid: usize,
    /// When it ends whatever is done on it: at first where the peer says nothing, then where it does not go at its age.
    ends: Option<Pin<Box<Sleep>>>,
    last: Option<Instant>,
}

#[derive(Debug)]
enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    fn new(io: Io, peer: Peer, slot: Slot, limits: ConnectionLimits) -> Self {
        let now = Instant::now();
        let ends = Some(Box::pin(sleep_until(now + limits.handshake)));
        let last = limits.age.and_then(|age| now.checked_add(age)?.checked_add(limits.grace));
        Self { io, peer, _slot: slot, unsaid: PREFACE, ends, last }
    }

    fn heard(&mut self, bytes: usize) {
        if self.unsaid == 0 || bytes == 0 {
            return;
        }
        self.unsaid = self.unsaid.saturating_sub(bytes);
        if self.unsaid == 0 {
            self.ends = self.last.map(|last| Box::pin(sleep_until(last)));
        }
    }

    /// What a wait comes to: a wait, or the end. The timer is asked only where there is nothing to do.
    fn or_end<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let over = self.ends.as_mut().is_some_and(|ends| ends.as_mut().poll(cx).is_ready());
        if over { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { Poll::Pending }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Io::Tls(io) => Pin::new(io.as_mut()).poll_read(cx, buf),
        };
        if read.is_pending() {
            return self.or_end(cx);
        }
        self.heard(buf.filled().len() - before);
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Io::Tls(io) => Pin::new(io.as_mut()).poll_write(cx, buf),
        };
        if written.is_pending() { self.or_end(cx) } else { written }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Io::Tls(io) => Pin::new(io.as_mut()).poll_write_vectored(cx, bufs),
        };
        if written.is_pending() { self.or_end(cx) } else { written }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(io) => io.is_write_vectored(),
            Io::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_flush(cx),
            Io::Tls(io) => Pin::new(io.as_mut()).poll_flush(cx),
        };
        if flushed.is_pending() { self.or_end(cx) } else { flushed }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Io::Tls(io) => Pin::new(io.as_mut()).poll_shutdown(cx),
        };
        if shut.is_pending() { self.or_end(cx) } else { shut }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_stream::StreamExt;

    use super::*;
    use crate::config::Settings;

    fn access(change: impl FnOnce(&mut Settings)) -> Arc<Access> {
        let mut settings = Settings::default();
        change(&mut settings);
        Access::open(&settings.build().unwrap().access).unwrap()
    }

    async fn listening(
        access: &Arc<Access>,
    ) -> (impl Stream<Item = io::Result<Connection>> + Unpin, std::net::SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (grpc(listener, access), address)
    }

    #[tokio::test]
    async fn accepted_sockets_do_not_wait() {
        let access = access(|_| {});
        let (mut incoming, address) = listening(&access).await;
        let (client, accepted) = tokio::join!(TcpStream::connect(address), incoming.next());
        assert!(!client.unwrap().nodelay().unwrap(), "the flag is not on by default");
        let Io::Plain(socket) = accepted.unwrap().unwrap().io else {
            panic!("no certificates are configured")
        };
        assert!(socket.nodelay().unwrap());
    }

    #[tokio::test]
    async fn connections_beyond_the_bound_are_closed_and_a_closed_one_makes_room() {
        for by_peer in [false, true] {
            let access = access(|settings| match by_peer {
                true => settings.access.max_connections_per_peer = Some(1),
                false => settings.access.max_connections = Some(1),
            });
            let (mut incoming, address) = listening(&access).await;
            let (first, accepted) = tokio::join!(TcpStream::connect(address), incoming.next());
            let mut second = TcpStream::connect(address).await.unwrap();
            assert_eq!(second.read(&mut [0; 1]).await.unwrap(), 0, "closed at once");
            assert_eq!(access.counts.connections_refused.get(), 1);
            assert_eq!(access.counts.connections_open.get(), 1);
            drop((first, accepted));
            assert_eq!(access.counts.connections_open.get(), 0);
            let (_third, accepted) = tokio::join!(TcpStream::connect(address), incoming.next());
            accepted.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn who_says_too_little_is_let_go() {
        let access = access(|settings| settings.access.handshake_timeout_ms = Some(20));
        let (mut incoming, address) = listening(&access).await;
        let (client, accepted) = tokio::join!(TcpStream::connect(address), incoming.next());
        let (mut client, mut accepted) = (client.unwrap(), accepted.unwrap().unwrap());
        client.write_all(b"PRI * HTTP/2").await.unwrap();
        let mut read = Vec::new();
        let ended = accepted.read_to_end(&mut read).await.unwrap_err();
        assert_eq!((ended.kind(), read.len()), (io::ErrorKind::TimedOut, 12));
    }

    #[tokio::test]
    async fn a_listener_closes_when_nobody_takes_its_connections() {
        let access = access(|_| {});
        let (incoming, address) = listening(&access).await;
        drop(incoming);
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
