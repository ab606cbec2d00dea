//! Everything `training evaluate` has to say about an artifact on labelled data, as one value: built here,
//! judged in `verdict`, shown in `terminal` and `page`.

mod page;
mod terminal;
mod verdict;

use std::collections::BTreeMap;

use artifact::Interval;
use calibration::isotonic_regression;
use evaluation::bootstrap::percentile_intervals;
use evaluation::routing::{full_sweep, routellm_curve};
use evaluation::{
    Decomposition, EvaluationError, Outcomes, ReliabilityBin, RoutingPoint, aiq, auroc, brier,
    calibration_mid_p, clopper_pearson, corp_brier, corp_log_loss, debiased_squared_ece, ece_equal_mass,
    ece_equal_width, holm, log_loss, reliability_equal_mass, sm_ece, sweep, wilson_95,
};
use policy::RandomisedThreshold;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::operating_point::Rows;
use crate::prices::PairCost;

pub use page::page;
pub use terminal::lines;
pub use verdict::{Answer, Reason, Standing, Verdict, Volume};

const BINS: usize = 10;
const LEVEL: f64 = 0.95;
const CPT: [f64; 4] = [0.2, 0.5, 0.8, 0.95];

/// Resamples for samples up to [`LARGE`] rows, and beyond.
const RESAMPLES: (usize, usize) = (1_000, 300);
const LARGE: usize = 20_000;

/// Slices with fewer rows are left out of the table.
const LEAST_SLICE: usize = 20;

/// Points of a curve that is kept for plots.
const CURVE_POINTS: usize = 200;

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
    /// The best model of the data on these rows, with its mean score.
    pub best_single: Option<(String, f64)>,
    /// Other pairs of the data: name, rows, their ranking by the same probability.
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
    /// Figures by scorer: `classifier`, `prompt_length`.
    pub scorers: BTreeMap<String, Figures>,
    /// Classifier less prompt length, on the same resamples: `auroc`, `apgr`.
    pub over_prompt_length: BTreeMap<String, Interval>,
    /// What costs nothing to know, and what nobody can: mean quality and strong-call rate.
    pub baselines: Vec<Baseline>,
    /// Miscalibration, discrimination and uncertainty.
    pub decomposition: BTreeMap<String, Parts>,
    /// The reliability diagram.
    pub reliability: Vec<Bin>,
    /// Tenths of the rows by probability, lowest first.
    pub buckets: Vec<Bucket>,
    /// Slices with enough rows.
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
    /// Figures without one.
    pub values: BTreeMap<String, f64>,
}

/// A policy that needs no classifier, or one that nobody has.
#[derive(Debug, Clone, Serialize)]
pub struct Baseline {
    /// Which.
    pub name: String,
    /// Mean score.
    pub quality: f64,
    /// Share of the rows that go to strong.
    pub strong_call_rate: f64,
}

/// A decomposed score.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Parts {
    /// The score.
    pub score: f64,
    /// What recalibration would save.
    pub miscalibration: f64,
    /// What the ranking saves over the base rate.
    pub discrimination: f64,
    /// The score of the base rate.
    pub uncertainty: f64,
}

impl From<Decomposition> for Parts {
    fn from(d: Decomposition) -> Self {
        let Decomposition { score, miscalibration, discrimination, uncertainty } = d;
        Self { score, miscalibration, discrimination, uncertainty }
    }
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

impl From<&ReliabilityBin> for Bin {
    fn from(bin: &ReliabilityBin) -> Self {
        let (lower, upper) = (bin.interval_lower, bin.interval_upper);
        Self {
            mean_probability: bin.mean_probability,
            observed: Interval { value: bin.observed_rate, lower, upper },
            consistent: (bin.consistent_lower, bin.consistent_upper),
            rows: bin.n,
        }
    }
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
    /// Area under the ROC curve for "strong is strictly better".
    pub auroc: f64,
    /// Average performance gap recovered; none where there is no gap.
    pub apgr: Option<f64>,
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
        let columns = Columns::new(&input);
        let gap = columns.gap()?;
        let mut scorers = BTreeMap::new();
        scorers.insert("classifier".to_owned(), columns.figures(&columns.p, true)?);
        scorers.insert("prompt_length".to_owned(), columns.figures(input.lengths, false)?);
        let over_prompt_length = columns.over_prompt_length(input.lengths)?;
        let mut decomposition = BTreeMap::new();
        let recalibrated = isotonic_regression(&columns.p, &columns.labels);
        decomposition
            .insert("brier".to_owned(), corp_brier(&columns.p, &recalibrated, &columns.labels)?.into());
        let of_log_loss = corp_log_loss(&columns.p, &recalibrated, &columns.labels)?;
        decomposition.insert("log_loss".to_owned(), of_log_loss.into());
        let (name, threshold) = &input.point;
        let measured = input.rows.measure(threshold, input.cost, input.seed)?;
        let headline = Headline { operating_point: name.clone(), sentence: sentence(&measured), measured };
        let curves = columns.curves(input.lengths)?;
        let verdict = verdict::judge(&verdict::Facts {
            gap,
            quality_floor: input.quality_floor,
            certificate: input.certificate,
            rows: columns.p.len(),
            figures: &scorers["classifier"],
            over_prompt_length: &over_prompt_length,
            at_floor: columns.at_quality_floor(&input)?,
            cost: input.cost,
            volume: &input.volume,
        })?;
        let bins = reliability_equal_mass(&columns.p, &columns.labels, BINS)?;
        let groups: std::collections::BTreeSet<&String> = input.rows.groups.iter().collect();
        let rows = columns.p.len();
        Ok(Self {
            rows,
            groups: groups.len(),
            base_rate: columns.labels.iter().filter(|y| **y).count() as f64 / rows as f64,
            verdict,
            headline,
            gap,
            scorers,
            over_prompt_length,
            baselines: columns.baselines(&input),
            decomposition,
            reliability: bins.iter().map(Bin::from).collect(),
            buckets: columns.buckets()?,
            slices: columns.slices(&input.rows.slices)?,
            pair_swaps: input.swaps,
            curves,
            artifact: input.artifact,
            pair: input.pair,
            sources: input.sources,
            data: input.data,
            simulated: input.simulated,
        })
    }
}

fn sentence(measured: &BTreeMap<String, Interval>) -> String {
    let shown = |key: &str| {
        measured
            .get(key)
            .map_or("unknown".to_owned(), |f| format!("{:.3} [{:.3}, {:.3}]", f.value, f.lower, f.upper))
    };
    let cost = match measured.get("cost_fraction") {
        Some(fraction) => format!("at fraction {:.3} of strong-only cost", fraction.value),
        None => format!(
            "with {:.3} of the calls going strong (no prices given)",
            measured["strong_call_rate"].value
        ),
    };
    format!(
        "quality retained {} {cost}, cheap-and-wrong {}",
        shown("quality_retained"),
        shown("cheap_and_wrong_rate")
    )
}

/// The rows as columns.
struct Columns<'a> {
    p: Vec<f64>,
    labels: Vec<bool>,
    weak: &'a [f64],
    strong: &'a [f64],
    groups: &'a [String],
    cost: Option<PairCost>,
    resamples: usize,
    seed: u64,
}

impl<'a> Columns<'a> {
    fn new(input: &Input<'a>) -> Self {
        let rows = input.rows;
        Self {
            p: rows.probabilities.iter().map(|p| p.get()).collect(),
            labels: rows.strong.iter().zip(&rows.weak).map(|(s, w)| s > w).collect(),
            weak: &rows.weak,
            strong: &rows.strong,
            groups: &rows.groups,
            cost: input.cost,
            resamples: if rows.len() > LARGE { RESAMPLES.1 } else { RESAMPLES.0 },
            seed: input.seed,
        }
    }

    fn rng(&self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.seed)
    }

    /// Statistics on the rows as they are, with their intervals; those that are undefined are left out.
    fn estimates<const K: usize>(
        &self,
        names: [&str; K],
        statistics: impl Fn(&[usize]) -> [Option<f64>; K],
    ) -> Result<BTreeMap<String, Interval>, EvaluationError> {
        let all: Vec<usize> = (0..self.p.len()).collect();
        let values = statistics(&all);
        let defined = |rows: &[usize]| {
            // What is undefined on the whole sample must not fail the rest.
            let mut found = statistics(rows);
            for (found, value) in found.iter_mut().zip(&values) {
                if value.is_none() {
                    *found = Some(0.0);
                }
            }
            found
        };
        let intervals = percentile_intervals(self.groups, defined, self.resamples, LEVEL, &mut self.rng())?;
        let named = names.into_iter().zip(values).zip(intervals);
        Ok(named
            .filter_map(|((name, value), i)| {
                Some((name.to_owned(), Interval { value: value?, lower: i.lower, upper: i.upper }))
            })
            .collect())
    }

    fn gap(&self) -> Result<Gap, EvaluationError> {
        let mean =
            |values: &[f64], rows: &[usize]| rows.iter().map(|r| values[*r]).sum::<f64>() / rows.len() as f64;
        let of = |rows: &[usize]| [Some(mean(self.strong, rows) - mean(self.weak, rows))];
        let gap = self.estimates(["gap"], of)?["gap"];
        // A 95 % interval is 3.92 standard errors wide.
        let standard_error = (gap.upper - gap.lower) / 3.92;
        let all: Vec<usize> = (0..self.p.len()).collect();
        let (weak, strong) = (mean(self.weak, &all), mean(self.strong, &all));
        Ok(Gap { weak, strong, gap, standard_error, recoverable: gap.value > 2.0 * standard_error })
    }

    fn apgr(&self, scores: &[f64], rows: &[usize]) -> Option<f64> {
        let pick = |of: &[f64]| rows.iter().map(|r| of[*r]).collect::<Vec<_>>();
        full_sweep(&pick(scores), &pick(self.weak), &pick(self.strong)).ok().map(|c| c.apgr())
    }

    fn auroc(&self, scores: &[f64], rows: &[usize]) -> Option<f64> {
        let s: Vec<f64> = rows.iter().map(|r| scores[*r]).collect();
        let y: Vec<bool> = rows.iter().map(|r| self.labels[*r]).collect();
        auroc(&s, &y).ok()
    }

    fn figures(&self, scores: &[f64], are_probabilities: bool) -> Result<Figures, EvaluationError> {
        let mut estimates =
            self.estimates(["auroc", "apgr"], |rows| [self.auroc(scores, rows), self.apgr(scores, rows)])?;
        let mut values = BTreeMap::new();
        if let Ok(curve) = full_sweep(scores, self.weak, self.strong) {
            for share in CPT {
                let rate = curve.call_rate_to_recover(share);
                values.extend(rate.map(|r| (format!("cpt_{:.0}_first_reach", 100.0 * share), r)));
            }
        }
        if let Ok(curve) = routellm_curve(scores, self.weak, self.strong) {
            values.insert("apgr_routellm".to_owned(), curve.apgr());
            for share in CPT {
                let rate = curve.interpolated_call_rate_to_recover(share);
                values.extend(rate.map(|r| (format!("cpt_{:.0}_routellm", 100.0 * share), r)));
            }
        }
        values.extend(aiq(&self.sweep(scores)?).map(|a| ("aiq".to_owned(), a)));
        if are_probabilities {
            let of = |rows: &[usize]| {
                let p: Vec<f64> = rows.iter().map(|r| scores[*r]).collect();
                let y: Vec<bool> = rows.iter().map(|r| self.labels[*r]).collect();
                [brier(&p, &y).ok(), log_loss(&p, &y).ok(), ece_equal_mass(&p, &y, BINS).ok()]
            };
            estimates.extend(self.estimates(["brier", "log_loss", "ece_equal_mass"], of)?);
            values.insert("ece_equal_width".to_owned(), ece_equal_width(scores, &self.labels, BINS)?);
            let squared = debiased_squared_ece(scores, &self.labels, BINS)?;
            values.insert("debiased_squared_ece".to_owned(), squared);
            values.insert("sm_ece".to_owned(), sm_ece(scores, &self.labels)?);
        }
        Ok(Figures { estimates, values })
    }

    fn over_prompt_length(&self, lengths: &[f64]) -> Result<BTreeMap<String, Interval>, EvaluationError> {
        self.estimates(["auroc", "apgr"], |rows| {
            let less = |of: &dyn Fn(&[f64]) -> Option<f64>| Some(of(&self.p)? - of(lengths)?);
            [less(&|s| self.auroc(s, rows)), less(&|s| self.apgr(s, rows))]
        })
    }

    fn sweep(&self, scores: &[f64]) -> Result<Vec<RoutingPoint>, EvaluationError> {
        let costs = self.cost.map(|c| (vec![c.weak_usd; self.p.len()], vec![c.strong_usd; self.p.len()]));
        let costs = costs.as_ref().map(|(weak, strong)| (weak.as_slice(), strong.as_slice()));
        sweep(scores, &Outcomes { weak: self.weak, strong: self.strong, costs })
    }

    fn curves(&self, lengths: &[f64]) -> Result<BTreeMap<String, Vec<CurvePoint>>, EvaluationError> {
        let oracle: Vec<f64> = self.strong.iter().zip(self.weak).map(|(s, w)| s - w).collect();
        let mut curves = BTreeMap::new();
        for (name, scores) in
            [("classifier", self.p.as_slice()), ("prompt_length", lengths), ("oracle", &oracle)]
        {
            let points = self.sweep(scores)?;
            let dearest = points[points.len() - 1].cost;
            let step = points.len().div_ceil(CURVE_POINTS).max(1);
            let last = points.len() - 1;
            let kept = points.iter().enumerate().filter(|(i, _)| i % step == 0 || *i == last);
            let point = |(_, p): (usize, &RoutingPoint)| CurvePoint {
                strong_call_rate: p.strong_call_rate,
                quality: p.quality,
                cheap_and_wrong_rate: p.cheap_and_wrong_rate,
                cost_fraction: if dearest > 0.0 { p.cost / dearest } else { p.strong_call_rate },
            };
            curves.insert(name.to_owned(), kept.map(point).collect());
        }
        Ok(curves)
    }

    fn baselines(&self, input: &Input<'_>) -> Vec<Baseline> {
        let n = self.p.len() as f64;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / n;
        let (weak, strong) = (mean(self.weak), mean(self.strong));
        let best = self.strong.iter().zip(self.weak).map(|(s, w)| s.max(*w)).sum::<f64>() / n;
        let wins = self.labels.iter().filter(|y| **y).count() as f64 / n;
        let baseline = |name: &str, quality, strong_call_rate| Baseline {
            name: name.to_owned(),
            quality,
            strong_call_rate,
        };
        let mut all = vec![
            baseline("always weak", weak, 0.0),
            baseline("always strong", strong, 1.0),
            baseline("random half", 0.5 * (weak + strong), 0.5),
            baseline("oracle", best, wins),
        ];
        if let Some((name, quality)) = &input.best_single {
            all.push(baseline(&format!("best single model ({name})"), *quality, 1.0));
        }
        all
    }

    fn buckets(&self) -> Result<Vec<Bucket>, EvaluationError> {
        let mut order: Vec<usize> = (0..self.p.len()).collect();
        order.sort_unstable_by(|a, b| self.p[*a].total_cmp(&self.p[*b]));
        let size = order.len().div_ceil(BINS);
        let bucket = |rows: &[usize]| {
            let n = rows.len() as f64;
            let mean = |values: &[f64]| rows.iter().map(|r| values[*r]).sum::<f64>() / n;
            let suffices = rows.iter().filter(|r| !self.labels[**r]).count();
            let (lower, upper) = wilson_95(suffices, rows.len())?;
            Ok(Bucket {
                probability: (self.p[rows[0]], self.p[rows[rows.len() - 1]]),
                rows: rows.len(),
                mean_probability: mean(&self.p),
                weak_suffices: Interval { value: suffices as f64 / n, lower, upper },
                weak: mean(self.weak),
                strong: mean(self.strong),
            })
        };
        order.chunks(size).map(bucket).collect()
    }

    fn slices(&self, tags: &[Vec<String>]) -> Result<Vec<Slice>, EvaluationError> {
        let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (row, tags) in tags.iter().enumerate() {
            for tag in tags {
                members.entry(tag).or_default().push(row);
            }
        }
        members.retain(|_, rows| rows.len() >= LEAST_SLICE);
        let mut slices = Vec::with_capacity(members.len());
        for (slice, rows) in members {
            let p: Vec<f64> = rows.iter().map(|r| self.p[*r]).collect();
            let wins = rows.iter().filter(|r| self.labels[**r]).count();
            let (lower, upper) = clopper_pearson(wins, rows.len(), LEVEL)?;
            slices.push(Slice {
                slice: slice.to_owned(),
                rows: rows.len(),
                mean_probability: p.iter().sum::<f64>() / p.len() as f64,
                observed: Interval { value: wins as f64 / rows.len() as f64, lower, upper },
                p_value: calibration_mid_p(&p, wins)?,
            });
        }
        let corrected = holm(&slices.iter().map(|s| s.p_value).collect::<Vec<_>>());
        for (slice, p_value) in slices.iter_mut().zip(corrected) {
            slice.p_value = p_value;
        }
        Ok(slices)
    }

    /// What the least cost that keeps the quality floor looks like; `None` where no threshold keeps it.
    fn at_quality_floor(&self, input: &Input<'_>) -> anyhow::Result<Option<policy::Expected>> {
        use policy::{Objective, SelectError, select};
        let costs = self.cost.map(|c| (vec![c.weak_usd; self.p.len()], vec![c.strong_usd; self.p.len()]));
        let costs = costs.as_ref().map(|(weak, strong)| (weak.as_slice(), strong.as_slice()));
        let outcomes = Outcomes { weak: self.weak, strong: self.strong, costs };
        match select(&Objective::QualityFloor(input.quality_floor), &input.rows.probabilities, &outcomes) {
            Ok(selection) => Ok(Some(selection.expected)),
            Err(SelectError::QualityOutOfReach { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Report {
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
