//! The whole way on texts of our own: a catalogue of ten intents, and queries that it has not seen. The least figures
//! asserted here lie a few queries below those measured.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that tells what it measured")]

use std::sync::Arc;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use semantic::check::{Finding, Limits, Severity, check, uncovered};
use semantic::{
    Ask, Catalogue, ConformalFloor, Evaluation, FitOptions, Labelled, MatchReason, Matcher, Scorer, Scratch,
    SemanticError, StaticEmbedder, ThresholdRule, answered, cross_fitted, evaluate, labelled_queries,
    off_topic,
};

const CATALOGUE: &str = include_str!("../fixtures/intents.toml");

fn catalogue() -> Arc<Catalogue> {
    Arc::new(Catalogue::from_toml(CATALOGUE, "intents.toml").unwrap())
}

fn queries() -> Vec<Labelled> {
    labelled_queries(include_str!("../fixtures/queries.jsonl"), "queries.jsonl").unwrap()
}

fn asks(queries: &[Labelled]) -> impl Iterator<Item = (Ask<'_>, Option<&str>)> {
    queries.iter().map(|labelled| (Ask::Text(&labelled.query), labelled.route.as_deref()))
}

fn scorer(catalogue: Arc<Catalogue>) -> Result<Scorer, SemanticError> {
    let embedder = Arc::new(StaticEmbedder::fit(&catalogue));
    Scorer::new(catalogue, embedder)
}

fn measured(catalogue: &str, thresholds: ThresholdRule) -> Evaluation {
    let catalogue = Arc::new(Catalogue::from_toml(catalogue, "intents.toml").unwrap());
    let matcher =
        Matcher::without_encoder(catalogue, &FitOptions { thresholds, ..FitOptions::default() }).unwrap();
    let found = evaluate(&matcher, asks(&queries())).unwrap();
    let (best, none) = (found.best_is_right.unwrap(), found.false_accepts.unwrap());
    println!(
        "{:?} {thresholds:?}: accuracy {}/{}, best route {}/{}, off topic passed {}, matched {} of {}",
        matcher.catalogue().settings().mode,
        found.accuracy.count,
        found.accuracy.of,
        best.count,
        best.of,
        none.passed.count,
        none.matched.count,
        none.passed.of,
    );
    found
}

#[test]
fn held_out_exemplars_find_their_route() {
    let rows = cross_fitted(&catalogue(), scorer).unwrap();
    let right = rows.iter().filter(|row| row.judged().is_some_and(|judged| judged.correct)).count();
    println!("cross-fitted: {right} of {}", rows.len());
    assert!(right * 100 >= 84 * rows.len(), "{right} of {}", rows.len());
}

#[test]
fn unseen_queries_find_their_route_and_off_topic_ones_mostly_none() {
    for thresholds in [ThresholdRule::Open, ThresholdRule::Accuracy] {
        let found = measured(CATALOGUE, thresholds);
        assert!(found.best_is_right.unwrap().rate() > 0.9);
        assert!(found.accuracy.rate() > 0.8);
        let none = found.false_accepts.unwrap();
        assert!(none.matched.count <= none.passed.count && !none.breaks_promise());
        let counted: usize = found.confusion.iter().flatten().sum();
        assert_eq!((counted, found.routes.len(), none.promised), (210, 10, Some(0.1)));
    }
    let strict = measured(CATALOGUE, ThresholdRule::Precision { precision: 0.9, delta: 0.1 });
    let open = measured(CATALOGUE, ThresholdRule::Open);
    assert!(strict.false_accepts.unwrap().matched.count <= open.false_accepts.unwrap().matched.count);
}

#[test]
fn words_alone_find_less_and_both_together_about_as_much() {
    let with = |mode: &str| measured(&CATALOGUE.replace("mode = \"dense\"", mode), ThresholdRule::Open);
    let best = |found: Evaluation| found.best_is_right.unwrap().count;
    let dense = best(with("mode = \"dense\""));
    assert!(best(with("mode = \"sparse\"")) < dense);
    assert!(best(with("mode = \"hybrid\"")) + 10 > dense);
    assert!(best(with("mode = \"hybrid\"\nfusion = \"rrf\"")) < dense);
}

#[test]
fn a_match_says_what_it_is_and_why() {
    let matcher = Matcher::without_encoder(catalogue(), &FitOptions::default()).unwrap();
    let mut scratch = Scratch::default();
    let found =
        matcher.match_query(Ask::Text("why is there a second charge on my card?"), &mut scratch).unwrap();
    assert_eq!(
        (found.route.map(|route| route.name.as_str()), found.reason),
        (Some("billing"), MatchReason::Matched)
    );
    assert!(found.probability > 0.7 && found.p_value.is_some_and(|p| p <= 0.1));
    assert!(found.runner_up.is_some_and(|second| second.score <= found.score));
    let again =
        matcher.match_query(Ask::Text("why is there a second charge on my card?"), &mut scratch).unwrap();
    assert_eq!(found, again);
    let found = matcher.match_query(Ask::Text("which mushrooms grow under oaks"), &mut scratch).unwrap();
    assert_eq!((found.route, found.reason), (None, MatchReason::BelowFloor));
    let found = matcher.match_query(Ask::Text(" "), &mut scratch).unwrap();
    assert_eq!((found.route, found.reason, found.probability), (None, MatchReason::NoRoute, 0.0));
    assert_eq!(matcher.version(), catalogue().version());
}

#[test]
fn the_catalogue_makes_sense_and_what_it_lacks_is_gathered() {
    let scorer = scorer(catalogue()).unwrap();
    let held_out = cross_fitted(&catalogue(), self::scorer).unwrap();
    let findings = check(&scorer, &held_out, &Limits::default());
    assert!(findings.iter().all(|finding: &Finding| finding.severity() < Severity::Error), "{findings:?}");

    // Queries of an intent that the catalogue does not have, among some that it does.
    let weather =
        ["weather in Rome", "weather in Oslo tomorrow", "what is the weather in Paris", "cancel my plan"];
    let asks = weather.map(Ask::Text);
    let groups = uncovered(&scorer, &asks, 0.6, 0.4).unwrap();
    assert_eq!(groups[0].members, [0, 1, 2], "{groups:?}");
}

#[test]
fn odds_are_about_right() {
    let matcher = Matcher::without_encoder(catalogue(), &FitOptions::default()).unwrap();
    let (mut expected, mut right, mut squares) = (0.0, 0usize, 0.0);
    let queries = queries();
    for (ask, route) in asks(&queries) {
        let found = matcher.match_query(ask, &mut Scratch::default()).unwrap();
        let correct = found.best.is_some_and(|best| route == Some(best.route.name.as_str()));
        expected += found.probability;
        right += usize::from(correct);
        squares += (found.probability - f64::from(u8::from(correct))).powi(2);
    }
    let n = queries.len() as f64;
    println!("expected {expected:.1} right, were {right}; Brier {:.4}", squares / n);
    // The mean of the odds is near the share of correct best routes, and they tell more than that share would.
    let rate = right as f64 / n;
    assert!((expected / n - rate).abs() < 0.1 && squares / n < 0.7 * rate * (1.0 - rate));
}

#[test]
fn the_floor_keeps_its_promise_over_splits_of_real_off_topic_queries() {
    let scorer = scorer(catalogue()).unwrap();
    let unseen: Vec<Labelled> = queries().into_iter().filter(|labelled| labelled.route.is_none()).collect();
    let rows = off_topic(&scorer).unwrap().into_iter().chain(answered(&scorer, asks(&unseen)).unwrap());
    let mut nearest: Vec<f64> = rows.map(|row| row.ranking.nearest).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    for alpha in [0.05, 0.1, 0.2] {
        let mut passed = 0;
        const SPLITS: usize = 400;
        for _ in 0..SPLITS {
            nearest.shuffle(&mut rng);
            let floor = ConformalFloor::new(nearest[..60].to_vec(), alpha).unwrap();
            passed += nearest[60..].iter().filter(|similarity| floor.passes(**similarity)).count();
        }
        let rate = passed as f64 / (SPLITS * 60) as f64;
        println!("promised {alpha}, passed {rate:.4}");
        assert!(rate <= alpha + 0.01 && rate > alpha - 0.04, "{alpha}: {rate}");
    }
}
