//! A catalogue of routes: what each is called, who serves it, and the exemplars that say what belongs to it.
//! Parsed from text in two formats; no file is opened here.

mod draft;
mod jsonl;
mod labelled;
mod tables;

use sha2::{Digest, Sha256};

use crate::SemanticError;

pub use labelled::{Labelled, labelled_queries};

/// Characters of a version: 64 bits of a sha256 in hexadecimal.
const VERSION_CHARS: usize = 16;

/// Who serves the queries of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A model, by name.
    Model(String),
    /// Something else that the caller knows by this name.
    Handler(String),
}

/// One intent.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Its name, unique in the catalogue.
    pub name: String,
    /// Who serves it; the caller decides where there is none.
    pub target: Option<Target>,
    /// Exemplars: queries that belong to it. At least one.
    pub utterances: Vec<String>,
    /// Queries that look as if they belonged to it and do not.
    pub negatives: Vec<String>,
    /// The least score of a match, in [0, 1]; stands above any fitted one.
    pub threshold: Option<f64>,
    /// Slices that its queries belong to.
    pub slices: Vec<String>,
}

/// How the similarities of a route's exemplars become its score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregation {
    /// The nearest exemplar.
    Max,
    /// The mean of the route's own nearest exemplars, this many (at least 1) or all it has. Of its own, not of
    /// those among the nearest of all routes, which would favour a route with one lucky hit (methods section 7).
    TopMean(usize),
}

impl Aggregation {
    /// How many exemplars of a route it looks at.
    pub fn depth(self) -> usize {
        match self {
            Self::Max => 1,
            Self::TopMean(depth) => depth.max(1),
        }
    }
}

/// How two rankings of the routes become one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fusion {
    /// `alpha` of the dense score and the rest of the sparse one, scaled to [0, 1] over the routes.
    Convex {
        /// Share of the dense score, in [0, 1].
        alpha: f64,
    },
    /// Reciprocal ranks.
    ReciprocalRank,
}

/// What queries and exemplars are compared by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// The cosine of their vectors.
    Dense,
    /// The words they share, by BM25.
    Sparse,
    /// Both.
    Hybrid(Fusion),
}

impl Mode {
    /// A stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Sparse => "sparse",
            Self::Hybrid(_) => "hybrid",
        }
    }

    pub(crate) fn is_dense(self) -> bool {
        self != Self::Sparse
    }

    pub(crate) fn is_sparse(self) -> bool {
        self != Self::Dense
    }
}

/// What holds for all routes of a catalogue.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What is compared.
    pub mode: Mode,
    /// How exemplars become a route's score.
    pub aggregation: Aggregation,
    /// The share of off-topic queries that may pass the floor, in (0, 1); `None`: there is no floor.
    pub floor_alpha: Option<f64>,
    /// Who serves a query that no route takes; the caller decides where there is none.
    pub fallback: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { mode: Mode::Dense, aggregation: Aggregation::Max, floor_alpha: None, fallback: None }
    }
}

/// Routes that were found to be well-formed. Whether they make sense is for [`crate::check`] to say.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalogue {
    routes: Vec<Route>,
    off_topic: Vec<String>,
    settings: Settings,
    version: String,
}

impl Catalogue {
    /// Reads the TOML format: `[settings]`, `off_topic = [...]` and one `[[route]]` for each route. `file` is what
    /// errors call the text.
    ///
    /// # Errors
    /// With file, line and key where the text is not TOML, holds an unknown key or an impossible value, or where
    /// routes contradict each other by form: one name twice, none at all, one without exemplars.
    pub fn from_toml(text: &str, file: &str) -> Result<Self, SemanticError> {
        tables::read(text, file)?.finish(file)
    }

    /// Reads the JSONL format: one object a line, blank lines allowed. `{"route", "utterance"}` and
    /// `{"route", "negative"}` add a text to a route, `{"route", "model" | "handler", "threshold", "slices"}` says
    /// what else is known of it, `{"off_topic"}` adds an off-topic query, `{"settings"}` comes once at most. Routes
    /// stand in the order in which they are first named.
    ///
    /// # Errors
    /// As [`Self::from_toml`].
    pub fn from_jsonl(text: &str, file: &str) -> Result<Self, SemanticError> {
        jsonl::read(text, file)?.finish(file)
    }

    fn new(routes: Vec<Route>, off_topic: Vec<String>, settings: Settings) -> Self {
        let version = version(&routes, &off_topic, &settings);
        Self { routes, off_topic, settings, version }
    }

    /// The routes, in the order of the file.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Queries that belong to no route.
    pub fn off_topic(&self) -> &[String] {
        &self.off_topic
    }

    /// What holds for all routes.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Sixteen hexadecimal digits of a sha256 over all content: equal for equal content, in whichever format.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The place of a route among [`Self::routes`].
    pub fn position(&self, name: &str) -> Option<usize> {
        self.routes.iter().position(|route| route.name == name)
    }

    /// Exemplars of all routes together.
    pub fn exemplar_count(&self) -> usize {
        self.routes.iter().map(|route| route.utterances.len()).sum()
    }

    /// The texts that are compared with queries, in the order in which their vectors are expected: the exemplars of
    /// the first route, of the second and so on, then the negatives of the first, of the second and so on.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let exemplars = self.routes.iter().flat_map(|route| &route.utterances);
        let negatives = self.routes.iter().flat_map(|route| &route.negatives);
        exemplars.chain(negatives).map(String::as_str)
    }

    /// Each exemplar with the place of its route, in the order of [`Self::texts`].
    pub fn exemplars(&self) -> impl Iterator<Item = (usize, &str)> {
        let of_route = |(place, route)| {
            let route: &Route = route;
            route.utterances.iter().map(move |text| (place, text.as_str()))
        };
        self.routes.iter().enumerate().flat_map(of_route)
    }

    /// The catalogue without the exemplars whose place among [`Self::exemplars`] is held out. A route may lose all
    /// it has: nothing then matches it.
    pub(crate) fn without(&self, held_out: impl Fn(usize) -> bool) -> Self {
        let mut place = 0;
        let mut kept = |_: &String| {
            place += 1;
            !held_out(place - 1)
        };
        let mut routes = self.routes.clone();
        for route in &mut routes {
            route.utterances.retain(&mut kept);
        }
        Self::new(routes, self.off_topic.clone(), self.settings.clone())
    }
}

/// A digest of everything a catalogue says. Every text goes in with its length and every list with its own: no two
/// catalogues write the same bytes.
fn version(routes: &[Route], off_topic: &[String], settings: &Settings) -> String {
    let mut digest = Sha256::new();
    let mut text = |text: &str| {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    };
    text(&format!("{:?}", (settings.mode, settings.aggregation, settings.floor_alpha, &settings.fallback)));
    for route in routes {
        text(&route.name);
        text(&format!("{:?}", (&route.target, route.threshold)));
        for list in [&route.utterances, &route.negatives, &route.slices] {
            text(&list.len().to_string());
            list.iter().for_each(|entry| text(entry));
        }
    }
    off_topic.iter().for_each(|entry| text(entry));
    let mut version = hex::encode(digest.finalize());
    version.truncate(VERSION_CHARS);
    version
}

#[cfg(test)]
mod tests;
