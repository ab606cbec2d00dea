//! A catalogue while it is read: every value with its line, so that what is wrong with it can be said with its place.

use std::collections::HashMap;

use serde::Deserialize;

use super::{Aggregation, Catalogue, Fusion, Mode, Route, Settings, Target};
use crate::SemanticError;
use crate::hybrid::DEFAULT_ALPHA;

/// A value and the one-based line it stands on.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) line: usize,
    pub(super) value: T,
}

/// What is wrong, and where; the file is known further up.
#[derive(Debug)]
pub(super) struct Problem {
    line: usize,
    key: String,
    problem: String,
}

impl Problem {
    pub(super) fn new(line: usize, key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { line, key: key.into(), problem: problem.into() }
    }

    pub(super) fn of_file(self, file: &str) -> SemanticError {
        let Self { line, key, problem } = self;
        SemanticError::Unreadable { file: file.to_owned(), line, key, problem }
    }
}

/// Settings as they are written. `T`, `F` and `N` are texts, numbers and counts, with or without their place.
#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    bound(deserialize = "T: Deserialize<'de>, F: Deserialize<'de>, N: Deserialize<'de>")
)]
pub(super) struct RawSettings<T, F, N> {
    mode: Option<T>,
    fusion: Option<T>,
    alpha: Option<F>,
    aggregation: Option<T>,
    top: Option<N>,
    floor_alpha: Option<F>,
    fallback: Option<T>,
}

impl<T, F, N> RawSettings<T, F, N> {
    /// The same with every value at its place.
    pub(super) fn placed(
        self,
        text: impl Fn(T) -> At<String>,
        number: impl Fn(F) -> At<f64>,
        count: impl Fn(N) -> At<usize>,
    ) -> DraftSettings {
        RawSettings {
            mode: self.mode.map(&text),
            fusion: self.fusion.map(&text),
            alpha: self.alpha.map(&number),
            aggregation: self.aggregation.map(&text),
            top: self.top.map(count),
            floor_alpha: self.floor_alpha.map(&number),
            fallback: self.fallback.map(&text),
        }
    }
}

/// Settings with the line of each.
pub(super) type DraftSettings = RawSettings<At<String>, At<f64>, At<usize>>;

/// A route as far as it was read.
#[derive(Debug)]
pub(super) struct DraftRoute {
    pub(super) name: At<String>,
    pub(super) model: Option<At<String>>,
    pub(super) handler: Option<At<String>>,
    pub(super) utterances: Vec<At<String>>,
    pub(super) negatives: Vec<At<String>>,
    pub(super) threshold: Option<At<f64>>,
    pub(super) slices: Vec<At<String>>,
}

/// A catalogue as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) routes: Vec<DraftRoute>,
    pub(super) off_topic: Vec<At<String>>,
    pub(super) settings: Option<DraftSettings>,
}

impl Draft {
    pub(super) fn finish(self, file: &str) -> Result<Catalogue, SemanticError> {
        self.checked().map_err(|problem| problem.of_file(file))
    }

    fn checked(self) -> Result<Catalogue, Problem> {
        if self.routes.is_empty() {
            return Err(Problem::new(1, "route", "a catalogue needs at least one route"));
        }
        let mut lines: HashMap<&str, usize> = HashMap::with_capacity(self.routes.len());
        for (place, DraftRoute { name, .. }) in self.routes.iter().enumerate() {
            if let Some(twin) = lines.insert(&name.value, name.line) {
                let problem = format!("{:?} is also the route of line {twin}", name.value);
                return Err(Problem::new(name.line, format!("route[{place}].name"), problem));
            }
        }
        let settings = self.settings.map(settings).transpose()?.unwrap_or_default();
        let routes = self.routes.into_iter().enumerate().map(|(place, route)| route.checked(place));
        Ok(Catalogue::new(routes.collect::<Result<_, _>>()?, texts(self.off_topic, "off_topic")?, settings))
    }
}

impl DraftRoute {
    fn checked(self, place: usize) -> Result<Route, Problem> {
        let key = |field: &str| format!("route[{place}].{field}");
        if self.utterances.is_empty() {
            let problem = format!("{:?} needs at least one exemplar", self.name.value);
            return Err(Problem::new(self.name.line, key("utterances"), problem));
        }
        let target = match (self.model, self.handler) {
            (Some(_), Some(handler)) => {
                let problem = "a route has a model or a handler, not both";
                return Err(Problem::new(handler.line, key("handler"), problem));
            }
            (Some(model), None) => Some(Target::Model(filled(model, &key("model"))?)),
            (None, Some(handler)) => Some(Target::Handler(filled(handler, &key("handler"))?)),
            (None, None) => None,
        };
        Ok(Route {
            name: filled(self.name, &key("name"))?,
            target,
            utterances: texts(self.utterances, &key("utterances"))?,
            negatives: texts(self.negatives, &key("negatives"))?,
            threshold: self.threshold.map(|t| share(&t, &key("threshold"))).transpose()?,
            slices: texts(self.slices, &key("slices"))?,
        })
    }
}

fn settings(raw: DraftSettings) -> Result<Settings, Problem> {
    let RawSettings { mode, fusion, alpha, aggregation, top, floor_alpha, fallback } = raw;
    let fallback = fallback.map(|name| filled(name, "settings.fallback")).transpose()?;
    if let Some(alpha) = floor_alpha.as_ref().filter(|alpha| !(alpha.value > 0.0 && alpha.value < 1.0)) {
        let problem = format!("{} is not a share between 0 and 1", alpha.value);
        return Err(Problem::new(alpha.line, "settings.floor_alpha", problem));
    }
    Ok(Settings {
        mode: mode_of(mode, fusion, alpha)?,
        aggregation: aggregation_of(aggregation, top)?,
        floor_alpha: floor_alpha.map(|alpha| alpha.value),
        fallback,
    })
}

fn mode_of(
    mode: Option<At<String>>,
    fusion: Option<At<String>>,
    alpha: Option<At<f64>>,
) -> Result<Mode, Problem> {
    let hybrid = mode.as_ref().is_some_and(|mode| mode.value == "hybrid");
    if let Some(fusion) = fusion.as_ref().filter(|_| !hybrid) {
        return Err(Problem::new(fusion.line, "settings.fusion", "only the mode \"hybrid\" fuses"));
    }
    let ranks = fusion.as_ref().is_some_and(|fusion| fusion.value == "rrf");
    if let Some(alpha) = alpha.as_ref().filter(|_| !hybrid || ranks) {
        return Err(Problem::new(alpha.line, "settings.alpha", "only the fusion \"convex\" has a share"));
    }
    match mode.as_ref().map(|mode| mode.value.as_str()) {
        None | Some("dense") => Ok(Mode::Dense),
        Some("sparse") => Ok(Mode::Sparse),
        Some("hybrid") => Ok(Mode::Hybrid(fusion_of(fusion, alpha)?)),
        Some(_) => Err(unknown(mode, "settings.mode", "dense, sparse or hybrid")),
    }
}

fn fusion_of(fusion: Option<At<String>>, alpha: Option<At<f64>>) -> Result<Fusion, Problem> {
    match fusion.as_ref().map(|fusion| fusion.value.as_str()) {
        Some("rrf") => Ok(Fusion::ReciprocalRank),
        None | Some("convex") => {
            let alpha = alpha.map(|alpha| share(&alpha, "settings.alpha")).transpose()?;
            Ok(Fusion::Convex { alpha: alpha.unwrap_or(DEFAULT_ALPHA) })
        }
        Some(_) => Err(unknown(fusion, "settings.fusion", "convex or rrf")),
    }
}

fn aggregation_of(name: Option<At<String>>, top: Option<At<usize>>) -> Result<Aggregation, Problem> {
    match (name.as_ref().map(|name| name.value.as_str()), top) {
        (None | Some("max"), None) => Ok(Aggregation::Max),
        (None | Some("max"), Some(top)) => {
            Err(Problem::new(top.line, "settings.top", "only the aggregation \"mean\" has a top"))
        }
        (Some("mean"), Some(top)) if top.value == 0 => {
            Err(Problem::new(top.line, "settings.top", "a mean needs at least one exemplar"))
        }
        (Some("mean"), top) => Ok(Aggregation::TopMean(top.map_or(DEFAULT_TOP, |top| top.value))),
        (Some(_), _) => Err(unknown(name, "settings.aggregation", "max or mean")),
    }
}

/// Exemplars in a mean of which the file does not say how many.
const DEFAULT_TOP: usize = 3;

fn unknown(found: Option<At<String>>, key: &str, expected: &str) -> Problem {
    let (line, value) = found.map_or((1, String::new()), |found| (found.line, found.value));
    Problem::new(line, key, format!("{value:?} is none of {expected}"))
}

fn filled(text: At<String>, key: &str) -> Result<String, Problem> {
    if text.value.trim().is_empty() {
        return Err(Problem::new(text.line, key, "is blank"));
    }
    Ok(text.value)
}

fn texts(texts: Vec<At<String>>, key: &str) -> Result<Vec<String>, Problem> {
    texts.into_iter().enumerate().map(|(i, text)| filled(text, &format!("{key}[{i}]"))).collect()
}

fn share(number: &At<f64>, key: &str) -> Result<f64, Problem> {
    if !(0.0..=1.0).contains(&number.value) {
        return Err(Problem::new(number.line, key, format!("{} is not in [0, 1]", number.value)));
    }
    Ok(number.value)
}
