//! Configuration of the monitors: what counts as a change, how rarely a false alarm may come, and who hears of it.

use clap::Args;
use monitoring::WatchOptions;
use serde::Deserialize;

use super::{ConfigError, at_least};

/// Settings of the monitors, `[monitoring]` in the file. They watch the decision log; without one there are none.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MonitoringSettings {
    /// Decisions of a pair that later ones are compared with.
    #[arg(
        id = "monitor_reference",
        long = "monitor-reference",
        env = "RUNG_MONITOR_REFERENCE",
        value_name = "DECISIONS"
    )]
    pub reference: Option<usize>,
    /// Decisions of a window that is compared.
    #[arg(
        id = "monitor_window",
        long = "monitor-window",
        env = "RUNG_MONITOR_WINDOW",
        value_name = "DECISIONS"
    )]
    pub window: Option<usize>,
    /// Windows between two false alarms about distributions, on average.
    #[arg(
        id = "monitor_windows_per_false_alarm",
        long = "monitor-windows-per-false-alarm",
        env = "RUNG_MONITOR_WINDOWS_PER_FALSE_ALARM",
        value_name = "WINDOWS"
    )]
    pub windows_per_false_alarm: Option<f64>,
    /// Labels between two false alarms about calibration, on average at least.
    #[arg(
        id = "monitor_labels_per_false_alarm",
        long = "monitor-labels-per-false-alarm",
        env = "RUNG_MONITOR_LABELS_PER_FALSE_ALARM",
        value_name = "LABELS"
    )]
    pub labels_per_false_alarm: Option<f64>,
    /// Decisions between two false alarms about rates, on average at least.
    #[arg(
        id = "monitor_decisions_per_false_alarm",
        long = "monitor-decisions-per-false-alarm",
        env = "RUNG_MONITOR_DECISIONS_PER_FALSE_ALARM",
        value_name = "DECISIONS"
    )]
    pub decisions_per_false_alarm: Option<f64>,
    /// Log odds that probabilities and rates may be off by.
    #[arg(
        id = "monitor_tolerance",
        long = "monitor-tolerance",
        env = "RUNG_MONITOR_TOLERANCE",
        value_name = "LOGIT"
    )]
    pub tolerance: Option<f64>,
    /// Share of decisions that may fall back to the fast tier.
    #[arg(
        id = "monitor_fallback_rate",
        long = "monitor-fallback-rate",
        env = "RUNG_MONITOR_FALLBACK_RATE",
        value_name = "SHARE"
    )]
    pub fallback_rate: Option<f64>,
    /// Slices that are watched on their own, such as tenant:7; those of high stakes are.
    #[arg(
        id = "monitor_slice",
        long = "monitor-slice",
        env = "RUNG_MONITOR_SLICE",
        value_delimiter = ',',
        value_name = "TAG"
    )]
    #[serde(default)]
    pub slices: Vec<String>,
    /// Milliseconds between two looks at the log.
    #[arg(
        id = "monitor_every_ms",
        long = "monitor-every-ms",
        env = "RUNG_MONITOR_EVERY_MS",
        value_name = "MILLISECONDS"
    )]
    pub every_ms: Option<u64>,
    /// Where alarms are posted as JSON.
    #[arg(id = "alarm_webhook", long = "alarm-webhook", env = "RUNG_ALARM_WEBHOOK", value_name = "URL")]
    pub webhook: Option<String>,
}

/// A checked configuration of the monitors.
#[derive(Debug, Clone)]
pub struct MonitoringConfig {
    /// What counts as a change.
    pub watch: WatchOptions,
    /// Between two looks at the log.
    pub every: std::time::Duration,
    /// Where alarms are posted.
    pub webhook: Option<String>,
}

impl MonitoringSettings {
    /// These settings where they are set, `below` where they are not.
    pub(super) fn over(self, below: Self) -> Self {
        Self {
            reference: self.reference.or(below.reference),
            window: self.window.or(below.window),
            windows_per_false_alarm: self.windows_per_false_alarm.or(below.windows_per_false_alarm),
            labels_per_false_alarm: self.labels_per_false_alarm.or(below.labels_per_false_alarm),
            decisions_per_false_alarm: self.decisions_per_false_alarm.or(below.decisions_per_false_alarm),
            tolerance: self.tolerance.or(below.tolerance),
            fallback_rate: self.fallback_rate.or(below.fallback_rate),
            slices: if self.slices.is_empty() { below.slices } else { self.slices },
            every_ms: self.every_ms.or(below.every_ms),
            webhook: self.webhook.or(below.webhook),
        }
    }

    /// Checks every value.
    pub(super) fn build(self) -> Result<MonitoringConfig, ConfigError> {
        let plain = WatchOptions::default();
        let above_1 = |key, set: Option<f64>, otherwise| match set.unwrap_or(otherwise) {
            value if value.is_finite() && value > 1.0 => Ok(value),
            value => {
                Err(ConfigError::Value { key, expected: "a finite number above 1", found: value.to_string() })
            }
        };
        let within = |key, value: f64, most: f64, expected| {
            if value >= 0.0 && value < most {
                return Ok(value);
            }
            Err(ConfigError::Value { key, expected, found: value.to_string() })
        };
        let watch = WatchOptions {
            reference: at_least(
                "monitor_reference",
                self.reference.unwrap_or(plain.reference),
                10,
                "at least 10",
            )?,
            window: at_least("monitor_window", self.window.unwrap_or(plain.window), 1, "at least 1")?,
            windows_per_false_alarm: above_1(
                "monitor_windows_per_false_alarm",
                self.windows_per_false_alarm,
                plain.windows_per_false_alarm,
            )?,
            labels_per_false_alarm: above_1(
                "monitor_labels_per_false_alarm",
                self.labels_per_false_alarm,
                plain.labels_per_false_alarm,
            )?,
            decisions_per_false_alarm: above_1(
                "monitor_decisions_per_false_alarm",
                self.decisions_per_false_alarm,
                plain.decisions_per_false_alarm,
            )?,
            tolerance: within(
                "monitor_tolerance",
                self.tolerance.unwrap_or(plain.tolerance),
                5.0,
                "log odds in [0, 5)",
            )?,
            fallback_rate: within(
                "monitor_fallback_rate",
                self.fallback_rate.unwrap_or(plain.fallback_rate),
                1.0,
                "a share in [0, 1)",
            )?,
            slices: self.slices,
            seed: plain.seed,
        };
        let every = std::time::Duration::from_millis(self.every_ms.unwrap_or(1_000));
        Ok(MonitoringConfig { watch, every, webhook: self.webhook })
    }
}
