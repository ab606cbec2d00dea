//! Everything that can be replaced while a server serves, replaced under load: does a request fail, does one wait.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::v1;
use artifact::Artifact;
use prost::Message;
use router::Backend;

use super::credentials::{Renewed, point};
use super::drive::{Load, Plan};
use super::pace::Arrivals;
use super::process::{Feature, Server, Setup};
use super::say::{Table, median, say};
use super::scrape::Scraper;
use super::tally::Report;
use super::wire::{Endpoint, once};

/// What a p99 may be beside a replacement, of what it is otherwise.
const MOST_RATIO: f64 = 3.0;
/// How long a replacement may take until it is in force.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is replaced, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thing {
    Artifact,
    Policy,
    Prices,
    Catalogue,
    Tokens,
    Certificate,
}

impl Thing {
    const ALL: [Self; 6] =
        [Self::Artifact, Self::Policy, Self::Prices, Self::Catalogue, Self::Tokens, Self::Certificate];

    fn name(self) -> &'static str {
        match self {
            Self::Artifact => "artifact",
            Self::Policy => "policy",
            Self::Prices => "prices",
            Self::Catalogue => "catalogue",
            Self::Tokens => "tokens",
            Self::Certificate => "certificate",
        }
    }

    /// Whether a server that has these things switched on has it.
    fn there(self, setup: &Setup) -> bool {
        match self {
            Self::Tokens => setup.has(Feature::Auth),
            Self::Certificate => setup.has(Feature::Tls),
            _ => true,
        }
    }
}

/// How it is measured.
#[derive(Debug, Clone)]
pub(crate) struct Reload {
    /// The server; its artifact is the one that is replaced.
    pub(crate) setup: Setup,
    /// How it is asked; the rate is fixed, windows are those that are compared.
    pub(crate) plan: Plan,
    /// Decisions a second.
    pub(crate) per_second: f64,
    /// Between two replacements.
    pub(crate) every: Duration,
    /// Where policy, prices and catalogue come from.
    pub(crate) sources: Sources,
}

/// Files that are copied and changed.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    /// A policy.
    pub(crate) policy: PathBuf,
    /// Prices of the artifact's models.
    pub(crate) prices: PathBuf,
    /// A catalogue that has the policy's intents.
    pub(crate) catalogue: PathBuf,
}

/// One replacement.
#[derive(Debug)]
struct Swap {
    thing: Thing,
    at: Duration,
    /// Until it was seen in force; nothing where it is not to be seen from outside.
    in_force: Option<Duration>,
}

/// What came of all.
#[derive(Debug)]
pub(crate) struct Outcome {
    report: Report,
    swaps: Vec<Swap>,
}

impl Reload {
    /// Runs it.
    ///
    /// # Errors
    /// When the server does not start, or something that was replaced does not come into force.
    pub(crate) fn run(&self) -> Result<Outcome> {
        let config = tempfile::tempdir()?;
        let files = Files::make(config.path(), &self.setup.artifact, &self.sources)?;
        let setup = Setup { artifact: config.path().join("artifact"), ..self.setup.clone() }
            .flag("--policy", files.live("policy.toml"))
            .flag("--prices", files.live("prices.toml"))
            .flag("--catalogue", files.live("catalogue.toml"));
        let mut server = Server::start(setup)?;
        let scraper = server.metrics().map(Scraper::start).transpose()?;
        let endpoint = server.endpoint()?;
        let things: Vec<_> = Thing::ALL.into_iter().filter(|thing| thing.there(&self.setup)).collect();
        let load = Load::Open { per_second: self.per_second, arrivals: Arrivals::Poisson };
        let duration = self.every * u32::try_from(things.len() + 2)?;
        let plan = Plan { load, duration, ..self.plan.clone() };
        let begin = Instant::now() + Duration::from_millis(200);
        let (report, swaps) = std::thread::scope(|scope| {
            let run = scope.spawn(|| plan.run_from(&endpoint, begin));
            let swaps = self.swaps(&things, &mut server, &files, &endpoint, begin + plan.warmup);
            let report = run.join().map_err(|_| anyhow::anyhow!("the client panicked"))??;
            anyhow::Ok((report, swaps?))
        })?;
        drop(scraper);
        server.stop()?;
        Ok(Outcome { report, swaps })
    }

    fn swaps(
        &self,
        things: &[Thing],
        server: &mut Server,
        files: &Files,
        endpoint: &Endpoint,
        start: Instant,
    ) -> Result<Vec<Swap>> {
        let mut swaps = Vec::new();
        for (n, &thing) in (1u32..).zip(things) {
            let due = start + self.every * n;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let before = seen(thing, server, endpoint)?;
            let at = start.elapsed();
            let second = match thing {
                Thing::Tokens => Some(server.credentials().renew(Renewed::Tokens)?),
                Thing::Certificate => server.credentials().renew(Renewed::Certificate).map(|_| None)?,
                other => files.replace(other).map(|()| None)?,
            };
            server.signal("HUP")?;
            let in_force = until_seen(thing, server, endpoint, &before, second.as_deref())
                .with_context(|| format!("{} was replaced", thing.name()))?;
            say(format!("{:.1} s: {} replaced", at.as_secs_f64(), thing.name()));
            swaps.push(Swap { thing, at, in_force });
        }
        Ok(swaps)
    }
}

/// What a caller can see of the version in force: bytes that differ where the version does.
fn seen(thing: Thing, server: &Server, endpoint: &Endpoint) -> Result<Vec<u8>> {
    let info = || {
        let answer = once(endpoint, "/rung.v1.RouterService/GetInfo", &v1::GetInfoRequest {})?;
        anyhow::Ok(v1::GetInfoResponse::decode(answer)?)
    };
    let policy = || {
        let policy = info()?.policy.context("the server has no policy")?;
        ensure!(policy.refused.is_empty(), "refused: {}", policy.refused.join("; "));
        anyhow::Ok(policy.version)
    };
    Ok(match thing {
        Thing::Artifact => info()?.artifact_version.into_bytes(),
        Thing::Policy | Thing::Prices => policy()?.into_bytes(),
        Thing::Catalogue => {
            let path = "/rung.v1.SemanticService/GetCatalogue";
            let answer = once(endpoint, path, &v1::GetCatalogueRequest {})?;
            v1::GetCatalogueResponse::decode(answer)?.version.into_bytes()
        }
        Thing::Certificate => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(endpoint.certificate())?.unwrap_or_default()
        }
        Thing::Tokens => server.address().as_bytes().to_vec(),
    })
}

/// Waits until a caller sees another version, or until the new token is let in. New prices are not seen from outside.
fn until_seen(
    thing: Thing,
    server: &Server,
    endpoint: &Endpoint,
    before: &[u8],
    second: Option<&str>,
) -> Result<Option<Duration>> {
    if thing == Thing::Prices {
        return Ok(None);
    }
    let begun = Instant::now();
    loop {
        let changed = match second {
            Some(token) => seen(Thing::Artifact, server, &endpoint.clone().token(token)?).is_ok(),
            None => seen(thing, server, endpoint)? != before,
        };
        if changed {
            return Ok(Some(begun.elapsed()));
        }
        ensure!(begun.elapsed() < PATIENCE, "not in force after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The files behind links, in a folder.
struct Files {
    folder: PathBuf,
}

impl Files {
    /// Two artifacts, one a copy that knows its default pair alone, and the policy's files.
    fn make(folder: &Path, artifact: &Path, sources: &Sources) -> Result<Self> {
        let files = Self { folder: folder.to_owned() };
        let whole = fs::canonicalize(artifact).with_context(|| artifact.display().to_string())?;
        lean(&whole, &files.at("lean"))?;
        point(&files.at("artifact"), &whole)?;
        let first = files.at("config-0");
        fs::create_dir(&first)?;
        let names = [
            (&sources.policy, "policy.toml"),
            (&sources.prices, "prices.toml"),
            (&sources.catalogue, "catalogue.toml"),
        ];
        for (source, name) in names {
            fs::copy(source, first.join(name)).with_context(|| source.display().to_string())?;
        }
        point(&files.at("config"), &first)?;
        Ok(files)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A file of the policy's, through the link.
    fn live(&self, name: &str) -> PathBuf {
        self.at("config").join(name)
    }

    fn replace(&self, thing: Thing) -> Result<()> {
        if thing == Thing::Artifact {
            return point(&self.at("artifact"), &self.at("lean"));
        }
        let next = self.at(&format!("config-{}", thing.name()));
        fs::create_dir(&next)?;
        for name in ["policy.toml", "prices.toml", "catalogue.toml"] {
            let mut text = fs::read_to_string(self.live(name))?;
            if name.strip_suffix(".toml") == Some(thing.name()) {
                text = changed(thing, &text);
            }
            fs::write(next.join(name), text)?;
        }
        point(&self.at("config"), &next)
    }
}

/// The same file with a change that does not change decisions much.
fn changed(thing: Thing, text: &str) -> String {
    match thing {
        // One more exemplar of what is nobody's business.
        Thing::Catalogue => {
            text.replacen("off_topic = [", "off_topic = [\n    \"how tall is the Eiffel tower\",", 1)
        }
        Thing::Prices => text.replacen("input_tokens = 1000", "input_tokens = 1001", 1),
        _ => format!("{text}\n# Replaced under load.\n"),
    }
}

/// Writes a copy of an artifact that knows its default pair alone: another version, for the same callers.
fn lean(whole: &Path, to: &Path) -> Result<()> {
    let whole = Artifact::load(whole, Backend::default())?;
    let pair = whole.default_pair().clone();
    let mut draft = whole.draft();
    draft.calibrators.retain(|calibrator| calibrator.pair == pair);
    if let Some(deep) = &mut draft.deep {
        deep.pairs.retain(|of| of.calibrator.pair == pair);
    }
    for point in draft.operating_points.values_mut() {
        point.retain(|of, _| *of == pair.to_string());
    }
    draft.operating_points.retain(|_, pairs| !pairs.is_empty());
    draft.write(to, |_| vec![])?;
    Ok(())
}

impl Outcome {
    /// The p99 of the windows that no replacement touched, and of those that each did, with the one after.
    fn p99s(&self) -> (f64, Vec<f64>) {
        let windows = &self.report.windows;
        let length = windows.get(1).map_or(f64::INFINITY, |w| w.from_s);
        let at = |swap: &Swap| (swap.at.as_secs_f64() / length) as usize;
        let touched: Vec<usize> = self.swaps.iter().flat_map(|swap| [at(swap), at(swap) + 1]).collect();
        let calm = windows.iter().enumerate().filter(|(i, w)| !touched.contains(i) && w.decisions > 0);
        let calm = median(calm.map(|(_, w)| w.latency.p99_ms).collect());
        let beside = |swap: &Swap| {
            let near = windows.iter().skip(at(swap)).take(2);
            near.map(|w| w.latency.p99_ms).fold(0.0, f64::max)
        };
        (calm, self.swaps.iter().map(beside).collect())
    }

    /// What was missed; nothing where all is well.
    pub(crate) fn missed(&self) -> Vec<String> {
        let (calm, beside) = self.p99s();
        let mut missed = Vec::new();
        if !self.report.flawless() {
            missed.push(format!("{} failed, {} not sent", self.report.failed, self.report.unsent));
        }
        for (swap, p99) in self.swaps.iter().zip(beside) {
            if p99 >= MOST_RATIO * calm {
                missed.push(format!("{}: p99 {:.1} times as long", swap.thing.name(), p99 / calm));
            }
        }
        missed
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let (calm, beside) = self.p99s();
        let mut table =
            Table::new(&["replaced", "in force after", "failed", "p99 beside it", "of the p99 otherwise"]);
        for (swap, p99) in self.swaps.iter().zip(beside) {
            let in_force = swap.in_force.map_or_else(
                || "not seen from outside".to_owned(),
                |after| format!("{:.0} ms", 1e3 * after.as_secs_f64()),
            );
            let failed = self.report.windows.iter().filter(|w| {
                let from = swap.at.as_secs_f64();
                w.from_s + 2.0 > from && w.from_s < from + 2.0
            });
            let failed: u64 = failed.map(|w| w.failed).sum();
            let ratio = format!("{:.2}", p99 / calm);
            table.row(&[
                swap.thing.name().to_owned(),
                in_force,
                failed.to_string(),
                format!("{p99:.2} ms"),
                ratio,
            ]);
        }
        let missed = self.missed();
        let verdict =
            if missed.is_empty() { "all held".to_owned() } else { format!("missed: {}", missed.join("; ")) };
        format!("{}\np99 otherwise {calm:.2} ms\n\n{table}\n\n{verdict}", self.report.text())
    }
}
