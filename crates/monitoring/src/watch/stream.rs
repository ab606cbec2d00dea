//! The monitors of one pair and slice.

use std::collections::{BTreeMap, VecDeque};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use types::WinProbability;

use super::{DecisionSeen, LabelSeen, Monitor, Raised, Stands, Status, WatchOptions};
use crate::{
    Alarm, Buckets, Cusum, EProcess, MonitoringError, ProbabilityQuantiles, Quantiles, Reference,
    ShiryaevRoberts, cusum_limit, distribution::most_moved, kolmogorov_smirnov, psi_of_counts,
};

/// Bins of the population stability index.
const BINS: usize = 10;

/// Tests of a window.
const TESTS: f64 = 4.0;

/// Labels whose times are kept, to tell since when something is so.
const TIMES: usize = 1_024;

/// The simulation of the CUSUM's limit takes time in proportion to the run length; beyond this one the limit grows with
/// its logarithm, as the run length grows with the exponential of the limit (Siegmund 1985, "Sequential Analysis",
/// chapter 2).
const LONGEST_SIMULATED: f64 = 5_000.0;

/// The simulation draws from so many probabilities of the reference.
const SIMULATED_FROM: usize = 500;

const QUANTILES: [f64; 5] = [0.01, 0.1, 0.5, 0.9, 0.99];

/// Decisions that are compared with others.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Sample {
    probabilities: Vec<f64>,
    tokens: Vec<f64>,
    scripts: BTreeMap<String, u64>,
    from_us: i64,
}

impl Sample {
    fn push(&mut self, seen: &DecisionSeen<'_>) {
        if self.probabilities.is_empty() {
            self.from_us = seen.time_us;
        }
        self.probabilities.push(seen.win_probability.get());
        self.tokens.push(if seen.tokens.is_finite() { seen.tokens } else { 0.0 });
        *self.scripts.entry(seen.script.to_owned()).or_default() += 1;
    }

    fn len(&self) -> usize {
        self.probabilities.len()
    }
}

/// A reference that is complete.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Base {
    sample: Sample,
    probabilities: Reference,
    tokens: Reference,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Stream {
    decisions: u64,
    labels: u64,
    strong: u64,
    fallbacks: u64,
    target: Option<f64>,
    windows: u64,
    reference: Sample,
    base: Option<Base>,
    window: Sample,
    /// Tests that have alarmed and not been quiet since.
    loud: Vec<Monitor>,
    probabilities: ProbabilityQuantiles,
    decision_time_us: Quantiles,
    buckets: Buckets,
    calibration: ShiryaevRoberts,
    cusum: Option<Cusum>,
    evidence: EProcess,
    rate: ShiryaevRoberts,
    fallback: ShiryaevRoberts,
    /// Decisions whose operating point aims at a rate: how many, how many were strong, and the sum of the rates.
    #[serde(default)]
    aimed: (u64, u64, f64),
    /// Times of the last labels, decisions, and decisions that aim at a rate, each with its number.
    label_times: VecDeque<(u64, i64)>,
    decision_times: VecDeque<(u64, i64)>,
    #[serde(default)]
    aimed_times: VecDeque<(u64, i64)>,
    /// What the last window came to.
    #[serde(default)]
    compared: Vec<Stands>,
}

fn note(times: &mut VecDeque<(u64, i64)>, number: u64, time_us: i64) {
    if times.len() == TIMES {
        times.pop_front();
    }
    times.push_back((number, time_us));
}

/// The time of the first event after the `since` first ones: where that is forgotten the oldest that is known, where it
/// has not come yet the last.
fn time_after(times: &VecDeque<(u64, i64)>, since: u64) -> i64 {
    let first = times.iter().find(|(number, _)| *number > since).or(times.back());
    first.map_or(0, |(_, time_us)| *time_us)
}

impl Stream {
    pub(super) fn new(options: &WatchOptions) -> Self {
        let (of_rates, tolerance) = (options.decisions_per_false_alarm, options.tolerance);
        Self {
            decisions: 0,
            labels: 0,
            strong: 0,
            fallbacks: 0,
            target: None,
            windows: 0,
            reference: Sample::default(),
            base: None,
            window: Sample::default(),
            loud: Vec::new(),
            probabilities: ProbabilityQuantiles::default(),
            decision_time_us: Quantiles::default(),
            buckets: Buckets::default(),
            calibration: ShiryaevRoberts::new(options.labels_per_false_alarm, tolerance),
            cusum: None,
            evidence: EProcess::default(),
            rate: ShiryaevRoberts::new(of_rates, tolerance),
            fallback: ShiryaevRoberts::upward(of_rates, tolerance),
            aimed: (0, 0, 0.0),
            label_times: VecDeque::new(),
            decision_times: VecDeque::new(),
            aimed_times: VecDeque::new(),
            compared: Vec::new(),
        }
    }

    pub(super) fn decision(
        &mut self,
        seen: &DecisionSeen<'_>,
        options: &WatchOptions,
    ) -> Result<Vec<Raised>, MonitoringError> {
        self.decisions += 1;
        self.strong += u64::from(seen.strong);
        self.fallbacks += u64::from(seen.fallback);
        self.probabilities.update(seen.win_probability.get());
        self.decision_time_us.update(seen.decision_time_us);
        note(&mut self.decision_times, self.decisions, seen.time_us);
        let mut raised = self.rates(seen, options);
        if self.base.is_none() {
            self.reference.push(seen);
            if self.reference.len() >= options.reference {
                self.complete(options)?;
            }
            return Ok(raised);
        }
        self.window.push(seen);
        if self.window.len() >= options.window.max(1) {
            let window = std::mem::take(&mut self.window);
            raised.extend(self.compare(seen, &window, options)?);
        }
        Ok(raised)
    }

    /// The reference is what later windows are compared with, and what the CUSUM's limit is simulated from.
    fn complete(&mut self, options: &WatchOptions) -> Result<(), MonitoringError> {
        let sample = std::mem::take(&mut self.reference);
        let step = sample.len().div_ceil(SIMULATED_FROM).max(1);
        let some: Vec<WinProbability> =
            sample.probabilities.iter().step_by(step).filter_map(|p| WinProbability::new(*p).ok()).collect();
        let simulated = options.labels_per_false_alarm.min(LONGEST_SIMULATED);
        let limit = cusum_limit(&some, simulated as u32, &mut ChaCha8Rng::seed_from_u64(options.seed))
            + (options.labels_per_false_alarm / simulated).ln();
        self.cusum = Some(Cusum::tolerating(limit, options.tolerance));
        let probabilities = Reference::new(&sample.probabilities, BINS)?;
        let tokens = Reference::new(&sample.tokens, BINS)?;
        self.base = Some(Base { sample, probabilities, tokens });
        Ok(())
    }

    /// A window against the reference. A test that stays loud alarms once.
    fn compare(
        &mut self,
        seen: &DecisionSeen<'_>,
        window: &Sample,
        options: &WatchOptions,
    ) -> Result<Vec<Raised>, MonitoringError> {
        let Some(base) = &self.base else { return Ok(Vec::new()) };
        self.windows += 1;
        let psi = base.probabilities.compare(&window.probabilities)?;
        let (distance, ks) = kolmogorov_smirnov(&base.sample.probabilities, &window.probabilities)?;
        let length = base.tokens.compare(&window.tokens)?;
        let kinds = || base.sample.scripts.keys().chain(window.scripts.keys());
        let mut kinds: Vec<&String> = kinds().collect();
        kinds.sort();
        kinds.dedup();
        let counts = |sample: &Sample| -> Vec<u64> {
            kinds.iter().map(|kind| sample.scripts.get(*kind).copied().unwrap_or(0)).collect()
        };
        let (before, now) = (counts(&base.sample), counts(window));
        let scripts = psi_of_counts(&before, &now);
        let of_scripts = most_moved(&before, &now).map_or_else(String::new, |(kind, _)| {
            let share = |counts: &[u64], n: usize| counts[kind] as f64 / n.max(1) as f64;
            let (first, last) = (share(&before, base.sample.len()), share(&now, window.len()));
            format!("script {}: share {first:.3} at first, {last:.3} now", kinds[kind])
        });
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let moved = |what: &str, before: &[f64], now: &[f64]| {
            format!("{what}: mean {:.3} at first, {:.3} now", mean(before), mean(now))
        };
        let of_p = moved("win probability", &base.sample.probabilities, &window.probabilities);
        let of_length = moved("tokens of a query", &base.sample.tokens, &window.tokens);
        let level = 1.0 / (TESTS * options.windows_per_false_alarm);
        let mut raised = Vec::new();
        let tests = [
            (Monitor::ProbabilityPsi, psi.value, psi.p_value, of_p.clone()),
            (Monitor::ProbabilityKs, distance, ks, of_p),
            (Monitor::LengthPsi, length.value, length.p_value, of_length),
            (Monitor::ScriptPsi, scripts.value, scripts.p_value, of_scripts),
        ];
        let stands = |(monitor, statistic, ..): &(Monitor, f64, f64, String)| Stands {
            monitor: *monitor,
            statistic: *statistic,
            limit: None,
        };
        self.compared = tests.iter().map(stands).collect();
        for (monitor, statistic, p_value, what) in tests {
            let was_loud = self.loud.contains(&monitor);
            if p_value >= level {
                self.loud.retain(|loud| *loud != monitor);
            } else if !was_loud {
                self.loud.push(monitor);
                raised.push(Raised {
                    monitor,
                    pair: seen.pair.to_owned(),
                    slice: String::new(),
                    time_us: seen.time_us,
                    since_us: window.from_us,
                    statistic,
                    limit: level,
                    evidence: format!(
                        "{} decisions against the first {}: {statistic:.4}, as far off by chance with probability \
                         {p_value:.1e}; {what}",
                        window.len(),
                        base.sample.len()
                    ),
                    action: "the queries have changed: look at the traffic, then run `training recalibrate` on fresh \
                             outcomes; begin a new reference if this is what it will be like"
                        .to_owned(),
                });
            }
        }
        Ok(raised)
    }

    fn rates(&mut self, seen: &DecisionSeen<'_>, options: &WatchOptions) -> Vec<Raised> {
        let mut raised = Vec::new();
        let rate = |share: f64| WinProbability::new(share.clamp(0.001, 0.999)).ok();
        self.target = seen.target.or(self.target);
        // Where stakes are high everything goes strong, whatever the operating point aims at.
        if let Some(target) = seen.target.and_then(rate).filter(|_| !seen.high_stakes) {
            let (number, strong, sum) = &mut self.aimed;
            *number += 1;
            *strong += u64::from(seen.strong);
            *sum += target.get();
            note(&mut self.aimed_times, *number, seen.time_us);
            // Each decision is held to the rate of its own operating point, so points may come in any mixture.
            if let Some(alarm) = self.rate.update(target, seen.strong) {
                raised.push(self.off_target(seen, alarm));
            }
        }
        if let Some(allowed) = rate(options.fallback_rate)
            && let Some(alarm) = self.fallback.update(allowed, seen.fallback)
        {
            let evidence = format!(
                "more decisions fall back to the fast tier than {:.3}; {:.3} since the beginning",
                allowed.get(),
                self.fallbacks as f64 / self.decisions as f64
            );
            let action = "the encoder does not keep up or is lost: look at tier_counters of GetInfo, add workers or \
                          replicas";
            raised.push(Raised {
                monitor: Monitor::FallbackRate,
                pair: seen.pair.to_owned(),
                slice: String::new(),
                time_us: seen.time_us,
                since_us: time_after(
                    &self.decision_times,
                    self.decisions.saturating_sub(alarm.at - alarm.since),
                ),
                statistic: alarm.statistic,
                limit: alarm.limit,
                evidence,
                action: action.to_owned(),
            });
        }
        raised
    }

    fn off_target(&self, seen: &DecisionSeen<'_>, alarm: Alarm) -> Raised {
        let (number, strong, sum) = self.aimed;
        Raised {
            monitor: Monitor::StrongCallRate,
            pair: seen.pair.to_owned(),
            slice: String::new(),
            time_us: seen.time_us,
            since_us: time_after(&self.aimed_times, number.saturating_sub(alarm.at - alarm.since)),
            statistic: alarm.statistic,
            limit: alarm.limit,
            evidence: format!(
                "strong is called {} than the operating point aims at, its odds times {:.2}, over the last {} \
                 decisions; since the beginning {:.3}, aimed at {:.3} on average",
                if alarm.shift > 0.0 { "more often" } else { "less often" },
                alarm.shift.exp(),
                alarm.at - alarm.since,
                strong as f64 / number.max(1) as f64,
                sum / number.max(1) as f64
            ),
            action: "the mix of queries has moved: select the threshold again with `training threshold`, on traffic of \
                     now"
                .to_owned(),
        }
    }

    pub(super) fn label(&mut self, seen: &LabelSeen<'_>) -> Vec<Raised> {
        self.labels += 1;
        note(&mut self.label_times, self.labels, seen.time_us);
        let (p, event) = (seen.win_probability, seen.strong_better);
        self.buckets.update(p, event);
        self.evidence.update(p, event);
        let of_detector = self.calibration.update(p, event).map(|alarm| (Monitor::Calibration, alarm));
        let of_cusum = self.cusum.as_mut().and_then(|cusum| cusum.update(p, event));
        let of_cusum = of_cusum.map(|alarm| (Monitor::CalibrationCusum, alarm));
        let raised = of_detector.into_iter().chain(of_cusum);
        raised.map(|(monitor, alarm)| self.broken(monitor, &alarm, seen)).collect()
    }

    fn broken(&self, monitor: Monitor, alarm: &Alarm, seen: &LabelSeen<'_>) -> Raised {
        let run = alarm.at - alarm.since;
        Raised {
            monitor,
            pair: seen.pair.to_owned(),
            slice: String::new(),
            time_us: seen.time_us,
            since_us: time_after(&self.label_times, self.labels.saturating_sub(run)),
            statistic: alarm.statistic,
            limit: alarm.limit,
            evidence: format!(
                "strong wins {} often than said, its odds times {:.2}, over the last {run} labels of {}",
                if alarm.shift > 0.0 { "more" } else { "less" },
                alarm.shift.exp(),
                self.labels
            ),
            action: "win probabilities are no longer right: run `training recalibrate` on outcomes since then, and \
                     `training threshold` again where it has certificates"
                .to_owned(),
        }
    }

    fn statistics(&self) -> Vec<Stands> {
        let of = |monitor, machine: &ShiryaevRoberts| Stands {
            monitor,
            statistic: machine.statistic(),
            limit: Some(machine.limit()),
        };
        let cusum = self.cusum.as_ref().map(|cusum| Stands {
            monitor: Monitor::CalibrationCusum,
            statistic: cusum.sums().into_iter().fold(0.0, f64::max),
            limit: Some(cusum.limit()),
        });
        let machines = [
            of(Monitor::Calibration, &self.calibration),
            of(Monitor::StrongCallRate, &self.rate),
            of(Monitor::FallbackRate, &self.fallback),
        ];
        self.compared.iter().copied().chain(machines).chain(cusum).collect()
    }

    pub(super) fn status(&self, pair: &str, slice: &str) -> Status {
        let share = |n: u64| n as f64 / self.decisions.max(1) as f64;
        let of =
            |quantile: &dyn Fn(f64) -> Option<f64>| QUANTILES.iter().filter_map(|q| quantile(*q)).collect();
        Status {
            pair: pair.to_owned(),
            slice: slice.to_owned(),
            decisions: self.decisions,
            labels: self.labels,
            strong_call_rate: share(self.strong),
            target: self.target,
            fallback_rate: share(self.fallbacks),
            win_probability_quantiles: of(&|q| self.probabilities.quantile(q)),
            decision_time_us_quantiles: of(&|q| self.decision_time_us.quantile(q)),
            buckets: self.buckets.filled(),
            calibration_statistic: self.calibration.statistic(),
            calibration_limit: self.calibration.limit(),
            log_e_value: self.evidence.log_value(),
            statistics: self.statistics(),
            windows: self.windows,
            reference_complete: self.base.is_some(),
        }
    }
}
