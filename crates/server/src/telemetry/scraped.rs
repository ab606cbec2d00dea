//! What others count or know already, read whenever somebody asks for the metrics: the encoder, the decision log, the
//! monitors, rollouts, the policy, health. Nothing here is felt by a decision.

use std::sync::Arc;

use api::v1::{Budget, RolloutStage};
use decision_log::DecisionLog;
use monitoring::Monitor;
use opentelemetry::KeyValue;
use router::{Admission, Priority, Standing, TierCounts};

use super::catalogue as of;
use super::instruments::Hear;
use super::{Metrics, Spec};
use crate::access::Access;
use crate::health::{Health, Unready};
use crate::monitors::Monitors;
use crate::program::Programs;
use crate::rollout::Rollouts;

/// Where the numbers are.
pub(crate) struct Sources {
    pub(crate) rollouts: Arc<Rollouts>,
    pub(crate) programs: Arc<Programs>,
    pub(crate) health: Arc<Health>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) access: Arc<Access>,
    pub(crate) log: Option<Arc<DecisionLog>>,
    pub(crate) monitors: Option<Arc<Monitors>>,
}

/// A metric, and how it is read off a snapshot.
type Read<T, V> = (Spec, fn(&T) -> V);

fn flag(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

impl Metrics {
    /// Reads these from now on.
    pub(crate) fn watch(&self, sources: Sources) {
        let Sources { rollouts, programs, health, admission, access, log, monitors } = sources;
        let make = &self.instruments;
        make.read(of::BUILD, |hear| hear(1.0, &[KeyValue::new("version", env!("CARGO_PKG_VERSION"))]));
        self.watch_health(health);
        self.watch_admission(admission);
        self.watch_access(access);
        self.watch_encoder(&rollouts);
        self.watch_rollouts(rollouts);
        self.watch_policy(&programs);
        if let Some(log) = log {
            self.watch_log(log);
        }
        if let Some(monitors) = monitors {
            self.watch_monitors(&monitors);
        }
    }

    fn watch_admission(&self, admission: Arc<Admission>) {
        let make = &self.instruments;
        let read: [Read<Standing, f64>; 4] = [
            (of::ADMISSION_SLOTS, |standing| standing.slots as f64),
            (of::ADMISSION_BUSY, |standing| standing.busy as f64),
            (of::ADMISSION_QUEUE, |standing| standing.queue as f64),
            (of::ADMISSION_SERVICE_TIME, |standing| standing.service_time.as_secs_f64()),
        ];
        for (spec, value) in read {
            let admission = Arc::clone(&admission);
            make.read(spec, move |hear| hear(value(&admission.standing()), &[]));
        }
        let by_priority = |priority: Priority| [KeyValue::new("priority", priority.as_str())];
        let waits = Arc::clone(&admission);
        make.read(of::ADMISSION_WAITING, move |hear| {
            let waiting = waits.standing().waiting;
            for (priority, waiting) in Priority::ALL.into_iter().zip(waiting) {
                hear(waiting as f64, &by_priority(priority));
            }
        });
        make.read(of::ADMITTED, move |hear| {
            let counts = admission.standing().counts;
            for priority in Priority::ALL {
                hear(counts.of_admitted(priority) as f64, &by_priority(priority));
            }
        });
    }

    fn watch_access(&self, access: Arc<Access>) {
        let (make, certificate, open) = (&self.instruments, Arc::clone(&access), Arc::clone(&access));
        make.read(of::CONNECTIONS, move |hear| hear(open.counts.connections_open.get() as f64, &[]));
        make.read(of::ACCESS, move |hear| {
            for (event, count) in access.counts.events() {
                hear(count as f64, &[KeyValue::new("event", event)]);
            }
        });
        make.read(of::CERTIFICATE_EXPIRY, move |hear| {
            if let Some(ends) = certificate.certificate_ends() {
                hear(ends as f64, &[]);
            }
        });
    }

    fn watch_health(&self, health: Arc<Health>) {
        let make = &self.instruments;
        let (ready, window) = (Arc::clone(&health), Arc::clone(&self.window));
        make.read(of::READY, move |hear| hear(flag(ready.is_ready()), &[]));
        make.read(of::UNREADY, move |hear| {
            let reasons = health.reasons();
            for reason in Unready::ALL {
                hear(flag(reasons.contains(&reason)), &[KeyValue::new("reason", reason.as_str())]);
            }
        });
        make.read(of::FALLBACK_SHARE, move |hear| hear(window.share(), &[]));
    }

    /// Of the artifact in charge: another one begins at 0, as a restart does.
    fn watch_encoder(&self, rollouts: &Arc<Rollouts>) {
        let read: [Read<TierCounts, f64>; 6] = [
            (of::ENCODER_BATCHES, |counts| counts.batches as f64),
            (of::ENCODER_QUERIES, |counts| counts.batched_rows as f64),
            (of::ENCODER_SKIPPED, |counts| counts.skipped as f64),
            (of::ENCODER_QUEUE_SECONDS, |counts| counts.queued.as_secs_f64()),
            (of::ENCODER_COMPUTE_SECONDS, |counts| counts.computed.as_secs_f64()),
            (of::ENCODER_LOST, |counts| counts.device_lost as f64),
        ];
        for (spec, value) in read {
            let rollouts = Arc::clone(rollouts);
            self.instruments.read(spec, move |hear| hear(value(&rollouts.incumbent().tier_counts()), &[]));
        }
    }

    fn watch_rollouts(&self, rollouts: Arc<Rollouts>) {
        let make = &self.instruments;
        let (stage, share) = (Arc::clone(&rollouts), Arc::clone(&rollouts));
        let (shadowed, differs) = (Arc::clone(&rollouts), Arc::clone(&rollouts));
        make.read(of::ROLLOUT_STAGE, move |hear| {
            let now = stage.standing().stage();
            for (stage, name) in STAGES {
                hear(flag(stage == now), &[KeyValue::new("stage", name)]);
            }
        });
        make.read(of::ROLLOUT_SHARE, move |hear| hear(share.standing().share, &[]));
        make.read(of::ROLLOUT_SHADOWED, move |hear| hear(shadowed.standing().shadowed as f64, &[]));
        make.read(of::ROLLOUT_DIFFERS, move |hear| hear(differs.standing().shadow_differs as f64, &[]));
        make.read(of::ARTIFACT, move |hear| {
            let candidate = rollouts.contender().map(|candidate| ("candidate", candidate));
            for (role, router) in std::iter::once(("incumbent", rollouts.incumbent())).chain(candidate) {
                let info = router.info();
                hear(
                    1.0,
                    &[
                        KeyValue::new("role", role),
                        KeyValue::new("name", info.name.clone()),
                        KeyValue::new("version", info.version.clone()),
                        KeyValue::new("calibrator_version", info.calibrator_version.clone()),
                    ],
                );
            }
        });
    }

    fn watch_policy(&self, programs: &Arc<Programs>) {
        let make = &self.instruments;
        let (version, refused) = (Arc::clone(programs), Arc::clone(programs));
        make.read(of::POLICY, move |hear| {
            if let Some(policy) = version.to_wire() {
                hear(1.0, &[KeyValue::new("version", policy.version)]);
            }
        });
        make.read(of::POLICY_REFUSED, move |hear| hear(flag(!refused.refused().is_empty()), &[]));
        let read: [Read<Budget, Option<f64>>; 4] = [
            (of::BUDGET_COST, |budget| Some(budget.cost_usd_today)),
            (of::BUDGET_COST_LIMIT, |budget| budget.cost_usd_per_day),
            (of::BUDGET_CALLS, |budget| Some(budget.strong_calls_last_minute as f64)),
            (of::BUDGET_CALLS_LIMIT, |budget| budget.strong_calls_per_minute.map(|calls| calls as f64)),
        ];
        let refusals = Arc::clone(programs);
        make.read(of::BUDGET_REFUSED, move |hear| {
            let Some(budget) = refusals.to_wire().and_then(|policy| policy.budget) else { return };
            for (limit, count) in [
                ("cost_usd_per_day", budget.refused_for_cost),
                ("strong_calls_per_minute", budget.refused_for_strong_calls),
            ] {
                hear(count as f64, &[KeyValue::new("limit", limit)]);
            }
        });
        for (spec, value) in read {
            let programs = Arc::clone(programs);
            make.read(spec, move |hear| {
                let budget = programs.to_wire().and_then(|policy| policy.budget);
                if let Some(value) = budget.as_ref().and_then(value) {
                    hear(value, &[]);
                }
            });
        }
    }

    fn watch_log(&self, log: Arc<DecisionLog>) {
        let make = &self.instruments;
        let (fates, queued, spool) = (Arc::clone(&log), Arc::clone(&log), Arc::clone(&log));
        make.read(of::LOG_RECORDS, move |hear| {
            let counts = fates.counts();
            for (fate, count) in [
                ("accepted", counts.accepted),
                ("stored", counts.stored),
                ("spooled", counts.spooled),
                ("dropped", counts.dropped),
                ("rejected", counts.rejected),
                ("unreadable", counts.unreadable),
            ] {
                hear(count as f64, &[KeyValue::new("fate", fate)]);
            }
        });
        make.read(of::LOG_QUEUED, move |hear| hear(queued.counts().queued as f64, &[]));
        make.read(of::LOG_SPOOL_BYTES, move |hear| hear(spool.counts().spool_bytes as f64, &[]));
        make.read(of::LOG_STORE_UP, move |hear| hear(flag(log.counts().store_up), &[]));
    }

    fn watch_monitors(&self, monitors: &Arc<Monitors>) {
        let make = &self.instruments;
        let read = |spec, tell: fn(&Monitors, Hear<'_>)| {
            let monitors = Arc::clone(monitors);
            make.read(spec, move |hear| tell(&monitors, hear));
        };
        read(of::ALARMS, alarms);
        read(of::MONITOR_STATISTIC, |monitors, hear| {
            each_statistic(monitors, |labels, statistic, _| hear(statistic, labels));
        });
        read(of::MONITOR_LIMIT, |monitors, hear| {
            each_statistic(monitors, |labels, _, limit| {
                if let Some(limit) = limit {
                    hear(limit, labels);
                }
            });
        });
        read(of::MONITOR_LEADS, |monitors, hear| hear(flag(monitors.standing().leads), &[]));
        read(of::MONITOR_BEHIND, |monitors, hear| hear(monitors.standing().behind.as_secs_f64(), &[]));
        read(of::MONITOR_STRONG_RATE, |monitors, hear| {
            for status in &monitors.standing().status {
                hear(status.strong_call_rate, &stream(&status.pair, &status.slice));
            }
        });
        read(of::MONITOR_TARGET_RATE, |monitors, hear| {
            for status in &monitors.standing().status {
                if let Some(target) = status.target {
                    hear(target, &stream(&status.pair, &status.slice));
                }
            }
        });
    }
}

/// Stages of a rollout by the names of their labels.
const STAGES: [(RolloutStage, &str); 5] = [
    (RolloutStage::None, "none"),
    (RolloutStage::Shadow, "shadow"),
    (RolloutStage::Canary, "canary"),
    (RolloutStage::Promoted, "promoted"),
    (RolloutStage::RolledBack, "rolled_back"),
];

/// The monitors have room for few pairs and slices; what is watched is what the operator declared.
fn stream(pair: &str, slice: &str) -> [KeyValue; 2] {
    [KeyValue::new("pair", pair.to_owned()), KeyValue::new("slice", slice.to_owned())]
}

fn each_statistic(monitors: &Monitors, mut hear: impl FnMut(&[KeyValue], f64, Option<f64>)) {
    for status in &monitors.standing().status {
        let [pair, slice] = stream(&status.pair, &status.slice);
        for stands in &status.statistics {
            let monitor = KeyValue::new("monitor", stands.monitor.as_str());
            hear(&[monitor, pair.clone(), slice.clone()], stands.statistic, stands.limit);
        }
    }
}

/// Those of a pair that is watched are there before the first alarm: what appears out of nothing has no rate.
fn alarms(monitors: &Monitors, hear: Hear<'_>) {
    let mut told = monitors.told();
    for status in &monitors.standing().status {
        for monitor in Monitor::ALL {
            told.entry((monitor, status.pair.clone())).or_default();
        }
    }
    for ((monitor, pair), count) in told {
        hear(count as f64, &[KeyValue::new("monitor", monitor.as_str()), KeyValue::new("pair", pair)]);
    }
}
