//! `training compare`: predictive, cascade, by intent and combined on one labelled corpus.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use artifact::{Artifact, VerifierArtifact};
use clap::Args;
use classifier::{AnswerGiven, Backend};
use corpus::Example;
use semantic::{Ask, FitOptions, Matcher, evaluate};
use strategy::{Inventory, Problem, Program, Severity};
use types::ModelName;

use super::cascade::{judged, read_as_fitted};
use super::{DataArgs, Loaded, Purpose, untouched};
use crate::cascade::CascadeRows;
use crate::cascade::rows::Costs;
use crate::compare::{Bench, Line, lines};
use crate::intents::{matcher, read_queries, section};
use crate::plot::{Plot, STYLE as PLOTS, escape};
use crate::prices::Prices;
use crate::report::page::STYLE;

/// Every strategy of a policy, the policy as a whole, and each model alone, on the same queries: those that every model
/// answered. Use data that took no part in training the artifact; probabilities of answers are cross-fitted.
#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    #[command(flatten)]
    data: DataArgs,
    /// The policy; without one, a strategy of each kind that there is.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Folder of the router's artifact.
    #[arg(long, short = 'a', default_value = "models/default", value_name = "FOLDER")]
    artifact: PathBuf,
    /// Folder of the verifier with its cascades.
    #[arg(long, default_value = "models/verifier", value_name = "FOLDER")]
    verifier: PathBuf,
    /// A catalogue of intents.
    #[arg(long, value_name = "FILE")]
    catalogue: Option<PathBuf>,
    /// Queries of known intent, to measure the catalogue on in the same report.
    #[arg(long, value_name = "FILE", requires = "catalogue")]
    intents: Option<PathBuf>,
    /// What the models cost; not needed where answers carry cost_usd.
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// What judging one answer costs, in US dollars.
    #[arg(long, default_value_t = 0.0)]
    verifier_usd: f64,
    /// The verifier was not fitted on this data: judge it as it is, without folds.
    #[arg(long)]
    new_data: bool,
    /// Folder for the table as JSON and HTML.
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,
    /// Resamples behind every interval.
    #[arg(long, default_value_t = 500)]
    resamples: usize,
    /// Seed of resamples.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl CompareArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When a file is refused, the policy names what is not there, or a model did not answer.
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let artifact = Artifact::load(&self.artifact, Backend::Flex)?;
        let verifier = VerifierArtifact::load(&self.verifier)?;
        let prices = self.prices.as_deref().map(Prices::read).transpose()?;
        let options = FitOptions::default();
        let matcher = self.catalogue.as_deref().map(|file| matcher(file, &options)).transpose()?;
        let cascades = &verifier.manifest().cascades;
        let program =
            self.program(&artifact, cascades.keys().next().map(String::as_str), matcher.is_some())?;
        tell(&program.check(&inventory(&artifact, &verifier, matcher.as_ref())?), say)?;
        let Loaded { mut examples, .. } = self.data.load_with_answers(say)?;
        corpus::group_duplicates(&mut examples);
        let fingerprint = corpus::fingerprint(&examples);
        let (_, rows) = untouched(&artifact, &examples, &fingerprint, Purpose::Judging, say)?;
        let mut examples: Vec<_> = rows.into_iter().map(|row| examples[row].clone()).collect();
        examples.retain(|example| !example.evidence.answers.is_empty());
        ensure!(!examples.is_empty(), "no row carries answers: give them in a field `answers`, by model");
        read_as_fitted(&verifier, Some(&artifact), &mut examples)?;
        let models = Bench::models(&program, &artifact, cascades, matcher.as_ref())?;
        let (answers, probabilities) = judged(&verifier, &examples, &models, self.new_data, say)?;
        let costs = Costs { prices: prices.as_ref(), verifier_usd: self.verifier_usd };
        let rows = CascadeRows::new(&examples, &answers, &probabilities, &models, &costs)?;
        say(&format!("{} queries were answered by all {} models", rows.len(), models.len()));
        let bench = Bench {
            program: &program,
            artifact: &artifact,
            cascades,
            matcher: matcher.as_ref(),
            examples: &examples,
            rows: &rows,
            judge_us: judge_us(&verifier, &examples),
        };
        let table = bench.run(self.resamples, self.seed)?;
        lines(&table).iter().for_each(|line| say(line));
        if let Some(folder) = &self.report {
            self.report(&table, rows.len(), matcher.as_ref(), folder)?;
        }
        Ok(())
    }

    /// The policy, or one with a strategy of each kind that there is.
    fn program(&self, artifact: &Artifact, cascade: Option<&str>, intents: bool) -> Result<Program> {
        let (name, text) = match &self.policy {
            Some(file) => {
                let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
                (file.display().to_string(), text)
            }
            None => ("the built-in policy".to_owned(), built_in(artifact, cascade, intents)),
        };
        Program::parse(&name, &text).map_err(|problems| {
            let told: Vec<String> = problems.iter().map(Problem::to_string).collect();
            anyhow::anyhow!("{}", told.join("\n"))
        })
    }

    fn report(&self, table: &[Line], rows: usize, matcher: Option<&Matcher>, folder: &Path) -> Result<()> {
        let mut html = page(table, rows);
        if let Some((matcher, file)) = matcher.zip(self.intents.as_deref()) {
            let queries = read_queries(file)?;
            let asks = queries.iter().map(|labelled| (Ask::Text(&labelled.query), labelled.route.as_deref()));
            html.push_str(&section(&evaluate(matcher, asks)?, matcher.version()));
        }
        html.push_str("</body></html>\n");
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let json = serde_json::to_vec_pretty(table)?;
        for (name, bytes) in [("compare.json", json), ("compare.html", html.into_bytes())] {
            let file = folder.join(name);
            std::fs::write(&file, bytes).with_context(|| file.display().to_string())?;
        }
        Ok(())
    }
}

/// Mean time to judge one of the first answers on this machine.
fn judge_us(verifier: &VerifierArtifact, examples: &[Example]) -> f64 {
    const ANSWERS: usize = 500;
    let mut scratch = verifier.verifier().scratch();
    let given = examples.iter().flat_map(|example| {
        let answers = example.evidence.answers.iter();
        answers.map(move |(model, answer)| AnswerGiven {
            query: &example.query,
            model,
            text: &answer.text,
            signals: &answer.signals,
            slices: &example.slices,
        })
    });
    let (mut judged, start) = (0, Instant::now());
    for answer in given.take(ANSWERS) {
        judged += usize::from(verifier.judge(&answer, &mut scratch).is_some());
    }
    start.elapsed().as_secs_f64() * 1e6 / judged.max(1) as f64
}

/// Names are quoted as TOML wants them.
fn built_in(artifact: &Artifact, cascade: Option<&str>, intents: bool) -> String {
    let pair = artifact.default_pair();
    let mut text = format!(
        "version = 1\ndefault = \"predictive\"\n\n[strategy.predictive]\nkind = \"predictive\"\n\
         pair = {{ strong = {:?}, weak = {:?} }}\n",
        pair.strong().as_str(),
        pair.weak().as_str()
    );
    if let Some(cascade) = cascade {
        let _ = write!(text, "\n[strategy.cascade]\nkind = \"cascade\"\ncascade = {cascade:?}\n");
    }
    if intents {
        text.push_str("\n[strategy.intents]\nkind = \"semantic\"\notherwise = \"predictive\"\n");
    }
    text
}

/// Tells every problem; errors end it.
fn tell(problems: &[Problem], say: &mut dyn FnMut(&str)) -> Result<()> {
    for problem in problems {
        say(&problem.to_string());
    }
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        bail!("the policy names what is not there");
    }
    Ok(())
}

fn inventory(
    artifact: &Artifact,
    verifier: &VerifierArtifact,
    matcher: Option<&Matcher>,
) -> Result<Inventory> {
    let mut pairs: BTreeMap<_, _> =
        artifact.calibrators().iter().map(|c| (c.pair.clone(), std::collections::BTreeSet::new())).collect();
    for (name, by_pair) in &artifact.manifest().operating_points {
        for (pair, points) in &mut pairs {
            if by_pair.contains_key(&pair.to_string()) {
                points.insert(name.clone());
            }
        }
    }
    let mut cascades = BTreeMap::new();
    for (name, record) in &verifier.manifest().cascades {
        let models = record.stages.iter().map(|stage| ModelName::new(&stage.model));
        cascades.insert(name.clone(), models.collect::<Result<Vec<_>, _>>()?);
    }
    let mut intents = BTreeMap::new();
    for route in matcher.into_iter().flat_map(|matcher| matcher.catalogue().routes()) {
        let model = match &route.target {
            Some(semantic::Target::Model(model)) => Some(ModelName::new(model)?),
            _ => None,
        };
        intents.insert(route.name.clone(), model);
    }
    Ok(Inventory {
        models: None,
        priced: None,
        pairs: Some(pairs),
        default_pair: Some(artifact.default_pair().clone()),
        cascades: Some(cascades),
        intents: Some(intents),
    })
}

/// The page, up to its end.
fn page(table: &[Line], rows: usize) -> String {
    let mut html = format!(
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>\
         <meta name='viewport' content='width=device-width, initial-scale=1'>\
         <title>Ways of routing</title><style>{PLOTS}{STYLE}</style></head><body><h1>Ways of routing</h1>\
         <p class='soft'>{rows} queries that every model answered. Brackets are 95 % intervals, bootstrap by group; \
         differences are on the same resamples.</p><div style='max-width:40rem'>"
    );
    html.push_str(&plot(table));
    html.push_str(
        "</div><div class='scroll'><table><tr><th>strategy</th><th>error</th><th>abstained</th><th>cost, USD a query</th>\
         <th>share of dearest-only cost</th><th>dearest called</th><th>calls</th><th>decision, µs</th>\
         <th>error over dearest</th></tr>",
    );
    let interval = |i: &artifact::Interval, digits: usize| {
        format!("{:.digits$} <span>[{:.digits$}, {:.digits$}]</span>", i.value, i.lower, i.upper)
    };
    for line in table {
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{:.3}</td><td>{}</td><td>{}</td><td>{:.3}</td><td>{:.3}</td><td>{:.1}</td><td>{}</td></tr>",
            escape(&line.name),
            interval(&line.error, 4),
            line.abstention_rate,
            interval(&line.cost_usd, 6),
            interval(&line.cost_fraction, 3),
            line.strong_call_rate,
            line.calls,
            line.decision_us,
            interval(&line.error_over_dearest, 4),
        );
    }
    html.push_str("</table></div>");
    html
}

fn plot(table: &[Line]) -> String {
    let least = table.iter().map(|line| line.error.lower).fold(f64::INFINITY, f64::min);
    let most = table.iter().map(|line| line.error.upper).fold(f64::NEG_INFINITY, f64::max);
    let room = 0.05 * (most - least);
    let dear = table.iter().map(|line| line.cost_fraction.value).fold(1.0, f64::max);
    let axes = ((0.0, 1.05 * dear), (least - room, most + room));
    let mut plot = Plot::new(axes.0, axes.1, "fraction of the dearest model's cost", "error");
    // A strategy that is one model alone, or the policy's default, is one point, named after the first.
    let mut points: Vec<&Line> = Vec::new();
    for line in table {
        let same = |other: &Line| {
            other.cost_usd.value == line.cost_usd.value && other.error.value == line.error.value
        };
        if !points.iter().any(|other| same(other)) {
            points.push(line);
        }
    }
    points.sort_by(|a, b| a.cost_fraction.value.total_cmp(&b.cost_fraction.value));
    plot.named_marks(
        "a",
        points.iter().map(|line| {
            (
                line.name.as_str(),
                line.cost_fraction.value,
                line.error.value,
                (line.error.lower, line.error.upper),
            )
        }),
    );
    plot.figure("Error against cost; an abstention is no error, see the table for how many there are")
}
