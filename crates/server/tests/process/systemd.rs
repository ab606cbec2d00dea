//! The served process under a supervisor: what it tells a notify socket, sockets that are handed over, signals, and the
//! unit files.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::support::access::token;
use crate::support::artifact;
use crate::support::process::serving;
use api::v1;
use api::v1::route_request::Input;
use api::v1::router_service_client::RouterServiceClient;
use clap::Parser;
use server::cli::Cli;
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};

/// Nothing here takes so long unless it hangs.
const BOUND: Duration = Duration::from_secs(60);

fn request() -> v1::RouteRequest {
    v1::RouteRequest { input: Some(Input::Text("hello".into())), ..Default::default() }
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    command
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--log-format",
            "json",
            "--decision-log",
            "none",
            "--artifact",
        ])
        .arg(artifact())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Starts it and waits until it serves; its address.
async fn started(command: &mut Command) -> (Child, String) {
    let mut child = command.spawn().unwrap();
    let (address, mut lines) = serving(&mut child).await;
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, address)
}

async fn signal(child: &Child, name: &str) {
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args([name, &id]).status().await.unwrap().success());
}

/// The next datagram that says this.
async fn told(socket: &UnixDatagram, what: &str) -> String {
    let mut buffer = vec![0; 4_096];
    let hearing = async {
        loop {
            let len = socket.recv(&mut buffer).await.unwrap();
            let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
            if text.lines().any(|line| line == what) {
                return text;
            }
        }
    };
    tokio::time::timeout(BOUND, hearing).await.unwrap_or_else(|_| panic!("{what} is told"))
}

#[tokio::test]
async fn a_supervisor_hears_of_ready_reload_life_and_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let (mut child, address) =
        started(command().env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000")).await;
    let ready = told(&socket, "READY=1").await;
    assert!(ready.contains("STATUS=artifact "), "{ready}");
    told(&socket, "WATCHDOG=1").await;
    told(&socket, "WATCHDOG=1").await;
    RouterServiceClient::connect(format!("http://{address}")).await.unwrap().route(request()).await.unwrap();
    signal(&child, "-HUP").await;
    let reloading = told(&socket, "RELOADING=1").await;
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    told(&socket, "READY=1").await;
    signal(&child, "-TERM").await;
    told(&socket, "STOPPING=1").await;
    assert!(tokio::time::timeout(BOUND, child.wait()).await.unwrap().unwrap().success());
}

/// The server started with two sockets that systemd would hand over: `systemd-socket-activate` where it is, otherwise
/// nothing is tested.
#[tokio::test]
async fn sockets_that_are_handed_over_are_served_by_name() {
    let activate = Path::new("/usr/bin/systemd-socket-activate");
    if !activate.exists() {
        println!("left out: {} is not there", activate.display());
        return;
    }
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (grpc, admin) = (free(), free());
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens.toml");
    let operator = token(&tokens, &["--name", "operator", "--scope", "admin"]);
    let server = command();
    let mut command = Command::new(activate);
    command
        .args(["--listen", &grpc.to_string(), "--listen", &admin.to_string(), "--fdname", "grpc:admin"])
        .arg(env!("CARGO_BIN_EXE_server"))
        .args(server.as_std().get_args())
        .args(["--allow-anonymous=true", "--tokens"])
        .arg(&tokens)
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let connected = async {
        loop {
            // It is started by the first connection.
            if let Ok(client) = RouterServiceClient::connect(format!("http://{grpc}")).await {
                return client;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let mut client = tokio::time::timeout(BOUND, connected).await.unwrap();
    client.route(request()).await.unwrap();
    let mut admin = crate::support::access::admin(admin, &operator).await;
    let things = admin.get_reloads(v1::GetReloadsRequest {}).await.unwrap().into_inner().things;
    assert_eq!(things[0].thing, "artifact");
    drop((client, admin));
    signal(&child, "-TERM").await;
    assert!(tokio::time::timeout(BOUND, child.wait()).await.unwrap().unwrap().success());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let (mut child, address) = started(command().args(["--drain-delay-ms", "600000"])).await;
    let mut client = RouterServiceClient::connect(format!("http://{address}")).await.unwrap();
    client.route(request()).await.unwrap();
    signal(&child, "-TERM").await;
    // For ten minutes it says that it is not ready and answers all the same.
    let mut health = {
        let channel = tonic::transport::Channel::from_shared(format!("http://{address}")).unwrap();
        tonic_health::pb::health_client::HealthClient::new(channel.connect().await.unwrap())
    };
    let not_serving = tonic_health::pb::health_check_response::ServingStatus::NotServing;
    let waiting = async {
        loop {
            let ask = tonic_health::pb::HealthCheckRequest { service: String::new() };
            if health.check(ask).await.unwrap().into_inner().status() == not_serving {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(BOUND, waiting).await.unwrap();
    client.route(request()).await.unwrap();
    RouterServiceClient::connect(format!("http://{address}")).await.unwrap().route(request()).await.unwrap();
    signal(&child, "-INT").await;
    let ended = tokio::time::timeout(BOUND, child.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(130));
}

#[test]
fn the_unit_files_start_what_there_is() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/systemd");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let value = |text: &str, key: &str| {
        let lines = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let service = read("rung.service");
    let [start] = value(&service, "ExecStart").try_into().unwrap();
    Cli::try_parse_from(start.split_whitespace()).unwrap();
    let [sockets] = value(&service, "Sockets").try_into().unwrap();
    let names = ["grpc", "admin"];
    for (socket, name) in sockets.split_whitespace().zip(names) {
        assert_eq!(value(&read(socket), "FileDescriptorName"), [name], "{socket}");
        assert_eq!(value(&read(socket), "Service"), ["rung.service"], "{socket}");
    }
    assert_eq!(value(&service, "RestartPreventExitStatus"), ["64"]);
}
