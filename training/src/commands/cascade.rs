//! `training cascade tune`: which models form a cascade, in what order, with which thresholds.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use artifact::{Artifact, VerifierArtifact};
use clap::{Args, Subcommand, ValueEnum};
use classifier::{Backend, WideScratch};
use corpus::Example;
use features::FeatureConfig;
use policy::cascade::{
    Abstention, AcceptedRisk, CascadeCertificate, ChainSearch, Labels, Objective, TuneOptions,
};
use types::{ModelName, Score, SuccessProbability};

use super::{DataArgs, Loaded};
use crate::cascade::curve::{CurvePlan, curves};
use crate::cascade::rows::Costs;
use crate::cascade::tuned::{TunedCascade, Wanted, tuned_cascade};
use crate::cascade::{CascadeRows, lines, page};
use crate::prices::Prices;
use crate::verifier::{Answers, HeldOutAnswers, VerifierConfig, View, add_readings, refreshed};

/// Cascades of models behind a verifier.
#[derive(Debug, Clone, Args)]
pub struct CascadeArgs {
    #[command(subcommand)]
    command: CascadeCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum CascadeCommand {
    /// Find the chain of models and its thresholds, show what they are worth, write them beside the verifier.
    Tune(Box<TuneArgs>),
}

/// Every subset and order of the models is looked at, single models included. Probabilities are of verifiers that saw
/// no answer to a query's group: the verifier's own fit is repeated on other folds of this data, unless the data is new
/// to it.
#[derive(Debug, Clone, Args)]
struct TuneArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Folder of the verifier; the cascade is written into it.
    #[arg(long, default_value = "models/verifier", value_name = "FOLDER")]
    verifier: PathBuf,
    /// The models to choose from.
    #[arg(long, value_name = "MODEL", value_delimiter = ',', required = true)]
    models: Vec<String>,
    /// What the models cost; not needed where answers carry cost_usd.
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// What judging one answer costs, in US dollars.
    #[arg(long, default_value_t = 0.0)]
    verifier_usd: f64,
    /// Folder of the router's artifact, where its readings were signals of the verifier's fit.
    #[arg(long, value_name = "FOLDER")]
    router: Option<PathBuf>,
    /// The verifier was not fitted on this data: judge it as it is, without folds.
    #[arg(long)]
    new_data: bool,
    #[command(flatten)]
    objective: ObjectiveArgs,
    /// Share of an error that a query without an answer counts for.
    #[arg(long, default_value_t = 0.3, value_name = "SHARE")]
    abstention_worth: f64,
    /// Where a query may be given up.
    #[arg(long, value_enum, default_value_t = Where::Never)]
    abstain: Where,
    /// What is tuned on: outcomes, the verifier's probabilities in their place, or both (by the number of queries).
    #[arg(long, value_enum, default_value_t = LabelArg::Both)]
    labels: LabelArg,
    /// Stages at most, 1 to 4.
    #[arg(long, default_value_t = 4)]
    longest: usize,
    /// Prove that the error among accepted answers is at most this, on a third of the queries that is not tuned on.
    #[arg(long, value_name = "SHARE")]
    max_error: Option<f64>,
    /// Confidence of that proof.
    #[arg(long, default_value_t = 0.9, requires = "max_error")]
    confidence: f64,
    /// Name of the cascade.
    #[arg(long, default_value = "default")]
    name: String,
    /// Folder for curves of every way to tune, as JSON and HTML; takes minutes.
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,
    /// Show what would be written and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Resamples behind every interval.
    #[arg(long, default_value_t = 500)]
    resamples: usize,
    /// Seed of folds and resamples.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Exactly one objective.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
struct ObjectiveArgs {
    /// Least loss, a wrong answer being as bad as this many US dollars.
    #[arg(long, value_name = "USD")]
    error_usd: Option<f64>,
    /// Least cost that keeps this mean quality.
    #[arg(long, value_name = "QUALITY")]
    quality_floor: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Where {
    Never,
    Last,
    Anywhere,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LabelArg {
    Outcomes,
    Probabilities,
    Both,
}

impl CascadeArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When data, verifier, prices or objective are refused, or writing fails.
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        match &self.command {
            CascadeCommand::Tune(args) => args.run(say),
        }
    }
}

impl TuneArgs {
    fn labels(&self, rows: usize) -> Labels {
        match self.labels {
            LabelArg::Outcomes => Labels::Quality,
            LabelArg::Probabilities => Labels::Calibrated,
            // Methods section 3e.
            LabelArg::Both => Labels::Mixed { weight: rows as f64 / (rows as f64 + 100.0) },
        }
    }

    fn wanted(&self, rows: usize) -> Result<Wanted> {
        let lambda_abstain = self.abstention_worth;
        let (objective, in_words) = match (self.objective.error_usd, self.objective.quality_floor) {
            (Some(usd), _) => {
                ensure!(usd > 0.0 && usd.is_finite(), "--error-usd: expected an amount above 0, found {usd}");
                let lambda_cost = 1.0 / usd;
                let words = format!("the least error + cost / {usd} USD + {lambda_abstain} abstained");
                (Objective::Weighted { lambda_cost, lambda_abstain }, words)
            }
            (None, Some(floor)) => {
                let words =
                    format!("the least cost at a quality of {floor}, {lambda_abstain} lost by an abstention");
                (Objective::CostUnderQualityFloor { floor, lambda_abstain }, words)
            }
            (None, None) => anyhow::bail!("which objective?"),
        };
        let abstention = match self.abstain {
            Where::Never => Abstention::Never,
            Where::Last => Abstention::AtTheEnd,
            Where::Anywhere => Abstention::Anywhere,
        };
        let certificate = self.max_error.map(|alpha| CascadeCertificate {
            risk: AcceptedRisk::Wrong,
            alpha,
            delta: 1.0 - self.confidence,
        });
        Ok(Wanted {
            objective,
            in_words,
            command: super::fit::command_line(),
            options: TuneOptions { labels: self.labels(rows), abstention },
            search: ChainSearch { longest: self.longest, ..ChainSearch::default() },
            certificate,
            resamples: self.resamples,
            seed: self.seed,
        })
    }

    fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let verifier = VerifierArtifact::load(&self.verifier)?;
        let prices = self.prices.as_deref().map(Prices::read).transpose()?;
        let models = self.models.iter().map(|m| ModelName::new(m)).collect::<Result<Vec<_>, _>>()?;
        let Loaded { mut examples, .. } = self.data.load_with_answers(say)?;
        examples.retain(|example| !example.evidence.answers.is_empty());
        ensure!(!examples.is_empty(), "no row carries answers: give them in a field `answers`, by model");
        corpus::group_duplicates(&mut examples);
        let router =
            self.router.as_deref().map(|folder| Artifact::load(folder, Backend::Flex)).transpose()?;
        read_as_fitted(&verifier, router.as_ref(), &mut examples)?;
        let (answers, probabilities) = judged(&verifier, &examples, &models, self.new_data, say)?;
        let costs = Costs { prices: prices.as_ref(), verifier_usd: self.verifier_usd };
        let rows = CascadeRows::new(&examples, &answers, &probabilities, &models, &costs)?;
        say(&format!("{} queries were answered by all {} models", rows.len(), models.len()));
        let wanted = self.wanted(rows.len())?;
        if let Some(folder) = &self.report {
            self.report(&rows, &wanted, folder, say)?;
        }
        let TunedCascade { record, warnings } =
            tuned_cascade(&rows, &wanted, &corpus::answer_fingerprint(&examples))?;
        for stage in &record.stages {
            say(&format!(
                "{:<34} abstain below {:.3}, accept from {:.3}; reached by {:.3}, {:.3} sent on; {:.6} USD",
                stage.model,
                stage.abstain_below,
                stage.accept_above,
                stage.reach,
                stage.escalation_rate,
                stage.cost_usd
            ));
        }
        for (name, value) in &record.measured {
            say(&format!("{name:<22} {:.6} [{:.6}, {:.6}]", value.value, value.lower, value.upper));
        }
        if let Some(proved) = &record.certificate {
            say(&format!(
                "certified: error among accepted answers at most {} ({} of {} tested wrong, upper bound {:.4})",
                proved.alpha, proved.loss, proved.tested, proved.upper_bound
            ));
        }
        for warning in warnings {
            say(&format!("warning: {warning}"));
        }
        if self.dry_run {
            return Ok(());
        }
        let mut draft = verifier.draft();
        draft.cascades.insert(self.name.clone(), record);
        let manifest = draft.write(&self.verifier, |manifest| refreshed(manifest, &self.verifier))?;
        say(&format!("cascade {} written to {} ({})", self.name, self.verifier.display(), manifest.version));
        Ok(())
    }

    fn report(
        &self,
        rows: &CascadeRows,
        wanted: &Wanted,
        folder: &Path,
        say: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let plan = CurvePlan {
            labels: wanted.options.labels,
            lambda_abstain: self.abstention_worth,
            search: wanted.search,
            resamples: self.resamples,
            seed: self.seed,
        };
        let found = curves(rows, &plan, say)?;
        lines(&found).iter().for_each(|line| say(line));
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let json = serde_json::to_vec_pretty(&found)?;
        let html = page(&found, "What is a cascade worth?").into_bytes();
        for (name, bytes) in [("cascade.json", json), ("cascade.html", html)] {
            let file = folder.join(name);
            std::fs::write(&file, bytes).with_context(|| file.display().to_string())?;
        }
        Ok(())
    }
}

/// Adds the signals that the verifier's fit took from a router's artifact, where it took any.
pub(super) fn read_as_fitted(
    verifier: &VerifierArtifact,
    router: Option<&Artifact>,
    examples: &mut [Example],
) -> Result<()> {
    let manifest = verifier.manifest();
    let Some(version) = &manifest.router else { return Ok(()) };
    let router = router.filter(|router| router.manifest().version == *version);
    let router = router.with_context(|| {
        format!("the verifier learned from the readings of artifact {version}: give that one")
    })?;
    add_readings(examples, router, manifest.signals.iter().any(|signal| signal == "similarity"));
    Ok(())
}

/// A success probability for every answer, of a verifier that saw none of the query's group.
pub(super) fn judged(
    verifier: &VerifierArtifact,
    examples: &[Example],
    models: &[ModelName],
    new_data: bool,
    say: &mut dyn FnMut(&str),
) -> Result<(Answers, Vec<SuccessProbability>)> {
    let features = FeatureConfig::default();
    if !new_data {
        let answers = Answers::read(examples, &[], &features);
        let config: VerifierConfig = serde_json::from_value(verifier.manifest().training["fit"].clone())
            .context("the verifier does not say how it was fitted: was the data new to it, say --new-data")?;
        let held_out = HeldOutAnswers::cross_fit(examples, &answers, &config, &features, View::Whole, say)?;
        let probabilities = held_out.probabilities(&answers)?;
        return Ok((answers, probabilities));
    }
    let answers = Answers::read(examples, models, &features);
    let fitted = verifier.verifier();
    let mut wide = WideScratch::default();
    let mut probabilities = Vec::with_capacity(answers.rows.len());
    for row in &answers.rows {
        let model = &answers.models[row.model];
        let mut read = answers.read_of(row);
        // Columns and tasks are the verifier's own, not those of this data.
        read.model = fitted.column(model);
        read.task = row.task.and_then(|task| fitted.lengths.task([answers.tasks[task].as_str()]));
        let score = Score::new(fitted.score_read(&read, &mut wide))?;
        let (calibrator, _) = verifier.calibrator(model);
        let found = calibrator.calibrator.apply(score, 0.0).win_probability.get();
        probabilities.push(SuccessProbability::saturating(found));
    }
    Ok((answers, probabilities))
}
