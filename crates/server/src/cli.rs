//! The command line: `serve`, and `route` for people who want to see one decision; `explain` is in its own file.

mod healthy;
mod token;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use router::{ArtifactInfo, Ask, At, DeepOptions, Routed, Router, RouterOptions};
use tokio::net::TcpListener;
use types::{Query, Reason, Threshold, TierWish};

use crate::access::Access;
use crate::config::{Config, ConfigError, LogFormat, Settings};
use crate::explain::ExplainArgs;
use crate::program::Loaded;
use crate::reload::artifact_stamp;
use crate::run::{Listeners, Served, run_with};
use crate::signals::Signals;
use crate::systemd::Sockets;

use self::healthy::HealthyArgs;

/// Routes queries to the cheapest model that will hold.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve decisions over gRPC.
    Serve(Box<ServeArgs>),
    /// Decide one query and print the decision.
    Route(RouteArgs),
    /// Print the way of one query through a policy, every turn with its reason, and the decision at its end.
    Explain(Box<ExplainArgs>),
    /// Bearer tokens of callers.
    Token(token::TokenArgs),
    /// Exit with 0 where a server of this machine is ready, for health checks of containers.
    Healthy(HealthyArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// TOML file; flags and environment win over it.
    #[arg(long, env = "RUNG_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Args)]
struct RouteArgs {
    /// The query.
    text: String,
    /// Folder of the artifact.
    #[arg(long, env = "RUNG_ARTIFACT", default_value = "models/default", value_name = "FOLDER")]
    artifact: PathBuf,
    /// Strong when the win probability reaches this, in [0, 1].
    #[arg(long, conflicts_with = "operating_point")]
    threshold: Option<f64>,
    /// A named threshold of the artifact.
    #[arg(long, default_value = "default")]
    operating_point: String,
    /// A slice the query belongs to, such as category:law.
    #[arg(long, value_name = "TAG")]
    slice: Vec<String>,
    /// Which tier scores.
    #[arg(long, value_enum, default_value_t = Wish::Auto)]
    tier: Wish,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Which tier scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wish {
    /// The fast one, and the deep one where it could change the decision.
    Auto,
    /// The fast one.
    FastOnly,
    /// The deep one.
    DeepAlways,
}

impl From<Wish> for TierWish {
    fn from(wish: Wish) -> Self {
        match wish {
            Wish::Auto => Self::Auto,
            Wish::FastOnly => Self::FastOnly,
            Wish::DeepAlways => Self::DeepAlways,
        }
    }
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// When the configuration or the artifact is refused or serving fails.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Serve(args) => args.run(),
            Command::Route(args) => args.run(),
            Command::Explain(args) => args.run(),
            Command::Token(args) => args.run(),
            Command::Healthy(args) => args.run(),
        }
    }
}

impl ServeArgs {
    fn config(self) -> Result<Config, ConfigError> {
        let file = self.config.as_deref().map(Settings::from_file).transpose()?.unwrap_or_default();
        self.settings.over(file).build()
    }

    fn run(self) -> Result<()> {
        let config = self.config()?;
        log_to_stderr(config.log_format);
        panics_to_log();
        raise_file_limit(config.access.connections.most);
        // While there is one thread.
        let sockets = Sockets::from_environment()?;
        // One thread more than slots: somebody must be free to say no.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.decision_slots + 1)
            .enable_all()
            .build()
            .context("starting the runtime")?;
        runtime.block_on(serve(&config, sockets))
    }
}

async fn serve(config: &Config, mut sockets: Sockets) -> Result<()> {
    let Signals { shutdown, reload } = Signals::listen()?;
    let access = Access::open(&config.access)?;
    config.admin_listen.map_or(Ok(()), |address| access.may_administer(address))?;
    let artifact = artifact_stamp(&config.artifact);
    router::encoder_threads_begin_here();
    let router = Router::load(&config.artifact, &config.router_options())?;
    let program = Loaded::read(config, router.info(), crate::cascade::load(config)?)?;
    let listener = match sockets.take("grpc")? {
        Some(listener) => listener,
        None => TcpListener::bind(config.listen).await.with_context(|| config.listen.to_string())?,
    };
    let (admin, http) = (sockets.take("admin")?, sockets.take("http")?);
    let listeners = Listeners::new(listener, admin, http, config).await?;
    sockets.tell_left();
    let info = router.info();
    if info.simulated {
        tracing::warn!("this artifact was trained on simulated outcomes: for trying, not for production");
    }
    for warning in &info.warnings {
        tracing::warn!(warning);
    }
    tracing::info!(
        address = %listeners.grpc.local_addr()?,
        artifact = info.name,
        version = info.version,
        pair = %info.default_pair,
        deep_engine = router.deep_engine().unwrap_or_else(|| "none".to_owned()),
        "serving"
    );
    let shutdown = async move {
        // Signals are listened to for as long as the process lives.
        let _ = shutdown.await;
    };
    let served = Served { router: Arc::new(router), artifact, program, access };
    Ok(run_with(listeners, served, config, shutdown, reload).await?)
}

/// Says where a panic was and not what it said: a slice that fails quotes the text it was to cut, and that is a prompt.
fn panics_to_log() {
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string);
        let thread = std::thread::current();
        tracing::error!(at, thread = thread.name(), "panic");
    }));
}

/// Connections are files, and the usual soft limit of 1,024 is there for the sake of programs older than poll.
fn raise_file_limit(connections: usize) {
    /// For the log, the artifact and listeners.
    const OTHERS: u64 = 256;
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) if files < connections as u64 + OTHERS => {
            tracing::warn!(files, connections, "fewer files may be open than max_connections would need");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
}

fn log_to_stderr(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("RUNG_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

impl RouteArgs {
    fn run(self) -> Result<()> {
        // Nobody waits behind this query: its encoder may take its time.
        let deep = DeepOptions { deadline: Duration::from_secs(10), ..DeepOptions::default() };
        let router = Router::load(&self.artifact, &RouterOptions { deep, ..RouterOptions::default() })?;
        let info = router.info();
        let at = match self.threshold {
            Some(value) => At::Threshold(Threshold::new(value)?),
            None => At::OperatingPoint(&self.operating_point),
        };
        let (query, ladder) = (Query::text(&self.text), info.default_pair.clone().into());
        let ask = Ask { slices: &self.slice, tier: self.tier.into(), ..Ask::new(&query, &ladder, at) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let start = Instant::now();
        let routed = runtime.block_on(router.decide(&ask, None))?;
        let time_us = start.elapsed().as_secs_f64() * 1e6;
        let line = if self.json {
            as_json(&routed, info, time_us).to_string()
        } else {
            as_text(&routed, info, time_us)
        };
        Ok(writeln!(std::io::stdout(), "{line}")?)
    }
}

pub(crate) fn as_json(routed: &Routed, info: &ArtifactInfo, time_us: f64) -> serde_json::Value {
    let decision = &routed.decision;
    serde_json::json!({
        "tier": decision.tier.as_str(),
        "model": decision.model.as_str(),
        "win_probability": decision.win_probability.get(),
        "interval": [decision.interval.lower().get(), decision.interval.upper().get()],
        "threshold": decision.threshold.get(),
        "reason": decision.reason.as_str(),
        "scored_by": routed.scored_by().as_str(),
        "scored_by_reason": routed.tier_reason.as_str(),
        "fast_win_probability": decision.fast_win_probability.get(),
        "input_tokens_used": routed.tokens_used,
        "input_truncated": routed.truncated,
        "artifact": info.name,
        "artifact_version": info.version,
        "simulated": info.simulated,
        "decision_time_us": time_us,
    })
}

pub(crate) fn as_text(routed: &Routed, info: &ArtifactInfo, time_us: f64) -> String {
    let decision = &routed.decision;
    let why = match decision.reason {
        Reason::AtOrAboveThreshold => format!(">= {:.3}", decision.threshold.get()),
        Reason::BelowThreshold => format!("< {:.3}", decision.threshold.get()),
        Reason::HighStakes => "of high stakes, without a certificate".to_owned(),
        Reason::Explored => format!("explored; the policy chooses {}", decision.policy_model),
        Reason::ByPolicy => "whatever it is: the policy names the model".to_owned(),
        Reason::Cascade => "whatever it is: the cascade begins here".to_owned(),
    };
    let odds = if decision.evidence.is_empty() {
        "the artifact knows nothing of this model".to_owned()
    } else {
        format!(
            "P(strong is strictly better) = {:.3} [{:.3}, {:.3}] {why}",
            decision.win_probability.get(),
            decision.interval.lower().get(),
            decision.interval.upper().get(),
        )
    };
    format!(
        "{} → {}   {odds}   ({} tier: {}, {} tokens, {time_us:.0} µs, {} {}{})",
        decision.tier.as_str(),
        decision.model,
        routed.scored_by().as_str(),
        routed.tier_reason.as_str(),
        routed.tokens_used,
        info.name,
        info.version,
        if info.simulated { ", simulated" } else { "" },
    )
}
