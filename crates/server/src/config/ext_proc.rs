//! Configuration of the listener for Envoy: where it is, and what becomes of requests that cannot be routed.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use ext_proc::{HeaderText, NotAHeader, Options};
use serde::Deserialize;

use super::{ConfigError, at_least};

/// Settings of the listener for Envoy, `[ext_proc]` in the file.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtProcSettings {
    /// Address to serve Envoy's external processing protocol on, such as 127.0.0.1:50053; not served where none is
    /// given (docs/deployment.md).
    #[arg(
        id = "ext_proc_listen",
        long = "ext-proc-listen",
        env = "RUNG_EXT_PROC_LISTEN",
        value_name = "ADDRESS"
    )]
    pub listen: Option<SocketAddr>,
    /// The model of HTTP requests that cannot be routed: they pass with it in x-rung-model and the reason in
    /// x-rung-fallback; refused where none is given.
    #[arg(
        id = "ext_proc_fallback_model",
        long = "ext-proc-fallback-model",
        env = "RUNG_EXT_PROC_FALLBACK_MODEL",
        value_name = "MODEL"
    )]
    pub fallback_model: Option<String>,
    /// Write the model into the JSON of the request too.
    #[arg(
        id = "ext_proc_rewrite_model",
        long = "ext-proc-rewrite-model",
        env = "RUNG_EXT_PROC_REWRITE_MODEL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub rewrite_model: Option<bool>,
    /// Milliseconds that a decision for Envoy may take, less than its message_timeout: 150 by default.
    #[arg(
        id = "ext_proc_timeout_ms",
        long = "ext-proc-timeout-ms",
        env = "RUNG_EXT_PROC_TIMEOUT_MS",
        value_name = "MILLISECONDS"
    )]
    pub timeout_ms: Option<u64>,
    /// Bytes of an HTTP body that are read, at least 1024: 1 MiB by default, as Envoy's buffer.
    #[arg(
        id = "ext_proc_max_body_bytes",
        long = "ext-proc-max-body-bytes",
        env = "RUNG_EXT_PROC_MAX_BODY_BYTES",
        value_name = "BYTES"
    )]
    pub max_body_bytes: Option<usize>,
}

/// A checked configuration of the listener for Envoy.
#[derive(Debug, Clone)]
pub struct ExtProcConfig {
    /// Where it is.
    pub listen: SocketAddr,
    /// How requests are processed.
    pub options: Options,
}

impl ExtProcSettings {
    /// These settings where they are set, `below` where they are not.
    pub(super) fn over(self, below: Self) -> Self {
        Self {
            listen: self.listen.or(below.listen),
            fallback_model: self.fallback_model.or(below.fallback_model),
            rewrite_model: self.rewrite_model.or(below.rewrite_model),
            timeout_ms: self.timeout_ms.or(below.timeout_ms),
            max_body_bytes: self.max_body_bytes.or(below.max_body_bytes),
        }
    }

    /// Checks every value and fills in what is not set.
    pub(super) fn build(self) -> Result<Option<ExtProcConfig>, ConfigError> {
        let max_body_bytes = self.max_body_bytes.unwrap_or(1 << 20);
        let max_body_bytes = at_least("ext_proc.max_body_bytes", max_body_bytes, 1 << 10, "at least 1024")?;
        let timeout = self.timeout_ms.unwrap_or(150);
        if timeout == 0 {
            let (key, found) = ("ext_proc.timeout_ms", timeout.to_string());
            return Err(ConfigError::Value { key, expected: "at least 1", found });
        }
        let Some(listen) = self.listen else { return Ok(None) };
        Ok(Some(ExtProcConfig {
            listen,
            options: Options {
                fallback_model: self.fallback_model.as_deref().map(fallback_model).transpose()?,
                rewrite_model: self.rewrite_model.unwrap_or(false),
                timeout: Duration::from_millis(timeout),
                max_body_bytes,
            },
        }))
    }
}

/// A name that a header can carry.
fn fallback_model(name: &str) -> Result<HeaderText, ConfigError> {
    HeaderText::new(name).map_err(|NotAHeader(found)| {
        let (key, expected) = ("ext_proc.fallback_model", "visible ASCII");
        ConfigError::Value { key, expected, found }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_and_nothing_is_served_unasked() {
        assert!(ExtProcSettings::default().build().unwrap().is_none());
        let listen = Some(SocketAddr::from(([127, 0, 0, 1], 50053)));
        let config = ExtProcSettings { listen, ..Default::default() }.build().unwrap().unwrap();
        let Options { fallback_model, rewrite_model, timeout, max_body_bytes } = config.options;
        assert_eq!((timeout.as_millis(), max_body_bytes), (150, 1 << 20));
        assert_eq!((fallback_model, rewrite_model), (None, false));
        let bad = [
            ExtProcSettings { listen, fallback_model: Some("a\nb".into()), ..Default::default() },
            ExtProcSettings { listen, timeout_ms: Some(0), ..Default::default() },
            ExtProcSettings { listen, max_body_bytes: Some(1), ..Default::default() },
        ];
        for (settings, key) in bad.into_iter().zip(["fallback_model", "timeout_ms", "max_body_bytes"]) {
            let error = settings.build().unwrap_err().to_string();
            assert!(error.starts_with(&format!("ext_proc.{key}: expected")), "{error}");
        }
    }
}
