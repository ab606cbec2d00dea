//! The whole way on texts of our own: a catalogue of ten intents, and queries that it has not seen.

use std::sync::Arc;

use semantic::{Ask, Catalogue, Evaluation, FitOptions, Labelled, Matcher, evaluate, labelled_queries};

fn catalogue() -> Arc<Catalogue> {
    let text = include_str!("../fixtures/intents.toml");
    Arc::new(Catalogue::from_toml(text, "intents.toml").unwrap())
}

fn queries() -> Vec<Labelled> {
    labelled_queries(include_str!("../fixtures/queries.jsonl"), "queries.jsonl").unwrap()
}

fn asks(queries: &[Labelled]) -> impl Iterator<Item = (Ask<'_>, Option<&str>)> {
    queries.iter().map(|labelled| (Ask::Text(&labelled.query), labelled.route.as_deref()))
}

fn measured(catalogue: Arc<Catalogue>, options: &FitOptions) -> Evaluation {
    let matcher = Matcher::without_encoder(catalogue, options).unwrap();
    evaluate(&matcher, asks(&queries())).unwrap()
}

#[test]
fn explore() {
    use semantic::*;
    let build = |catalogue: Arc<Catalogue>| {
        let embedder = Arc::new(StaticEmbedder::fit(&catalogue));
        Scorer::new(catalogue, embedder)
    };
    let rows = cross_fitted(&catalogue(), build).unwrap();
    let right = rows.iter().filter(|r| r.judged().is_some_and(|j| j.correct)).count();
    println!("cross-fitted {right} of {}", rows.len());
    for thresholds in [ThresholdRule::Accuracy, ThresholdRule::Open] {
        let e = measured(catalogue(), &FitOptions { thresholds, ..FitOptions::default() });
        println!(
            "{thresholds:?} acc {} best {} {:?}",
            e.accuracy.count,
            e.best_is_right.unwrap().count,
            e.false_accepts
        );
    }
    let scorer = build(catalogue()).unwrap();
    let off = off_topic(&scorer).unwrap();
    let floor = ConformalFloor::new(off.iter().map(|r| r.ranking.nearest).collect(), 0.1).unwrap();
    let inside = answered(&scorer, asks(&queries())).unwrap();
    let pass = |want: bool| {
        inside.iter().filter(|r| r.label.is_some() == want && floor.passes(r.ranking.nearest)).count()
    };
    println!(
        "pass in {} of 150, off {} of 60; loo pass {}",
        pass(true),
        pass(false),
        rows.iter().filter(|r| floor.passes(r.ranking.nearest)).count()
    );
}
