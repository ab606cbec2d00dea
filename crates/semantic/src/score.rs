//! How near a query is to each route: similarities of exemplars and negatives into one score a route. Whether the
//! best score is good enough is decided in [`crate::Matcher`].

mod routes;

use std::ops::Range;
use std::sync::Arc;

use crate::index::{Index, SearchScratch, Tops, normalise};
use crate::sparse::Bm25;
use crate::{Aggregation, Catalogue, Embed, SemanticError};

use routes::RouteScores;

/// What is asked about: a query's text, its vector, or both, as the catalogue's mode needs it.
#[derive(Debug, Clone, Copy)]
pub enum Ask<'a> {
    /// A text; the scorer's own embedding reads it where vectors are compared.
    Text(&'a str),
    /// A vector of the encoder that embedded the catalogue; its length does not matter.
    Vector(&'a [f32]),
    /// A vector, and the text for the words.
    Both(&'a str, &'a [f32]),
}

impl<'a> Ask<'a> {
    fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) | Self::Both(text, _) => Some(text),
            Self::Vector(_) => None,
        }
    }
}

/// A route and how near a query is to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Place of the route in the catalogue.
    pub route: usize,
    /// The aggregated similarity: a cosine in [-1, 1], a share of words in [0, 1], or the catalogue's mixture of
    /// both.
    pub score: f64,
}

/// What is known of a query before anything is decided.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ranking {
    /// The best route that no negative speaks against and that has anything in common with the query.
    pub best: Option<Scored>,
    /// The next one.
    pub runner_up: Option<Scored>,
    /// Similarity of the nearest exemplar of any route; 0 where there is none.
    pub nearest: f64,
}

/// Buffers of a match, used again by the next.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    vector: Vec<f32>,
    search: SearchScratch,
    scores: Vec<f64>,
    shares: Vec<f32>,
    dense: Tops,
    sparse: Tops,
}

/// A catalogue with what its exemplars are compared by.
#[derive(Clone)]
pub struct Scorer {
    catalogue: Arc<Catalogue>,
    embedder: Option<Arc<dyn Embed>>,
    vectors: Option<Vectors>,
    words: Option<Bm25>,
    /// Rows of each route's exemplars, then of each route's negatives.
    groups: Vec<Range<usize>>,
}

/// What vectors are searched by.
#[derive(Clone)]
enum Vectors {
    Exact(Index),
    #[cfg(feature = "ann")]
    Approximate(Arc<crate::ann::Approximate>),
}

impl Scorer {
    /// A scorer that embeds the catalogue now and queries later.
    ///
    /// # Errors
    /// When the embedding gives vectors of another length than it says, or numbers that are not finite.
    pub fn new(catalogue: Arc<Catalogue>, embedder: Arc<dyn Embed>) -> Result<Self, SemanticError> {
        let mut values = Vec::new();
        if catalogue.settings().mode.is_dense() {
            let mut vector = Vec::new();
            for text in catalogue.texts() {
                embedder.embed(text, &mut vector);
                values.extend_from_slice(&vector);
            }
        }
        let mut scorer = Self::with_vectors(catalogue, embedder.dimension(), values)?;
        scorer.embedder = Some(embedder);
        Ok(scorer)
    }

    /// A scorer for vectors that were made elsewhere: `values` holds those of [`Catalogue::texts`], in that order.
    /// Queries then bring their vector too. A catalogue that compares by words alone needs none of them.
    ///
    /// # Errors
    /// When there is not one vector of `dimension` for each text, or one holds a number that is not finite.
    pub fn with_vectors(
        catalogue: Arc<Catalogue>,
        dimension: usize,
        mut values: Vec<f32>,
    ) -> Result<Self, SemanticError> {
        let routes = catalogue.routes();
        let exemplars = routes.iter().map(|route| route.utterances.len());
        let sizes: Vec<usize> = exemplars.chain(routes.iter().map(|route| route.negatives.len())).collect();
        let mode = catalogue.settings().mode;
        let vectors = if mode.is_dense() {
            values.chunks_mut(dimension.max(1)).for_each(normalise);
            Some(Vectors::new(Index::new(dimension, &values, &sizes)?))
        } else {
            None
        };
        let words = mode.is_sparse().then(|| Bm25::new(catalogue.texts()));
        let mut end = 0;
        let grow = |size: &usize| {
            end += size;
            end - size..end
        };
        let groups = sizes.iter().map(grow).collect();
        Ok(Self { catalogue, embedder: None, vectors, words, groups })
    }

    /// The catalogue.
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }

    /// What embeds queries, where the scorer does it.
    pub fn embedder(&self) -> Option<&Arc<dyn Embed>> {
        self.embedder.as_ref()
    }

    /// The rows of the exact index in the order of [`Catalogue::texts`]; `None` where vectors are not compared.
    pub fn index(&self) -> Option<&Index> {
        match self.vectors.as_ref()? {
            Vectors::Exact(index) => Some(index),
            #[cfg(feature = "ann")]
            Vectors::Approximate(search) => Some(search.index()),
        }
    }

    /// Ranks the routes for a query.
    ///
    /// A route's score aggregates its own nearest exemplars. A route one of whose negatives is nearer to the query
    /// than every one of its exemplars is out.
    ///
    /// # Errors
    /// When the query does not bring what the catalogue's mode compares, or its vector does not fit.
    pub fn rank(&self, ask: Ask<'_>, scratch: &mut Scratch) -> Result<Ranking, SemanticError> {
        self.rank_without(ask, None, scratch)
    }

    /// As [`Self::rank`], as if one exemplar were not there.
    pub(crate) fn rank_without(
        &self,
        ask: Ask<'_>,
        excluded: Option<usize>,
        scratch: &mut Scratch,
    ) -> Result<Ranking, SemanticError> {
        Ok(self.scores(ask, excluded, scratch)?.ranking())
    }

    /// As [`Self::rank`], with the best routes beside it, at most `most`, best first.
    ///
    /// # Errors
    /// As [`Self::rank`].
    pub fn rank_best(
        &self,
        ask: Ask<'_>,
        most: usize,
        scratch: &mut Scratch,
    ) -> Result<(Ranking, Vec<Scored>), SemanticError> {
        let scores = self.scores(ask, None, scratch)?;
        Ok((scores.ranking(), scores.best(most)))
    }

    fn scores(
        &self,
        ask: Ask<'_>,
        excluded: Option<usize>,
        scratch: &mut Scratch,
    ) -> Result<RouteScores, SemanticError> {
        let Settled { mode, aggregation, depth } = self.settled();
        if let Some(vectors) = &self.vectors {
            self.read_vector(ask, &mut scratch.vector)?;
            let Scratch { vector, search, dense, .. } = scratch;
            vectors.search(vector, depth, excluded, search, dense)?;
        }
        if let Some(words) = &self.words {
            let needed = SemanticError::Missing { mode: mode.as_str(), needed: "its text" };
            words.shares(ask.text().ok_or(needed)?, &mut scratch.scores, &mut scratch.shares);
            scratch.sparse.of_scores(&scratch.shares, &self.groups, depth, excluded);
        }
        let routes = self.catalogue.routes().len();
        Ok(RouteScores::new(routes, mode, aggregation, &scratch.dense, &scratch.sparse))
    }

    /// The normalised vector of a query.
    ///
    /// # Errors
    /// When vectors are not what the catalogue compares, or the query brings none.
    pub fn vector(&self, ask: Ask<'_>) -> Result<Vec<f32>, SemanticError> {
        let mode = self.catalogue.settings().mode;
        if !mode.is_dense() {
            return Err(SemanticError::Missing { mode: mode.as_str(), needed: "no vector" });
        }
        let mut vector = Vec::new();
        self.read_vector(ask, &mut vector)?;
        Ok(vector)
    }

    fn settled(&self) -> Settled {
        let settings = self.catalogue.settings();
        Settled {
            mode: settings.mode,
            aggregation: settings.aggregation,
            depth: settings.aggregation.depth(),
        }
    }

    fn read_vector(&self, ask: Ask<'_>, out: &mut Vec<f32>) -> Result<(), SemanticError> {
        match (ask, &self.embedder) {
            (Ask::Vector(vector) | Ask::Both(_, vector), _) => {
                out.clear();
                out.extend_from_slice(vector);
            }
            (Ask::Text(text), Some(embedder)) => embedder.embed(text, out),
            (Ask::Text(_), None) => {
                let mode = self.catalogue.settings().mode.as_str();
                return Err(SemanticError::Missing { mode, needed: "its vector" });
            }
        }
        normalise(out);
        Ok(())
    }
}

struct Settled {
    mode: crate::Mode,
    aggregation: Aggregation,
    depth: usize,
}

impl Vectors {
    #[cfg(not(feature = "ann"))]
    fn new(index: Index) -> Self {
        Self::Exact(index)
    }

    #[cfg(feature = "ann")]
    fn new(index: Index) -> Self {
        if index.len() <= crate::ann::EXACT_UP_TO {
            return Self::Exact(index);
        }
        Self::Approximate(Arc::new(crate::ann::Approximate::new(index)))
    }

    fn search(
        &self,
        query: &[f32],
        depth: usize,
        excluded: Option<usize>,
        scratch: &mut SearchScratch,
        out: &mut Tops,
    ) -> Result<(), SemanticError> {
        match self {
            Self::Exact(index) => index.nearest_by_group(query, depth, excluded, scratch, out),
            #[cfg(feature = "ann")]
            Self::Approximate(search) => search.nearest_by_group(query, depth, excluded, out),
        }
    }
}

#[cfg(test)]
mod tests;
