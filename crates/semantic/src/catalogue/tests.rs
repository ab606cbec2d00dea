//! Both formats, what they refuse and where, and that nothing makes them panic.

use super::*;
use proptest::prelude::*;

const TOML: &str = r#"
off_topic = ["will it rain"]

[settings]
mode = "hybrid"
alpha = 0.6
aggregation = "mean"
top = 2
floor_alpha = 0.1
fallback = "large"

[[route]]
name = "billing"
handler = "desk"
utterances = ["pay the invoice", "refund"]
negatives = ["sum the invoices"]
threshold = 0.4
slices = ["money"]

[[route]]
name = "code"
model = "coder"
utterances = ["fix the bug"]
"#;

const JSONL: &str = r#"{"settings": {"mode": "hybrid", "alpha": 0.6, "aggregation": "mean", "top": 2, "floor_alpha": 0.1, "fallback": "large"}}
{"route": "billing", "utterance": "pay the invoice"}
{"route": "code", "utterance": "fix the bug"}

{"route": "billing", "utterance": "refund"}
{"route": "billing", "negative": "sum the invoices"}
{"route": "billing", "handler": "desk", "threshold": 0.4, "slices": ["money"]}
{"route": "code", "model": "coder"}
{"off_topic": "will it rain"}
"#;

fn toml_error(text: &str) -> String {
    Catalogue::from_toml(text, "routes.toml").unwrap_err().to_string()
}

fn jsonl_error(text: &str) -> String {
    Catalogue::from_jsonl(text, "routes.jsonl").unwrap_err().to_string()
}

#[test]
fn both_formats_say_the_same() {
    let (toml, jsonl) =
        (Catalogue::from_toml(TOML, "a").unwrap(), Catalogue::from_jsonl(JSONL, "b").unwrap());
    assert_eq!(toml, jsonl);
    assert_eq!(toml.settings().mode, Mode::Hybrid(Fusion::Convex { alpha: 0.6 }));
    assert_eq!(toml.settings().aggregation, Aggregation::TopMean(2));
    assert_eq!(toml.routes()[0].target, Some(Target::Handler("desk".to_owned())));
    assert_eq!(
        toml.texts().collect::<Vec<_>>(),
        ["pay the invoice", "refund", "fix the bug", "sum the invoices"]
    );
    assert_eq!((toml.position("code"), toml.position("x"), toml.exemplar_count()), (Some(1), None, 3));
    assert_eq!(toml.version().len(), VERSION_CHARS);
}

#[test]
fn every_change_changes_the_version() {
    let version = |text: &str| Catalogue::from_toml(text, "a").unwrap().version().to_owned();
    let changes = [
        ("refund", "refunds"),
        ("0.4", "0.5"),
        ("coder", "code"),
        ("model =", "handler ="),
        ("will it rain", "rain"),
        ("top = 2", "top = 3"),
        ("\"money\"", "\"m\""),
        (
            "utterances = [\"pay the invoice\", \"refund\"]",
            "utterances = [\"pay the invoice\", \"refund\", \"x\"]",
        ),
        ("fallback = \"large\"", ""),
    ];
    for (from, to) in changes {
        assert_ne!(version(TOML), version(&TOML.replace(from, to)), "{from}");
    }
    // Where a text stands matters, not only that it does.
    let moved = TOML
        .replace("negatives = [\"sum the invoices\"]", "")
        .replace("\"refund\"]", "\"refund\", \"sum the invoices\"]");
    assert_ne!(version(TOML), version(&moved));
    assert_eq!(version(TOML), version(&format!("# a comment\n{TOML}")));
}

#[test]
fn without_keeps_the_rest_in_place() {
    let less = Catalogue::from_toml(TOML, "a").unwrap().without(|place| place != 1);
    assert_eq!(less.exemplars().collect::<Vec<_>>(), [(0, "refund")]);
    assert!(less.routes()[1].utterances.is_empty() && less.routes()[0].negatives.len() == 1);
}

#[test]
fn toml_errors_name_line_and_key() {
    let cases = [
        (
            "[[route]]\nname = \"a\"\nutterances = [\"x\"]\ncolour = 1",
            "line 4: route[0].colour: unknown field `colour`",
        ),
        (
            "[[route]]\nname = \"a\"\nutterances = [\"x\",\n  3]",
            "line 4: route[0].utterances[1]: invalid type",
        ),
        (
            "[[route]]\nname = \"a\"\nutterances = [\"x\",\n  \" \"]",
            "line 4: route[0].utterances[1]: is blank",
        ),
        ("[[route]]\nutterances = [\"x\"]", "line 1: route[0]: missing field `name`"),
        ("[[route]]\nname = \"a\"", "line 2: route[0].utterances: \"a\" needs at least one exemplar"),
        ("", "line 1: route: a catalogue needs at least one route"),
        ("[[route]\n", "line 1: .: "),
        (
            "[[route]]\nname = \"a\"\nutterances = [\"x\"]\n[[route]]\nname = \"a\"\nutterances = [\"y\"]",
            "line 5: route[1].name: \"a\" is also the route of line 2",
        ),
        (
            "[[route]]\nname = \"a\"\nutterances = [\"x\"]\nthreshold = 1.5",
            "line 4: route[0].threshold: 1.5 is not in [0, 1]",
        ),
        (
            "[[route]]\nname = \"a\"\nutterances = [\"x\"]\nmodel = \"m\"\nhandler = \"h\"",
            "line 5: route[0].handler: a route has a model or a handler, not both",
        ),
    ];
    for (text, expected) in cases {
        let found = toml_error(text);
        assert!(
            found.starts_with("routes.toml, ") && found.contains(expected),
            "{found}\nexpected {expected}"
        );
    }
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    let cases = [
        ("mode = \"fast\"", "settings.mode: \"fast\" is none of dense, sparse or hybrid"),
        ("fusion = \"rrf\"", "settings.fusion: only the mode \"hybrid\" fuses"),
        (
            "mode = \"hybrid\"\nfusion = \"rrf\"\nalpha = 0.5",
            "line 4: settings.alpha: only the fusion \"convex\"",
        ),
        ("mode = \"hybrid\"\nfusion = \"x\"", "line 3: settings.fusion: \"x\" is none of convex or rrf"),
        ("mode = \"hybrid\"\nalpha = -0.1", "settings.alpha: -0.1 is not in [0, 1]"),
        ("top = 3", "settings.top: only the aggregation \"mean\" has a top"),
        ("aggregation = \"mean\"\ntop = 0", "settings.top: a mean needs at least one exemplar"),
        ("aggregation = \"sum\"", "settings.aggregation: \"sum\" is none of max or mean"),
        ("floor_alpha = 1.0", "settings.floor_alpha: 1 is not a share between 0 and 1"),
        ("fallback = \"\"", "settings.fallback: is blank"),
        ("colour = 1", "settings.colour: unknown field"),
    ];
    for (settings, expected) in cases {
        let found =
            toml_error(&format!("[settings]\n{settings}\n[[route]]\nname = \"a\"\nutterances = [\"x\"]"));
        assert!(found.contains(expected), "{found}\nexpected {expected}");
    }
}

#[test]
fn jsonl_errors_name_line_and_key() {
    let good = "{\"route\": \"a\", \"utterance\": \"x\"}\n";
    let cases = [
        ("{\"route\": \"a\", \"uterance\": \"x\"}", "line 2: uterance: unknown field `uterance`"),
        ("\n{\"route\": \"a\", \"utterance\": 3}", "line 3: utterance: invalid type: integer `3`"),
        ("{\"utterance\": \"x\"}", "line 2: route: is missing"),
        ("{\"route\": \"a\"}", "line 2: .: a line holds one utterance"),
        (
            "{\"route\": \"a\", \"utterance\": \"x\", \"negative\": \"y\"}",
            "line 2: .: a line holds one utterance",
        ),
        ("{\"route\": \"a\", \"off_topic\": \"x\"}", "line 2: route: does not belong"),
        ("{\"off_topic\": \" \"}", "line 2: off_topic[0]: is blank"),
        (
            "{\"route\": \"b\", \"model\": \"m\"}",
            "line 2: route[1].utterances: \"b\" needs at least one exemplar",
        ),
        (
            "{\"route\": \"a\", \"model\": \"m\"}\n{\"route\": \"a\", \"model\": \"n\"}",
            "line 3: model: was given on line 2 already",
        ),
        ("{\"settings\": {}}\n{\"settings\": {}}", "line 3: settings: stands in the file a second time"),
        ("{\"settings\": {\"floor_alpha\": 2}}", "line 2: settings.floor_alpha: 2 is not a share"),
        ("{\"route\": \"a\"", "line 2: .: "),
        ("{\"off_topic\": \"x\"} 3", "line 2: .: trailing characters"),
    ];
    for (text, expected) in cases {
        let found = jsonl_error(&format!("{good}{text}"));
        assert!(
            found.starts_with("routes.jsonl, ") && found.contains(expected),
            "{found}\nexpected {expected}"
        );
    }
}

#[test]
fn labelled_queries_are_read_line_by_line() {
    let found =
        labelled_queries("{\"query\": \"x\", \"route\": \"a\"}\n\n{\"query\": \"y\", \"route\": null}", "q");
    let queries = found.unwrap();
    assert_eq!(queries[1], Labelled { query: "y".to_owned(), route: None });
    let refused =
        labelled_queries("{\"query\": \"x\", \"label\": \"a\"}", "q.jsonl").unwrap_err().to_string();
    assert!(refused.starts_with("q.jsonl, line 1: label: unknown field"), "{refused}");
}

/// A file of ours with one stretch of it replaced by something else.
fn spoilt(file: &'static str) -> impl Strategy<Value = String> {
    let characters: Vec<char> = file.chars().collect();
    let n = characters.len();
    let filler = prop_oneof![
        Just("\n".to_owned()),
        Just("\"".to_owned()),
        Just("[[route]]\n".to_owned()),
        "\\PC{0,8}"
    ];
    (0..n, 0..20usize, filler).prop_map(move |(at, length, filler)| {
        let head: String = characters[..at].iter().collect();
        let tail: String = characters[(at + length).min(n)..].iter().collect();
        head + &filler + &tail
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn any_text_is_read_or_refused_with_its_place(text in "\\PC{0,200}") {
        read_or_refused(&text)?;
    }

    #[test]
    fn spoilt_files_are_read_or_refused_with_their_place(toml in spoilt(TOML), jsonl in spoilt(JSONL)) {
        read_or_refused(&toml)?;
        read_or_refused(&jsonl)?;
    }
}

/// Twelve thousand inputs go through here, each through both readers.
fn read_or_refused(text: &str) -> Result<(), TestCaseError> {
    for read in [Catalogue::from_toml(text, "f"), Catalogue::from_jsonl(text, "f")] {
        match read {
            Ok(catalogue) => prop_assert!(catalogue.exemplar_count() > 0),
            Err(SemanticError::Unreadable { line, .. }) => {
                prop_assert!(line >= 1 && line <= text.lines().count() + 1, "{}", line);
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
    Ok(())
}
