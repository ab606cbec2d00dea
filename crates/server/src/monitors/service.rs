//! The service that says where the monitors stand, and tells alarms as they are raised.

use std::pin::Pin;
use std::sync::Arc;

use api::v1;
use api::v1::monitor_service_server::MonitorService;
use monitoring::{Bucket, Raised, Status};
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status as Refusal};

use super::Monitors;
use crate::drain::Drain;

/// Answers `rung.v1.MonitorService`.
#[derive(Debug, Clone)]
pub(crate) struct MonitorsService {
    pub(crate) monitors: Arc<Monitors>,
    pub(crate) drain: Drain,
}

fn alarm(raised: &Raised) -> v1::Alarm {
    v1::Alarm {
        monitor: raised.monitor.as_str().to_owned(),
        pair: raised.pair.clone(),
        slice: raised.slice.clone(),
        time_us: raised.time_us,
        since_us: raised.since_us,
        statistic: raised.statistic,
        limit: raised.limit,
        evidence: raised.evidence.clone(),
        action: raised.action.clone(),
    }
}

fn bucket(bucket: &Bucket) -> v1::Bucket {
    v1::Bucket {
        from: bucket.probability.0,
        to: bucket.probability.1,
        labels: bucket.labels,
        said: bucket.said,
        found: bucket.found,
        found_lower: bucket.interval.0,
        found_upper: bucket.interval.1,
        off: bucket.is_off(),
    }
}

fn status(status: &Status) -> v1::MonitorStatus {
    v1::MonitorStatus {
        pair: status.pair.clone(),
        slice: status.slice.clone(),
        decisions: status.decisions,
        labels: status.labels,
        strong_call_rate: status.strong_call_rate,
        target_strong_call_rate: status.target,
        fallback_rate: status.fallback_rate,
        win_probability_quantiles: status.win_probability_quantiles.clone(),
        decision_time_us_quantiles: status.decision_time_us_quantiles.clone(),
        buckets: status.buckets.iter().map(bucket).collect(),
        calibration_statistic: status.calibration_statistic,
        calibration_limit: status.calibration_limit,
        log_e_value: status.log_e_value,
        reference_complete: status.reference_complete,
    }
}

#[tonic::async_trait]
impl MonitorService for MonitorsService {
    async fn get_monitors(
        &self,
        _: Request<v1::GetMonitorsRequest>,
    ) -> Result<Response<v1::GetMonitorsResponse>, Refusal> {
        let counts = self.monitors.log.counts();
        let standing = self.monitors.standing().clone();
        let by_monitor = standing.by_monitor.iter();
        Ok(Response::new(v1::GetMonitorsResponse {
            monitors: standing.status.iter().map(status).collect(),
            log: Some(v1::LogCounters {
                accepted: counts.accepted,
                stored: counts.stored,
                spooled: counts.spooled,
                dropped: counts.dropped,
                rejected: counts.rejected,
                queued: counts.queued,
                spool_bytes: counts.spool_bytes,
                store_up: counts.store_up,
            }),
            alarms: standing.alarms,
            alarms_by_monitor: by_monitor.map(|(m, n)| (m.as_str().to_owned(), *n)).collect(),
            unwatched: standing.unwatched,
            leads: standing.leads,
        }))
    }

    type WatchAlarmsStream = Pin<Box<dyn Stream<Item = Result<v1::Alarm, Refusal>> + Send>>;

    async fn watch_alarms(
        &self,
        request: Request<v1::WatchAlarmsRequest>,
    ) -> Result<Response<Self::WatchAlarmsStream>, Refusal> {
        let wanted = usize::try_from(request.into_inner().recent).unwrap_or(usize::MAX);
        let standing = self.monitors.standing();
        // Subscribed while the past is held: nothing falls between the two.
        let new = BroadcastStream::new(self.monitors.alarms.subscribe());
        let old = standing.recent.len().saturating_sub(wanted);
        let past: Vec<v1::Alarm> = standing.recent.iter().skip(old).map(alarm).collect();
        drop(standing);
        let new = new.map(|raised| match raised {
            Ok(raised) => Ok(alarm(&raised)),
            Err(BroadcastStreamRecvError::Lagged(missed)) => {
                Err(Refusal::data_loss(format!("{missed} alarms were missed: ask for recent ones")))
            }
        });
        let past = tokio_stream::iter(past.into_iter().map(Ok));
        Ok(Response::new(Box::pin(past.chain(self.drain.ends(new)))))
    }
}
