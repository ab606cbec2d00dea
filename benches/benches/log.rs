//! What the decision log adds to a decision: the whole service without the wire, with and without it. The log takes what
//! the writer's thread can store beside the decisions, as in a server.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::hint::black_box;
use std::sync::Arc;

use api::v1::route_request::Input;
use api::v1::router_service_server::RouterService;
use api::v1::{RouteRequest, Tier};
use benches::{prose, router};
use criterion::{Criterion, criterion_group, criterion_main};
use server::config::Settings;
use tonic::Request;

fn request() -> Request<RouteRequest> {
    let input = Some(Input::Text(prose(64)));
    Request::new(RouteRequest { request_id: "request".into(), input, ..RouteRequest::default() })
}

fn log(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite:{}/log.db", folder.path().display());
    let router = Arc::new(router().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut group = c.benchmark_group("service");
    for (name, url) in [("without a log", "none"), ("with a log", &file)] {
        let mut settings = Settings::default();
        settings.decision_log.url = Some(url.to_owned());
        settings.decision_log.spool = Some(folder.path().join("spool"));
        let service = server::in_process(Arc::clone(&router), &settings.build().unwrap()).unwrap();
        let answer = runtime.block_on(service.route(request())).unwrap().into_inner();
        assert!(answer.tier == Tier::Weak as i32 || answer.tier == Tier::Strong as i32);
        group.bench_function(name, |b| {
            b.iter(|| runtime.block_on(service.route(black_box(request()))).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, log);
criterion_main!(benches);
