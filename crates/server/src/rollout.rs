//! What decides: the artifact in charge, the policy that was held against it, and a candidate that is introduced in the
//! shadow, for a share of the callers, for all or for none. They are one value that is exchanged as a whole: a request is
//! answered from beginning to end by the one that it began with.

mod admin;
mod replace;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use decision_log::{Event, Follower, Rollout, Store, StoreError, open};
use monitoring::{ArmTest, Verdict};
use router::{ArtifactInfo, Router, RouterError, RouterOptions};
use tokio::sync::Semaphore;

use crate::behind;
use crate::program::Version;
use crate::record::now_us;

pub(crate) use admin::Admin;

/// Shadow decisions under way at most; more are skipped and counted.
const SHADOWS: usize = 64;

/// Where the history of rollouts is kept.
const KEY: &str = "rollouts";

/// Which artifact answers whom, and by which policy.
#[derive(Debug)]
pub(crate) struct Rollouts {
    deployment: ArcSwap<Deployment>,
    options: RouterOptions,
    /// The label that says who is answered by whom.
    sticky_label: Option<String>,
    /// The log, where the history goes.
    log_url: Option<String>,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
}

/// What decides at a moment.
#[derive(Debug, Clone)]
pub(crate) struct Deployment {
    pub(crate) incumbent: Arc<Router>,
    /// The policy, the catalogue and the prices.
    pub(crate) program: Arc<Version>,
    candidate: Option<Arc<Candidate>>,
    /// How the last rollout ended: promoted or rolled back, the candidate's version, and why.
    ended: Option<(bool, String, String)>,
}

/// An artifact that may take over.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) router: Arc<Router>,
    /// Share of the callers it answers, in [0, 1].
    share: f64,
    margin: f64,
    /// Why it is where it is.
    reason: String,
    pub(crate) progress: Arc<Progress>,
}

/// What is known of a candidate so far.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) shadows: Arc<Semaphore>,
    pub(crate) shadowed: AtomicU64,
    pub(crate) differs: AtomicU64,
    test: Mutex<Test>,
}

#[derive(Debug)]
struct Test {
    /// From where the log is followed; the end of the log when it is looked at first.
    follower: Option<Follower>,
    /// Decisions from then on count.
    canary_since_us: Option<i64>,
    arms: ArmTest,
}

/// Who answers a request.
#[derive(Debug, Clone)]
pub(crate) struct Serving {
    pub(crate) router: Arc<Router>,
    pub(crate) rollout: Rollout,
    /// Who decides beside it, unseen.
    pub(crate) shadow: Option<Arc<Candidate>>,
}

/// Why a step was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    #[error("there is no candidate: StartRollout first")]
    NoCandidate,
    #[error("{0} is being introduced: promote it or roll it back first")]
    Busy(String),
    #[error("there is no decision log, and without one nothing is known of a candidate")]
    NoLog,
    #[error(
        "the sequential test has not ended in the candidate's favour (its error rate is above the incumbent's by {lower:.3} to {upper:.3}, {margin} is allowed): wait, or force it"
    )]
    Undecided { lower: f64, upper: f64, margin: f64 },
    #[error("{field}: expected {expected}, found {found}")]
    Value { field: &'static str, expected: &'static str, found: f64 },
    #[error(transparent)]
    Router(#[from] RouterError),
    #[error("loading the candidate was interrupted")]
    Interrupted,
}

impl Rollouts {
    pub(crate) fn new(
        incumbent: Arc<Router>,
        program: Arc<Version>,
        options: RouterOptions,
        sticky_label: Option<String>,
        log_url: Option<String>,
    ) -> Self {
        let deployment = Deployment { incumbent, program, candidate: None, ended: None };
        Self {
            deployment: ArcSwap::from_pointee(deployment),
            options,
            sticky_label,
            log_url,
            changing: tokio::sync::Mutex::default(),
        }
    }

    /// What decides now: whoever begins with it ends with it.
    pub(crate) fn now(&self) -> Arc<Deployment> {
        self.deployment.load_full()
    }

    /// The artifact in charge.
    pub(crate) fn incumbent(&self) -> Arc<Router> {
        Arc::clone(&self.deployment.load().incumbent)
    }

    /// What the artifact in charge says of itself.
    pub(crate) fn info(&self) -> Arc<ArtifactInfo> {
        Arc::new(self.incumbent().info().clone())
    }

    /// The artifact that may take over, where one is introduced.
    pub(crate) fn contender(&self) -> Option<Arc<Router>> {
        self.deployment.load().candidate.as_ref().map(|candidate| Arc::clone(&candidate.router))
    }

    /// Who answers a request: always the same for the same caller while a share does not shrink.
    pub(crate) fn serving(&self, deployment: &Deployment, request: &api::v1::RouteRequest) -> Serving {
        let incumbent = Serving {
            router: Arc::clone(&deployment.incumbent),
            rollout: Rollout::Incumbent,
            shadow: deployment.candidate.clone(),
        };
        let Some(candidate) = deployment.candidate.as_ref().filter(|c| c.share > 0.0) else {
            return incumbent;
        };
        let text = || match &request.input {
            Some(api::v1::route_request::Input::Text(text)) => text.as_str(),
            Some(api::v1::route_request::Input::Chat(chat)) => {
                chat.messages.first().map_or("", |message| message.content.as_str())
            }
            None => "",
        };
        let label =
            self.sticky_label.as_ref().and_then(|label| request.labels.get(label)).map(String::as_str);
        let own = || (!request.request_id.is_empty()).then_some(request.request_id.as_str());
        let key = label.or_else(own).unwrap_or_else(text);
        let version = &candidate.router.info().version;
        let draw = policy::request_draw(["canary".as_bytes(), version.as_bytes(), key.as_bytes()]);
        if draw < candidate.share {
            Serving { router: Arc::clone(&candidate.router), rollout: Rollout::Canary, shadow: None }
        } else {
            incumbent
        }
    }

    /// Loads a candidate, which from now on decides in the shadow.
    pub(crate) async fn start(&self, folder: &Path, margin: f64, alpha: f64) -> Result<(), StepError> {
        let one = self.changing.lock().await;
        if self.log_url.is_none() {
            return Err(StepError::NoLog);
        }
        if let Some(candidate) = &self.deployment.load().candidate {
            return Err(StepError::Busy(candidate.router.info().version.clone()));
        }
        for (field, found, within) in
            [("margin", margin, (0.0..=1.0).contains(&margin)), ("alpha", alpha, alpha > 0.0 && alpha < 1.0)]
        {
            if !within {
                return Err(StepError::Value { field, expected: "a number between 0 and 1", found });
            }
        }
        let (folder, options) = (folder.to_owned(), self.options.clone());
        let loading = behind::callers(move || Router::load(&folder, &options));
        let router = Arc::new(loading.await.ok_or(StepError::Interrupted)??);
        let progress = Progress {
            shadows: Arc::new(Semaphore::new(SHADOWS)),
            shadowed: AtomicU64::new(0),
            differs: AtomicU64::new(0),
            test: Mutex::new(Test { follower: None, canary_since_us: None, arms: ArmTest::new(alpha) }),
        };
        let (progress, reason) = (Arc::new(progress), "started".to_owned());
        let candidate = Candidate { router, share: 0.0, margin, reason, progress };
        self.change(|now| Deployment { candidate: Some(Arc::new(candidate)), ended: None, ..now });
        self.tell().await;
        drop(one);
        Ok(())
    }

    /// Lets the candidate answer a share of the callers.
    pub(crate) async fn canary(&self, share: f64) -> Result<(), StepError> {
        let _one = self.changing.lock().await;
        if !(0.0..=1.0).contains(&share) {
            return Err(StepError::Value { field: "share", expected: "a number in [0, 1]", found: share });
        }
        let candidate = self.candidate()?;
        if share > 0.0 {
            candidate.progress.test().canary_since_us.get_or_insert_with(now_us);
        }
        let changed = Candidate {
            router: Arc::clone(&candidate.router),
            share,
            margin: candidate.margin,
            reason: format!("a share of {share}"),
            progress: Arc::clone(&candidate.progress),
        };
        self.change(|now| Deployment { candidate: Some(Arc::new(changed)), ..now });
        self.tell().await;
        Ok(())
    }

    /// Puts the candidate in charge.
    pub(crate) async fn promote(&self, force: bool) -> Result<(), StepError> {
        let _one = self.changing.lock().await;
        let candidate = self.candidate()?;
        let (verdict, (lower, upper)) = candidate.verdict();
        if verdict != Verdict::Promote && !force {
            return Err(StepError::Undecided { lower, upper, margin: candidate.margin });
        }
        let reason = if verdict == Verdict::Promote { "the sequential test" } else { "forced" };
        let ended = Some((true, candidate.router.info().version.clone(), reason.to_owned()));
        let promoted = Arc::clone(&candidate.router);
        self.change(|now| Deployment { incumbent: promoted, candidate: None, ended, ..now });
        tracing::warn!("the candidate is in charge until this server restarts: set `artifact` to its folder");
        self.tell().await;
        Ok(())
    }

    /// Takes the candidate out of service.
    pub(crate) async fn roll_back(&self, reason: &str) -> Result<(), StepError> {
        let _one = self.changing.lock().await;
        let candidate = self.candidate()?;
        let ended = Some((false, candidate.router.info().version.clone(), reason.to_owned()));
        self.change(|now| Deployment { candidate: None, ended, ..now });
        self.tell().await;
        Ok(())
    }

    /// Counts what came of the answers of either artifact; a candidate that does harm is taken out of service.
    pub(crate) async fn advance(&self, store: &dyn Store, horizon: Duration) -> Result<(), StoreError> {
        let Some(candidate) = self.deployment.load().candidate.clone() else { return Ok(()) };
        let (follower, since_us) = {
            let test = candidate.progress.test();
            (test.follower, test.canary_since_us)
        };
        let mut follower = match follower {
            Some(follower) => follower,
            None => Follower::at_end(store).await?,
        };
        let incumbent = self.incumbent().info().version.clone();
        let version = candidate.router.info().version.clone();
        let mut errors = Vec::new();
        let mut see = |event: Event<'_>| {
            let Event::Outcome { decision, before, outcome } = event else { return };
            let of_candidate = match decision.rollout {
                Rollout::Canary if decision.artifact_version == version => true,
                Rollout::Incumbent if decision.artifact_version == incumbent => false,
                _ => return,
            };
            let counts = since_us.is_some_and(|since| decision.time_us >= since);
            let said = |report: &decision_log::OutcomeRecord| report.outcome.acceptable(&decision.action);
            // One error for an answer: the first report's.
            if counts && before.iter().all(|report| said(report).is_none()) {
                errors.extend(said(outcome).map(|acceptable| (of_candidate, 1.0 - acceptable)));
            }
        };
        while follower.advance(store, horizon, &mut see).await? {}
        {
            let mut test = candidate.progress.test();
            test.follower = Some(follower);
            errors.into_iter().for_each(|(of_candidate, error)| test.arms.update(of_candidate, error));
        }
        if candidate.verdict().0 == Verdict::Harm
            && self.roll_back("the sequential test found harm").await.is_ok()
        {
            tracing::error!(
                version,
                "the candidate errs more often than the incumbent: it is out of service"
            );
        }
        Ok(())
    }

    fn candidate(&self) -> Result<Arc<Candidate>, StepError> {
        self.deployment.load().candidate.clone().ok_or(StepError::NoCandidate)
    }

    fn change(&self, change: impl FnOnce(Deployment) -> Deployment) {
        let now = Deployment::clone(&self.deployment.load());
        self.deployment.store(Arc::new(change(now)));
    }

    /// Writes a step down: in the log of the process and beside the decisions.
    async fn tell(&self) {
        let standing = self.standing();
        let stage = standing.stage().as_str_name();
        self.write(stage, &standing).await;
    }

    async fn write(&self, stage: &str, standing: &api::v1::Rollout) {
        let api::v1::Rollout { incumbent, candidate, share, reason, .. } = standing;
        tracing::info!(stage, incumbent, candidate, share, reason, "rollout");
        let Some(url) = &self.log_url else { return };
        let step = serde_json::json!({
            "time_us": now_us(), "stage": stage, "incumbent": incumbent, "candidate": candidate,
            "share": share, "reason": reason,
        });
        let written = async {
            let store = open(url).await?;
            let history = store.state(KEY).await?;
            let mut history: Vec<serde_json::Value> =
                history.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
            history.push(step);
            store.keep_state(KEY, &serde_json::Value::Array(history).to_string()).await
        };
        if let Err(error) = written.await {
            tracing::error!(%error, "a step of the rollout was not written to the decision log");
        }
    }

    /// Where the rollout stands.
    pub(crate) fn standing(&self) -> api::v1::Rollout {
        use api::v1::{RolloutStage, RolloutVerdict};
        let deployment = self.deployment.load();
        let incumbent = deployment.incumbent.info().version.clone();
        let Some(candidate) = &deployment.candidate else {
            let (stage, candidate, reason) = match &deployment.ended {
                None => (RolloutStage::None, String::new(), String::new()),
                Some((true, version, reason)) => (RolloutStage::Promoted, version.clone(), reason.clone()),
                Some((false, version, reason)) => (RolloutStage::RolledBack, version.clone(), reason.clone()),
            };
            return api::v1::Rollout {
                stage: stage.into(),
                incumbent,
                candidate,
                reason,
                ..Default::default()
            };
        };
        let (verdict, (lower, upper)) = candidate.verdict();
        let arms = candidate.progress.test().arms;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let stage = if candidate.share > 0.0 { RolloutStage::Canary } else { RolloutStage::Shadow };
        let verdict = match verdict {
            Verdict::Continue => RolloutVerdict::Continue,
            Verdict::Harm => RolloutVerdict::Harm,
            Verdict::Promote => RolloutVerdict::Promote,
        };
        api::v1::Rollout {
            stage: stage.into(),
            incumbent,
            candidate: candidate.router.info().version.clone(),
            share: candidate.share,
            shadowed: read(&candidate.progress.shadowed),
            shadow_differs: read(&candidate.progress.differs),
            incumbent_errors: arms.incumbent.errors,
            incumbent_reports: arms.incumbent.n,
            candidate_errors: arms.candidate.errors,
            candidate_reports: arms.candidate.n,
            difference_lower: lower,
            difference_upper: upper,
            verdict: verdict.into(),
            reason: candidate.reason.clone(),
        }
    }
}

impl Progress {
    fn test(&self) -> MutexGuard<'_, Test> {
        self.test.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Candidate {
    fn verdict(&self) -> (Verdict, (f64, f64)) {
        let arms = self.progress.test().arms;
        (arms.verdict(self.margin), arms.difference())
    }
}
