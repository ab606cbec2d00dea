//! The accuracy curve behind an error budget: what each bucket of rows and the routed whole would score, measured,
//! printed and drawn with the crossing marked. The threshold itself is selected in `policy`, by an exact sweep.

use anyhow::{Context, Result};
use artifact::{AccuracyBucket, Interval, OperatingPoint};
use evaluation::bootstrap::percentile_intervals;
use evaluation::wilson_95;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::operating_point::{Rows, error_budget};
use crate::plot::Plot;

const BUCKETS: usize = 10;
const RESAMPLES: usize = 1_000;
const LEVEL: f64 = 0.95;

/// The curve over tenths of the rows by probability; fewer buckets where probabilities are tied.
///
/// # Errors
/// Without rows, or with fewer than two groups.
pub(crate) fn accuracy_curve(rows: &Rows, seed: u64) -> Result<Vec<AccuracyBucket>> {
    let p = |row: usize| rows.probabilities[row].get();
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_unstable_by(|a, b| p(*a).total_cmp(&p(*b)));
    let mut edges = [f64::INFINITY; BUCKETS];
    for (i, edge) in edges.iter_mut().enumerate() {
        *edge = p(order[((i + 1) * order.len()).div_ceil(BUCKETS) - 1]);
    }
    let routed = |sample: &[usize]| {
        edges.map(|edge| {
            let score = |row: &usize| if p(*row) <= edge { rows.weak[*row] } else { rows.strong[*row] };
            Some(sample.iter().map(score).sum::<f64>() / sample.len() as f64)
        })
    };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let intervals = percentile_intervals(&rows.groups, routed, RESAMPLES, LEVEL, &mut rng)
        .context("measuring the accuracy curve")?;
    let values = routed(&order);
    let mut curve = Vec::with_capacity(BUCKETS);
    let mut from = 0;
    for ((edge, value), interval) in edges.into_iter().zip(values).zip(intervals) {
        let upto = order.partition_point(|row| p(*row) <= edge);
        // A tied mass goes into one bucket, so the next ones may be empty.
        if upto == from {
            continue;
        }
        let bucket = &order[from..upto];
        let n = bucket.len() as f64;
        let mean = |of: &[f64]| bucket.iter().map(|row| of[*row]).sum::<f64>() / n;
        let weak = mean(&rows.weak);
        // Graded scores vary less than outcomes of the same mean: the interval is then too wide, never too short.
        let (lower, upper) = wilson_95((weak * n).round() as usize, bucket.len())?;
        curve.push(AccuracyBucket {
            probability: (p(bucket[0]), p(bucket[bucket.len() - 1])),
            rows: bucket.len(),
            weak: Interval { value: weak, lower, upper },
            strong: mean(&rows.strong),
            routed: Interval {
                value: value.unwrap_or(f64::NAN),
                lower: interval.lower,
                upper: interval.upper,
            },
        });
        from = upto;
    }
    Ok(curve)
}

/// What strong alone scores on the rows of a curve.
fn strong_only(curve: &[AccuracyBucket]) -> f64 {
    let rows: usize = curve.iter().map(|b| b.rows).sum();
    curve.iter().map(|b| b.strong * b.rows as f64).sum::<f64>() / rows as f64
}

/// The curve as a table for a terminal, the bucket of the crossing marked; nothing for other objectives.
pub(crate) fn lines(point: &OperatingPoint) -> Vec<String> {
    let Some(budget) = error_budget(&point.objective).filter(|_| !point.accuracy_curve.is_empty()) else {
        return Vec::new();
    };
    let strong = strong_only(&point.accuracy_curve);
    let mut out = vec![
        format!(
            "accuracy curve: strong alone scores {strong:.4}, the budget allows {:.4}; routed: everything up to the \
             bucket stays on weak",
            strong - budget
        ),
        format!("  {:<15} {:>6} {:>24} {:>8} {:>24}", "win probability", "rows", "weak", "strong", "routed"),
    ];
    let shown = |f: &Interval| format!("{:.4} [{:.4}, {:.4}]", f.value, f.lower, f.upper);
    let mut crossed = false;
    for bucket in &point.accuracy_curve {
        let here = !crossed && point.high <= bucket.probability.1;
        crossed |= here;
        let mark = if here { format!("  ◄ threshold {:.4}", point.high) } else { String::new() };
        out.push(format!(
            "  {:<15} {:>6} {:>24} {:>8.4} {:>24}{mark}",
            format!("{:.3}–{:.3}", bucket.probability.0, bucket.probability.1),
            bucket.rows,
            shown(&bucket.weak),
            bucket.strong,
            shown(&bucket.routed),
        ));
    }
    if !crossed {
        out.push("  the curve stays within the budget: every query goes to weak".to_owned());
    }
    out
}

/// The curve as an SVG of its own; `None` for other objectives.
pub(crate) fn svg(pair: &str, point: &OperatingPoint) -> Option<String> {
    let budget = error_budget(&point.objective)?;
    let curve = &point.accuracy_curve;
    let (first, last) = (curve.first()?, curve.last()?);
    let strong = strong_only(curve);
    let values =
        curve.iter().flat_map(|b| [b.weak.lower, b.weak.upper, b.strong, b.routed.lower, b.routed.upper]);
    let (least, most) = values.fold((strong - budget, strong), |(l, m), v| (l.min(v), m.max(v)));
    let x = (first.probability.0, last.probability.1);
    let mut plot = Plot::new(x, (least, most), "win probability", "mean score");
    let threshold = point.high.clamp(x.0, x.1);
    // With nothing on weak, all rows score what strong scores; at the threshold, what was measured there.
    let nothing = (x.0, Interval { value: strong, lower: strong, upper: strong });
    let mut routed = vec![nothing];
    routed.extend(curve.iter().map(|b| (b.probability.1, b.routed)));
    routed.extend(point.measured.get("quality").map(|quality| (threshold, *quality)));
    routed.sort_by(|a, b| a.0.total_cmp(&b.0));
    let along = |of: fn(&Interval) -> f64| routed.iter().map(|(x, f)| (*x, of(f))).collect::<Vec<_>>();
    plot.band("95 %, bootstrap", "a", &along(|f| f.lower), &along(|f| f.upper));
    plot.line("routed, weak up to here", "a", along(|f| f.value));
    let middle = |b: &AccuracyBucket| 0.5 * (b.probability.0 + b.probability.1);
    plot.line("strong, by bucket", "c", curve.iter().map(|b| (middle(b), b.strong)));
    let weak = |b: &AccuracyBucket| (middle(b), b.weak.value, Some((b.weak.lower, b.weak.upper)));
    plot.marks("weak, by bucket (Wilson 95 %)", "b", curve.iter().map(weak));
    plot.line(&format!("strong alone less {budget}"), "d", [(x.0, strong - budget), (x.1, strong - budget)]);
    plot.line("", "d", [(threshold, least), (threshold, most)]);
    plot.marks(&format!("threshold {:.4}", point.high), "d", [(threshold, strong - budget, None)]);
    Some(plot.standalone(&format!("{pair}: {}, {} rows", point.objective, point.rows)))
}
