//! The service that takes reports of what came of decisions.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use api::v1;
use api::v1::outcome_service_server::OutcomeService;
use decision_log::{
    DecisionLog, Filed, Outcome, OutcomeError, OutcomeRecord, RECORD_VERSION, Refusal, Reported, time_of,
    within,
};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use crate::access::Account;
use crate::drain::Drain;
use crate::program::Programs;
use crate::record::now_us;
use crate::status::RequestError;
use crate::telemetry::Metrics;

/// Clocks may differ by so much before a report counts as being of the future, microseconds.
const CLOCK_SKEW_US: i64 = 86_400_000_000;

/// Answers `rung.v1.OutcomeService`.
#[derive(Debug, Clone)]
pub(crate) struct Outcomes {
    pub(crate) log: Arc<DecisionLog>,
    pub(crate) horizon: Duration,
    pub(crate) max_batch: usize,
    /// Whose budget hears what calls did cost.
    pub(crate) programs: Arc<Programs>,
    pub(crate) drain: Drain,
    pub(crate) metrics: Arc<Metrics>,
}

impl From<OutcomeError> for RequestError {
    fn from(error: OutcomeError) -> Self {
        Self::invalid(error.field, error.expected)
    }
}

/// A report understood, and whether it is late.
pub(crate) fn understood(
    request: v1::ReportOutcomeRequest,
    horizon: Duration,
    now_us: i64,
) -> Result<(OutcomeRecord, bool), RequestError> {
    use v1::report_outcome_request::Outcome as Wire;
    let unknown = || {
        let expected =
            format!("expected a decision_id as an answer gave it, found {:?}", request.decision_id);
        RequestError::invalid("decision_id", expected)
    };
    let decision_id = Uuid::try_parse(&request.decision_id).map_err(|_| unknown())?;
    let decided_us = time_of(decision_id).ok_or_else(unknown)?;
    if decided_us > now_us.saturating_add(CLOCK_SKEW_US) {
        return Err(RequestError::invalid(
            "decision_id",
            "expected a decision of the past, found one to come",
        ));
    }
    let time_us = request.observed_us.unwrap_or(now_us);
    if time_us < 0 || time_us > now_us.saturating_add(CLOCK_SKEW_US) {
        let expected = format!("expected microseconds since 1970 that have passed, found {time_us}");
        return Err(RequestError::invalid("observed_us", expected));
    }
    let outcome = match request.outcome {
        None => return Err(RequestError::invalid("outcome", "expected one of the outcomes, found none")),
        Some(Wire::Graded(graded)) => Outcome::Graded { scores: graded.scores.into_iter().collect() },
        Some(Wire::Preference(preference)) => Outcome::Preference { strong: preference.strong },
        Some(Wire::Thumbs(thumbs)) => Outcome::Thumbs { up: thumbs.up },
        Some(Wire::Resubmission(_)) => Outcome::Resubmission,
        Some(Wire::HumanEscalation(_)) => Outcome::HumanEscalation,
        Some(Wire::Judge(verdict)) => Outcome::Judge { judge: verdict.judge, strong: verdict.strong },
        Some(Wire::Usage(usage)) => Outcome::Usage {
            model: usage.model,
            cost_usd: usage.cost_usd,
            latency_ms: usage.latency_ms,
            input_tokens: usage.input_tokens,
            cached_tokens: usage.cached_tokens,
            output_tokens: usage.output_tokens,
        },
    };
    let record =
        OutcomeRecord { version: RECORD_VERSION, decision_id, source: request.source, time_us, outcome };
    Ok((record.checked()?, !within(decided_us, time_us, horizon)))
}

fn answer(filed: Filed, late: bool, metrics: &Metrics) -> v1::ReportOutcomeResponse {
    let (status, name) = match filed {
        Filed::Stored(Reported::Recorded) => (v1::OutcomeStatus::Recorded, "recorded"),
        Filed::Stored(Reported::Duplicate) => (v1::OutcomeStatus::Duplicate, "duplicate"),
        Filed::Stored(Reported::Conflict) => (v1::OutcomeStatus::Conflict, "conflict"),
        Filed::Spooled => (v1::OutcomeStatus::Spooled, "spooled"),
        Filed::Rejected => (v1::OutcomeStatus::Rejected, "rejected"),
    };
    metrics.outcome(name);
    v1::ReportOutcomeResponse { status: status.into(), late }
}

fn refused(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::Overloaded => Status::resource_exhausted(refusal.to_string()),
        _ => Status::unavailable(refusal.to_string()),
    }
}

impl Outcomes {
    /// Writes reports down; the costs among them reach the budget once they are kept.
    async fn kept(&self, records: Vec<OutcomeRecord>) -> Result<Vec<Filed>, Status> {
        let cost = |record: &OutcomeRecord| match record.outcome {
            Outcome::Usage { cost_usd, .. } => Some((record.decision_id, cost_usd?)),
            _ => None,
        };
        let costs: Vec<_> = records.iter().map(cost).collect();
        let filed = self.log.outcomes(records).await.map_err(|e| refused(&e))?;
        for (cost, filed) in costs.into_iter().zip(&filed) {
            if let (Some((decision_id, cost_usd)), Filed::Stored(Reported::Recorded) | Filed::Spooled) =
                (cost, filed)
            {
                self.programs.charge(decision_id, cost_usd);
            }
        }
        Ok(filed)
    }

    /// Files those reports that are understood, together; one item per report, in the same order.
    async fn file(&self, requests: Vec<v1::ReportOutcomeRequest>) -> Result<Vec<v1::OutcomeItem>, Status> {
        use v1::outcome_item::Result as Item;
        let now_us = now_us();
        let mut records = Vec::with_capacity(requests.len());
        let mut items = Vec::with_capacity(requests.len());
        for request in requests {
            let decision_id = request.decision_id.clone();
            match understood(request, self.horizon, now_us) {
                Ok((record, late)) => {
                    records.push(record);
                    items.push(Ok(late));
                }
                Err(error) => {
                    self.metrics.outcome("invalid");
                    items.push(Err(v1::OutcomeError {
                        code: error.code().into(),
                        message: error.to_string(),
                        field: error.field().to_owned(),
                        decision_id,
                    }));
                }
            }
        }
        let mut filed = Vec::new();
        if !records.is_empty() {
            filed = self.kept(records).await?;
        }
        let mut filed = filed.into_iter();
        let item = |item: Result<bool, v1::OutcomeError>| {
            let result = match item {
                Ok(late) => {
                    let filed = filed.next().ok_or_else(|| Status::internal("a report got no answer"))?;
                    Item::Response(answer(filed, late, &self.metrics))
                }
                Err(error) => Item::Error(error),
            };
            Ok(v1::OutcomeItem { result: Some(result) })
        };
        items.into_iter().map(item).collect()
    }
}

#[tonic::async_trait]
impl OutcomeService for Outcomes {
    async fn report_outcome(
        &self,
        request: Request<v1::ReportOutcomeRequest>,
    ) -> Result<Response<v1::ReportOutcomeResponse>, Status> {
        let understood = understood(request.into_inner(), self.horizon, now_us());
        let (record, late) = understood.inspect_err(|_| self.metrics.outcome("invalid"))?;
        let filed = self.kept(vec![record]).await?;
        let filed = filed.first().ok_or_else(|| Status::internal("the report got no answer"))?;
        Ok(Response::new(answer(*filed, late, &self.metrics)))
    }

    async fn report_outcomes(
        &self,
        request: Request<v1::ReportOutcomesRequest>,
    ) -> Result<Response<v1::ReportOutcomesResponse>, Status> {
        let account = Account::of(request.extensions());
        let reports = request.into_inner().reports;
        if reports.len() > self.max_batch {
            let expected = format!("expected at most {} reports, found {}", self.max_batch, reports.len());
            return Err(RequestError::invalid("reports", expected).into());
        }
        account.charge(reports.len().saturating_sub(1))?;
        Ok(Response::new(v1::ReportOutcomesResponse { items: self.file(reports).await? }))
    }

    type ReportOutcomeStreamStream = Pin<Box<dyn Stream<Item = Result<v1::OutcomeItem, Status>> + Send>>;

    async fn report_outcome_stream(
        &self,
        request: Request<Streaming<v1::ReportOutcomeRequest>>,
    ) -> Result<Response<Self::ReportOutcomeStreamStream>, Status> {
        let (service, account) = (self.clone(), Account::of(request.extensions()));
        let answers = self.drain.ends(request.into_inner()).then(move |report| {
            let (service, account) = (service.clone(), account.clone());
            async move {
                let report = report?;
                account.charge(1)?;
                let mut items = service.file(vec![report]).await?;
                items.pop().ok_or_else(|| Status::internal("the report got no answer"))
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }
}
