//! Whether this server says that it is ready: over `grpc.health.v1`, by service, and on `/readyz`. It is after its warm-up,
//! until it drains, and not while more of the last decisions than the operator allows were made by another way than the rule's.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use decision_log::DecisionLog;
use tokio::task::JoinHandle;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthService, HealthServer};
use tonic_health::server::HealthReporter;

/// The window is looked at in so many parts.
const PARTS: usize = 10;

/// Below this share of the limit a server that was unready is ready again.
const CALM: f64 = 0.8;

/// When a share of fallback is too much.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct FallbackLimit {
    /// The share, in (0, 1].
    pub(crate) share: f64,
    /// Decisions of a window below which it says nothing.
    pub(crate) least: u64,
}

/// The decisions of the last while, and how many of them were fallback or degraded.
#[derive(Debug)]
pub(crate) struct Window {
    parts: [Part; PARTS],
    /// Where decisions are counted now.
    now: AtomicUsize,
    length: Duration,
}

#[derive(Debug, Default)]
struct Part {
    all: AtomicU64,
    poor: AtomicU64,
}

impl Window {
    pub(crate) fn new(length: Duration) -> Self {
        Self { parts: std::array::from_fn(|_| Part::default()), now: AtomicUsize::new(0), length }
    }

    /// A decision was made, poorly or not.
    pub(crate) fn saw(&self, poor: bool) {
        let part = &self.parts[self.now.load(Ordering::Relaxed) % PARTS];
        part.all.fetch_add(1, Ordering::Relaxed);
        if poor {
            part.poor.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Decisions, and the poor ones among them.
    fn sums(&self) -> (u64, u64) {
        let sum =
            |of: fn(&Part) -> &AtomicU64| self.parts.iter().map(|p| of(p).load(Ordering::Relaxed)).sum();
        (sum(|part| &part.all), sum(|part| &part.poor))
    }

    /// The share of poor ones; 0 where there were none.
    pub(crate) fn share(&self) -> f64 {
        let (all, poor) = self.sums();
        // Read one after the other: there may seem to be more poor ones than decisions.
        if all == 0 { 0.0 } else { (poor as f64 / all as f64).min(1.0) }
    }

    /// Forgets the oldest part and counts there from now on.
    fn advance(&self) {
        let next = (self.now.load(Ordering::Relaxed) + 1) % PARTS;
        self.parts[next].all.store(0, Ordering::Relaxed);
        self.parts[next].poor.store(0, Ordering::Relaxed);
        self.now.store(next, Ordering::Relaxed);
    }

    /// Whether the share is too much, given whether it was.
    fn is_over(&self, limit: FallbackLimit, was: bool) -> bool {
        let bar = if was { CALM * limit.share } else { limit.share };
        self.sums().0 >= limit.least && self.share() >= bar
    }
}

/// A reason not to be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unready {
    /// The warm-up is not over.
    Starting,
    /// Work in flight is finished, nothing new is taken.
    Draining,
    /// Too many of the last decisions were fallback or degraded.
    Fallback,
    /// Decisions are not logged.
    Log,
}

impl Unready {
    pub(crate) const ALL: [Self; 4] = [Self::Starting, Self::Draining, Self::Fallback, Self::Log];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Draining => "draining",
            Self::Fallback => "fallback",
            Self::Log => "log",
        }
    }
}

/// What is told of this server's health.
#[derive(Debug)]
pub(crate) struct Health {
    reporter: HealthReporter,
    /// The services whose health is told, and all of them together under the empty name.
    services: Vec<&'static str>,
    reasons: Mutex<Vec<Unready>>,
}

impl Health {
    /// Not ready yet; with the service that tells it.
    pub(crate) async fn new(services: Vec<&'static str>) -> (Arc<Self>, HealthServer<impl HealthService>) {
        let (reporter, service) = tonic_health::server::health_reporter();
        let services = services.into_iter().chain([""]).collect();
        let health = Self { reporter, services, reasons: Mutex::new(vec![Unready::Starting]) };
        health.report(false).await;
        (Arc::new(health), service)
    }

    /// Why this server is not ready; empty where it is.
    pub(crate) fn reasons(&self) -> Vec<Unready> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.reasons().is_empty()
    }

    /// A reason came or went; what follows from it is said in the log of the process and to whoever watches.
    pub(crate) async fn set(&self, reason: Unready, holds: bool) {
        let (before, now) = {
            let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
            let before = reasons.clone();
            reasons.retain(|known| *known != reason);
            if holds {
                reasons.push(reason);
            }
            (before, reasons.clone())
        };
        if before == now {
            return;
        }
        let names: Vec<&str> = now.iter().map(|reason| reason.as_str()).collect();
        match (holds, now.is_empty()) {
            (true, _) => tracing::warn!(reason = reason.as_str(), ?names, "not ready"),
            (false, true) => tracing::info!("ready"),
            (false, false) => tracing::info!(?names, "still not ready"),
        }
        if before.is_empty() != now.is_empty() {
            self.report(now.is_empty()).await;
        }
    }

    /// Tells nothing any more: streams that watch end.
    pub(crate) async fn forget(&self) {
        let mut reporter = self.reporter.clone();
        for service in &self.services {
            reporter.clear_service_status(service).await;
        }
    }

    async fn report(&self, ready: bool) {
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in &self.services {
            self.reporter.set_service_status(service, status).await;
        }
    }

    /// Moves the window on, and holds it and the log against what is allowed, until the task is aborted. `log`: where one
    /// that drops decisions is a reason not to be ready.
    pub(crate) fn watch(
        self: &Arc<Self>,
        window: Arc<Window>,
        limit: Option<FallbackLimit>,
        log: Option<Arc<DecisionLog>>,
    ) -> JoinHandle<()> {
        let health = Arc::clone(self);
        tokio::spawn(async move {
            let (mut over, mut dropped) = (false, log.as_ref().map_or(0, |log| log.counts().dropped));
            // Parts of the window in which the log lost nothing.
            let mut kept = PARTS;
            let mut every = tokio::time::interval(window.length / PARTS as u32);
            every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                every.tick().await;
                if let Some(limit) = limit {
                    over = window.is_over(limit, over);
                    health.set(Unready::Fallback, over).await;
                }
                if let Some(log) = &log {
                    let now = log.counts().dropped;
                    kept = if now > dropped { 0 } else { kept.saturating_add(1) };
                    dropped = now;
                    health.set(Unready::Log, kept < PARTS).await;
                }
                window.advance();
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(window: &Window, all: u64, poor: u64) {
        (0..all).for_each(|n| window.saw(n < poor));
    }

    #[test]
    fn a_share_has_to_fall_well_below_the_limit_that_it_reached() {
        let limit = FallbackLimit { share: 0.5, least: 10 };
        let window = Window::new(Duration::from_secs(1));
        fill(&window, 9, 9);
        assert!(!window.is_over(limit, false), "nine decisions say nothing");
        fill(&window, 1, 0);
        assert!(window.is_over(limit, false) && window.share() == 0.9);
        fill(&window, 10, 0);
        // 9 of 20: below the limit, but not by enough for one who was over it.
        assert!(!window.is_over(limit, false) && window.is_over(limit, true));
        fill(&window, 10, 0);
        assert!(!window.is_over(limit, true));
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let window = Window::new(Duration::from_secs(1));
        fill(&window, 4, 2);
        (0..PARTS - 1).for_each(|_| window.advance());
        assert_eq!(window.sums(), (4, 2));
        window.advance();
        assert_eq!((window.sums(), window.share()), ((0, 0), 0.0));
    }

    #[tokio::test]
    async fn it_is_ready_when_no_reason_is_left() {
        let (health, _service) = Health::new(vec!["a"]).await;
        assert_eq!(health.reasons(), [Unready::Starting]);
        health.set(Unready::Fallback, true).await;
        health.set(Unready::Starting, false).await;
        assert!(!health.is_ready());
        health.set(Unready::Fallback, false).await;
        assert!(health.is_ready());
    }
}
