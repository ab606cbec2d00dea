//! Tokens, certificates and clients that show them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use api::v1::admin_service_client::AdminServiceClient;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use server::config::Settings;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Draws a token with the binary, appends its entry to a file, and gives the token back.
pub fn token(file: &Path, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    let output = command.args(["token", "new", "--append"]).arg(file).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A client's calls, each with a token.
#[derive(Debug, Clone)]
pub struct Bearer(MetadataValue<Ascii>);

pub fn bearer(token: &str) -> Bearer {
    Bearer(format!("Bearer {token}").parse().unwrap())
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A channel whose calls show a token.
pub type Known = InterceptedService<Channel, Bearer>;

/// Serves administration on a free port, to the holder of the token; other calls need none.
pub fn administered(settings: &mut Settings, folder: &Path) -> (std::net::SocketAddr, String) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = folder.join("tokens.toml");
    let token = token(&file, &["--name", "operator", "--scope", "admin"]);
    settings.access.tokens = Some(file);
    settings.access.allow_anonymous = Some(true);
    settings.admin_listen = Some(free);
    (free, token)
}

/// A client of administration, once it is served.
pub async fn admin(address: std::net::SocketAddr, token: &str) -> AdminServiceClient<Known> {
    loop {
        match Channel::from_shared(format!("http://{address}")).unwrap().connect().await {
            Ok(channel) => return AdminServiceClient::with_interceptor(channel, bearer(token)),
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    }
}

/// An authority that signs certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn sign(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { certificate, key: key.serialize_pem() }
    }

    /// A server's.
    pub fn localhost(&self) -> Pair {
        self.sign(&CertificateParams::new(vec!["localhost".to_owned()]).unwrap())
    }

    /// A client's, of this URI.
    pub fn client(&self, uri: &str) -> Pair {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        self.sign(&params)
    }

    /// What a client speaks TLS with that trusts this authority.
    pub fn trusted(&self, shows: Option<&Pair>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let mut config = match shows {
            Some(pair) => {
                let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }
}

impl Pair {
    /// Writes it where the settings look for it; each file is exchanged at once.
    pub fn put(&self, folder: &Path) {
        write(&folder.join("cert.pem"), &self.certificate);
        write(&folder.join("key.pem"), &self.key);
    }
}

/// Exchanges a file as a whole.
pub fn write(file: &Path, text: &str) {
    let aside = file.with_extension("new");
    std::fs::write(&aside, text).unwrap();
    std::fs::rename(aside, file).unwrap();
}

/// Settings with the certificate of a folder.
pub fn encrypted(folder: &Path) -> Settings {
    let mut settings = Settings::default();
    let file = |name: &str| -> Option<PathBuf> { Some(folder.join(name)) };
    (settings.access.tls_cert, settings.access.tls_key) = (file("cert.pem"), file("key.pem"));
    settings.reload_ms = Some(5);
    settings
}

/// An encrypted connection.
pub async fn shake_hands(address: &str, config: &Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::clone(config)).connect(name, TcpStream::connect(address).await?).await
}

/// A channel over encrypted connections.
pub async fn secure(address: &str, config: &Arc<ClientConfig>) -> Result<Channel, tonic::transport::Error> {
    let (address, config) = (address.to_owned(), Arc::clone(config));
    let connect = tower::service_fn(move |_| {
        let (address, config) = (address.clone(), Arc::clone(&config));
        async move { shake_hands(&address, &config).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connect).await
}
