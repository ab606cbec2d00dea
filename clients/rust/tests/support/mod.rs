//! A server that does what a script says, attempt by attempt, and remembers what it was asked; the last step is
//! repeated.
#![allow(unreachable_pub, missing_docs, reason = "of one test binary")]

use std::sync::{Arc, Mutex};

use api::v1::cascade_service_server::{CascadeService, CascadeServiceServer};
use api::v1::router_service_server::{RouterService, RouterServiceServer};
use api::v1::{self, CascadeVerdict, route_item};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// What is done at an attempt.
#[derive(Debug, Clone)]
pub enum Step {
    Well,
    Fail(Status),
    /// Answers once somebody says so; never, where nobody does.
    Wait(watch::Receiver<bool>),
    /// Says so, and answers.
    Say(Arc<watch::Sender<bool>>),
}

#[derive(Debug, Clone)]
pub struct Double {
    script: Arc<Vec<Step>>,
    asked: Arc<Mutex<Vec<(MetadataMap, String)>>>,
    pub address: String,
}

pub async fn serving(script: impl IntoIterator<Item = Step>) -> Double {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let script = Arc::new(script.into_iter().collect());
    let double = Double { script, asked: Arc::default(), address };
    let server = Server::builder()
        .add_service(RouterServiceServer::new(double.clone()))
        .add_service(CascadeServiceServer::new(double.clone()));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    double
}

impl Double {
    /// Attempts so far: their headers, and what was asked.
    pub fn asked(&self) -> Vec<(MetadataMap, String)> {
        self.asked.lock().unwrap().clone()
    }

    async fn step<T: std::fmt::Debug>(&self, request: Request<T>) -> Result<T, Status> {
        let (metadata, _, message) = request.into_parts();
        let step = {
            let mut asked = self.asked.lock().unwrap();
            let step = self.script[asked.len().min(self.script.len() - 1)].clone();
            asked.push((metadata, format!("{message:?}")));
            step
        };
        match step {
            Step::Well => Ok(message),
            Step::Fail(status) => Err(status),
            Step::Wait(mut said) => {
                let said = said.wait_for(|said| *said).await.is_ok();
                if said { Ok(message) } else { std::future::pending().await }
            }
            Step::Say(says) => {
                says.send_replace(true);
                Ok(message)
            }
        }
    }
}

fn routed() -> v1::RouteResponse {
    v1::RouteResponse { model: "small-model".into(), win_probability: 0.25, ..Default::default() }
}

#[tonic::async_trait]
impl RouterService for Double {
    type RouteStreamStream = ReceiverStream<Result<v1::RouteItem, Status>>;

    async fn route(&self, request: Request<v1::RouteRequest>) -> Result<Response<v1::RouteResponse>, Status> {
        self.step(request).await?;
        Ok(Response::new(routed()))
    }

    async fn route_batch(
        &self,
        request: Request<v1::RouteBatchRequest>,
    ) -> Result<Response<v1::RouteBatchResponse>, Status> {
        let asked = self.step(request).await?.requests.len();
        let error = |code, message: &str, reason: &str| {
            let (message, reason) = (message.to_owned(), reason.to_owned());
            route_item::Result::Error(v1::RouteError { code, message, reason, ..Default::default() })
        };
        let results = [
            route_item::Result::Response(routed()),
            error(3, "text: too long", ""),
            error(8, "full", ""),
            error(8, "spent", "BUDGET_SPENT"),
        ];
        let items = results.into_iter().take(asked).map(|result| v1::RouteItem { result: Some(result) });
        Ok(Response::new(v1::RouteBatchResponse { items: items.collect() }))
    }

    async fn route_stream(
        &self,
        _: Request<tonic::Streaming<v1::RouteRequest>>,
    ) -> Result<Response<Self::RouteStreamStream>, Status> {
        Err(Status::unimplemented("not part of the double"))
    }

    async fn get_info(
        &self,
        request: Request<v1::GetInfoRequest>,
    ) -> Result<Response<v1::GetInfoResponse>, Status> {
        self.step(request).await?;
        Ok(Response::new(v1::GetInfoResponse::default()))
    }
}

#[tonic::async_trait]
impl CascadeService for Double {
    async fn plan_cascade(
        &self,
        request: Request<v1::PlanCascadeRequest>,
    ) -> Result<Response<v1::PlanCascadeResponse>, Status> {
        self.step(request).await?;
        let stages = ["small-model", "big-model"]
            .map(|model| v1::CascadeStage { model: model.to_owned(), ..Default::default() });
        Ok(Response::new(v1::PlanCascadeResponse {
            stages: stages.into(),
            verdict: CascadeVerdict::Escalate.into(),
            next_model: "small-model".into(),
            token: "one".into(),
            ..Default::default()
        }))
    }

    /// Never content: a cascade that would go on for ever.
    async fn assess(
        &self,
        request: Request<v1::AssessRequest>,
    ) -> Result<Response<v1::AssessResponse>, Status> {
        self.step(request).await?;
        Ok(Response::new(v1::AssessResponse {
            verdict: CascadeVerdict::Escalate.into(),
            next_model: "big-model".into(),
            token: "two".into(),
            ..Default::default()
        }))
    }

    async fn get_cascades(
        &self,
        _: Request<v1::GetCascadesRequest>,
    ) -> Result<Response<v1::GetCascadesResponse>, Status> {
        Err(Status::unimplemented("not part of the double"))
    }
}
