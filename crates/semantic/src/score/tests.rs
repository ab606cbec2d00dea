//! Scores against the reference, and the veto of negatives.

use super::*;

fn catalogue(settings: &str) -> Arc<Catalogue> {
    let text = format!(
        r#"
        [settings]
        {settings}
        [[route]]
        name = "math"
        utterances = ["solve the equation", "prove the theorem", "add the numbers"]
        negatives = ["solve the crime"]
        [[route]]
        name = "chat"
        utterances = ["hello there", "how are you", "tell me a joke"]
        [[route]]
        name = "code"
        utterances = ["fix the bug"]
        "#
    );
    Arc::new(Catalogue::from_toml(&text, "a.toml").unwrap())
}

/// methods/golden/07_semantic.json, "score": exemplars and query; the last row is a negative of ours, far away.
const EXEMPLARS: [[f32; 3]; 8] = [
    [1.0, 0.0, 0.0],
    [0.9, 0.1, 0.2],
    [0.8, 0.3, 0.0],
    [0.0, 1.0, 0.0],
    [0.1, 0.9, 0.1],
    [0.2, 0.8, 0.4],
    [0.0, 0.1, 1.0],
    [0.0, 0.0, 1.0],
];
const QUERY: [f32; 3] = [0.7, 0.5, 0.1];

fn scorer(settings: &str) -> Scorer {
    Scorer::with_vectors(catalogue(settings), 3, EXEMPLARS.concat()).unwrap()
}

fn assert_close(found: f64, expected: f64) {
    // Vectors are f32.
    assert!((found - expected).abs() < 1e-6, "{found} {expected}");
}

#[test]
fn cosines_and_aggregates_agree_with_the_reference() {
    let cosine = [
        0.8082903768654761,
        0.8716019289105665,
        0.9595470773272698,
        0.5773502691896258,
        0.6717477055559467,
        0.730731314484506,
        0.1723454968864279,
    ];
    let best = |settings: &str| {
        let ranking = scorer(settings).rank(Ask::Vector(&QUERY), &mut Scratch::default()).unwrap();
        assert_close(ranking.nearest, cosine[2]);
        (ranking.best.unwrap(), ranking.runner_up.unwrap())
    };
    let (math, chat) = best("aggregation = \"max\"");
    assert_eq!((math.route, chat.route), (0, 1));
    assert_close(math.score, 0.9595470773272698);
    assert_close(chat.score, 0.730731314484506);
    // The reference takes the mean of those among the five nearest of all: three of math, two of chat.
    let (math, _) = best("aggregation = \"mean\"\ntop = 3");
    assert_close(math.score, 0.8798131277011042);
    assert_close(math.score * 3.0, 2.6394393831033125);
    let (_, chat) = best("aggregation = \"mean\"\ntop = 2");
    assert_close(chat.score, 0.7012395100202263);
    assert_close(chat.score * 2.0, 1.4024790200404527);

    let mut query = QUERY;
    normalise(&mut query);
    let scorer = scorer("");
    let all = scorer.index().unwrap().nearest(&query, 8, &mut SearchScratch::default()).unwrap();
    for hit in all.iter().filter(|hit| hit.row < cosine.len()) {
        assert_close(f64::from(hit.similarity), cosine[hit.row]);
    }
}

#[test]
fn a_nearer_negative_takes_its_route_out() {
    let scorer = scorer("");
    let mut scratch = Scratch::default();
    let up = scorer.rank(Ask::Vector(&[0.1, 0.0, 1.0]), &mut scratch).unwrap();
    // Math's own exemplars are farther than its negative; chat and code have none.
    assert_eq!((up.best.unwrap().route, up.runner_up.unwrap().route), (2, 1));
    let nothing = scorer.rank(Ask::Vector(&[-1.0, -1.0, -1.0]), &mut scratch).unwrap();
    assert_eq!((nothing.best, nothing.runner_up), (None, None));
}

#[test]
fn words_find_their_route_and_mix_with_vectors() {
    let mut scratch = Scratch::default();
    let sparse = Scorer::with_vectors(catalogue("mode = \"sparse\""), 0, Vec::new()).unwrap();
    let ranking = sparse.rank(Ask::Text("please fix this bug"), &mut scratch).unwrap();
    assert_eq!(ranking.best.unwrap().route, 2);
    assert!(ranking.nearest > 0.0 && ranking.nearest < 1.0);
    // "solve the crime" is a negative, word by word.
    assert!(sparse.rank(Ask::Text("solve crime"), &mut scratch).unwrap().best.is_none_or(|b| b.route != 0));
    let unknown = sparse.rank(Ask::Text("quetzal"), &mut scratch).unwrap();
    assert_eq!((unknown.best, unknown.nearest), (None, 0.0));

    for settings in ["mode = \"hybrid\"\nalpha = 0.5", "mode = \"hybrid\"\nfusion = \"rrf\""] {
        let hybrid = scorer(settings);
        let both = hybrid.rank(Ask::Both("how are you", &[0.0, 1.0, 0.0]), &mut scratch).unwrap();
        assert_eq!(both.best.unwrap().route, 1);
        let dense = scorer("").rank(Ask::Vector(&[0.0, 1.0, 0.0]), &mut scratch).unwrap();
        let words = sparse.rank(Ask::Text("how are you"), &mut scratch).unwrap();
        let mean = 0.5 * (dense.best.unwrap().score + words.best.unwrap().score);
        assert_close(both.best.unwrap().score, mean);
    }
}

#[test]
fn a_query_brings_what_is_compared() {
    let mut scratch = Scratch::default();
    let missing = |mode, needed| SemanticError::Missing { mode, needed };
    let found = scorer("").rank(Ask::Text("x"), &mut scratch).unwrap_err();
    assert_eq!(found, missing("dense", "its vector"));
    let found = scorer("mode = \"hybrid\"").rank(Ask::Vector(&QUERY), &mut scratch).unwrap_err();
    assert_eq!(found, missing("hybrid", "its text"));
    let found = scorer("").rank(Ask::Vector(&[1.0]), &mut scratch).unwrap_err();
    assert_eq!(found, SemanticError::Dimension { expected: 3, found: 1 });
    let few = Scorer::with_vectors(catalogue(""), 3, vec![0.0; 9]).err();
    assert_eq!(few, Some(SemanticError::VectorCount { expected: 8, found: 3 }));
}

#[test]
fn the_best_routes_are_those_of_the_ranking_and_those_after() {
    let mut scratch = Scratch::default();
    for query in [QUERY, [0.0, 1.0, 0.0], [0.3, 0.3, 0.9], [-1.0, 0.0, 0.0]] {
        let scorer = scorer("");
        let (ranking, best) = scorer.rank_best(Ask::Vector(&query), 9, &mut scratch).unwrap();
        assert_eq!(ranking, scorer.rank(Ask::Vector(&query), &mut scratch).unwrap());
        assert_eq!((best.first().copied(), best.get(1).copied()), (ranking.best, ranking.runner_up));
        assert!(best.is_sorted_by(|a, b| a.score >= b.score) && best.len() <= 3);
        let (_, one) = scorer.rank_best(Ask::Vector(&query), 1, &mut scratch).unwrap();
        assert_eq!(one, best[..best.len().min(1)]);
    }
}
