//! Every figure of a report that has a bootstrap interval. All of them are computed on the same resamples of groups,
//! so that differences are paired.

use std::collections::BTreeMap;

use artifact::Interval;
use calibration::isotonic_regression;
use evaluation::bootstrap::shared_intervals;
use evaluation::routing::{RoutingCurve, full_sweep, routellm_curve};
use evaluation::{
    Decomposition, EvaluationError, Outcomes, RoutingPoint, aiq, auroc, corp_brier, corp_log_loss,
    debiased_squared_ece, ece_equal_mass, ece_equal_width, sm_ece, sm_ece_at, sweep,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{BINS, Baseline, Gap, Input, LEVEL, Parts};
use crate::operating_point::Rows;
use crate::prices::PairCost;

/// Resamples for samples up to [`LARGE`] rows, and beyond.
const RESAMPLES: (usize, usize) = (1_000, 300);
const LARGE: usize = 5_000;

/// Shares of the gap whose price in strong calls is reported, with the names of the figures: CPT by first reach
/// and by RouteLLM's interpolation.
const CPT: [(f64, &str, &str); 4] = [
    (0.2, "cpt_20_first_reach", "cpt_20_routellm"),
    (0.5, "cpt_50_first_reach", "cpt_50_routellm"),
    (0.8, "cpt_80_first_reach", "cpt_80_routellm"),
    (0.95, "cpt_95_first_reach", "cpt_95_routellm"),
];

/// Figures that resampling biases upwards, with the least value they can have: their intervals are centred.
const BIASED: [(&str, f64); 6] = [
    ("ece_equal_mass", 0.0),
    ("ece_equal_width", 0.0),
    ("debiased_squared_ece", f64::NEG_INFINITY),
    ("sm_ece", 0.0),
    ("miscalibration", 0.0),
    ("discrimination", 0.0),
];

/// Where a figure belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    /// Mean scores and the gap.
    Gap,
    /// The classifier's own.
    Classifier,
    /// Prompt length's own.
    Length,
    /// The former less the latter.
    OverLength,
    /// Quality of a policy.
    Baseline,
    /// Quality at the operating point less that.
    OverBaseline,
    /// Parts of the Brier score.
    Brier,
    /// Parts of the log loss.
    LogLoss,
}

/// A figure on some rows; none where it is undefined.
type Statistic = (Table, &'static str, Option<f64>);

/// The rows as columns.
pub(super) struct Sample<'a> {
    rows: &'a Rows,
    /// Calibrated probabilities.
    pub(super) p: Vec<f64>,
    /// Whether strong is strictly better.
    pub(super) labels: Vec<bool>,
    lengths: &'a [f64],
    /// How likely each row goes strong at the operating point.
    sent: Vec<f64>,
    best_single: Option<&'a (String, Vec<f64>)>,
    /// At which resamples are smoothed: that of the whole sample.
    bandwidth: f64,
    cost: Option<PairCost>,
    seed: u64,
}

/// Figures with their intervals; those that are undefined on the whole sample are left out.
pub(super) struct Estimates(BTreeMap<(Table, &'static str), Interval>);

impl<'a> Sample<'a> {
    pub(super) fn new(input: &'a Input<'_>) -> Self {
        let (rows, (_, threshold)) = (input.rows, &input.point);
        let p: Vec<f64> = rows.probabilities.iter().map(|p| p.get()).collect();
        let labels: Vec<bool> = rows.strong.iter().zip(&rows.weak).map(|(s, w)| s > w).collect();
        Self {
            rows,
            bandwidth: sm_ece(&p, &labels).unwrap_or(f64::NAN),
            p,
            labels,
            lengths: input.lengths,
            sent: rows.sent(threshold),
            best_single: input.best_single.as_ref(),
            cost: input.cost,
            seed: input.seed,
        }
    }

    /// Share of rows where strong is strictly better.
    pub(super) fn base_rate(&self) -> f64 {
        self.labels.iter().filter(|y| **y).count() as f64 / self.labels.len() as f64
    }

    /// Every figure with its interval.
    ///
    /// # Errors
    /// Without rows or with fewer than two groups.
    pub(super) fn estimates(&self) -> Result<Estimates, EvaluationError> {
        let all: Vec<usize> = (0..self.p.len()).collect();
        let whole = self.statistics(&all);
        let defined = |rows: &[usize]| {
            // What is undefined on the whole sample must not fail the rest.
            let found = self.statistics(rows).into_iter().zip(&whole);
            found.map(|((.., value), (.., on_all))| on_all.map_or(Some(0.0), |_| value)).collect()
        };
        let resamples = if all.len() > LARGE { RESAMPLES.1 } else { RESAMPLES.0 };
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let intervals = shared_intervals(&self.rows.groups, defined, resamples, LEVEL, &mut rng)?;
        let named = whole.iter().zip(intervals).filter_map(|((table, name, value), i)| {
            // On most resamples undefined: no figure to speak of.
            let (value, i) = ((*value)?, i.ok()?);
            let (i, least) = match BIASED.iter().find(|(biased, _)| biased == name) {
                Some((_, least)) => (i.centred_on(value), *least),
                None => (i, f64::NEG_INFINITY),
            };
            Some(((*table, *name), Interval { value, lower: i.lower.max(least), upper: i.upper }))
        });
        let mut estimates = Estimates(named.collect());
        if !estimates.gap().recoverable {
            estimates.0.retain(|(_, name), _| !name.starts_with("apgr") && !name.starts_with("cpt"));
        }
        Ok(estimates)
    }

    /// Every figure on some rows (repeated as often as drawn), always in the same order.
    fn statistics(&self, rows: &[usize]) -> Vec<Statistic> {
        let pick = |of: &[f64]| rows.iter().map(|r| of[*r]).collect::<Vec<f64>>();
        let (p, lengths) = (pick(&self.p), pick(self.lengths));
        let (weak, strong) = (pick(&self.rows.weak), pick(&self.rows.strong));
        let labels: Vec<bool> = rows.iter().map(|r| self.labels[*r]).collect();
        let by_length = self.swept(&lengths, &weak, &strong);
        let mut found = Vec::with_capacity(64);
        let (mean_weak, mean_strong) = (mean(&weak), mean(&strong));
        let gap = mean_strong - mean_weak;
        found.extend(
            [("weak", mean_weak), ("strong", mean_strong), ("gap", gap)]
                .map(|(name, value)| (Table::Gap, name, Some(value))),
        );
        let own = ranking(&p, &weak, &strong, &labels, &self.swept(&p, &weak, &strong));
        let other = ranking(&lengths, &weak, &strong, &labels, &by_length);
        for ((name, own), (_, other)) in own.into_iter().zip(other) {
            found.push((Table::Classifier, name, own));
            found.push((Table::Length, name, other));
            found.push((Table::OverLength, name, own.zip(other).map(|(own, other)| own - other)));
        }
        calibration(&p, &labels, self.bandwidth, &mut found);
        self.policies(rows, &by_length, mean_weak, mean_strong, &mut found);
        found
    }

    fn swept(&self, scores: &[f64], weak: &[f64], strong: &[f64]) -> Vec<RoutingPoint> {
        let costs = self.cost.map(|c| (vec![c.weak_usd; scores.len()], vec![c.strong_usd; scores.len()]));
        let costs = costs.as_ref().map(|(weak, strong)| (weak.as_slice(), strong.as_slice()));
        sweep(scores, &Outcomes { weak, strong, costs }).unwrap_or_default()
    }

    /// Quality of the policies to beat, and of the operating point above each.
    fn policies(
        &self,
        rows: &[usize],
        by_length: &[RoutingPoint],
        weak: f64,
        strong: f64,
        found: &mut Vec<Statistic>,
    ) {
        let on_rows =
            |of: &dyn Fn(usize) -> f64| rows.iter().map(|r| of(*r)).sum::<f64>() / rows.len() as f64;
        let (w, s) = (&self.rows.weak, &self.rows.strong);
        let rate = on_rows(&|r| self.sent[r]);
        let point = on_rows(&|r| self.sent[r] * s[r] + (1.0 - self.sent[r]) * w[r]);
        let best = self.best_single.map(|(_, scores)| on_rows(&|r| scores[r]));
        for (name, quality) in [
            (ALWAYS_WEAK, Some(weak)),
            (ALWAYS_STRONG, Some(strong)),
            (RANDOM, Some(weak + rate * (strong - weak))),
            (BY_LENGTH, quality_at(by_length, rate)),
            (BEST_SINGLE, best),
            (ORACLE, Some(on_rows(&|r| s[r].max(w[r])))),
        ] {
            found.push((Table::Baseline, name, quality));
            found.push((Table::OverBaseline, name, quality.map(|quality| point - quality)));
        }
    }
}

const ALWAYS_WEAK: &str = "always weak";
const ALWAYS_STRONG: &str = "always strong";
const RANDOM: &str = "random, as many strong calls";
const BY_LENGTH: &str = "prompt length, as many strong calls";
const BEST_SINGLE: &str = "best single model";
const ORACLE: &str = "oracle";

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Quality at a strong-call rate; between two points of the sweep both are mixed.
fn quality_at(points: &[RoutingPoint], rate: f64) -> Option<f64> {
    let above = points.partition_point(|p| p.strong_call_rate < rate).min(points.len().checked_sub(1)?);
    let (a, b) = (&points[above.saturating_sub(1)], &points[above]);
    let width = b.strong_call_rate - a.strong_call_rate;
    let share = if width > 0.0 { (rate - a.strong_call_rate) / width } else { 1.0 };
    Some(a.quality + share * (b.quality - a.quality))
}

/// Figures of a ranking.
fn ranking(
    scores: &[f64],
    weak: &[f64],
    strong: &[f64],
    labels: &[bool],
    swept: &[RoutingPoint],
) -> Vec<(&'static str, Option<f64>)> {
    let full = full_sweep(scores, weak, strong).ok();
    let routellm = routellm_curve(scores, weak, strong).ok();
    let mut found = vec![
        ("auroc", auroc(scores, labels).ok()),
        ("aiq", aiq(swept)),
        ("apgr", full.as_ref().map(RoutingCurve::apgr)),
        ("apgr_routellm", routellm.as_ref().map(RoutingCurve::apgr)),
    ];
    for (share, first_reach, interpolated) in CPT {
        found.push((first_reach, full.as_ref().and_then(|c| c.call_rate_to_recover(share))));
        let rate = routellm.as_ref().and_then(|c| c.interpolated_call_rate_to_recover(share));
        found.push((interpolated, rate));
    }
    found
}

/// Figures of probabilities.
fn calibration(p: &[f64], labels: &[bool], bandwidth: f64, found: &mut Vec<Statistic>) {
    let recalibrated = isotonic_regression(p, labels);
    for (table, name, parts) in [
        (Table::Brier, "brier", corp_brier(p, &recalibrated, labels).ok()),
        (Table::LogLoss, "log_loss", corp_log_loss(p, &recalibrated, labels).ok()),
    ] {
        let part = |of: fn(&Decomposition) -> f64| parts.as_ref().map(of);
        found.push((Table::Classifier, name, part(|d| d.score)));
        found.push((table, "score", part(|d| d.score)));
        found.push((table, "miscalibration", part(|d| d.miscalibration)));
        found.push((table, "discrimination", part(|d| d.discrimination)));
        found.push((table, "uncertainty", part(|d| d.uncertainty)));
    }
    for (name, value) in [
        ("ece_equal_mass", ece_equal_mass(p, labels, BINS)),
        ("ece_equal_width", ece_equal_width(p, labels, BINS)),
        ("debiased_squared_ece", debiased_squared_ece(p, labels, BINS)),
        ("sm_ece", sm_ece_at(p, labels, bandwidth)),
    ] {
        found.push((Table::Classifier, name, value.ok()));
    }
}

impl Estimates {
    fn get(&self, table: Table, name: &'static str) -> Option<Interval> {
        self.0.get(&(table, name)).copied()
    }

    /// A figure that is defined on every sample.
    fn known(&self, table: Table, name: &'static str) -> Interval {
        let undefined = Interval { value: f64::NAN, lower: f64::NAN, upper: f64::NAN };
        self.get(table, name).unwrap_or(undefined)
    }

    /// The figures of a table by name.
    pub(super) fn of(&self, table: Table) -> BTreeMap<String, Interval> {
        let of_table = self.0.iter().filter(|((t, _), _)| *t == table);
        of_table.map(|((_, name), figure)| ((*name).to_owned(), *figure)).collect()
    }

    pub(super) fn gap(&self) -> Gap {
        Gap::new(
            self.known(Table::Gap, "weak").value,
            self.known(Table::Gap, "strong").value,
            self.known(Table::Gap, "gap"),
        )
    }

    pub(super) fn decomposition(&self) -> BTreeMap<String, Parts> {
        let parts = |table| Parts {
            score: self.known(table, "score"),
            miscalibration: self.known(table, "miscalibration"),
            discrimination: self.known(table, "discrimination"),
            uncertainty: self.known(table, "uncertainty"),
        };
        [("brier", Table::Brier), ("log_loss", Table::LogLoss)]
            .map(|(name, table)| (name.to_owned(), parts(table)))
            .into()
    }

    pub(super) fn baselines(&self, sample: &Sample<'_>) -> Vec<Baseline> {
        let rate = mean(&sample.sent);
        let best = sample.best_single.map_or(String::new(), |(model, _)| format!(" ({model})"));
        let baseline = |(name, strong_call_rate): (&'static str, Option<f64>)| {
            Some(Baseline {
                name: if name == BEST_SINGLE { format!("{name}{best}") } else { name.to_owned() },
                quality: self.get(Table::Baseline, name)?,
                strong_call_rate,
                operating_point_over: self.get(Table::OverBaseline, name)?,
            })
        };
        [
            (ALWAYS_WEAK, Some(0.0)),
            (ALWAYS_STRONG, Some(1.0)),
            (RANDOM, Some(rate)),
            (BY_LENGTH, Some(rate)),
            (BEST_SINGLE, None),
            (ORACLE, Some(sample.base_rate())),
        ]
        .into_iter()
        .filter_map(baseline)
        .collect()
    }
}

impl Gap {
    /// A gap with what its interval says of its standard error.
    pub(super) fn new(weak: f64, strong: f64, gap: Interval) -> Self {
        // A 95 % interval is 3.92 standard errors wide.
        let standard_error = (gap.upper - gap.lower) / 3.92;
        Self { weak, strong, gap, standard_error, recoverable: gap.value > 2.0 * standard_error }
    }
}
