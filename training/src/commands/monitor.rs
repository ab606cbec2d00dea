//! `training monitor`: the monitors of the server, over a log from its beginning.

use anyhow::{Result, bail, ensure};
use clap::Args;
use decision_log::{DecisionRecord, Event, Joined, Maturity, see};
use monitoring::{Raised, Status, Watch, WatchOptions};

use crate::log::{LogArgs, maturity_in_words, moment, now_us};

/// Watch a log of decisions: do the probabilities look as they did, and does strong win as often as they say.
///
/// The first decisions of a pair are the reference; every later window of them is compared with it. What was reported
/// says whether strong's answer was strictly better; a broken calibration is told with its direction and since when.
#[derive(Debug, Clone, Args)]
pub struct MonitorArgs {
    #[command(flatten)]
    log: LogArgs,
    /// Decisions of the reference.
    #[arg(long, default_value_t = WatchOptions::default().reference, value_name = "DECISIONS")]
    reference: usize,
    /// Decisions of a window.
    #[arg(long, default_value_t = WatchOptions::default().window, value_name = "DECISIONS")]
    window: usize,
    /// Windows between two false alarms about distributions, on average.
    #[arg(long, default_value_t = WatchOptions::default().windows_per_false_alarm, value_name = "WINDOWS")]
    windows_per_false_alarm: f64,
    /// Labels between two false alarms about calibration, on average at least.
    #[arg(long, default_value_t = WatchOptions::default().labels_per_false_alarm, value_name = "LABELS")]
    labels_per_false_alarm: f64,
    /// Log odds that probabilities may be off by: no calibrator is exact.
    #[arg(long, default_value_t = WatchOptions::default().tolerance, value_name = "LOGIT")]
    tolerance: f64,
    /// Slices to watch on their own; those of high stakes are.
    #[arg(long, value_name = "TAG")]
    slice: Vec<String>,
    /// The strong-call rate that was aimed at, in (0, 1).
    #[arg(long, value_name = "SHARE")]
    strong_call_rate: Option<f64>,
    /// Exit with an error on an alarm, for jobs.
    #[arg(long)]
    fail_on_alarm: bool,
}

impl MonitorArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When the log or a number is refused, no decision is in it, or with `--fail-on-alarm` on an alarm.
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let run_lengths = [self.windows_per_false_alarm, self.labels_per_false_alarm];
        ensure!(
            run_lengths.iter().all(|length| *length > 1.0) && self.tolerance >= 0.0,
            "--windows-per-false-alarm, --labels-per-false-alarm and --tolerance: expected above 1, above 1 and at least \
             0, found {}, {} and {}",
            self.windows_per_false_alarm,
            self.labels_per_false_alarm,
            self.tolerance
        );
        ensure!(self.reference >= 10, "--reference: expected at least 10, found {}", self.reference);
        let mut all = Vec::new();
        let (mut maturity, now_us) = (Maturity::default(), now_us());
        let unjoined = self.log.read(&mut |joined| {
            maturity.count(&joined, now_us);
            all.push(joined);
        })?;
        all.sort_by_key(|joined| joined.decision.time_us);
        let mut watch = Watch::new(WatchOptions {
            reference: self.reference,
            window: self.window,
            windows_per_false_alarm: self.windows_per_false_alarm,
            labels_per_false_alarm: self.labels_per_false_alarm,
            tolerance: self.tolerance,
            slices: self.slice.clone(),
            ..WatchOptions::default()
        });
        for joined in &all {
            for raised in self.see(&mut watch, joined)? {
                say(&told(&raised));
            }
        }
        let status = watch.status();
        if status.is_empty() {
            bail!("the log holds no decision");
        }
        for status in &status {
            say(&in_words(status, &self.reference));
        }
        maturity_in_words(&maturity).iter().for_each(|line| say(line));
        if unjoined.unknown + unjoined.late > 0 {
            say(&format!(
                "reports that do not count: {} of decisions that are not in the log, {} after {} days",
                unjoined.unknown, unjoined.late, self.log.horizon_days
            ));
        }
        if self.fail_on_alarm && watch.alarms() > 0 {
            bail!("{} alarms", watch.alarms());
        }
        Ok(())
    }

    fn see(&self, watch: &mut Watch, joined: &Joined) -> Result<Vec<Raised>> {
        let target = |_: &DecisionRecord, _: &str| self.strong_call_rate;
        let decision = &joined.decision;
        let mut raised = see(watch, &Event::Decision(decision), &target)?;
        for (i, outcome) in joined.outcomes.iter().enumerate() {
            let before = &joined.outcomes[..i];
            raised.extend(see(watch, &Event::Outcome { decision, before, outcome }, &target)?);
        }
        Ok(raised)
    }
}

fn told(raised: &Raised) -> String {
    let slice = if raised.slice.is_empty() { String::new() } else { format!(", {}", raised.slice) };
    format!(
        "ALARM {} of {}{slice} at {}, since {}: {}. {}",
        raised.monitor.as_str(),
        raised.pair,
        moment(raised.time_us),
        moment(raised.since_us),
        raised.evidence,
        raised.action
    )
}

fn in_words(status: &Status, reference: &usize) -> String {
    let slice = if status.slice.is_empty() { "all" } else { &status.slice };
    let mut text = format!(
        "{} {slice}: {} decisions, {:.3} of them strong, {:.3} fallbacks; {} labels, log e-value against exact \
         calibration {:.2}; ",
        status.pair,
        status.decisions,
        status.strong_call_rate,
        status.fallback_rate,
        status.labels,
        status.log_e_value
    );
    text += &if status.reference_complete {
        format!("{} windows compared with the first {reference}", status.windows)
    } else {
        format!("fewer than a reference of {reference}: no window was compared")
    };
    for bucket in &status.buckets {
        text += &format!(
            "\n  said {:.3}, found {:.3} [{:.3}, {:.3}] of {}{}",
            bucket.said,
            bucket.found,
            bucket.interval.0,
            bucket.interval.1,
            bucket.labels,
            if bucket.is_off() { "  OFF" } else { "" }
        );
    }
    text
}
