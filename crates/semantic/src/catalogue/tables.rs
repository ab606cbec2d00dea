//! The TOML format: one file, a table for each route.

use serde::Deserialize;
use toml::Spanned;

use super::draft::{At, Draft, DraftRoute, Problem, RawSettings};
use crate::SemanticError;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    settings: Option<RawSettings<Spanned<String>, Spanned<f64>, Spanned<usize>>>,
    #[serde(default)]
    off_topic: Vec<Spanned<String>>,
    #[serde(default)]
    route: Vec<RawRoute>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRoute {
    name: Spanned<String>,
    model: Option<Spanned<String>>,
    handler: Option<Spanned<String>>,
    #[serde(default)]
    utterances: Vec<Spanned<String>>,
    #[serde(default)]
    negatives: Vec<Spanned<String>>,
    threshold: Option<Spanned<f64>>,
    #[serde(default)]
    slices: Vec<Spanned<String>>,
}

pub(super) fn read(text: &str, file: &str) -> Result<Draft, SemanticError> {
    let lines = Lines::of(text);
    let refused = |key: &str, error: &toml::de::Error| {
        let line = error.span().map_or(1, |span| lines.line(span.start));
        Problem::new(line, key, error.message()).of_file(file)
    };
    let tables = toml::Deserializer::parse(text).map_err(|error| refused(".", &error))?;
    let raw: File = serde_path_to_error::deserialize(tables)
        .map_err(|error| refused(&visible(&error.path().to_string()), error.inner()))?;
    Ok(Draft {
        routes: raw.route.into_iter().map(|route| lines.route(route)).collect(),
        off_topic: lines.all(raw.off_topic),
        settings: raw.settings.map(|raw| raw.placed(|t| lines.at(t), |f| lines.at(f), |n| lines.at(n))),
    })
}

/// A path without the steps by which spans are read.
fn visible(path: &str) -> String {
    let steps = path.split('.').filter(|step| !step.starts_with("$__"));
    let shown = steps.collect::<Vec<_>>().join(".");
    if shown.is_empty() { ".".to_owned() } else { shown }
}

/// Where lines begin.
struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    fn of(text: &str) -> Self {
        let after = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { starts: std::iter::once(0).chain(after).collect() }
    }

    /// The one-based line of a byte.
    fn line(&self, byte: usize) -> usize {
        self.starts.partition_point(|start| *start <= byte)
    }

    fn at<T>(&self, value: Spanned<T>) -> At<T> {
        At { line: self.line(value.span().start), value: value.into_inner() }
    }

    fn all<T>(&self, values: Vec<Spanned<T>>) -> Vec<At<T>> {
        values.into_iter().map(|value| self.at(value)).collect()
    }

    fn route(&self, raw: RawRoute) -> DraftRoute {
        DraftRoute {
            name: self.at(raw.name),
            model: raw.model.map(|model| self.at(model)),
            handler: raw.handler.map(|handler| self.at(handler)),
            utterances: self.all(raw.utterances),
            negatives: self.all(raw.negatives),
            threshold: raw.threshold.map(|threshold| self.at(threshold)),
            slices: self.all(raw.slices),
        }
    }
}
