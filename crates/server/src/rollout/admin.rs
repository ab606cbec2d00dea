//! The service that takes the steps of a rollout, and has files read again.

use std::path::Path;
use std::sync::Arc;

use api::v1;
use api::v1::admin_service_server::AdminService;
use tonic::{Request, Response, Status};

use super::{Rollouts, StepError};
use crate::reload::{Cause, Reloads};
use crate::status::RequestError;

/// How much worse a candidate may be, and how probable a wrong end of the test, where a request does not say.
const MARGIN: f64 = 0.02;
const ALPHA: f64 = 0.05;

/// Answers `rung.v1.AdminService`.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    pub(crate) rollouts: Arc<Rollouts>,
    pub(crate) reloads: Arc<Reloads>,
}

impl From<StepError> for Status {
    fn from(error: StepError) -> Self {
        match &error {
            StepError::Value { field, expected, found } => {
                RequestError::invalid(field, format!("expected {expected}, found {found}")).into()
            }
            StepError::Router(refused) => RequestError::invalid("artifact", refused.to_string()).into(),
            StepError::Interrupted => Self::internal(error.to_string()),
            StepError::NoCandidate | StepError::Busy(_) | StepError::NoLog | StepError::Undecided { .. } => {
                Self::failed_precondition(error.to_string())
            }
        }
    }
}

impl Admin {
    fn standing(&self) -> Response<v1::Rollout> {
        Response::new(self.rollouts.standing())
    }
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn start_rollout(
        &self,
        request: Request<v1::StartRolloutRequest>,
    ) -> Result<Response<v1::Rollout>, Status> {
        let v1::StartRolloutRequest { artifact, margin, alpha } = request.into_inner();
        self.rollouts.start(Path::new(&artifact), margin.unwrap_or(MARGIN), alpha.unwrap_or(ALPHA)).await?;
        Ok(self.standing())
    }

    async fn set_canary(
        &self,
        request: Request<v1::SetCanaryRequest>,
    ) -> Result<Response<v1::Rollout>, Status> {
        self.rollouts.canary(request.into_inner().share).await?;
        Ok(self.standing())
    }

    async fn promote(&self, request: Request<v1::PromoteRequest>) -> Result<Response<v1::Rollout>, Status> {
        self.rollouts.promote(request.into_inner().force).await?;
        Ok(self.standing())
    }

    async fn roll_back(
        &self,
        request: Request<v1::RollBackRequest>,
    ) -> Result<Response<v1::Rollout>, Status> {
        let reason = request.into_inner().reason;
        let reason = if reason.is_empty() { "asked for".to_owned() } else { reason };
        self.rollouts.roll_back(&reason).await?;
        Ok(self.standing())
    }

    async fn get_rollout(&self, _: Request<v1::GetRolloutRequest>) -> Result<Response<v1::Rollout>, Status> {
        Ok(self.standing())
    }

    async fn reload(
        &self,
        request: Request<v1::ReloadRequest>,
    ) -> Result<Response<v1::ReloadResponse>, Status> {
        let asked = self.reloads.reload(&request.into_inner().things, Cause::Call).await;
        let things = asked.map_err(|unknown| RequestError::invalid("things", unknown.to_string()))?;
        Ok(Response::new(v1::ReloadResponse { things }))
    }

    async fn get_reloads(
        &self,
        _: Request<v1::GetReloadsRequest>,
    ) -> Result<Response<v1::GetReloadsResponse>, Status> {
        Ok(Response::new(v1::GetReloadsResponse { things: self.reloads.standing() }))
    }
}
