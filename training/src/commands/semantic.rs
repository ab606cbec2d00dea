//! `training semantic`: draft a catalogue of intents from labelled data, check it, measure it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use corpus::Example;
use semantic::check::{Limits, Severity, check, uncovered};
use semantic::{Ask, FitOptions, Matcher, Scorer, StaticEmbedder, ThresholdRule, cross_fitted, evaluate};
use types::Role;

use super::{DataArgs, Loaded};
use crate::intents::{lines, matcher, read_catalogue, read_queries, section};
use crate::plot::STYLE as PLOTS;
use crate::report::page::STYLE;

/// Queries of a log that go uncovered together are told from this many on.
const LEAST_UNCOVERED: usize = 3;

/// Catalogues of intents.
#[derive(Debug, Clone, Args)]
pub struct SemanticArgs {
    #[command(subcommand)]
    command: SemanticCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum SemanticCommand {
    /// Write a catalogue whose routes are the values of a slice of labelled data.
    Draft(DraftArgs),
    /// Say what is wrong with a catalogue, and which queries of a log it does not cover.
    Check(CheckArgs),
    /// Measure a catalogue on queries of known intent.
    Evaluate(EvaluateArgs),
}

#[derive(Debug, Clone, Args)]
struct DraftArgs {
    #[command(flatten)]
    data: DataArgs,
    /// The slice key whose values become routes: `category` for category:law.
    #[arg(long, default_value = "category", value_name = "KEY")]
    by: String,
    /// Exemplars of a route at most.
    #[arg(long, default_value_t = 200)]
    per_route: usize,
    /// Values with fewer rows are left out.
    #[arg(long, default_value_t = 20)]
    least: usize,
    /// File to write, TOML.
    #[arg(long, short = 'o', default_value = "intents.toml", value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Clone, Args)]
struct CheckArgs {
    /// The catalogue, TOML or JSONL.
    catalogue: PathBuf,
    /// Logged queries, as data of any accepted format.
    #[arg(long, value_name = "PATH")]
    log: Vec<PathBuf>,
    /// How alike uncovered queries must be to be told as one, a cosine.
    #[arg(long, default_value_t = 0.5)]
    together: f64,
}

#[derive(Debug, Clone, Args)]
struct EvaluateArgs {
    /// The catalogue, TOML or JSONL.
    catalogue: PathBuf,
    /// Queries of known intent, JSONL: {"query": ..., "route": ... or null}.
    queries: PathBuf,
    /// Routes match only where this share of matches can be shown to be right.
    #[arg(long, value_name = "SHARE")]
    precision: Option<f64>,
    /// Folder for the figures as HTML.
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,
}

impl SemanticArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When a file is refused or cannot be written, or a check finds an error.
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        match &self.command {
            SemanticCommand::Draft(args) => args.run(say),
            SemanticCommand::Check(args) => args.run(say),
            SemanticCommand::Evaluate(args) => args.run(say),
        }
    }
}

impl DraftArgs {
    fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let Loaded { examples, .. } = self.data.load(say)?;
        let prefix = format!("{}:", self.by);
        let mut routes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for example in &examples {
            let value = example.slices.iter().find_map(|slice| slice.strip_prefix(&prefix));
            if let Some((value, text)) = value.zip(asked(example)) {
                routes.entry(value).or_default().push(text);
            }
        }
        routes.retain(|_, texts| texts.len() >= self.least);
        ensure!(routes.len() >= 2, "fewer than two values of {:?} have {} rows", self.by, self.least);
        let catalogue = Drafted {
            settings: DraftedSettings { aggregation: "mean", top: 3 },
            route: routes
                .into_iter()
                .map(|(name, texts)| DraftedRoute::new(name, &texts, self.per_route))
                .collect(),
        };
        for route in &catalogue.route {
            say(&format!("{:<24} {} exemplars", route.name, route.utterances.len()));
        }
        let mut file =
            std::fs::File::create(&self.output).with_context(|| self.output.display().to_string())?;
        file.write_all(toml::to_string_pretty(&catalogue)?.as_bytes())?;
        say(&format!(
            "written to {}: give routes models, and off_topic queries for a floor",
            self.output.display()
        ));
        Ok(())
    }
}

#[derive(serde::Serialize)]
struct Drafted {
    settings: DraftedSettings,
    route: Vec<DraftedRoute>,
}

#[derive(serde::Serialize)]
struct DraftedSettings {
    aggregation: &'static str,
    top: usize,
}

#[derive(serde::Serialize)]
struct DraftedRoute {
    name: String,
    utterances: Vec<String>,
}

impl DraftedRoute {
    /// At most so many texts, evenly spread.
    fn new(name: &str, texts: &[&str], most: usize) -> Self {
        let kept = texts.len().min(most);
        let utterances = (0..kept).map(|i| texts[i * texts.len() / kept].to_owned()).collect();
        Self { name: name.replace(char::is_whitespace, "_"), utterances }
    }
}

/// The last user turn, where it says anything.
fn asked(example: &Example) -> Option<&str> {
    let last = example.query.parts().rev().find(|(role, _)| *role == Role::User);
    last.map(|(_, text)| text).filter(|text| !text.trim().is_empty())
}

impl CheckArgs {
    fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let catalogue = read_catalogue(&self.catalogue)?;
        let build = |catalogue: std::sync::Arc<semantic::Catalogue>| {
            let embedder = std::sync::Arc::new(StaticEmbedder::fit(&catalogue));
            Scorer::new(catalogue, embedder)
        };
        let held_out = cross_fitted(&catalogue, build)?;
        let scorer = build(catalogue)?;
        let findings = check(&scorer, &held_out, &Limits::default());
        let errors = findings.iter().filter(|finding| finding.severity() == Severity::Error).count();
        for finding in &findings {
            let severity = if finding.severity() == Severity::Error { "error" } else { "warning" };
            say(&format!("{severity}: {finding}"));
        }
        if !self.log.is_empty() {
            self.uncovered(&scorer, say)?;
        }
        if errors > 0 {
            bail!("{}: {errors} errors", self.catalogue.display());
        }
        let catalogue = scorer.catalogue();
        say(&format!(
            "{} {}: {} routes, {} exemplars, {} findings",
            self.catalogue.display(),
            catalogue.version(),
            catalogue.routes().len(),
            catalogue.exemplar_count(),
            findings.len()
        ));
        Ok(())
    }

    fn uncovered(&self, scorer: &Scorer, say: &mut dyn FnMut(&str)) -> Result<()> {
        let options = corpus::ReadOptions { skip_invalid: true, answers: false };
        let mut texts: Vec<String> = Vec::new();
        for path in &self.log {
            let read = corpus::read(path, &options)?;
            texts.extend(read.examples.iter().filter_map(asked).map(str::to_owned));
        }
        let matcher = Matcher::without_encoder(scorer.catalogue().clone(), &FitOptions::default())?;
        let floor = matcher.fitted().floor.as_ref();
        let floor = floor
            .context("the catalogue has no floor: settings.floor_alpha and off_topic queries make one")?;
        let asks: Vec<Ask<'_>> = texts.iter().map(|text| Ask::Text(text)).collect();
        let groups = uncovered(scorer, &asks, floor.floor(), self.together)?;
        let alone: usize =
            groups.iter().map(|group| group.members.len()).filter(|n| *n < LEAST_UNCOVERED).sum();
        for group in groups.iter().filter(|group| group.members.len() >= LEAST_UNCOVERED) {
            let text: String = texts[group.representative].chars().take(80).collect();
            say(&format!("uncovered: {} queries such as {text:?}", group.members.len()));
        }
        say(&format!("uncovered: {alone} more queries of {}, alone or nearly so", texts.len()));
        Ok(())
    }
}

impl EvaluateArgs {
    fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let thresholds = match self.precision {
            Some(precision) => ThresholdRule::Precision { precision, delta: 0.1 },
            None => ThresholdRule::Accuracy,
        };
        let matcher = matcher(&self.catalogue, &FitOptions { thresholds, ..FitOptions::default() })?;
        let queries = read_queries(&self.queries)?;
        let asks = queries.iter().map(|labelled| (Ask::Text(&labelled.query), labelled.route.as_deref()));
        let found = evaluate(&matcher, asks)?;
        lines(&found).iter().for_each(|line| say(line));
        if let Some(folder) = &self.report {
            let html = format!(
                "<!doctype html><html lang='en'><head><meta charset='utf-8'>\
                 <meta name='viewport' content='width=device-width, initial-scale=1'>\
                 <title>Intents</title><style>{PLOTS}{STYLE}</style></head><body>{}</body></html>\n",
                section(&found, matcher.version())
            );
            write(folder, "semantic.html", &html)?;
        }
        Ok(())
    }
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let file = folder.join(name);
    std::fs::write(&file, text).with_context(|| file.display().to_string())
}
