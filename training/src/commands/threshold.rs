//! `training threshold`: a named threshold selected from labelled data, written into the artifact.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use artifact::{Artifact, Interval, OperatingPoint};
use clap::{Args, ValueEnum};
use classifier::Backend;
use policy::{Certificate, Objective, Risk};
use types::{ModelPair, Threshold};

use super::{DataArgs, Loaded, PairArgs, Purpose, untouched};
use crate::accuracy_curve;
use crate::card::refresh;
use crate::operating_point::{Origin, Rows, operating_point};
use crate::prices::Prices;
use crate::tiers::Tiers;

/// Select a threshold from labelled data for one objective and write it into the artifact.
///
/// Use rows that took no part in training and calibrating. When the data is what the artifact was
/// trained on, its test split is used.
#[derive(Debug, Clone, Args)]
pub struct ThresholdArgs {
    /// Folder of the artifact.
    #[arg(long, short = 'a', default_value = "models/default", value_name = "FOLDER")]
    artifact: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    pairs: PairArgs,
    #[command(flatten)]
    objective: ObjectiveArgs,
    /// Confidence of the certificate.
    #[arg(long, default_value_t = 0.9, requires = "max_cheap_and_wrong")]
    confidence: f64,
    /// What the certificate bounds: the share of all queries, the share of those kept on weak, or the mean
    /// loss of score.
    #[arg(long, value_enum, default_value = "cheap-and-wrong", requires = "max_cheap_and_wrong")]
    risk: RiskArg,
    /// Name of the operating point.
    #[arg(long, default_value = "default")]
    name: String,
    /// What the models cost; needed for --cost-budget and --value-per-correct-usd.
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Show what would change and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Seed of the bootstrap.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Exactly one objective.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
struct ObjectiveArgs {
    /// This share of the queries goes strong.
    #[arg(long, value_name = "SHARE")]
    strong_call_rate: Option<f64>,
    /// The error rate may exceed that of always calling strong by this much.
    #[arg(long, value_name = "SHARE")]
    error_budget: Option<f64>,
    /// With --confidence, at most this share is kept on weak although strong would have been better.
    #[arg(long, value_name = "SHARE")]
    max_cheap_and_wrong: Option<f64>,
    /// The least cost that keeps this share of strong's quality.
    #[arg(long, value_name = "SHARE")]
    quality_floor: Option<f64>,
    /// The best quality for this mean cost of a query.
    #[arg(long, value_name = "USD")]
    cost_budget: Option<f64>,
    /// Strong where the expected gain is worth the price difference, for a correct answer of this worth.
    #[arg(long, value_name = "USD")]
    value_per_correct_usd: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RiskArg {
    CheapAndWrong,
    WrongGivenCheap,
    GradedLoss,
}

impl ThresholdArgs {
    fn objective(&self) -> Result<Objective> {
        let certificate = |alpha: f64| {
            let risk = match self.risk {
                RiskArg::CheapAndWrong => Risk::CheapAndWrong,
                RiskArg::WrongGivenCheap => Risk::WrongGivenCheap,
                RiskArg::GradedLoss => Risk::GradedLoss,
            };
            Objective::Certificate(Certificate { risk, alpha, delta: 1.0 - self.confidence })
        };
        let asked = [
            self.objective.strong_call_rate.map(Objective::StrongCallRate),
            self.objective.error_budget.map(Objective::ErrorBudget),
            self.objective.max_cheap_and_wrong.map(certificate),
            self.objective.quality_floor.map(Objective::QualityFloor),
            self.objective.cost_budget.map(Objective::CostBudget),
            self.objective.value_per_correct_usd.map(Objective::ValuePerCorrect),
        ];
        asked.into_iter().flatten().next().context("which objective?")
    }

    /// Runs the command.
    ///
    /// # Errors
    /// When the artifact, the data, the prices or the objective is refused, or writing fails.
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let objective = self.objective()?;
        let artifact = Artifact::load(&self.artifact, Backend::Flex)?;
        let prices = self.prices.as_deref().map(Prices::read).transpose()?;
        let Loaded { mut examples, .. } = self.data.load(say)?;
        corpus::group_duplicates(&mut examples);
        let pair = self.pairs.of(&artifact)?;
        let calibrator = artifact.calibrators().iter().find(|c| c.pair == pair);
        let calibrator = calibrator.with_context(|| format!("{pair} has no calibrator in this artifact"))?;
        let fingerprint = corpus::fingerprint(&examples);
        let (split, rows) = untouched(&artifact, &examples, &fingerprint, Purpose::Judging, say)?;
        let rows = Rows::new(Tiers::of(&artifact), calibrator, &examples, &rows);
        if rows.is_empty() {
            bail!("no row has outcomes of both {} and {}", pair.strong(), pair.weak());
        }
        let origin = Origin {
            data: fingerprint,
            split,
            high_stakes: &artifact.manifest().high_stakes,
            cost: prices.as_ref().map(|p| p.pair(&pair)).transpose()?,
            seed: self.seed,
        };
        let point = operating_point(&rows, &objective, &origin)?;
        let before =
            artifact.manifest().operating_points.get(&self.name).and_then(|by| by.get(&pair.to_string()));
        show(&self.name, &pair, before, &point, say);
        accuracy_curve::lines(&point).iter().for_each(|line| say(line));
        if let Some(prices) = &prices {
            say(&format!("prices valid on {}", prices.valid_on()));
        }
        if self.dry_run {
            say("dry run: nothing was written");
            return Ok(());
        }
        let mut draft = artifact.draft();
        draft.operating_points.entry(self.name.clone()).or_default().insert(pair.to_string(), point);
        draft.write(&self.artifact, |manifest| refresh(manifest, artifact.calibrators(), &self.artifact))?;
        say(&format!("wrote operating point {} into {}", self.name, self.artifact.display()));
        Ok(())
    }
}

/// The new point beside the one it replaces.
fn show(
    name: &str,
    pair: &ModelPair,
    before: Option<&OperatingPoint>,
    after: &OperatingPoint,
    say: &mut dyn FnMut(&str),
) {
    say(&format!(
        "operating point {name} of {pair}: {} on {} rows ({})",
        after.objective, after.rows, after.split
    ));
    let threshold = |p: &OperatingPoint| {
        let shown = |t: f64| if t >= Threshold::NEVER.get() { "never".to_owned() } else { format!("{t:.6}") };
        if p.low == p.high {
            shown(p.low)
        } else {
            format!("{} with probability {:.4}, else {}", shown(p.low), p.probability_of_low, shown(p.high))
        }
    };
    let figure = |f: Option<&Interval>| {
        f.map_or("–".to_owned(), |f| format!("{:.4} [{:.4}, {:.4}]", f.value, f.lower, f.upper))
    };
    let none = BTreeMap::new();
    let old = before.map_or(&none, |p| &p.measured);
    let mut line = |what: &str, old: String, new: String| {
        if before.is_some() && old != new {
            say(&format!("  {what:<22} {old} → {new}"));
        } else {
            say(&format!("  {what:<22} {new}"));
        }
    };
    line("threshold", before.map_or("–".to_owned(), threshold), threshold(after));
    for (key, words) in [
        ("strong_call_rate", "strong-call rate"),
        ("quality", "quality"),
        ("quality_retained", "quality retained"),
        ("cost_fraction", "of strong-only cost"),
        ("cheap_and_wrong_rate", "cheap-and-wrong rate"),
    ] {
        if after.measured.contains_key(key) {
            line(words, figure(old.get(key)), figure(after.measured.get(key)));
        }
    }
    let certificate = |p: &OperatingPoint| match (&p.certificate, p.labels_needed) {
        (Some(c), _) => format!(
            "{} at most {} with confidence {:.3} (upper bound {:.4}, p {:.4}, {} of {} rows lost)",
            c.risk,
            c.alpha,
            1.0 - c.delta,
            c.upper_bound,
            c.p_value,
            c.loss,
            c.tested
        ),
        (None, Some(0)) => {
            "none: there are labels enough, but the risk is not below the bound; every query goes strong"
                .to_owned()
        }
        (None, Some(more)) => {
            format!("none: needs about {more} more labels; until then every query goes strong")
        }
        (None, None) => "none: this objective is no promise".to_owned(),
    };
    line("certificate", before.map_or("–".to_owned(), certificate), certificate(after));
    let slices = |p: &OperatingPoint| p.certified_slices.keys().cloned().collect::<Vec<_>>().join(", ");
    if before.is_some_and(|p| !p.certified_slices.is_empty()) || !after.certified_slices.is_empty() {
        line("certified high stakes", before.map_or(String::new(), slices), slices(after));
    }
}
