//! Catalogues of intents in both formats and labelled queries: what is read has the same content when it is written
//! in the other format, and a matcher of it gives probabilities.

use std::fmt::Write as _;
use std::sync::Arc;

use semantic::{
    Aggregation, Ask, Catalogue, FitOptions, Fusion, Labelled, Matcher, Mode, Scratch, SemanticError,
    Settings, Target, labelled_queries,
};
use serde_json::{Map, Value, json};

/// Texts beyond which a matcher takes too long to be built for each input.
const MOST_TEXTS: usize = 24;
const MOST_BYTES: usize = 2_000;

/// Reads the bytes as everything a catalogue or a file of labelled queries can be.
pub fn decode(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for read in [Catalogue::from_toml(&text, "intents"), Catalogue::from_jsonl(&text, "intents")] {
        match read {
            Ok(catalogue) => holds(catalogue),
            Err(error) => is_told(&error, &text),
        }
    }
    match labelled_queries(&text, "intents") {
        Ok(queries) => queries.iter().for_each(is_read_again),
        Err(error) => is_told(&error, &text),
    }
}

fn is_told(error: &SemanticError, text: &str) {
    let SemanticError::Unreadable { line, key, problem, .. } = error else {
        panic!("a text is refused for what it does not say: {error}");
    };
    assert!((1..=text.split('\n').count()).contains(line), "{error}");
    assert!(!key.is_empty() && !problem.is_empty(), "{error}");
}

fn is_read_again(query: &Labelled) {
    let line = json!({ "query": query.query, "route": query.route }).to_string();
    assert_eq!(labelled_queries(&line, "again").ok().as_deref(), Some(std::slice::from_ref(query)));
}

fn holds(catalogue: Catalogue) {
    let share = |number: f64| (0.0..=1.0).contains(&number);
    assert!(!catalogue.routes().is_empty() && catalogue.version().len() == 16);
    for (place, route) in catalogue.routes().iter().enumerate() {
        assert!(!route.utterances.is_empty() && route.threshold.is_none_or(share));
        assert_eq!(catalogue.position(&route.name), Some(place), "names are unique");
    }
    assert!(
        catalogue
            .texts()
            .chain(catalogue.off_topic().iter().map(String::as_str))
            .all(|t| !t.trim().is_empty())
    );
    let lines = jsonl(&catalogue);
    let again = Catalogue::from_jsonl(&lines, "again");
    assert_eq!(again.as_ref(), Ok(&catalogue), "{lines}");
    let texts = catalogue.texts().count() + catalogue.off_topic().len();
    if texts <= MOST_TEXTS && lines.len() <= MOST_BYTES {
        matches(catalogue);
    }
}

/// The catalogue in the other format.
fn jsonl(catalogue: &Catalogue) -> String {
    let mut lines = String::new();
    let mut line = |value: Value| {
        let _ = writeln!(lines, "{value}");
    };
    for route in catalogue.routes() {
        let name = &route.name;
        route.utterances.iter().for_each(|text| line(json!({ "route": name, "utterance": text })));
        route.negatives.iter().for_each(|text| line(json!({ "route": name, "negative": text })));
        let mut known =
            Map::from_iter([("route".to_owned(), json!(name)), ("slices".to_owned(), json!(route.slices))]);
        match &route.target {
            Some(Target::Model(model)) => _ = known.insert("model".to_owned(), json!(model)),
            Some(Target::Handler(handler)) => _ = known.insert("handler".to_owned(), json!(handler)),
            None => {}
        }
        if let Some(threshold) = route.threshold {
            known.insert("threshold".to_owned(), json!(threshold));
        }
        line(Value::Object(known));
    }
    catalogue.off_topic().iter().for_each(|text| line(json!({ "off_topic": text })));
    line(json!({ "settings": settings(catalogue.settings()) }));
    lines
}

fn settings(settings: &Settings) -> Value {
    let mut written = Map::from_iter([("mode".to_owned(), json!(settings.mode.as_str()))]);
    let mut put = |key: &str, value: Value| _ = written.insert(key.to_owned(), value);
    match settings.mode {
        Mode::Hybrid(Fusion::Convex { alpha }) => put("alpha", json!(alpha)),
        Mode::Hybrid(Fusion::ReciprocalRank) => put("fusion", json!("rrf")),
        Mode::Dense | Mode::Sparse => {}
    }
    if let Aggregation::TopMean(top) = settings.aggregation {
        put("aggregation", json!("mean"));
        put("top", json!(top));
    }
    if let Some(alpha) = settings.floor_alpha {
        put("floor_alpha", json!(alpha));
    }
    if let Some(fallback) = &settings.fallback {
        put("fallback", json!(fallback));
    }
    Value::Object(written)
}

fn matches(catalogue: Catalogue) {
    let mut queries: Vec<String> = catalogue.texts().map(str::to_owned).collect();
    queries.extend(["", "I was charged twice", "\u{0}\u{fffd}"].map(str::to_owned));
    let matcher = match Matcher::without_encoder(Arc::new(catalogue), &FitOptions::default()) {
        Ok(matcher) => matcher,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let mut scratch = Scratch::default();
    for query in &queries {
        match matcher.match_query(Ask::Text(query), &mut scratch) {
            Ok(found) => {
                assert!((0.0..=1.0).contains(&found.probability), "{query:?}: {found:?}");
                assert!(
                    found.score.is_finite() && found.p_value.is_none_or(|p| p > 0.0 && p <= 1.0),
                    "{found:?}"
                );
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}
