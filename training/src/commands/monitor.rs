//! `training monitor`: a log of decisions held against what it looked like at first, and against what came of it.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use jiff::Timestamp;
use monitoring::{Alarm, EProcess, Reference, ShiryaevRoberts, kolmogorov_smirnov};
use serde::Deserialize;
use types::WinProbability;

use crate::decision_log::{Entry, entries, reports};

/// Bins of the reference for the population stability index.
const BINS: usize = 10;

/// Watch a log of decisions: do the probabilities look as they did, and does strong win as often as they say.
///
/// The first decisions are the reference; every later window of them is compared with it. Labels, where there are any,
/// say whether strong's answer was strictly better; a broken calibration is told with its direction and since when.
#[derive(Debug, Clone, Args)]
pub struct MonitorArgs {
    /// The server's log of decisions, written with log_format = "json".
    #[arg(long, value_name = "FILE")]
    decision_log: PathBuf,
    /// What was found afterwards, a JSON object a line: {"decision_id": "…", "strong_better": true}.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// The dearer model.
    #[arg(long, value_name = "MODEL")]
    strong: String,
    /// The cheaper model.
    #[arg(long, value_name = "MODEL")]
    weak: String,
    /// Decisions of the reference.
    #[arg(long, default_value_t = 2_000, value_name = "DECISIONS")]
    reference: usize,
    /// Decisions of a window.
    #[arg(long, default_value_t = 500, value_name = "DECISIONS")]
    window: usize,
    /// How probable a false alarm about the distribution is, over the whole log.
    #[arg(long, default_value_t = 0.01, value_name = "PROBABILITY")]
    false_alarm_rate: f64,
    /// Labels between two false alarms about calibration, on average at least.
    #[arg(long, default_value_t = 10_000.0, value_name = "LABELS")]
    average_run_length: f64,
    /// Log odds that probabilities may be off by: no calibrator is exact.
    #[arg(long, default_value_t = 0.2, value_name = "LOGIT")]
    tolerance: f64,
    /// Exit with an error on an alarm, for jobs.
    #[arg(long)]
    fail_on_alarm: bool,
}

/// A line of the file of labels.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Label {
    decision_id: String,
    strong_better: bool,
}

/// A decision between the two models.
#[derive(Debug)]
struct Watched {
    id: String,
    time: Timestamp,
    win_probability: WinProbability,
}

impl MonitorArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When a file or a number is refused, the log is shorter than its reference and a window, or with
    /// `--fail-on-alarm` on an alarm.
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        ensure!(
            self.false_alarm_rate > 0.0 && self.false_alarm_rate < 1.0,
            "--false-alarm-rate: expected between 0 and 1, found {}",
            self.false_alarm_rate
        );
        ensure!(
            self.average_run_length > 1.0 && self.tolerance >= 0.0,
            "--average-run-length and --tolerance: expected above 1 and at least 0, found {} and {}",
            self.average_run_length,
            self.tolerance
        );
        let decisions = self.decisions()?;
        let mut alarms = self.distribution(&decisions, say)?;
        if let Some(file) = &self.labels {
            let labels = reports(file, |label: Label| Ok((label.decision_id, label.strong_better)))?;
            alarms += self.calibration(&decisions, &labels, say);
        }
        if self.fail_on_alarm && alarms > 0 {
            bail!("{alarms} alarms");
        }
        Ok(())
    }

    fn decisions(&self) -> Result<Vec<Watched>> {
        let mut decisions = Vec::new();
        for entry in entries(&self.decision_log)? {
            let Entry::Decision(time, decided) = entry? else { continue };
            let of_pair = decided.model == self.strong || decided.model == self.weak;
            if of_pair && decided.served.is_none_or(|served| served.rungs == 2) {
                let win_probability = WinProbability::new(decided.win_probability)?;
                decisions.push(Watched { id: decided.decision_id, time, win_probability });
            }
        }
        Ok(decisions)
    }

    /// Windows after the reference against it; how many alarms.
    fn distribution(&self, decisions: &[Watched], say: &mut dyn FnMut(&str)) -> Result<usize> {
        let (reference, rest) = decisions
            .split_at_checked(self.reference)
            .filter(|(_, rest)| rest.len() >= self.window.max(1))
            .with_context(|| {
                format!(
                    "{} decisions between {} and {}: fewer than a reference of {} and a window of {}",
                    decisions.len(),
                    self.strong,
                    self.weak,
                    self.reference,
                    self.window
                )
            })?;
        let values =
            |rows: &[Watched]| rows.iter().map(|row| row.win_probability.get()).collect::<Vec<f64>>();
        let first = values(reference);
        let bins = Reference::new(&first, BINS).context("--reference")?;
        let windows = rest.chunks_exact(self.window.max(1));
        let level = self.false_alarm_rate / (2 * windows.len()) as f64;
        let (compared, mut alarms) = (windows.len(), 0);
        for (i, window) in windows.enumerate() {
            let now = values(window);
            let psi = bins.compare(&now)?;
            let (distance, p) = kolmogorov_smirnov(&first, &now)?;
            if psi.p_value.min(p) < level {
                alarms += 1;
                say(&format!(
                    "ALARM, distribution: window {} from {}: PSI {:.4} (p {:.2e}), Kolmogorov-Smirnov {distance:.4} (p \
                     {p:.2e}), both held to {level:.1e}. The queries or the models' answers to them have changed: look \
                     at the traffic, then calibrate on fresh outcomes",
                    i + 1,
                    window[0].time,
                    psi.value,
                    psi.p_value
                ));
            }
        }
        say(&format!(
            "distribution: {compared} windows of {} against the first {}, {alarms} alarms; a false one in the whole log \
             with probability {}",
            self.window, self.reference, self.false_alarm_rate
        ));
        Ok(alarms)
    }

    /// Labelled decisions in the order they were made; how many alarms.
    fn calibration(
        &self,
        decisions: &[Watched],
        labels: &HashMap<String, bool>,
        say: &mut dyn FnMut(&str),
    ) -> usize {
        let mut detector = ShiryaevRoberts::new(self.average_run_length, self.tolerance);
        let mut evidence = EProcess::default();
        let labelled = decisions.iter().filter_map(|row| Some((row, *labels.get(&row.id)?)));
        let mut times: Vec<Timestamp> = Vec::new();
        let mut alarms = 0;
        for (row, strong_better) in labelled {
            times.push(row.time);
            evidence.update(row.win_probability, strong_better);
            if let Some(Alarm { at, since, shift, statistic, limit }) =
                detector.update(row.win_probability, strong_better)
            {
                alarms += 1;
                let begun = times.get(since as usize).unwrap_or(&row.time);
                let often = if shift > 0.0 { "more" } else { "less" };
                say(&format!(
                    "ALARM, calibration: strong wins {often} often than said, its odds times {:.2}, since label {} \
                     ({begun}), heard at label {at} ({}): {statistic:.0} > {limit:.0}. Calibrate on outcomes since then \
                     (`training calibrate`) and select the thresholds again",
                    shift.exp(),
                    since + 1,
                    row.time
                ));
            }
        }
        say(&format!(
            "calibration: {} of {} decisions labelled, {alarms} alarms; a false one in {} labels at most where odds are \
             off by a factor of {:.2} at most; log e-value against exact calibration {:.2}",
            times.len(),
            decisions.len(),
            self.average_run_length,
            self.tolerance.exp(),
            evidence.log_value()
        ));
        alarms
    }
}
