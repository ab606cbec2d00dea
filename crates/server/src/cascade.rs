//! The service of cascades: which model is called next, and when an answer is good enough. Callers carry where a
//! query stands in a signed token (`token`); what was said to it is remembered for retries (`replay`). What a verdict
//! is lives in `router`, how it looks on the wire in `convert`.

pub(crate) mod convert;
mod fault;
mod replay;
pub(crate) mod token;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::v1;
use api::v1::cascade_service_server::{CascadeService, CascadeServiceServer};
use prost::Message;
use router::{Admission, AnswerAt, Cascade, Cascades, Work};
use tokio::time::Instant;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};
use types::{ModelName, Query};
use uuid::Uuid;

use crate::ServeError;
use crate::config::Config;
use crate::record::now_us;
use crate::rollout::Rollouts;
use crate::service::{deadline, priority};
use crate::status::RequestError;
use crate::telemetry::Metrics;
use convert::Answered;
use fault::Fault;
use replay::Replays;
use token::{Claims, Fingerprint, TokenError, TokenKey};

/// The longest name that a token carries, bytes.
const LONGEST_NAME: usize = u8::MAX as usize;

/// Answers `rung.v1.CascadeService`.
#[derive(Debug, Clone)]
pub(crate) struct CascadesService(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    chains: Arc<Chains>,
    admission: Arc<Admission>,
    rollouts: Arc<Rollouts>,
    replays: Replays,
    metrics: Arc<Metrics>,
}

/// The cascades of a verifier, and what continuation tokens are made with.
#[derive(Debug)]
pub(crate) struct Chains {
    cascades: Cascades,
    key: TokenKey,
    /// Whether the key outlives the process.
    shared_key: bool,
    ttl: Duration,
    /// Fingerprints of the cascades as they are tuned, by name.
    tunings: BTreeMap<String, Fingerprint>,
}

/// A cascade that a query begins.
#[derive(Debug)]
pub(crate) struct Beginning<'a> {
    /// The model that is called first.
    pub(crate) model: &'a ModelName,
    pub(crate) token: String,
    /// When the token expires, milliseconds since 1970.
    pub(crate) expires_ms: u64,
}

/// The cascades, where a verifier is configured.
pub(crate) fn load(config: &Config) -> Result<Option<Arc<Chains>>, ServeError> {
    let Some(folder) = &config.verifier else { return Ok(None) };
    let cascades = Cascades::load(folder)?;
    let key = match &config.token_key_file {
        Some(file) => TokenKey::read(file).map_err(ServeError::TokenKey)?,
        None => {
            tracing::warn!("no token_key_file: continuation tokens of cascades die with this process");
            TokenKey::of_this_process()
        }
    };
    let mut tunings = BTreeMap::new();
    for cascade in cascades.all() {
        if cascade.name().len() > LONGEST_NAME {
            return Err(ServeError::CascadeName(cascade.name().to_owned()));
        }
        tunings.insert(cascade.name().to_owned(), tuning(&key, cascade));
        for warning in cascade.plan(f64::INFINITY, &BTreeMap::new()).map(|p| p.warnings).unwrap_or_default() {
            tracing::warn!(cascade = cascade.name(), warning);
        }
    }
    let manifest = cascades.manifest();
    let names: Vec<&str> = cascades.all().map(Cascade::name).collect();
    tracing::info!(verifier = manifest.name, version = manifest.version, ?names, "cascades");
    let (shared_key, ttl) = (config.token_key_file.is_some(), config.token_ttl);
    Ok(Some(Arc::new(Chains { cascades, key, shared_key, ttl, tunings })))
}

/// The service of cascades that are loaded.
pub(crate) fn service(
    chains: Arc<Chains>,
    config: &Config,
    admission: Arc<Admission>,
    rollouts: Arc<Rollouts>,
    metrics: Arc<Metrics>,
) -> CascadeServiceServer<CascadesService> {
    let inner = Inner { chains, admission, rollouts, replays: Replays::default(), metrics };
    let mut server = CascadeServiceServer::new(CascadesService(Arc::new(inner)))
        .max_decoding_message_size(config.max_request_bytes);
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        server = server.accept_compressed(encoding).send_compressed(encoding);
    }
    server
}

impl Chains {
    /// Every cascade with its models, first stage first.
    pub(crate) fn models(&self) -> BTreeMap<String, Vec<ModelName>> {
        let models = |cascade: &Cascade| cascade.stages().iter().map(|stage| stage.model.clone()).collect();
        self.cascades.all().map(|cascade| (cascade.name().to_owned(), models(cascade))).collect()
    }

    /// The first and the last model of a cascade of several.
    pub(crate) fn ends(&self, name: &str) -> Option<(ModelName, ModelName)> {
        let [first, .., last] = self.cascades.cascade(name).ok()?.stages() else { return None };
        Some((first.model.clone(), last.model.clone()))
    }

    /// Begins a cascade for a query: where its rule says, or at its last stage.
    ///
    /// # Errors
    /// In words, when there is no such cascade or it calls nothing.
    pub(crate) fn begin(&self, name: &str, query: &Query, at_last: bool) -> Result<Beginning<'_>, String> {
        let cascade = self.cascades.cascade(name).map_err(|error| error.to_string())?;
        let plan = cascade.plan(f64::INFINITY, &BTreeMap::new()).map_err(|error| error.to_string())?;
        let last = cascade.stages().len().saturating_sub(1);
        let first = if at_last { Some(last) } else { plan.step.next };
        let first = first.ok_or_else(|| format!("cascade {name} calls no model"))?;
        let model = &cascade.stage(first).map_err(|error| error.to_string())?.model;
        let claims = self.claims(cascade, first, now_ms(), None, self.key.query(query), 0.0);
        Ok(Beginning { model, token: self.key.seal(&claims), expires_ms: claims.expires_ms })
    }

    fn claims(
        &self,
        cascade: &Cascade,
        next: usize,
        now_ms: u64,
        deadline_ms: Option<u64>,
        query: Fingerprint,
        cost_usd: f64,
    ) -> Claims {
        let ttl_ms = u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX);
        Claims {
            id: Uuid::new_v4().into_bytes(),
            issued_ms: now_ms,
            expires_ms: now_ms.saturating_add(ttl_ms),
            deadline_ms,
            // A chain has at most eight stages.
            stage: u8::try_from(next).unwrap_or(u8::MAX),
            cost_usd,
            query,
            tuning: self.tunings.get(cascade.name()).copied().unwrap_or_default(),
            verifier: self.cascades.manifest().version.clone(),
            cascade: cascade.name().to_owned(),
        }
    }
}

/// What a token is bound to beside the verifier: the models and thresholds of its cascade.
fn tuning(key: &TokenKey, cascade: &Cascade) -> Fingerprint {
    let stages = serde_json::to_vec(&cascade.record().stages).unwrap_or_default();
    key.fingerprint("tuning", [stages.as_slice()])
}

fn now_ms() -> u64 {
    u64::try_from(now_us() / 1_000).unwrap_or(0)
}

/// Seconds until a deadline; infinity without one.
fn remaining_s(deadline_ms: Option<u64>) -> f64 {
    deadline_ms.map_or(f64::INFINITY, |deadline| deadline.saturating_sub(now_ms()) as f64 / 1_000.0)
}

/// Where a query stands: at which stage of which cascade, by its token or by the request's word.
struct At<'a> {
    cascade: &'a Cascade,
    stage: usize,
    /// None without a token.
    claims: Option<Claims>,
}

impl Inner {
    fn plan(
        &self,
        request: v1::PlanCascadeRequest,
        arrived_ms: u64,
    ) -> Result<v1::PlanCascadeResponse, Fault> {
        let v1::PlanCascadeRequest { request_id, labels, .. } = request;
        let cascade = self.chains.cascades.cascade(convert::name(&request.cascade))?;
        let query = self.chains.key.query(&convert::planned_query(request.input, request.system)?);
        let predicted = convert::predicted(&request.predicted_success, cascade)?;
        let deadline_ms = request.deadline_ms.map(|left| arrived_ms.saturating_add(left));
        let plan = cascade.plan(remaining_s(deadline_ms), &predicted)?;
        let token =
            plan.step.next.map(|next| self.chains.claims(cascade, next, arrived_ms, deadline_ms, query, 0.0));
        self.metrics.planned(cascade.name());
        tracing::debug!(request_id, ?labels, cascade = cascade.name(), next = ?plan.step.next, "planned");
        Ok(v1::PlanCascadeResponse {
            request_id,
            token: token.as_ref().map(|claims| self.chains.key.seal(claims)).unwrap_or_default(),
            token_expires_ms: token.map_or(0, |claims| convert::wire_ms(claims.expires_ms)),
            ..convert::plan(&plan, cascade, &self.chains.cascades.manifest().version)
        })
    }

    fn assess(&self, request: v1::AssessRequest, arrived_ms: u64) -> Result<v1::AssessResponse, Fault> {
        let mut answered = Answered::new(request)?;
        let query = self.chains.key.query(&answered.query);
        let At { cascade, stage, claims } = self.locate(&answered, &query, arrived_ms)?;
        let answer = answered.fingerprint(&self.chains.key);
        if let Some(known) = claims.as_ref().map(|c| self.replays.known(c, &answer)).transpose()?.flatten() {
            return Ok(v1::AssessResponse { request_id: answered.request_id, ..known });
        }
        let told_ms = answered.remaining_ms.map(|left| arrived_ms.saturating_add(left));
        let deadline_ms = told_ms.or(claims.as_ref().and_then(|claims| claims.deadline_ms));
        let predicted = convert::predicted(&answered.predicted_success, cascade)?;
        let judging = Instant::now();
        let router = self.rollouts.incumbent();
        let manifest = self.chains.cascades.manifest();
        if manifest.router.as_ref() == Some(&router.info().version) {
            let texts = (&answered.query, answered.text.as_str());
            router.add_signals(texts, &cascade.stage(stage)?.model, &manifest.signals, &mut answered.signals);
        }
        let given = AnswerAt {
            stage,
            query: &answered.query,
            text: &answered.text,
            signals: &answered.signals,
            slices: &answered.slices,
            remaining_s: remaining_s(deadline_ms),
            predicted: &predicted,
        };
        let assessed = self.chains.cascades.assess(cascade.name(), &given)?;
        self.metrics.assessed(cascade.name(), stage, assessed.step.verdict.as_str());
        let assess_time_us = judging.elapsed().as_secs_f64() * 1e6;
        let spent_usd = claims.as_ref().map_or(0.0, |claims| claims.cost_usd)
            + answered.cost_usd.unwrap_or(cascade.stage(stage)?.cost_usd);
        let next = assessed.step.next;
        let token =
            next.map(|next| self.chains.claims(cascade, next, arrived_ms, deadline_ms, query, spent_usd));
        let response = v1::AssessResponse {
            request_id: answered.request_id.clone(),
            token: token.as_ref().map(|claims| self.chains.key.seal(claims)).unwrap_or_default(),
            token_expires_ms: token.map_or(0, |claims| convert::wire_ms(claims.expires_ms)),
            cost_so_far_usd: spent_usd,
            assess_time_us,
            ..convert::assessed(assessed, cascade, stage, &self.chains.cascades.manifest().version)?
        };
        let Some(claims) = claims else { return Ok(response) };
        let stands = self.replays.file(&claims, answer, response, arrived_ms)?;
        Ok(v1::AssessResponse { request_id: answered.request_id, ..stands })
    }

    /// Where the query stands; a token has to fit everything that the request says beside it.
    fn locate(&self, answered: &Answered, query: &Fingerprint, now_ms: u64) -> Result<At<'_>, Fault> {
        if answered.token.is_empty() {
            let cascade = self.chains.cascades.cascade(convert::name(&answered.cascade))?;
            let stage = answered.stage_of(cascade)?.ok_or_else(|| {
                RequestError::invalid("at", "expected stage or model where there is no token, found neither")
            })?;
            return Ok(At { cascade, stage, claims: None });
        }
        let claims = self.chains.key.open(&answered.token, now_ms)?;
        if !answered.cascade.is_empty() && answered.cascade != claims.cascade {
            return Err(TokenError::OtherCascade.into());
        }
        if claims.verifier != self.chains.cascades.manifest().version {
            return Err(TokenError::OtherVerifier.into());
        }
        let cascade = self.chains.cascades.cascade(&claims.cascade).map_err(|_| TokenError::Retuned)?;
        if self.chains.tunings.get(cascade.name()) != Some(&claims.tuning) {
            return Err(TokenError::Retuned.into());
        }
        if claims.query != *query {
            return Err(TokenError::OtherQuery.into());
        }
        let stage = usize::from(claims.stage);
        if !answered.is_of(cascade, stage)? {
            return Err(TokenError::OtherStage.into());
        }
        Ok(At { cascade, stage, claims: Some(claims) })
    }
}

#[tonic::async_trait]
impl CascadeService for CascadesService {
    async fn plan_cascade(
        &self,
        request: Request<v1::PlanCascadeRequest>,
    ) -> Result<Response<v1::PlanCascadeResponse>, Status> {
        let (arrived_ms, deadline) = (now_ms(), deadline(request.metadata()));
        let (labels, bytes) = (&request.get_ref().labels, request.get_ref().encoded_len());
        let work = Work::one(priority(labels), bytes, deadline);
        let permit = self.0.admission.admit(work).await.map_err(RequestError::from)?;
        let response = self.0.plan(request.into_inner(), arrived_ms)?;
        drop(permit);
        Ok(Response::new(response))
    }

    async fn assess(
        &self,
        request: Request<v1::AssessRequest>,
    ) -> Result<Response<v1::AssessResponse>, Status> {
        let (arrived_ms, deadline) = (now_ms(), deadline(request.metadata()));
        let (labels, bytes) = (&request.get_ref().labels, request.get_ref().encoded_len());
        let work = Work::one(priority(labels), bytes, deadline);
        let permit = self.0.admission.admit(work).await.map_err(RequestError::from)?;
        let response = self.0.assess(request.into_inner(), arrived_ms)?;
        drop(permit);
        Ok(Response::new(response))
    }

    async fn get_cascades(
        &self,
        _: Request<v1::GetCascadesRequest>,
    ) -> Result<Response<v1::GetCascadesResponse>, Status> {
        let Chains { cascades, ttl, shared_key, .. } = self.0.chains.as_ref();
        let cascades = convert::cascades(cascades)?;
        let (token_ttl_s, shared_token_key) = (ttl.as_secs(), *shared_key);
        Ok(Response::new(v1::GetCascadesResponse { token_ttl_s, shared_token_key, ..cascades }))
    }
}
