//! The client: its calls, and how one call is run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::v1;
use api::v1::cascade_service_client::CascadeServiceClient;
use api::v1::outcome_service_client::OutcomeServiceClient;
use api::v1::route_item;
use api::v1::router_service_client::RouterServiceClient;
use api::v1::semantic_service_client::SemanticServiceClient;
use tokio::time::{sleep, timeout_at};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use crate::attempts::Attempts;
use crate::budget::Budget;
use crate::config::{Config, ConfigError};
use crate::decision::{Decision, Fallback};
use crate::failure::{BUDGET_SPENT, CallError, Failure, Refused};
use crate::question::Question;

/// How long one attempt to connect may take. It goes on behind the calls, which have deadlines of their own.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection that carries calls and is silent for so long is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// A client of one Rung. Clones share its connection and its budget of retries.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    headers: Vec<(&'static str, MetadataValue<Ascii>)>,
    budget: Budget,
}

impl Client {
    /// A client that connects with its first call, and again whenever it must. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// When the configuration is wrong; a server that is away is none.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let endpoint =
            config.endpoint()?.connect_timeout(CONNECT_TIMEOUT).http2_keep_alive_interval(KEEP_ALIVE);
        let headers = config.headers()?;
        let channel = endpoint.connect_lazy();
        Ok(Self { channel, shared: Arc::new(Shared { config, headers, budget: Budget::default() }) })
    }

    /// Which model to call.
    ///
    /// # Errors
    /// Only when Rung refuses the request. Where it does not answer, the decision is the fallback.
    pub async fn route(&self, question: impl Into<Question>) -> Result<Decision, Refused> {
        let request = question.into().0;
        let hedge_after = self.shared.config.hedge_after;
        let routed = self.call(self.shared.config.deadline, hedge_after, |left| {
            let request = self.request(request.clone(), left);
            let mut stub = RouterServiceClient::new(self.channel.clone());
            async move { stub.route(request).await }
        });
        self.decision(routed.await)
    }

    /// Which models to call: one decision or refusal per question, in the same order.
    ///
    /// # Errors
    /// When Rung refuses the whole batch.
    pub async fn route_batch(
        &self,
        questions: impl IntoIterator<Item = Question>,
    ) -> Result<Vec<Result<Decision, Refused>>, Refused> {
        let requests: Vec<_> = questions.into_iter().map(|question| question.0).collect();
        let request = v1::RouteBatchRequest { requests };
        let answered = self.call(self.shared.config.deadline, None, |left| {
            let request = self.request(request.clone(), left);
            let mut stub = RouterServiceClient::new(self.channel.clone());
            async move { stub.route_batch(request).await }
        });
        match answered.await {
            Ok(response) => Ok(response.items.into_iter().map(|item| self.decision(of_item(item))).collect()),
            Err(failure) => {
                request.requests.iter().map(|_| self.decision(Err(failure.clone())).map(Ok)).collect()
            }
        }
    }

    /// Which model of a cascade to call first. [`Client::cascade`] goes through all of it.
    ///
    /// # Errors
    /// When Rung refuses or does not answer.
    pub async fn plan_cascade(
        &self,
        request: v1::PlanCascadeRequest,
    ) -> Result<v1::PlanCascadeResponse, CallError> {
        let planned = self.call(self.shared.config.deadline, None, |left| {
            let request = self.request(request.clone(), left);
            let mut stub = CascadeServiceClient::new(self.channel.clone());
            async move { stub.plan_cascade(request).await }
        });
        Ok(planned.await?)
    }

    /// What becomes of an answer. Safe to be asked again: the same token and answer get the same verdict.
    ///
    /// # Errors
    /// When Rung refuses or does not answer.
    pub async fn assess(&self, request: v1::AssessRequest) -> Result<v1::AssessResponse, CallError> {
        let assessed = self.call(self.shared.config.deadline, None, |left| {
            let request = self.request(request.clone(), left);
            let mut stub = CascadeServiceClient::new(self.channel.clone());
            async move { stub.assess(request).await }
        });
        Ok(assessed.await?)
    }

    /// Reports what came of a decision. Safe to be sent again: a source is heard once.
    ///
    /// # Errors
    /// When Rung refuses or does not answer.
    pub async fn report_outcome(
        &self,
        report: v1::ReportOutcomeRequest,
    ) -> Result<v1::ReportOutcomeResponse, CallError> {
        let reported = self.call(self.shared.config.report_deadline, None, |left| {
            let report = self.request(report.clone(), left);
            let mut stub = OutcomeServiceClient::new(self.channel.clone());
            async move { stub.report_outcome(report).await }
        });
        Ok(reported.await?)
    }

    /// What a query is about.
    ///
    /// # Errors
    /// When Rung refuses or does not answer.
    pub async fn match_intent(&self, request: v1::MatchRequest) -> Result<v1::MatchResponse, CallError> {
        let matched = self.call(self.shared.config.deadline, None, |left| {
            let request = self.request(request.clone(), left);
            let mut stub = SemanticServiceClient::new(self.channel.clone());
            async move { stub.r#match(request).await }
        });
        Ok(matched.await?)
    }

    /// What is loaded. Asked once at the start, it also opens the connection, which the first decision then need
    /// not wait for; it has the time of a report.
    ///
    /// # Errors
    /// When Rung refuses or does not answer.
    pub async fn info(&self) -> Result<v1::GetInfoResponse, CallError> {
        let info = self.call(self.shared.config.report_deadline, None, |left| {
            let request = self.request(v1::GetInfoRequest {}, left);
            let mut stub = RouterServiceClient::new(self.channel.clone());
            async move { stub.get_info(request).await }
        });
        Ok(info.await?)
    }

    pub(crate) fn fallback(&self) -> &Fallback {
        &self.shared.config.fallback
    }

    fn decision(&self, routed: Result<v1::RouteResponse, Failure>) -> Result<Decision, Refused> {
        match routed {
            Ok(response) => Ok(Decision::Routed(Box::new(response))),
            Err(Failure::Refused(refused)) => Err(refused),
            Err(Failure::NotAnswered { reason, .. }) => {
                Ok(Decision::Fallback(self.fallback().because(reason)))
            }
        }
    }

    fn request<T>(&self, message: T, left: Duration) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(left);
        for (name, value) in &self.shared.headers {
            request.metadata_mut().insert(*name, value.clone());
        }
        request
    }

    /// Runs a call within `limit`; `attempt` is given what is left of it.
    async fn call<T, F>(
        &self,
        limit: Duration,
        hedge_after: Option<Duration>,
        attempt: impl Fn(Duration) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let end = Instant::now() + limit;
        let attempts = self.attempts(end, hedge_after, attempt);
        timeout_at(end.into(), attempts).await.unwrap_or_else(|_| Err(Failure::too_late()))
    }

    async fn attempts<T, F>(
        &self,
        end: Instant,
        mut hedge_after: Option<Duration>,
        attempt: impl Fn(Duration) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let budget = &self.shared.budget;
        let mut attempts = Attempts::new(&self.shared.config.retry, budget, end);
        let once = || async {
            let left = end.saturating_duration_since(Instant::now());
            attempt(left).await.map(Response::into_inner).map_err(Failure::from)
        };
        loop {
            let answered = match hedge_after.take() {
                Some(after) => hedged(once, after, budget).await,
                None => once().await,
            };
            let failure = match answered {
                Ok(response) => {
                    budget.succeeded();
                    return Ok(response);
                }
                Err(failure) => failure,
            };
            match attempts.next(&failure, Instant::now(), fastrand::f64()) {
                Some(wait) => sleep(wait).await,
                None => return Err(failure),
            }
        }
    }
}

/// One attempt, and a second beside it when the first takes longer than `after`. The first answer counts; a
/// failure only when both have failed, or when it is a refusal, which the other would get too.
async fn hedged<T, F>(attempt: impl Fn() -> F, after: Duration, budget: &Budget) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut first = std::pin::pin!(attempt());
    tokio::select! {
        answered = &mut first => return answered,
        () = sleep(after) => {}
    }
    if !budget.allows() {
        return first.await;
    }
    let mut second = std::pin::pin!(attempt());
    tokio::select! {
        answered = &mut first => match answered {
            Err(Failure::NotAnswered { .. }) => second.await,
            answered => answered,
        },
        answered = &mut second => match answered {
            Err(Failure::NotAnswered { .. }) => first.await,
            answered => answered,
        },
    }
}

/// A decision of a batch.
fn of_item(item: v1::RouteItem) -> Result<v1::RouteResponse, Failure> {
    match item.result {
        Some(route_item::Result::Response(response)) => Ok(response),
        Some(route_item::Result::Error(error)) => {
            let status = Status::new(Code::from_i32(error.code), error.message);
            if error.reason == BUDGET_SPENT {
                return Err(Failure::Refused(Refused(Box::new(status))));
            }
            Err(status.into())
        }
        None => Err(Status::internal("an item of a batch is empty").into()),
    }
}
