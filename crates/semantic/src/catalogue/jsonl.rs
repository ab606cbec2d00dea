//! The JSONL format: one object a line, so that exemplars can be appended, filtered and streamed.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::draft::{At, Draft, DraftRoute, Problem, RawSettings};
use crate::SemanticError;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    route: Option<String>,
    utterance: Option<String>,
    negative: Option<String>,
    off_topic: Option<String>,
    model: Option<String>,
    handler: Option<String>,
    threshold: Option<f64>,
    slices: Option<Vec<String>>,
    settings: Option<RawSettings<String, f64, usize>>,
}

/// The objects of the lines that are not blank, each at its one-based line.
pub(super) fn objects<T: DeserializeOwned>(text: &str) -> impl Iterator<Item = Result<At<T>, Problem>> {
    let filled = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    filled.map(|(at, line)| {
        let mut json = serde_json::Deserializer::from_str(line);
        let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let problem = error.inner().to_string();
            // A question mark stands for a place that is not known, as in half an object; a key may have no name.
            let path = error.path().to_string();
            let key = if path == "?" || path.is_empty() { "." } else { path.as_str() };
            Problem::new(at + 1, key, without_place(&problem))
        })?;
        json.end().map_err(|error| Problem::new(at + 1, ".", without_place(&error.to_string())))?;
        Ok(At { line: at + 1, value })
    })
}

/// Every object has a line to itself, so the line that serde_json counts is always the first.
fn without_place(problem: &str) -> &str {
    problem.split(" at line 1 column").next().unwrap_or(problem)
}

pub(super) fn read(text: &str, file: &str) -> Result<Draft, SemanticError> {
    let mut reader = Reader::default();
    for object in objects(text) {
        object.and_then(|line| reader.add(line)).map_err(|problem| problem.of_file(file))?;
    }
    Ok(reader.draft)
}

#[derive(Default)]
struct Reader {
    draft: Draft,
    places: HashMap<String, usize>,
}

impl Reader {
    fn add(&mut self, At { line, value }: At<Line>) -> Result<(), Problem> {
        let at = |value: String| At { line, value };
        let Line { route, utterance, negative, off_topic, model, handler, threshold, slices, settings } =
            value;
        let described = model.is_some() || handler.is_some() || threshold.is_some() || slices.is_some();
        let kinds =
            [utterance.is_some(), negative.is_some(), off_topic.is_some(), described, settings.is_some()];
        if kinds.iter().filter(|given| **given).count() != 1 {
            let problem = "a line holds one utterance, one negative, one off_topic, settings, or what else is known \
                           of a route";
            return Err(Problem::new(line, ".", problem));
        }
        if let Some(query) = off_topic {
            self.draft.off_topic.push(at(query));
            return without_route(line, route.as_deref());
        }
        if let Some(raw) = settings {
            let placed = raw.placed(at, |value| At { line, value }, |value| At { line, value });
            if self.draft.settings.replace(placed).is_some() {
                return Err(Problem::new(line, "settings", "stands in the file a second time"));
            }
            return without_route(line, route.as_deref());
        }
        let Some(name) = route else {
            return Err(Problem::new(line, "route", "is missing"));
        };
        let route = self.route(at(name));
        route.utterances.extend(utterance.map(at));
        route.negatives.extend(negative.map(at));
        once(&mut route.model, model.map(at), "model")?;
        once(&mut route.handler, handler.map(at), "handler")?;
        once(&mut route.threshold, threshold.map(|value| At { line, value }), "threshold")?;
        route.slices.extend(slices.into_iter().flatten().map(at));
        Ok(())
    }

    fn route(&mut self, name: At<String>) -> &mut DraftRoute {
        let next = self.draft.routes.len();
        let place = *self.places.entry(name.value.clone()).or_insert(next);
        if place == next {
            self.draft.routes.push(DraftRoute {
                name,
                model: None,
                handler: None,
                utterances: Vec::new(),
                negatives: Vec::new(),
                threshold: None,
                slices: Vec::new(),
            });
        }
        &mut self.draft.routes[place]
    }
}

fn without_route(line: usize, route: Option<&str>) -> Result<(), Problem> {
    match route {
        Some(_) => Err(Problem::new(line, "route", "does not belong on this line")),
        None => Ok(()),
    }
}

fn once<T>(slot: &mut Option<At<T>>, value: Option<At<T>>, key: &str) -> Result<(), Problem> {
    let Some(value) = value else { return Ok(()) };
    let line = value.line;
    match slot.replace(value) {
        Some(first) => Err(Problem::new(line, key, format!("was given on line {} already", first.line))),
        None => Ok(()),
    }
}
