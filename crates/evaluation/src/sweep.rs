//! Every threshold that tells rows apart, and what each of them gives: the exact sample of choices
//! behind every curve and every selected threshold. No grid, O(n log n).

use crate::EvaluationError;
use crate::error::{check_finite, check_lengths, check_scores, check_unit};

/// Means that differ by less than this are equal: summing in another order changes more than that.
const ROUNDING: f64 = 1e-12;

/// What each model did on each row.
#[derive(Debug, Clone, Copy)]
pub struct Outcomes<'a> {
    /// Scores of weak, in [0, 1].
    pub weak: &'a [f64],
    /// Scores of strong, in [0, 1].
    pub strong: &'a [f64],
    /// What the calls of weak and of strong cost, in one currency; without: 0 and 1 a row.
    pub costs: Option<(&'a [f64], &'a [f64])>,
}

impl Outcomes<'_> {
    fn check(&self, rows: usize) -> Result<(), EvaluationError> {
        check_lengths(rows, &[("weak scores", self.weak.len()), ("strong scores", self.strong.len())])?;
        check_unit("weak score", self.weak)?;
        check_unit("strong score", self.strong)?;
        if let Some((weak, strong)) = self.costs {
            check_lengths(rows, &[("weak costs", weak.len()), ("strong costs", strong.len())])?;
            check_finite(weak)?;
            check_finite(strong)?;
        }
        Ok(())
    }

    fn cost(&self, row: usize) -> (f64, f64) {
        self.costs.map_or((0.0, 1.0), |(weak, strong)| (weak[row], strong[row]))
    }
}

/// What one threshold gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoutingPoint {
    /// Rows with a score of at least this go to strong (at the end without strong calls: plus
    /// infinity on the full sweep, the greatest score and `>` on RouteLLM's curve).
    pub threshold: f64,
    /// Share of rows that go to strong, in [0, 1].
    pub strong_call_rate: f64,
    /// Mean score of the models that the rows went to, in [0, 1].
    pub quality: f64,
    /// Share of rows kept on weak although strong would have been strictly better, in [0, 1].
    pub cheap_and_wrong_rate: f64,
    /// Mean cost of the calls made.
    pub cost: f64,
}

/// One point without strong calls, then one for each distinct score, highest first: strong-call rate
/// ascending from 0 to 1. Rows of equal score go together, as they do when served.
///
/// # Errors
/// Without rows, at different lengths, with a score that is NaN (infinite scores have their place in the
/// order), a model score outside [0, 1], or a cost that is not finite.
pub fn sweep(scores: &[f64], outcomes: &Outcomes<'_>) -> Result<Vec<RoutingPoint>, EvaluationError> {
    outcomes.check(scores.len())?;
    check_scores(scores)?;
    let rows = scores.len() as f64;
    let (weak, strong) = (outcomes.weak, outcomes.strong);
    let mean = |of: &dyn Fn(usize) -> f64| (0..scores.len()).map(of).sum::<f64>() / rows;
    let wins = (0..scores.len()).filter(|row| strong[*row] > weak[*row]).count();
    let first = RoutingPoint {
        threshold: f64::INFINITY,
        strong_call_rate: 0.0,
        quality: mean(&|row| weak[row]),
        cheap_and_wrong_rate: wins as f64 / rows,
        cost: mean(&|row| outcomes.cost(row).0),
    };
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    let mut points = vec![first];
    let (mut calls, mut caught, mut gain, mut extra) = (0, 0, 0.0, 0.0);
    for block in order.chunk_by(|a, b| scores[*a] == scores[*b]) {
        calls += block.len();
        for row in block {
            let (cheap, dear) = outcomes.cost(*row);
            caught += usize::from(strong[*row] > weak[*row]);
            gain += strong[*row] - weak[*row];
            extra += dear - cheap;
        }
        points.push(RoutingPoint {
            threshold: scores[block[0]],
            strong_call_rate: calls as f64 / rows,
            quality: first.quality + gain / rows,
            cheap_and_wrong_rate: (wins - caught) as f64 / rows,
            cost: first.cost + extra / rows,
        });
    }
    // Whole sums in order of score may miss the means by rounding; the end is known exactly.
    if let Some(last) = points.last_mut() {
        last.quality = mean(&|row| strong[row]);
        last.cost = mean(&|row| outcomes.cost(row).1);
    }
    Ok(points)
}

/// The corners of the upper concave hull of (cost, quality), cost and quality rising: the choices that
/// no mixture of others beats.
pub fn pareto_hull(points: &[RoutingPoint]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    let key = |i: usize| (points[i].cost, points[i].quality);
    order.sort_by(|a, b| key(*a).0.total_cmp(&key(*b).0).then(key(*b).1.total_cmp(&key(*a).1)));
    let mut corners: Vec<usize> = Vec::new();
    for i in order {
        if corners.last().is_some_and(|last| points[i].quality <= points[*last].quality + ROUNDING) {
            continue;
        }
        while let [.., a, b] = corners[..] {
            let ((x0, y0), (x1, y1), (x2, y2)) = (key(a), key(b), key(i));
            if (y1 - y0) * (x2 - x0) > (y2 - y0) * (x1 - x0) {
                break;
            }
            corners.pop();
        }
        corners.push(i);
    }
    corners
}

/// RouterBench's AIQ (Hu et al. 2024): the area under the hull of quality over cost, divided by the width of
/// the cost range; the mean quality over all budgets. `None` when every choice costs the same.
pub fn aiq(points: &[RoutingPoint]) -> Option<f64> {
    let corners = pareto_hull(points);
    let most = points.iter().map(|p| p.cost).fold(f64::NEG_INFINITY, f64::max);
    let (first, last) = (points[*corners.first()?], points[*corners.last()?]);
    let width = most - first.cost;
    if width <= ROUNDING {
        return None;
    }
    let trapezoid = |w: &[usize]| {
        let (a, b) = (points[w[0]], points[w[1]]);
        0.5 * (b.cost - a.cost) * (a.quality + b.quality)
    };
    // Beyond the last corner money buys nothing.
    let area = corners.windows(2).map(trapezoid).sum::<f64>() + (most - last.cost) * last.quality;
    Some(area / width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probability::tests::{SCORES_A, assert_close, labels_a};
    use proptest::prelude::*;

    #[test]
    fn the_sweep_agrees_with_the_reference() {
        let weak: Vec<f64> = labels_a().iter().map(|y| if *y { 0.0 } else { 1.0 }).collect();
        let mut strong = vec![1.0; 20];
        strong[10] = 0.0;
        let points = sweep(&SCORES_A, &Outcomes { weak: &weak, strong: &strong, costs: None }).unwrap();
        // k strong calls, threshold, quality.
        let expected = [
            (0, f64::INFINITY, 0.65),
            (1, 0.944272, 0.7),
            (4, 0.798374, 0.8),
            (8, 0.618034, 0.9),
            (10, 0.506578, 0.95),
            (20, 0.034442, 0.95),
        ];
        for (k, threshold, quality) in expected {
            assert_eq!((points[k].threshold, points[k].strong_call_rate), (threshold, k as f64 / 20.0));
            assert_close(points[k].quality, quality, 1e-12);
        }
        // Row 10 is lost by both: keeping it on weak is no mistake.
        assert_eq!((points[0].cheap_and_wrong_rate, points[20].cheap_and_wrong_rate), (0.3, 0.0));
    }

    #[test]
    fn aiq_is_the_area_under_the_hull() {
        let point = |cost, quality| RoutingPoint {
            threshold: 0.5,
            strong_call_rate: 0.5,
            quality,
            cheap_and_wrong_rate: 0.0,
            cost,
        };
        // The dent at cost 2 and the dear end that buys nothing do not count.
        let points = [point(1.0, 0.5), point(2.0, 0.55), point(3.0, 0.9), point(5.0, 0.8)];
        assert_eq!(pareto_hull(&points), [0, 2]);
        assert_close(aiq(&points).unwrap(), (2.0 * 0.7 + 2.0 * 0.9) / 4.0, 1e-12);
        assert_eq!(aiq(&points[..1]), None);
    }

    proptest! {
        #[test]
        fn the_sweep_equals_brute_force(
            rows in prop::collection::vec((0u8..8, 0.0..=1.0f64, 0.0..=1.0f64, 0.0..2.0f64, 0.0..5.0f64), 1..30),
        ) {
            let column = |of: fn(&(u8, f64, f64, f64, f64)) -> f64| rows.iter().map(of).collect::<Vec<f64>>();
            let (scores, weak, strong) = (column(|r| f64::from(r.0)), column(|r| r.1), column(|r| r.2));
            let (cheap, dear) = (column(|r| r.3), column(|r| r.4));
            let outcomes = Outcomes { weak: &weak, strong: &strong, costs: Some((&cheap, &dear)) };
            let points = sweep(&scores, &outcomes).unwrap();
            let n = rows.len() as f64;
            for point in &points {
                let sent = |i: usize| scores[i] >= point.threshold;
                let mean = |of: &dyn Fn(usize) -> f64| (0..rows.len()).map(of).sum::<f64>() / n;
                let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
                prop_assert!(close(point.strong_call_rate, mean(&|i| f64::from(u8::from(sent(i))))));
                let quality = mean(&|i| if sent(i) { strong[i] } else { weak[i] });
                let cost = mean(&|i| if sent(i) { dear[i] } else { cheap[i] });
                prop_assert!(close(point.quality, quality) && close(point.cost, cost));
                let wrong = mean(&|i| f64::from(u8::from(!sent(i) && strong[i] > weak[i])));
                prop_assert!(close(point.cheap_and_wrong_rate, wrong));
            }
            let falling = |w: &[RoutingPoint]| w[0].cheap_and_wrong_rate >= w[1].cheap_and_wrong_rate;
            prop_assert!(points.windows(2).all(falling));
        }
    }
}
