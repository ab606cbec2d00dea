//! The command line of the load client.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use super::bodies::{Queries, Shape, Tier};
use super::capacity::CapacityArgs;
use super::chaos::{self, Chaos};
use super::cost::Cost;
use super::drive::{Load, Plan};
use super::pace::Arrivals;
use super::process::{Feature, Server, Setup, Usage};
use super::reload::{Reload, Sources};
use super::saturate::{Search, busy};
use super::say::say;
use super::scrape::Scraper;
use super::soak::Soak;
use super::wire::{Endpoint, TlsFiles};
use crate::artifact;

/// Puts a server under load and says what came of it. Latencies are counted from when a request was due, whether or not
/// the client could send it then.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One run at a fixed rate, or with callers that wait for their answers.
    Run(RunArgs),
    /// The highest rate that is kept with a bound on p99.
    Saturate(SaturateArgs),
    /// What TLS, tokens, the decision log and metrics cost, one by one and together.
    Cost(CostArgs),
    /// Minutes at a share of what a server can: memory, errors, p99.
    Soak(SoakArgs),
    /// Everything that can be replaced while serving, replaced under load.
    Reload(ReloadArgs),
    /// The server killed, stopped, without disk and with another clock while clients ask.
    Chaos(ChaosArgs),
    /// A capacity model fitted to measurements, and carried on to any rate.
    Capacity(CapacityArgs),
    /// The server itself, as the other commands start it where they are not given another.
    #[command(hide = true, disable_help_flag = true)]
    Server {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

/// Which server is started.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArgs {
    /// The binary to put under load; the server that is built into this program by default.
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
    /// Folder of the artifact; the one that users get by default.
    #[arg(long, value_name = "FOLDER")]
    artifact: Option<PathBuf>,
    /// What is switched on: everything by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    on: Option<Vec<Feature>>,
    /// Nothing of it is.
    #[arg(long, conflicts_with = "on")]
    bare: bool,
    /// A further flag of the server, such as --flag=--queue=1024.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    flag: Vec<OsString>,
}

impl ServerArgs {
    pub(crate) fn setup(&self) -> Result<Setup> {
        let features = match &self.on {
            _ if self.bare => Vec::new(),
            Some(features) => features.clone(),
            None => Feature::ALL.to_vec(),
        };
        let artifact = self.artifact.clone().unwrap_or_else(artifact);
        let mut setup = Setup::new(self.server.as_deref(), &artifact, &features)?;
        setup.flags.extend(self.flag.iter().cloned());
        Ok(setup)
    }
}

/// What is asked.
#[derive(Debug, Clone, Args)]
pub(crate) struct TrafficArgs {
    /// unary, batch:N or stream.
    #[arg(long, default_value = "unary", value_parser = Shape::parse)]
    shape: Shape,
    /// Lengths of the queries in tokens, taken in turn.
    #[arg(long, default_value = "64", value_delimiter = ',', value_name = "TOKENS")]
    length: Vec<usize>,
    /// How many different texts there are of each length.
    #[arg(long, default_value_t = 128, value_name = "TEXTS")]
    distinct: usize,
    /// The tier that is wished for.
    #[arg(long, value_enum, default_value_t = Tier::Fast)]
    tier: Tier,
    /// Labels of every query, such as priority=low.
    #[arg(long, value_parser = pair, value_name = "KEY=VALUE")]
    label: Vec<(String, String)>,
    /// Connections.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Streams of each connection.
    #[arg(long, default_value_t = 8)]
    streams: usize,
    /// Threads of the client.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Seconds at first in which nothing is counted.
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
    warmup: f64,
    /// Deadline of a call in milliseconds.
    #[arg(long, value_name = "MILLISECONDS")]
    timeout_ms: Option<u64>,
    /// Seconds for which a call that broke or was shed is made again.
    #[arg(long, value_name = "SECONDS")]
    patience: Option<f64>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("expected KEY=VALUE, found {text:?}"))?;
    Ok((key.to_owned(), value.to_owned()))
}

impl TrafficArgs {
    pub(crate) fn plan(&self, load: Load, seconds: f64) -> Result<Plan> {
        let time = |seconds: f64| Duration::try_from_secs_f64(seconds).context("a number of seconds");
        let queries = Queries {
            lengths: self.length.clone(),
            distinct: self.distinct.max(1),
            tier: self.tier,
            labels: self.label.clone(),
        };
        Ok(Plan {
            warmup: time(self.warmup)?,
            connections: self.connections,
            streams: self.streams.max(1),
            threads: self.threads,
            timeout: self.timeout_ms.map(Duration::from_millis),
            patience: self.patience.map(time).transpose()?,
            ..Plan::new(self.shape, queries, load, time(seconds)?)
        })
    }
}

/// Which server is asked: one that is started, or one that runs elsewhere.
#[derive(Debug, Args)]
struct TargetArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Host and port of a server that runs already; none is started.
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// Who is trusted there, PEM; without it there is no TLS.
    #[arg(long, value_name = "FILE", requires = "address")]
    ca: Option<PathBuf>,
    /// The name that its certificate must have.
    #[arg(long, default_value = "localhost", value_name = "NAME")]
    server_name: String,
    /// The client's own certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "client_key", requires = "ca")]
    client_cert: Option<PathBuf>,
    /// Its key, PEM.
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// File of a bearer token.
    #[arg(long, value_name = "FILE", requires = "address")]
    token_file: Option<PathBuf>,
    /// The tenant that is asked for.
    #[arg(long)]
    tenant: Option<String>,
}

impl TargetArgs {
    /// The server, where one is started, and where it is.
    fn start(&self) -> Result<(Option<Server>, Endpoint)> {
        let (server, mut endpoint) = match &self.address {
            None => {
                let server = Server::start(self.server.setup()?)?;
                let endpoint = server.endpoint()?;
                (Some(server), endpoint)
            }
            Some(address) => (None, self.elsewhere(address)?),
        };
        if let Some(tenant) = &self.tenant {
            endpoint = endpoint.header("x-rung-tenant", tenant)?;
        }
        Ok((server, endpoint))
    }

    fn elsewhere(&self, address: &str) -> Result<Endpoint> {
        let client = self.client_cert.clone().zip(self.client_key.clone());
        let name = self.server_name.clone();
        let files = self.ca.clone().map(|ca| TlsFiles { ca, client, name });
        let endpoint = Endpoint::new(address, files.as_ref())?;
        let Some(file) = &self.token_file else { return Ok(endpoint) };
        endpoint.token(&std::fs::read_to_string(file).with_context(|| file.display().to_string())?)
    }
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    traffic: TrafficArgs,
    /// Decisions a second; without it callers wait for their answers.
    #[arg(long, value_name = "DECISIONS")]
    rate: Option<f64>,
    /// How requests arrive.
    #[arg(long, value_enum, default_value_t = Arrivals::Poisson)]
    arrivals: Arrivals,
    /// Callers that wait for their answers, where there is no rate.
    #[arg(long, conflicts_with = "rate")]
    callers: Option<usize>,
    /// How long, without the warm-up.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Stretches of time that are told apart.
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS")]
    window: f64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl RunArgs {
    fn run(&self) -> Result<()> {
        let load = match (self.rate, self.callers) {
            (Some(per_second), _) => Load::Open { per_second, arrivals: self.arrivals },
            (None, Some(callers)) => Load::Closed { callers },
            (None, None) => busy(self.traffic.shape),
        };
        let window = Duration::try_from_secs_f64(self.window)?;
        let plan = Plan { window, ..self.traffic.plan(load, self.seconds)? };
        let (server, endpoint) = self.target.start()?;
        let scraper = server.as_ref().and_then(Server::metrics).map(Scraper::start).transpose()?;
        let own = || server.as_ref().map(Server::usage).transpose();
        let before = (own()?, Usage::of_self()?);
        let report = plan.run(&endpoint)?;
        let after = (own()?, Usage::of_self()?);
        if self.json {
            say(serde_json::to_string_pretty(&report)?);
            return Ok(());
        }
        say(report.text());
        let seconds = plan.warmup.as_secs_f64() + report.seconds;
        let share = |before: Usage, after: Usage| 100.0 * (after.cpu_s - before.cpu_s) / seconds;
        say(format!("client: {:.0} % of a core", share(before.1, after.1)));
        if let (Some(before), Some(after)) = (before.0, after.0) {
            let (now, peak) = (after.resident_mb, after.peak_mb);
            say(format!(
                "server: {:.0} % of a core, {now:.0} MB, {peak:.0} MB at most",
                share(before, after)
            ));
        }
        if let Some(scraper) = scraper {
            say(format!("metrics were read {} times", scraper.scraped()));
        }
        if let Some(server) = server {
            let (log, _) = server.stop()?;
            say(format!(
                "log: {} stored, {} in the spool, {} given up",
                log.stored, log.spooled, log.dropped
            ));
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Args)]
struct SearchArgs {
    /// The p99 that a rate must keep, in milliseconds.
    #[arg(long, default_value_t = 10.0, value_name = "MILLISECONDS")]
    p99_ms: f64,
    /// Rates that are tried.
    #[arg(long, default_value_t = 7)]
    steps: u32,
    /// Seconds that each is tried for.
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    step_seconds: f64,
}

impl SearchArgs {
    fn search(&self) -> Result<(Search, Duration)> {
        let bound = Duration::try_from_secs_f64(self.p99_ms / 1e3)?;
        let search = Search { bound, steps: self.steps, arrivals: Arrivals::Poisson };
        Ok((search, Duration::try_from_secs_f64(self.step_seconds)?))
    }
}

#[derive(Debug, Args)]
struct SaturateArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    traffic: TrafficArgs,
    #[command(flatten)]
    search: SearchArgs,
}

impl SaturateArgs {
    fn run(&self) -> Result<()> {
        let (search, _) = self.search.search()?;
        let plan = self.traffic.plan(busy(self.traffic.shape), self.search.step_seconds)?;
        let (server, endpoint) = self.target.start()?;
        let scraper = server.as_ref().and_then(Server::metrics).map(Scraper::start).transpose()?;
        let found = search.highest(&endpoint, &plan)?;
        drop(scraper);
        say(format!("\nhighest rate kept: {:.0} decisions/s\n{}", found.per_second, found.report.text()));
        if let Some(server) = server {
            let peak = server.usage()?.peak_mb;
            let (log, _) = server.stop()?;
            say(format!(
                "server: {peak:.0} MB at most; log: {} stored, {} given up",
                log.stored, log.dropped
            ));
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
struct CostArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    traffic: TrafficArgs,
    /// Decisions a second of the steady runs.
    #[arg(long, default_value_t = 4_000.0, value_name = "DECISIONS")]
    rate: f64,
    /// Seconds of each run.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Rounds; medians of their differences are shown.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
}

#[derive(Debug, Args)]
struct SoakArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    traffic: TrafficArgs,
    #[command(flatten)]
    search: SearchArgs,
    /// How long.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Share of the highest rate.
    #[arg(long, default_value_t = 0.7)]
    share: f64,
    /// The highest rate, where it is known; it is looked for otherwise.
    #[arg(long, value_name = "DECISIONS")]
    capacity: Option<f64>,
    /// Where the outcome is left as JSON too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl SoakArgs {
    fn run(&self) -> Result<Vec<String>> {
        let plan = self.traffic.plan(busy(self.traffic.shape), 60.0 * self.minutes)?;
        let (search, setup) = (self.search.search()?, self.server.setup()?);
        let outcome = Soak { setup, plan, share: self.share, capacity: self.capacity, search }.run()?;
        say(outcome.text());
        if let Some(file) = &self.json {
            std::fs::write(file, serde_json::to_string_pretty(&outcome)?)?;
        }
        Ok(outcome.missed)
    }
}

#[derive(Debug, Args)]
struct ReloadArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    traffic: TrafficArgs,
    /// Decisions a second.
    #[arg(long, default_value_t = 3_000.0, value_name = "DECISIONS")]
    rate: f64,
    /// Seconds between two replacements.
    #[arg(long, default_value_t = 6.0, value_name = "SECONDS")]
    every: f64,
    /// Seconds of the stretches that are compared.
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
    window: f64,
}

impl ReloadArgs {
    fn run(&self) -> Result<Vec<String>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let sources = Sources {
            policy: root.join("benches/policy.toml"),
            prices: root.join("examples/prices.toml"),
            catalogue: root.join("crates/semantic/fixtures/intents.toml"),
        };
        let window = Duration::try_from_secs_f64(self.window)?;
        let plan = Plan { window, ..self.traffic.plan(busy(self.traffic.shape), self.every)? };
        let every = Duration::try_from_secs_f64(self.every)?;
        let setup = self.server.setup()?;
        let outcome = Reload { setup, plan, per_second: self.rate, every, sources }.run()?;
        say(outcome.text());
        Ok(outcome.missed())
    }
}

#[derive(Debug, Args)]
struct ChaosArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    traffic: TrafficArgs,
    /// Decisions a second.
    #[arg(long, default_value_t = 2_000.0, value_name = "DECISIONS")]
    rate: f64,
    /// Seconds of each fault's run.
    #[arg(long, default_value_t = 12.0)]
    seconds: f64,
    /// How often the server is killed.
    #[arg(long, default_value_t = 5)]
    kills: u32,
    /// Seconds that the server is stopped, and that its disk is full.
    #[arg(long, default_value_t = 3.0, value_name = "SECONDS")]
    outage: f64,
}

impl ChaosArgs {
    fn run(&self) -> Result<()> {
        let mut plan = self.traffic.plan(busy(self.traffic.shape), self.seconds)?;
        // Clients that are worth the name ask again.
        plan.patience.get_or_insert(Duration::from_secs(30));
        let outage = Duration::try_from_secs_f64(self.outage)?;
        let (setup, kills, per_second) = (self.server.setup()?, self.kills, self.rate);
        let rows = Chaos { setup, plan, per_second, kills, outage }.run()?;
        say(format!("\n{}", chaos::text(&rows)));
        chaos::judge(&rows)
    }
}

impl Cli {
    /// Runs the command; what was missed of its targets, where it has some.
    ///
    /// # Errors
    /// When it cannot be carried out.
    pub fn run(self) -> Result<Vec<String>> {
        match self.command {
            Command::Run(args) => args.run()?,
            Command::Saturate(args) => args.run()?,
            Command::Cost(args) => {
                let plan = args.traffic.plan(busy(args.traffic.shape), args.seconds)?;
                let setup = args.server.setup()?;
                Cost { setup, plan, per_second: args.rate, rounds: args.rounds }.run()?;
            }
            Command::Soak(args) => return args.run(),
            Command::Reload(args) => return args.run(),
            Command::Chaos(args) => args.run()?,
            Command::Capacity(args) => args.run()?,
            Command::Server { args } => {
                let name = OsString::from("server");
                server::cli::Cli::parse_from(std::iter::once(name).chain(args)).run()?;
            }
        }
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
