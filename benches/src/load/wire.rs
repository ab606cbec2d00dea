//! One HTTP/2 connection and the calls on it: gRPC by hand, so that a call costs the client a few microseconds. Bytes
//! are counted below TLS; answers are handed over as they came.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as Waking, Poll};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::client::{Builder, SendRequest};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version, header};
use prost::Message;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;
use tonic::{Code, Status};

use super::bodies;

/// How long a connection that was refused or lost is not tried again.
const RECONNECT: Duration = Duration::from_millis(10);
/// How long a single call may take, with its connection.
const ONCE: Duration = Duration::from_secs(5);

/// What a TLS client knows.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    /// Who is trusted, PEM.
    pub(crate) ca: PathBuf,
    /// The client's own certificate and its key, PEM.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
    /// The name that the server's certificate must have.
    pub(crate) name: String,
}

/// Where a server is and what it is told with every call.
#[derive(Clone)]
pub(crate) struct Endpoint {
    address: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    headers: HeaderMap,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the headers: a token is among them.
        f.debug_struct("Endpoint").field("address", &self.address).field("tls", &self.tls.is_some()).finish()
    }
}

impl Endpoint {
    /// A server at `host:port`, without TLS where no files are given.
    ///
    /// # Errors
    /// When a file cannot be read or holds no certificate or key.
    pub(crate) fn new(address: impl Into<String>, tls: Option<&TlsFiles>) -> Result<Self> {
        let tls = tls.map(connector).transpose()?;
        let mut headers = HeaderMap::new();
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        Ok(Self { address: address.into(), tls, headers })
    }

    /// With a bearer token.
    ///
    /// # Errors
    /// When it is not ASCII.
    pub(crate) fn token(mut self, token: &str) -> Result<Self> {
        let value = HeaderValue::from_str(&format!("Bearer {}", token.trim())).context("the token")?;
        self.headers.insert(header::AUTHORIZATION, value);
        Ok(self)
    }

    /// With one more header, such as `x-rung-tenant`.
    ///
    /// # Errors
    /// When name or value is none of HTTP's.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Result<Self> {
        let name = HeaderName::try_from(name).with_context(|| format!("header {name:?}"))?;
        self.headers.insert(name, HeaderValue::from_str(value)?);
        Ok(self)
    }

    pub(crate) fn request(&self, path: &str, timeout: Option<Duration>) -> Result<Request<()>> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let uri = format!("{scheme}://{}{path}", self.address);
        let mut request =
            Request::builder().method(Method::POST).version(Version::HTTP_2).uri(uri).body(())?;
        request.headers_mut().clone_from(&self.headers);
        if let Some(timeout) = timeout {
            let value = HeaderValue::from_str(&format!("{}m", timeout.as_millis()))?;
            request.headers_mut().insert("grpc-timeout", value);
        }
        Ok(request)
    }

    /// The certificate that the server shows to a new connection; `None` without TLS.
    pub(crate) async fn certificate(&self) -> Result<Option<Vec<u8>>> {
        let Some((connector, name)) = &self.tls else { return Ok(None) };
        let tcp = TcpStream::connect(&self.address).await?;
        let tls = connector.connect(name.clone(), tcp).await?;
        let shown = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        Ok(shown.map(|certificate| certificate.to_vec()))
    }

    /// Opens a connection; the future that comes with it is the connection's life.
    async fn connect(&self, traffic: &Rc<Traffic>) -> Result<(SendRequest<Bytes>, Life)> {
        let tcp = TcpStream::connect(&self.address).await?;
        tcp.set_nodelay(true)?;
        let counted = Counted { tcp, traffic: Rc::clone(traffic) };
        let mut builder = Builder::new();
        builder
            .initial_window_size(8 << 20)
            .initial_connection_window_size(64 << 20)
            .initial_max_send_streams(1_024)
            .enable_push(false);
        Ok(match &self.tls {
            None => {
                let (send, life) = builder.handshake(counted).await?;
                (send, Box::pin(life) as Life)
            }
            Some((connector, name)) => {
                let tls = connector.connect(name.clone(), counted).await?;
                let (send, life) = builder.handshake(tls).await?;
                (send, Box::pin(life) as Life)
            }
        })
    }
}

type Life = Pin<Box<dyn Future<Output = Result<(), h2::Error>>>>;

fn connector(files: &TlsFiles) -> Result<(TlsConnector, ServerName<'static>)> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&files.ca)? {
        roots.add(certificate).with_context(|| files.ca.display().to_string())?;
    }
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match &files.client {
        Some((certificate, key)) => {
            let key_der = PrivateKeyDer::from_pem_file(key).with_context(|| key.display().to_string())?;
            builder.with_client_auth_cert(certificates(certificate)?, key_der)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok((TlsConnector::from(Arc::new(config)), ServerName::try_from(files.name.clone())?))
}

fn certificates(file: &PathBuf) -> Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, _>>();
    read().with_context(|| file.display().to_string())
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{code:?}: {message}")]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl std::fmt::Display) -> Self {
        Self { code, message: message.to_string() }
    }

    fn broken(error: impl std::fmt::Display) -> Self {
        Self::new(Code::Unavailable, format!("connection: {error}"))
    }

    /// Whether asking again may help: the connection broke, or the server was full for a moment.
    pub(crate) fn passes(&self) -> bool {
        matches!(self.code, Code::Unavailable | Code::ResourceExhausted)
    }
}

/// Bytes on the wire, below TLS.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) sent: Cell<u64>,
    pub(crate) received: Cell<u64>,
}

/// A place in a server's list of connections: whatever connection is up, another once that one is gone.
#[derive(Debug)]
pub(crate) struct Link {
    up: RefCell<Option<SendRequest<Bytes>>>,
    changed: Notify,
    pub(crate) traffic: Rc<Traffic>,
}

impl Link {
    /// A link that keeps itself up for as long as the local task set runs.
    pub(crate) fn keep(endpoint: Rc<Endpoint>) -> Rc<Self> {
        let traffic = Rc::new(Traffic::default());
        let link = Rc::new(Self { up: RefCell::new(None), changed: Notify::new(), traffic });
        let kept = Rc::clone(&link);
        tokio::task::spawn_local(async move {
            loop {
                if let Ok((send, life)) = endpoint.connect(&kept.traffic).await {
                    kept.up.replace(Some(send));
                    kept.changed.notify_waiters();
                    // Why it ended is told to the calls that were on it.
                    let _ = life.await;
                    kept.up.replace(None);
                }
                tokio::time::sleep(RECONNECT).await;
            }
        });
        link
    }

    /// The connection, waited for where it is down.
    pub(crate) async fn up(&self) -> SendRequest<Bytes> {
        loop {
            let changed = self.changed.notified();
            if let Some(send) = self.now() {
                return send;
            }
            changed.await;
        }
    }

    /// The connection, where it is up.
    pub(crate) fn now(&self) -> Option<SendRequest<Bytes>> {
        self.up.borrow().clone()
    }

    /// One message there, one back.
    pub(crate) async fn call(&self, request: Request<()>, message: Bytes) -> Result<Bytes, Failure> {
        let send = self.now().ok_or_else(|| Failure::broken("down"))?;
        let mut send = send.ready().await.map_err(Failure::broken)?;
        let (answer, mut stream) = send.send_request(request, false).map_err(Failure::broken)?;
        stream.send_data(message, true).map_err(Failure::broken)?;
        let (head, mut body) = answer.await.map_err(Failure::broken)?.into_parts();
        if head.headers.contains_key("grpc-status") {
            status(&head.headers)?;
        }
        let mut arrived = BytesMut::new();
        let mut first = Bytes::new();
        while let Some(chunk) = chunk(&mut body).await? {
            if first.is_empty() && arrived.is_empty() {
                first = chunk;
            } else {
                if arrived.is_empty() {
                    arrived.extend_from_slice(&first);
                }
                arrived.extend_from_slice(&chunk);
            }
        }
        let trailers = body.trailers().await.map_err(Failure::broken)?;
        status(&trailers.unwrap_or_default())?;
        let whole = if arrived.is_empty() { first } else { arrived.freeze() };
        if whole.len() < 5 || whole[0] != 0 {
            return Err(Failure::new(Code::Internal, "an answer that is no message of gRPC"));
        }
        Ok(whole.slice(5..))
    }
}

/// One call on a connection of its own.
pub(crate) fn once(endpoint: &Endpoint, path: &str, message: &impl Message) -> Result<Bytes> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = LocalSet::new().block_on(&runtime, async {
        let link = Link::keep(Rc::new(endpoint.clone()));
        let asked = async {
            drop(link.up().await);
            link.call(endpoint.request(path, None)?, bodies::framed(message))
                .await
                .map_err(anyhow::Error::from)
        };
        tokio::time::timeout(ONCE, asked).await.with_context(|| format!("{path}: no answer in {ONCE:?}"))?
    });
    answer.with_context(|| path.to_owned())
}

/// What arrives next of a body.
pub(crate) async fn chunk(body: &mut RecvStream) -> Result<Option<Bytes>, Failure> {
    let Some(chunk) = body.data().await else { return Ok(None) };
    let chunk = chunk.map_err(Failure::broken)?;
    body.flow_control().release_capacity(chunk.len()).map_err(Failure::broken)?;
    Ok(Some(chunk))
}

/// The status that ends a call.
pub(crate) fn status(headers: &HeaderMap) -> Result<(), Failure> {
    if headers.get("grpc-status").is_some_and(|code| code == "0") {
        return Ok(());
    }
    Err(match Status::from_header_map(headers) {
        Some(status) => Failure::new(status.code(), status.message()),
        None => Failure::new(Code::Unavailable, "connection: the answer has no status"),
    })
}

/// A socket that counts.
struct Counted {
    tcp: TcpStream,
    traffic: Rc<Traffic>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        waking: &mut Waking<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.tcp).poll_read(waking, buffer);
        let received = &self.traffic.received;
        received.set(received.get() + (buffer.filled().len() - before) as u64);
        read
    }
}

impl Counted {
    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.traffic.sent.set(self.traffic.sent.get() + bytes as u64);
        }
        written
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        waking: &mut Waking<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(waking, bytes);
        self.wrote(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, waking: &mut Waking<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(waking)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, waking: &mut Waking<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(waking)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        waking: &mut Waking<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(waking, parts);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_from_headers() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            status(&headers)
        };
        assert_eq!(of(&[("grpc-status", "0")]), Ok(()));
        let full = of(&[("grpc-status", "8"), ("grpc-message", "is%20full")]).unwrap_err();
        assert_eq!(
            (full.code, full.message.as_str(), full.passes()),
            (Code::ResourceExhausted, "is full", true)
        );
        assert_eq!(of(&[]).unwrap_err().code, Code::Unavailable);
        assert!(!of(&[("grpc-status", "3")]).unwrap_err().passes());
    }

    #[test]
    fn a_token_is_not_shown() {
        let endpoint = Endpoint::new("localhost:1", None).unwrap().token("rung_a_secret").unwrap();
        assert!(!format!("{endpoint:?}").contains("secret"));
        let request = endpoint.request("/x", Some(Duration::from_secs(2))).unwrap();
        assert_eq!(request.headers()["authorization"], "Bearer rung_a_secret");
        assert_eq!(request.headers()["grpc-timeout"], "2000m");
    }
}
