//! Who is let in, over real connections: certificates and their exchange, tokens and theirs, scopes, limits with the
//! wait they tell, and what the binary refuses to start with.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use crate::support::access::{Authority, Known, bearer, encrypted, secure, shake_hands, token, write};
use crate::support::{Running, artifact, logging, serve};
use api::v1;
use api::v1::monitor_service_client::MonitorServiceClient;
use api::v1::outcome_service_client::OutcomeServiceClient;
use api::v1::route_item::Result as Item;
use api::v1::route_request::Input;
use api::v1::router_service_client::RouterServiceClient;
use rustls::ClientConfig;
use server::config::Settings;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

fn question() -> v1::RouteRequest {
    v1::RouteRequest { input: Some(Input::Text("What is 2 + 2?".into())), ..Default::default() }
}

fn client(channel: &Channel, token: &str) -> RouterServiceClient<Known> {
    RouterServiceClient::with_interceptor(channel.clone(), bearer(token))
}

async fn routes(channel: &Channel, token: &str) -> Result<v1::RouteResponse, Status> {
    client(channel, token).route(question()).await.map(tonic::Response::into_inner)
}

/// Waits until it is so.
async fn until<F: Future<Output = bool>>(so: impl Fn() -> F) {
    while !so().await {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A server that asks for tokens of a file.
async fn asking(file: &Path) -> (Running, Channel) {
    let mut settings = Settings { reload_ms: Some(5), ..Settings::default() };
    settings.access.tokens = Some(file.to_owned());
    let server = serve(settings).await;
    let channel = server.channel().await;
    (server, channel)
}

/// The certificate that a server shows.
async fn shown(server: &Running, config: &Arc<ClientConfig>) -> Vec<u8> {
    let stream = shake_hands(&server.address, config).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_new_certificate_is_shown_without_a_restart_and_a_bad_one_is_not() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    authority.localhost().put(folder.path());
    let server = serve(encrypted(folder.path())).await;
    let trusted = authority.trusted(None);
    let before = shown(&server, &trusted).await;
    let channel = secure(&server.address, &trusted).await.unwrap();
    let mut open = RouterServiceClient::new(channel);
    open.route(question()).await.unwrap();

    // A key that does not go with it, then a text that is none: the first certificate goes on.
    write(&folder.path().join("key.pem"), &authority.localhost().key);
    tokio::time::sleep(Duration::from_millis(50)).await;
    write(&folder.path().join("cert.pem"), "-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(shown(&server, &trusted).await, before);

    authority.localhost().put(folder.path());
    until(async || shown(&server, &trusted).await != before).await;
    open.route(question()).await.unwrap();
    let fresh = secure(&server.address, &trusted).await.unwrap();
    RouterServiceClient::new(fresh).route(question()).await.unwrap();
    // Whoever speaks plain text, or trusts another authority, is not served.
    let plain = Channel::from_shared(format!("http://{}", server.address)).unwrap().connect_lazy();
    RouterServiceClient::new(plain).route(question()).await.unwrap_err();
    assert!(secure(&server.address, &Authority::new().trusted(None)).await.is_err());
    server.end().await;
}

#[tokio::test]
async fn clients_show_a_certificate_where_an_authority_is_named() {
    let (folder, authority, clients) = (tempfile::tempdir().unwrap(), Authority::new(), Authority::new());
    authority.localhost().put(folder.path());
    let ca = folder.path().join("clients.pem");
    std::fs::write(&ca, clients.pem()).unwrap();
    let mut settings = encrypted(folder.path());
    settings.access.tls_client_ca = Some(ca);
    let server = serve(settings.clone()).await;
    let checkout = clients.client("spiffe://prod/checkout");
    let of = async |pair| {
        let channel = secure(&server.address, &authority.trusted(pair)).await.map_err(|e| e.to_string())?;
        RouterServiceClient::new(channel).route(question()).await.map_err(|e| e.to_string())
    };
    of(Some(&checkout)).await.unwrap();
    of(None).await.unwrap_err();
    of(Some(&Authority::new().client("spiffe://prod/checkout"))).await.unwrap_err();
    server.end().await;

    let tokens = folder.path().join("tokens.toml");
    let entry = "[[certificate]]\nname = \"checkout\"\nsan = \"uri:spiffe://prod/checkout\"\nscopes = [\"outcome\"]\n";
    std::fs::write(&tokens, entry).unwrap();
    let routing = token(&tokens, &["--name", "mesh", "--scope", "route"]);
    settings.access.tokens = Some(tokens);
    let server = serve(settings).await;
    let channel = secure(&server.address, &authority.trusted(Some(&checkout))).await.unwrap();
    let refused = RouterServiceClient::new(channel.clone()).route(question()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(refused.message(), "expected a token of scope route, found one of scope outcome");
    routes(&channel, &routing).await.unwrap();
    let stranger = clients.client("spiffe://prod/unknown");
    let channel = secure(&server.address, &authority.trusted(Some(&stranger))).await.unwrap();
    let refused = RouterServiceClient::new(channel).route(question()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    server.end().await;
}

#[tokio::test]
async fn who_shows_nothing_or_something_else_hears_why_and_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let good = token(&file, &["--name", "checkout", "--scope", "route"]);
    let other = token(&folder.path().join("others.toml"), &["--name", "x", "--scope", "route"]);
    let (server, channel) = asking(&file).await;
    routes(&channel, &good).await.unwrap();
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(!kept.contains(&good[good.len() - 43..]), "the secret is nowhere in the file");

    let refused = RouterServiceClient::new(channel.clone()).route(question()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.message().contains("authorization: Bearer rung_ID_SECRET"), "{refused}");
    // An id of the file with a wrong secret, and an id of nobody: the same answer.
    let wrong = format!("{}{}", &good[..good.len() - 43], &other[other.len() - 43..]);
    let (one, another) = (routes(&channel, &wrong).await, routes(&channel, &other).await);
    let (one, another) = (one.unwrap_err(), another.unwrap_err());
    assert_eq!((one.code(), one.message()), (Code::Unauthenticated, another.message()));
    for garbage in ["", "rung_", "rung_0123456789abcdef", "Bearer", &good[1..], &format!("{good}x")] {
        let refused = routes(&channel, garbage).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{garbage}");
    }
    // Two tokens are none: who knows which of them a proxy has looked at?
    let mut twice = Request::new(question());
    twice.metadata_mut().append("authorization", format!("Bearer {good}").parse().unwrap());
    twice.metadata_mut().append("authorization", format!("Bearer {good}").parse().unwrap());
    let refused = RouterServiceClient::new(channel.clone()).route(twice).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    server.end().await;
}

#[tokio::test]
async fn a_token_opens_what_its_scopes_say_and_probes_need_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let [route, outcome, read, admin] =
        ["route", "outcome", "read", "admin"].map(|scope| token(&file, &["--name", scope, "--scope", scope]));
    let mut settings = logging(folder.path());
    settings.access.tokens = Some(file);
    let server = serve(settings).await;
    let channel = server.channel().await;
    for (held, may) in
        [(&route, [1, 1, 0, 0]), (&outcome, [0, 0, 1, 0]), (&read, [0, 1, 0, 1]), (&admin, [0; 4])]
    {
        let token = || bearer(held);
        let routed = routes(&channel, held).await.map(drop);
        let info = client(&channel, held).get_info(v1::GetInfoRequest {}).await.map(drop);
        let mut outcomes = OutcomeServiceClient::with_interceptor(channel.clone(), token());
        let reported = outcomes.report_outcome(v1::ReportOutcomeRequest::default()).await.map(drop);
        let mut monitors = MonitorServiceClient::with_interceptor(channel.clone(), token());
        let watched = monitors.get_monitors(v1::GetMonitorsRequest::default()).await.map(drop);
        let let_in = [routed, info, reported, watched].map(|done| match done {
            // An empty report is let in and then refused for what it says.
            Ok(()) => 1,
            Err(status) if status.code() == Code::InvalidArgument => 1,
            Err(status) => {
                assert_eq!(status.code(), Code::PermissionDenied, "{status}");
                0
            }
        });
        assert_eq!(let_in, may, "{held}");
    }
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
    health.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap();
    // What is not there is not there for anybody.
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<v1::GetInfoRequest, v1::GetInfoResponse>::default();
    let path = http::uri::PathAndQuery::from_static("/rung.v1.Nothing/Get");
    let unknown = grpc.unary(Request::new(v1::GetInfoRequest {}), path, codec).await.unwrap_err();
    assert_eq!(unknown.code(), Code::Unimplemented);
    server.end().await;
}

#[tokio::test]
async fn tokens_are_exchanged_under_open_connections() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let old = token(&file, &["--name", "checkout", "--scope", "route"]);
    let first = std::fs::read_to_string(&file).unwrap();
    let (server, channel) = asking(&file).await;
    let new = token(&file, &["--name", "checkout", "--scope", "route"]);
    until(async || routes(&channel, &new).await.is_ok()).await;
    routes(&channel, &old).await.unwrap();

    // A file that is wrong changes nothing.
    let both = std::fs::read_to_string(&file).unwrap();
    write(&file, &both.replacen("scopes", "scope", 1));
    tokio::time::sleep(Duration::from_millis(50)).await;
    routes(&channel, &old).await.unwrap();

    write(&file, both.strip_prefix(&first).unwrap());
    until(async || routes(&channel, &old).await.is_err()).await;
    assert_eq!(routes(&channel, &old).await.unwrap_err().code(), Code::Unauthenticated);
    routes(&channel, &new).await.unwrap();
    server.end().await;
}

#[tokio::test]
async fn a_token_that_is_over_says_so_to_its_holder_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let ends = token(&file, &["--name", "checkout", "--scope", "route", "--expires-in-days", "1"]);
    let entry = std::fs::read_to_string(&file).unwrap();
    let expires = entry.lines().find(|line| line.starts_with("expires")).unwrap();
    write(&file, &entry.replace(expires, "expires = \"2020-01-01T00:00:00Z\""));
    let (server, channel) = asking(&file).await;
    let over = routes(&channel, &ends).await.unwrap_err();
    assert_eq!(
        (over.code(), over.message()),
        (Code::Unauthenticated, "the token has expired: ask for a new one")
    );
    let guess =
        routes(&channel, &format!("{}{}", &ends[..ends.len() - 43], "A".repeat(43))).await.unwrap_err();
    assert!(!guess.message().contains("expired"), "{guess}");
    write(&file, &entry);
    until(async || routes(&channel, &ends).await.is_ok()).await;
    server.end().await;
}

/// How long a refusal asks to wait.
fn wait(refused: &Status) -> Duration {
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    refused.get_details_retry_info().unwrap().retry_delay.unwrap()
}

#[tokio::test]
async fn whoever_is_over_a_rate_hears_how_long_to_wait() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let limited = |name, rate, burst| {
        token(&file, &["--name", name, "--scope", "route", "--requests-per-second", rate, "--burst", burst])
    };
    let (quick, slow) = (limited("quick", "20", "1"), limited("slow", "0.001", "6"));
    let (server, channel) = asking(&file).await;
    routes(&channel, &quick).await.unwrap();
    // Asked again and again; each time the wait that was told is enough.
    for _ in 0..5 {
        match routes(&channel, &quick).await {
            Ok(_) => {}
            Err(refused) => {
                tokio::time::sleep(wait(&refused)).await;
                routes(&channel, &quick).await.unwrap();
            }
        }
    }
    // A batch counts its queries: three and two are five of six, two more are not there.
    let mut slow = client(&channel, &slow);
    let batch = |n| v1::RouteBatchRequest { requests: vec![question(); n] };
    assert_eq!(slow.route_batch(batch(3)).await.unwrap().into_inner().items.len(), 3);
    assert_eq!(slow.route_batch(batch(2)).await.unwrap().into_inner().items.len(), 2);
    let refused = slow.route_batch(batch(2)).await.unwrap_err();
    assert!(wait(&refused) > Duration::from_secs(100), "{refused}");
    let never = slow.route_batch(batch(9)).await.unwrap_err();
    assert_eq!(never.code(), Code::ResourceExhausted);
    server.end().await;
}

#[tokio::test]
async fn every_query_of_a_stream_counts_and_a_refused_one_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let args = ["--name", "s", "--scope", "route", "--requests-per-second", "0.001", "--burst", "4"];
    let secret = token(&file, &args);
    let (server, channel) = asking(&file).await;
    let answers = client(&channel, &secret).route_stream(tokio_stream::iter(vec![question(); 6])).await;
    let mut answers = answers.unwrap().into_inner();
    let mut codes = Vec::new();
    while let Some(item) = answers.message().await.unwrap() {
        codes.push(match item.result.unwrap() {
            Item::Response(_) => Code::Ok,
            Item::Error(error) => Code::from(error.code),
        });
    }
    // One for the call, three for queries.
    let (ok, over) = (Code::Ok, Code::ResourceExhausted);
    assert_eq!(codes, [ok, ok, ok, over, over, over]);
    server.end().await;
}

#[tokio::test]
async fn calls_at_once_are_bounded_and_a_call_that_ends_makes_room() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let one = token(&file, &["--name", "one", "--scope", "route", "--concurrent", "1"]);
    let (server, channel) = asking(&file).await;
    let (queries, received) = tokio::sync::mpsc::channel(1);
    let received = tokio_stream::wrappers::ReceiverStream::new(received);
    let mut stream = client(&channel, &one).route_stream(received).await.unwrap().into_inner();
    queries.send(question()).await.unwrap();
    stream.message().await.unwrap().unwrap();
    let refused = routes(&channel, &one).await.unwrap_err();
    assert!(wait(&refused) > Duration::ZERO && refused.message().contains("1 calls"), "{refused}");
    drop((queries, stream));
    until(async || routes(&channel, &one).await.is_ok()).await;
    server.end().await;
}

#[tokio::test]
async fn a_tenant_is_limited_whoever_speaks_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let rest = "[[tenant]]\nname = \"shop\"\nrequests_per_second = 0.001\nburst = 2\n\
                [tenant_default]\nrequests_per_second = 0.001\nburst = 1\n";
    std::fs::write(&file, rest).unwrap();
    let own = token(&file, &["--name", "shop", "--scope", "route", "--tenant", "shop"]);
    let gateway = token(&file, &["--name", "gateway", "--scope", "route", "--names-tenant"]);
    let (server, channel) = asking(&file).await;
    let of = async |token: &str, tenant: &str| {
        let mut request = Request::new(question());
        request.metadata_mut().insert("x-rung-tenant", tenant.parse().unwrap());
        client(&channel, token).route(request).await.map(drop)
    };
    of(&gateway, "shop").await.unwrap();
    routes(&channel, &own).await.unwrap();
    let refused = routes(&channel, &own).await.unwrap_err();
    assert!(wait(&refused) > Duration::ZERO && refused.message().contains("tenant"), "{refused}");
    of(&gateway, "shop").await.unwrap_err();
    for tenant in ["a", "b"] {
        of(&gateway, tenant).await.unwrap();
        assert_eq!(of(&gateway, tenant).await.unwrap_err().code(), Code::ResourceExhausted);
    }
    assert_eq!(of(&own, "a").await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(of(&gateway, "").await.unwrap_err().code(), Code::InvalidArgument);
    server.end().await;
}

#[tokio::test]
async fn anonymous_callers_may_do_all_but_administer_where_it_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    let (address, token) = crate::support::access::administered(&mut settings, folder.path());
    let server = serve(settings).await;
    let channel = server.channel().await;
    RouterServiceClient::new(channel.clone()).route(question()).await.unwrap();
    assert_eq!(
        routes(&channel, &token).await.unwrap_err().code(),
        Code::PermissionDenied,
        "shown tokens count"
    );
    let mut admin = crate::support::access::admin(address, &token).await;
    admin.get_rollout(v1::GetRolloutRequest {}).await.unwrap();
    let plain = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut nobody = v1::admin_service_client::AdminServiceClient::new(plain);
    let refused = nobody.get_rollout(v1::GetRolloutRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    server.end().await;
}

/// Runs the binary to its end.
fn refused(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    command.args(["serve", "--decision-log", "none", "--artifact"]).arg(artifact()).args(args);
    command.output().unwrap()
}

#[test]
fn what_is_not_safe_does_not_start_and_says_the_way_out() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (routing, tokens, cert, key) =
        (file("routing.toml"), file("tokens.toml"), file("cert.pem"), file("key.pem"));
    token(Path::new(&routing), &["--name", "checkout", "--scope", "route"]);
    token(Path::new(&tokens), &["--name", "operator", "--scope", "admin"]);
    std::fs::write(&cert, authority.localhost().certificate).unwrap();
    std::fs::write(&key, authority.localhost().key).unwrap();
    std::fs::write(file("bad.toml"), "[[token]]\nname = \"x\"\nid = 3\n").unwrap();
    let open = ["--listen", "0.0.0.0:0"];
    let admin = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let (routing, tokens) = (["--tokens", &routing], ["--tokens", &tokens]);
    let bad = file("bad.toml");
    let pair = ["--tls-cert", &cert, "--tls-key", &key];
    for (args, expected) in [
        (open.to_vec(), &["--tokens", "--allow-anonymous"][..]),
        ([&open[..], &tokens].concat(), &["--tls-cert", "--allow-plaintext"]),
        (admin.to_vec(), &["admin_listen", "--scope admin"]),
        ([&admin[..], &routing].concat(), &["routing.toml", "no entry has scope admin"]),
        ([&["--listen", "127.0.0.1:0"][..], &pair].concat(), &["key.pem: does not go with", "cert.pem"]),
        (vec!["--tokens", &bad], &["bad.toml: line 3: "]),
        (vec!["--tokens", "/nowhere/tokens.toml"], &["/nowhere/tokens.toml: "]),
    ] {
        let output = refused(&args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{args:?}: {said}");
        for expected in expected {
            assert!(said.contains(expected), "{args:?}: {said}");
        }
    }
}
