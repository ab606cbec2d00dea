//! What the rows look like in parts: reliability bins, buckets, slices, and the curves of the plots.

use std::collections::BTreeMap;

use artifact::Interval;
use evaluation::{
    EvaluationError, Outcomes, ReliabilityBin, RoutingPoint, calibration_mid_p, clopper_pearson, holm,
    reliability_equal_mass, sweep, wilson_95,
};

use super::figures::Sample;
use super::{BINS, Bin, Bucket, CurvePoint, Input, LEVEL, Slice};
use crate::operating_point::Rows;
use crate::prices::PairCost;

/// Slices with fewer rows are left out of the table.
const LEAST_SLICE: usize = 20;

/// Points of a curve that is kept for plots.
const CURVE_POINTS: usize = 200;

/// The rows of a report.
pub(super) struct Breakdown<'a> {
    rows: &'a Rows,
    p: &'a [f64],
    labels: &'a [bool],
    lengths: &'a [f64],
    cost: Option<PairCost>,
}

impl<'a> Breakdown<'a> {
    pub(super) fn new(input: &'a Input<'_>, sample: &'a Sample<'_>) -> Self {
        let (p, labels) = (&sample.p, &sample.labels);
        Self { rows: input.rows, p, labels, lengths: input.lengths, cost: input.cost }
    }

    pub(super) fn reliability(&self) -> Result<Vec<Bin>, EvaluationError> {
        Ok(reliability_equal_mass(self.p, self.labels, BINS)?.iter().map(Bin::from).collect())
    }

    pub(super) fn buckets(&self) -> Result<Vec<Bucket>, EvaluationError> {
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
                mean_probability: mean(self.p),
                weak_suffices: Interval { value: suffices as f64 / n, lower, upper },
                weak: mean(&self.rows.weak),
                strong: mean(&self.rows.strong),
            })
        };
        order.chunks(size).map(bucket).collect()
    }

    /// Those with the most evidence against their probabilities first.
    pub(super) fn slices(&self) -> Result<Vec<Slice>, EvaluationError> {
        let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (row, tags) in self.rows.slices.iter().enumerate() {
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
        let off = |s: &Slice| (s.observed.value - s.mean_probability).abs();
        slices.sort_by(|a, b| a.p_value.total_cmp(&b.p_value).then(off(b).total_cmp(&off(a))));
        Ok(slices)
    }

    /// By scorer: `classifier`, `prompt_length` and, nobody's, `oracle`.
    pub(super) fn curves(&self) -> Result<BTreeMap<String, Vec<CurvePoint>>, EvaluationError> {
        let (weak, strong) = (&self.rows.weak, &self.rows.strong);
        let oracle: Vec<f64> = strong.iter().zip(weak).map(|(s, w)| s - w).collect();
        let costs = self.cost.map(|c| (vec![c.weak_usd; weak.len()], vec![c.strong_usd; weak.len()]));
        let costs = costs.as_ref().map(|(weak, strong)| (weak.as_slice(), strong.as_slice()));
        let mut curves = BTreeMap::new();
        for (name, scores) in [("classifier", self.p), ("prompt_length", self.lengths), ("oracle", &oracle)] {
            let points = sweep(scores, &Outcomes { weak, strong, costs })?;
            curves.insert(name.to_owned(), thinned(&points));
        }
        Ok(curves)
    }
}

/// About [`CURVE_POINTS`] of the points, the first and the last among them.
fn thinned(points: &[RoutingPoint]) -> Vec<CurvePoint> {
    let last = points.len() - 1;
    let (dearest, step) = (points[last].cost, points.len().div_ceil(CURVE_POINTS).max(1));
    let kept = points.iter().enumerate().filter(|(i, _)| i % step == 0 || *i == last);
    let point = |(_, p): (usize, &RoutingPoint)| CurvePoint {
        strong_call_rate: p.strong_call_rate,
        quality: p.quality,
        cheap_and_wrong_rate: p.cheap_and_wrong_rate,
        cost_fraction: if dearest > 0.0 { p.cost / dearest } else { p.strong_call_rate },
    };
    kept.map(point).collect()
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
