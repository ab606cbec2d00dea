//! Configuration: a TOML file, over it the environment, over that the flags; parsed once, checked
//! once. A bad file names the key and the line.

mod access;
mod decision_log;
mod ext_proc;
mod monitoring;
mod program;
mod telemetry;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use router::{Backend, DeepOptions, EncoderPrecision, Exploration, QueueRoom, RouterOptions};
use serde::Deserialize;
use thiserror::Error;
use types::{BackendIdentity, ModelName};

pub use access::{AccessConfig, AccessSettings, ConnectionLimits, TlsFiles};
pub use decision_log::{DecisionLogConfig, DecisionLogSettings, WhenFull};
pub use ext_proc::{ExtProcConfig, ExtProcSettings};
pub use monitoring::{MonitoringConfig, MonitoringSettings};
pub use program::ProgramConfig;
pub use telemetry::{TelemetryConfig, TelemetrySettings};

/// Why a configuration was refused. The process exits with 64 (EX_USAGE).
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what it should be; the text names key and line.
    #[error("{}: {reason}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Key, line and expectation.
        reason: String,
    },
    /// A value out of range.
    #[error("{key}: expected {expected}, found {found}")]
    Value {
        /// The key.
        key: &'static str,
        /// What was expected.
        expected: &'static str,
        /// What was found.
        found: String,
    },
    /// A listener that would be open to more than it should be; the text tells the way out.
    #[error("{0}")]
    Unsafe(String),
    /// Files that cannot be served by: everything that is wrong, with file, line and key.
    #[error("{}", .0.join("\n"))]
    Refused(Vec<String>),
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// Settings as flags or environment; each wins over the file.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Address to listen on.
    #[arg(long, env = "RUNG_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Folder of the artifact to serve.
    #[arg(long, env = "RUNG_ARTIFACT", value_name = "FOLDER")]
    pub artifact: Option<PathBuf>,
    /// Where to compute: flex or ndarray on the CPU, or wgpu, which moves the deep tier's encoder to a GPU: the
    /// classifiers stay on the CPU (ndarray and wgpu by cargo feature). wgpu:ADAPTER chooses the GPU: discrete[:N],
    /// integrated[:N], virtual[:N] or cpu.
    #[arg(long, env = "RUNG_BACKEND")]
    pub backend: Option<String>,
    /// Where the deep tier's encoder computes; the backend by default.
    #[arg(long, env = "RUNG_ENCODER_BACKEND", value_name = "BACKEND")]
    pub encoder_backend: Option<String>,
    /// Floats of an encoder on a GPU: full (32 bits), half (16), or auto, which is half where the GPU computes in it.
    #[arg(long, env = "RUNG_ENCODER_PRECISION", value_name = "PRECISION")]
    pub encoder_precision: Option<String>,
    /// Serve the fast tier alone; the encoder is not read.
    #[arg(long, env = "RUNG_NO_DEEP", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub no_deep: Option<bool>,
    /// Threads for the deep tier's encoder.
    #[arg(long, env = "RUNG_DEEP_WORKERS", value_name = "THREADS")]
    pub deep_workers: Option<usize>,
    /// Queries that may wait for the encoder; more are decided by the fast tier, marked.
    #[arg(long, env = "RUNG_DEEP_QUEUE", value_name = "QUERIES")]
    pub deep_queue: Option<usize>,
    /// Queries the encoder takes at once: 1 on a CPU, 32 on wgpu by default.
    #[arg(long, env = "RUNG_DEEP_MAX_BATCH", value_name = "QUERIES")]
    pub deep_max_batch: Option<usize>,
    /// Microseconds a batch waits for more queries where they come together, a lone one never: 0 on a CPU, 500 on
    /// wgpu by default.
    #[arg(long, env = "RUNG_DEEP_MAX_WAIT_US", value_name = "MICROSECONDS")]
    pub deep_max_wait_us: Option<u64>,
    /// Milliseconds after which the fast tier decides alone, marked.
    #[arg(long, env = "RUNG_DEEP_DEADLINE_MS", value_name = "MILLISECONDS")]
    pub deep_deadline_ms: Option<u64>,
    /// What answers under a model's name, MODEL=NAME/VERSION/PRECISION (vllm/0.11.2/fp8). A calibrator that
    /// was fitted for another backend is refused.
    #[arg(long, env = "RUNG_SERVED_BY", value_delimiter = ',', value_name = "MODEL=BACKEND")]
    #[serde(default)]
    pub served_by: Vec<String>,
    /// Serve all the same, with a warning on every answer.
    #[arg(long, env = "RUNG_ALLOW_FOREIGN_BACKENDS")]
    pub allow_foreign_backends: Option<bool>,
    /// Share of the queries at operating points that are served a dearer model than the policy's, to see what it gives;
    /// 0 to 1, never where stakes are high.
    #[arg(long, env = "RUNG_EXPLORE_DEARER", value_name = "SHARE")]
    pub explore_dearer: Option<f64>,
    /// The same to a cheaper model.
    #[arg(long, env = "RUNG_EXPLORE_CHEAPER", value_name = "SHARE")]
    pub explore_cheaper: Option<f64>,
    /// Decisions at once; the number of cores by default.
    #[arg(long, env = "RUNG_DECISION_SLOTS")]
    pub decision_slots: Option<usize>,
    /// Requests that may wait for a slot, a quarter of them once the queue has not been empty for a second; more are
    /// told RESOURCE_EXHAUSTED, those whose label `priority` is low from half of it on, all but high ones from seven
    /// eighths on.
    #[arg(long, env = "RUNG_QUEUE")]
    pub queue: Option<usize>,
    /// Bytes of the requests that wait for a slot, in the same shares; one that waits alone may have more.
    #[arg(long, env = "RUNG_QUEUE_BYTES")]
    pub queue_bytes: Option<usize>,
    /// Queries of one RouteBatch at most.
    #[arg(long, env = "RUNG_MAX_BATCH")]
    pub max_batch: Option<usize>,
    /// Bytes of one request at most.
    #[arg(long, env = "RUNG_MAX_REQUEST_BYTES")]
    pub max_request_bytes: Option<usize>,
    /// Milliseconds after SIGTERM in which the server says that it is not ready and still answers, so that balancers turn
    /// away before it refuses; 0 by default.
    #[arg(long, env = "RUNG_DRAIN_DELAY_MS", value_name = "MILLISECONDS")]
    pub drain_delay_ms: Option<u64>,
    /// Milliseconds that work in flight may take after that.
    #[arg(long, env = "RUNG_DRAIN_TIMEOUT_MS")]
    pub drain_timeout_ms: Option<u64>,
    /// Log lines as text or json.
    #[arg(long, env = "RUNG_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// The decision log.
    #[command(flatten)]
    #[serde(default)]
    pub decision_log: DecisionLogSettings,
    /// The monitors.
    #[command(flatten)]
    #[serde(default)]
    pub monitoring: MonitoringSettings,
    /// Who may call.
    #[command(flatten)]
    #[serde(default)]
    pub access: AccessSettings,
    /// Metrics, traces and readiness.
    #[command(flatten)]
    #[serde(default)]
    pub telemetry: TelemetrySettings,
    /// Envoy's external processing protocol.
    #[command(flatten)]
    #[serde(default)]
    pub ext_proc: ExtProcSettings,
    /// Address to serve administration on, such as 127.0.0.1:50052; not served where none is given.
    #[arg(long, env = "RUNG_ADMIN_LISTEN", value_name = "ADDRESS")]
    pub admin_listen: Option<SocketAddr>,
    /// The label of a request, such as tenant, that says who answers it while a candidate is introduced; the request_id
    /// where there is none.
    #[arg(long, env = "RUNG_STICKY_LABEL", value_name = "LABEL")]
    pub sticky_label: Option<String>,
    /// The policy (TOML, docs/policy.md): which strategy answers which query.
    #[arg(long, env = "RUNG_POLICY", value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// The catalogue of intents (TOML, or JSONL where its name ends so).
    #[arg(long, env = "RUNG_CATALOGUE", value_name = "FILE")]
    pub catalogue: Option<PathBuf>,
    /// What a catalogue's texts are compared by: static, which needs no encoder.
    #[arg(long, env = "RUNG_CATALOGUE_EMBEDDING", value_name = "EMBEDDING")]
    pub catalogue_embedding: Option<String>,
    /// What calls cost (prices.toml, as `training advise` reads it); a policy with a limit of cost needs it.
    #[arg(long, env = "RUNG_PRICES", value_name = "FILE")]
    pub prices: Option<PathBuf>,
    /// Milliseconds between two looks at what is read from files, the artifact too; what was changed is read again.
    #[arg(long, env = "RUNG_RELOAD_MS", value_name = "MILLISECONDS")]
    pub reload_ms: Option<u64>,
    /// Folder of a verifier with tuned cascades; CascadeService is not served where none is given.
    #[arg(long, env = "RUNG_VERIFIER", value_name = "FOLDER")]
    pub verifier: Option<PathBuf>,
    /// Key that signs the continuation tokens of cascades, 64 hex digits, the same for all replicas; without one they
    /// are good for this process alone.
    #[arg(long, env = "RUNG_TOKEN_KEY_FILE", value_name = "FILE")]
    pub token_key_file: Option<PathBuf>,
    /// Seconds that a continuation token is good for: 600 by default.
    #[arg(long, env = "RUNG_TOKEN_TTL_S", value_name = "SECONDS")]
    pub token_ttl_s: Option<u64>,
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Folder of the artifact.
    pub artifact: PathBuf,
    /// Where to compute; classifiers stay on the CPU.
    pub backend: Backend,
    /// How the deep tier is served.
    pub deep: DeepOptions,
    /// What answers under the models' names, where it is told.
    pub backends: BTreeMap<ModelName, BackendIdentity>,
    /// Whether calibrators fitted for another backend are served.
    pub allow_foreign_backends: bool,
    /// How often another rung than the policy's is served.
    pub exploration: Exploration,
    /// Decisions at once, at least 1.
    pub decision_slots: usize,
    /// What may wait.
    pub queue_room: QueueRoom,
    /// Queries of one batch at most, at least 1.
    pub max_batch: usize,
    /// Bytes of one request at most, at least 1 KiB.
    pub max_request_bytes: usize,
    /// How long the server answers on after a signal, not ready any more.
    pub drain_delay: Duration,
    /// How long work in flight may take after that.
    pub drain_timeout: Duration,
    /// How log lines look.
    pub log_format: LogFormat,
    /// The decision log, where there is one.
    pub decision_log: Option<DecisionLogConfig>,
    /// The monitors.
    pub monitoring: MonitoringConfig,
    /// Who may call.
    pub access: AccessConfig,
    /// Metrics, traces and readiness.
    pub telemetry: TelemetryConfig,
    /// Envoy's external processing protocol, where it is served.
    pub ext_proc: Option<ExtProcConfig>,
    /// Where administration is served.
    pub admin_listen: Option<SocketAddr>,
    /// The label that says who answers while a candidate is introduced.
    pub sticky_label: Option<String>,
    /// The policy and what it needs.
    pub program: ProgramConfig,
    /// Folder of a verifier with tuned cascades, where they are served.
    pub verifier: Option<PathBuf>,
    /// The key of continuation tokens, where they outlive the process.
    pub token_key_file: Option<PathBuf>,
    /// How long a continuation token is good for, a second to a day.
    pub token_ttl: Duration,
}

impl Config {
    /// How an artifact is loaded.
    pub fn router_options(&self) -> RouterOptions {
        RouterOptions {
            backend: self.backend,
            backends: self.backends.clone(),
            allow_foreign_backends: self.allow_foreign_backends,
            deep: self.deep.clone(),
            exploration: self.exploration,
        }
    }
}

impl Settings {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// When it cannot be read, or a key is unknown or of the wrong type.
    pub fn from_file(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| ConfigError::Io { file: file.to_owned(), source })?;
        toml::from_str(&text)
            .map_err(|e| ConfigError::Malformed { file: file.to_owned(), reason: e.to_string() })
    }

    /// These settings where they are set, `below` where they are not.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        Self {
            listen: self.listen.or(below.listen),
            artifact: self.artifact.or(below.artifact),
            backend: self.backend.or(below.backend),
            encoder_backend: self.encoder_backend.or(below.encoder_backend),
            encoder_precision: self.encoder_precision.or(below.encoder_precision),
            no_deep: self.no_deep.or(below.no_deep),
            deep_workers: self.deep_workers.or(below.deep_workers),
            deep_queue: self.deep_queue.or(below.deep_queue),
            deep_max_batch: self.deep_max_batch.or(below.deep_max_batch),
            deep_max_wait_us: self.deep_max_wait_us.or(below.deep_max_wait_us),
            deep_deadline_ms: self.deep_deadline_ms.or(below.deep_deadline_ms),
            served_by: if self.served_by.is_empty() { below.served_by } else { self.served_by },
            allow_foreign_backends: self.allow_foreign_backends.or(below.allow_foreign_backends),
            explore_dearer: self.explore_dearer.or(below.explore_dearer),
            explore_cheaper: self.explore_cheaper.or(below.explore_cheaper),
            decision_slots: self.decision_slots.or(below.decision_slots),
            queue: self.queue.or(below.queue),
            queue_bytes: self.queue_bytes.or(below.queue_bytes),
            max_batch: self.max_batch.or(below.max_batch),
            max_request_bytes: self.max_request_bytes.or(below.max_request_bytes),
            drain_delay_ms: self.drain_delay_ms.or(below.drain_delay_ms),
            drain_timeout_ms: self.drain_timeout_ms.or(below.drain_timeout_ms),
            log_format: self.log_format.or(below.log_format),
            decision_log: self.decision_log.over(below.decision_log),
            monitoring: self.monitoring.over(below.monitoring),
            access: self.access.over(below.access),
            telemetry: self.telemetry.over(below.telemetry),
            ext_proc: self.ext_proc.over(below.ext_proc),
            admin_listen: self.admin_listen.or(below.admin_listen),
            sticky_label: self.sticky_label.or(below.sticky_label),
            policy: self.policy.or(below.policy),
            catalogue: self.catalogue.or(below.catalogue),
            catalogue_embedding: self.catalogue_embedding.or(below.catalogue_embedding),
            prices: self.prices.or(below.prices),
            reload_ms: self.reload_ms.or(below.reload_ms),
            verifier: self.verifier.or(below.verifier),
            token_key_file: self.token_key_file.or(below.token_key_file),
            token_ttl_s: self.token_ttl_s.or(below.token_ttl_s),
        }
    }

    /// Checks every value and fills in what is not set.
    ///
    /// # Errors
    /// When a value is out of range; the key is named.
    pub fn build(self) -> Result<Config, ConfigError> {
        let backend = self.backend.as_deref().map_or(Ok(Backend::default()), |b| backend("backend", b))?;
        let (deep, program) = (self.deep(backend)?, ProgramConfig::of(&self)?);
        let monitoring = self.monitoring.build()?;
        let telemetry = self.telemetry.build(&monitoring.watch.slices)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let listen = self.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 50051)));
        Ok(Config {
            listen,
            artifact: self.artifact.unwrap_or_else(|| PathBuf::from("models/default")),
            backend,
            deep,
            backends: self.served_by.iter().map(|text| served_by(text)).collect::<Result<_, _>>()?,
            allow_foreign_backends: self.allow_foreign_backends.unwrap_or(false),
            exploration: exploration(self.explore_dearer, self.explore_cheaper)?,
            decision_slots: at_least(
                "decision_slots",
                self.decision_slots.unwrap_or(cores),
                1,
                "at least 1",
            )?,
            queue_room: QueueRoom {
                requests: self.queue.unwrap_or(2_048),
                bytes: self.queue_bytes.unwrap_or(64 << 20),
            },
            max_batch: at_least("max_batch", self.max_batch.unwrap_or(1_024), 1, "at least 1")?,
            max_request_bytes: at_least(
                "max_request_bytes",
                self.max_request_bytes.unwrap_or(4 << 20),
                1 << 10,
                "at least 1024",
            )?,
            drain_delay: Duration::from_millis(self.drain_delay_ms.unwrap_or(0)),
            drain_timeout: Duration::from_millis(self.drain_timeout_ms.unwrap_or(10_000)),
            log_format: self.log_format.unwrap_or_default(),
            decision_log: self.decision_log.build()?,
            monitoring,
            access: self.access.build(listen, self.admin_listen)?,
            telemetry,
            ext_proc: self.ext_proc.build()?,
            admin_listen: self.admin_listen,
            sticky_label: self.sticky_label,
            program,
            verifier: self.verifier,
            token_key_file: self.token_key_file,
            token_ttl: token_ttl(self.token_ttl_s.unwrap_or(600))?,
        })
    }

    /// What suits the encoder's backend, but for what is set.
    fn deep(&self, otherwise: Backend) -> Result<DeepOptions, ConfigError> {
        let chosen = self.encoder_backend.as_deref().map(|name| backend("encoder_backend", name));
        let suited = DeepOptions::on(chosen.transpose()?.unwrap_or(otherwise));
        let precision = self.encoder_precision.as_deref().map(|name| precision(name, suited.backend));
        let counted =
            |key, set: Option<usize>, otherwise| at_least(key, set.unwrap_or(otherwise), 1, "at least 1");
        Ok(DeepOptions {
            enabled: !self.no_deep.unwrap_or(false),
            precision: precision.transpose()?.unwrap_or(suited.precision),
            workers: counted("deep_workers", self.deep_workers, suited.workers)?,
            queue: counted("deep_queue", self.deep_queue, suited.queue)?,
            max_batch: counted("deep_max_batch", self.deep_max_batch, suited.max_batch)?,
            max_wait: self.deep_max_wait_us.map_or(suited.max_wait, Duration::from_micros),
            deadline: self.deep_deadline_ms.map_or(suited.deadline, Duration::from_millis),
            ..suited
        })
    }
}

/// A token that lived longer than a day would outlive what the server remembers of it.
fn token_ttl(seconds: u64) -> Result<Duration, ConfigError> {
    let (key, expected, found) = ("token_ttl_s", "1 to 86400", seconds.to_string());
    let within = (1..=86_400).contains(&seconds);
    if within { Ok(Duration::from_secs(seconds)) } else { Err(ConfigError::Value { key, expected, found }) }
}

/// The backend of a name.
fn backend(key: &'static str, name: &str) -> Result<Backend, ConfigError> {
    name.parse().map_err(|_| ConfigError::Value { key, expected: Backend::EXPECTED, found: name.to_owned() })
}

/// The precision of a name, on a backend that has it.
fn precision(name: &str, backend: Backend) -> Result<EncoderPrecision, ConfigError> {
    let refused = |expected| {
        let found = format!("{name} on {backend}");
        ConfigError::Value { key: "encoder_precision", expected, found }
    };
    match EncoderPrecision::parse(name) {
        None => Err(refused("auto, full or half")),
        Some(EncoderPrecision::Half) if !backend.is_gpu() => {
            Err(refused("half only with an encoder on wgpu"))
        }
        Some(precision) => Ok(precision),
    }
}

fn exploration(dearer: Option<f64>, cheaper: Option<f64>) -> Result<Exploration, ConfigError> {
    let (dearer, cheaper) = (dearer.unwrap_or(0.0), cheaper.unwrap_or(0.0));
    Exploration::new(dearer, cheaper).map_err(|_| ConfigError::Value {
        key: "explore_dearer, explore_cheaper",
        expected: "shares in [0, 1], at most 1 together",
        found: format!("{dearer}, {cheaper}"),
    })
}

fn at_least(
    key: &'static str,
    value: usize,
    least: usize,
    expected: &'static str,
) -> Result<usize, ConfigError> {
    if value >= least {
        return Ok(value);
    }
    Err(ConfigError::Value { key, expected, found: value.to_string() })
}

fn served_by(text: &str) -> Result<(ModelName, BackendIdentity), ConfigError> {
    let parts = text
        .rsplit_once('=')
        .and_then(|(model, backend)| Some((ModelName::new(model).ok()?, BackendIdentity::parse(backend)?)));
    parts.ok_or_else(|| ConfigError::Value {
        key: "served_by",
        expected: "MODEL=NAME/VERSION/PRECISION",
        found: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<Settings, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rung.toml");
        std::fs::write(&path, text).unwrap();
        Settings::from_file(&path)
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let error = file("queue = 3\nqueu = 4\n").unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("queu"), "{error}");
        let error = file("queue = \"many\"\n").unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("queue"), "{error}");
    }

    #[test]
    fn flags_win_over_the_file_and_values_are_checked() {
        let below = file("queue = 3\nmax_batch = 5\nlog_format = \"json\"\n").unwrap();
        let flags = Settings { queue: Some(9), ..Settings::default() };
        let config = flags.over(below).build().unwrap();
        assert_eq!(
            (config.queue_room.requests, config.max_batch, config.log_format),
            (9, 5, LogFormat::Json)
        );
        let bad = Settings { decision_slots: Some(0), ..Settings::default() }.build().unwrap_err();
        assert_eq!(bad.to_string(), "decision_slots: expected at least 1, found 0");
        for seconds in [0, 86_401] {
            let bad = Settings { token_ttl_s: Some(seconds), ..Settings::default() }.build().unwrap_err();
            assert_eq!(bad.to_string(), format!("token_ttl_s: expected 1 to 86400, found {seconds}"));
        }
        let bad = Settings { backend: Some("gpu".into()), ..Settings::default() }.build().unwrap_err();
        assert!(bad.to_string().starts_with("backend: expected flex, ndarray or wgpu"));
        let below = file("no_deep = true\nencoder_backend = \"wgpu\"\ndeep_queue = 7\n").unwrap();
        let deep = Settings { deep_queue: Some(9), ..Settings::default() }.over(below).build().unwrap().deep;
        assert_eq!((deep.enabled, deep.queue, deep.max_batch), (false, 9, 32));
        let bad = Settings { deep_workers: Some(0), ..Settings::default() }.build().unwrap_err();
        assert_eq!(bad.to_string(), "deep_workers: expected at least 1, found 0");
        let bad =
            Settings { encoder_backend: Some("gpu".into()), ..Settings::default() }.build().unwrap_err();
        assert!(bad.to_string().starts_with("encoder_backend: expected flex, ndarray or wgpu"));
        let text = "backend = \"wgpu:discrete:1\"\nencoder_precision = \"half\"\n";
        let deep = file(text).unwrap().build().unwrap().deep;
        assert_eq!(deep.backend, Backend::Wgpu(router::Adapter::Discrete(1)));
        assert_eq!((deep.precision, deep.max_batch), (EncoderPrecision::Half, 32));
        for (backend, asked) in [("flex", "half"), ("wgpu", "double")] {
            let (backend, asked) = (Some(backend.into()), Some(asked.into()));
            let bad = Settings { backend, encoder_precision: asked, ..Settings::default() }.build();
            assert!(bad.unwrap_err().to_string().starts_with("encoder_precision: expected"));
        }
        let below = file("served_by = [\"small=vllm/0.11.2/fp8\"]\n").unwrap();
        let config = below.build().unwrap();
        let (model, backend) = config.backends.first_key_value().unwrap();
        assert_eq!((model.as_str(), backend.precision.as_str()), ("small", "fp8"));
        let bad =
            Settings { served_by: vec!["small=fp8".into()], ..Settings::default() }.build().unwrap_err();
        assert!(bad.to_string().starts_with("served_by: expected MODEL=NAME/VERSION/PRECISION"));
    }
}
