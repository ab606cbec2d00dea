//! One query on its way through the policy: what it is about where that matters, what is run, what when that fails or
//! may not be paid for.
//!
//! A path is a function of facts and of what happened to the query; it is walked again where it is needed instead of
//! being kept while the encoder is waited for.

use std::sync::Arc;

use api::v1;
use decision_log::PolicyRecord;
use router::{Ask, Begun, Given, Router};
use semantic::MatchReason;
use strategy::{Admitted, At, Call, Facts, Intent, Leaf, Path, Plan, Spent, StepKind};
use tokio::time::Instant;
use types::{Decision, Ladder, ModelName, ModelPair, Query, Reason, Tier};
use uuid::Uuid;

use super::{Governing, Version, unsigned};
use crate::cascade::{Beginning, Chains};
use crate::convert::{Asked, Source};
use crate::intents::{About, Intents};
use crate::record::now_us;
use crate::status::RequestError;

/// A query under way.
#[derive(Debug)]
pub(crate) struct Walk {
    governing: Arc<Governing>,
    chains: Option<Arc<Chains>>,
    slices: Vec<String>,
    now_us: u64,
    told: Told,
    events: Vec<Event>,
    cascade: Option<v1::RouteCascade>,
    /// What the budget has paid for.
    admitted: Option<Admitted>,
    /// The limit that a strong call would have exceeded.
    limit: Option<Spent>,
}

/// What is known of the query's intent.
#[derive(Debug)]
pub(crate) enum Told {
    /// Nothing depends on it.
    Unasked,
    /// What the catalogue says.
    About(About),
    /// It cannot be told, for this reason.
    Unavailable(String),
}

/// What happened on the way, in order.
#[derive(Debug)]
enum Event {
    /// What was to run has failed.
    Failed(String),
    /// A limit of the budget would have been exceeded.
    Spent(Spent),
}

/// Whether the budget pays for a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paid {
    /// It does.
    Yes,
    /// It does not, and the way goes on elsewhere.
    Elsewhere,
}

impl Told {
    fn of(intents: Option<&Intents>, query: &Query) -> Self {
        match intents.map(|intents| intents.about(query)) {
            None => Self::Unavailable("there is no catalogue".to_owned()),
            Some(Err(error)) => Self::Unavailable(error.to_string()),
            Some(Ok(about)) => Self::About(about),
        }
    }

    /// What was recognised.
    fn recognised(&self) -> Option<&About> {
        match self {
            Self::About(about) if about.reason == MatchReason::Matched => Some(about),
            Self::About(_) | Self::Unasked | Self::Unavailable(_) => None,
        }
    }

    fn intent(&self) -> Intent<'_> {
        match self {
            Self::Unasked => Intent::Unasked,
            Self::Unavailable(reason) => Intent::Unavailable(reason),
            Self::About(_) => self.recognised().map_or(Intent::BelowFloor, |about| Intent::Matched {
                name: &about.best,
                probability: about.probability,
                model: about.model.as_ref(),
            }),
        }
    }
}

impl Walk {
    /// Sets out, where there is a policy; its intent is asked for where something depends on it.
    pub(crate) fn new(version: &Version, query: &Query, slices: Vec<String>) -> Option<Self> {
        let governing = Arc::clone(version.governing.as_ref()?);
        let now_us = unsigned(now_us());
        let mut walk = Self {
            governing,
            chains: version.chains.clone(),
            slices,
            now_us,
            told: Told::Unasked,
            events: Vec::new(),
            cascade: None,
            admitted: None,
            limit: None,
        };
        if walk.path().is_none() {
            walk.told = Told::of(version.intents.as_deref(), query);
        }
        Some(walk)
    }

    /// What the catalogue says of the query, where it was asked.
    pub(crate) fn told(&self) -> &Told {
        &self.told
    }

    /// The way so far; none before the intent is told that it depends on.
    pub(crate) fn path(&self) -> Option<Path<'_>> {
        let facts = Facts { slices: &self.slices, now_us: self.now_us, intent: self.told.intent() };
        let Plan::Ready(mut path) = self.governing.program.plan(&facts) else { return None };
        for event in &self.events {
            // Each was taken note of because the path went on.
            let _ = match event {
                Event::Failed(failure) => path.fall_back(failure.as_str()),
                Event::Spent(spent) => path.divert(*spent),
            };
        }
        Some(path)
    }

    /// Takes note of what happened if the path goes on after it.
    fn goes_on(&mut self, event: Event) -> bool {
        let on = self.path().is_some_and(|mut path| match &event {
            Event::Failed(failure) => path.fall_back(failure.clone()),
            Event::Spent(spent) => path.divert(*spent),
        });
        if on {
            self.events.push(event);
        }
        on
    }

    /// Begins what the path leads to, or what it falls back to, and puts into `asked` what was compared in the end.
    /// `lenient`: whether it falls back at all.
    pub(crate) fn begin(
        &mut self,
        router: &Router,
        asked: &mut Asked,
        key: &str,
        deadline: Option<Instant>,
        lenient: bool,
    ) -> Result<Begun, RequestError> {
        loop {
            let Some(path) = self.path() else {
                return Err(RequestError::Policy("the intent cannot be told".to_owned()));
            };
            let strategy = path.strategy();
            let chains = self.chains.as_deref();
            let failure = match run(path.leaf(), chains, router, asked, key, deadline) {
                Ok((begun, cascade)) => {
                    self.cascade = cascade;
                    return Ok(begun);
                }
                Err(failure) => failure,
            };
            let refusal = format!("{} failed: {failure}", strategy.unwrap_or("an override"));
            tracing::warn!(failure = refusal, "policy");
            if !lenient || !self.goes_on(Event::Failed(failure)) {
                return Err(RequestError::Policy(refusal));
            }
        }
    }

    /// Asks the budget for a decision, or counts one that it has no say in. `top`: the dearest model it was taken from.
    pub(crate) fn pay(&mut self, decision: &Decision, top: &ModelName) -> Result<Paid, RequestError> {
        let governing = Arc::clone(&self.governing);
        let Some(mut purse) = governing.purse() else { return Ok(Paid::Yes) };
        // What high stakes send to strong is counted and never diverted: a budget is no reason for a cheap answer there.
        let bound = decision.reason == Reason::HighStakes;
        let asks = !bound && self.path().is_some_and(|path| path.asks_budget());
        let call = |is_strong, model: &ModelName| Call {
            is_strong,
            expected_cost_usd: governing.costs_usd.get(model).copied().unwrap_or(0.0),
        };
        let (now_us, strong) = (unsigned(now_us()), decision.tier == Tier::Strong);
        let (own, dearest) = (call(strong, &decision.model), call(true, top));
        if !asks {
            let spent = purse.spent(now_us, own);
            self.admitted = Some(purse.count(now_us, own));
            drop(purse);
            if let Some(spent) = spent {
                self.limit = Some(spent);
                if !bound {
                    self.goes_on(Event::Spent(spent));
                }
            }
            return Ok(Paid::Yes);
        }
        self.limit = purse.spent(now_us, dearest).or(self.limit);
        let spent = match purse.admit(now_us, own) {
            Ok(admitted) => {
                self.admitted = Some(admitted);
                return Ok(Paid::Yes);
            }
            Err(spent) => spent,
        };
        drop(purse);
        self.limit = Some(spent);
        if self.goes_on(Event::Spent(spent)) || self.goes_on(Event::Failed(format!("refused: {spent}"))) {
            return Ok(Paid::Elsewhere);
        }
        Err(RequestError::Budget(spent))
    }

    /// Lets the budget know whose call it paid for, so that it can be told what that did cost.
    pub(crate) fn remember(&mut self, decision_id: Uuid) {
        let costs = self.governing.program.budget().is_some_and(|budget| budget.cost_usd_per_day.is_some());
        if let Some(admitted) = self.admitted.take().filter(|_| costs)
            && let Some(mut purse) = self.governing.purse()
        {
            purse.remember(decision_id, admitted);
        }
    }

    /// Puts the way into the answer.
    pub(crate) fn tell(&self, answer: &mut v1::RouteResponse) {
        let Some(path) = self.path() else { return };
        let steps = path.steps().iter().map(|step| v1::PathStep {
            kind: step.kind.as_str().to_owned(),
            name: step.name.to_owned(),
            reason: step.reason.to_string(),
            line: step.line,
        });
        answer.path = steps.collect();
        answer.strategy = path.strategy().unwrap_or_default().to_owned();
        if let Some(about) = self.told.recognised() {
            (answer.intent, answer.intent_probability) = (about.best.clone(), about.probability);
        }
        answer.fallback = fell_back(&path);
        answer.cascade.clone_from(&self.cascade);
    }

    /// The way as it is written down.
    pub(crate) fn record(&self) -> PolicyRecord {
        let (path, intent) = (self.path(), self.told.recognised());
        PolicyRecord {
            version: self.governing.version.clone(),
            strategy: path.as_ref().and_then(Path::strategy).map(str::to_owned),
            intent: intent.map(|about| about.best.clone()),
            intent_probability: intent.map(|about| about.probability),
            fallback: path.as_ref().is_some_and(fell_back),
            spent: self.limit.map(|spent| spent.as_str().to_owned()),
            cascade: self.cascade.as_ref().map(|cascade| cascade.name.clone()),
        }
    }
}

fn fell_back(path: &Path<'_>) -> bool {
    path.steps().iter().any(|step| step.kind == StepKind::Fallback)
}

/// Begins a leaf; what fails is said in words.
fn run(
    leaf: Leaf<'_>,
    chains: Option<&Chains>,
    router: &Router,
    asked: &mut Asked,
    key: &str,
    deadline: Option<Instant>,
) -> Result<(Begun, Option<v1::RouteCascade>), String> {
    let default_pair = &router.info().default_pair;
    match leaf {
        Leaf::Predictive { ladder, at } => {
            asked.ladder = ladder.cloned().unwrap_or_else(|| default_pair.clone().into());
            asked.source = match at {
                At::Threshold(threshold) => Source::Policy(threshold),
                At::OperatingPoint(name) => Source::OperatingPoint(name.to_owned()),
            };
            let begun = router.begin(&asked.ask(key), deadline).map_err(|error| error.to_string())?;
            Ok((begun, None))
        }
        Leaf::Model(model) => Ok((given(model, Reason::ByPolicy, router, asked), None)),
        Leaf::Tier(tier) => Ok((given(default_pair.model(tier), Reason::ByPolicy, router, asked), None)),
        Leaf::Cascade { name, predictive_shortcut } => {
            let chains = chains.ok_or("no verifier is configured")?;
            let at_last = predictive_shortcut && in_vain(chains, name, router, asked, key)?;
            let Beginning { model, token, expires_ms } = chains.begin(name, &asked.query, at_last)?;
            let token_expires_ms = i64::try_from(expires_ms).unwrap_or(i64::MAX);
            let cascade = v1::RouteCascade { name: name.to_owned(), token, token_expires_ms };
            Ok((given(model, Reason::Cascade, router, asked), Some(cascade)))
        }
    }
}

/// Whether everything before the last stage of a cascade may be skipped: the fast tier sends the query to the last
/// model rather than to the first, at the default operating point of these two.
fn in_vain(chains: &Chains, name: &str, router: &Router, asked: &Asked, key: &str) -> Result<bool, String> {
    let Some((weak, strong)) = chains.ends(name) else { return Ok(false) };
    let pair = ModelPair::new(strong, weak).map_err(|error| error.to_string())?;
    let (ladder, source) = (Ladder::from(pair), Source::default());
    let ask = Ask { slices: &asked.slices, key, ..Ask::new(&asked.query, &ladder, source.at()) };
    let routed = router.route(&ask).map_err(|error| error.to_string())?;
    Ok(routed.decision.policy_model == *ladder.top())
}

/// The decision for a model that is given, with what is known of it.
fn given(model: &ModelName, reason: Reason, router: &Router, asked: &mut Asked) -> Begun {
    let routed = router.given(&Given { query: &asked.query, slices: &asked.slices, model, reason });
    if let Some(pair) = router.pair_of(model) {
        asked.ladder = pair.clone().into();
    }
    asked.source = Source::Given(routed.decision.threshold);
    Begun::Decided(routed)
}
