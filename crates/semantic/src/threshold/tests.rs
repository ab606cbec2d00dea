//! Thresholds against the reference and against trying everything.

use super::*;
use proptest::prelude::*;

/// methods/golden/07_semantic.json, "calibration".
pub(crate) const SCORES: [f64; 24] = [
    0.7208, 0.4916, 0.8625, 0.6333, 0.4041, 0.7749, 0.5457, 0.9166, 0.6874, 0.4582, 0.829, 0.5998, 0.3707,
    0.7415, 0.5123, 0.8831, 0.6539, 0.4248, 0.7956, 0.5664, 0.9372, 0.708, 0.4789, 0.8497,
];
pub(crate) const CORRECT: [u8; 24] = [1, 0, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 1, 0, 1];

fn golden() -> Vec<Judged> {
    SCORES.iter().zip(CORRECT).map(|(score, y)| Judged { score: *score, correct: y == 1 }).collect()
}

fn agreement(rows: &[Judged], threshold: f64) -> usize {
    rows.iter().filter(|row| (row.score >= threshold) == row.correct).count()
}

#[test]
fn the_exact_sweep_agrees_with_the_reference() {
    let rows = golden();
    let threshold = by_accuracy(&rows);
    // Two runs of one midpoint each are best; the lower one is ours.
    assert!((threshold - 0.6436).abs() < 1e-12, "{threshold}");
    assert_eq!(agreement(&rows, threshold), 22);
    assert_eq!(agreement(&rows, 0.6977), 22);
}

#[test]
fn precision_agrees_with_the_reference() {
    // methods/golden/07_semantic.json, "precision_floor".
    let expected = [
        (0.0, 24, 13, 0.3924473544671196),
        (0.4415, 21, 13, 0.4558391302296761),
        (0.50195, 18, 13, 0.5449788427954023),
        (0.5831, 15, 12, 0.6072065271236414),
        (0.67065, 12, 11, 0.7125021949908068),
        (0.73115, 9, 9, 0.7742636826811271),
        (0.8123, 6, 6, 0.6812920690579614),
        (0.8728, 3, 3, 0.4641588833612779),
    ];
    let table = precision_table(&golden(), 0.1).unwrap();
    assert_eq!(table.len(), expected.len());
    for (found, (threshold, rows, correct, bound)) in table.iter().zip(expected) {
        assert!((found.threshold - threshold).abs() < 1e-12);
        assert_eq!((found.rows, found.correct), (rows, correct));
        assert!((found.lower_bound - bound).abs() < 1e-9, "{} {bound}", found.lower_bound);
    }
    // Eight looks share delta: at 0.8 that is 0.1 each.
    assert_eq!(by_precision(&golden(), 0.7, 0.8).unwrap(), Some(table[4].threshold));
    assert_eq!(by_precision(&golden(), 0.9, 0.8).unwrap(), None);
    assert!(by_precision(&golden(), 1.0, 0.1).is_err() && by_precision(&golden(), 0.5, 0.0).is_err());
    assert_eq!(by_precision(&[], 0.5, 0.1).unwrap(), None);
}

#[test]
fn ends_are_candidates_too() {
    let row = |score, correct| Judged { score, correct };
    assert_eq!(by_accuracy(&[]), 0.0);
    assert_eq!(by_accuracy(&[row(0.3, true), row(0.6, true)]), 0.0);
    assert_eq!(by_accuracy(&[row(0.3, false), row(0.6, false)]), 1.0);
    // Two runs of one candidate each are best: the lower one.
    let mixed = [row(0.1, false), row(0.2, true), row(0.3, false), row(0.4, true)];
    assert!((by_accuracy(&mixed) - 0.15).abs() < 1e-12);
    // Rows of one score and both labels change nothing on the way: a run of three, and its middle.
    let tied = [(0.1, false), (0.3, true), (0.3, false), (0.5, true), (0.5, false), (0.7, true)];
    assert!((by_accuracy(&tied.map(|(score, correct)| row(score, correct))) - 0.4).abs() < 1e-12);
}

proptest! {
    #[test]
    fn no_threshold_agrees_with_more(rows in prop::collection::vec((0u8..20, any::<bool>()), 0..40), other in 0.0..1.0f64) {
        let rows: Vec<Judged> =
            rows.into_iter().map(|(s, correct)| Judged { score: f64::from(s) / 20.0, correct }).collect();
        prop_assert!(agreement(&rows, by_accuracy(&rows)) >= agreement(&rows, other));
    }

    #[test]
    fn the_precision_floor_is_met_on_the_sample(
        rows in prop::collection::vec((0u8..20, any::<bool>()), 1..200), precision in 0.1..0.9f64,
    ) {
        let rows: Vec<Judged> =
            rows.into_iter().map(|(s, correct)| Judged { score: f64::from(s) / 20.0, correct }).collect();
        if let Some(threshold) = by_precision(&rows, precision, 0.2).unwrap() {
            let above: Vec<_> = rows.iter().filter(|row| row.score >= threshold).collect();
            let correct = above.iter().filter(|row| row.correct).count() as f64;
            prop_assert!(correct >= precision * above.len() as f64);
        }
    }
}
