//! Monitors of calibration (methods section 8). Each weighs the hypothesis that the log odds of every event are shifted
//! by some θ against the one that its probability is right, whatever these probabilities are (Steiner et al. 2000,
//! "Monitoring surgical performance using risk-adjusted cumulative sum charts").

use calibration::numeric::softplus;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use types::WinProbability;

/// Shifts of the log odds that are looked for.
const SHIFTS: [f64; 6] = [-1.0, -0.5, -0.25, 0.25, 0.5, 1.0];

/// The log of the likelihood ratio of one observation, for odds shifted by `shift` over odds as said: `ln(q/p)` for an
/// event and `ln((1-q)/(1-p))` for none with `logit q = logit p + shift`, in a form that holds at 0 and 1 as well.
fn log_ratio(p: WinProbability, event: bool, shift: f64) -> f64 {
    let happened = if event { shift } else { 0.0 };
    happened - (p.get() * shift.exp_m1()).ln_1p()
}

/// Calibration has broken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alarm {
    /// Observations seen when it was raised.
    pub at: u64,
    /// Observations seen before the run that led to it began.
    pub since: u64,
    /// The shift of the log odds that fits best: above 0, events happen more often than said.
    pub shift: f64,
    /// The statistic.
    pub statistic: f64,
    /// What it had to exceed.
    pub limit: f64,
}

/// [`log_ratio`] of a shift beyond a tolerance against the nearest one within: its mean is at most 1 under all shifts
/// within, for it grows with the probability of an event (or of none) and is 1 at the nearest.
fn log_ratio_beyond(p: WinProbability, event: bool, shift: f64, tolerance: f64) -> f64 {
    let within = tolerance.copysign(shift);
    log_ratio(p, event, within + shift) - log_ratio(p, event, within)
}

/// Risk-adjusted CUSUM for odds that are doubled, and for odds that are halved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cusum {
    #[serde(with = "crate::kept")]
    limit: f64,
    tolerance: f64,
    seen: u64,
    /// Of doubled and of halved odds: the sum, and when it was last 0.
    sums: [(f64, u64); 2],
}

impl Cusum {
    /// Odds twice or half of what is said are looked for.
    const SHIFTS: [f64; 2] = [std::f64::consts::LN_2, -std::f64::consts::LN_2];

    /// An alarm where a sum exceeds `limit`; [`cusum_limit`] finds the one of a wanted average run length.
    pub fn new(limit: f64) -> Self {
        Self::tolerating(limit, 0.0)
    }

    /// The same where log odds that are off by `tolerance`, at least 0, are no break: with the limit of exact
    /// probabilities, false alarms come no more often.
    pub fn tolerating(limit: f64, tolerance: f64) -> Self {
        Self { limit, tolerance, seen: 0, sums: [(0.0, 0); 2] }
    }

    /// Takes an observation; after an alarm both sums begin again.
    pub fn update(&mut self, p: WinProbability, event: bool) -> Option<Alarm> {
        self.seen += 1;
        for ((sum, since), shift) in self.sums.iter_mut().zip(Self::SHIFTS) {
            *sum += log_ratio_beyond(p, event, shift, self.tolerance);
            if *sum <= 0.0 {
                (*sum, *since) = (0.0, self.seen);
            }
        }
        let sums = self.sums.iter().zip(Self::SHIFTS);
        let ((statistic, since), shift) = sums.max_by(|a, b| a.0.0.total_cmp(&b.0.0))?;
        let (statistic, since, limit) = (*statistic, *since, self.limit);
        (statistic > limit).then(|| {
            self.sums = [(0.0, self.seen); 2];
            Alarm { at: self.seen, since, shift, statistic, limit }
        })
    }

    /// What a sum has to exceed.
    pub fn limit(&self) -> f64 {
        self.limit
    }

    /// Sums of doubled and of halved odds.
    pub fn sums(&self) -> [f64; 2] {
        self.sums.map(|(sum, _)| sum)
    }
}

/// The limit at which a [`Cusum`] raises a false alarm once in `average_run_length` observations, by simulation:
/// probabilities drawn from `probabilities`, events that happen as often as they say.
///
/// The run length is close to exponential, so runs are cut at four times the length wanted and the mean is that of a
/// censored exponential, all observations over all alarms. 400 runs leave an error of about 5 % of the length.
pub fn cusum_limit<R: Rng + ?Sized>(
    probabilities: &[WinProbability],
    average_run_length: u32,
    rng: &mut R,
) -> f64 {
    const RUNS: usize = 400;
    let longest = average_run_length.saturating_mul(4);
    // Only rises above all that came before can be the first beyond a limit.
    let mut rises: Vec<Vec<(f64, u32)>> = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let (mut chart, mut highest, mut of_run) = (Cusum::new(f64::INFINITY), 0.0, Vec::new());
        for t in 1..=longest {
            if probabilities.is_empty() {
                break;
            }
            let p = probabilities[rng.random_range(0..probabilities.len())];
            chart.update(p, rng.random_bool(p.get()));
            let [up, down] = chart.sums();
            if up.max(down) > highest {
                highest = up.max(down);
                of_run.push((highest, t));
            }
        }
        rises.push(of_run);
    }
    let mean_length = |limit: f64| {
        let (mut observations, mut alarms) = (0u64, 0u64);
        for of_run in &rises {
            let first = of_run.get(of_run.partition_point(|(height, _)| *height <= limit));
            observations += u64::from(first.map_or(longest, |(_, t)| *t));
            alarms += u64::from(first.is_some());
        }
        if alarms == 0 { f64::INFINITY } else { observations as f64 / alarms as f64 }
    };
    let (mut low, mut high) = (0.0, f64::from(longest).ln() + 1.0);
    for _ in 0..40 {
        let middle = 0.5 * (low + high);
        if mean_length(middle) < f64::from(average_run_length) { low = middle } else { high = middle }
    }
    high
}

/// The Shiryaev-Roberts statistic of a mixture of shifts: while the probabilities are right, the mean time to a false
/// alarm is at least the limit, whatever they are and without simulation (an e-detector; Shin, Ramdas and Rinaldo 2023,
/// section 3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShiryaevRoberts {
    #[serde(with = "crate::kept")]
    limit: f64,
    tolerance: f64,
    /// Only events that come more often than said are looked for.
    upward: bool,
    seen: u64,
    /// ln(1 + M) of the statistics M of the shifts.
    logs: [f64; SHIFTS.len()],
    /// When the best log ratio of a run so far began, for each shift.
    runs: [(f64, u64); SHIFTS.len()],
}

impl ShiryaevRoberts {
    /// False alarms come once in `average_run_length` observations at most, on average, as long as the log odds are off
    /// by `tolerance` at most, at least 0: probabilities that were fitted to a few hundred rows are never quite right.
    pub fn new(average_run_length: f64, tolerance: f64) -> Self {
        let (logs, runs) = ([0.0; SHIFTS.len()], [(0.0, 0); SHIFTS.len()]);
        Self { limit: average_run_length, tolerance: tolerance.max(0.0), upward: false, seen: 0, logs, runs }
    }

    /// The same, deaf to events that come less often than said.
    pub fn upward(average_run_length: f64, tolerance: f64) -> Self {
        Self { upward: true, ..Self::new(average_run_length, tolerance) }
    }

    /// Takes an observation; after an alarm it begins again.
    pub fn update(&mut self, p: WinProbability, event: bool) -> Option<Alarm> {
        self.seen += 1;
        for (i, shift) in SHIFTS.into_iter().enumerate().filter(|(_, shift)| !self.upward || *shift > 0.0) {
            let ratio = log_ratio_beyond(p, event, shift, self.tolerance);
            // M = (M + 1) L
            self.logs[i] = softplus(self.logs[i] + ratio);
            let (sum, since) = &mut self.runs[i];
            *sum += ratio;
            if *sum <= 0.0 {
                (*sum, *since) = (0.0, self.seen);
            }
        }
        let statistic = self.statistic();
        (statistic > self.limit).then(|| {
            let best = (0..SHIFTS.len()).max_by(|a, b| self.logs[*a].total_cmp(&self.logs[*b])).unwrap_or(0);
            let alarm = Alarm {
                at: self.seen,
                since: self.runs[best].1,
                shift: SHIFTS[best] + self.tolerance.copysign(SHIFTS[best]),
                statistic,
                limit: self.limit,
            };
            self.logs = [0.0; SHIFTS.len()];
            self.runs = [(0.0, self.seen); SHIFTS.len()];
            alarm
        })
    }

    /// The mean over the shifts.
    pub fn statistic(&self) -> f64 {
        self.logs.iter().map(|log| log.exp_m1()).sum::<f64>() / self.logs.len() as f64
    }

    /// What the statistic has to exceed: the average run length.
    pub fn limit(&self) -> f64 {
        self.limit
    }
}

/// The evidence against calibration since the beginning: while the probabilities are right, it exceeds 1/α at any time
/// with probability α at most (Ville's inequality). It answers "were these ever calibrated?"; for "did it break?", it
/// spends its capital before the break, and [`ShiryaevRoberts`] is quicker.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EProcess {
    logs: [f64; SHIFTS.len()],
}

impl EProcess {
    /// Takes an observation.
    pub fn update(&mut self, p: WinProbability, event: bool) {
        for (log, shift) in self.logs.iter_mut().zip(SHIFTS) {
            *log += log_ratio(p, event, shift);
        }
    }

    /// The log of the e-value: the mean over the shifts.
    pub fn log_value(&self) -> f64 {
        log_mean(&self.logs)
    }
}

/// The log of the mean of numbers whose logs are given.
fn log_mean(logs: &[f64]) -> f64 {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + (logs.iter().map(|log| (log - most).exp()).sum::<f64>() / logs.len() as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn p(value: f64) -> WinProbability {
        WinProbability::new(value).unwrap()
    }

    /// 400 observations, calibrated up to the 200th, log odds shifted by 0.9 from there on (methods, golden 08).
    fn golden() -> Vec<(WinProbability, bool)> {
        let golden_ratio = (5.0_f64.sqrt() - 1.0) / 2.0;
        let observation = |t: u32| {
            let n = f64::from(t + 1);
            let said = 0.05 + 0.9 * (n * golden_ratio).fract();
            let odds = said / (1.0 - said) * if t < 200 { 1.0 } else { 0.9_f64.exp() };
            (p(said), (n * 7.0_f64.sqrt()).fract() < odds / (1.0 + odds))
        };
        (0..400).map(observation).collect()
    }

    #[test]
    fn golden_cusum() {
        let at = [
            (9, 0.0),
            (99, 0.356_635_625_807_972),
            (199, 0.256_090_023_187_092_1),
            (249, 4.724_515_268_751_412_5),
        ];
        let mut chart = Cusum::new(f64::INFINITY);
        for (t, (p, event)) in golden().into_iter().enumerate() {
            chart.update(p, event);
            if let Some((_, sum)) = at.iter().find(|(at, _)| *at == t) {
                assert!((chart.sums()[0] - sum).abs() < 1e-9, "{t}: {}", chart.sums()[0]);
            }
        }
        assert!((chart.sums()[0] - 15.914_765_554_126_669).abs() < 1e-9);
        let mut chart = Cusum::new(3.5);
        let alarm = golden().into_iter().find_map(|(p, event)| chart.update(p, event)).unwrap();
        assert_eq!(alarm.at, 219, "the 219th observation, t = 218");
        assert!(alarm.shift > 0.0 && (190..219).contains(&alarm.since), "{alarm:?}");
    }

    #[test]
    fn golden_shiryaev_roberts_and_e_process() {
        let mut chart = ShiryaevRoberts::new(500.0, 0.0);
        let alarm = golden().into_iter().find_map(|(p, event)| chart.update(p, event)).unwrap();
        assert_eq!(alarm.at, 222, "t = 221");
        assert!(alarm.shift > 0.0 && (190..222).contains(&alarm.since), "{alarm:?}");
        let mut chart = ShiryaevRoberts::new(f64::INFINITY, 0.0);
        golden().into_iter().for_each(|(p, event)| assert_eq!(chart.update(p, event), None));
        assert!((chart.statistic() / 91_695_581.883_786_9 - 1.0).abs() < 1e-9, "{}", chart.statistic());

        let mut evidence = EProcess::default();
        let at = [(9, 1.622_445_242_845_923), (199, -1.396_230_060_356_630_4), (399, 4.401_129_369_406_793)];
        let mut crossed = None;
        for (t, (p, event)) in golden().into_iter().enumerate() {
            evidence.update(p, event);
            if let Some((_, log)) = at.iter().find(|(at, _)| *at == t) {
                assert!((evidence.log_value() - log).abs() < 1e-9);
            }
            if crossed.is_none() && evidence.log_value() > 20.0_f64.ln() {
                crossed = Some(t);
            }
        }
        assert_eq!(crossed, Some(365));
    }

    /// Observations whose events happen as often as said.
    fn calibrated(rng: &mut ChaCha8Rng) -> (WinProbability, bool) {
        let said = 0.05 + 0.6 * rng.random::<f64>();
        (p(said), rng.random_bool(said))
    }

    #[test]
    fn false_alarms_come_as_rarely_as_stated() {
        let reference: Vec<WinProbability> = (0..200).map(|i| p(0.05 + 0.003 * f64::from(i))).collect();
        let limit = cusum_limit(&reference, 500, &mut ChaCha8Rng::seed_from_u64(1));
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let (mut cusum, mut detector) = (Cusum::new(limit), ShiryaevRoberts::new(500.0, 0.0));
        let (mut of_cusum, mut of_detector) = (0u32, 0u32);
        for _ in 0..200_000 {
            let (p, event) = calibrated(&mut rng);
            of_cusum += u32::from(cusum.update(p, event).is_some());
            of_detector += u32::from(detector.update(p, event).is_some());
        }
        // 400 expected; three deviations are 60, and the simulated limit is off by some 5 %.
        assert!((320..=480).contains(&of_cusum), "{of_cusum} alarms of the CUSUM");
        assert!(
            (100..=460).contains(&of_detector),
            "{of_detector} alarms of the detector: 400 at most, on average"
        );
    }

    /// Odds that are off by a little less than the tolerance raise no more alarms than stated, beyond it they do.
    #[test]
    fn what_is_tolerated_is_no_break() {
        let alarms = |shift: f64| {
            let mut rng = ChaCha8Rng::seed_from_u64(5);
            let mut detector = ShiryaevRoberts::new(1_000.0, 0.2);
            let mut next = || {
                let said: f64 = 0.05 + 0.6 * rng.random::<f64>();
                let odds = said / (1.0 - said) * shift.exp();
                (p(said), rng.random_bool(odds / (1.0 + odds)))
            };
            (0..100_000)
                .filter(|_| {
                    let (p, event) = next();
                    detector.update(p, event).is_some()
                })
                .count()
        };
        assert!(alarms(0.2) <= 130 && alarms(-0.2) <= 130, "{} and {}", alarms(0.2), alarms(-0.2));
        assert!(alarms(0.6) > 400 && alarms(-0.6) > 400, "{} and {}", alarms(0.6), alarms(-0.6));
    }

    #[test]
    fn evidence_against_what_is_calibrated_rarely_grows() {
        let mut crossed = 0;
        for seed in 0..400 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut evidence = EProcess::default();
            let beyond = |(p, event): (WinProbability, bool)| {
                evidence.update(p, event);
                evidence.log_value() > 20.0_f64.ln()
            };
            crossed += u32::from((0..1_000).map(|_| calibrated(&mut rng)).any(beyond));
        }
        // At most 5 % of 400; three deviations above that are 33.
        assert!(crossed <= 33, "{crossed} of 400");
    }

    proptest! {
        #[test]
        fn certain_events_break_nothing_and_broken_certainty_is_seen(n in 1u64..60) {
            let mut detector = ShiryaevRoberts::new(1e4, 0.0);
            for _ in 0..n {
                prop_assert_eq!(detector.update(p(1.0), true), None);
                prop_assert_eq!(detector.update(p(0.0), false), None);
            }
            let alarm = (0..60).find_map(|_| detector.update(p(1.0), false));
            prop_assert!(alarm.is_some_and(|alarm| alarm.shift < 0.0 && alarm.statistic.is_finite()));
        }
    }
}
