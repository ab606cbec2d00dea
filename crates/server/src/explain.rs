//! `explain`: the way of one query through the policy, with the configuration that a server would be given.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use router::{DeepOptions, Routed, Router, RouterOptions};
use types::{Query, TierWish};

use crate::cli::{as_json, as_text};
use crate::config::{Config, Settings};
use crate::convert::{Asked, Source, slice};
use crate::intents::About;
use crate::program::{Loaded, Told, Walk};
use crate::service::settled;

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The query.
    text: String,
    /// TOML file of a server; flags and environment win over it.
    #[arg(long, env = "RUNG_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// A label of the request, such as tenant=acme; a key alone is a label that is true.
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

impl ExplainArgs {
    pub(crate) fn run(self) -> Result<()> {
        let file = self.config.as_deref().map(Settings::from_file).transpose()?.unwrap_or_default();
        let config = self.settings.over(file).build()?;
        // Nobody waits behind this query: its encoder may take its time.
        let deep = DeepOptions { deadline: Duration::from_secs(10), ..config.deep.clone() };
        let router = Router::load(&config.artifact, &RouterOptions { deep, ..config.router_options() })?;
        let explained = Explained::of(&self.text, &self.label, &router, &config)?;
        let said =
            if self.json { explained.to_json(&router).to_string() } else { explained.to_text(&router) };
        Ok(writeln!(std::io::stdout(), "{said}")?)
    }
}

/// A query that was decided, and how.
struct Explained {
    /// None without a policy.
    walk: Option<Walk>,
    routed: Routed,
    source: Source,
    time_us: f64,
}

impl Explained {
    fn of(text: &str, labels: &[String], router: &Router, config: &Config) -> Result<Self> {
        let loaded = Loaded::read(config, router.info(), crate::cascade::load(config)?)?;
        let slices = labels.iter().map(|label| {
            let (key, value) = label.split_once('=').unwrap_or((label, ""));
            slice(key, value)
        });
        let mut asked = Asked {
            query: Query::text(text),
            ladder: router.info().default_pair.clone().into(),
            models_field: "models",
            source: Source::default(),
            slices: slices.collect(),
            tier: TierWish::Auto,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let start = Instant::now();
        let mut walk = Walk::new(&loaded.version, &asked.query, asked.slices.clone());
        let begun = match &mut walk {
            Some(walk) => walk.begin(router, &mut asked, "", None, true)?,
            None => router.begin(&asked.ask(""), None)?,
        };
        let routed = runtime.block_on(settled(router, &mut asked, begun, walk.as_mut(), "", None))?;
        let time_us = start.elapsed().as_secs_f64() * 1e6;
        Ok(Self { walk, routed, source: asked.source, time_us })
    }

    fn to_text(&self, router: &Router) -> String {
        let mut said = String::new();
        if let Some(path) = self.walk.as_ref().and_then(Walk::path) {
            for step in path.steps() {
                let _ = writeln!(said, "{step}");
            }
            let _ = writeln!(said, "runs: {}", path.leaf());
        } else {
            said.push_str("there is no policy: the default pair at the operating point \"default\"\n");
        }
        match self.walk.as_ref().map(Walk::told) {
            None | Some(Told::Unasked) => {}
            Some(Told::Unavailable(reason)) => _ = writeln!(said, "intent: cannot be told: {reason}"),
            Some(Told::About(About { best, score, probability, p_value, reason, .. })) => {
                let off_topic = p_value.map(|p| format!(", p-value of off topic {p:.3}")).unwrap_or_default();
                let (best, reason) = (if best.is_empty() { "none" } else { best }, reason.as_str());
                let _ = writeln!(
                    said,
                    "intent: {best}, {reason} (p {probability:.2}, score {score:.3}{off_topic})"
                );
            }
        }
        said.push_str(&as_text(&self.routed, router.info(), self.time_us));
        said
    }

    fn to_json(&self, router: &Router) -> serde_json::Value {
        let path = self.walk.as_ref().and_then(Walk::path);
        let steps = path.iter().flat_map(strategy::Path::steps).map(|step| {
            serde_json::json!({
                "kind": step.kind.as_str(), "name": step.name, "reason": step.reason.to_string(), "line": step.line,
            })
        });
        let intent = match self.walk.as_ref().map(Walk::told) {
            None | Some(Told::Unasked) => serde_json::Value::Null,
            Some(Told::Unavailable(reason)) => serde_json::json!({ "unavailable": reason }),
            Some(Told::About(About { best, score, probability, p_value, reason, .. })) => serde_json::json!({
                "best": best, "reason": reason.as_str(), "probability": probability, "score": score,
                "p_value": p_value,
            }),
        };
        serde_json::json!({
            "path": steps.collect::<Vec<_>>(),
            "runs": path.as_ref().map(|path| path.leaf().to_string()),
            "strategy": path.as_ref().and_then(strategy::Path::strategy),
            "intent": intent,
            "threshold_source": self.source.to_wire(),
            "decision": as_json(&self.routed, router.info(), self.time_us),
        })
    }
}
