//! `training evaluate`: an artifact measured on labelled data it has not seen.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use artifact::{Artifact, Interval, PairCalibrator};
use clap::Args;
use classifier::Backend;
use corpus::Example;
use policy::RandomisedThreshold;
use types::{ModelName, ModelPair, Query, Threshold};

use super::against::Against;
use super::{DataArgs, Loaded, PairArgs, Purpose, untouched};
use crate::calibrate::label;
use crate::measure::prompt_length;
use crate::operating_point::Rows;
use crate::prices::Prices;
use crate::report::{Input, Report, Volume, lines, page, pair_swaps};
use crate::tiers::Tiers;
use crate::zero_shot::{LENGTH, rank, scores};

/// Measure an artifact on labelled data and say whether routing pays.
///
/// Writes report.json and report.html. Use rows that took no part in training; on the data the artifact
/// was trained on, its test split is used. The data may also compare other models than the artifact's
/// (zero-shot): then only the ranking is measured, since the probabilities speak of the artifact's own pair.
#[derive(Debug, Clone, Args)]
pub struct EvaluateArgs {
    /// Folder of the artifact.
    #[arg(long, short = 'a', default_value = "models/default", value_name = "FOLDER")]
    artifact: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    pairs: PairArgs,
    /// Folder for report.json and report.html.
    #[arg(long, short = 'o', default_value = "report", value_name = "FOLDER")]
    out: PathBuf,
    /// Another artifact for the same pair: which ranks better on these rows, and is the difference more than luck?
    #[arg(long, value_name = "FOLDER")]
    against: Option<PathBuf>,
    /// The operating point of the headline.
    #[arg(long, default_value = "default")]
    operating_point: String,
    /// What the models cost, and what routing itself costs.
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Traffic, for the verdict.
    #[arg(long, value_name = "N")]
    requests_per_month: Option<f64>,
    /// What a correct answer is worth, for the verdict.
    #[arg(long, value_name = "USD")]
    value_per_correct_usd: Option<f64>,
    /// Share of strong's quality that routing must keep.
    #[arg(long, default_value_t = 0.95)]
    quality_floor: f64,
    /// Bound of the cheap-and-wrong rate whose certificate the verdict asks for.
    #[arg(long, default_value_t = 0.05)]
    max_cheap_and_wrong: f64,
    /// Its confidence.
    #[arg(long, default_value_t = 0.9)]
    confidence: f64,
    /// Seed of the bootstrap.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to compute: flex, ndarray or wgpu[:ADAPTER], as in `training fit`.
    #[arg(long, default_value = "flex")]
    backend: Backend,
}

impl EvaluateArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When the artifact, the data or the prices are refused, or a figure is undefined on the rows.
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let artifact = Artifact::load(&self.artifact, self.backend)?;
        let loaded = self.data.load(say)?;
        let pair = self.pairs.of(&artifact)?;
        match artifact.calibrators().iter().find(|c| c.pair == pair) {
            Some(calibrator) => {
                let report = self.report(&artifact, calibrator, loaded, say)?;
                for line in lines(&report) {
                    say(&line);
                }
                write(&report, &self.out)?;
                say(&format!("wrote report.json and report.html to {}", self.out.display()));
                Ok(())
            }
            None => zero_shot(&artifact, &pair, loaded, say),
        }
    }

    fn report(
        &self,
        artifact: &Artifact,
        calibrator: &PairCalibrator,
        loaded: Loaded,
        say: &mut dyn FnMut(&str),
    ) -> Result<Report> {
        let Loaded { mut examples, sources, simulated } = loaded;
        corpus::group_duplicates(&mut examples);
        let pair = &calibrator.pair;
        let fingerprint = corpus::fingerprint(&examples);
        let (_, rows) = untouched(artifact, &examples, &fingerprint, Purpose::Judging, say)?;
        if let Some(folder) = &self.against {
            let against = Against { folder, backend: self.backend, seed: self.seed };
            against.compare(artifact, pair, &examples, (&fingerprint, &rows), say)?;
        }
        let found = Rows::new(Tiers::of(artifact), calibrator, &examples, &rows);
        if found.is_empty() {
            bail!("no row has outcomes of both {} and {}", pair.strong(), pair.weak());
        }
        let lengths: Vec<f64> = found.examples.iter().map(|r| prompt_length(&examples[*r].query)).collect();
        // The texts have served their purpose, and those of a million rows weigh hundreds of megabytes.
        examples.iter_mut().for_each(|example| example.query = Query::text(String::new()));
        let prices = self.prices.as_deref().map(Prices::read).transpose()?;
        let volume = Volume {
            requests_per_day: self.requests_per_month.map(|n| n / 30.0),
            value_per_correct_usd: self.value_per_correct_usd,
            upkeep: prices.as_ref().and_then(Prices::upkeep),
        };
        let (best_single, swaps) =
            (best_single(&found, &examples), pair_swaps(&found, &examples, pair, self.seed)?);
        drop(examples);
        Report::build(Input {
            artifact: format!("{} {}", artifact.manifest().name, artifact.manifest().version),
            pair: pair.to_string(),
            sources,
            data: fingerprint,
            simulated,
            lengths: &lengths,
            best_single,
            swaps,
            point: self.point(artifact, pair)?,
            cost: prices.as_ref().map(|p| p.pair(pair)).transpose()?,
            volume,
            quality_floor: self.quality_floor,
            certificate: (self.max_cheap_and_wrong, 1.0 - self.confidence),
            seed: self.seed,
            rows: &found,
        })
    }

    fn point(&self, artifact: &Artifact, pair: &ModelPair) -> Result<(String, RandomisedThreshold)> {
        let points = &artifact.manifest().operating_points;
        let point = points.get(&self.operating_point).and_then(|by| by.get(&pair.to_string()));
        let point =
            point.with_context(|| format!("no operating point {:?} of {pair}", self.operating_point))?;
        let (low, high) = (Threshold::new(point.low)?, Threshold::new(point.high)?);
        let threshold = RandomisedThreshold::new(low, high, point.probability_of_low)?;
        Ok((format!("{} ({})", self.operating_point, point.objective), threshold))
    }
}

fn write(report: &Report, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let json = serde_json::to_vec_pretty(report)?;
    for (name, bytes) in [("report.json", json), ("report.html", page(report).into_bytes())] {
        let file = folder.join(name);
        std::fs::write(&file, bytes).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

/// The model with the best mean score among those that answered every row, with its scores.
fn best_single(rows: &Rows, examples: &[Example]) -> Option<(String, Vec<f64>)> {
    let mut sums: BTreeMap<&ModelName, (usize, f64)> = BTreeMap::new();
    for (model, score) in rows.examples.iter().flat_map(|r| &examples[*r].evidence.outcomes) {
        let sum = sums.entry(model).or_default();
        *sum = (sum.0 + 1, sum.1 + score);
    }
    let whole = sums.into_iter().filter(|(_, (n, _))| *n == rows.len());
    let (best, _) = whole.max_by(|a, b| a.1.1.total_cmp(&b.1.1))?;
    let scores = rows.examples.iter().filter_map(|r| examples[*r].evidence.outcomes.get(best).copied());
    Some((best.as_str().to_owned(), scores.collect()))
}

/// Ranks the outcomes of a pair the artifact has no calibrator for.
fn zero_shot(artifact: &Artifact, pair: &ModelPair, loaded: Loaded, say: &mut dyn FnMut(&str)) -> Result<()> {
    let mut examples = loaded.examples;
    examples.retain(|e| label(e, pair).is_some());
    if examples.is_empty() {
        bail!("no row has outcomes of both {} and {}", pair.strong(), pair.weak());
    }
    let scored_as = artifact.calibrators().first().context("no calibrator")?;
    say(&format!(
        "zero-shot: {pair} is unknown to {}, rows are ranked by its general axis and by its probability for {}",
        artifact.manifest().name,
        scored_as.pair
    ));
    let rows: Vec<&Example> = examples.iter().collect();
    let scores = scores((Tiers::of(artifact), artifact.general()), scored_as, &rows);
    for (scorer, figures) in rank(&scores, &rows, pair, 1)? {
        let shown = |name: &str| {
            let shown = |f: &Interval| format!("{:.4} [{:.4}, {:.4}]", f.value, f.lower, f.upper);
            figures.get(name).map_or("undefined: no gap to recover".to_owned(), shown)
        };
        let (auroc, apgr) = (shown("auroc"), shown("apgr"));
        let over = if scorer == LENGTH {
            String::new()
        } else {
            format!("  over length, paired {}", shown("apgr_over_length"))
        };
        say(&format!("{scorer:<14} n {:>6}  AUROC {auroc}  APGR {apgr}{over}", rows.len()));
    }
    Ok(())
}
