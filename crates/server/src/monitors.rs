//! The monitors at work: one thread follows the decision log, feeds what is new to the watch, keeps its state in the store
//! and tells alarms. Of several replicas one does so; the others show what it keeps.

mod service;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use decision_log::{DecisionLog, DecisionRecord, Event, Follower, Store, StoreError, open, see};
use monitoring::{Monitor, Raised, Status, Watch, WatchOptions};
use outbound::{JsonPost, Patience};
use router::ArtifactInfo;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, broadcast, oneshot};

use crate::config::MonitoringConfig;
use crate::record::now_us;
use crate::rollout::Rollouts;

pub(crate) use service::MonitorsService;

/// Where the state is kept.
const KEY: &str = "watch";

/// The newest layout of what is kept.
const VERSION: u16 = 1;

/// Alarms that are kept.
const RECENT: usize = 256;

/// How often the state is kept while no alarm is raised.
const KEEP_EVERY: Duration = Duration::from_secs(10);

/// Rest after a page of the log, as a multiple of the time that it took: those that decide have the processor meanwhile.
/// Who falls behind rests as well; it would take the processor just when those that decide are short of it. How far
/// behind it is, is told.
const REST: u32 = 2;

/// Niceness of the thread and of its database's, of the system's -20 to 19: a third of the weight of those that answer.
const NICE: i32 = 5;

/// How long somebody who takes alarms may be behind.
const BEHIND: usize = 1_024;

/// Where the monitors stand, for whoever asks.
#[derive(Debug)]
pub(crate) struct Monitors {
    standing: Mutex<Standing>,
    alarms: broadcast::Sender<Raised>,
    /// Alarms that were passed on since the start, by monitor and pair.
    told: Mutex<BTreeMap<(Monitor, String), u64>>,
    pub(crate) log: Arc<DecisionLog>,
}

/// A moment of the monitors.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    pub(crate) status: Vec<Status>,
    pub(crate) recent: VecDeque<Raised>,
    pub(crate) by_monitor: BTreeMap<Monitor, u64>,
    pub(crate) alarms: u64,
    pub(crate) unwatched: u64,
    pub(crate) leads: bool,
    /// Age of the newest decision that this replica has seen while there are newer ones in the log; nothing otherwise.
    pub(crate) behind: Duration,
}

impl Monitors {
    pub(crate) fn new(log: Arc<DecisionLog>) -> Self {
        Self {
            standing: Mutex::default(),
            alarms: broadcast::Sender::new(BEHIND),
            told: Mutex::default(),
            log,
        }
    }

    pub(crate) fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many alarms were passed on since the start, by monitor and pair.
    pub(crate) fn told(&self) -> BTreeMap<(Monitor, String), u64> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Passes an alarm on to whoever listens; nobody may.
    fn pass_on(&self, alarm: Raised) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        *told.entry((alarm.monitor, alarm.pair.clone())).or_default() += 1;
        drop(told);
        let _ = self.alarms.send(alarm);
    }

    fn show(&self, kept: &Kept, leads: bool, behind: Duration) {
        let standing = Standing {
            status: kept.watch.status(),
            recent: kept.recent.clone(),
            by_monitor: kept.by_monitor.clone(),
            alarms: kept.watch.alarms(),
            unwatched: kept.watch.unwatched(),
            leads,
            behind,
        };
        *self.standing() = standing;
    }
}

/// What survives a restart: the watch, how far it has followed the log, and the last alarms.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    version: u16,
    follower: Follower,
    watch: Watch,
    recent: VecDeque<Raised>,
    by_monitor: BTreeMap<Monitor, u64>,
}

impl Kept {
    fn new(follower: Follower, options: WatchOptions) -> Self {
        let (recent, by_monitor) = (VecDeque::new(), BTreeMap::new());
        Self { version: VERSION, follower, watch: Watch::new(options), recent, by_monitor }
    }
}

/// What operating points aim at, by name and pair.
type Targets = HashMap<(String, String), f64>;

/// The thread that watches.
pub(crate) struct Watcher {
    pub(crate) url: String,
    pub(crate) config: MonitoringConfig,
    pub(crate) horizon: Duration,
    pub(crate) monitors: Arc<Monitors>,
    pub(crate) rollouts: Arc<Rollouts>,
    /// Hears that it is over.
    pub(crate) stop: Arc<Stop>,
}

/// Says that it is over.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    over: AtomicBool,
    wake: Notify,
}

impl Stop {
    pub(crate) fn now(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

impl Watcher {
    /// Starts the thread; what is given back hears its end.
    pub(crate) fn start(self) -> std::io::Result<oneshot::Receiver<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (ended, end) = oneshot::channel();
        let work = move || {
            // Those that answer go first; where it may not be, it follows all the same.
            let _ = rustix::process::nice(NICE);
            runtime.block_on(self.run());
            let _ = ended.send(());
        };
        std::thread::Builder::new().name("monitors".to_owned()).spawn(work)?;
        Ok(end)
    }

    async fn run(self) {
        let webhook = self.config.webhook.clone();
        let webhook = webhook.map(|url| {
            let patience = Patience {
                connect: Duration::from_secs(5),
                stall: Duration::from_secs(5),
                ..Patience::default()
            };
            JsonPost::to(url, None, patience)
        });
        let (mut store, mut kept, mut at_rest) = (None, None, Instant::now());
        while !self.stop.is_over() {
            let looked = self.look(&mut store, &mut kept, &mut at_rest, webhook.as_ref()).await;
            if let Err(error) = looked {
                tracing::warn!(%error, "the monitors cannot follow the decision log");
                // What was seen since the state was kept is seen again.
                (store, kept) = (None, None);
            }
            tokio::select! {
                () = tokio::time::sleep(self.config.every) => {}
                () = self.stop.wake.notified() => {}
            }
        }
        // A last look, so that the state is that of the log as it was closed.
        let looked = self.look(&mut store, &mut kept, &mut at_rest, webhook.as_ref()).await;
        if let (Ok(()), Some(store), Some(kept)) = (looked, &store, &kept)
            && let Err(error) = keep(store.as_ref(), kept).await
        {
            tracing::warn!(%error, "the state of the monitors was not kept");
        }
    }

    /// Follows the log to its end as it is now.
    async fn look(
        &self,
        store: &mut Option<Box<dyn Store>>,
        kept: &mut Option<Kept>,
        at_rest: &mut Instant,
        webhook: Option<&JsonPost>,
    ) -> Result<(), StoreError> {
        let store = match store {
            Some(store) => store,
            None => store.insert(open(&self.url).await?),
        };
        let store = store.as_ref();
        self.rollouts.advance(store, self.horizon).await?;
        if !store.leads().await? {
            *kept = None;
            return self.show_others(store).await;
        }
        let kept = match kept {
            Some(kept) => kept,
            None => kept.insert(self.begin(store).await?),
        };
        let targets = self.targets();
        let target = |decision: &DecisionRecord, pair: &str| {
            targets.get(&(decision.threshold_source.clone(), pair.to_owned())).copied()
        };
        let mut newest_us = None;
        loop {
            let page = Instant::now();
            let mut raised = Vec::new();
            let Kept { watch, follower, .. } = kept;
            let mut see = |event: Event<'_>| {
                if let Event::Decision(decision) = event {
                    newest_us = Some(decision.time_us);
                }
                match see(watch, &event, &target) {
                    Ok(found) => raised.extend(found),
                    Err(error) => tracing::error!(%error, "a window cannot be compared"),
                }
            };
            let more = follower.advance(store, self.horizon, &mut see).await?;
            if !raised.is_empty() {
                for alarm in &raised {
                    *kept.by_monitor.entry(alarm.monitor).or_default() += 1;
                }
                kept.recent.extend(raised.iter().cloned());
                let old = kept.recent.len().saturating_sub(RECENT);
                kept.recent.drain(..old);
            }
            if !raised.is_empty() || at_rest.elapsed() >= KEEP_EVERY {
                // Kept before it is told: an alarm is told once, whatever happens next.
                keep(store, kept).await?;
                *at_rest = Instant::now();
            }
            let behind_us = newest_us.filter(|_| more).map_or(0, |newest| now_us().saturating_sub(newest));
            self.monitors.show(kept, true, Duration::from_micros(behind_us.max(0).unsigned_abs()));
            for alarm in raised {
                self.tell(alarm, webhook);
            }
            if !more {
                return Ok(());
            }
            if !self.stop.is_over() {
                tokio::time::sleep(REST * page.elapsed()).await;
            }
        }
    }

    /// What was kept, or a watch that begins with what the log holds.
    async fn begin(&self, store: &dyn Store) -> Result<Kept, StoreError> {
        let fresh = |follower| Kept::new(follower, self.config.watch.clone());
        let Some(text) = store.state(KEY).await? else { return Ok(fresh(Follower::default())) };
        match serde_json::from_str::<Kept>(&text) {
            Ok(kept) if kept.version == VERSION && *kept.watch.options() == self.config.watch => Ok(kept),
            Ok(kept) => {
                tracing::warn!("the monitors were configured anew: they begin again where they stopped");
                Ok(fresh(kept.follower))
            }
            Err(error) => {
                tracing::error!(%error, "the state of the monitors cannot be read: they begin again at the end of the log");
                Ok(fresh(Follower::at_end(store).await?))
            }
        }
    }

    /// Shows what the replica that watches has kept, and passes its alarms on.
    async fn show_others(&self, store: &dyn Store) -> Result<(), StoreError> {
        let Some(text) = store.state(KEY).await? else { return Ok(()) };
        let Ok(kept) = serde_json::from_str::<Kept>(&text) else { return Ok(()) };
        let before = self.monitors.standing().alarms;
        self.monitors.show(&kept, false, Duration::ZERO);
        let new = usize::try_from(kept.watch.alarms().saturating_sub(before)).unwrap_or(usize::MAX);
        let old = kept.recent.len().saturating_sub(new);
        for alarm in kept.recent.into_iter().skip(old) {
            self.monitors.pass_on(alarm);
        }
        Ok(())
    }

    fn targets(&self) -> Targets {
        let info: Arc<ArtifactInfo> = self.rollouts.info();
        let of = |point: &router::PointInfo| {
            Some((
                (format!("operating_point:{}", point.name), point.pair.to_string()),
                point.strong_call_rate?,
            ))
        };
        info.operating_points.iter().filter_map(of).collect()
    }

    fn tell(&self, alarm: Raised, webhook: Option<&JsonPost>) {
        tracing::error!(
            monitor = alarm.monitor.as_str(),
            pair = alarm.pair,
            slice = alarm.slice,
            time_us = alarm.time_us,
            since_us = alarm.since_us,
            statistic = alarm.statistic,
            limit = alarm.limit,
            evidence = alarm.evidence,
            action = alarm.action,
            "alarm"
        );
        if let Some(webhook) = webhook.cloned() {
            let body = serde_json::json!({"alarm": &alarm});
            tokio::task::spawn_blocking(move || {
                if let Err(error) = webhook.post(&body) {
                    tracing::error!(%error, "an alarm could not be posted");
                }
            });
        }
        self.monitors.pass_on(alarm);
    }
}

async fn keep(store: &dyn Store, kept: &Kept) -> Result<(), StoreError> {
    match serde_json::to_string(kept) {
        Ok(text) => store.keep_state(KEY, &text).await,
        Err(error) => {
            tracing::error!(%error, "the state of the monitors cannot be written");
            Ok(())
        }
    }
}
