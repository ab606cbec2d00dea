//! Each finding on a catalogue that deserves it, and none on one that does not.

use std::sync::Arc;

use super::*;
use crate::{Ask, Ranking, Scored, SemanticError};

fn catalogue(text: &str) -> Arc<Catalogue> {
    Arc::new(Catalogue::from_toml(text, "a.toml").unwrap())
}

fn scorer(text: &str, vectors: &[[f32; 2]]) -> Scorer {
    Scorer::with_vectors(catalogue(text), 2, vectors.concat()).unwrap()
}

const MESSY: &str = r#"
    off_topic = ["Fix it!", "the weather"]
    [settings]
    floor_alpha = 0.1
    [[route]]
    name = "code"
    utterances = ["fix it", "Fix it.", "the build is red"]
    negatives = ["the BUILD is red", "pay up"]
    [[route]]
    name = "money"
    utterances = ["pay up", "the build is red"]
"#;

const NO_LIMITS: Limits = Limits { least_exemplars: 0, most_confused: 1.0, most_alike: 1.0 };

#[test]
fn texts_said_twice_or_against_each_other_are_found() {
    let messy = scorer(MESSY, &[[1.0, 0.0]; 7]);
    let findings = check(&messy, &[], &NO_LIMITS);
    let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "\"fix it\" is an exemplar of code and off topic",
            "\"the build is red\" is an exemplar of code and an exemplar of money",
            "\"the build is red\" is an exemplar of code and a negative of code",
            "there are 2 off-topic queries, the floor needs 9",
            "\"fix it\" is an exemplar of code 2 times",
        ]
    );
    assert_eq!(findings[3].severity(), Severity::Error);
    assert_eq!(findings[4].severity(), Severity::Warning);
}

const TIDY: &str = r#"
    [[route]]
    name = "a"
    utterances = ["one", "two"]
    [[route]]
    name = "b"
    utterances = ["three", "four", "five"]
"#;

#[test]
fn thin_routes_and_routes_that_look_alike_are_found() {
    let apart = scorer(TIDY, &[[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9], [0.0, 1.0]]);
    assert_eq!(check(&apart, &[], &NO_LIMITS), []);
    let thin = check(&apart, &[], &Limits { least_exemplars: 3, ..NO_LIMITS });
    assert_eq!(thin, [Finding::FewExemplars { route: "a".into(), found: 2, expected: 3 }]);

    let alike = scorer(TIDY, &[[1.0, 0.0], [0.9, 0.1], [1.0, 0.1], [1.0, 0.0], [0.9, 0.0]]);
    let found = check(&alike, &[], &Limits { most_alike: 0.95, ..NO_LIMITS });
    assert!(matches!(&found[..], [Finding::Alike { cosine, .. }] if *cosine > 0.99), "{found:?}");
}

#[test]
fn routes_that_take_each_others_exemplars_are_found() {
    let scorer = scorer(TIDY, &[[1.0, 0.0]; 5]);
    let row = |label: usize, route: usize| {
        let best = Some(Scored { route, score: 0.5 });
        Answered { label: Some(label), ranking: Ranking { best, runner_up: None, nearest: 0.5 } }
    };
    let held_out = [row(0, 0), row(0, 1), row(1, 0), row(1, 1), row(1, 1)];
    let limits = |most_confused| Limits { most_confused, ..NO_LIMITS };
    let found = check(&scorer, &held_out, &Limits { most_alike: 2.0, ..limits(0.3) });
    assert_eq!(found, [Finding::Confused { first: "a".into(), second: "b".into(), share: 0.4 }]);
    assert_eq!(check(&scorer, &held_out, &Limits { most_alike: 2.0, ..limits(0.4) }), []);
}

#[test]
fn uncovered_queries_are_gathered() {
    let scorer = scorer(TIDY, &[[1.0, 0.0]; 5]);
    let vectors: [[f32; 2]; 6] = [[0.0, 1.0], [1.0, 0.1], [-1.0, 0.0], [0.1, 1.0], [-0.1, 1.0], [-1.0, 0.1]];
    let queries: Vec<Ask<'_>> = vectors.iter().map(|vector| Ask::Vector(vector)).collect();
    let groups = uncovered(&scorer, &queries, 0.5, 0.9).unwrap();
    assert_eq!(groups.len(), 2);
    assert_eq!(groups[0], Uncovered { representative: 0, members: vec![0, 3, 4] });
    assert_eq!(groups[1].members, [2, 5]);
    assert_eq!(uncovered(&scorer, &queries, -1.0, 0.9).unwrap(), []);
    assert_eq!(uncovered(&scorer, &queries, 0.5, 1.1).unwrap().len(), 5);
    let words = Scorer::with_vectors(catalogue(&format!("[settings]\nmode = \"sparse\"\n{TIDY}")), 0, vec![])
        .unwrap();
    let refused = uncovered(&words, &[Ask::Text("six")], 0.5, 0.9).unwrap_err();
    assert!(matches!(refused, SemanticError::Missing { .. }), "{refused}");
}
