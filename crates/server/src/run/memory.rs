//! What there is where decisions are logged: the log, the services of outcomes and monitors, the threads behind them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::v1::monitor_service_server::MonitorServiceServer;
use api::v1::outcome_service_server::OutcomeServiceServer;
use decision_log::{DecisionLog, FingerprintKey};
use tokio::sync::oneshot;

use super::ServeError;
use crate::config::Config;
use crate::drain::Drain;
use crate::monitors::{Monitors, MonitorsService, Stop, Watcher};
use crate::outcomes::Outcomes;
use crate::program::Programs;
use crate::record::Recorder;
use crate::rollout::Rollouts;
use crate::telemetry::Metrics;

/// What there is where decisions are logged: the services of outcomes and monitors, and the threads behind them.
pub(super) struct Memory {
    pub(super) outcomes: OutcomeServiceServer<Outcomes>,
    pub(super) monitors: MonitorServiceServer<MonitorsService>,
    pub(super) watched_by: Arc<Monitors>,
    pub(super) log: Arc<DecisionLog>,
    stop: Arc<Stop>,
    /// Hears that the monitors have ended.
    watched: oneshot::Receiver<()>,
}

impl Memory {
    /// Starts them where decisions are logged.
    pub(super) fn start(
        recorder: Option<&Recorder>,
        config: &Config,
        rollouts: &Arc<Rollouts>,
        programs: &Arc<Programs>,
        drain: &Drain,
        metrics: Arc<Metrics>,
    ) -> Result<Option<Self>, ServeError> {
        let Some((recorder, log_config)) = recorder.zip(config.decision_log.as_ref()) else {
            return Ok(None);
        };
        let (log, horizon) = (Arc::clone(&recorder.log), log_config.horizon);
        let (max_batch, programs) = (config.max_batch, Arc::clone(programs));
        let outcomes =
            Outcomes { log: Arc::clone(&log), horizon, max_batch, programs, drain: drain.clone(), metrics };
        let (monitors, stop) = (Arc::new(Monitors::new(Arc::clone(&log))), Arc::new(Stop::default()));
        let mut monitoring = config.monitoring.clone();
        let high_stakes = rollouts.info().high_stakes.clone();
        monitoring.watch.slices.extend(high_stakes);
        monitoring.watch.slices.sort();
        monitoring.watch.slices.dedup();
        let watcher = Watcher {
            url: log_config.options.url.clone(),
            config: monitoring,
            horizon,
            monitors: Arc::clone(&monitors),
            rollouts: Arc::clone(rollouts),
            stop: Arc::clone(&stop),
        };
        let watched = watcher.start().map_err(decision_log::Refusal::Thread)?;
        Ok(Some(Self {
            outcomes: OutcomeServiceServer::new(outcomes).max_decoding_message_size(config.max_request_bytes),
            monitors: MonitorServiceServer::new(MonitorsService {
                monitors: Arc::clone(&monitors),
                drain: drain.clone(),
            }),
            watched_by: monitors,
            log,
            stop,
            watched,
        }))
    }

    /// Writes the log out, then lets the monitors look at it a last time.
    pub(super) async fn close(self, patience: Duration) {
        let counts = self.log.close(patience).await;
        tracing::info!(
            stored = counts.stored,
            spooled = counts.spooled,
            dropped = counts.dropped,
            "decision log closed"
        );
        self.stop.now();
        if tokio::time::timeout(patience, self.watched).await.is_err() {
            tracing::warn!("the monitors did not end in time");
        }
    }
}

/// Opens the decision log, where there is one; this server is named after its machine and address.
pub(super) fn recorder(config: &Config, address: Option<SocketAddr>) -> Result<Option<Recorder>, ServeError> {
    let Some(config) = &config.decision_log else { return Ok(None) };
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let address = address.map_or_else(|| "in process".to_owned(), |address| address.to_string());
    let log = DecisionLog::open(config.options.clone())?;
    let key = match &config.key_file {
        Some(file) => FingerprintKey::read(file)?,
        None => FingerprintKey::read_or_make(&config.options.spool.join("fingerprint.key"))?,
    };
    let replica = format!("{}/{address}", host.trim()).into();
    Ok(Some(Recorder { log: Arc::new(log), key, replica, prompts: config.prompts }))
}
