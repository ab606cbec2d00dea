//! Everything `training evaluate` has to say about an artifact on labelled data, as one value. Figures with their
//! intervals are measured in `figures`, tables and curves in `breakdown`, other pairs in `swaps`; the whole is judged
//! in `verdict` and shown in `terminal` and `page`.

mod breakdown;
mod figures;
pub(crate) mod page;
mod swaps;
mod terminal;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};

use artifact::Interval;
use policy::RandomisedThreshold;
use serde::Serialize;

use crate::operating_point::Rows;
use crate::prices::PairCost;
use breakdown::Breakdown;
use figures::{Sample, Table};

pub use page::page;
pub use swaps::pair_swaps;
pub use terminal::lines;
pub use verdict::{Answer, Reason, Standing, Verdict, Volume};

/// Bins of the calibration figures and buckets of the tables.
const BINS: usize = 10;

/// Confidence of every interval.
const LEVEL: f64 = 0.95;

/// What is evaluated.
#[derive(Debug)]
pub struct Input<'a> {
    /// Name and version of the artifact.
    pub artifact: String,
    /// The pair, as `strong/weak`.
    pub pair: String,
    /// What was read.
    pub sources: Vec<String>,
    /// Fingerprint of the data.
    pub data: String,
    /// Whether the outcomes are simulated.
    pub simulated: bool,
    /// The rows of the pair.
    pub rows: &'a Rows,
    /// Length of each prompt.
    pub lengths: &'a [f64],
    /// The best model of the data among those that answered every row, with its scores.
    pub best_single: Option<(String, Vec<f64>)>,
    /// The same probability on other pairs of the data.
    pub swaps: Vec<Swap>,
    /// The threshold of the headline: its name and itself.
    pub point: (String, RandomisedThreshold),
    /// Effective prices.
    pub cost: Option<PairCost>,
    /// What the verdict needs beside the rows.
    pub volume: Volume,
    /// Quality that routing must keep, as a share of strong's.
    pub quality_floor: f64,
    /// Bound of the cheap-and-wrong rate whose certificate the verdict asks for, and its delta.
    pub certificate: (f64, f64),
    /// Seed of the bootstrap.
    pub seed: u64,
}

/// The report.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Name and version of the artifact.
    pub artifact: String,
    /// `strong/weak`.
    pub pair: String,
    /// What was read.
    pub sources: Vec<String>,
    /// Fingerprint of the data.
    pub data: String,
    /// Whether the outcomes are simulated.
    pub simulated: bool,
    /// Rows of the pair.
    pub rows: usize,
    /// Groups of rows that belong together.
    pub groups: usize,
    /// Share of rows where strong is strictly better.
    pub base_rate: f64,
    /// Should you route?
    pub verdict: Verdict,
    /// What the operating point gives: see [`crate::operating_point::Rows::measure`].
    pub headline: Headline,
    /// Mean score of weak, of strong, and the gap between them.
    pub gap: Gap,
    /// The gap is below two standard errors: figures that divide by it (APGR, CPT) are left out everywhere.
    pub no_gap_to_recover: bool,
    /// Figures by scorer: `classifier`, `prompt_length`.
    pub scorers: BTreeMap<String, Figures>,
    /// Ranking of the classifier less that of prompt length, on the same resamples.
    pub over_prompt_length: BTreeMap<String, Interval>,
    /// What costs nothing to know, and what nobody can.
    pub baselines: Vec<Baseline>,
    /// Miscalibration, discrimination and uncertainty of `brier` and `log_loss` (CORP).
    pub decomposition: BTreeMap<String, Parts>,
    /// The reliability diagram.
    pub reliability: Vec<Bin>,
    /// Tenths of the rows by probability, lowest first.
    pub buckets: Vec<Bucket>,
    /// Slices with enough rows, least calibrated first.
    pub slices: Vec<Slice>,
    /// The same probability on other pairs of the data.
    pub pair_swaps: Vec<Swap>,
    /// Curves for the plots, by scorer.
    pub curves: BTreeMap<String, Vec<CurvePoint>>,
}

/// "Quality retained q at fraction f of strong-only cost, cheap-and-wrong r [interval]".
#[derive(Debug, Clone, Serialize)]
pub struct Headline {
    /// The operating point.
    pub operating_point: String,
    /// What was measured at it.
    pub measured: BTreeMap<String, Interval>,
    /// In one sentence.
    pub sentence: String,
}

/// What routing could recover.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Gap {
    /// Mean score of weak.
    pub weak: f64,
    /// Mean score of strong.
    pub strong: f64,
    /// Strong less weak.
    pub gap: Interval,
    /// Its standard error over resamples of groups.
    pub standard_error: f64,
    /// Whether it is above two standard errors: otherwise there is no gap to recover.
    pub recoverable: bool,
}

/// Figures of one score.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Figures with their bootstrap interval.
    pub estimates: BTreeMap<String, Interval>,
}

/// A policy that needs no classifier, or one that nobody has.
#[derive(Debug, Clone, Serialize)]
pub struct Baseline {
    /// Which.
    pub name: String,
    /// Mean score.
    pub quality: Interval,
    /// Share of the rows that go to strong; none where another model answers.
    pub strong_call_rate: Option<f64>,
    /// Quality at the operating point less this, on the same resamples.
    pub operating_point_over: Interval,
}

/// A decomposed score: `score = miscalibration - discrimination + uncertainty`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Parts {
    /// The score.
    pub score: Interval,
    /// What recalibration would save.
    pub miscalibration: Interval,
    /// What the ranking saves over the base rate.
    pub discrimination: Interval,
    /// The score of the base rate.
    pub uncertainty: Interval,
}

/// One bin of the reliability diagram.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Bin {
    /// Mean probability.
    pub mean_probability: f64,
    /// Share of rows where strong was strictly better, with its exact interval.
    pub observed: Interval,
    /// Where that share lies in 95 % of cases if every probability is right.
    pub consistent: (f64, f64),
    /// Rows.
    pub rows: usize,
}

/// A tenth of the rows.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Bucket {
    /// Lowest and highest probability.
    pub probability: (f64, f64),
    /// Rows.
    pub rows: usize,
    /// Mean probability.
    pub mean_probability: f64,
    /// Share of rows on which weak is at least as good as strong, with its Wilson interval.
    pub weak_suffices: Interval,
    /// Mean score of weak.
    pub weak: f64,
    /// Mean score of strong.
    pub strong: f64,
}

/// A slice of the rows.
#[derive(Debug, Clone, Serialize)]
pub struct Slice {
    /// Its tag.
    pub slice: String,
    /// Rows.
    pub rows: usize,
    /// Mean probability.
    pub mean_probability: f64,
    /// Share of rows where strong was strictly better, with its exact interval.
    pub observed: Interval,
    /// Mid-p value of "the probabilities are right here", corrected for the number of slices (Holm).
    pub p_value: f64,
}

/// Another pair ranked by the same probability.
#[derive(Debug, Clone, Serialize)]
pub struct Swap {
    /// `strong/weak`.
    pub pair: String,
    /// Rows with outcomes of both.
    pub rows: usize,
    /// Mean score of strong less that of weak.
    pub gap: Interval,
    /// Area under the ROC curve for "strong is strictly better".
    pub auroc: Interval,
    /// Average performance gap recovered; none where there is no gap to recover.
    pub apgr: Option<Interval>,
}

/// A point of a curve.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct CurvePoint {
    /// Share of strong calls.
    pub strong_call_rate: f64,
    /// Mean score.
    pub quality: f64,
    /// Share kept on weak although strong would have been better.
    pub cheap_and_wrong_rate: f64,
    /// Mean cost as a fraction of strong-only cost; the strong-call rate without prices.
    pub cost_fraction: f64,
}

impl Report {
    /// Measures everything.
    ///
    /// # Errors
    /// When a figure is undefined on the rows: none, or one group only.
    pub fn build(input: Input<'_>) -> anyhow::Result<Self> {
        let sample = Sample::new(&input);
        let estimates = sample.estimates()?;
        let gap = estimates.gap();
        let scorers: BTreeMap<String, Figures> =
            [("classifier", Table::Classifier), ("prompt_length", Table::Length)]
                .map(|(name, table)| (name.to_owned(), Figures { estimates: estimates.of(table) }))
                .into();
        let over_prompt_length = estimates.of(Table::OverLength);
        let (name, threshold) = &input.point;
        let measured = input.rows.measure(threshold, input.cost, input.seed)?;
        let headline = Headline { operating_point: name.clone(), sentence: sentence(&measured), measured };
        let breakdown = Breakdown::new(&input, &sample);
        let verdict = verdict::judge(&verdict::Facts {
            gap,
            quality_floor: input.quality_floor,
            certificate: input.certificate,
            rows: input.rows,
            figures: &scorers["classifier"],
            over_prompt_length: &over_prompt_length,
            cost: input.cost,
            volume: &input.volume,
        })?;
        let groups: BTreeSet<&String> = input.rows.groups.iter().collect();
        Ok(Self {
            rows: input.rows.len(),
            groups: groups.len(),
            base_rate: sample.base_rate(),
            verdict,
            headline,
            no_gap_to_recover: !gap.recoverable,
            gap,
            scorers,
            over_prompt_length,
            baselines: estimates.baselines(&sample),
            decomposition: estimates.decomposition(),
            reliability: breakdown.reliability()?,
            buckets: breakdown.buckets()?,
            slices: breakdown.slices()?,
            curves: breakdown.curves()?,
            pair_swaps: input.swaps,
            artifact: input.artifact,
            pair: input.pair,
            sources: input.sources,
            data: input.data,
            simulated: input.simulated,
        })
    }

    /// The mean probability at which the gap between strong and weak first reaches half of its greatest value
    /// over the buckets, between the two buckets around it; `None` where there is no gap.
    fn gap_opens_at(&self) -> Option<f64> {
        let gap = |b: &Bucket| b.strong - b.weak;
        let half = 0.5 * self.buckets.iter().map(gap).fold(f64::NEG_INFINITY, f64::max);
        if half <= 0.0 {
            return None;
        }
        let pair = self.buckets.windows(2).find(|w| gap(&w[0]) < half && gap(&w[1]) >= half)?;
        let along = (half - gap(&pair[0])) / (gap(&pair[1]) - gap(&pair[0]));
        Some(pair[0].mean_probability + along * (pair[1].mean_probability - pair[0].mean_probability))
    }
}

/// The headline, always in this form. Without prices a call of weak counts as free, so that the fraction of
/// strong-only cost is the strong-call rate.
fn sentence(measured: &BTreeMap<String, Interval>) -> String {
    let shown = |f: Option<&Interval>| f.map_or("unknown".to_owned(), interval);
    let cost = measured.get("cost_fraction");
    let unpriced = if cost.is_none() { " (no prices given: calls of weak count as free)" } else { "" };
    format!(
        "quality retained {} at fraction {} of strong-only cost, cheap-and-wrong {}{unpriced}",
        shown(measured.get("quality_retained")),
        shown(cost.or(measured.get("strong_call_rate"))),
        shown(measured.get("cheap_and_wrong_rate"))
    )
}

/// What stands where a figure would divide by a gap that is none.
const NO_GAP: &str = "no gap to recover";

/// The figures of a scorer by key, in the order in which they are shown, with what they are called there.
const FIGURES: [(&str, &str); 18] = [
    ("auroc", "AUROC"),
    ("apgr", "APGR"),
    ("apgr_routellm", "APGR, RouteLLM's"),
    ("cpt_20_first_reach", "CPT(20 %)"),
    ("cpt_20_routellm", "CPT(20 %), RouteLLM's"),
    ("cpt_50_first_reach", "CPT(50 %)"),
    ("cpt_50_routellm", "CPT(50 %), RouteLLM's"),
    ("cpt_80_first_reach", "CPT(80 %)"),
    ("cpt_80_routellm", "CPT(80 %), RouteLLM's"),
    ("cpt_95_first_reach", "CPT(95 %)"),
    ("cpt_95_routellm", "CPT(95 %), RouteLLM's"),
    ("aiq", "AIQ"),
    ("brier", "Brier score"),
    ("log_loss", "log loss"),
    ("ece_equal_mass", "ECE, 10 bins of equal mass"),
    ("ece_equal_width", "ECE, 10 bins of equal width"),
    ("debiased_squared_ece", "squared ECE, debiased"),
    ("sm_ece", "smECE"),
];

/// How to read them.
const NOTES: [&str; 2] = [
    "Higher is better: AUROC and APGR (both 0.5 without any order), AIQ (mean quality over all budgets). Lower is \
     better: CPT(x), the share of strong calls that recovers x of the gap, and every error of the probabilities.",
    "Resamples repeat rows, which adds noise to bins: the intervals of ECE, smECE, miscalibration and discrimination \
     are moved back by as much, to lie around the figure.",
];

/// A figure of some scorer as it is shown; a ratio over a gap that is none is not.
fn figure_cell(report: &Report, figures: &BTreeMap<String, Interval>, key: &str) -> String {
    let over_the_gap = key.starts_with("apgr") || key.starts_with("cpt");
    match figures.get(key) {
        Some(figure) => precise(figure),
        None if over_the_gap && report.no_gap_to_recover => NO_GAP.to_owned(),
        None => "–".to_owned(),
    }
}

/// APGR of another pair as it is shown.
fn swap_cell(swap: &Swap) -> String {
    swap.apgr.as_ref().map_or(NO_GAP.to_owned(), precise)
}

/// A figure with its interval, to three decimals.
fn interval(f: &Interval) -> String {
    format!("{:.3} [{:.3}, {:.3}]", f.value, f.lower, f.upper)
}

/// A figure with its interval, to four decimals.
fn precise(f: &Interval) -> String {
    format!("{:.4} [{:.4}, {:.4}]", f.value, f.lower, f.upper)
}
