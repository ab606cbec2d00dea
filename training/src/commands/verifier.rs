//! `training verifier`: fit a verifier of answers on answers with outcomes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use artifact::{Artifact, VerifierData, VerifierDraft, VerifierMetrics};
use clap::{Args, Subcommand};
use classifier::Backend;
use corpus::Example;
use features::FeatureConfig;
use features::answer::SIGNAL_NAMES;
use types::ModelName;

use super::{DataArgs, Loaded};
use crate::verifier::measure::{Scored, measure};
use crate::verifier::{
    Answers, HeldOutAnswers, VerifierConfig, View, add_readings, card_files, fit_verifier,
};

/// Fit a verifier of answers, and use it.
#[derive(Debug, Clone, Args)]
pub struct VerifierArgs {
    #[command(subcommand)]
    command: VerifierCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum VerifierCommand {
    /// Fit a verifier on answers with outcomes, calibrate it by model, measure it, write it as a folder.
    Fit(FitArgs),
}

/// Answers come from JSONL with a field `answers`, or from a folder with `answers.jsonl.gz`.
#[derive(Debug, Clone, Args)]
struct FitArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Folder to write.
    #[arg(long, short = 'o', default_value = "models/verifier", value_name = "FOLDER")]
    output: PathBuf,
    /// Only the answers of these models; of all by default.
    #[arg(long, value_name = "MODEL", value_delimiter = ',')]
    models: Vec<String>,
    /// Let the readings of this router's artifact be signals: the chance of success that it sees in the query, and with
    /// --similarity how near query and answer are to its encoder. It must not have been fitted on this data.
    #[arg(long, value_name = "FOLDER")]
    router: Option<PathBuf>,
    /// See --router; reads every text with the encoder, milliseconds each.
    #[arg(long, requires = "router")]
    similarity: bool,
    /// Penalty of n-grams of the query.
    #[arg(long, default_value_t = VerifierConfig::default().ridge_query)]
    ridge_query: f64,
    /// Penalty of n-grams of the answer.
    #[arg(long, default_value_t = VerifierConfig::default().ridge_answer)]
    ridge_answer: f64,
    /// Penalty of dense features.
    #[arg(long, default_value_t = VerifierConfig::default().ridge_dense)]
    ridge_dense: f64,
    /// Penalty of what a model adds to them.
    #[arg(long, default_value_t = VerifierConfig::default().ridge_model)]
    ridge_model: f64,
    /// Folds of the cross-fit.
    #[arg(long, default_value_t = VerifierConfig::default().folds)]
    folds: usize,
    /// The most n-grams of the query, and of the answer.
    #[arg(long, default_value_t = VerifierConfig::default().most_ngrams)]
    most_ngrams: usize,
    /// Resamples behind every interval.
    #[arg(long, default_value_t = 500)]
    resamples: usize,
    /// Seed of folds and resamples.
    #[arg(long, default_value_t = VerifierConfig::default().seed)]
    seed: u64,
}

impl VerifierArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When the data is refused, carries no answers or one outcome only, or writing fails.
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        match &self.command {
            VerifierCommand::Fit(args) => args.run(say),
        }
    }
}

impl FitArgs {
    fn config(&self) -> VerifierConfig {
        VerifierConfig {
            ridge_query: self.ridge_query,
            ridge_answer: self.ridge_answer,
            ridge_dense: self.ridge_dense,
            ridge_model: self.ridge_model,
            most_ngrams: self.most_ngrams,
            folds: self.folds,
            seed: self.seed,
            ..VerifierConfig::default()
        }
    }

    /// Adds the readings of a router's artifact to the answers' signals; its version.
    fn read_by(&self, folder: &Path, data: &str, examples: &mut [Example]) -> Result<String> {
        let artifact = Artifact::load(folder, Backend::Flex)?;
        let manifest = artifact.manifest();
        ensure!(
            manifest.data.fingerprint != data,
            "{} was fitted on this data: what it reads off these queries is no signal of others",
            folder.display()
        );
        add_readings(examples, &artifact, self.similarity);
        Ok(manifest.version.clone())
    }

    fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let (config, features) = (self.config(), FeatureConfig::default());
        let Loaded { mut examples, sources, .. } = self.data.load_with_answers(say)?;
        let data = corpus::fingerprint(&examples);
        examples.retain(|example| !example.evidence.answers.is_empty());
        ensure!(!examples.is_empty(), "no row carries answers: give them in a field `answers`, by model");
        corpus::group_duplicates(&mut examples);
        let router =
            self.router.as_deref().map(|folder| self.read_by(folder, &data, &mut examples)).transpose()?;
        let only = self.models.iter().map(|m| ModelName::new(m)).collect::<Result<Vec<_>, _>>()?;
        let answers = Answers::read(&examples, &only, &features);
        say(&format!(
            "{} answers of {} models to {} queries",
            answers.rows.len(),
            answers.models.len(),
            examples.len()
        ));
        let mut scored = Scored::new();
        let mut own = None;
        for view in View::ALL {
            let held_out = HeldOutAnswers::cross_fit(&examples, &answers, &config, &features, view, say)?;
            scored.push((view, held_out.probabilities(&answers)?));
            own.get_or_insert(held_out);
        }
        let Some(held_out) = own else { return Ok(()) };
        let metrics = measure(&examples, &answers, &held_out.acceptable, &scored, self.resamples, self.seed)?;
        let (pooled, by_model) = held_out.calibrators(&answers)?;
        say("fitting on all answers");
        let all: Vec<usize> = (0..answers.rows.len()).collect();
        let verifier = fit_verifier(&answers, &all, &config, &features, View::Whole);
        let seen = SIGNAL_NAMES.iter().zip(answers.signals).filter(|(_, count)| *count > 0);
        let draft = VerifierDraft {
            name: self
                .output
                .file_name()
                .context("--output needs a folder name")?
                .to_string_lossy()
                .into_owned(),
            created: crate::now(),
            verifier: &verifier,
            pooled,
            by_model,
            signals: seen.map(|(name, _)| (*name).to_owned()).collect(),
            router,
            training: serde_json::json!({ "command": super::fit::command_line(), "fit": config }),
            data: VerifierData {
                fingerprint: corpus::answer_fingerprint(&examples),
                sources,
                queries: examples.len(),
                answers: answers.rows.len(),
                folds: held_out.fold_count,
            },
            metrics,
            cascades: std::collections::BTreeMap::new(),
        };
        let probabilities = &scored[0].1;
        let manifest = draft.write(&self.output, |manifest| {
            card_files(manifest, Some((probabilities, &held_out.acceptable)))
        })?;
        tell(&manifest.metrics, say);
        say(&format!("{} {} written to {}", manifest.name, manifest.version, self.output.display()));
        Ok(())
    }
}

/// The figures of every scorer, and what the verifier gains over the others.
fn tell(metrics: &VerifierMetrics, say: &mut dyn FnMut(&str)) {
    for (scorer, figures) in &metrics.scorers {
        let of = |name: &str| figures.get(name).map_or(f64::NAN, |figure| figure.value);
        say(&format!("{scorer}: AUROC {:.4}, Brier {:.4}, ECE {:.4}", of("auroc"), of("brier"), of("ece")));
    }
    for (scorer, gain) in &metrics.auroc_gain {
        say(&format!("AUROC over {scorer}: {:+.4} [{:+.4}, {:+.4}]", gain.value, gain.lower, gain.upper));
    }
}
