//! Each objective against reference figures and against brute force.

use super::*;
use crate::{Risk, request_draw};
use proptest::prelude::*;

fn probabilities(values: &[f64]) -> Vec<WinProbability> {
    values.iter().map(|p| WinProbability::new(*p).unwrap()).collect()
}

const TIED: [f64; 10] = [0.11, 0.18, 0.18, 0.22, 0.25, 0.25, 0.25, 0.31, 0.40, 0.55];

fn rate_of(rate: f64) -> Selection {
    let (weak, strong) = (vec![0.0; 10], vec![1.0; 10]);
    let outcomes = Outcomes { weak: &weak, strong: &strong, costs: None };
    select(&Objective::StrongCallRate(rate), &probabilities(&TIED), &outcomes).unwrap()
}

#[test]
fn randomised_ties_agree_with_the_reference() {
    // Target, the score of the tied mass, the share of it that goes strong.
    let expected = [
        (0.1, 0.55, 1.0),
        (0.2, 0.4, 1.0),
        (0.25, 0.31, 0.5),
        (0.3, 0.31, 1.0),
        (0.5, 0.25, 2.0 / 3.0),
        (0.7, 0.22, 1.0),
        (0.9, 0.18, 1.0),
    ];
    for (rate, threshold, share) in expected {
        let found = rate_of(rate);
        assert_eq!(found.threshold.low().get(), threshold, "{rate}");
        assert!((found.threshold.probability_of_low() - share).abs() < 1e-9, "{rate}");
        assert!((found.expected.strong_call_rate - rate).abs() < 1e-12, "{rate}");
    }
    // 0 and 1 mean never and always, for every probability there is.
    assert_eq!(rate_of(0.0).threshold, RandomisedThreshold::never());
    assert_eq!(rate_of(1.0).threshold, RandomisedThreshold::always());
}

#[test]
fn served_draws_realise_the_rate() {
    let threshold = rate_of(0.5).threshold;
    let sent = |i: usize| {
        let at = threshold.at(request_draw([format!("request {i}").as_bytes()]));
        crate::goes_strong(WinProbability::new(TIED[i % 10]).unwrap(), at)
    };
    let share = (0..20_000).filter(|i| sent(*i)).count() as f64 / 20_000.0;
    assert!((share - 0.5).abs() < 0.01, "{share}");
}

/// Fixture A: golden-ratio scores; weak fails where the label is true, strong in row 10 only.
fn fixture() -> (Vec<WinProbability>, Vec<f64>, Vec<f64>) {
    const SCORES: [f64; 20] = [
        0.618034, 0.236068, 0.854102, 0.472136, 0.09017, 0.708204, 0.326238, 0.944272, 0.562306, 0.18034,
        0.798374, 0.416408, 0.034442, 0.652476, 0.27051, 0.888544, 0.506578, 0.124612, 0.742646, 0.36068,
    ];
    let fails = [0, 2, 5, 7, 10, 15, 16];
    let weak = (0..20).map(|i| if fails.contains(&i) { 0.0 } else { 1.0 }).collect();
    let strong = (0..20).map(|i| if i == 10 { 0.0 } else { 1.0 }).collect();
    (probabilities(&SCORES), weak, strong)
}

fn on_fixture(objective: Objective) -> Result<Selection, SelectError> {
    let (p, weak, strong) = fixture();
    let (cheap, dear) = (vec![1.0; 20], vec![11.0; 20]);
    select(&objective, &p, &Outcomes { weak: &weak, strong: &strong, costs: Some((&cheap, &dear)) })
}

#[test]
fn budgets_floors_and_values_agree_with_the_sweep() {
    // Quality 0.9 is first reached by 8 strong calls, 0.95 by 10 (the reference's table).
    let found = on_fixture(Objective::ErrorBudget(0.05)).unwrap();
    assert_eq!((found.threshold.low().get(), found.expected.strong_call_rate), (0.618034, 0.4));
    let found = on_fixture(Objective::ErrorBudget(0.0)).unwrap();
    assert_eq!((found.threshold.low().get(), found.expected.strong_call_rate), (0.506578, 0.5));
    // All of strong's quality costs 10 strong calls: 1 + 10 x 0.5.
    let found = on_fixture(Objective::QualityFloor(1.0)).unwrap();
    assert!((found.expected.cost - 6.0).abs() < 1e-9 && (found.expected.quality - 0.95).abs() < 1e-12);
    // 98 %: between the hull's corners at 3 calls (0.8) and 10 calls (0.95), 3 + 7 x 0.131 / 0.15.
    let found = on_fixture(Objective::QualityFloor(0.98)).unwrap();
    assert!((found.expected.quality - 0.931).abs() < 1e-9);
    assert!((found.expected.cost - (1.0 + 10.0 * (3.0 + 7.0 * 0.131 / 0.15) / 20.0)).abs() < 1e-9);
    // A budget of 2.5 buys three strong calls.
    let found = on_fixture(Objective::CostBudget(2.5)).unwrap();
    assert!((found.expected.quality - 0.8).abs() < 1e-9, "{found:?}");
    // An answer worth 100 against 10 more for strong: every call before the tenth is worth it.
    let found = on_fixture(Objective::ValuePerCorrect(100.0)).unwrap();
    assert_eq!(found.threshold.low().get(), 0.506578);
    assert_eq!(on_fixture(Objective::ValuePerCorrect(0.0)).unwrap().threshold, RandomisedThreshold::never());
}

#[test]
fn what_cannot_be_met_is_an_error_and_what_cannot_be_proved_is_all_strong() {
    let out_of_reach = on_fixture(Objective::QualityFloor(1.2)).unwrap_err();
    assert!(matches!(out_of_reach, SelectError::QualityOutOfReach { .. }), "{out_of_reach}");
    assert!(matches!(on_fixture(Objective::CostBudget(0.5)), Err(SelectError::BudgetTooSmall { .. })));
    assert!(matches!(on_fixture(Objective::StrongCallRate(1.1)), Err(SelectError::OutOfRange { .. })));
    let (p, weak, strong) = fixture();
    let unpriced = Outcomes { weak: &weak, strong: &strong, costs: None };
    assert_eq!(select(&Objective::CostBudget(1.0), &p, &unpriced), Err(SelectError::NoPrices));
    let wanted = Certificate { risk: Risk::CheapAndWrong, alpha: 0.05, delta: 0.1 };
    let found = select(&Objective::Certificate(wanted), &p, &unpriced).unwrap();
    assert_eq!((found.threshold, found.certified), (RandomisedThreshold::always(), None));
    assert_eq!(found.labels_needed, Some(282));
    let wanted = Certificate { alpha: 0.3, ..wanted };
    let found = select(&Objective::Certificate(wanted), &p, &unpriced).unwrap();
    // Of twenty rows, two losses prove 30 % at 90 %: the third row that strong would have won goes strong.
    assert_eq!(found.certified.unwrap().loss, 2.0);
    assert_eq!(found.expected.cheap_and_wrong_rate, 0.1);
}

proptest! {
    #[test]
    fn no_mixture_of_two_thresholds_is_better(
        rows in prop::collection::vec((0u8..10, any::<bool>(), any::<bool>(), 0.0..1.0f64), 4..20),
        floor in 0.0..1.2f64, share in 0.0..=1.0f64,
    ) {
        let p = probabilities(&rows.iter().map(|r| f64::from(r.0) / 10.0).collect::<Vec<_>>());
        let (weak, strong): (Vec<f64>, Vec<f64>) =
            rows.iter().map(|r| (f64::from(u8::from(r.1)), f64::from(u8::from(r.2)))).unzip();
        let (cheap, dear): (Vec<f64>, Vec<f64>) = rows.iter().map(|r| (r.3, 3.0 * r.3 + 0.5)).unzip();
        let outcomes = Outcomes { weak: &weak, strong: &strong, costs: Some((&cheap, &dear)) };
        let scores: Vec<f64> = p.iter().map(|p| p.get()).collect();
        let points = sweep(&scores, &outcomes).unwrap();
        let wanted = floor * points[points.len() - 1].quality;
        let found = select(&Objective::QualityFloor(floor), &p, &outcomes);
        let budget = points[0].cost + share * (points[points.len() - 1].cost - points[0].cost);
        let afforded = select(&Objective::CostBudget(budget), &p, &outcomes).unwrap();
        prop_assert!(afforded.expected.cost <= budget + 1e-9);
        let worth = select(&Objective::ValuePerCorrect(2.0), &p, &outcomes).unwrap().expected;
        for a in &points {
            prop_assert!(2.0 * a.quality - a.cost <= 2.0 * worth.quality - worth.cost + 1e-9);
            for b in &points {
                for u in [0.0, 0.25, 0.5, 0.75, 1.0] {
                    let (cost, quality) = (a.cost + u * (b.cost - a.cost), a.quality + u * (b.quality - a.quality));
                    if quality >= wanted {
                        let found = found.unwrap();
                        prop_assert!(found.expected.cost <= cost + 1e-9);
                        prop_assert!(found.expected.quality >= wanted - 1e-9);
                    }
                    if cost <= budget {
                        prop_assert!(afforded.expected.quality >= quality - 1e-9);
                    }
                }
            }
        }
    }

    #[test]
    fn every_strong_call_rate_is_met_exactly(
        rows in prop::collection::vec(0u8..6, 1..30), rate in 0.0..=1.0f64,
    ) {
        let p = probabilities(&rows.iter().map(|r| f64::from(*r) / 6.0).collect::<Vec<_>>());
        let ones = vec![1.0; rows.len()];
        let outcomes = Outcomes { weak: &ones, strong: &ones, costs: None };
        let found = select(&Objective::StrongCallRate(rate), &p, &outcomes).unwrap();
        prop_assert!((found.expected.strong_call_rate - rate).abs() < 1e-9);
    }
}
