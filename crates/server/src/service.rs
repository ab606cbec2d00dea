//! The service: admission, decision, answer. A decision runs where its request arrived; only the encoder has threads
//! of its own.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use api::v1;
use api::v1::router_service_server::RouterService;
use decision_log::Rollout;
use prost::Message;
use router::{Admission, Begun, Permit, Priority, Routed, Router, Work};
use tokio::time::Instant;
use tokio_stream::{Stream, StreamExt};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};
use types::ModelName;
use uuid::Uuid;

use crate::access::Account;
use crate::config::Config;
use crate::convert::{self, Asked, Named, Source};
use crate::drain::Drain;
use crate::intents::Matching;
use crate::program::{Paid, Programs, Version, Walk};
use crate::record::{Circumstances, Recorder};
use crate::rollout::{Candidate, Deployment, Rollouts, Serving};
use crate::status::{RequestError, whole_ms};
use crate::telemetry::{Decided, Metrics, Shape, Times, Traced};

/// The label of a request that says who is refused first.
const PRIORITY: &str = "priority";

/// Queries of a batch after which others who wait have their turn.
const TURN: usize = 32;

/// Answers `rung.v1.RouterService`.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    rollouts: Arc<Rollouts>,
    programs: Arc<Programs>,
    admission: Arc<Admission>,
    /// Queries of one batch at most.
    max_batch: usize,
    /// Where decisions are logged.
    recorder: Option<Recorder>,
    drain: Drain,
    metrics: Arc<Metrics>,
}

/// What is known of a request beside what it says.
#[derive(Debug, Clone, Default)]
struct Seen {
    /// When it came; none for one of a batch, which came as a whole.
    arrived: Option<Instant>,
    /// Its span, where its trace is sampled, and how a decision is told there.
    traced: Option<(Traced, Shape)>,
}

impl Seen {
    fn of<T>(request: &Request<T>, shape: Shape) -> Self {
        let traced = request.extensions().get::<Traced>().map(|traced| (traced.clone(), shape));
        Self { arrived: Some(Instant::now()), traced }
    }
}

impl Service {
    pub(crate) fn new(
        rollouts: Arc<Rollouts>,
        programs: Arc<Programs>,
        config: &Config,
        recorder: Option<Recorder>,
        drain: Drain,
        metrics: Arc<Metrics>,
    ) -> Self {
        let admission = Arc::new(Admission::new(config.decision_slots, config.queue_room));
        Self { rollouts, programs, admission, max_batch: config.max_batch, recorder, drain, metrics }
    }

    /// Matches over the same catalogue and the same slots.
    pub(crate) fn matching(&self) -> Matching {
        Matching { programs: Arc::clone(&self.programs), admission: Arc::clone(&self.admission) }
    }

    /// The slots of decisions, for whatever else computes on the same cores.
    pub(crate) fn admission(&self) -> Arc<Admission> {
        Arc::clone(&self.admission)
    }

    async fn admitted(
        &self,
        request: v1::RouteRequest,
        deadline: Option<Instant>,
        seen: Seen,
    ) -> Result<v1::RouteResponse, RequestError> {
        let work = Work::one(priority(&request.labels), request.encoded_len(), deadline);
        let permit = self.admission.admit(work).await?;
        let begun = self.begin(&self.rollouts.now(), request, deadline)?;
        // Slots are for computing: who waits for the encoder keeps nobody from it.
        drop(permit);
        self.finish(begun, seen).await
    }

    /// Takes note of a refusal on its way out.
    fn refused(&self, error: &RequestError) {
        self.metrics.refused(error.reason());
    }

    /// What computes here: the decision, or the query queued for the encoder.
    fn begin(
        &self,
        now: &Deployment,
        request: v1::RouteRequest,
        deadline: Option<Instant>,
    ) -> Result<Started, RequestError> {
        let (serving, version) = (self.rollouts.serving(now, &request), &now.program);
        if serving.rollout == Rollout::Canary {
            match Started::new(request.clone(), serving, version, deadline) {
                Ok(started) => return Ok(started),
                // A candidate that lacks a model or an operating point is no reason to fail a caller.
                Err(error) => tracing::warn!(%error, "the candidate cannot answer: the incumbent does"),
            }
            let router = Arc::clone(&now.incumbent);
            let serving = Serving { router, rollout: Rollout::Incumbent, shadow: None };
            return Started::new(request, serving, version, deadline);
        }
        Started::new(request, serving, version, deadline)
    }

    /// The decision, once the encoder has answered or is given up and the budget has paid for it.
    async fn finish(&self, started: Started, seen: Seen) -> Result<v1::RouteResponse, RequestError> {
        let Started { times, costs_usd, serving, request_id, labels, mut asked, deadline, mut walk, begun } =
            started;
        let router = &serving.router;
        let routed = settled(router, &mut asked, begun, walk.as_mut(), &request_id, deadline).await?;
        let decided_at = Instant::now();
        let time_us = decided_at.duration_since(times.admitted).as_secs_f64() * 1e6;
        let (decision_id, info) = (Uuid::now_v7(), router.info());
        if let Some(walk) = &mut walk {
            walk.remember(decision_id);
        }
        let policy = walk.as_ref().map(Walk::record);
        let policy_version = policy.as_ref().filter(|_| seen.traced.is_some()).map(|p| p.version.clone());
        let fell_back = policy.as_ref().is_some_and(|policy| policy.fallback);
        if let Some(policy) = &policy {
            self.metrics.by_policy(policy.strategy.as_deref(), policy.spent.as_deref());
        }
        if let Some(recorder) = &self.recorder {
            let (rollout, shadow_of) = (serving.rollout, None);
            let (id, request_id, labels) = (decision_id, &request_id, &labels);
            let of = Circumstances { id, rollout, shadow_of, request_id, labels, info, time_us, policy };
            recorder.record(&routed, &asked, of).await;
        }
        let decided = Decided {
            routed: &routed,
            top: asked.ladder.top(),
            info,
            point: asked.source.point(),
            slices: &asked.slices,
            rollout: serving.rollout,
            fell_back,
            costs_usd: &costs_usd,
            times: Times { arrived: seen.arrived, decided: decided_at, recorded: Instant::now(), ..times },
        };
        self.metrics.decided(&decided);
        if let Some((traced, shape)) = &seen.traced {
            traced.decided(&decided, decision_id, policy_version.as_deref(), *shape);
        }
        if routed.device_lost {
            tracing::warn!(%decision_id, "{}", convert::DEVICE_LOST);
        }
        let named = Named { decision_id, request_id };
        let mut response = convert::response(routed, &asked.source, info, named, time_us);
        if let Some(walk) = &walk {
            walk.tell(&mut response);
        }
        tracing::debug!(
            decision_id = response.decision_id,
            model = response.model,
            win_probability = response.win_probability,
            threshold = response.threshold,
            reason = response.reason,
            strategy = response.strategy,
            time_us,
            "decided"
        );
        // Where the model was given, a candidate has nothing to decide.
        let decided = !matches!(asked.source, Source::Given(_));
        if let (true, Some(candidate), Some(recorder)) = (decided, serving.shadow, &self.recorder) {
            shadow(candidate, recorder.clone(), asked, labels, decision_id, &response);
        }
        Ok(response)
    }

    /// Decides a batch, as many queries at once as the encoder runs.
    async fn batch(
        &self,
        requests: Vec<v1::RouteRequest>,
        deadline: Option<Instant>,
        seen: Seen,
        account: &Account,
    ) -> Result<Vec<v1::RouteItem>, RequestError> {
        if requests.len() > self.max_batch {
            let expected = format!("expected at most {} queries, found {}", self.max_batch, requests.len());
            return Err(RequestError::invalid("requests", expected));
        }
        account.charge(requests.len().saturating_sub(1))?;
        // What is important is not refused for what is beside it.
        let priority = requests.iter().map(|request| priority(&request.labels)).max().unwrap_or_default();
        let count = |queries: usize| u32::try_from(queries).unwrap_or(u32::MAX);
        let bytes = requests.iter().map(Message::encoded_len).sum();
        let mut work = Work { priority, queries: count(requests.len()), bytes, deadline };
        let mut permit = self.admission.admit(work).await?;
        if let Some(arrived) = seen.arrived {
            self.metrics.waited(arrived.elapsed());
        }
        // All of it is answered by what it began with.
        let now = self.rollouts.now();
        let at_once = now.incumbent.at_once();
        let traced = seen.traced.as_ref().map(|(traced, _)| traced);
        let (mut items, mut turn) = (Vec::with_capacity(requests.len()), 0);
        let mut requests = requests.into_iter().peekable();
        while requests.peek().is_some() {
            if deadline.is_some_and(|d| d <= Instant::now()) {
                return Err(router::AdmissionError::DeadlineExceeded.into());
            }
            if turn >= TURN {
                work.queries = count(requests.len());
                permit = self.admission.alternate(permit, work).await?;
                turn = 0;
            }
            let next: Vec<_> = requests.by_ref().take(at_once).collect();
            turn += next.len();
            permit = self.together(&now, next, work, permit, traced, &mut items).await?;
            // The thread, too, is not for one caller alone.
            tokio::task::yield_now().await;
        }
        Ok(items)
    }

    /// Queries of a batch that are begun together, so that the encoder has as many as it runs at once; `permit` is
    /// given back while it is waited for.
    async fn together(
        &self,
        now: &Deployment,
        requests: Vec<v1::RouteRequest>,
        work: Work,
        mut permit: Permit,
        traced: Option<&Traced>,
        items: &mut Vec<v1::RouteItem>,
    ) -> Result<Permit, RequestError> {
        let mut waits = false;
        let mut started = Vec::with_capacity(requests.len());
        permit.decided(requests.len());
        for request in requests {
            let request_id = request.request_id.clone();
            let begun = self.begin(now, request, work.deadline);
            waits |= begun.as_ref().is_ok_and(Started::waits);
            started.push((begun, request_id));
        }
        let permit = (!waits).then_some(permit);
        for (begun, request_id) in started {
            let seen = || Seen { arrived: None, traced: traced.cloned().map(|traced| (traced, Shape::Item)) };
            let result = match begun {
                Ok(begun) => self.finish(begun, seen()).await,
                Err(error) => Err(error),
            };
            items.push(item(result.inspect_err(|error| self.refused(error)), request_id));
        }
        match permit {
            Some(permit) => Ok(permit),
            None => Ok(self.admission.resume(work).await?),
        }
    }
}

/// A request that was begun.
struct Started {
    /// When it came to where, as far as it has come.
    times: Times,
    costs_usd: Arc<BTreeMap<ModelName, f64>>,
    serving: Serving,
    request_id: String,
    labels: HashMap<String, String>,
    asked: Asked,
    deadline: Option<Instant>,
    /// The way through the policy, where it decides.
    walk: Option<Walk>,
    begun: Begun,
}

impl Started {
    fn new(
        request: v1::RouteRequest,
        serving: Serving,
        version: &Version,
        deadline: Option<Instant>,
    ) -> Result<Self, RequestError> {
        let admitted = Instant::now();
        let free = request.models.is_none() && request.at.is_none();
        let (request_id, labels) = (request.request_id.clone(), request.labels.clone());
        let (router, lenient) = (&serving.router, serving.rollout != Rollout::Canary);
        let mut asked = convert::asked(request, router.info())?;
        let converted = Instant::now();
        let walk = || Walk::new(version, &asked.query, asked.slices.clone());
        let mut walk = if free { walk() } else { None };
        let begun = match &mut walk {
            Some(walk) => walk.begin(router, &mut asked, &request_id, deadline, lenient)?,
            None => {
                let begun = router.begin(&asked.ask(&request_id), deadline);
                begun.map_err(|e| RequestError::route(&e, asked.models_field))?
            }
        };
        let (read, waited) = (Instant::now(), matches!(begun, Begun::Waiting(_)));
        let times = Times { arrived: None, admitted, converted, read, decided: read, recorded: read, waited };
        let costs_usd = Arc::clone(&version.costs_usd);
        Ok(Self { times, costs_usd, serving, request_id, labels, asked, deadline, walk, begun })
    }

    fn waits(&self) -> bool {
        matches!(self.begun, Begun::Waiting(_))
    }
}

/// The decision that the budget pays for. It goes on elsewhere at most once, and from there down a chain that ends.
pub(crate) async fn settled(
    router: &Router,
    asked: &mut Asked,
    mut begun: Begun,
    mut walk: Option<&mut Walk>,
    key: &str,
    deadline: Option<Instant>,
) -> Result<Routed, RequestError> {
    loop {
        let routed = match begun {
            Begun::Decided(routed) => routed,
            Begun::Waiting(waiting) => router.finish(&asked.ask(key), waiting).await,
        };
        let Some(walk) = walk.as_deref_mut() else { return Ok(routed) };
        if walk.pay(&routed.decision, asked.ladder.top())? == Paid::Yes {
            return Ok(routed);
        }
        begun = walk.begin(router, asked, key, deadline, true)?;
    }
}

/// Lets a candidate decide the same query, unseen: after the answer, and only while few others are under way.
fn shadow(
    candidate: Arc<Candidate>,
    recorder: Recorder,
    asked: Asked,
    labels: HashMap<String, String>,
    shadow_of: Uuid,
    answer: &v1::RouteResponse,
) {
    let Ok(permit) = Arc::clone(&candidate.progress.shadows).try_acquire_owned() else { return };
    let (request_id, model) = (answer.request_id.clone(), answer.policy_model.clone());
    tokio::spawn(async move {
        let _permit = permit;
        let start = Instant::now();
        let router = &candidate.router;
        let routed = match router.decide(&asked.ask(&request_id), None).await {
            Ok(routed) => routed,
            Err(error) => return tracing::warn!(%error, "the candidate cannot decide in the shadow"),
        };
        let time_us = start.elapsed().as_secs_f64() * 1e6;
        candidate.progress.shadowed.fetch_add(1, Ordering::Relaxed);
        let differs = routed.decision.policy_model.as_str() != model;
        candidate.progress.differs.fetch_add(u64::from(differs), Ordering::Relaxed);
        let (rollout, shadow_of) = (Rollout::Shadow, Some(shadow_of));
        let (id, info, request_id, labels) = (Uuid::now_v7(), router.info(), &request_id, &labels);
        let of = Circumstances { id, rollout, shadow_of, request_id, labels, info, time_us, policy: None };
        recorder.record(&routed, &asked, of).await;
    });
}

fn item(result: Result<v1::RouteResponse, RequestError>, request_id: String) -> v1::RouteItem {
    use v1::route_item::Result as Item;
    let result = match result {
        Ok(response) => Item::Response(response),
        Err(error) => Item::Error(v1::RouteError {
            code: error.code().into(),
            message: error.to_string(),
            field: error.field().to_owned(),
            request_id,
            reason: error.reason().to_owned(),
            retry_delay_ms: error.retry_after().map_or(0, whole_ms),
        }),
    };
    v1::RouteItem { result: Some(result) }
}

/// Who is refused first, as the request's labels have it.
pub(crate) fn priority(labels: &HashMap<String, String>) -> Priority {
    labels.get(PRIORITY).map_or(Priority::Normal, |value| Priority::of_label(value))
}

/// When the caller stops waiting: the `grpc-timeout` header, read as the specification has it.
pub(crate) fn deadline(metadata: &MetadataMap) -> Option<Instant> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let amount: u32 = digits.parse().ok()?;
    let unit = match unit {
        "H" => Duration::from_secs(3600),
        "M" => Duration::from_secs(60),
        "S" => Duration::from_secs(1),
        "m" => Duration::from_millis(1),
        "u" => Duration::from_micros(1),
        "n" => Duration::from_nanos(1),
        _ => return None,
    };
    Instant::now().checked_add(unit.checked_mul(amount)?)
}

#[tonic::async_trait]
impl RouterService for Service {
    async fn route(&self, request: Request<v1::RouteRequest>) -> Result<Response<v1::RouteResponse>, Status> {
        let (deadline, seen) = (deadline(request.metadata()), Seen::of(&request, Shape::Alone));
        let answer = self.admitted(request.into_inner(), deadline, seen).await;
        Ok(Response::new(answer.inspect_err(|error| self.refused(error))?))
    }

    async fn route_batch(
        &self,
        request: Request<v1::RouteBatchRequest>,
    ) -> Result<Response<v1::RouteBatchResponse>, Status> {
        let (deadline, seen) = (deadline(request.metadata()), Seen::of(&request, Shape::Item));
        let account = Account::of(request.extensions());
        let items = self.batch(request.into_inner().requests, deadline, seen, &account).await;
        let items = items.inspect_err(|error| self.refused(error))?;
        Ok(Response::new(v1::RouteBatchResponse { items }))
    }

    type RouteStreamStream = Pin<Box<dyn Stream<Item = Result<v1::RouteItem, Status>> + Send>>;

    async fn route_stream(
        &self,
        request: Request<Streaming<v1::RouteRequest>>,
    ) -> Result<Response<Self::RouteStreamStream>, Status> {
        let (deadline, seen) = (deadline(request.metadata()), Seen::of(&request, Shape::Item));
        let (service, account) = (self.clone(), Account::of(request.extensions()));
        // One query at a time, pulled as the caller reads: a slow reader holds no slot and no memory, and each takes its
        // turn behind those who came before.
        let answers = self.drain.ends(request.into_inner()).then(move |request| {
            let (service, account) = (service.clone(), account.clone());
            let seen = Seen { arrived: Some(Instant::now()), ..seen.clone() };
            async move {
                let request = request?;
                let request_id = request.request_id.clone();
                let answer = match account.charge(1) {
                    Ok(()) => service.admitted(request, deadline, seen).await,
                    Err(refused) => Err(refused.into()),
                };
                Ok(item(answer.inspect_err(|error| service.refused(error)), request_id))
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn get_info(
        &self,
        _: Request<v1::GetInfoRequest>,
    ) -> Result<Response<v1::GetInfoResponse>, Status> {
        Ok(Response::new(convert::info(&self.rollouts.incumbent(), self.programs.to_wire())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_has_them() {
        let at = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            deadline(&metadata).map(|d| d.saturating_duration_since(Instant::now()))
        };
        let seconds = |text| at(text).map(|d| d.as_secs_f64().round() as u64);
        assert_eq!((seconds("2H"), seconds("3M"), seconds("5S")), (Some(7200), Some(180), Some(5)));
        assert_eq!(seconds("4000m"), Some(4));
        for bad in ["", "S", "5", "5x", "-5S", "99999999999S"] {
            assert_eq!(at(bad), None, "{bad:?}");
        }
    }
}
