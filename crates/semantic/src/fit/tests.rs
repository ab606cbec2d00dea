//! Odds against the reference, thresholds by route, and what holding out means.

use super::*;
use crate::{Embed, Scored, StaticEmbedder};
use calibration::PlattScaling;

/// methods/golden/07_semantic.json, "calibration".
const SCORES: [f64; 24] = [
    0.7208, 0.4916, 0.8625, 0.6333, 0.4041, 0.7749, 0.5457, 0.9166, 0.6874, 0.4582, 0.829, 0.5998, 0.3707,
    0.7415, 0.5123, 0.8831, 0.6539, 0.4248, 0.7956, 0.5664, 0.9372, 0.708, 0.4789, 0.8497,
];
const CORRECT: [u8; 24] = [1, 0, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 1, 0, 1];

#[test]
fn platt_scaling_agrees_with_the_reference() {
    // Twenty-four rows are fewer than a calibrator takes: each goes in as two halves, which is the same sample.
    let twice = |i: usize| i % SCORES.len();
    let scores: Vec<Score> = (0..48).map(|i| Score::new(SCORES[twice(i)]).unwrap()).collect();
    let correct: Vec<bool> = (0..48).map(|i| CORRECT[twice(i)] == 1).collect();
    let sample = Sample::new(&scores, &correct, Some(&[0.5; 48])).unwrap();
    let map = PlattScaling::fit(&sample).unwrap().map;
    // The reference, too, fits smoothed targets; it stops a little before the optimum.
    assert!((map.slope() - 12.76036899648682).abs() < 1e-6, "{}", map.slope());
    assert!((map.intercept() + 8.12352462854879).abs() < 1e-6, "{}", map.intercept());
    let odds = Odds::Map(Box::new(Calibrator::fit(&sample, Method::Platt).unwrap().calibrator));
    for (score, expected) in
        [(0.5, 0.14888917267877438), (0.62, 0.44717391923414584), (0.8, 0.8894141228019204)]
    {
        assert!((odds.probability(score) - expected).abs() < 1e-7);
    }
    assert_eq!(odds.probability(f64::NAN), 0.0);
}

#[test]
fn few_rows_or_one_outcome_give_the_base_rate() {
    let judged = |n: usize, correct: usize| -> Vec<Judged> {
        (0..n).map(|i| Judged { score: i as f64 / n as f64, correct: i < correct }).collect()
    };
    assert_eq!(Odds::fit(&judged(10, 4), Method::Platt).unwrap(), Odds::BaseRate(5.0 / 12.0));
    assert_eq!(Odds::fit(&judged(60, 60), Method::Platt).unwrap(), Odds::BaseRate(61.0 / 62.0));
    assert!(matches!(Odds::fit(&judged(60, 20), Method::Platt).unwrap(), Odds::Map(_)));
    assert_eq!(Odds::fit(&[], Method::Platt).unwrap().probability(0.7), 0.5);
}

fn catalogue(text: &str) -> Catalogue {
    Catalogue::from_toml(text, "a.toml").unwrap()
}

const TWO: &str = r#"
    [[route]]
    name = "a"
    utterances = ["one two", "two three", "three four"]
    [[route]]
    name = "b"
    utterances = ["five six", "six seven"]
    threshold = 0.25
"#;

fn row(label: Option<usize>, route: usize, score: f64) -> Answered {
    let best = Some(Scored { route, score });
    Answered { label, ranking: Ranking { best, runner_up: None, nearest: score } }
}

#[test]
fn thresholds_are_each_routes_own_where_rows_suffice() {
    let catalogue = catalogue(TWO);
    let rows: Vec<Answered> = (0..20).map(|i| row((i >= 12).then_some(0), 0, f64::from(i) / 20.0)).collect();
    let fit = |rows: &[Answered], thresholds| {
        let options = FitOptions { thresholds, method: Method::Platt };
        Fitted::new(&catalogue, rows, &[], &options).unwrap().thresholds
    };
    let found = fit(&rows, ThresholdRule::Accuracy);
    assert!((found[0] - 0.575).abs() < 1e-12, "{found:?}");
    // The catalogue's own word stands.
    assert_eq!(found[1], 0.25);
    assert_eq!(fit(&rows, ThresholdRule::Open), [0.0, 0.25]);
    let strict = ThresholdRule::Precision { precision: 0.99, delta: 0.05 };
    assert_eq!(fit(&rows, strict), [f64::INFINITY, 0.25]);
    // Too few rows of its own: those of all routes decide.
    let few: Vec<Answered> = rows.iter().map(|r| row(r.label.map(|_| 1), 1, r.ranking.nearest)).collect();
    assert!((fit(&few, ThresholdRule::Accuracy)[0] - 0.575).abs() < 1e-12);
}

#[test]
fn an_exemplar_held_out_does_not_find_itself() {
    let catalogue = Arc::new(catalogue(TWO));
    let build = |catalogue: Arc<Catalogue>| {
        let embedder = StaticEmbedder::fit(&catalogue);
        Scorer::new(catalogue, Arc::new(embedder))
    };
    let scorer = build(catalogue.clone()).unwrap();
    let itself = scorer.rank(Ask::Text("one two"), &mut Scratch::default()).unwrap();
    assert!(itself.nearest > 0.999);
    for rows in [leave_one_out(&scorer).unwrap(), cross_fitted(&catalogue, build).unwrap()] {
        assert_eq!(rows.len(), 5);
        assert!(rows.iter().all(|row| row.ranking.nearest < 0.99), "{rows:?}");
        assert_eq!(rows.iter().filter(|row| row.label == Some(0)).count(), 3);
    }
}

#[test]
fn labels_name_routes() {
    struct Flat;
    impl Embed for Flat {
        fn dimension(&self) -> usize {
            1
        }
        fn embed(&self, _: &str, out: &mut Vec<f32>) {
            out.clear();
            out.push(1.0);
        }
    }
    let scorer = Scorer::new(Arc::new(catalogue(TWO)), Arc::new(Flat)).unwrap();
    let queries = [(Ask::Text("x"), Some("b")), (Ask::Text("y"), None), (Ask::Text("z"), Some("c"))];
    assert_eq!(answered(&scorer, queries[..2].to_vec()).unwrap()[0].label, Some(1));
    let unknown = SemanticError::UnknownRoute { row: 2, route: "c".to_owned() };
    assert_eq!(answered(&scorer, queries), Err(unknown));
}
