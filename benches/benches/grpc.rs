//! A round trip on loopback beside a tonic server that does nothing, in the same run: at 1, 8 and
//! 64 requests in flight over one connection. An iteration is one request.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::time::{Duration, Instant};

use api::v1;
use api::v1::route_request::Input;
use api::v1::router_service_client::RouterServiceClient;
use benches::{prose, router, serve_echo};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use server::config::Settings;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::transport::Channel;

type Client = RouterServiceClient<Channel>;

fn request() -> v1::RouteRequest {
    v1::RouteRequest { input: Some(Input::Text(prose(100))), ..Default::default() }
}

async fn connect(listener_address: String) -> Client {
    let channel = Channel::from_shared(format!("http://{listener_address}")).unwrap().tcp_nodelay(true);
    RouterServiceClient::new(channel.connect().await.unwrap())
}

async fn rung() -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut settings = Settings::default();
    settings.decision_log.url = Some("none".to_owned());
    let config = settings.build().unwrap();
    let router = router().unwrap();
    tokio::spawn(async move { server::run(listener, router, &config, std::future::pending()).await });
    connect(address).await
}

async fn echo() -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(serve_echo(listener));
    connect(address).await
}

/// Time for `iterations` requests, `in_flight` of them at once.
async fn drive(client: &Client, in_flight: usize, iterations: u64) -> Duration {
    let share = iterations.div_ceil(in_flight as u64);
    let start = Instant::now();
    let callers: Vec<_> = (0..in_flight)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move {
                for _ in 0..share {
                    client.route(request()).await.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    start.elapsed().mul_f64(iterations as f64 / (share * in_flight as u64) as f64)
}

fn round_trip(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let (rung, echo) = runtime.block_on(async { (rung().await, echo().await) });
    let answer = runtime.block_on(rung.clone().route(request())).unwrap().into_inner();
    assert_eq!(answer.input_tokens_used, 100);
    assert!((0.0..=1.0).contains(&answer.win_probability) && !answer.model.is_empty());
    let mut group = c.benchmark_group("grpc");
    group.measurement_time(Duration::from_secs(4));
    for in_flight in [1, 8, 64] {
        for (name, client) in [("echo", &echo), ("route", &rung)] {
            group.bench_function(BenchmarkId::new(name, in_flight), |b| {
                b.iter_custom(|iterations| runtime.block_on(drive(client, in_flight, iterations)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, round_trip);
criterion_main!(benches);
