//! Configuration of the decision log: where it goes, what it keeps, and what happens when it cannot keep up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use decision_log::{LogOptions, Overflow, Redact, Retention};
use regex::Regex;
use serde::Deserialize;

use super::{ConfigError, at_least};

/// What stands in place of what was redacted.
const REDACTED: &str = "[redacted]";

/// What happens to decisions while the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum WhenFull {
    /// They are answered and not logged, and counted.
    Drop,
    /// They are answered once there is room.
    Block,
}

/// Settings of the decision log, `[decision_log]` in the file.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionLogSettings {
    /// Where decisions and outcomes are kept: sqlite:PATH, postgres://USER:PASSWORD@HOST/DATABASE, or none.
    #[arg(id = "decision_log", long = "decision-log", env = "RUNG_DECISION_LOG", value_name = "URL")]
    pub url: Option<String>,
    /// Folder of what waits while the store is away, and of the key; every server needs its own.
    #[arg(id = "log_spool", long = "log-spool", env = "RUNG_LOG_SPOOL", value_name = "FOLDER")]
    pub spool: Option<PathBuf>,
    /// Bytes that may wait there.
    #[arg(
        id = "log_spool_bytes",
        long = "log-spool-bytes",
        env = "RUNG_LOG_SPOOL_BYTES",
        value_name = "BYTES"
    )]
    pub spool_bytes: Option<u64>,
    /// Records that may wait in memory: with a batch, the most that a SIGKILL takes.
    #[arg(id = "log_queue", long = "log-queue", env = "RUNG_LOG_QUEUE", value_name = "RECORDS")]
    pub queue: Option<usize>,
    /// Records that are written together at most.
    #[arg(id = "log_batch", long = "log-batch", env = "RUNG_LOG_BATCH", value_name = "RECORDS")]
    pub batch: Option<usize>,
    /// Milliseconds that a record waits for others.
    #[arg(
        id = "log_flush_ms",
        long = "log-flush-ms",
        env = "RUNG_LOG_FLUSH_MS",
        value_name = "MILLISECONDS"
    )]
    pub flush_ms: Option<u64>,
    /// What happens to decisions while the queue is full: drop (counted, the default) or block (answers wait).
    #[arg(id = "log_when_full", long = "log-when-full", env = "RUNG_LOG_WHEN_FULL")]
    pub when_full: Option<WhenFull>,
    /// File of the key of the queries' fingerprints, 64 hex digits, the same for all replicas; made in the spool's
    /// folder where it is not given.
    #[arg(id = "log_key_file", long = "log-key-file", env = "RUNG_LOG_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Days that decisions and outcomes are kept; for good by default.
    #[arg(
        id = "log_retention_days",
        long = "log-retention-days",
        env = "RUNG_LOG_RETENTION_DAYS",
        value_name = "DAYS"
    )]
    pub retention_days: Option<u32>,
    /// Keep the text of queries too; off, since prompts are private.
    #[arg(id = "log_prompts", long = "log-prompts", env = "RUNG_LOG_PROMPTS")]
    pub prompts: Option<bool>,
    /// Days that texts are kept; 30 by default.
    #[arg(
        id = "log_prompt_retention_days",
        long = "log-prompt-retention-days",
        env = "RUNG_LOG_PROMPT_RETENTION_DAYS",
        value_name = "DAYS"
    )]
    pub prompt_retention_days: Option<u32>,
    /// Regular expressions of what is replaced by [redacted] before a text is kept.
    #[arg(id = "log_redact", long = "log-redact", value_name = "REGEX")]
    #[serde(default)]
    pub redact: Vec<String>,
    /// Days after a decision in which what came of it counts; 30 by default.
    #[arg(
        id = "outcome_horizon_days",
        long = "outcome-horizon-days",
        env = "RUNG_OUTCOME_HORIZON_DAYS",
        value_name = "DAYS"
    )]
    pub horizon_days: Option<u32>,
}

/// A checked configuration of the decision log.
#[derive(Debug, Clone)]
pub struct DecisionLogConfig {
    /// How it is kept.
    pub options: LogOptions,
    /// The key's file; made in the spool where there is none.
    pub key_file: Option<PathBuf>,
    /// Keep the text of queries.
    pub prompts: bool,
    /// How long after a decision what came of it counts.
    pub horizon: Duration,
}

fn days(days: u32) -> Duration {
    Duration::from_secs(86_400 * u64::from(days))
}

impl DecisionLogSettings {
    /// These settings where they are set, `below` where they are not.
    pub(super) fn over(self, below: Self) -> Self {
        Self {
            url: self.url.or(below.url),
            spool: self.spool.or(below.spool),
            spool_bytes: self.spool_bytes.or(below.spool_bytes),
            queue: self.queue.or(below.queue),
            batch: self.batch.or(below.batch),
            flush_ms: self.flush_ms.or(below.flush_ms),
            when_full: self.when_full.or(below.when_full),
            key_file: self.key_file.or(below.key_file),
            retention_days: self.retention_days.or(below.retention_days),
            prompts: self.prompts.or(below.prompts),
            prompt_retention_days: self.prompt_retention_days.or(below.prompt_retention_days),
            redact: if self.redact.is_empty() { below.redact } else { self.redact },
            horizon_days: self.horizon_days.or(below.horizon_days),
        }
    }

    /// Checks every value; `None` where nothing is logged.
    pub(super) fn build(self) -> Result<Option<DecisionLogConfig>, ConfigError> {
        let url = self.url.unwrap_or_else(|| "sqlite:rung-data/decisions.db".to_owned());
        if url == "none" {
            return Ok(None);
        }
        let redact = redact(&self.redact)?;
        let spool = self.spool.unwrap_or_else(|| PathBuf::from("rung-data/spool"));
        let plain = LogOptions::new(url, spool);
        let counted =
            |key, set: Option<usize>, otherwise| at_least(key, set.unwrap_or(otherwise), 1, "at least 1");
        let prompts = self.prompts.unwrap_or(false);
        let options = LogOptions {
            spool_bytes: self.spool_bytes.unwrap_or(plain.spool_bytes),
            queue: counted("log_queue", self.queue, plain.queue)?,
            batch: counted("log_batch", self.batch, plain.batch)?,
            flush_interval: self.flush_ms.map_or(plain.flush_interval, Duration::from_millis),
            overflow: match self.when_full {
                Some(WhenFull::Block) => Overflow::Block,
                Some(WhenFull::Drop) | None => Overflow::Drop,
            },
            retention: Retention {
                records: self.retention_days.map(days),
                prompts: prompts.then(|| days(self.prompt_retention_days.unwrap_or(30))),
            },
            redact,
            ..plain
        };
        let horizon = days(self.horizon_days.unwrap_or(30));
        Ok(Some(DecisionLogConfig { options, key_file: self.key_file, prompts, horizon }))
    }
}

fn redact(patterns: &[String]) -> Result<Option<Redact>, ConfigError> {
    let compiled = patterns.iter().map(|pattern| {
        Regex::new(pattern).map_err(|_| ConfigError::Value {
            key: "log_redact",
            expected: "a regular expression",
            found: pattern.clone(),
        })
    });
    let compiled = compiled.collect::<Result<Vec<Regex>, _>>()?;
    if compiled.is_empty() {
        return Ok(None);
    }
    let redact = move |text: &str| {
        compiled
            .iter()
            .fold(text.to_owned(), |text, pattern| pattern.replace_all(&text, REDACTED).into_owned())
    };
    Ok(Some(Redact::new(Arc::new(redact))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_redacted_before_they_are_kept() {
        let patterns = [r"\b\d{4}-\d{4}\b".to_owned(), r"[\w.]+@[\w.]+".to_owned()];
        let redact = redact(&patterns).unwrap().unwrap();
        assert_eq!(redact.apply("card 1234-5678 of a.b@c.de"), "card [redacted] of [redacted]");
        let settings = DecisionLogSettings { redact: vec!["(".into()], ..DecisionLogSettings::default() };
        let refused = settings.build().unwrap_err().to_string();
        assert_eq!(refused, "log_redact: expected a regular expression, found (");
    }

    #[test]
    fn nothing_is_logged_where_the_operator_says_none() {
        let none = DecisionLogSettings { url: Some("none".into()), ..DecisionLogSettings::default() };
        assert!(none.build().unwrap().is_none());
        let plain = DecisionLogSettings::default().build().unwrap().unwrap();
        assert!(!plain.prompts && plain.options.retention == Retention { records: None, prompts: None });
        let empty = DecisionLogSettings { queue: Some(0), ..DecisionLogSettings::default() };
        assert_eq!(empty.build().unwrap_err().to_string(), "log_queue: expected at least 1, found 0");
    }
}
