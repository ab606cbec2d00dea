//! What a score is worth for routing between a weak and a strong model: quality against the share of
//! strong calls. Two curves, one as RouteLLM draws it (for comparison with published figures) and one
//! through every threshold there is (to be preferred). Choosing a threshold is not done here.
//!
//! Every function takes one score per row (higher means strong is needed more) and what each model
//! scored on that row, in [0, 1].

use crate::EvaluationError;
use crate::error::check_finite;
use crate::quantile::at_rank;
use crate::sweep::{Outcomes, RoutingPoint, sweep};

/// Means that differ by less than this are equal: summing in another order changes more than that.
const SMALLEST_GAP: f64 = 1e-12;

/// Equal parts that RouteLLM cuts the scores into.
const ROUTELLM_BINS: usize = 10;

/// Quality against strong-call rate, from all weak to all strong.
#[derive(Debug, Clone, PartialEq)]
pub struct RoutingCurve {
    points: Vec<RoutingPoint>,
    weak_mean: f64,
    strong_mean: f64,
}

impl RoutingCurve {
    /// The points, strong-call rate ascending from 0 to 1.
    pub fn points(&self) -> &[RoutingPoint] {
        &self.points
    }

    /// Mean score when every row goes to weak.
    pub fn weak_mean(&self) -> f64 {
        self.weak_mean
    }

    /// Mean score when every row goes to strong; greater than [`Self::weak_mean`].
    pub fn strong_mean(&self) -> f64 {
        self.strong_mean
    }

    /// Area under quality over strong-call rate, by trapezoids: the mean quality over all budgets.
    pub fn auc(&self) -> f64 {
        let trapezoid = |pair: &[RoutingPoint]| {
            let width = pair[1].strong_call_rate - pair[0].strong_call_rate;
            0.5 * width * (pair[0].quality + pair[1].quality)
        };
        self.points.windows(2).map(trapezoid).sum()
    }

    /// Average performance gap recovered: where [`Self::auc`] lies between all weak (0) and all strong
    /// (1). A random score gives 0.5; above 1 and below 0 are possible where weak often beats strong.
    pub fn apgr(&self) -> f64 {
        (self.auc() - self.weak_mean) / (self.strong_mean - self.weak_mean)
    }

    /// CPT: the least strong-call rate on the curve whose quality recovers `fraction` of the gap
    /// between weak and strong. `None` when no point does (possible only for fractions above 1 or NaN).
    pub fn call_rate_to_recover(&self, fraction: f64) -> Option<f64> {
        let wanted = self.wanted(fraction);
        // A mean of the same scores may differ by rounding from one summed in another order.
        let reached = self.points.iter().find(|point| point.quality >= wanted - SMALLEST_GAP)?;
        Some(reached.strong_call_rate)
    }

    /// CPT as RouteLLM computes it: the strong-call rate interpolated linearly at the wanted quality,
    /// the greater one where the curve is level at exactly that quality.
    ///
    /// `None` when quality falls anywhere on the curve: there is no inverse to interpolate, and the
    /// number that RouteLLM prints then means nothing. `None` for NaN, too.
    pub fn interpolated_call_rate_to_recover(&self, fraction: f64) -> Option<f64> {
        if self.points.windows(2).any(|pair| pair[1].quality < pair[0].quality - SMALLEST_GAP) {
            return None;
        }
        let wanted = self.wanted(fraction);
        if wanted.is_nan() {
            return None;
        }
        let above = self.points.partition_point(|point| point.quality <= wanted);
        let Some(before) = above.checked_sub(1) else {
            return Some(self.points[0].strong_call_rate);
        };
        let (a, Some(b)) = (self.points[before], self.points.get(above)) else {
            return Some(self.points[before].strong_call_rate);
        };
        let along = (wanted - a.quality) / (b.quality - a.quality);
        Some(a.strong_call_rate + along * (b.strong_call_rate - a.strong_call_rate))
    }

    fn wanted(&self, fraction: f64) -> f64 {
        self.weak_mean + fraction * (self.strong_mean - self.weak_mean)
    }
}

/// The curve of RouteLLM's evaluation: thresholds at the eleven edges of ten bins with equal numbers of
/// rows (`pandas.qcut`: linearly interpolated quantiles); a row goes to strong when its score is
/// `>=` the threshold, but `>` at the last one.
///
/// Where edges coincide pandas refuses; here the point is repeated, which adds no area.
///
/// # Errors
/// Without rows, at different lengths, with a score that is not finite, a model score outside [0, 1],
/// or when strong is not better than weak on average.
pub fn routellm_curve(scores: &[f64], weak: &[f64], strong: &[f64]) -> Result<RoutingCurve, EvaluationError> {
    check_finite(scores)?;
    let sweep = full_sweep(scores, weak, strong)?;
    let mut ascending = scores.to_vec();
    ascending.sort_unstable_by(f64::total_cmp);
    let mut points = vec![RoutingPoint { threshold: ascending[ascending.len() - 1], ..sweep.points[0] }];
    for edge in (0..ROUTELLM_BINS).rev() {
        // The rank in whole numbers: no rounding of a quantile can move an edge past a row.
        let rank = (ascending.len() - 1) * edge;
        let fraction = (rank % ROUTELLM_BINS) as f64 / ROUTELLM_BINS as f64;
        let Some(threshold) = at_rank(&ascending, rank / ROUTELLM_BINS, fraction) else {
            return Err(EvaluationError::Empty);
        };
        // The point of the sweep with the lowest threshold that is still at or above this one.
        let taken = sweep.points.partition_point(|point| point.threshold >= threshold);
        points.push(RoutingPoint { threshold, ..sweep.points[taken - 1] });
    }
    Ok(RoutingCurve { points, ..sweep })
}

/// The curve through every threshold that tells rows apart: one point without strong calls, then one
/// for each distinct score. Rows of equal score go together, as they do when served.
///
/// # Errors
/// As [`routellm_curve`], but infinite scores have their place in the order and are welcome.
pub fn full_sweep(scores: &[f64], weak: &[f64], strong: &[f64]) -> Result<RoutingCurve, EvaluationError> {
    let points = sweep(scores, &Outcomes { weak, strong, costs: None })?;
    let (weak_mean, strong_mean) = (points[0].quality, points[points.len() - 1].quality);
    if strong_mean - weak_mean < SMALLEST_GAP {
        return Err(EvaluationError::NoGapToRecover { weak_mean, strong_mean });
    }
    Ok(RoutingCurve { points, weak_mean, strong_mean })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probability::tests::{SCORES_A, assert_close, labels_a};
    use proptest::prelude::*;

    /// Fixture A read as P(strong needed): weak fails where the label is true, strong in row 10 only.
    fn fixture() -> (Vec<f64>, Vec<f64>) {
        let weak = labels_a().iter().map(|y| if *y { 0.0 } else { 1.0 }).collect();
        let mut strong = vec![1.0; 20];
        strong[10] = 0.0;
        (weak, strong)
    }

    #[test]
    fn the_routellm_curve_agrees_with_the_reference() {
        let (weak, strong) = fixture();
        let curve = routellm_curve(&SCORES_A, &weak, &strong).unwrap();
        let expected = [
            (0.944272, 0.0, 0.65),
            (0.8575462, 0.1, 0.75),
            (0.7537916000000001, 0.2, 0.8),
            (0.6691943999999999, 0.3, 0.85),
            (0.5845972, 0.4, 0.9),
            (0.489357, 0.5, 0.95),
            (0.39411680000000004, 0.6, 0.95),
            (0.3095196, 0.7, 0.95),
            (0.22492240000000002, 0.8, 0.95),
            (0.1211678, 0.9, 0.95),
            (0.034442, 1.0, 0.95),
        ];
        assert_eq!(curve.points().len(), expected.len());
        for (point, (threshold, rate, quality)) in curve.points().iter().zip(expected) {
            assert_close(point.threshold, threshold, 1e-12);
            assert_close(point.strong_call_rate, rate, 1e-12);
            assert_close(point.quality, quality, 1e-12);
        }
        assert_close(curve.auc(), 0.885, 1e-12);
        assert_close(curve.apgr(), 0.7833333333333333, 1e-12);
        for (fraction, rate) in [(0.2, 0.06), (0.5, 0.2), (0.8, 0.38)] {
            assert_close(curve.interpolated_call_rate_to_recover(fraction).unwrap(), rate, 1e-12);
        }
    }

    #[test]
    fn the_full_sweep_agrees_with_the_reference() {
        let (weak, strong) = fixture();
        let curve = full_sweep(&SCORES_A, &weak, &strong).unwrap();
        assert_eq!(curve.points().len(), 21);
        assert_close(curve.apgr(), 0.775, 1e-12);
        for (fraction, rate) in [(0.0, 0.0), (0.2, 0.1), (0.5, 0.15), (0.8, 0.4), (1.0, 0.5)] {
            assert_close(curve.call_rate_to_recover(fraction).unwrap(), rate, 1e-12);
        }
        assert_eq!(curve.call_rate_to_recover(1.1), None);
    }

    #[test]
    fn rows_of_equal_score_go_together() {
        let curve = full_sweep(&[0.5; 4], &[0.0, 1.0, 0.0, 0.0], &[1.0; 4]).unwrap();
        let rates: Vec<f64> = curve.points().iter().map(|p| p.strong_call_rate).collect();
        assert_eq!(rates, [0.0, 1.0]);
        assert_close(curve.apgr(), 0.5, 1e-12);
        assert_eq!(curve.call_rate_to_recover(0.2), Some(1.0));
        let routellm = routellm_curve(&[0.5; 4], &[0.0, 1.0, 0.0, 0.0], &[1.0; 4]).unwrap();
        assert_close(routellm.apgr(), 0.5, 1e-12);
    }

    #[test]
    fn a_curve_that_falls_has_no_interpolated_call_rate() {
        // Weak wins the row that is routed first.
        let curve = full_sweep(&[3.0, 2.0, 1.0], &[1.0, 0.0, 0.0], &[0.0, 1.0, 1.0]).unwrap();
        assert_eq!(curve.interpolated_call_rate_to_recover(0.5), None);
        assert_close(curve.call_rate_to_recover(0.5).unwrap(), 1.0, 1e-12);
        assert!(curve.points()[1].quality < curve.weak_mean());
    }

    #[test]
    fn without_a_gap_there_is_nothing_to_recover() {
        let refused = full_sweep(&[0.1, 0.2], &[0.0, 1.0], &[1.0, 0.0]);
        assert_eq!(refused, Err(EvaluationError::NoGapToRecover { weak_mean: 0.5, strong_mean: 0.5 }));
        assert!(routellm_curve(&[0.1, 0.2], &[1.0, 1.0], &[1.0, 0.0]).is_err());
        // One third three times, summed in two orders with different rounding, is still no gap.
        let (a, b) = ([0.1, 0.7, 0.3], [0.3, 0.1, 0.7]);
        assert!(matches!(full_sweep(&[1.0, 2.0, 3.0], &a, &b), Err(EvaluationError::NoGapToRecover { .. })));
        assert_eq!(full_sweep(&[], &[], &[]), Err(EvaluationError::Empty));
        assert!(matches!(full_sweep(&[0.1], &[0.1], &[]), Err(EvaluationError::LengthMismatch { .. })));
        assert_eq!(full_sweep(&[f64::NAN], &[0.0], &[1.0]), Err(EvaluationError::ScoreIsNan(0)));
        let scores = [0.0, f64::NEG_INFINITY];
        let infinite = EvaluationError::ScoreNotFinite { row: 1, value: f64::NEG_INFINITY };
        assert_eq!(routellm_curve(&scores, &[0.0; 2], &[1.0; 2]), Err(infinite));
        assert!(full_sweep(&scores, &[0.0; 2], &[1.0; 2]).is_ok_and(|curve| curve.points().len() == 3));
        assert!(matches!(full_sweep(&[0.1], &[0.0], &[2.0]), Err(EvaluationError::OutOfRange { .. })));
    }

    /// RouteLLM's rule applied row by row.
    fn routed(scores: &[f64], weak: &[f64], strong: &[f64], goes: impl Fn(f64) -> bool) -> (f64, f64) {
        let n = scores.len() as f64;
        let calls = scores.iter().filter(|s| goes(**s)).count() as f64;
        let quality: f64 = (0..scores.len()).map(|i| if goes(scores[i]) { strong[i] } else { weak[i] }).sum();
        (calls / n, quality / n)
    }

    proptest! {
        #[test]
        fn curves_are_what_routing_row_by_row_gives(
            rows in prop::collection::vec((0i8..8, 0u8..=4, 0u8..=4), 1..40),
        ) {
            let scores: Vec<f64> = rows.iter().map(|r| f64::from(r.0)).collect();
            let weak: Vec<f64> = rows.iter().map(|r| f64::from(r.1) / 4.0).collect();
            let strong: Vec<f64> = rows.iter().map(|r| f64::from(r.2) / 4.0).collect();
            let Ok(sweep) = full_sweep(&scores, &weak, &strong) else {
                prop_assert!(strong.iter().sum::<f64>() <= weak.iter().sum::<f64>());
                return Ok(());
            };
            let routellm = routellm_curve(&scores, &weak, &strong).unwrap();
            prop_assert_eq!(routellm.points().len(), 11);
            for (curve, last_is_strict) in [(&sweep, false), (&routellm, true)] {
                for (i, point) in curve.points().iter().enumerate() {
                    let strict = last_is_strict && i == 0;
                    let goes = |s: f64| if strict { s > point.threshold } else { s >= point.threshold };
                    let (rate, quality) = routed(&scores, &weak, &strong, goes);
                    prop_assert!((point.strong_call_rate - rate).abs() < 1e-12);
                    prop_assert!((point.quality - quality).abs() < 1e-12);
                }
                prop_assert!(curve.points().windows(2).all(|w| w[0].strong_call_rate <= w[1].strong_call_rate));
                let ends = (curve.points()[0].strong_call_rate, curve.points()[curve.points().len() - 1].strong_call_rate);
                prop_assert_eq!(ends, (0.0, 1.0));
                prop_assert_eq!(curve.call_rate_to_recover(1.0).is_some(), true);
            }
        }

        #[test]
        fn apgr_sees_only_the_order_of_scores(
            rows in prop::collection::vec((-3.0..3.0f64, any::<bool>()), 2..40),
        ) {
            let scores: Vec<f64> = rows.iter().map(|r| r.0).collect();
            let weak: Vec<f64> = rows.iter().map(|r| f64::from(u8::from(r.1))).collect();
            let strong = vec![1.0; rows.len()];
            let squashed: Vec<f64> = scores.iter().map(|s| s.exp()).collect();
            let apgr = |s: &[f64]| full_sweep(s, &weak, &strong).map(|c| c.apgr());
            match (apgr(&scores), apgr(&squashed)) {
                (Ok(a), Ok(b)) => prop_assert!((a - b).abs() < 1e-12),
                (a, b) => prop_assert_eq!(a, b),
            }
        }
    }
}
