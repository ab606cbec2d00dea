//! A server that answers nobody but the owner of a client certificate who brings a token and names a tenant.

use std::path::Path;

use api::v1;
use api::v1::router_service_server::{RouterService, RouterServiceServer};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use tokio::net::TcpListener;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

/// What it lets in.
pub const TOKEN: &str = "rung_app_secret";
pub const TENANT: &str = "acme";

/// Where it is, and the PEM files that open it: of the authority, of a client and of its key.
pub struct Guarded {
    pub address: String,
    pub ca: String,
    pub certificate: String,
    pub key: String,
}

/// Serves on a free port; the files are put into a folder.
pub async fn serve(folder: &Path) -> Guarded {
    // Names of their own: a certificate that bears its issuer's is taken for self-signed.
    let named = |name: &str, alternatives: Vec<String>| {
        let mut params = CertificateParams::new(alternatives).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let mut authority = named("authority", vec![]);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let [(server, server_key), (client, client_key)] = ["127.0.0.1", "client.example"].map(|name| {
        let key = KeyPair::generate().unwrap();
        let params = named(name, vec![name.to_owned()]);
        (params.signed_by(&key, &authority).unwrap().pem(), key.serialize_pem())
    });
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(server, server_key))
        .client_ca_root(Certificate::from_pem(authority.pem()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let guarded = RouterServiceServer::with_interceptor(Answering, check);
    let serving = Server::builder().tls_config(tls).unwrap().add_service(guarded);
    tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    Guarded {
        address,
        ca: write("ca.pem", authority.pem()),
        certificate: write("client.pem", client),
        key: write("client.key", client_key),
    }
}

fn check(request: Request<()>) -> Result<Request<()>, Status> {
    let header =
        |name| request.metadata().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if request.peer_certs().is_none() || header("authorization") != format!("Bearer {TOKEN}") {
        return Err(Status::unauthenticated("no certificate or no token"));
    }
    if header("x-rung-tenant") != TENANT {
        return Err(Status::permission_denied("another tenant"));
    }
    Ok(request)
}

struct Answering;

#[tonic::async_trait]
impl RouterService for Answering {
    type RouteStreamStream = ReceiverStream<Result<v1::RouteItem, Status>>;

    async fn route(&self, _: Request<v1::RouteRequest>) -> Result<Response<v1::RouteResponse>, Status> {
        let tier = v1::Tier::Weak.into();
        Ok(Response::new(v1::RouteResponse { win_probability: 0.125, tier, ..Default::default() }))
    }

    async fn route_batch(
        &self,
        _: Request<v1::RouteBatchRequest>,
    ) -> Result<Response<v1::RouteBatchResponse>, Status> {
        Err(Status::unimplemented("not part of the double"))
    }

    async fn route_stream(
        &self,
        _: Request<Streaming<v1::RouteRequest>>,
    ) -> Result<Response<Self::RouteStreamStream>, Status> {
        Err(Status::unimplemented("not part of the double"))
    }

    async fn get_info(
        &self,
        _: Request<v1::GetInfoRequest>,
    ) -> Result<Response<v1::GetInfoResponse>, Status> {
        Err(Status::unimplemented("not part of the double"))
    }
}
