//! The whole way on texts of our own: a catalogue of ten intents, and queries that it has not seen.

use std::sync::Arc;

use semantic::{Ask, Catalogue, Evaluation, FitOptions, Labelled, Matcher, Scratch, evaluate, labelled_queries};

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
    let matcher = Matcher::without_encoder(catalogue(), &FitOptions::default()).unwrap();
    let build = |catalogue: Arc<Catalogue>| {
        let embedder = Arc::new(StaticEmbedder::fit(&catalogue));
        Scorer::new(catalogue, embedder)
    };
    let rows = cross_fitted(&catalogue(), build).unwrap();
    let right = rows.iter().filter(|r| r.judged().is_some_and(|j| j.correct)).count();
    println!("cross-fitted {right} of {}", rows.len());
    println!("{:?}", matcher.fitted());
    let e = evaluate(&matcher, asks(&queries())).unwrap();
    println!("{e:#?}");
    let open = FitOptions { thresholds: ThresholdRule::Open, ..FitOptions::default() };
    let e = measured(catalogue(), &open);
    println!("open {:?} {:?} {:?}", e.accuracy, e.best_is_right, e.false_accepts);
    for q in queries() {
        let m = matcher.match_query(Ask::Text(&q.query), &mut Scratch::default()).unwrap();
        if m.best.map(|b| b.route.name.clone()) != q.route {
            println!("{:?} best {:?} {:.2} is {:?} p {:.2} {:?}", q.query, m.best.map(|b| &b.route.name), m.score, q.route, m.probability, m.reason);
        }
    }
}
